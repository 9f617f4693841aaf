#include "desk.h"

static struct desk desk;
static char *token;
static struct waiter waiter, other;

static void open_flavour(int flavour)
{
    struct rb_model_config config = RB_MODEL_CONFIG_DEFAULT;
    config.flavour = flavour ? RB_FLAVOUR_VALKEY : RB_FLAVOUR_MEMORY;
    config.rate_limits = false;
    desk_open_with(&desk, config);
    token = sign_in(&desk);
}

static void open_memory(void)
{
    open_flavour(0);
}

static void open_valkey(void)
{
    open_flavour(1);
}

static void shut(void)
{
    free(token);
    waiter_free(&waiter);
    waiter_free(&other);
    desk_close(&desk);
}

static size_t since(const char *id, int status)
{
    char body[200];
    snprintf(body, sizeof body, "{\"topics\":[\"t\"],\"since\":{\"t\":\"%s\"},\"timeout\":1}", id);
    wait_for(&desk, &other, body);
    rb_fake_clock_advance(&desk.clock, 1000);
    ck_assert_msg(other.status == status, "%s: %d", id, other.status);
    json_t *answer = json_loads(other.text, 0, NULL);
    size_t count = json_array_size(json_object_get(answer, "messages"));
    json_decref(answer);
    waiter_free(&other);
    return count;
}

START_TEST(a_waiter_hears_of_the_next_message_and_the_poll_before_is_lost)
{
    post(&desk, "t", "{\"n\":1}");
    wait_for(&desk, &waiter, "{\"topics\":[\"t\",\"t\"],\"since\":{}}");
    ck_assert_int_eq(waiter.status, -1);
    post(&desk, "u", "{}");
    ck_assert_int_eq(waiter.status, -1);
    post(&desk, "t", "{\"n\":2}");
    ck_assert_int_eq(waiter.status, 200);
    ck_assert_ptr_nonnull(strstr(waiter.text, "{\"messages\":[{\"type\":\"message\",\"message_id\":"));
    ck_assert_ptr_nonnull(strstr(waiter.text, "\"payload\":{\"n\":2},\"timestamp\":\"2026-01-01T00:00:00Z\","
                                              "\"metadata\":null}],\"has_more\":false}"));
    ck_assert_uint_eq(rb_model_waiting_polls(desk.model), 0);
}
END_TEST

START_TEST(a_poll_that_hears_nothing_ends_at_its_timeout)
{
    wait_for(&desk, &waiter, "{\"topics\":[\"t\"],\"timeout\":30.0}");
    rb_fake_clock_advance(&desk.clock, 29999);
    ck_assert_int_eq(waiter.status, -1);
    rb_fake_clock_advance(&desk.clock, 1);
    ck_assert_str_eq(waiter.text, "{\"messages\":[],\"has_more\":false}");
    ck_assert_int_eq(ask(&desk, "GET", "/api/v1/topics/t", NULL)->status, 404);
}
END_TEST

START_TEST(catching_up_has_its_own_shape)
{
    desk.clock.wall += 7;
    post(&desk, "t", "{\"n\":1}");
    const struct said *said = ask(&desk, "POST", "/messages/poll", "{\"topics\":[\"t\"],\"since\":{\"x\":\"y\"}}");
    ck_assert_int_eq(said->status, 200);
    ck_assert_ptr_nonnull(strstr(said->text, "\"timestamp\":\"2026-01-01T00:00:00.007000+00:00\",\"metadata\":{},"
                                             "\"stream_id\":null}],\"has_more\":false}"));
    ck_assert_ptr_null(strstr(said->text, "\"type\""));
}
END_TEST

START_TEST(a_topic_gives_100_and_a_topic_named_twice_comes_twice)
{
    for (int i = 0; i < 130; i++)
        post(&desk, "t", "{}");
    const struct said *said = ask(&desk, "POST", "/messages/poll", "{\"topics\":[\"t\",\"t\"],\"since\":{\"t\":\"\"}}");
    ck_assert_uint_eq(json_array_size(json_object_get(said->json, "messages")), 200);
    ck_assert(json_is_true(json_object_get(said->json, "has_more")));
}
END_TEST

START_TEST(in_memory_an_unknown_id_means_from_the_beginning)
{
    post(&desk, "t", "{}");
    char id[64];
    snprintf(id, sizeof id, "%s", text_of(post(&desk, "t", "{}"), "message_id"));
    ck_assert_uint_eq(since("0-0", 200), 2);
    ck_assert_uint_eq(since("nonsense", 200), 2);
    ck_assert_uint_eq(since(id, 200), 0);
}
END_TEST

START_TEST(with_valkey_an_id_compares_as_a_number_and_another_shape_is_500)
{
    post(&desk, "t", "{}");
    post(&desk, "t", "{}");
    ck_assert_uint_eq(since("0-0", 200), 2);
    ck_assert_uint_eq(since("0", 200), 2);
    ck_assert_uint_eq(since("1767225600000-0", 200), 1);
    ck_assert_uint_eq(since("1767225600000", 200), 1);
    ck_assert_uint_eq(since("1767225600000-1", 200), 0);
    ck_assert_uint_eq(since("1767225599999-77", 200), 2);
    ck_assert_uint_eq(since("99999999999999-0", 200), 0);
    since("nonsense", 500);
    since("1-", 500);
    since("1-1-1", 500);
    since("msg_0123456789ab", 500);
    since("18446744073709551616-0", 500);
    since("18446744073709551615-18446744073709551615", 500);
}
END_TEST

START_TEST(the_51st_waiting_poll_of_a_user_is_429)
{
    struct waiter waiters[50];
    for (int i = 0; i < 50; i++)
        wait_for(&desk, &waiters[i], "{\"topics\":[\"t\"],\"timeout\":60}");
    const struct said *said = ask(&desk, "POST", "/messages/poll", "{\"topics\":[\"t\"]}");
    ck_assert_int_eq(said->status, 429);
    ck_assert_str_eq(text_of(said, "detail"), "Too many concurrent poll connections");
    for (int i = 0; i < 49; i++)
        rb_model_poll_forget(desk.model, waiters[i].poll);
    ck_assert_int_eq(ask(&desk, "POST", "/messages/poll", "{\"topics\":[\"t\"]}")->status, 429);
    rb_fake_clock_advance(&desk.clock, 60000);
    ck_assert_uint_eq(rb_model_waiting_polls(desk.model), 0);
    ck_assert(!waiters[0].heard);
    ck_assert(waiters[49].heard);
    waiter_free(&waiters[49]);
    wait_for(&desk, &waiter, "{\"topics\":[\"t\"],\"timeout\":1}");
    ck_assert_int_eq(waiter.status, -1);
}
END_TEST

START_TEST(a_message_takes_the_place_of_a_forgotten_poll_away)
{
    wait_for(&desk, &waiter, "{\"topics\":[\"t\"],\"timeout\":60}");
    rb_model_poll_forget(desk.model, waiter.poll);
    ck_assert_uint_eq(rb_model_waiting_polls(desk.model), 1);
    post(&desk, "t", "{}");
    ck_assert_uint_eq(rb_model_waiting_polls(desk.model), 0);
    ck_assert(!waiter.heard);
}
END_TEST

START_TEST(in_the_gap_a_waiter_misses_what_only_the_next_poll_shows)
{
    rb_model_waiter_gap(desk.model, true);
    wait_for(&desk, &waiter, "{\"topics\":[\"t\"],\"timeout\":60,\"since\":{\"t\":\"0-0\"}}");
    post(&desk, "t", "{\"n\":1}");
    ck_assert_int_eq(waiter.status, -1);
    rb_fake_clock_advance(&desk.clock, 1);
    post(&desk, "t", "{\"n\":2}");
    ck_assert_int_eq(waiter.status, 200);
    ck_assert_ptr_null(strstr(waiter.text, "\"n\":1"));
    ck_assert_uint_eq(since("0-0", 200), 2);
}
END_TEST

START_TEST(a_bulk_comes_to_a_waiter_in_one_answer)
{
    wait_for(&desk, &waiter, "{\"topics\":[\"t\",\"u\"],\"timeout\":60}");
    ask(&desk, "POST", "/api/v1/messages/bulk",
        "{\"messages\":[{\"topic\":\"t\",\"payload\":{\"n\":1}},{\"topic\":\"u\",\"payload\":{\"n\":2}}]}");
    ck_assert_int_eq(waiter.status, 200);
    const char *first = strstr(waiter.text, "\"n\":1"), *second = strstr(waiter.text, "\"n\":2");
    ck_assert(first && second && first < second);
}
END_TEST

START_TEST(shuffled_waiters_step_over_messages_and_catching_up_does_not)
{
    rb_model_waiter_shuffle(desk.model, 50);
    bool stepped_over = false;
    for (int round = 0; round < 40 && !stepped_over; round++) {
        rb_model_wipe(desk.model);
        wait_for(&desk, &waiter, "{\"topics\":[\"t\"],\"timeout\":60}");
        post(&desk, "t", "{\"n\":1}");
        post(&desk, "t", "{\"n\":2}");
        ck_assert_int_eq(waiter.status, -1);
        rb_fake_clock_advance(&desk.clock, 50);
        ck_assert_int_eq(waiter.status, 200);
        stepped_over = strstr(waiter.text, "\"n\":2") && !strstr(waiter.text, "\"n\":1");
        waiter_free(&waiter);
    }
    ck_assert(stepped_over);
    ck_assert_uint_eq(since("0-0", 200), 2);
}
END_TEST

START_TEST(poison_ends_the_waiting_poll_with_500)
{
    wait_for(&desk, &waiter, "{\"topics\":[\"t\"],\"timeout\":60}");
    wait_for(&desk, &other, "{\"topics\":[\"u\"],\"timeout\":60}");
    ck_assert_int_eq(post(&desk, "t", "{\"a\":\"\\ud800\"}")->status, 201);
    ck_assert_int_eq(waiter.status, 500);
    ck_assert_int_eq(other.status, -1);
}
END_TEST

START_TEST(a_restart_cuts_waiting_polls_off)
{
    wait_for(&desk, &waiter, "{\"topics\":[\"t\"],\"timeout\":60}");
    wait_for(&desk, &other, "{\"topics\":[\"t\"],\"timeout\":60}");
    rb_model_poll_forget(desk.model, other.poll);
    rb_model_restart(desk.model);
    ck_assert_int_eq(waiter.status, 0);
    ck_assert(!other.heard);
    ck_assert_uint_eq(rb_model_waiting_polls(desk.model), 0);
}
END_TEST

#define T7 "\"t\",\"t\",\"t\",\"t\",\"t\",\"t\",\"t\""

START_TEST(polls_of_wrong_shape_are_422)
{
    static const char *const bodies[] = {
        "{}",
        "{\"topics\":[]}",
        "{\"topics\":\"t\"}",
        "{\"topics\":[\"a b\"]}",
        "{\"topics\":[1]}",
        "{\"topics\":[\"t\"],\"timeout\":0}",
        "{\"topics\":[\"t\"],\"timeout\":61}",
        "{\"topics\":[\"t\"],\"timeout\":2.5}",
        "{\"topics\":[\"t\"],\"timeout\":null}",
        "{\"topics\":[\"t\"],\"since\":[]}",
        "{\"topics\":[\"t\"],\"since\":{\"t\":1}}",
        ("{\"topics\":[" T7 "," T7 "," T7 "]}"),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        ck_assert_msg(ask(&desk, "POST", "/messages/poll", bodies[i])->status == 422, "%s", bodies[i]);
}
END_TEST

Suite *polls_suite(void)
{
    Suite *suite = suite_create("polls");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, open_memory, shut);
    tcase_add_test(tests, a_waiter_hears_of_the_next_message_and_the_poll_before_is_lost);
    tcase_add_test(tests, a_poll_that_hears_nothing_ends_at_its_timeout);
    tcase_add_test(tests, catching_up_has_its_own_shape);
    tcase_add_test(tests, a_topic_gives_100_and_a_topic_named_twice_comes_twice);
    tcase_add_test(tests, in_memory_an_unknown_id_means_from_the_beginning);
    tcase_add_test(tests, the_51st_waiting_poll_of_a_user_is_429);
    tcase_add_test(tests, a_message_takes_the_place_of_a_forgotten_poll_away);
    tcase_add_test(tests, in_the_gap_a_waiter_misses_what_only_the_next_poll_shows);
    tcase_add_test(tests, a_bulk_comes_to_a_waiter_in_one_answer);
    tcase_add_test(tests, poison_ends_the_waiting_poll_with_500);
    tcase_add_test(tests, a_restart_cuts_waiting_polls_off);
    tcase_add_test(tests, polls_of_wrong_shape_are_422);
    suite_add_tcase(suite, tests);
    tests = tcase_create("valkey");
    tcase_add_checked_fixture(tests, open_valkey, shut);
    tcase_add_test(tests, with_valkey_an_id_compares_as_a_number_and_another_shape_is_500);
    tcase_add_test(tests, shuffled_waiters_step_over_messages_and_catching_up_does_not);
    suite_add_tcase(suite, tests);
    return suite;
}
