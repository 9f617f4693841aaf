#include "base_test.h"

#include "fake.h"
#include "loop.h"

static struct rb_clock clock_now;
static struct rb_loop *loop;
static char order[64]; /* what happened, a letter each */
static size_t events;
static int more_rounds;

static void note(char letter)
{
    if (events < sizeof order - 1)
        order[events++] = letter;
}

static bool on_end_tick(void *arg)
{
    note('e');
    return more_rounds > 0 && more_rounds-- > 0;
}

static void on_timer(struct rb_timer *timer)
{
    note('t');
    rb_loop_stop(loop);
}

static void setup(void)
{
    rb_clock_init_system(&clock_now);
    ck_assert_int_eq(rb_loop_new(&clock_now, on_end_tick, NULL, &loop), RB_OK);
}

static void teardown(void)
{
    rb_loop_free(loop);
}

START_TEST(a_due_timer_fires_after_poll_and_its_tick_ends)
{
    struct rb_timer timer = RB_TIMER_INIT(on_timer);
    rb_timer_set_in(rb_loop_clock(loop), &timer, 0);
    rb_loop_run(loop);
    ck_assert_str_eq(order, "ete");
    ck_assert_uint_eq(rb_loop_polls(loop), 1);
}
END_TEST

START_TEST(a_timer_in_the_future_wakes_the_loop)
{
    struct rb_timer timer = RB_TIMER_INIT(on_timer);
    int64_t start = rb_clock_now_ms(&clock_now);
    rb_timer_set_in(&clock_now, &timer, 30);
    rb_loop_run(loop);
    ck_assert_int_ge(rb_clock_now_ms(&clock_now), start + 30);
    ck_assert(!rb_timer_is_set(&timer));
}
END_TEST

/* libuv's own timers run before prepare: what they leave to commit must not wait for poll. */
static bool dirty, committed_before_poll;
static uv_timer_t uv_timer;
static uv_async_t wakes_poll;

static void on_uv_timer(uv_timer_t *timer)
{
    dirty = true;
}

static bool commit(void *arg)
{
    if (!dirty)
        return false;
    dirty = false;
    committed_before_poll = rb_loop_polls(loop) == 0;
    /* Only now does anything end the poll that has no timer to wait for. */
    uv_async_send(&wakes_poll);
    return false;
}

static void on_async(uv_async_t *async)
{
    rb_loop_stop(loop);
}

START_TEST(T1_what_a_timer_left_to_commit_is_committed_before_poll_blocks)
{
    struct rb_loop *before = loop;
    ck_assert_int_eq(rb_loop_new(&clock_now, commit, NULL, &loop), RB_OK);
    rb_loop_free(before);
    dirty = committed_before_poll = false;
    ck_assert_int_eq(uv_timer_init(rb_loop_uv(loop), &uv_timer), 0);
    ck_assert_int_eq(uv_async_init(rb_loop_uv(loop), &wakes_poll, on_async), 0);
    ck_assert_int_eq(uv_timer_start(&uv_timer, on_uv_timer, 0, 0), 0);
    rb_loop_run(loop);
    ck_assert(committed_before_poll);
    uv_close((uv_handle_t *)&uv_timer, NULL);
    uv_close((uv_handle_t *)&wakes_poll, NULL);
}
END_TEST

static void note_async(uv_async_t *async)
{
    note('s');
}

START_TEST(T2_what_lies_in_a_socket_is_seen_before_a_due_timer)
{
    struct rb_timer timer = RB_TIMER_INIT(on_timer);
    ck_assert_int_eq(uv_async_init(rb_loop_uv(loop), &wakes_poll, note_async), 0);
    rb_timer_set_in(&clock_now, &timer, -4000);
    uv_async_send(&wakes_poll);
    rb_loop_run(loop);
    ck_assert_str_eq(order, "este");
    uv_close((uv_handle_t *)&wakes_poll, NULL);
}
END_TEST

START_TEST(end_of_tick_is_repeated_while_there_is_more_to_commit)
{
    struct rb_timer timer = RB_TIMER_INIT(on_timer);
    more_rounds = 3;
    rb_timer_set_in(&clock_now, &timer, 0);
    rb_loop_run(loop);
    ck_assert_str_eq(order, "eeeete");
}
END_TEST

static bool stop_late(void *arg)
{
    note('e');
    if (rb_loop_polls(loop) >= 3)
        rb_loop_stop(loop);
    return true;
}

START_TEST(an_end_of_tick_that_never_ends_does_not_keep_poll_from_running)
{
    struct rb_loop *before = loop;
    ck_assert_int_eq(rb_loop_new(&clock_now, stop_late, NULL, &loop), RB_OK);
    rb_loop_free(before);
    rb_loop_run(loop);
    ck_assert_uint_eq(rb_loop_polls(loop), 3);
}
END_TEST

static bool stop_at_once(void *arg)
{
    note('e');
    rb_loop_stop(loop);
    return false;
}

START_TEST(a_stop_from_end_of_tick_does_not_wait_for_poll)
{
    struct rb_loop *before = loop;
    ck_assert_int_eq(rb_loop_new(&clock_now, stop_at_once, NULL, &loop), RB_OK);
    rb_loop_free(before);
    rb_loop_run(loop);
    ck_assert_str_eq(order, "ee");
}
END_TEST

START_TEST(a_stop_asked_for_before_the_run_is_not_lost)
{
    rb_loop_stop(loop);
    rb_loop_run(loop);
    ck_assert_uint_eq(rb_loop_polls(loop), 1);
}
END_TEST

START_TEST(a_stopped_loop_runs_again)
{
    struct rb_timer timer = RB_TIMER_INIT(on_timer);
    rb_timer_set_in(&clock_now, &timer, 0);
    rb_loop_run(loop);
    rb_timer_set_in(&clock_now, &timer, 0);
    rb_loop_run(loop);
    ck_assert_str_eq(order, "eteete");
}
END_TEST

Suite *loop_suite(void)
{
    Suite *suite = suite_create("loop");
    TCase *tcase = tcase_create("loop");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_due_timer_fires_after_poll_and_its_tick_ends);
    tcase_add_test(tcase, a_timer_in_the_future_wakes_the_loop);
    tcase_add_test(tcase, T1_what_a_timer_left_to_commit_is_committed_before_poll_blocks);
    tcase_add_test(tcase, T2_what_lies_in_a_socket_is_seen_before_a_due_timer);
    tcase_add_test(tcase, end_of_tick_is_repeated_while_there_is_more_to_commit);
    tcase_add_test(tcase, an_end_of_tick_that_never_ends_does_not_keep_poll_from_running);
    tcase_add_test(tcase, a_stop_from_end_of_tick_does_not_wait_for_poll);
    tcase_add_test(tcase, a_stop_asked_for_before_the_run_is_not_lost);
    tcase_add_test(tcase, a_stopped_loop_runs_again);
    suite_add_tcase(suite, tcase);
    return suite;
}
