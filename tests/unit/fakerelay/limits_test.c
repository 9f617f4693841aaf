#include "desk.h"

static struct desk desk;
static char *token;

static void open_memory(void)
{
    desk_open(&desk, RB_FLAVOUR_MEMORY);
    token = sign_in(&desk);
}

static void shut(void)
{
    free(token);
    desk_close(&desk);
}

START_TEST(after_120_posts_the_next_waits_for_the_window_that_the_first_opened)
{
    for (int i = 0; i < 120; i++) {
        ck_assert_int_eq(post(&desk, "t", "{}")->status, 201);
        rb_fake_clock_advance(&desk.clock, 100);
    }
    const struct said *said = post(&desk, "t", "{}");
    ck_assert_int_eq(said->status, 429);
    ck_assert_str_eq(text_of(said, "error"), "Rate limit exceeded: 120 per 1 minute");
    rb_fake_clock_advance(&desk.clock, 60000 - 12000 - 1);
    ck_assert_int_eq(post(&desk, "t", "{}")->status, 429);
    rb_fake_clock_advance(&desk.clock, 1);
    ck_assert_int_eq(post(&desk, "t", "{}")->status, 201);
}
END_TEST

START_TEST(what_fails_before_the_handler_does_not_count)
{
    for (int i = 0; i < 130; i++)
        ck_assert_int_eq(post(&desk, "no name", "{}")->status, 422);
    ck_assert_int_eq(post(&desk, "t", "{}")->status, 201);
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(ask(&desk, "POST", "/auth/token/refresh", "{}")->status, 422);
    for (int i = 0; i < 10; i++)
        refresh(&desk, "a.b", 401);
    refresh(&desk, "a.b", 429);
}
END_TEST

START_TEST(bulks_have_30_a_minute_and_logins_5)
{
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(
            ask(&desk, "POST", "/api/v1/messages/bulk", "{\"messages\":[{\"topic\":\"t\",\"payload\":{}}]}")->status,
            207);
    ck_assert_int_eq(
        ask(&desk, "POST", "/api/v1/messages/bulk", "{\"messages\":[{\"topic\":\"t\",\"payload\":{}}]}")->status, 429);
    ck_assert_int_eq(post(&desk, "t", "{}")->status, 201);
    for (int i = 0; i < 4; i++)
        free(sign_in(&desk));
    ck_assert_int_eq(ask_bytes(&desk, "POST", "/auth/login", "application/x-www-form-urlencoded",
                               RB_SPAN("username=alice&password=secret-alice"), false)
                         ->status,
                     429);
}
END_TEST

START_TEST(device_calls_are_limited_and_answer_that_there_is_no_provider)
{
    for (int i = 0; i < 10; i++)
        ck_assert_str_eq(text_of(ask(&desk, "POST", "/auth/device/code", NULL), "error"),
                         "device_authorization_unavailable");
    ck_assert_int_eq(ask(&desk, "POST", "/auth/device/code", NULL)->status, 429);
}
END_TEST

START_TEST(a_restart_opens_the_windows)
{
    for (int i = 0; i < 10; i++)
        refresh(&desk, "a.b", 401);
    refresh(&desk, "a.b", 429);
    rb_model_restart(desk.model);
    refresh(&desk, "a.b", 401);
}
END_TEST

START_TEST(a_body_of_a_mebibyte_is_read_and_one_byte_more_is_not)
{
    size_t len = 1048576;
    char *body = malloc(len + 1);
    ck_assert_ptr_nonnull(body);
    memset(body, ' ', len + 1);
    body[0] = '{';
    body[1] = '}';
    ck_assert_int_eq(
        ask_bytes(&desk, "POST", "/auth/token/refresh", "application/json", (struct rb_span){body, len}, false)->status,
        422);
    const struct said *said =
        ask_bytes(&desk, "POST", "/api/v1/messages", "application/json", (struct rb_span){body, len + 1}, false);
    ck_assert_int_eq(said->status, 413);
    ck_assert_str_eq(text_of(said, "error"), "PAYLOAD_TOO_LARGE");
    ck_assert_int_eq(
        ask_bytes(&desk, "POST", "/api/v1/messages", "application/json", (struct rb_span){body, len + 1}, true)->status,
        422);
    free(body);
}
END_TEST

START_TEST(the_size_is_checked_before_the_bearer_and_syntax_before_it_too)
{
    char *body = calloc(1, 1048578);
    ck_assert_ptr_nonnull(body);
    desk.bearer = NULL;
    ck_assert_int_eq(
        ask_bytes(&desk, "POST", "/api/v1/messages", "application/json", (struct rb_span){body, 1048577}, false)
            ->status,
        413);
    free(body);
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages", "{x")->status, 422);
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages", "\xff")->status, 400);
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages", "{}")->status, 401);
}
END_TEST

Suite *limits_suite(void)
{
    Suite *suite = suite_create("limits");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, open_memory, shut);
    tcase_add_test(tests, after_120_posts_the_next_waits_for_the_window_that_the_first_opened);
    tcase_add_test(tests, what_fails_before_the_handler_does_not_count);
    tcase_add_test(tests, bulks_have_30_a_minute_and_logins_5);
    tcase_add_test(tests, device_calls_are_limited_and_answer_that_there_is_no_provider);
    tcase_add_test(tests, a_restart_opens_the_windows);
    tcase_add_test(tests, a_body_of_a_mebibyte_is_read_and_one_byte_more_is_not);
    tcase_add_test(tests, the_size_is_checked_before_the_bearer_and_syntax_before_it_too);
    suite_add_tcase(suite, tests);
    return suite;
}
