#include "relay_test.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"
#include "wire.h"

#define HEAD(status, length) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nContent-Length: " length "\r\n"
#define STORED "{\"message_id\":\"1-0\",\"topic\":\"t\",\"timestamp\":\"x\"}"
#define ANSWER_STORED HEAD("201 Created", "48") "\r\n" STORED
#define ANSWER_TOKENS HEAD("200 OK", "43") "\r\n{\"access_token\":\"a\",\"refresh_token\":\"next\"}"
#define ANSWER_ME HEAD("200 OK", "33") "\r\n{\"user_id\":\"u\",\"username\":\"name\"}"
#define ANSWER_CUT HEAD("201 Created", "48") "\r\n{\"message_id\":\"1-0\",\"top"

static struct server server;
static struct wire wire;

static void begin(const char *usual, const struct step *steps, size_t count)
{
    server_start(&server, usual, steps, count);
    wire_start(&wire, "http", "127.0.0.1", server.port);
}

static void finish(void)
{
    wire_stop(&wire);
    server_stop(&server);
    server_free(&server);
}

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

#define BEGIN(usual, ...)                             \
    static const struct step steps[] = {__VA_ARGS__}; \
    begin(usual, steps, sizeof steps / sizeof *steps)

/* The ways in which a server can leave a request without an answer, on a first connection. */
static const struct {
    struct step step;
    size_t requests;
} cuts[] = {
    {{ACT_CUT_AT_ACCEPT, NULL}, 0},
    {{ACT_CUT_AFTER_HEADERS, NULL}, 1},
    {{ACT_CUT_AFTER_BODY, NULL}, 1},
    {{ACT_ANSWER_AND_CLOSE, ANSWER_CUT}, 1},
    {{ACT_ANSWER_AND_CLOSE, "HTTP/1.1 201 Cre"}, 1},
    {{ACT_ANSWER_AND_CLOSE, "no HTTP at all\r\n\r\n"}, 1},
    {{ACT_ANSWER_AND_CLOSE, "HTTP/1.1 100 Continue\r\n\r\n"}, 1},
};

START_TEST(t3_a_cut_post_is_unknown_and_was_sent_once)
{
    begin(ANSWER_STORED, &cuts[_i].step, 1);
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    ck_assert_int_eq(wire.answer.problem, RB_PROBLEM_LOST);
    ck_assert_uint_gt(strlen(wire.answer.detail), 0);
    ck_assert_uint_eq(server_count(&server, "key-1"), cuts[_i].requests);
    /* The next one is unhurt. */
    wire_post(&wire, "key-2");
    ck_assert_int_eq(wire.answer.end, RB_END_EXECUTED);
    ck_assert_str_eq(wire.text, "1-0");
    ck_assert_uint_eq(server_count(&server, "key-1"), cuts[_i].requests);
    ck_assert_uint_eq(server_count(&server, "key-2"), 1);
    finish();
}
END_TEST

START_TEST(t3_a_cut_refresh_is_unknown_and_its_token_was_sent_once)
{
    begin(ANSWER_TOKENS, &cuts[_i].step, 1);
    wire_refresh(&wire, "jti.secret");
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    ck_assert_uint_eq(server_count(&server, "POST /auth/token/refresh"), cuts[_i].requests);
    wire_refresh(&wire, "jti.other");
    ck_assert_str_eq(wire.text, "next");
    ck_assert_uint_le(server_count(&server, "jti.secret"), cuts[_i].requests);
    ck_assert_uint_eq(server_count(&server, "jti.other"), 1);
    finish();
}
END_TEST

/* libcurl would send the post again on a new connection, where the server would answer it: one call, two executions. */
START_TEST(t3_a_reused_connection_that_closes_under_a_post_does_not_repeat_it)
{
    BEGIN(ANSWER_STORED, {ACT_ANSWER, NULL}, {ACT_CUT_AFTER_BODY, NULL});
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_EXECUTED);
    wire_post(&wire, "key-2");
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    ck_assert_str_eq(wire.answer.detail, "the connection was closed without an answer");
    ck_assert_uint_eq(server_count(&server, "key-2"), 1);
    ck_assert_uint_eq(server.request[1].connection, 0); /* it was reused, else this shows nothing */
    finish();
}
END_TEST

START_TEST(t3_a_reused_connection_that_closes_under_a_get_does_not_repeat_it)
{
    BEGIN(ANSWER_ME, {ACT_ANSWER, NULL}, {ACT_CUT_AFTER_BODY, NULL});
    wire_me(&wire);
    ck_assert_str_eq(wire.text, "name");
    wire_me(&wire);
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    ck_assert_uint_eq(server.requests, 2);
    ck_assert_uint_eq(server.request[1].connection, 0);
    finish();
}
END_TEST

START_TEST(t3_an_idle_connection_that_closes_as_the_next_post_comes_never_means_two)
{
    BEGIN(ANSWER_STORED, {ACT_ANSWER_AND_CLOSE, NULL});
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_EXECUTED);
    wire_post(&wire, "key-2");
    size_t sent = server_count(&server, "key-2");
    ck_assert_uint_le(sent, 1);
    if (wire.answer.end == RB_END_EXECUTED)
        ck_assert_uint_eq(sent, 1);
    finish();
}
END_TEST

START_TEST(t3_token_calls_have_a_connection_each_and_posts_share_one)
{
    BEGIN(ANSWER_STORED, {ACT_ANSWER, ANSWER_TOKENS}, {ACT_ANSWER, ANSWER_TOKENS});
    wire_refresh(&wire, "jti.1");
    wire_refresh(&wire, "jti.2");
    wire_post(&wire, "key-1");
    wire_post(&wire, "key-2");
    ck_assert_int_eq(wire.answer.end, RB_END_EXECUTED);
    static const size_t connections[] = {0, 1, 2, 2};
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(server.request[i].connection, connections[i]);
    finish();
}
END_TEST

START_TEST(a_connection_that_brought_a_500_is_not_used_again)
{
    BEGIN(ANSWER_STORED, {ACT_ANSWER, HEAD("500 Internal Server Error", "2") "\r\n{}"}, {ACT_ANSWER, NULL});
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    wire_post(&wire, "key-2");
    ck_assert_int_eq(wire.answer.end, RB_END_EXECUTED);
    ck_assert_uint_eq(server.request[1].connection, 1);
    finish();
}
END_TEST

START_TEST(a_request_is_exactly_what_was_asked_for)
{
    BEGIN(ANSWER_STORED, {ACT_ANSWER, NULL});
    wire_post(&wire, "key-1");
    const char *text = server.request[0].text;
    ck_assert(begins_with(text, "POST /api/v1/messages HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\nAuthorization: Bearer acc\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\nIdempotency-Key: key-1\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\nContent-Type: application/json\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\nContent-Length: 31\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\n\r\n{\"topic\":\"t\",\"payload\":{\"n\":1}}"));
    ck_assert_ptr_null(strcasestr(text, "\r\nExpect:"));
    ck_assert_ptr_null(strcasestr(text, "\r\nTransfer-Encoding:"));
    ck_assert_ptr_null(strcasestr(text, "\r\nAccept-Encoding:"));
    ck_assert_ptr_null(strcasestr(text, "\r\nCookie:"));
    ck_assert_ptr_null(strcasestr(text, "\r\nUpgrade:"));
    finish();
}
END_TEST

START_TEST(d4_a_path_is_sent_as_it_is)
{
    BEGIN(ANSWER_ME, {ACT_ANSWER, NULL});
    wire_get(&wire, 10000, 1000);
    ck_assert_int_eq(wire.exchange.delivery, RB_DELIVERY_ANSWER);
    ck_assert(begins_with(server.request[0].text, "GET /x/../%2e%2e/y?a=b HTTP/1.1\r\n"));
    finish();
}
END_TEST

START_TEST(a_redirect_is_an_answer_and_not_followed)
{
    BEGIN(ANSWER_STORED, {ACT_ANSWER, "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nSet-Cookie: a=b\r\n"
                                      "Content-Length: 0\r\n\r\n"});
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    ck_assert_int_eq(wire.answer.status, 307);
    ck_assert_uint_eq(server.requests, 1);
    wire_post(&wire, "key-2");
    ck_assert_uint_eq(server_count(&server, "Cookie"), 0);
    finish();
}
END_TEST

START_TEST(a_page_of_html_is_no_success)
{
    BEGIN(ANSWER_STORED, {ACT_ANSWER, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"},
          {ACT_ANSWER, "HTTP/1.1 401 No\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"});
    wire_refresh(&wire, "jti.1");
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    wire_refresh(&wire, "jti.2");
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    ck_assert_int_eq(wire.answer.status, 401);
    finish();
}
END_TEST

START_TEST(a_server_that_switches_to_another_protocol_leaves_a_post_unknown)
{
    BEGIN(ANSWER_STORED, {ACT_ANSWER_AND_CLOSE, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                                                "Upgrade: other\r\n\r\nhello"});
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    ck_assert_int_eq(wire.answer.problem, RB_PROBLEM_LOST);
    ck_assert_int_eq(wire.answer.status, 0);
    ck_assert_str_eq(wire.answer.detail, "not an HTTP answer");
    wire_post(&wire, "key-2");
    ck_assert_int_eq(wire.answer.end, RB_END_EXECUTED);
    ck_assert_uint_eq(server_count(&server, "key-1"), 1);
    finish();
}
END_TEST

START_TEST(a_refusal_is_read_with_its_retry_after_and_date)
{
    BEGIN(ANSWER_STORED,
          {ACT_ANSWER, "HTTP/1.1 429 Slow\r\ncontent-type: Application/JSON; charset=utf-8\r\nRETRY-AFTER:  7 \r\n"
                       "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 16\r\n\r\n{\"error\":\"slow\"}"},
          {ACT_ANSWER, "HTTP/1.1 503 Later\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                       "Retry-After: Thu, 01 Jan 2026 00:01:30 GMT\r\nContent-Length: 0\r\n\r\n"},
          {ACT_ANSWER, "HTTP/1.1 503 Later\r\nDate: nonsense\r\nRetry-After: 99999999999999999999\r\n"
                       "Content-Length: 0\r\n\r\n"},
          {ACT_ANSWER, "HTTP/1.1 503 Later\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n"});
    static const struct {
        enum rb_problem problem;
        int64_t retry_after_ms, relay_wall_ms;
    } rows[] = {
        {RB_PROBLEM_RATE, 7000, INT64_C(1767225600000)},
        {RB_PROBLEM_SERVER, 90000, INT64_C(1767225600000)},
        {RB_PROBLEM_SERVER, 24 * 3600 * 1000, -1},
        {RB_PROBLEM_SERVER, -1, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wire_post(&wire, "key");
        ck_assert_int_eq(wire.answer.problem, rows[i].problem);
        ck_assert_int_eq(wire.answer.retry_after_ms, rows[i].retry_after_ms);
        ck_assert_int_eq(wire.answer.relay_wall_ms, rows[i].relay_wall_ms);
    }
    finish();
}
END_TEST

/* T2: the answer comes while the process is stopped, long past the deadline, and after poll has looked. */
static uv_async_t stall;

static void ask_for_stall(struct server *held)
{
    uv_async_send(&stall);
}

static void on_stall_and_answer(uv_async_t *async)
{
    server_release(&server);
    wire.ahead_ms += 3600 * 1000;
}

static void on_stall(uv_async_t *async)
{
    wire.ahead_ms += 3600 * 1000;
}

static void begin_stall(uv_async_cb callback, const char *usual, const struct step *steps)
{
    server_start(&server, usual, steps, 1);
    server.on_hold = ask_for_stall;
    wire_start(&wire, "http", "127.0.0.1", server.port);
    uv_async_init(rb_loop_uv(wire.loop), &stall, callback);
}

static void finish_stall(void)
{
    uv_close((uv_handle_t *)&stall, NULL);
    finish();
}

START_TEST(t2_an_answer_that_lies_in_the_socket_beats_the_deadline)
{
    static const struct step hold = {ACT_HOLD, NULL};
    begin_stall(on_stall_and_answer, ANSWER_STORED, &hold);
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_EXECUTED);
    ck_assert_str_eq(wire.text, "1-0");
    finish_stall();
}
END_TEST

/* Longer than libcurl reads at once. */
START_TEST(t2_an_answer_that_lies_in_the_socket_is_read_although_the_connection_was_reset_behind_it)
{
    RB_CLEANUP_STR struct rb_str answer = RB_STR_INIT;
    static char blanks[100 * 1000 + 1];
    memset(blanks, ' ', sizeof blanks - 1);
    rb_str_addf(&answer, HEAD("201 Created", "%zu") "\r\n" STORED "%s", strlen(STORED) + strlen(blanks), blanks);
    const struct step hold = {ACT_HOLD_AND_RESET, answer.at};
    begin_stall(on_stall_and_answer, ANSWER_STORED, &hold);
    wire_post(&wire, "key-1");
    ck_assert_str_eq(wire.answer.detail, "");
    ck_assert_int_eq(wire.answer.end, RB_END_EXECUTED);
    ck_assert_str_eq(wire.text, "1-0");
    finish_stall();
}
END_TEST

START_TEST(t2_the_same_stall_without_an_answer_is_the_deadline)
{
    static const struct step hold = {ACT_HOLD, NULL};
    begin_stall(on_stall, ANSWER_STORED, &hold);
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_UNKNOWN);
    ck_assert_str_eq(wire.answer.detail, "it took too long");
    ck_assert_uint_eq(server_count(&server, "key-1"), 1);
    finish_stall();
}
END_TEST

START_TEST(an_answer_that_drips_is_cut_at_the_deadline)
{
    BEGIN(ANSWER_ME, {ACT_DRIP, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"});
    wire_get(&wire, 100, 200000);
    ck_assert_int_eq(wire.exchange.delivery, RB_DELIVERY_LOST);
    ck_assert(!wire.exchange.too_long);
    ck_assert_str_eq(wire.exchange.cause, "it took too long");
    finish();
}
END_TEST

START_TEST(i5_a_longer_answer_than_asked_for_is_cut)
{
    BEGIN(ANSWER_ME, {ACT_FLOOD, "HTTP/1.1 200 OK\r\n\r\n0123456789"});
    wire_get(&wire, 10000, 1000);
    ck_assert_int_eq(wire.exchange.delivery, RB_DELIVERY_LOST);
    ck_assert(wire.exchange.too_long);
    wire_get(&wire, 10000, 33);
    ck_assert_int_eq(wire.exchange.delivery, RB_DELIVERY_ANSWER);
    wire_get(&wire, 10000, 32);
    ck_assert_int_eq(wire.exchange.delivery, RB_DELIVERY_LOST);
    ck_assert(wire.exchange.too_long);
    finish();
}
END_TEST

START_TEST(endless_headers_are_cut)
{
    BEGIN(ANSWER_ME, {ACT_FLOOD, "HTTP/1.1 100 Continue\r\nX: 0123456789012345678901234567890123456789\r\n\r\n"});
    wire_get(&wire, 10000, 1000);
    ck_assert_int_eq(wire.exchange.delivery, RB_DELIVERY_LOST);
    ck_assert_str_eq(wire.exchange.cause, "the headers of the answer are too long");
    finish();
}
END_TEST

START_TEST(d7_a_proxy_in_the_environment_gets_nothing_of_an_http_relay)
{
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"};
    struct server proxy;
    char url[64];
    server_start(&proxy, ANSWER_STORED, NULL, 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", proxy.port);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        setenv(names[i], url, 1);
    begin(ANSWER_STORED, NULL, 0);
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_EXECUTED);
    ck_assert_uint_eq(server.requests, 1);
    finish();
    server_stop(&proxy);
    ck_assert_uint_eq(proxy.connections, 0);
    server_free(&proxy);
}
END_TEST

START_TEST(an_https_relay_is_reached_through_the_proxy_that_the_environment_names)
{
    static const struct step refuse = {ACT_ANSWER_AND_CLOSE, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"};
    char url[64];
    server_start(&server, ANSWER_STORED, &refuse, 1);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", server.port);
    setenv("https_proxy", url, 1);
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    wire_start(&wire, "https", "relay.invalid", 443);
    wire_refresh(&wire, "jti.secret");
    ck_assert_int_eq(wire.answer.end, RB_END_NOT_EXECUTED);
    ck_assert_int_eq(wire.answer.problem, RB_PROBLEM_UNREACHABLE);
    ck_assert_uint_eq(server.requests, 1);
    ck_assert(begins_with(server.request[0].text, "CONNECT relay.invalid:443 "));
    ck_assert_ptr_null(strstr(server.request[0].text, "secret"));
    finish();
}
END_TEST

START_TEST(a_refused_connection_is_certainly_not_executed)
{
    begin(ANSWER_STORED, NULL, 0);
    server_stop(&server);
    wire_post(&wire, "key-1");
    ck_assert_int_eq(wire.answer.end, RB_END_NOT_EXECUTED);
    ck_assert_int_eq(wire.answer.problem, RB_PROBLEM_UNREACHABLE);
    ck_assert_str_eq(wire.answer.detail, "Connection refused");
    wire_stop(&wire);
    server_free(&server);
}
END_TEST

/* A listener whose queue is full leaves a connection hanging. */
START_TEST(a_connection_that_hangs_until_the_deadline_is_certainly_not_executed)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fillers[4];
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    for (size_t i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    wire_start(&wire, "http", "127.0.0.1", ntohs(address.sin_port));
    wire_get(&wire, 150, 1000);
    ck_assert_int_eq(wire.exchange.delivery, RB_DELIVERY_NONE);
    ck_assert_str_eq(wire.exchange.cause, "no connection before the deadline");
    wire_stop(&wire);
    for (size_t i = 0; i < 4; i++)
        close(fillers[i]);
    close(listener);
}
END_TEST

/* The last is one that libcurl refuses before it opens a socket. The starting functions of wire.h look (T8). */
START_TEST(t8_a_call_that_fails_at_once_ends_after_its_start)
{
    static const struct {
        const char *scheme, *ca_file;
    } relays[] = {{"http", NULL}, {"https", NULL}, {"https", "/nowhere/ca.pem"}, {"gopher", NULL}};
    server_start(&server, ANSWER_STORED, NULL, 0);
    server_stop(&server);
    wire_start(&wire, relays[_i].scheme, "127.0.0.1", server.port);
    wire.peer.ca_file = relays[_i].ca_file;
    wire_post(&wire, "key-1");
    wire_refresh(&wire, "jti.secret");
    wire_me(&wire);
    wire_health(&wire);
    ck_assert_int_eq(wire.ended, 4);
    ck_assert_int_eq(wire.answer.problem, RB_PROBLEM_UNREACHABLE);
    wire_get(&wire, 0, 1000);
    ck_assert_int_eq(wire.exchange.delivery, RB_DELIVERY_NONE);
    wire_stop(&wire);
    server_free(&server);
}
END_TEST

static void never(void *arg, const struct rb_answer *answer)
{
    ck_abort_msg("an abandoned call was done");
}

static struct rb_call *held_call;

static void on_abandon(uv_async_t *async)
{
    rb_call_abandon(held_call);
    rb_loop_stop(wire.loop);
}

START_TEST(an_abandoned_call_is_never_done_and_hurts_no_other)
{
    static const struct step hold = {ACT_HOLD, NULL};
    begin_stall(on_abandon, ANSWER_ME, &hold);
    ck_assert_int_eq(rb_relay_health(wire.relay, &wire.peer, never, NULL, &held_call), RB_OK);
    rb_call_abandon(held_call);
    ck_assert_int_eq(rb_relay_health(wire.relay, &wire.peer, never, NULL, &held_call), RB_OK);
    rb_loop_run(wire.loop);
    ck_assert_uint_eq(rb_relay_calls(wire.relay), 0);
    server_release(&server);
    wire_me(&wire);
    ck_assert_str_eq(wire.text, "name");
    ck_assert_uint_eq(server.requests, 2);
    finish_stall();
}
END_TEST

START_TEST(a_body_of_a_megabyte_arrives_whole)
{
    struct rb_str payload = RB_STR_INIT;
    rb_str_add(&payload, "{\"a\":\"");
    while (payload.len < 1000 * 1000)
        rb_str_add(&payload, "0123456789abcdef");
    rb_str_add(&payload, "END\"}");
    struct rb_carrier *port;
    begin(ANSWER_STORED, NULL, 0);
    port = rb_http_carrier_port(wire.carrier);
    wire_get(&wire, 10000, 1000);
    struct rb_exchange exchange = wire.exchange;
    exchange.method = "POST";
    exchange.content_type = "application/json";
    exchange.body = rb_str_span(&payload);
    ck_assert_int_eq(port->start(port, &exchange), RB_OK);
    wire_wait(&wire);
    ck_assert_int_eq(exchange.delivery, RB_DELIVERY_ANSWER);
    ck_assert_ptr_nonnull(strstr(server.request[1].text, payload.at));
    rb_str_free(&payload);
    finish();
}
END_TEST

Suite *wire_suite(void)
{
    Suite *suite = suite_create("wire");
    TCase *tcase = tcase_create("wire");
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, t3_a_cut_post_is_unknown_and_was_sent_once, 0, sizeof cuts / sizeof *cuts);
    tcase_add_loop_test(tcase, t3_a_cut_refresh_is_unknown_and_its_token_was_sent_once, 0, sizeof cuts / sizeof *cuts);
    tcase_add_test(tcase, t3_a_reused_connection_that_closes_under_a_post_does_not_repeat_it);
    tcase_add_test(tcase, t3_a_reused_connection_that_closes_under_a_get_does_not_repeat_it);
    tcase_add_test(tcase, t3_an_idle_connection_that_closes_as_the_next_post_comes_never_means_two);
    tcase_add_test(tcase, t3_token_calls_have_a_connection_each_and_posts_share_one);
    tcase_add_test(tcase, a_connection_that_brought_a_500_is_not_used_again);
    tcase_add_test(tcase, a_request_is_exactly_what_was_asked_for);
    tcase_add_test(tcase, d4_a_path_is_sent_as_it_is);
    tcase_add_test(tcase, a_redirect_is_an_answer_and_not_followed);
    tcase_add_test(tcase, a_page_of_html_is_no_success);
    tcase_add_loop_test(tcase, t8_a_call_that_fails_at_once_ends_after_its_start, 0, 4);
    tcase_add_test(tcase, a_server_that_switches_to_another_protocol_leaves_a_post_unknown);
    tcase_add_test(tcase, a_refusal_is_read_with_its_retry_after_and_date);
    tcase_add_test(tcase, t2_an_answer_that_lies_in_the_socket_beats_the_deadline);
    tcase_add_test(tcase, t2_an_answer_that_lies_in_the_socket_is_read_although_the_connection_was_reset_behind_it);
    tcase_add_test(tcase, t2_the_same_stall_without_an_answer_is_the_deadline);
    tcase_add_test(tcase, an_answer_that_drips_is_cut_at_the_deadline);
    tcase_add_test(tcase, i5_a_longer_answer_than_asked_for_is_cut);
    tcase_add_test(tcase, endless_headers_are_cut);
    tcase_add_test(tcase, d7_a_proxy_in_the_environment_gets_nothing_of_an_http_relay);
    tcase_add_test(tcase, an_https_relay_is_reached_through_the_proxy_that_the_environment_names);
    tcase_add_test(tcase, a_refused_connection_is_certainly_not_executed);
    tcase_add_test(tcase, a_connection_that_hangs_until_the_deadline_is_certainly_not_executed);
    tcase_add_test(tcase, an_abandoned_call_is_never_done_and_hurts_no_other);
    tcase_add_test(tcase, a_body_of_a_megabyte_arrives_whole);
    suite_add_tcase(suite, tcase);
    return suite;
}
