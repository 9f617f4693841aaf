#include "desk.h"

static struct desk desk;
static char *token;

static void open_memory(void)
{
    struct rb_model_config config = RB_MODEL_CONFIG_DEFAULT;
    config.rate_limits = false;
    desk_open_with(&desk, config);
    token = sign_in(&desk);
}

static void shut(void)
{
    free(token);
    desk_close(&desk);
}

/* Posts the payload and expects it back as `printed`. */
static void comes_back(const char *payload, const char *printed)
{
    ck_assert_int_eq(post(&desk, "t", payload)->status, 201);
    struct rb_model_message message;
    size_t newest = rb_model_topic_length(desk.model, "alice", "t") - 1;
    ck_assert(rb_model_topic_message(desk.model, "alice", "t", newest, &message));
    ck_assert_str_eq(message.payload.at, printed);
}

START_TEST(numbers_are_printed_as_the_relay_prints_them)
{
    comes_back("{\"a\": 1e2}", "{\"a\":100.0}");
    comes_back("{\"a\":[1E400,NaN,-Infinity]}", "{\"a\":[null,null,null]}");
    comes_back("{\"a\":[0,-0,-0.0,1.10,123456789.123456789]}", "{\"a\":[0,0,-0.0,1.1,123456789.12345679]}");
    comes_back("{\"a\":[1e15,1e16,12345678901234567.0]}", "{\"a\":[1000000000000000.0,1e+16,1.2345678901234568e+16]}");
    comes_back("{\"a\":[1e22,1.5e300,5e-324]}", "{\"a\":[1e+22,1.5e+300,5e-324]}");
    comes_back("{\"a\":[1e-4,0.00001,1e-7,12.5]}", "{\"a\":[0.0001,0.00001,1e-7,12.5]}");
    comes_back("{\"a\":123456789012345678901234567890}", "{\"a\":123456789012345678901234567890}");
}
END_TEST

START_TEST(of_duplicate_keys_the_last_value_takes_the_first_place)
{
    comes_back("{\"a\":1,\"b\":2,\"\\u0061\":3,\"c\":{\"x\":1,\"y\":2,\"x\":[ ]}}",
               "{\"a\":3,\"b\":2,\"c\":{\"x\":[],\"y\":2}}");
}
END_TEST

START_TEST(escapes_come_back_as_characters)
{
    comes_back("{\"a\":\"\\ud83d\\ude00 \\u0000\\u001f \\u007f \\/ \\b\\f\\n\\t\\\" \\u00e9\"}",
               "{\"a\":\"\xf0\x9f\x98\x80 \\u0000\\u001f \x7f / \\b\\f\\n\\t\\\" \xc3\xa9\"}");
}
END_TEST

START_TEST(an_integer_of_too_many_digits_is_a_bad_body)
{
    char digits[4400] = "{\"a\":";
    memset(digits + 5, '9', 4300);
    memset(digits + 4305, '}', 1);
    ck_assert_int_eq(post(&desk, "t", digits)->status, 201);
    memset(digits + 4305, '9', 1);
    memset(digits + 4306, '}', 1);
    ck_assert_int_eq(post(&desk, "t", digits)->status, 400);
}
END_TEST

static char *nested(int levels, const char *inside)
{
    struct rb_str text = RB_STR_INIT;
    for (int i = 0; i < levels; i++)
        rb_str_add(&text, "{\"a\":");
    rb_str_add(&text, inside);
    for (int i = 0; i < levels; i++)
        rb_str_add(&text, "}");
    return rb_str_steal(&text);
}

static int post_nested(int levels, const char *inside)
{
    RB_CLEANUP_FREE char *payload = nested(levels, inside);
    return post(&desk, "deep", payload)->status;
}

static int page(void)
{
    return ask(&desk, "GET", "/api/v1/topics/deep/messages?limit=1", NULL)->status;
}

static int poll(void)
{
    return ask(&desk, "POST", "/messages/poll", "{\"topics\":[\"deep\"],\"since\":{\"deep\":\"0-0\"}}")->status;
}

START_TEST(a_value_on_level_256_breaks_polls_only)
{
    ck_assert_int_eq(post_nested(254, "1"), 201);
    ck_assert_int_eq(poll(), 200);
    ck_assert_int_eq(post_nested(255, "1"), 201);
    ck_assert_int_eq(page(), 200);
    ck_assert_int_eq(poll(), 500);
}
END_TEST

START_TEST(a_value_on_level_257_is_stored_although_the_post_is_500)
{
    ck_assert_int_eq(post_nested(256, "1"), 500);
    ck_assert_int_eq(post_nested(256, "{}"), 500);
    ck_assert_uint_eq(rb_model_topic_length(desk.model, "alice", "deep"), 2);
    ck_assert_int_eq(page(), 500);
    ck_assert_int_eq(poll(), 500);
    ck_assert_int_eq(post_nested(956, "1"), 400);
}
END_TEST

START_TEST(a_lone_surrogate_is_stored_and_breaks_reading)
{
    ck_assert_int_eq(post(&desk, "deep", "{\"a\":\"\\ud800\"}")->status, 201);
    ck_assert_int_eq(page(), 500);
    ck_assert_int_eq(poll(), 500);
}
END_TEST

START_TEST(a_lone_surrogate_in_a_key_breaks_polls_only)
{
    ck_assert_int_eq(post(&desk, "deep", "{\"\\udc00\":1}")->status, 201);
    ck_assert_int_eq(page(), 200);
    ck_assert_int_eq(poll(), 500);
}
END_TEST

START_TEST(a_cursor_on_the_poisoned_message_gets_past_it)
{
    ck_assert_int_eq(post(&desk, "deep", "{\"n\":1}")->status, 201);
    const struct said *said = post(&desk, "deep", "{\"a\":\"\\ud800\"}");
    char body[200];
    snprintf(body, sizeof body, "{\"topics\":[\"deep\"],\"since\":{\"deep\":\"%s\"}}", text_of(said, "message_id"));
    ck_assert_int_eq(post(&desk, "deep", "{\"n\":2}")->status, 201);
    ck_assert_int_eq(poll(), 500);
    ck_assert_int_eq(page(), 200);
    said = ask(&desk, "POST", "/messages/poll", body);
    ck_assert_int_eq(said->status, 200);
    ck_assert_uint_eq(json_array_size(json_object_get(said->json, "messages")), 1);
}
END_TEST

Suite *normal_suite(void)
{
    Suite *suite = suite_create("payloads");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, open_memory, shut);
    tcase_add_test(tests, numbers_are_printed_as_the_relay_prints_them);
    tcase_add_test(tests, of_duplicate_keys_the_last_value_takes_the_first_place);
    tcase_add_test(tests, escapes_come_back_as_characters);
    tcase_add_test(tests, an_integer_of_too_many_digits_is_a_bad_body);
    tcase_add_test(tests, a_value_on_level_256_breaks_polls_only);
    tcase_add_test(tests, a_value_on_level_257_is_stored_although_the_post_is_500);
    tcase_add_test(tests, a_lone_surrogate_is_stored_and_breaks_reading);
    tcase_add_test(tests, a_lone_surrogate_in_a_key_breaks_polls_only);
    tcase_add_test(tests, a_cursor_on_the_poisoned_message_gets_past_it);
    suite_add_tcase(suite, tests);
    return suite;
}
