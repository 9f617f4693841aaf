/* Message rows: what the inbox has stored, and where each topic's stored part begins (its anchor).
 *
 * Messages are an append-only log. n is dense per topic; rows are pruned as prefixes. The anchor holds the id of the
 * message at the topic's tail: the last one pruned, or the one that the subscription began after ("0-0": the very
 * beginning). */
#ifndef RB_MESSAGE_ROWS_H
#define RB_MESSAGE_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "store.h"
#include "str.h"

enum { RB_STAMP_BYTES = 16 };

struct rb_message_row {
    int64_t topic, n;
    int64_t at; /* wall ms when it was stored here */
    struct rb_span message_id, timestamp;
    struct rb_span metadata; /* JSON bytes; empty: none */
    struct rb_span payload;  /* JSON bytes */
    struct rb_span stamp;    /* RB_STAMP_BYTES, or empty */
};
/* What a row counts for in the bound on the inbox, in bytes. */
int64_t rb_message_row_bytes(const struct rb_message_row *row);

struct rb_message_rows;

enum rb_status rb_message_rows_new(struct rb_store *store, struct rb_message_rows **ret, struct rb_error *err);
void rb_message_rows_free(struct rb_message_rows *rows);

void rb_message_rows_add(struct rb_message_rows *rows, const struct rb_message_row *row);
/* Calls `each` for rows with n > after, in order, while it returns true. Spans live until `each` returns; it must
 * not read messages itself. RB_OK, or the store's failure. */
enum rb_status rb_message_rows_read(struct rb_message_rows *rows, int64_t topic, int64_t after, int64_t limit,
                                    bool (*each)(void *arg, const struct rb_message_row *row), void *arg);
/* Appends the id of row n to `out`; false when there is no such row. */
bool rb_message_rows_id(struct rb_message_rows *rows, int64_t topic, int64_t n, struct rb_str *out);
/* The newest n > after with that id, 0 if none: walks the topic's ids from the newest. */
int64_t rb_message_rows_find(struct rb_message_rows *rows, int64_t topic, int64_t after, struct rb_span message_id);
/* Every id of the topic with n > after, from the index alone. */
void rb_message_rows_each_id(struct rb_message_rows *rows, int64_t topic, int64_t after,
                             void (*each)(void *arg, struct rb_span message_id), void *arg);
/* The stamps of rows with n > after, in order. */
void rb_message_rows_each_stamp(struct rb_message_rows *rows, int64_t topic, int64_t after,
                                void (*each)(void *arg, struct rb_span stamp), void *arg);
/* Sizes and ages of rows with n > after, in order, while `each` returns true. `bytes` as rb_message_row_bytes. */
void rb_message_rows_each_age(struct rb_message_rows *rows, int64_t topic, int64_t after, int64_t limit,
                              bool (*each)(void *arg, int64_t n, int64_t at, int64_t bytes, struct rb_span message_id),
                              void *arg);
/* Deletes the rows with n <= upto. */
void rb_message_rows_delete(struct rb_message_rows *rows, int64_t topic, int64_t upto);

/* False when the topic has no anchor, or, with `message_id` failed, for want of memory. `incarnation` is the relay's that the
 * topic's cursor is of (R7). */
bool rb_anchor_load(struct rb_message_rows *rows, int64_t topic, struct rb_str *message_id, int64_t *ret_incarnation);
void rb_anchor_save(struct rb_message_rows *rows, int64_t topic, struct rb_span message_id, int64_t incarnation);
void rb_anchor_delete(struct rb_message_rows *rows, int64_t topic);

#endif
