/* Fake: a clock that stands still until a test moves it, and random bytes that follow from a seed. Shared by the unit
 * tests and the simulation. */
#ifndef RB_FAKE_H
#define RB_FAKE_H

#include <stdint.h>

#include "clock.h"
#include "random.h"

enum { RB_FAKE_NOW_MS = 1000000 };             /* now_ms at the start */
#define RB_FAKE_WALL_MS INT64_C(1767225600000) /* wall_ms at the start: 2026-01-01T00:00:00Z */

/* Pass `&fake.clock` to the code under test. `now` and `wall` may be set: a jump of the wall clock is a changed `wall`,
 * a process that was stopped is a larger `now` without a run of the timers. */
struct rb_fake_clock {
    struct rb_clock clock;
    int64_t now, wall; /* ms */
};

void rb_fake_clock_init(struct rb_fake_clock *fake);
/* Moves both times on by `ms` and fires the timers that come due, in order, each at its own time, also those that fired
 * timers set. With 0 only what is due now fires. Aborts when timers keep setting themselves for the same moment. */
void rb_fake_clock_advance(struct rb_fake_clock *fake, int64_t ms);

/* Pass `&fake.random` to the code under test. The same seed gives the same bytes on every machine. */
struct rb_fake_random {
    struct rb_random random;
    uint64_t state;
};

void rb_fake_random_init(struct rb_fake_random *fake, uint64_t seed);

#endif
