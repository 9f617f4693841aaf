/* Batch rows: the table `batch`. A batch is one upstream request and lives from the first attempt to the end of its
 * rows. */
#ifndef RB_BATCH_ROWS_H
#define RB_BATCH_ROWS_H

#include "store.h"

struct rb_batch_row {
    int64_t id, account;
    struct rb_span key;    /* the Idempotency-Key, the same on every attempt */
    int state;             /* of its posts */
    int64_t started;       /* wall ms of the newest attempt */
    struct rb_span newest; /* the topic's newest id before the first attempt that may have been executed; empty: the
                              topic was empty; NULL `at`: not known */
};

struct rb_batch_rows;

/* Prepares the statements, which are the store's. */
enum rb_status rb_batch_rows_new(struct rb_store *store, struct rb_batch_rows **ret, struct rb_error *err);
void rb_batch_rows_free(struct rb_batch_rows *rows);
void rb_batch_rows_insert(struct rb_batch_rows *rows, const struct rb_batch_row *row);
/* State and started; newest too when `with_newest`. */
void rb_batch_rows_update(struct rb_batch_rows *rows, const struct rb_batch_row *row, bool with_newest);
void rb_batch_rows_delete(struct rb_batch_rows *rows, int64_t id);
/* The spans live until `each` returns. False: there is none. */
bool rb_batch_rows_get(struct rb_batch_rows *rows, int64_t id, void (*each)(void *arg, const struct rb_batch_row *row),
                       void *arg);

#endif
