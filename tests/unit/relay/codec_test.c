#include "relay_test.h"

#include <stdlib.h>
#include <string.h>

#include "codec.h"

#define TOKENS                                                                                            \
    "{\"access_token\":\"a.b.c\",\"token_type\":\"bearer\",\"expires_in\":600,\"refresh_token\":\"j.s\"," \
    "\"refresh_token_secondary\":null}"
#define STORED "{\"message_id\":\"1-0\",\"topic\":\"t\",\"timestamp\":\"2026-01-01T00:00:00Z\"}"
#define MESSAGE "{\"topic\":\"t\",\"message_id\":\"1-0\",\"payload\":{\"a\":1},\"timestamp\":\"x\",\"metadata\":null}"
#define POLL "{\"messages\":[" MESSAGE "],\"has_more\":false}"
#define PAGE "{\"messages\":[" MESSAGE "],\"total\":1,\"next_cursor\":\"1-0\"}"
#define TOPIC "{\"topic_id\":\"i\",\"topic_name\":\"t\",\"owner_id\":\"u\"}"
#define DETAIL "{\"detail\":\"no\"}"
#define FAULTS "{\"detail\":[{\"type\":\"t\",\"loc\":[\"body\",\"topic\",0],\"msg\":\"bad\",\"input\":\"hunter2\"}]}"
#define RATE "{\"error\":\"Rate limit exceeded: 120 per 1 minute\"}"
#define TOO_LARGE "{\"error\":\"PAYLOAD_TOO_LARGE\",\"message\":\"m\"}"
#define INTERNAL "{\"error\":\"INTERNAL_ERROR\",\"message\":\"m\"}"
#define HTML "<html><body>Sign in</body></html>"

#define NOT RB_END_NOT_EXECUTED
#define DONE RB_END_EXECUTED
#define UNKNOWN RB_END_UNKNOWN
#define P(name) RB_PROBLEM_##name

struct row {
    enum rb_call_kind kind;
    int status;
    bool json;
    const char *body;
    enum rb_end end;
    enum rb_problem problem;
};

static const struct row rows[] = {
    /* O1, a post: certainly not executed. */
    {RB_CALL_POST, 400, true, DETAIL, NOT, P(INVALID)},
    {RB_CALL_POST, 401, true, DETAIL, NOT, P(UNAUTHORIZED)},
    {RB_CALL_POST, 403, true, DETAIL, NOT, P(FORBIDDEN)},
    {RB_CALL_POST, 413, true, TOO_LARGE, NOT, P(TOO_LARGE)},
    {RB_CALL_POST, 422, true, FAULTS, NOT, P(INVALID)},
    {RB_CALL_POST, 429, true, RATE, NOT, P(RATE)},
    /* O1: executed. */
    {RB_CALL_POST, 201, true, STORED, DONE, P(NONE)},
    /* O1: any 5xx, whoever says it. */
    {RB_CALL_POST, 500, true, INTERNAL, UNKNOWN, P(SERVER)},
    {RB_CALL_POST, 502, false, HTML, UNKNOWN, P(SERVER)},
    {RB_CALL_POST, 503, true, DETAIL, UNKNOWN, P(SERVER)},
    {RB_CALL_POST, 504, false, "", UNKNOWN, P(SERVER)},
    /* O1: other servers' pages, and what the relay never says to a post. */
    {RB_CALL_POST, 400, false, "Invalid host header", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 401, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 401, false, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 401, true, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 401, true, "{\"code\":401}", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 401, true, "{\"detail\":7}", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 401, true, "{\"error\":{\"a\":1}}", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 401, true, "[\"detail\"]", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 401, true, "{\"detail\":\"n", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 403, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 404, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 405, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 408, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 409, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 413, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 429, false, "slow down", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 301, false, "", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 307, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 200, true, STORED, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 202, true, STORED, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 204, false, "", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 201, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 201, false, STORED, UNKNOWN, P(LOST)},
    {RB_CALL_POST, 201, true, "", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 201, true, "{\"message_id\":\"1-0\",\"topic\":\"t\",\"timest", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 201, true, "{\"topic\":\"t\",\"timestamp\":\"x\"}", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 201, true, "{\"message_id\":7,\"topic\":\"t\",\"timestamp\":\"x\"}", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 201, true, "{\"message_id\":\"\",\"topic\":\"t\",\"timestamp\":\"x\"}", UNKNOWN, P(LOST)},
    {RB_CALL_POST, 201, true, "null", UNKNOWN, P(LOST)},
    /* R4, a refresh: dead only in the relay's two sentences. */
    {RB_CALL_REFRESH, 401, true, "{\"detail\":\"invalid refresh token\"}", NOT, P(TOKEN_REFUSED)},
    {RB_CALL_REFRESH, 401, true, "{\"detail\":\"user not found\"}", NOT, P(TOKEN_REFUSED)},
    {RB_CALL_REFRESH, 401, true, "{\"detail\":\"User not found\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 401, true, "{\"detail\":\"invalid refresh token.\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 401, true, "{\"detail\":[\"invalid refresh token\"]}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 401, true, "{\"error\":\"invalid refresh token\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 401, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 401, false, "{\"detail\":\"invalid refresh token\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 403, true, "{\"detail\":\"invalid refresh token\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 401, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 403, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 403, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 400, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 404, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 500, true, INTERNAL, UNKNOWN, P(SERVER)},
    {RB_CALL_REFRESH, 502, false, HTML, UNKNOWN, P(SERVER)},
    {RB_CALL_REFRESH, 422, true, FAULTS, NOT, P(INVALID)},
    {RB_CALL_REFRESH, 429, true, RATE, NOT, P(RATE)},
    {RB_CALL_REFRESH, 422, false, FAULTS, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 429, false, "slow down", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, TOKENS, DONE, P(NONE)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"a\",\"refresh_token\":\"r\"}", DONE, P(NONE)},
    {RB_CALL_REFRESH, 200, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, false, TOKENS, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 201, true, TOKENS, UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"a.b.c\",\"refresh_tok", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"a\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"refresh_token\":\"a\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"a\",\"refresh_token\":null}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":1,\"refresh_token\":\"r\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"a\",\"refresh_token\":\"r r\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"a\\r\\nX: y\",\"refresh_token\":\"r\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"\xc3\xa9\",\"refresh_token\":\"r\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"\",\"refresh_token\":\"r\"}", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"refresh_token_secondary\":5}",
     UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"expires_in\":\"600\"}", UNKNOWN,
     P(LOST)},
    {RB_CALL_REFRESH, 200, true, "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"token_type\":\"mac\"}", UNKNOWN,
     P(LOST)},
    {RB_CALL_REFRESH, 204, false, "", UNKNOWN, P(LOST)},
    {RB_CALL_REFRESH, 307, false, "", UNKNOWN, P(LOST)},
    /* Other token calls. */
    {RB_CALL_LOGIN, 200, true, TOKENS, DONE, P(NONE)},
    {RB_CALL_LOGIN, 401, true, DETAIL, NOT, P(UNAUTHORIZED)},
    {RB_CALL_LOGIN, 401, true, "{\"detail\":\"user not found\"}", NOT, P(UNAUTHORIZED)},
    {RB_CALL_LOGIN, 403, true, DETAIL, NOT, P(FORBIDDEN)},
    {RB_CALL_LOGIN, 422, true, FAULTS, NOT, P(INVALID)},
    {RB_CALL_LOGIN, 429, true, RATE, NOT, P(RATE)},
    {RB_CALL_LOGIN, 401, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_LOGIN, 200, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_REVOKE, 204, false, "", DONE, P(NONE)},
    {RB_CALL_REVOKE, 200, true, "{}", UNKNOWN, P(LOST)},
    {RB_CALL_REVOKE, 400, true, DETAIL, NOT, P(INVALID)},
    {RB_CALL_REVOKE, 401, true, DETAIL, UNKNOWN, P(LOST)},
    {RB_CALL_REVOKE, 500, true, INTERNAL, UNKNOWN, P(SERVER)},
    {RB_CALL_LOGOUT, 204, false, "", DONE, P(NONE)},
    {RB_CALL_LOGOUT, 401, true, DETAIL, NOT, P(UNAUTHORIZED)},
    {RB_CALL_LOGOUT, 500, true, INTERNAL, UNKNOWN, P(SERVER)},
    {RB_CALL_ME, 200, true, "{\"user_id\":\"u\",\"username\":\"n\"}", DONE, P(NONE)},
    {RB_CALL_ME, 200, true, "{\"user_id\":\"u\"}", UNKNOWN, P(LOST)},
    {RB_CALL_ME, 200, true, "{\"user_id\":7,\"username\":\"n\"}", UNKNOWN, P(LOST)},
    {RB_CALL_ME, 401, true, DETAIL, NOT, P(UNAUTHORIZED)},
    {RB_CALL_ME, 401, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_SESSIONS, 200, true, "[]", DONE, P(NONE)},
    {RB_CALL_SESSIONS, 200, true, "{}", UNKNOWN, P(LOST)},
    /* Reading. */
    {RB_CALL_POLL, 200, true, POLL, DONE, P(NONE)},
    {RB_CALL_POLL, 200, true, "{\"messages\":[],\"has_more\":true}", DONE, P(NONE)},
    {RB_CALL_POLL, 200, true, "{\"messages\":[]}", UNKNOWN, P(LOST)},
    {RB_CALL_POLL, 200, true, "{\"messages\":[],\"has_more\":0}", UNKNOWN, P(LOST)},
    {RB_CALL_POLL, 200, true, "{\"messages\":{},\"has_more\":true}", UNKNOWN, P(LOST)},
    {RB_CALL_POLL, 200, true, "{\"has_more\":true}", UNKNOWN, P(LOST)},
    {RB_CALL_POLL, 200, true, "{\"messages\":[" MESSAGE ",7],\"has_more\":true}", UNKNOWN, P(LOST)},
    {RB_CALL_POLL, 200, true, "{\"messages\":[{\"topic\":\"t\"}],\"has_more\":true}", UNKNOWN, P(LOST)},
    {RB_CALL_POLL, 200, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_POLL, 200, true, "{\"messages\":[" MESSAGE, UNKNOWN, P(LOST)},
    {RB_CALL_POLL, 429, true, "{\"detail\":\"Too many concurrent poll connections\"}", NOT, P(RATE)},
    {RB_CALL_POLL, 422, true, FAULTS, NOT, P(INVALID)},
    {RB_CALL_POLL, 500, true, INTERNAL, UNKNOWN, P(SERVER)},
    {RB_CALL_PAGE, 200, true, PAGE, DONE, P(NONE)},
    {RB_CALL_PAGE, 200, true, "{\"messages\":[],\"next_cursor\":null}", DONE, P(NONE)},
    {RB_CALL_PAGE, 200, true, "{\"messages\":[]}", UNKNOWN, P(LOST)},
    {RB_CALL_PAGE, 404, true, DETAIL, NOT, P(NOT_FOUND)},
    {RB_CALL_PAGE, 404, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_PAGE, 400, true, DETAIL, NOT, P(INVALID)},
    /* Topics. */
    {RB_CALL_TOPIC_LIST, 200, true, "[" TOPIC "]", DONE, P(NONE)},
    {RB_CALL_TOPIC_LIST, 200, true, TOPIC, UNKNOWN, P(LOST)},
    {RB_CALL_TOPIC_GET, 200, true, TOPIC, DONE, P(NONE)},
    {RB_CALL_TOPIC_GET, 200, true, "{\"topic_name\":\"t\"}", UNKNOWN, P(LOST)},
    {RB_CALL_TOPIC_GET, 404, true, DETAIL, NOT, P(NOT_FOUND)},
    {RB_CALL_TOPIC_CREATE, 201, true, TOPIC, DONE, P(NONE)},
    {RB_CALL_TOPIC_CREATE, 200, true, TOPIC, UNKNOWN, P(LOST)},
    {RB_CALL_TOPIC_CREATE, 400, true, DETAIL, NOT, P(EXISTS)},
    {RB_CALL_TOPIC_CREATE, 409, true, DETAIL, NOT, P(EXISTS)},
    {RB_CALL_TOPIC_CREATE, 400, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_TOPIC_UPDATE, 200, true, TOPIC, DONE, P(NONE)},
    {RB_CALL_TOPIC_UPDATE, 500, true, INTERNAL, UNKNOWN, P(SERVER)},
    {RB_CALL_TOPIC_DELETE, 204, false, "", DONE, P(NONE)},
    {RB_CALL_TOPIC_DELETE, 404, true, DETAIL, NOT, P(NOT_FOUND)},
    {RB_CALL_HEALTH, 200, true, "{\"status\":\"healthy\",\"timestamp\":\"x\",\"version\":\"0.2.1\"}", DONE, P(NONE)},
    {RB_CALL_HEALTH, 200, true, "{\"ok\":true}", UNKNOWN, P(LOST)},
    {RB_CALL_HEALTH, 200, false, HTML, UNKNOWN, P(LOST)},
    {RB_CALL_HEALTH, 503, false, HTML, UNKNOWN, P(SERVER)},
};

static struct rb_exchange answered(int status, bool json, const char *body)
{
    return (struct rb_exchange){.delivery = RB_DELIVERY_ANSWER,
                                .status = status,
                                .answer = rb_span_of(body),
                                .answer_is_json = json,
                                .retry_after_ms = 7000,
                                .relay_wall_ms = 8000};
}

START_TEST(each_answer_has_its_end_and_problem)
{
    const struct row *row = &rows[_i];
    struct rb_exchange exchange = answered(row->status, row->json, row->body);
    struct rb_answer answer;
    struct rb_decoded decoded;
    rb_decode(row->kind, &exchange, &answer, &decoded);
    ck_assert_msg(answer.end == row->end && answer.problem == row->problem, "call %d, status %d, %s: end %d, %s",
                  row->kind, row->status, row->body, answer.end, rb_problem_text(answer.problem));
    ck_assert_int_eq(answer.status, row->status);
    ck_assert_int_eq(answer.retry_after_ms, 7000);
    ck_assert_int_eq(answer.relay_wall_ms, 8000);
    /* What is not the relay's, or holds tokens, or may echo them, is not handed on. */
    if (answer.problem == P(LOST) || row->kind == RB_CALL_LOGIN || row->kind == RB_CALL_REFRESH)
        ck_assert_uint_eq(answer.body.len, 0);
    ck_assert_ptr_null(strstr(answer.detail, "hunter2"));
    if (answer.end != DONE) {
        ck_assert_ptr_null(decoded.messages);
        ck_assert_ptr_null(decoded.tokens.access_token.at);
    }
    rb_decoded_free(&decoded);
}
END_TEST

START_TEST(what_never_connected_is_not_executed_and_what_was_lost_is_unknown)
{
    for (int kind = RB_CALL_LOGIN; kind <= RB_CALL_HEALTH; kind++) {
        struct rb_exchange exchange = {.delivery = RB_DELIVERY_NONE, .cause = "connection refused"};
        struct rb_answer answer;
        struct rb_decoded decoded;
        rb_decode((enum rb_call_kind)kind, &exchange, &answer, &decoded);
        ck_assert_int_eq(answer.end, NOT);
        ck_assert_int_eq(answer.problem, P(UNREACHABLE));
        ck_assert_str_eq(answer.detail, "connection refused");
        ck_assert_int_eq(answer.retry_after_ms, -1);
        exchange.delivery = RB_DELIVERY_LOST;
        rb_decode((enum rb_call_kind)kind, &exchange, &answer, &decoded);
        ck_assert_int_eq(answer.end, UNKNOWN);
        ck_assert_int_eq(answer.problem, P(LOST));
        exchange.too_long = true;
        rb_decode((enum rb_call_kind)kind, &exchange, &answer, &decoded);
        ck_assert_int_eq(answer.end, UNKNOWN);
        ck_assert_int_eq(answer.problem, P(TOO_LONG));
    }
}
END_TEST

static void detail_is(enum rb_call_kind kind, int status, const char *body, const char *detail)
{
    struct rb_exchange exchange = answered(status, true, body);
    struct rb_answer answer;
    struct rb_decoded decoded;
    rb_decode(kind, &exchange, &answer, &decoded);
    ck_assert_str_eq(answer.detail, detail);
    rb_decoded_free(&decoded);
}

START_TEST(a_message_of_a_waiter_is_told_from_one_of_a_catch_up_read)
{
    struct rb_exchange exchange = answered(200, true,
                                           "{\"messages\":["
                                           "{\"type\":\"message\",\"message_id\":\"a\",\"topic\":\"t\",\"payload\":{},"
                                           "\"timestamp\":\"x\",\"metadata\":null},"
                                           "{\"message_id\":\"b\",\"topic\":\"t\",\"payload\":{\"type\":1},"
                                           "\"timestamp\":\"x\",\"metadata\":{},\"stream_id\":null}"
                                           "],\"has_more\":false}");
    struct rb_answer answer;
    struct rb_decoded decoded;
    rb_decode(RB_CALL_POLL, &exchange, &answer, &decoded);
    ck_assert_uint_eq(decoded.count, 2);
    ck_assert(decoded.messages[0].from_waiter);
    ck_assert(!decoded.messages[1].from_waiter);
    rb_decoded_free(&decoded);
}
END_TEST

START_TEST(the_relays_sentence_is_printable_and_never_what_was_sent)
{
    detail_is(RB_CALL_POST, 422, FAULTS, "body.topic.0: bad");
    detail_is(RB_CALL_POST, 413, TOO_LARGE, "PAYLOAD_TOO_LARGE: m");
    detail_is(RB_CALL_POST, 429, RATE, "Rate limit exceeded: 120 per 1 minute");
    detail_is(RB_CALL_POST, 403, "{\"detail\":\"a\\u001b[31mb\\nc\\u202e\"}", "a\\x1b[31mb\\x0ac\\u{202e}");
    detail_is(RB_CALL_POST, 201, STORED, "");
    detail_is(RB_CALL_POST, 502, HTML, "status 502");
}
END_TEST

START_TEST(of_auth_calls_only_the_two_sentences_are_carried_on)
{
    static const enum rb_call_kind kinds[] = {RB_CALL_LOGIN,  RB_CALL_REFRESH, RB_CALL_REVOKE,
                                              RB_CALL_LOGOUT, RB_CALL_ME,      RB_CALL_SESSIONS};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        detail_is(kinds[i], 422, FAULTS, "");
        detail_is(kinds[i], 500, "{\"error\":\"hunter2\"}", "status 500");
    }
    detail_is(RB_CALL_LOGIN, 401, "{\"detail\":\"hunter2\"}", "");
    detail_is(RB_CALL_REFRESH, 401, "{\"detail\":\"invalid refresh token\"}", "invalid refresh token");
}
END_TEST

START_TEST(a_long_sentence_is_cut_between_characters)
{
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"detail\":\"x");
    for (int i = 0; i < 300; i++)
        rb_str_add(&body, "é");
    rb_str_add(&body, "\"}");
    struct rb_exchange exchange = answered(403, true, body.at);
    struct rb_answer answer;
    struct rb_decoded decoded;
    rb_decode(RB_CALL_POST, &exchange, &answer, &decoded);
    ck_assert_uint_eq(strlen(answer.detail), 255);
    ck_assert_str_eq(answer.detail + 253, "é");
    rb_str_free(&body);
}
END_TEST

START_TEST(each_problem_has_a_text_of_its_own)
{
    static const char *const texts[] = {
        [P(NONE)] = "none",
        [P(UNREACHABLE)] = "the relay cannot be reached",
        [P(LOST)] = "no whole answer of the relay",
        [P(TOO_LONG)] = "the relay's answer is too long",
        [P(SERVER)] = "the relay failed",
        [P(RATE)] = "the relay's rate limit is reached",
        [P(UNAUTHORIZED)] = "the relay does not accept the credentials",
        [P(TOKEN_REFUSED)] = "the relay refuses the refresh token for good",
        [P(FORBIDDEN)] = "the relay does not permit it",
        [P(NOT_FOUND)] = "the relay does not know it",
        [P(EXISTS)] = "the relay has it already",
        [P(INVALID)] = "the relay calls the request invalid",
        [P(TOO_LARGE)] = "the request is too large for the relay",
    };
    size_t count = sizeof texts / sizeof *texts;
    for (size_t i = 0; i < count; i++)
        ck_assert_str_eq(rb_problem_text((enum rb_problem)i), texts[i]);
    /* So the table above has them all. */
    ck_assert_str_eq(rb_problem_text((enum rb_problem)count), "unknown problem");
}
END_TEST

static int64_t expiry_of(const char *expires_in)
{
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"access_token\":\"a\",\"refresh_token\":\"r\"%s}", expires_in);
    struct rb_exchange exchange = answered(200, true, body.at);
    struct rb_answer answer;
    struct rb_decoded decoded;
    rb_decode(RB_CALL_LOGIN, &exchange, &answer, &decoded);
    ck_assert_int_eq(answer.end, DONE);
    int64_t expiry = decoded.tokens.expires_in_s;
    rb_decoded_free(&decoded);
    return expiry;
}

START_TEST(the_lifetime_of_a_token_is_clamped)
{
    ck_assert_int_eq(expiry_of(""), 3600);
    ck_assert_int_eq(expiry_of(",\"expires_in\":null"), 3600);
    ck_assert_int_eq(expiry_of(",\"expires_in\":600"), 600);
    ck_assert_int_eq(expiry_of(",\"expires_in\":600.0"), 600);
    ck_assert_int_eq(expiry_of(",\"expires_in\":0"), 1);
    ck_assert_int_eq(expiry_of(",\"expires_in\":-5"), 1);
    ck_assert_int_eq(expiry_of(",\"expires_in\":200000000000"), 7 * 24 * 3600);
    ck_assert_int_eq(expiry_of(",\"expires_in\":1e400"), 3600);
    ck_assert_int_eq(expiry_of(",\"expires_in\":NaN"), 3600);
}
END_TEST

START_TEST(messages_come_down_with_their_own_bytes)
{
    static const char body[] = " {\"has_more\" : true, \"messages\" : [ {\"payload\": { "
                               "\"b\":123456789012345678901234567890, \"a\":NaN,\"a\":1e2 } ,"
                               "\"message_id\":\"m\\u00e9\\\"\",\"topic\":\"\\u65e5\",\"timestamp\":\"x\",\"metadata\":"
                               "{ \"k\": \"v\" },\"type\":\"message\"},"
                               "{\"topic\":\"t\",\"message_id\":\"2-0\",\"timestamp\":\"y\",\"payload\":{}} ] } ";
    struct rb_exchange exchange = answered(200, true, body);
    struct rb_answer answer;
    struct rb_decoded decoded;
    rb_decode(RB_CALL_POLL, &exchange, &answer, &decoded);
    ck_assert_int_eq(answer.end, DONE);
    ck_assert_uint_eq(decoded.count, 2);
    ck_assert(decoded.has_more);
    const struct rb_incoming *first = &decoded.messages[0], *second = &decoded.messages[1];
    ck_assert(rb_span_is(first->payload, "{ \"b\":123456789012345678901234567890, \"a\":NaN,\"a\":1e2 }"));
    ck_assert(rb_span_is(first->message_id, "mé\""));
    ck_assert(rb_span_is(first->topic, "日"));
    ck_assert(rb_span_is(first->metadata, "{ \"k\": \"v\" }"));
    ck_assert(rb_span_is(second->payload, "{}"));
    ck_assert_uint_eq(second->metadata.len, 0);
    rb_decoded_free(&decoded);
}
END_TEST

START_TEST(a_page_has_its_cursor)
{
    struct rb_exchange exchange = answered(200, true, PAGE);
    struct rb_answer answer;
    struct rb_decoded decoded;
    rb_decode(RB_CALL_PAGE, &exchange, &answer, &decoded);
    ck_assert(rb_span_is(decoded.next_cursor, "1-0"));
    ck_assert_uint_eq(decoded.count, 1);
    rb_decoded_free(&decoded);
}
END_TEST

START_TEST(a_post_carries_the_payloads_own_bytes)
{
    static const struct {
        int64_t ttl;
        const char *metadata, *body;
    } posts[] = {
        {0, "", "{\"topic\":\"t\\\"\",\"payload\":{ \"a\" : NaN }}"},
        {60, "", "{\"topic\":\"t\\\"\",\"payload\":{ \"a\" : NaN },\"ttl\":60}"},
        {60, "{\"k\":\"v\"}",
         "{\"topic\":\"t\\\"\",\"payload\":{ \"a\" : NaN },\"ttl\":60,\"metadata\":{\"k\":\"v\"}}"},
    };
    for (size_t i = 0; i < sizeof posts / sizeof *posts; i++) {
        struct rb_outgoing message = {RB_SPAN("t\""), RB_SPAN("{ \"a\" : NaN }"), rb_span_of(posts[i].metadata),
                                      posts[i].ttl};
        struct rb_str body = RB_STR_INIT;
        rb_encode_post(&body, &message);
        ck_assert_str_eq(body.at, posts[i].body);
        ck_assert_uint_eq(rb_relay_post_bytes(&message), body.len);
        rb_str_free(&body);
    }
}
END_TEST

START_TEST(a_poll_without_any_entry_leaves_since_out)
{
    struct rb_since topics[] = {{RB_SPAN("a"), {0}}, {RB_SPAN("b"), RB_SPAN("1-0")}, {RB_SPAN("c"), RB_SPAN("2\"")}};
    struct rb_str body = RB_STR_INIT;
    rb_encode_poll(&body, topics, 1, 30);
    ck_assert_str_eq(body.at, "{\"timeout\":30,\"topics\":[\"a\"]}");
    rb_str_reset(&body);
    rb_encode_poll(&body, topics, 3, 5);
    ck_assert_str_eq(body.at,
                     "{\"timeout\":5,\"topics\":[\"a\",\"b\",\"c\"],\"since\":{\"b\":\"1-0\",\"c\":\"2\\\"\"}}");
    rb_str_free(&body);
}
END_TEST

Suite *codec_suite(void)
{
    Suite *suite = suite_create("codec");
    TCase *tcase = tcase_create("codec");
    tcase_add_loop_test(tcase, each_answer_has_its_end_and_problem, 0, sizeof rows / sizeof *rows);
    tcase_add_test(tcase, what_never_connected_is_not_executed_and_what_was_lost_is_unknown);
    tcase_add_test(tcase, a_message_of_a_waiter_is_told_from_one_of_a_catch_up_read);
    tcase_add_test(tcase, the_relays_sentence_is_printable_and_never_what_was_sent);
    tcase_add_test(tcase, of_auth_calls_only_the_two_sentences_are_carried_on);
    tcase_add_test(tcase, a_long_sentence_is_cut_between_characters);
    tcase_add_test(tcase, each_problem_has_a_text_of_its_own);
    tcase_add_test(tcase, the_lifetime_of_a_token_is_clamped);
    tcase_add_test(tcase, messages_come_down_with_their_own_bytes);
    tcase_add_test(tcase, a_page_has_its_cursor);
    tcase_add_test(tcase, a_post_carries_the_payloads_own_bytes);
    tcase_add_test(tcase, a_poll_without_any_entry_leaves_since_out);
    suite_add_tcase(suite, tcase);
    return suite;
}
