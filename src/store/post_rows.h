/* Post rows: the tables `post` and `post_body`. States are numbers of broker/outbox.h; below 3 a row is open. Row and
 * body are written once; what changes later is in the row, and the body goes when it ends. */
#ifndef RB_POST_ROWS_H
#define RB_POST_ROWS_H

#include "store.h"

struct rb_post_row {
    int64_t id, topic;
    int64_t uid; /* of the caller */
    int state;
    int64_t at, ended, expires; /* wall ms, 0: none */
    int64_t ttl, bytes;         /* ttl 0: none */
    struct rb_span key, digest; /* key: NULL `at`: none */
    struct rb_span stamp;       /* NULL `at`: none */
    int64_t batch;              /* 0: none */
    int64_t attempts;
    bool maybe_duplicate;
    struct rb_span message_id, timestamp, detail; /* NULL `at`: none */
    int status;
};

struct rb_post_rows;

/* Prepares the statements, which are the store's. */
enum rb_status rb_post_rows_new(struct rb_store *store, struct rb_post_rows **ret, struct rb_error *err);
void rb_post_rows_free(struct rb_post_rows *rows);

/* A queued row and its body. */
void rb_post_rows_insert(struct rb_post_rows *rows, const struct rb_post_row *row, struct rb_span metadata,
                         struct rb_span payload);
/* State, batch, attempts and maybe_duplicate of an open row. */
void rb_post_rows_update(struct rb_post_rows *rows, const struct rb_post_row *row);
/* State, ended, message_id, timestamp, status and detail; deletes the body. */
void rb_post_rows_end(struct rb_post_rows *rows, const struct rb_post_row *row);
/* An ended row. */
void rb_post_rows_delete(struct rb_post_rows *rows, int64_t id);

/* Each gives rows to `each`, whose spans live until it returns; a failure marks the store. No SQL of this table may run
 * inside. */
typedef void (*rb_post_each)(void *arg, const struct rb_post_row *row);
/* False: there is none. */
bool rb_post_rows_get(struct rb_post_rows *rows, int64_t id, rb_post_each each, void *arg);
bool rb_post_rows_body(struct rb_post_rows *rows, int64_t id,
                       void (*each)(void *arg, struct rb_span metadata, struct rb_span payload), void *arg);
/* Open rows, those of a topic by id; key, digest, ttl and what an end sets are left out. `scan`: the whole table is read
 * in its order, which is faster where many of its rows are open, and much slower where few are. */
void rb_post_rows_open(struct rb_post_rows *rows, bool scan, rb_post_each each, void *arg);
/* How many open rows there are, and no fewer than there are rows at all. */
void rb_post_rows_count(struct rb_post_rows *rows, int64_t *ret_open, int64_t *ret_at_most);
/* All rows: id, key and uid alone are set. */
void rb_post_rows_keys(struct rb_post_rows *rows, rb_post_each each, void *arg);
/* Up to `limit` rows with larger ids than `after`, by id. */
void rb_post_rows_after(struct rb_post_rows *rows, int64_t after, int limit, rb_post_each each, void *arg);

#endif
