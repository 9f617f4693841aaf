/* Status text: GET /admin/status, worded for people. Foreign text in it is escaped (D8). */
#ifndef RB_STATUS_TEXT_H
#define RB_STATUS_TEXT_H

#include "json.h"
#include "str.h"

/* Appends a page; members that are missing or of another kind do no harm. */
void rb_status_text_add(const json_t *status, struct rb_str *out);

/* Appends a span of time as its two largest units: "3 h 12 min"; and bytes: "12.3 KiB". */
void rb_add_duration(struct rb_str *out, int64_t seconds);
void rb_add_bytes(struct rb_str *out, int64_t bytes);

#endif
