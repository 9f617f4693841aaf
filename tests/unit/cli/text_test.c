#include "cli_test.h"

#include "admin_client.h"
#include "json_line.h"
#include "status_text.h"

static void line_is(const char *json, const char *line)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    struct rb_json_value value;
    ck_assert_int_eq(rb_json_check(rb_span_of(json), 100, &value, NULL), RB_JSON_FINE);
    rb_json_line(&out, value);
    ck_assert_str_eq(out.at, line);
}

START_TEST(a_json_line_is_one_line_of_the_same_bytes)
{
    line_is(" { \"a\" :\n [ 1 ,\t2 ] , \"b c\" : \"d \\\" e\" , \"n\": 1e400 }",
            "{\"a\":[1,2],\"b c\":\"d \\\" e\",\"n\":1e400}");
    line_is("\"x\\\\\"", "\"x\\\\\"");
    line_is("[ \"\\\\\" , \"  \" ]", "[\"\\\\\",\"  \"]");
}
END_TEST

START_TEST(a_json_line_drives_no_terminal)
{
    line_is("\"\xc2\x9b"
            "31m \xe2\x80\xae \x7f \xc3\xa4\"",
            "\"\\u009b31m \\u202e \\u007f \xc3\xa4\"");
}
END_TEST

static void duration_is(int64_t seconds, const char *text)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    rb_add_duration(&out, seconds);
    ck_assert_str_eq(out.at, text);
}

START_TEST(durations_have_two_units)
{
    duration_is(-5, "0 s");
    duration_is(59, "59 s");
    duration_is(60, "1 min");
    duration_is(3599, "59 min 59 s");
    duration_is(3600, "1 h");
    duration_is(3660, "1 h 1 min");
    duration_is(3659, "1 h");
    duration_is(90000, "1 d 1 h");
}
END_TEST

static void bytes_are(int64_t bytes, const char *text)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    rb_add_bytes(&out, bytes);
    ck_assert_str_eq(out.at, text);
}

START_TEST(bytes_have_a_unit)
{
    bytes_are(1, "1 byte");
    bytes_are(1023, "1023 bytes");
    bytes_are(1536, "1.5 KiB");
    bytes_are((1 << 20) - 1, "1.0 MiB");
    bytes_are(INT64_C(5) << 30, "5.0 GiB");
}
END_TEST

START_TEST(a_status_of_any_shape_is_printed)
{
    static const char *const shapes[] = {
        "{}",
        "{\"doors\": 5, \"accounts\": [null, 3, {\"name\": 7}], \"events\": [[]], \"outbox\": \"x\"}",
    };
    for (size_t i = 0; i < 2; i++) {
        RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
        RB_CLEANUP_JSON json_t *status = json_loads(shapes[i], 0, NULL);
        rb_status_text_add(status, &out);
        ck_assert(out.len > 0 && !rb_str_failed(&out));
    }
}
END_TEST

START_TEST(a_door_for_everybody_and_a_needed_login_are_loud)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    RB_CLEANUP_JSON json_t *status = json_pack("{s[{ss ss s[s]}] s[{ss ss ss}]}", "doors", "name", "default", "uids",
                                               "any", "listen", "http://127.0.0.1:7420", "accounts", "name", "main",
                                               "state", "login_required", "last_problem", "bad\x1b[31m");
    rb_status_text_add(status, &out);
    ck_assert_ptr_nonnull(strstr(out.at, "!!! EVERY LOCAL USER MAY COME IN (uids = any)"));
    ck_assert_ptr_nonnull(strstr(out.at, "LOGIN REQUIRED"));
    ck_assert_ptr_nonnull(strstr(out.at, "http://127.0.0.1:7420"));
    ck_assert_ptr_nonnull(strstr(out.at, "last problem: bad\\x1b[31m"));
}
END_TEST

static const struct {
    int status;
    const char *body, *sentence;
    enum rb_status means;
} refusals[] = {
    {404, "{\"type\":\"t\",\"title\":\"Not Found\",\"status\":404,\"detail\":\"No such account.\"}", "No such account.",
     RB_DENIED},
    {422, "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\"],\"msg\":\"A topic is missing.\"}]}",
     "A topic is missing.", RB_DENIED},
    {503, "{\"error\":\"UNAVAILABLE\",\"message\":\"No login now.\"}", "No login now.", RB_BUSY},
    {503, "", "The daemon is stopping, or has too much to do: try again.", RB_BUSY},
    {500, "<html>", "The daemon answered with status 500 and no reason.", RB_BUSY},
};

START_TEST(a_refusal_is_told_in_the_words_of_whoever_refused)
{
    struct rb_reply reply = {.status = refusals[_i].status};
    struct rb_error err = {0};
    rb_str_add(&reply.body, refusals[_i].body);
    ck_assert_int_eq(rb_reply_refused(&reply, &err), refusals[_i].means);
    ck_assert_str_eq(err.text, refusals[_i].sentence);
    rb_reply_free(&reply);
}
END_TEST

START_TEST(a_daemon_that_is_not_there_cannot_be_reached)
{
    struct rb_client *client;
    struct rb_error err = {0};
    ck_assert_int_eq(rb_client_of_socket("/nonexistent/admin.sock", &client, &err), RB_OK);
    ck_assert_int_eq(rb_client_json(client, "GET", "/admin/status", NULL, NULL, &err), RB_UNAVAILABLE);
    ck_assert(!rb_client_socket_open("/nonexistent/admin.sock"));
    rb_client_free(client);
    ck_assert_int_eq(rb_client_of_url("http://relay.example.org", &client, &err), RB_INVALID);
}
END_TEST

Suite *text_suite(void)
{
    Suite *suite = suite_create("text");
    TCase *tests = tcase_create("text");
    tcase_add_test(tests, a_json_line_is_one_line_of_the_same_bytes);
    tcase_add_test(tests, a_json_line_drives_no_terminal);
    tcase_add_test(tests, durations_have_two_units);
    tcase_add_test(tests, bytes_have_a_unit);
    tcase_add_test(tests, a_status_of_any_shape_is_printed);
    tcase_add_test(tests, a_door_for_everybody_and_a_needed_login_are_loud);
    tcase_add_loop_test(tests, a_refusal_is_told_in_the_words_of_whoever_refused, 0,
                        (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(tests, a_daemon_that_is_not_there_cannot_be_reached);
    suite_add_tcase(suite, tests);
    return suite;
}
