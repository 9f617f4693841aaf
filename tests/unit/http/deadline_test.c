#include <sys/socket.h>
#include <unistd.h>

#include "web.h"

#define HOST "Host: localhost\r\n"

static void start(void)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    limits.arrive_ms = 1000;
    limits.idle_ms = 5000;
    web_start_with(&limits);
}

/* Time moves; the loop sees it in its next turns, as it would see a process that was stopped. */
static void later(int64_t ms)
{
    web.clock.now += ms;
    for (int i = 0; i < 5; i++)
        web_turn();
}

static unsigned wanted;
static bool connected(void)
{
    struct rb_http_stats stats;
    rb_http_server_stats(web.server, &stats);
    return stats.connections == wanted;
}

static void until_connected(unsigned count)
{
    wanted = count;
    web_until(connected);
}

static void say_slowly(const char *text, int expected_status)
{
    int fd = web_connect();
    until_connected(1);
    size_t len = strlen(text);
    /* A byte every 0.3 s: the library's own timeout would start anew with each. */
    for (size_t i = 0; i < len && i < 4; i++) {
        web_send(fd, text + i, 1);
        later(300);
    }
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, expected_status);
    web_forget(&answer);
    ck_assert(web_is_closed(fd));
    close(fd);
    until_connected(0);
    ck_assert_uint_eq(web.handled, 0);
}

START_TEST(a_slow_request_line_is_cut)
{
    say_slowly("GET /hello HTTP/1.1\r\n", 408);
}
END_TEST

START_TEST(a_slow_head_is_cut)
{
    int fd = web_connect();
    web_say(fd, "GET /hello HTTP/1.1\r\n");
    until_connected(1);
    for (int i = 0; i < 4; i++) {
        web_say(fd, "X: y\r\n");
        later(300);
    }
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, 408);
    ck_assert_ptr_nonnull(strstr(answer.head, "\r\nX-Content-Type-Options: nosniff\r\n"));
    ck_assert_ptr_nonnull(strstr(answer.body, "\"detail\""));
    web_forget(&answer);
    ck_assert(web_is_closed(fd));
    close(fd);
    ck_assert_uint_eq(web.handled, 0);
}
END_TEST

START_TEST(a_slow_body_is_cut)
{
    int fd = web_connect();
    web_say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n");
    until_connected(1);
    for (int i = 0; i < 4; i++) {
        web_say(fd, " ");
        later(300);
    }
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, 408);
    web_forget(&answer);
    ck_assert(web_is_closed(fd));
    close(fd);
    until_connected(0);
    struct rb_http_stats stats;
    rb_http_server_stats(web.server, &stats);
    ck_assert_uint_eq(stats.buffered_body_bytes, 0);
}
END_TEST

START_TEST(a_request_within_its_time_is_served)
{
    static const char request[] = "GET /hello HTTP/1.1\r\n" HOST "\r\n";
    int fd = web_connect();
    until_connected(1);
    for (int i = 0; i < 3; i++) {
        /* Each has its own second. */
        web_send(fd, request, 25);
        later(700);
        web_send(fd, request + 25, sizeof request - 1 - 25);
        struct web_answer answer = web_read(fd);
        ck_assert_int_eq(answer.status, 200);
        web_forget(&answer);
    }
    close(fd);
}
END_TEST

START_TEST(what_lay_in_the_socket_during_a_stall_is_served)
{
    int fd = web_connect();
    web_say(fd, "POST /length HTTP/1.1\r\n" HOST "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n");
    until_connected(1);
    RB_CLEANUP_FREE char *body = calloc(1, 100000);
    ck_assert_int_eq(write(fd, body, 100000), 100000);
    /* The process stands still past the deadline; then it finds all of it. */
    web.clock.now += 60000;
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, 200);
    web_forget(&answer);
    close(fd);
}
END_TEST

START_TEST(a_connection_that_never_spoke_is_cut)
{
    int fd = web_connect();
    until_connected(1);
    later(900);
    until_connected(1);
    later(200);
    until_connected(0);
    close(fd);
}
END_TEST

START_TEST(an_idle_connection_is_closed_without_a_word)
{
    int fd = web_connect();
    web_say(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    struct web_answer answer = web_read(fd);
    web_forget(&answer);
    later(4900);
    until_connected(1);
    later(200);
    ck_assert(web_is_closed(fd));
    close(fd);
    until_connected(0);
}
END_TEST

/* The library does not hear of an end that came with the last bytes. */
START_TEST(a_caller_that_asks_and_leaves_in_one_breath_is_let_go_soon)
{
    static const char request[] = "GET /hello HTTP/1.1\r\n" HOST "\r\n";
    int fd = web_connect();
    until_connected(1);
    ck_assert_int_eq(write(fd, request, sizeof request - 1), sizeof request - 1);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, 200);
    web_forget(&answer);
    later(1100);
    until_connected(0);
    close(fd);
}
END_TEST

static bool is_parked(void)
{
    return web.parked_count == 1;
}

START_TEST(a_parked_request_has_no_deadline)
{
    int fd = web_connect();
    web_say(fd, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    web_until(is_parked);
    later(1000000);
    rb_http_answer(web.parked[0], 200, "text/plain", RB_SPAN("late"));
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, 200);
    web_forget(&answer);
    close(fd);
}
END_TEST

Suite *deadline_suite(void)
{
    Suite *suite = suite_create("deadline");
    TCase *tests = tcase_create("deadline");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, start, web_stop);
    tcase_add_test(tests, a_slow_request_line_is_cut);
    tcase_add_test(tests, a_slow_head_is_cut);
    tcase_add_test(tests, a_slow_body_is_cut);
    tcase_add_test(tests, a_request_within_its_time_is_served);
    tcase_add_test(tests, what_lay_in_the_socket_during_a_stall_is_served);
    tcase_add_test(tests, a_connection_that_never_spoke_is_cut);
    tcase_add_test(tests, an_idle_connection_is_closed_without_a_word);
    tcase_add_test(tests, a_caller_that_asks_and_leaves_in_one_breath_is_let_go_soon);
    tcase_add_test(tests, a_parked_request_has_no_deadline);
    suite_add_tcase(suite, tests);
    return suite;
}
