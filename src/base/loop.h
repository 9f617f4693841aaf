/* Loop: the process's only loop (libuv), and the order of work in one iteration.
 *
 *     prepare   end of tick (rows of timers and deferred work of libuv commit before poll blocks: hard case T1)
 *     poll      sockets: local requests, upstream answers
 *     check     due timers of the clock, then end of tick
 *
 * The clock's timers run after poll, never before it, so an answer that lies in a socket is seen before a deadline is
 * (T2). "End of tick" is the one function given to rb_loop_new: it commits and lets effects leave; it is called again,
 * boundedly, as long as it returns true (there is more to commit), and then poll does not block. */
#ifndef RB_LOOP_H
#define RB_LOOP_H

#include <stdbool.h>
#include <uv.h>

#include "clock.h"
#include "status.h"

struct rb_loop;

typedef bool (*rb_loop_end_tick)(void *arg);

/* The clock is borrowed and must outlive the loop. */
enum rb_status rb_loop_new(struct rb_clock *clock, rb_loop_end_tick end_tick, void *arg, struct rb_loop **ret);
/* Every handle of the loop's users has been closed. */
void rb_loop_free(struct rb_loop *loop);

uv_loop_t *rb_loop_uv(struct rb_loop *loop);
struct rb_clock *rb_loop_clock(struct rb_loop *loop);

/* Counts poll phases; a deadline is only believed after a whole one that brought nothing (T2). */
uint64_t rb_loop_polls(const struct rb_loop *loop);

/* Runs until rb_loop_stop, and at least one iteration: a stop asked for before is not lost. An iteration that stops
 * ends with its end of tick. */
void rb_loop_run(struct rb_loop *loop);
void rb_loop_stop(struct rb_loop *loop);

#endif
