#include <unistd.h>

#include "web.h"

#define TAIL " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static void gives(const char *target, int status, const char *body)
{
    RB_CLEANUP_STR struct rb_str request = RB_STR_INIT;
    rb_str_addf(&request, "GET %s" TAIL, target);
    struct web_answer answer = web_ask(request.at);
    ck_assert_msg(answer.status == status, "%s: %d", target, answer.status);
    if (body)
        ck_assert_str_eq(answer.body, body);
    web_forget(&answer);
}

START_TEST(a_parameter_is_decoded_once)
{
    gives("/item/plain", 200, "plain");
    gives("/item/a%20b%C3%A9", 200, "a b\xc3\xa9");
    gives("/item/a+b", 200, "a+b");
    gives("/item/%2561", 200, "%61");
    gives("/item/%252f", 200, "%2f");
    gives("/item/%252e%252e", 200, "%2e%2e");
    gives("/item/a/of/b", 200, "a|b");
    gives("/item/%61/of/%62", 200, "a|b");
    gives("/item/name?x=/y", 200, "name");
}
END_TEST

START_TEST(a_parameter_that_would_be_another_path_is_404)
{
    static const char *const targets[] = {"/item/%2f",
                                          "/item/a%2Fb",
                                          "/item/%2e%2e",
                                          "/item/..",
                                          "/item/.",
                                          "/item/%2e",
                                          "/item/%00",
                                          "/item/a%00b",
                                          "/item/%0a",
                                          "/item/%7f",
                                          "/item/%c2%80",
                                          "/item/%ff",
                                          "/item/%c0%af",
                                          "/item/%ed%a0%80",
                                          "/item/%",
                                          "/item/%4",
                                          "/item/%zz",
                                          "/item/",
                                          "/item/a/",
                                          "/item//of/b",
                                          "/item/a/b",
                                          "/item/../hello",
                                          "/hello/",
                                          "//hello",
                                          "/%68ello",
                                          "/hello%2f",
                                          "/item%2fname",
                                          "/HELLO",
                                          "/",
                                          "/item/a/of/%2e%2e"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        gives(targets[i], 404, NULL);
    ck_assert_uint_eq(web.handled, 0);
}
END_TEST

START_TEST(a_query_parameter_is_decoded_once)
{
    gives("/query?name=a%20b+c", 200, "a b c");
    gives("/query?x=1&name=2&name=3", 200, "2");
    gives("/query?name=", 200, "");
    gives("/query?name", 200, "");
    gives("/query?name=a=b", 200, "a=b");
    gives("/query?name=%252f", 200, "%2f");
    gives("/query?names=1", 404, NULL);
    gives("/query?", 404, NULL);
    gives("/query", 404, NULL);
}
END_TEST

START_TEST(a_badly_encoded_query_is_400)
{
    gives("/query?name=%", 400, NULL);
    gives("/query?name=%0", 400, NULL);
    gives("/query?name=%00", 400, NULL);
    gives("/query?name=%0d%0a", 400, NULL);
    gives("/query?other=%ff&name=a", 400, NULL);
    ck_assert_uint_eq(web.handled, 0);
}
END_TEST

START_TEST(another_method_is_405_with_allow)
{
    static const char *const methods[] = {"POST", "PUT", "HEAD", "PATCH", "get", "TRACE"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        RB_CLEANUP_STR struct rb_str request = RB_STR_INIT;
        rb_str_addf(&request, "%s /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", methods[i]);
        int fd = web_connect();
        web_say(fd, request.at);
        RB_CLEANUP_STR struct rb_str all = RB_STR_INIT;
        web_read_all(fd, &all);
        ck_assert_ptr_nonnull(strstr(all.at, "HTTP/1.1 405 "));
        ck_assert_ptr_nonnull(strstr(all.at, "\r\nAllow: GET, DELETE\r\n"));
        close(fd);
    }
    ck_assert_uint_eq(web.handled, 0);
}
END_TEST

START_TEST(a_405_keeps_the_connection)
{
    int fd = web_connect();
    for (int i = 0; i < 3; i++) {
        web_say(fd, "PUT /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc");
        struct web_answer answer = web_read(fd);
        ck_assert_int_eq(answer.status, 405);
        web_forget(&answer);
    }
    close(fd);
}
END_TEST

START_TEST(form_fields_are_decoded)
{
    struct web_answer answer =
        web_ask("POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                "Content-Length: 36\r\n\r\ngrant_type=password&username=a+b%26c");
    ck_assert_int_eq(answer.status, 200);
    ck_assert_str_eq(answer.body, "a b&c");
    web_forget(&answer);
    ck_assert_int_eq(web_status("POST /form HTTP/1.1\r\nHost: localhost\r\n"
                                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 12\r\n\r\n"
                                "username=%zz"),
                     422);
    ck_assert_int_eq(web_status("POST /form HTTP/1.1\r\nHost: localhost\r\n"
                                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n"),
                     422);
}
END_TEST

START_TEST(the_bearer_is_taken_from_authorization)
{
    static const struct {
        const char *header, *bearer;
    } cases[] = {{"Authorization: Bearer abc.def", "abc.def"},
                 {"authorization: bearer   abc ", "abc"},
                 {"Authorization: Basic abc", ""},
                 {"Authorization: Bearer", ""},
                 {"Authorization: Bearerabc", ""},
                 {"X: y", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        RB_CLEANUP_STR struct rb_str request = RB_STR_INIT;
        rb_str_addf(&request, "GET /bearer HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", cases[i].header);
        struct web_answer answer = web_ask(request.at);
        ck_assert_str_eq(answer.body, cases[i].bearer);
        ck_assert_ptr_nonnull(strstr(answer.head, "\r\nX-Test: yes\r\n"));
        web_forget(&answer);
    }
}
END_TEST

START_TEST(a_problem_has_the_shape_of_rfc_9457)
{
    struct web_answer answer = web_ask("GET /nowhere" TAIL);
    ck_assert_ptr_nonnull(strstr(answer.head, "\r\nContent-Type: application/problem+json\r\n"));
    RB_CLEANUP_JSON json_t *tree = json_loads(answer.body, 0, NULL);
    const char *type, *title, *detail;
    int status;
    ck_assert_int_eq(json_unpack(tree, "{s:s, s:s, s:i, s:s !}", "type", &type, "title", &title, "status", &status,
                                 "detail", &detail),
                     0);
    ck_assert_str_eq(type, "urn:relay-broker:not_found");
    ck_assert_int_eq(status, 404);
    web_forget(&answer);
}
END_TEST

Suite *router_suite(void)
{
    Suite *suite = suite_create("router");
    TCase *tests = tcase_create("router");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, web_start, web_stop);
    tcase_add_test(tests, a_parameter_is_decoded_once);
    tcase_add_test(tests, a_parameter_that_would_be_another_path_is_404);
    tcase_add_test(tests, a_query_parameter_is_decoded_once);
    tcase_add_test(tests, a_badly_encoded_query_is_400);
    tcase_add_test(tests, another_method_is_405_with_allow);
    tcase_add_test(tests, a_405_keeps_the_connection);
    tcase_add_test(tests, form_fields_are_decoded);
    tcase_add_test(tests, the_bearer_is_taken_from_authorization);
    tcase_add_test(tests, a_problem_has_the_shape_of_rfc_9457);
    suite_add_tcase(suite, tests);
    return suite;
}
