#include "clock.h"

#include <stddef.h>
#include <time.h>

static int64_t read_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t system_now_ms(struct rb_clock *clock)
{
    return read_ms(CLOCK_BOOTTIME);
}

static int64_t system_wall_ms(struct rb_clock *clock)
{
    return read_ms(CLOCK_REALTIME);
}

void rb_clock_init_system(struct rb_clock *clock)
{
    *clock = (struct rb_clock){.now_ms = system_now_ms, .wall_ms = system_wall_ms};
}

int64_t rb_clock_now_ms(struct rb_clock *clock)
{
    return clock->now_ms(clock);
}

int64_t rb_clock_wall_ms(struct rb_clock *clock)
{
    return clock->wall_ms(clock);
}

static bool fires_before(const struct rb_timer *a, const struct rb_timer *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static struct rb_timer *heap_meld(struct rb_timer *a, struct rb_timer *b)
{
    if (!a)
        return b;
    if (!b)
        return a;
    if (fires_before(b, a)) {
        struct rb_timer *swap = a;
        a = b;
        b = swap;
    }
    b->sibling = a->child;
    if (a->child)
        a->child->before = b;
    b->before = a;
    a->child = b;
    return a;
}

/* Two passes: meld neighbours, then fold the pairs from the last. */
static struct rb_timer *heap_meld_children(struct rb_timer *first)
{
    struct rb_timer *pairs = NULL;
    while (first) {
        struct rb_timer *a = first, *b = a->sibling;
        first = b ? b->sibling : NULL;
        a->sibling = a->before = NULL;
        if (b)
            b->sibling = b->before = NULL;
        struct rb_timer *pair = heap_meld(a, b);
        pair->sibling = pairs;
        pairs = pair;
    }
    struct rb_timer *heap = NULL;
    while (pairs) {
        struct rb_timer *next = pairs->sibling;
        pairs->sibling = NULL;
        heap = heap_meld(heap, pairs);
        pairs = next;
    }
    return heap;
}

static void heap_remove(struct rb_clock *clock, struct rb_timer *timer)
{
    struct rb_timer *children = heap_meld_children(timer->child);
    if (timer == clock->first) {
        clock->first = children;
    } else {
        if (timer->before->child == timer)
            timer->before->child = timer->sibling;
        else
            timer->before->sibling = timer->sibling;
        if (timer->sibling)
            timer->sibling->before = timer->before;
        clock->first = heap_meld(clock->first, children);
    }
    timer->child = timer->sibling = timer->before = NULL;
    timer->set = false;
}

void rb_timer_set(struct rb_clock *clock, struct rb_timer *timer, int64_t at_ms)
{
    rb_timer_stop(clock, timer);
    /* A time past that is set while timers fire must not stand before those that this run has still to fire. */
    timer->at_ms = clock->running && at_ms < clock->run_ms ? clock->run_ms : at_ms;
    timer->order = clock->order++;
    timer->child = timer->sibling = timer->before = NULL;
    timer->set = true;
    clock->first = heap_meld(clock->first, timer);
}

void rb_timer_set_in(struct rb_clock *clock, struct rb_timer *timer, int64_t in_ms)
{
    int64_t at_ms;
    if (__builtin_add_overflow(rb_clock_now_ms(clock), in_ms, &at_ms))
        at_ms = in_ms < 0 ? INT64_MIN : INT64_MAX;
    rb_timer_set(clock, timer, at_ms);
}

void rb_timer_stop(struct rb_clock *clock, struct rb_timer *timer)
{
    if (timer->set)
        heap_remove(clock, timer);
}

bool rb_timer_is_set(const struct rb_timer *timer)
{
    return timer->set;
}

int64_t rb_clock_next_ms(const struct rb_clock *clock)
{
    return clock->first ? clock->first->at_ms : INT64_MAX;
}

void rb_clock_run(struct rb_clock *clock)
{
    uint64_t until = clock->order;
    clock->run_ms = rb_clock_now_ms(clock);
    clock->running = true;
    while (clock->first && clock->first->at_ms <= clock->run_ms && clock->first->order < until) {
        struct rb_timer *timer = clock->first;
        heap_remove(clock, timer);
        timer->fire(timer);
    }
    clock->running = false;
}
