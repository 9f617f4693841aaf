/* Relay id: what can be known of a relay's opaque message ids from their shape. "<ms>-<seq>" (a relay with Valkey)
 * has an order, and any value in between works as a cursor; "msg_<hex>" (one in memory) has none. */
#ifndef RB_RELAY_ID_H
#define RB_RELAY_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "str.h"

enum rb_id_shape { RB_ID_STREAM, RB_ID_MEMORY, RB_ID_OTHER };

struct rb_stream_id {
    uint64_t ms, seq;
};

/* `*ret` is set for RB_ID_STREAM only. */
enum rb_id_shape rb_relay_id_shape(struct rb_span id, struct rb_stream_id *ret);
/* Below 0, 0 or above 0, as a is before, at or after b. */
int rb_stream_id_compare(struct rb_stream_id a, struct rb_stream_id b);
enum { RB_STREAM_ID_MAX = 48 };
void rb_stream_id_print(struct rb_stream_id id, char ret[RB_STREAM_ID_MAX]);

#define RB_BEGINNING "0-0" /* as a cursor: from the beginning, on every relay */

#endif
