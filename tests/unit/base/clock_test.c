#include "base_test.h"

#include <stdlib.h>

#include "fake.h"
#include "list.h"

enum { TIMERS = 200, STEPS = 20000, FIRED_MAX = 64 };

struct alarm {
    struct rb_timer timer;
    /* the reference: a row of a plain table */
    bool set;
    int64_t at_ms;
    uint64_t order;
};

static struct rb_fake_clock fake;
static struct alarm alarms[TIMERS];
static uint64_t sets;
static int fired;

static void setup(void)
{
    rb_fake_clock_init(&fake);
    fired = 0;
    sets = 0;
}

/* The set alarm that has to fire first, or NULL. */
static struct alarm *first_alarm(void)
{
    struct alarm *first = NULL;
    for (struct alarm *alarm = alarms; alarm < alarms + TIMERS; alarm++)
        if (alarm->set &&
            (!first || alarm->at_ms < first->at_ms || (alarm->at_ms == first->at_ms && alarm->order < first->order)))
            first = alarm;
    return first;
}

static void on_alarm(struct rb_timer *timer)
{
    struct alarm *alarm = RB_CONTAINER(timer, struct alarm, timer);
    ck_assert_ptr_eq(alarm, first_alarm());
    ck_assert_int_ge(fake.now, alarm->at_ms);
    ck_assert(!rb_timer_is_set(timer));
    alarm->set = false;
    fired++;
}

static void random_step(struct rb_random *random)
{
    struct alarm *alarm = &alarms[rb_random_between(random, 0, TIMERS - 1)];
    switch (rb_random_between(random, 0, 9)) {
    case 0:
        fake.now += rb_random_between(random, 0, 30);
        rb_clock_run(&fake.clock);
        ck_assert(!first_alarm() || first_alarm()->at_ms > fake.now);
        break;
    case 1:
    case 2:
    case 3:
        rb_timer_stop(&fake.clock, &alarm->timer);
        alarm->set = false;
        break;
    default:
        alarm->at_ms = fake.now + rb_random_between(random, -20, 100);
        alarm->order = sets++;
        alarm->set = true;
        rb_timer_set(&fake.clock, &alarm->timer, alarm->at_ms);
    }
    ck_assert(rb_timer_is_set(&alarm->timer) == alarm->set);
    ck_assert_int_eq(rb_clock_next_ms(&fake.clock), first_alarm() ? first_alarm()->at_ms : INT64_MAX);
}

START_TEST(timers_of_a_random_schedule_fire_in_order)
{
    struct rb_fake_random random;
    rb_fake_random_init(&random, (uint64_t)_i);
    for (struct alarm *alarm = alarms; alarm < alarms + TIMERS; alarm++)
        *alarm = (struct alarm){.timer = RB_TIMER_INIT(on_alarm)};
    for (int step = 0; step < STEPS; step++)
        random_step(&random.random);
    ck_assert_int_gt(fired, STEPS / 20);
    fake.now += 1000;
    rb_clock_run(&fake.clock);
    ck_assert_ptr_null(first_alarm());
    ck_assert_int_eq(rb_clock_next_ms(&fake.clock), INT64_MAX);
}
END_TEST

/* Timers that write their names down, and may set or stop another when they fire. */
struct writer {
    struct rb_timer timer;
    char name;
    struct rb_timer *sets, *stops;
    int64_t sets_at_ms;
};

static char written[FIRED_MAX + 1];

static void on_writer(struct rb_timer *timer)
{
    struct writer *writer = RB_CONTAINER(timer, struct writer, timer);
    ck_assert_int_lt(fired, FIRED_MAX);
    written[fired++] = writer->name;
    written[fired] = 0;
    if (writer->sets)
        rb_timer_set(&fake.clock, writer->sets, writer->sets_at_ms);
    if (writer->stops)
        rb_timer_stop(&fake.clock, writer->stops);
}

#define WRITER(letter)                                 \
    {                                                  \
        .timer = {.fire = on_writer}, .name = (letter) \
    }

START_TEST(a_timer_set_from_a_firing_one_waits_for_the_next_run)
{
    struct writer a = WRITER('a'), b = WRITER('b');
    a.sets = &b.timer;
    a.sets_at_ms = fake.now;
    rb_timer_set(&fake.clock, &a.timer, fake.now);
    rb_clock_run(&fake.clock);
    ck_assert_str_eq(written, "a");
    ck_assert(rb_timer_is_set(&b.timer));
    rb_clock_run(&fake.clock);
    ck_assert_str_eq(written, "ab");
}
END_TEST

START_TEST(a_timer_that_sets_itself_in_the_past_does_not_keep_the_others_from_firing)
{
    struct writer a = WRITER('a'), b = WRITER('b');
    a.sets = &a.timer;
    a.sets_at_ms = fake.now - 500;
    rb_timer_set(&fake.clock, &a.timer, fake.now - 20);
    rb_timer_set(&fake.clock, &b.timer, fake.now - 10);
    rb_clock_run(&fake.clock);
    ck_assert_str_eq(written, "ab");
    rb_clock_run(&fake.clock);
    ck_assert_str_eq(written, "aba");
    rb_timer_stop(&fake.clock, &a.timer);
}
END_TEST

START_TEST(a_due_timer_stopped_by_a_firing_one_does_not_fire)
{
    struct writer a = WRITER('a'), b = WRITER('b'), c = WRITER('c');
    a.stops = &b.timer;
    rb_timer_set(&fake.clock, &c.timer, fake.now + 3);
    rb_timer_set(&fake.clock, &b.timer, fake.now + 2);
    rb_timer_set(&fake.clock, &a.timer, fake.now + 1);
    fake.now += 10;
    rb_clock_run(&fake.clock);
    ck_assert_str_eq(written, "ac");
}
END_TEST

START_TEST(a_timer_set_twice_fires_once_at_the_later_setting)
{
    struct writer a = WRITER('a');
    rb_timer_set_in(&fake.clock, &a.timer, 5);
    rb_timer_set_in(&fake.clock, &a.timer, 50);
    rb_fake_clock_advance(&fake, 49);
    ck_assert_int_eq(fired, 0);
    rb_fake_clock_advance(&fake, 1);
    ck_assert_str_eq(written, "a");
}
END_TEST

START_TEST(timers_of_one_time_fire_in_the_order_of_their_setting)
{
    struct writer a = WRITER('a'), b = WRITER('b'), c = WRITER('c');
    rb_timer_set(&fake.clock, &b.timer, fake.now);
    rb_timer_set(&fake.clock, &c.timer, fake.now);
    rb_timer_set(&fake.clock, &a.timer, fake.now);
    rb_clock_run(&fake.clock);
    ck_assert_str_eq(written, "bca");
}
END_TEST

START_TEST(a_wait_beyond_the_end_of_time_is_never)
{
    struct writer a = WRITER('a');
    rb_timer_set_in(&fake.clock, &a.timer, INT64_MAX);
    ck_assert_int_eq(rb_clock_next_ms(&fake.clock), INT64_MAX);
    rb_timer_set_in(&fake.clock, &a.timer, INT64_MIN);
    rb_clock_run(&fake.clock);
    ck_assert_str_eq(written, "a");
}
END_TEST

static int64_t seen_ms[FIRED_MAX];

static void on_tick(struct rb_timer *timer)
{
    seen_ms[fired++] = rb_clock_now_ms(&fake.clock);
    if (fired < 3)
        rb_timer_set_in(&fake.clock, timer, 10);
}

START_TEST(the_fake_clock_steps_to_each_timer_in_turn)
{
    struct rb_timer tick = RB_TIMER_INIT(on_tick);
    int64_t start = fake.now;
    rb_timer_set_in(&fake.clock, &tick, 10);
    rb_fake_clock_advance(&fake, 1000);
    ck_assert_int_eq(fired, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(seen_ms[i], start + 10 * (i + 1));
    ck_assert_int_eq(fake.now, start + 1000);
    ck_assert_int_eq(rb_clock_wall_ms(&fake.clock), RB_FAKE_WALL_MS + 1000);
}
END_TEST

START_TEST(the_kernels_clock_does_not_go_back_and_knows_the_year)
{
    struct rb_clock clock;
    rb_clock_init_system(&clock);
    int64_t before = rb_clock_now_ms(&clock);
    ck_assert_int_gt(before, 0);
    ck_assert_int_ge(rb_clock_now_ms(&clock), before);
    ck_assert_int_gt(rb_clock_wall_ms(&clock), INT64_C(1700000000000));
    ck_assert_int_eq(rb_clock_next_ms(&clock), INT64_MAX);
}
END_TEST

Suite *clock_suite(void)
{
    Suite *suite = suite_create("clock");
    TCase *tcase = tcase_create("clock");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, timers_of_a_random_schedule_fire_in_order, 1, 6);
    tcase_add_test(tcase, a_timer_set_from_a_firing_one_waits_for_the_next_run);
    tcase_add_test(tcase, a_timer_that_sets_itself_in_the_past_does_not_keep_the_others_from_firing);
    tcase_add_test(tcase, a_due_timer_stopped_by_a_firing_one_does_not_fire);
    tcase_add_test(tcase, a_timer_set_twice_fires_once_at_the_later_setting);
    tcase_add_test(tcase, timers_of_one_time_fire_in_the_order_of_their_setting);
    tcase_add_test(tcase, a_wait_beyond_the_end_of_time_is_never);
    tcase_add_test(tcase, the_fake_clock_steps_to_each_timer_in_turn);
    tcase_add_test(tcase, the_kernels_clock_does_not_go_back_and_knows_the_year);
    suite_add_tcase(suite, tcase);
    return suite;
}
