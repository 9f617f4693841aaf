/* Clock: the time, and timers that fire by it. A port: the daemon's clock is the kernel's, a test's or the simulator's
 * is a number that is set.
 *
 * `now_ms` never goes back and counts while the machine sleeps (CLOCK_BOOTTIME): leases, waits and deadlines use it.
 * It means nothing after a restart. `wall_ms` is Unix time: only for what is stored or shown.
 *
 * Timers are intrusive and owned by the caller: no allocation, and none may be freed or moved while it is set. They
 * fire from rb_clock_run, in order of their time, never from inside rb_timer_set. */
#ifndef RB_CLOCK_H
#define RB_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct rb_timer {
    int64_t at_ms;
    void (*fire)(struct rb_timer *timer); /* it is not set any more when this is called, and may be set again */
    /* private: a pairing heap */
    struct rb_timer *child, *sibling, *before;
    bool set;
    uint64_t order;
};

struct rb_clock {
    int64_t (*now_ms)(struct rb_clock *clock);
    int64_t (*wall_ms)(struct rb_clock *clock);
    /* private */
    struct rb_timer *first;
    uint64_t order;
    int64_t run_ms; /* the time that the running rb_clock_run fires for */
    bool running;
};

/* The kernel's clock. */
void rb_clock_init_system(struct rb_clock *clock);

int64_t rb_clock_now_ms(struct rb_clock *clock);
int64_t rb_clock_wall_ms(struct rb_clock *clock);

#define RB_TIMER_INIT(function) ((struct rb_timer){.fire = (function)})
/* Sets or moves the timer to fire at `at_ms` of now_ms (a time past: at the next rb_clock_run). */
void rb_timer_set(struct rb_clock *clock, struct rb_timer *timer, int64_t at_ms);
/* As far from now; a time beyond INT64_MAX counts as never. */
void rb_timer_set_in(struct rb_clock *clock, struct rb_timer *timer, int64_t in_ms);
/* Does nothing to a timer that is not set. */
void rb_timer_stop(struct rb_clock *clock, struct rb_timer *timer);
bool rb_timer_is_set(const struct rb_timer *timer);

/* When the next timer is due, or INT64_MAX. */
int64_t rb_clock_next_ms(const struct rb_clock *clock);
/* Fires what is due now. A timer set from a fired one waits for the next run, even if it is due. Not to be called from
 * a timer. */
void rb_clock_run(struct rb_clock *clock);

#endif
