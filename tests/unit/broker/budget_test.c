#include <check.h>
#include <stdlib.h>

#include "budget.h"
#include "fake.h"

static struct rb_fake_clock fake;
static struct rb_broker_config config;
static struct rb_ports ports;
static struct rb_budgets *budgets;

static const char relay[] = "http://127.0.0.1:9000", other[] = "https://relay.example";

static void setup(void)
{
    rb_fake_clock_init(&fake);
    config = rb_broker_config_default;
    config.refreshes_per_minute = 3;
    ports = (struct rb_ports){.clock = &fake.clock, .config = &config};
    struct rb_error err;
    ck_assert_int_eq(rb_budgets_new(&ports, &budgets, &err), RB_OK);
}

static void teardown(void)
{
    rb_budgets_free(budgets);
}

static int take_all(const char *url, enum rb_budget_kind kind)
{
    int taken = 0;
    while (taken < 1000 && rb_budget_take(budgets, url, kind) == 0)
        taken++;
    return taken;
}

START_TEST(a_window_gives_what_is_configured_and_opens_again_after_a_minute)
{
    ck_assert_int_eq(take_all(relay, RB_BUDGET_REFRESH), 3);
    int64_t wait_ms = rb_budget_take(budgets, relay, RB_BUDGET_REFRESH);
    ck_assert_int_ge(wait_ms, 60 * 1000);
    ck_assert_int_le(wait_ms, 62 * 1000);
    fake.now += wait_ms - 1;
    ck_assert_int_eq(rb_budget_wait_ms(budgets, relay, RB_BUDGET_REFRESH), 1);
    fake.now += 1;
    ck_assert_int_eq(take_all(relay, RB_BUDGET_REFRESH), 3);
}
END_TEST

START_TEST(the_minute_begins_with_the_first_request_and_not_before)
{
    fake.now += 50 * 1000;
    ck_assert_int_eq(rb_budget_take(budgets, relay, RB_BUDGET_REFRESH), 0);
    fake.now += 30 * 1000;
    ck_assert_int_eq(take_all(relay, RB_BUDGET_REFRESH), 2);
    ck_assert_int_eq(rb_budget_wait_ms(budgets, relay, RB_BUDGET_REFRESH), 31 * 1000);
}
END_TEST

START_TEST(kinds_and_relays_do_not_share)
{
    ck_assert_int_eq(take_all(relay, RB_BUDGET_REFRESH), 3);
    ck_assert_int_eq(take_all(relay, RB_BUDGET_LOGIN), 5);
    ck_assert_int_eq(take_all(other, RB_BUDGET_REFRESH), 3);
}
END_TEST

START_TEST(a_429_closes_the_window_until_retry_after)
{
    ck_assert_int_eq(rb_budget_take(budgets, relay, RB_BUDGET_POST), 0);
    rb_budget_refused(budgets, relay, RB_BUDGET_POST, 7000);
    ck_assert_int_eq(rb_budget_take(budgets, relay, RB_BUDGET_POST), 7000);
    fake.now += 7000;
    ck_assert_int_eq(rb_budget_take(budgets, relay, RB_BUDGET_POST), 0);
}
END_TEST

START_TEST(a_429_without_retry_after_closes_it_until_its_end)
{
    ck_assert_int_eq(rb_budget_take(budgets, relay, RB_BUDGET_POST), 0);
    fake.now += 20 * 1000;
    rb_budget_refused(budgets, relay, RB_BUDGET_POST, -1);
    ck_assert_int_eq(rb_budget_take(budgets, relay, RB_BUDGET_POST), 41 * 1000);
}
END_TEST

START_TEST(a_429_teaches_a_lower_limit_that_grows_back)
{
    for (int i = 0; i < 101; i++)
        ck_assert_int_eq(rb_budget_take(budgets, relay, RB_BUDGET_POST), 0);
    rb_budget_refused(budgets, relay, RB_BUDGET_POST, -1);
    fake.now += 61 * 1000;
    ck_assert_int_eq(take_all(relay, RB_BUDGET_POST), 100);
    fake.now += 61 * 1000;
    int next = take_all(relay, RB_BUDGET_POST);
    ck_assert_int_gt(next, 100);
    ck_assert_int_le(next, 120);
}
END_TEST

START_TEST(a_429_to_the_first_request_does_not_lower_the_limit_to_nothing)
{
    ck_assert_int_eq(rb_budget_take(budgets, relay, RB_BUDGET_POST), 0);
    rb_budget_refused(budgets, relay, RB_BUDGET_POST, -1);
    fake.now += 61 * 1000;
    ck_assert_int_ge(take_all(relay, RB_BUDGET_POST), 60);
}
END_TEST

START_TEST(without_a_configured_limit_a_429_closes_its_window_and_teaches_nothing)
{
    config.posts_per_minute = 0;
    ck_assert_int_eq(take_all(other, RB_BUDGET_POST), 1000);
    rb_budget_refused(budgets, other, RB_BUDGET_POST, 2000);
    ck_assert_int_gt(rb_budget_take(budgets, other, RB_BUDGET_POST), 0);
    fake.now += 2000;
    ck_assert_int_eq(take_all(other, RB_BUDGET_POST), 1000);
}
END_TEST

START_TEST(what_never_left_is_given_back)
{
    ck_assert_int_eq(take_all(relay, RB_BUDGET_REFRESH), 3);
    rb_budget_give_back(budgets, relay, RB_BUDGET_REFRESH);
    ck_assert_int_eq(take_all(relay, RB_BUDGET_REFRESH), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("budget");
    TCase *tests = tcase_create("budget");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_window_gives_what_is_configured_and_opens_again_after_a_minute);
    tcase_add_test(tests, the_minute_begins_with_the_first_request_and_not_before);
    tcase_add_test(tests, kinds_and_relays_do_not_share);
    tcase_add_test(tests, a_429_closes_the_window_until_retry_after);
    tcase_add_test(tests, a_429_without_retry_after_closes_it_until_its_end);
    tcase_add_test(tests, a_429_teaches_a_lower_limit_that_grows_back);
    tcase_add_test(tests, a_429_to_the_first_request_does_not_lower_the_limit_to_nothing);
    tcase_add_test(tests, without_a_configured_limit_a_429_closes_its_window_and_teaches_nothing);
    tcase_add_test(tests, what_never_left_is_given_back);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
