/* Event rows: what an operator should know later too. Ids grow with time. */
#ifndef RB_EVENT_ROWS_H
#define RB_EVENT_ROWS_H

#include "store.h"

struct rb_event_rows;

struct rb_event_row {
    int64_t at_wall_ms, account; /* account 0: none */
    struct rb_span kind, text;
};

enum rb_status rb_event_rows_new(struct rb_store *store, struct rb_event_rows **ret, struct rb_error *err);
void rb_event_rows_free(struct rb_event_rows *rows);
void rb_event_rows_add(struct rb_event_rows *rows, const struct rb_event_row *row);
int64_t rb_event_rows_count(struct rb_event_rows *rows);
/* Deletes all but the newest `keep`. */
void rb_event_rows_trim(struct rb_event_rows *rows, int64_t keep);
/* Newest first, up to `limit`; spans live during the call of `each`. */
void rb_event_rows_each(struct rb_event_rows *rows, int limit, void (*each)(void *arg, const struct rb_event_row *row),
                        void *arg);

#endif
