/* Gap rows: what could not be read from the relay, or was not kept there any more, by name. About the newest
 * RB_GAPS_KEPT are kept. */
#ifndef RB_GAP_ROWS_H
#define RB_GAP_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "store.h"
#include "str.h"

enum { RB_GAPS_KEPT = 10000 };

struct rb_gap_row {
    int64_t topic;
    int64_t at; /* wall ms */
    int64_t n;  /* the gap lies after this message */
    const char *reason;
    struct rb_span after_id, until_id; /* what is missing lies between; empty: not known */
};

struct rb_gap_rows;

enum rb_status rb_gap_rows_new(struct rb_store *store, struct rb_gap_rows **ret, struct rb_error *err);
void rb_gap_rows_free(struct rb_gap_rows *rows);
void rb_gap_rows_add(struct rb_gap_rows *rows, const struct rb_gap_row *row);
/* Whether the topic has one with that reason. */
bool rb_gap_rows_has(struct rb_gap_rows *rows, int64_t topic, const char *reason);
int64_t rb_gap_rows_count(struct rb_gap_rows *rows);

#endif
