#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "web.h"

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define JSON HOST "Content-Type: application/json\r\n"

enum { MIB = 1 << 20 };

static struct rb_http_stats stats(void)
{
    struct rb_http_stats now;
    rb_http_server_stats(web.server, &now);
    return now;
}

static void answer_parked(unsigned index, const char *text)
{
    struct rb_http_request *request = web.parked[index];
    web.parked[index] = NULL;
    rb_http_answer(request, 200, "text/plain", rb_span_of(text));
}

static unsigned wanted;
static bool wanted_are_parked(void)
{
    return web.parked_count >= wanted;
}

static void until_parked(unsigned count)
{
    wanted = count;
    web_until(wanted_are_parked);
}

static void expect(int fd, int status, const char *body)
{
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, status);
    if (body)
        ck_assert_str_eq(answer.body, body);
    web_forget(&answer);
}

START_TEST(a_connection_serves_many_requests)
{
    int fd = web_connect();
    for (int i = 0; i < 100; i++) {
        web_say(fd, GET("/hello"));
        expect(fd, 200, "hello");
        web_say(fd, "POST /echo HTTP/1.1\r\n" JSON "Content-Length: 7\r\n\r\n{\"a\":1}");
        expect(fd, 200, "{\"a\":1}");
    }
    ck_assert_uint_eq(stats().connections_total, 1);
    ck_assert_uint_eq(stats().requests, 200);
    ck_assert_uint_eq(stats().buffered_body_bytes, 0);
    close(fd);
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_order)
{
    int fd = web_connect();
    RB_CLEANUP_STR struct rb_str all = RB_STR_INIT;
    for (int i = 0; i < 50; i++)
        rb_str_addf(
            &all, "GET /item/%d HTTP/1.1\r\n" HOST "\r\nPOST /length HTTP/1.1\r\n" JSON "Content-Length: 3\r\n\r\n123",
            i);
    web_send(fd, all.at, all.len);
    for (int i = 0; i < 50; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        expect(fd, 200, number);
        expect(fd, 200, "3");
    }
    close(fd);
}
END_TEST

START_TEST(a_request_behind_a_parked_one_waits_for_it)
{
    int fd = web_connect();
    web_say(fd, GET("/park") GET("/hello"));
    until_parked(1);
    web_turn();
    ck_assert_uint_eq(web.handled, 1);
    answer_parked(0, "first");
    expect(fd, 200, "first");
    expect(fd, 200, "hello");
    close(fd);
}
END_TEST

static void *body_of(size_t len)
{
    char *body = malloc(len);
    ck_assert_ptr_nonnull(body);
    memset(body, ' ', len);
    return body;
}

START_TEST(a_body_of_one_mebibyte_is_taken_whole)
{
    RB_CLEANUP_FREE char *body = body_of(MIB);
    int fd = web_connect();
    web_say(fd, "POST /echo HTTP/1.1\r\n" JSON "Content-Length: 1048576\r\n\r\n");
    web_send(fd, body, MIB);
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_uint_eq(answer.body_len, MIB);
    ck_assert_int_eq(memcmp(answer.body, body, MIB), 0);
    web_forget(&answer);
    ck_assert_uint_eq(stats().buffered_body_bytes, 0);
    close(fd);
}
END_TEST

START_TEST(a_body_above_one_mebibyte_is_413_at_once)
{
    int fd = web_connect();
    web_say(fd, "POST /echo HTTP/1.1\r\n" JSON "Content-Length: 1048577\r\n\r\n");
    /* Without a byte of the body. */
    expect(fd, 413, NULL);
    ck_assert(web_is_closed(fd));
    ck_assert_uint_eq(web.handled, 0);
    close(fd);
}
END_TEST

START_TEST(the_413_is_readable_for_who_sends_the_body_first)
{
    RB_CLEANUP_FREE char *body = body_of(MIB + 1);
    int fd = web_connect();
    web_say(fd, "POST /echo HTTP/1.1\r\n" JSON "Content-Length: 1048577\r\n\r\n");
    web_send(fd, body, MIB + 1);
    expect(fd, 413, NULL);
    close(fd);
}
END_TEST

static void send_chunked(int fd, size_t total)
{
    enum { CHUNK = 10000 };
    RB_CLEANUP_FREE char *body = body_of(CHUNK);
    web_say(fd, "POST /length HTTP/1.1\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t left = total; left;) {
        char line[32];
        size_t len = left < CHUNK ? left : CHUNK;
        snprintf(line, sizeof line, "%zx\r\n", len);
        web_say(fd, line);
        web_send(fd, body, len);
        web_say(fd, "\r\n");
        left -= len;
    }
    web_say(fd, "0\r\n\r\n");
}

START_TEST(a_chunked_body_is_taken_up_to_the_limit)
{
    int fd = web_connect();
    send_chunked(fd, MIB);
    expect(fd, 200, "1048576");
    /* Whatever hides behind the last chunk is no request. */
    ck_assert(web_is_closed(fd));
    close(fd);
    fd = web_connect();
    send_chunked(fd, MIB + 1);
    expect(fd, 413, NULL);
    close(fd);
    ck_assert_uint_eq(web.handled, 1);
    ck_assert_uint_eq(stats().buffered_body_bytes, 0);
}
END_TEST

START_TEST(expect_100_continue_is_answered)
{
    int fd = web_connect();
    web_say(fd, "POST /length HTTP/1.1\r\n" JSON "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    expect(fd, 100, NULL);
    web_say(fd, "{}");
    expect(fd, 200, "2");
    close(fd);
    fd = web_connect();
    web_say(fd, "POST /length HTTP/1.1\r\n" JSON "Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n");
    expect(fd, 413, NULL);
    close(fd);
}
END_TEST

START_TEST(two_thousand_parked_requests_leave_with_one_flush)
{
    enum { MANY = 2000 };
    static int fds[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        fds[i] = web_connect();
        web_say(fds[i], GET("/park"));
        web_turn();
    }
    until_parked(MANY);
    web_turn();
    ck_assert_uint_eq(stats().parked, MANY);
    for (unsigned i = 0; i < MANY; i++)
        answer_parked(i, "now");
    ck_assert_uint_eq(stats().parked, 0);
    rb_http_flush(web.server);
    /* All of them lie in the sockets, without another turn of the loop. */
    for (unsigned i = 0; i < MANY; i++) {
        char bytes[512];
        ssize_t got = recv(fds[i], bytes, sizeof bytes, MSG_DONTWAIT);
        ck_assert_int_gt(got, 12);
        ck_assert_int_eq(memcmp(bytes, "HTTP/1.1 200", 12), 0);
        close(fds[i]);
    }
}
END_TEST

START_TEST(an_answer_does_not_leave_before_the_flush)
{
    int fd = web_connect();
    char byte;
    web_say(fd, GET("/park"));
    until_parked(1);
    answer_parked(0, "now");
    ck_assert_int_lt(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
    expect(fd, 200, "now");
    close(fd);
}
END_TEST

static bool one_is_gone(void)
{
    return web.gone > 0;
}

static bool nobody_is_connected(void)
{
    return stats().connections == 0;
}

START_TEST(gone_is_called_once_when_a_parked_caller_closes)
{
    int fd = web_connect(), other = web_connect();
    web_say(fd, GET("/park"));
    until_parked(1);
    web_say(other, GET("/park"));
    until_parked(2);
    for (int i = 0; i < 10; i++)
        web_turn();
    ck_assert_uint_eq(web.gone, 0);
    close(fd);
    web_until(one_is_gone);
    for (int i = 0; i < 10; i++)
        web_turn();
    ck_assert_uint_eq(web.gone, 1);
    /* Later, and into nothing. */
    answer_parked(0, "too late");
    answer_parked(1, "in time");
    expect(other, 200, "in time");
    close(other);
    web_until(nobody_is_connected);
    ck_assert_uint_eq(web.gone, 1);
}
END_TEST

START_TEST(gone_may_answer)
{
    web.answer_when_gone = true;
    int fd = web_connect();
    web_say(fd, GET("/park"));
    until_parked(1);
    close(fd);
    web_until(one_is_gone);
    web_until(nobody_is_connected);
    ck_assert_uint_eq(web.gone, 1);
    ck_assert_uint_eq(stats().parked, 0);
}
END_TEST

START_TEST(an_answered_caller_that_closes_is_not_gone)
{
    int fd = web_connect();
    web_say(fd, GET("/park"));
    until_parked(1);
    web_turn();
    close(fd);
    answer_parked(0, "now");
    web_until(nobody_is_connected);
    ck_assert_uint_eq(web.gone, 0);
}
END_TEST

START_TEST(stopping_answers_what_is_parked_with_503)
{
    int fds[20];
    for (unsigned i = 0; i < 20; i++) {
        fds[i] = web_connect();
        web_say(fds[i], GET("/park"));
    }
    until_parked(20);
    struct rb_http_server *server = web.server;
    web.server = NULL;
    rb_http_server_free(server);
    ck_assert_uint_eq(web.gone, 20);
    for (unsigned i = 0; i < 20; i++) {
        expect(fds[i], 503, NULL);
        ck_assert(web_is_closed(fds[i]));
        close(fds[i]);
    }
}
END_TEST

START_TEST(draining_refuses_new_requests_and_lets_old_ones_be_answered)
{
    int fd = web_connect(), other = web_connect();
    web_say(fd, GET("/park"));
    until_parked(1);
    rb_http_server_drain(web.server);
    ck_assert_uint_eq(web.gone, 1);
    web_say(other, GET("/hello"));
    struct web_answer answer = web_read(other);
    ck_assert_int_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(answer.head, "\r\nRetry-After: 1\r\n"));
    web_forget(&answer);
    answer_parked(0, "after all");
    expect(fd, 200, "after all");
    close(fd);
    close(other);
}
END_TEST

START_TEST(above_the_parked_limit_is_503_with_retry_after)
{
    int fds[3];
    for (unsigned i = 0; i < 2; i++) {
        fds[i] = web_connect();
        web_say(fds[i], GET("/park"));
    }
    until_parked(2);
    fds[2] = web_connect();
    web_say(fds[2], GET("/park"));
    struct web_answer answer = web_read(fds[2]);
    ck_assert_int_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(answer.head, "\r\nRetry-After: 1\r\n"));
    web_forget(&answer);
    answer_parked(0, "free");
    expect(fds[0], 200, "free");
    /* The connection has stayed, and there is room again. */
    web_say(fds[2], GET("/hello"));
    expect(fds[2], 200, "hello");
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
}
END_TEST

START_TEST(d6_above_a_users_part_of_what_may_wait_is_503_and_what_does_not_wait_goes_on)
{
    int fds[3];
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = web_connect();
        web_say(fds[i], GET("/park"));
        if (i < 2)
            until_parked(i + 1);
    }
    struct web_answer answer = web_read(fds[2]);
    ck_assert_int_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(answer.body, "Too many requests of this user are waiting"));
    web_forget(&answer);
    web_say(fds[2], GET("/hello"));
    expect(fds[2], 200, "hello");
    answer_parked(0, "free");
    expect(fds[0], 200, "free");
    web_say(fds[2], GET("/park"));
    until_parked(3);
    answer_parked(1, "free");
    answer_parked(2, "free");
    expect(fds[2], 200, "free");
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
}
END_TEST

static void hold_700_of_1000_bytes(void)
{
    static const char half[] = "POST /length HTTP/1.1\r\n" JSON "Content-Length: 800\r\n\r\n";
    RB_CLEANUP_FREE char *body = body_of(800);
    int first = web_connect(), second = web_connect();
    web_say(first, half);
    web_send(first, body, 700);
    for (int i = 0; i < 10; i++)
        web_turn();
    ck_assert_uint_eq(stats().buffered_body_bytes, 700);
    web_say(second, half);
    struct web_answer answer = web_read(second);
    ck_assert_int_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(answer.head, "\r\nRetry-After: 1\r\n"));
    web_forget(&answer);
    close(second);
    /* Chunked ones say no length ahead. */
    second = web_connect();
    web_say(second, "POST /length HTTP/1.1\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n12c\r\n");
    web_send(second, body, 300);
    web_say(second, "\r\n12c\r\n");
    web_send(second, body, 300);
    expect(second, 503, NULL);
    close(second);
    web_send(first, body, 100);
    expect(first, 200, "800");
    close(first);
    ck_assert_uint_eq(stats().buffered_body_bytes, 0);
}

START_TEST(above_the_cap_of_buffered_bytes_is_503_with_retry_after)
{
    hold_700_of_1000_bytes();
}
END_TEST

START_TEST(d6_above_a_users_part_of_the_buffered_bytes_is_503_with_retry_after)
{
    hold_700_of_1000_bytes();
}
END_TEST

static bool all_let_in_are(void)
{
    return stats().connections == wanted;
}

START_TEST(above_the_connection_limit_callers_wait_their_turn)
{
    int fds[3];
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = web_connect();
        web_say(fds[i], GET("/hello"));
    }
    expect(fds[0], 200, "hello");
    expect(fds[1], 200, "hello");
    for (int i = 0; i < 50; i++)
        web_turn();
    ck_assert_uint_eq(web.handled, 2);
    ck_assert_uint_eq(stats().connections, 2);
    close(fds[0]);
    expect(fds[2], 200, "hello");
    wanted = 2;
    web_until(all_let_in_are);
    close(fds[1]);
    close(fds[2]);
}
END_TEST

START_TEST(d6_above_a_users_part_of_the_connections_is_503_and_the_others_are_served)
{
    int fds[3];
    for (unsigned i = 0; i < 3; i++)
        fds[i] = web_connect();
    expect(fds[2], 503, NULL);
    ck_assert(web_is_closed(fds[2]));
    close(fds[2]);
    for (unsigned i = 0; i < 2; i++) {
        web_say(fds[i], GET("/hello"));
        expect(fds[i], 200, "hello");
    }
    close(fds[0]);
    wanted = 1;
    web_until(all_let_in_are);
    fds[0] = web_connect();
    web_say(fds[0], GET("/hello"));
    expect(fds[0], 200, "hello");
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(without_descriptors_callers_wait_and_are_served_later)
{
    struct rlimit before, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    /* The caller has the lowest free descriptor, and then there is none for the server's end. */
    int fd = web_connect();
    none = before;
    none.rlim_cur = (rlim_t)fd + 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    unsigned handled = web.handled;
    web_say(fd, GET("/hello"));
    for (int i = 0; i < 20; i++)
        web_turn();
    ck_assert_uint_eq(web.handled, handled);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    web.clock.now += 1000;
    expect(fd, 200, "hello");
    close(fd);
}
END_TEST

START_TEST(a_dropped_request_ends_its_connection_without_an_answer)
{
    int fd = web_connect();
    web_say(fd, GET("/drop"));
    ck_assert(web_is_closed(fd));
    close(fd);
    fd = web_connect();
    web_say(fd, GET("/park"));
    until_parked(1);
    struct rb_http_request *request = web.parked[0];
    web.parked[0] = NULL;
    rb_http_drop(request);
    ck_assert(web_is_closed(fd));
    close(fd);
    web_until(nobody_is_connected);
    ck_assert_uint_eq(web.gone, 0);
}
END_TEST

START_TEST(a_caller_that_leaves_in_the_midst_of_a_request_leaves_nothing)
{
    static const char request[] = "POST /echo HTTP/1.1\r\n" JSON "Content-Length: 10\r\n\r\n{\"a\":";
    for (size_t len = 0; len < sizeof request; len += 9) {
        int fd = web_connect();
        web_send(fd, request, len);
        for (int i = 0; i < 5; i++)
            web_turn();
        close(fd);
    }
    web_until(nobody_is_connected);
    ck_assert_uint_eq(stats().buffered_body_bytes, 0);
    ck_assert_uint_eq(web.handled, 0);
}
END_TEST

START_TEST(flush_says_whether_requests_were_handed_over)
{
    int fd = web_connect();
    web_say(fd, GET("/park"));
    until_parked(1);
    ck_assert(!rb_http_flush(web.server));
    /* It lies in the socket and is read once the answer before it has left. */
    web_say(fd, GET("/hello"));
    answer_parked(0, "now");
    ck_assert(rb_http_flush(web.server));
    expect(fd, 200, "now");
    expect(fd, 200, "hello");
    close(fd);
}
END_TEST

static void start_with_few_parked(void)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    limits.parked = 2;
    web_start_with(&limits);
}

static void start_with_small_parts(void)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    limits.parked = 4;
    limits.user_percent = 50;
    web_start_with(&limits);
}

static void start_with_a_small_part_of_connections(void)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    limits.connections = 4;
    limits.user_percent = 50;
    web_start_with(&limits);
}

static void start_with_few_bytes(void)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    limits.buffered_body_bytes = 1000;
    limits.user_percent = 100;
    web_start_with(&limits);
}

static void start_with_a_small_part_of_bytes(void)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    limits.buffered_body_bytes = 2000;
    limits.user_percent = 50;
    web_start_with(&limits);
}

static void start_with_few_connections(void)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    limits.connections = 2;
    web_start_with(&limits);
}

static void add(Suite *suite, const char *name, void (*start)(void), const TTest *const *tests, size_t count)
{
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, start, web_stop);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
}

Suite *server_suite(void)
{
    Suite *suite = suite_create("server");
    const TTest *const plain[] = {
        a_connection_serves_many_requests,
        pipelined_requests_are_answered_in_order,
        a_request_behind_a_parked_one_waits_for_it,
        a_body_of_one_mebibyte_is_taken_whole,
        a_body_above_one_mebibyte_is_413_at_once,
        the_413_is_readable_for_who_sends_the_body_first,
        a_chunked_body_is_taken_up_to_the_limit,
        expect_100_continue_is_answered,
        two_thousand_parked_requests_leave_with_one_flush,
        an_answer_does_not_leave_before_the_flush,
        gone_is_called_once_when_a_parked_caller_closes,
        gone_may_answer,
        an_answered_caller_that_closes_is_not_gone,
        stopping_answers_what_is_parked_with_503,
        draining_refuses_new_requests_and_lets_old_ones_be_answered,
        without_descriptors_callers_wait_and_are_served_later,
        a_dropped_request_ends_its_connection_without_an_answer,
        a_caller_that_leaves_in_the_midst_of_a_request_leaves_nothing,
        flush_says_whether_requests_were_handed_over,
    };
    const TTest *const parked[] = {above_the_parked_limit_is_503_with_retry_after};
    const TTest *const parts[] = {d6_above_a_users_part_of_what_may_wait_is_503_and_what_does_not_wait_goes_on};
    const TTest *const few[] = {d6_above_a_users_part_of_the_connections_is_503_and_the_others_are_served};
    const TTest *const bytes[] = {above_the_cap_of_buffered_bytes_is_503_with_retry_after};
    const TTest *const d6_bytes[] = {d6_above_a_users_part_of_the_buffered_bytes_is_503_with_retry_after};
    const TTest *const connections[] = {above_the_connection_limit_callers_wait_their_turn};
    add(suite, "server", web_start, plain, sizeof plain / sizeof plain[0]);
    add(suite, "few parked", start_with_few_parked, parked, 1);
    add(suite, "small parts", start_with_small_parts, parts, 1);
    add(suite, "small part of connections", start_with_a_small_part_of_connections, few, 1);
    add(suite, "few bytes", start_with_few_bytes, bytes, 1);
    add(suite, "small part of bytes", start_with_a_small_part_of_bytes, d6_bytes, 1);
    add(suite, "few connections", start_with_few_connections, connections, 1);
    return suite;
}
