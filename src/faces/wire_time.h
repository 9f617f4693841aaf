/* Wire time: timestamps as the relay writes them. */
#ifndef RB_WIRE_TIME_H
#define RB_WIRE_TIME_H

#include "str.h"

/* Appends a JSON string "2026-01-01T00:00:00.000000Z" for Unix milliseconds. */
void rb_wire_time_add(struct rb_str *out, int64_t wall_ms);

#endif
