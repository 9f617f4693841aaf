#include "loop.h"

#include <stdlib.h>

/* More rounds than this in one phase mean that every round makes new work; the sockets get their turn then. */
enum { END_TICK_ROUNDS = 8 };

/* Poll's timeout stands still while the machine sleeps and the clock does not: look at the clock at least this often,
 * so that a timer is not late by the rest of its wait. */
enum { POLL_MAX_MS = 10000 };

struct rb_loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t wake;
    struct rb_clock *clock;
    rb_loop_end_tick end_tick;
    void *arg;
    uint64_t polls;
    bool stopping, may_block;
};

static bool end_tick(struct rb_loop *loop)
{
    for (int round = 0; round < END_TICK_ROUNDS; round++)
        if (!loop->end_tick(loop->arg))
            return false;
    return true;
}

static void on_wake(uv_timer_t *wake)
{
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct rb_loop *loop = prepare->data;
    bool more = end_tick(loop);
    int64_t next = rb_clock_next_ms(loop->clock);
    int64_t now = rb_clock_now_ms(loop->clock);
    int64_t wait = POLL_MAX_MS;
    if (more || loop->stopping || next <= now)
        wait = 0;
    else if (next < now + POLL_MAX_MS)
        wait = next - now;
    loop->may_block = wait > 0;
    if (next == INT64_MAX && wait > 0) {
        uv_timer_stop(&loop->wake);
        return;
    }
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->wake, on_wake, (uint64_t)wait, 0);
}

static void on_check(uv_check_t *check)
{
    struct rb_loop *loop = check->data;
    /* A poll that blocks may return after a stop of the process (EINTR) without having looked at the sockets. What is
     * due waits for the next one, which does not block (T2). */
    if (!loop->may_block || rb_clock_next_ms(loop->clock) > rb_clock_now_ms(loop->clock)) {
        loop->polls++;
        rb_clock_run(loop->clock);
    }
    end_tick(loop);
    if (loop->stopping)
        uv_stop(&loop->uv);
}

enum rb_status rb_loop_new(struct rb_clock *clock, rb_loop_end_tick end_tick_fn, void *arg, struct rb_loop **ret)
{
    struct rb_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return RB_NO_MEMORY;
    int error = uv_loop_init(&loop->uv);
    if (error) {
        free(loop);
        return error == UV_ENOMEM ? RB_NO_MEMORY : RB_IO;
    }
    loop->clock = clock;
    loop->end_tick = end_tick_fn;
    loop->arg = arg;
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_timer_init(&loop->uv, &loop->wake);
    loop->prepare.data = loop->check.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    *ret = loop;
    return RB_OK;
}

void rb_loop_free(struct rb_loop *loop)
{
    if (!loop)
        return;
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_loop_close(&loop->uv);
    free(loop);
}

uv_loop_t *rb_loop_uv(struct rb_loop *loop)
{
    return &loop->uv;
}

struct rb_clock *rb_loop_clock(struct rb_loop *loop)
{
    return loop->clock;
}

uint64_t rb_loop_polls(const struct rb_loop *loop)
{
    return loop->polls;
}

void rb_loop_run(struct rb_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    loop->stopping = false;
}

void rb_loop_stop(struct rb_loop *loop)
{
    loop->stopping = true;
    /* Makes poll return so that check can stop the loop; prepare keeps to it. */
    uv_timer_start(&loop->wake, on_wake, 0, 0);
}
