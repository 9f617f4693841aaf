/* Backoff: how long to wait after a failure. */
#ifndef RB_BACKOFF_H
#define RB_BACKOFF_H

#include "broker.h"

/* Where the random range begins; it ends at the doubled time. */
enum rb_jitter {
    RB_JITTER_FULL,      /* at 1 ms */
    RB_JITTER_HALF,      /* at half of its end */
    RB_JITTER_ABOVE_MIN, /* at backoff_min_ms */
};

/* backoff_min_ms, doubled `doublings` times up to `max_ms`, then drawn at random. */
int64_t rb_backoff_ms(const struct rb_ports *ports, int doublings, int64_t max_ms, enum rb_jitter jitter);

#endif
