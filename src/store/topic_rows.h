/* Topic rows: the table `topic`. */
#ifndef RB_TOPIC_ROWS_H
#define RB_TOPIC_ROWS_H

#include "store.h"

struct rb_topic_row {
    int64_t id, account;
    int64_t uid; /* of the first to name it */
    struct rb_span name;
    bool posted, following;
    struct rb_span cursor, newest; /* NULL `at`: none */
    int64_t head, tail, rows, bytes, wanted;
};

struct rb_topic_rows;

/* Prepares the statements, which are the store's. */
enum rb_status rb_topic_rows_new(struct rb_store *store, struct rb_topic_rows **ret, struct rb_error *err);
void rb_topic_rows_free(struct rb_topic_rows *rows);
/* Calls `each` for every row, by id; its spans live until it returns. A failure marks the store. */
void rb_topic_rows_each(struct rb_topic_rows *rows, void (*each)(void *arg, const struct rb_topic_row *row), void *arg);
/* Inserts the row, or changes all but account, uid and name of the one with its id. */
void rb_topic_rows_save(struct rb_topic_rows *rows, const struct rb_topic_row *row);
/* Deletes topics that nobody has asked for since then, that are not read and of which nothing is kept: no message, no
 * post, no place. Takes time in proportion to the outbox where there are candidates. */
void rb_topic_rows_forget(struct rb_topic_rows *rows, int64_t wanted_before);

#endif
