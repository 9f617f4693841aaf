#include "relay_test.h"

#include <string.h>

#include "fake.h"
#include "relay.h"

/* A carrier that holds each exchange until the test ends it. */
struct script {
    struct rb_carrier port;
    struct rb_exchange *held[8];
    size_t count;
    int abandoned;
    enum rb_status start_status;
};

static enum rb_status script_start(struct rb_carrier *port, struct rb_exchange *exchange)
{
    struct script *script = (struct script *)(void *)port;
    if (script->start_status != RB_OK)
        return script->start_status;
    ck_assert_uint_lt(script->count, 8);
    script->held[script->count++] = exchange;
    return RB_OK;
}

static void script_abandon(struct rb_carrier *port, struct rb_exchange *exchange)
{
    struct script *script = (struct script *)(void *)port;
    script->abandoned++;
}

static struct script script;
static struct rb_fake_clock fake;
static struct rb_relay *relay;
static const struct rb_relay_peer peer = {.url = "https://relay.example.org"};
static int done_count;
static struct rb_answer last;
static char last_text[64]; /* the first span of the typed answer */
static bool last_typed;
static struct rb_call *abandon_in_done;

static void setup(void)
{
    script = (struct script){.port = {.start = script_start, .abandon = script_abandon}};
    rb_fake_clock_init(&fake);
    ck_assert_int_eq(rb_relay_new(&script.port, &relay), RB_OK);
    done_count = 0;
    abandon_in_done = NULL;
}

static void teardown(void)
{
    rb_relay_free(relay);
}

static void keep(const struct rb_answer *answer, bool typed, struct rb_span text)
{
    done_count++;
    last = *answer;
    last_typed = typed;
    snprintf(last_text, sizeof last_text, "%.*s", (int)text.len, text.len ? text.at : "");
    rb_call_abandon(abandon_in_done);
}

static void on_tokens(void *arg, const struct rb_answer *answer, const struct rb_tokens *tokens)
{
    keep(answer, tokens, tokens ? tokens->refresh_token : (struct rb_span){0});
}

static void on_plain(void *arg, const struct rb_answer *answer)
{
    keep(answer, false, (struct rb_span){0});
}

static void on_post(void *arg, const struct rb_answer *answer, const struct rb_stored *stored)
{
    keep(answer, stored, stored ? stored->message_id : (struct rb_span){0});
}

static void on_poll(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                    bool has_more)
{
    keep(answer, count, count ? messages[0].message_id : (struct rb_span){0});
}

static void on_page(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                    struct rb_span next_cursor)
{
    keep(answer, count, next_cursor);
}

static void end(size_t i, int status, const char *body)
{
    struct rb_exchange *exchange = script.held[i];
    exchange->delivery = RB_DELIVERY_ANSWER;
    exchange->status = status;
    exchange->answer = rb_span_of(body);
    exchange->answer_is_json = true;
    exchange->retry_after_ms = exchange->relay_wall_ms = -1;
    exchange->done(exchange);
}

START_TEST(a_refresh_goes_on_its_own_connection_with_its_own_deadline)
{
    char token[] = "jti.secret", url[] = "https://relay.example.org", ca[] = "/ca.pem";
    struct rb_relay_peer own = {url, ca};
    ck_assert_int_eq(rb_relay_refresh(relay, &own, rb_span_of(token), on_tokens, NULL, NULL), RB_OK);
    /* Everything is copied. */
    memset(token, 'X', sizeof token - 1);
    memset(url, 'X', sizeof url - 1);
    memset(ca, 'X', sizeof ca - 1);
    const struct rb_exchange *exchange = script.held[0];
    ck_assert_str_eq(exchange->url, "https://relay.example.org");
    ck_assert_str_eq(exchange->ca_file, "/ca.pem");
    ck_assert_str_eq(exchange->method, "POST");
    ck_assert_str_eq(exchange->path, "/auth/token/refresh");
    ck_assert_str_eq(exchange->content_type, "application/json");
    ck_assert(rb_span_is(exchange->body, "{\"refresh_token\":\"jti.secret\"}"));
    ck_assert_ptr_null(exchange->bearer);
    ck_assert(exchange->fresh_connection);
    ck_assert_int_eq(exchange->deadline_ms, 5 * 60 * 1000);
    ck_assert_int_eq(done_count, 0);
    ck_assert_uint_eq(rb_relay_calls(relay), 1);
    end(0, 200, "{\"access_token\":\"a\",\"refresh_token\":\"next\"}");
    ck_assert_int_eq(done_count, 1);
    ck_assert_int_eq(last.end, RB_END_EXECUTED);
    ck_assert_str_eq(last_text, "next");
    ck_assert_uint_eq(rb_relay_calls(relay), 0);
}
END_TEST

START_TEST(a_login_is_a_form)
{
    ck_assert_int_eq(rb_relay_login(relay, &peer, "a&b", RB_SPAN("p=\xc3\xa9 +"), on_tokens, NULL, NULL), RB_OK);
    ck_assert_str_eq(script.held[0]->content_type, "application/x-www-form-urlencoded");
    ck_assert(rb_span_is(script.held[0]->body, "grant_type=password&username=a%26b&password=p%3D%C3%A9%20%2B"));
    ck_assert(script.held[0]->fresh_connection);
    end(0, 401, "{\"detail\":\"no\"}");
    ck_assert_int_eq(last.problem, RB_PROBLEM_UNAUTHORIZED);
    ck_assert(!last_typed);
}
END_TEST

START_TEST(a_revocation_revokes_the_chain)
{
    ck_assert_int_eq(rb_relay_revoke_chain(relay, &peer, RB_SPAN("j.s"), on_plain, NULL, NULL), RB_OK);
    ck_assert_str_eq(script.held[0]->path, "/auth/token/revoke");
    ck_assert(rb_span_is(script.held[0]->body, "{\"refresh_token\":\"j.s\",\"revoke_chain\":true}"));
    ck_assert(script.held[0]->fresh_connection);
    end(0, 204, "");
    ck_assert_int_eq(last.end, RB_END_EXECUTED);
}
END_TEST

START_TEST(a_post_has_its_bearer_and_key)
{
    struct rb_outgoing message = {.topic = RB_SPAN("t"), .payload = RB_SPAN("{}")};
    ck_assert_int_eq(rb_relay_post(relay, &peer, RB_SPAN("acc"), &message, "0123", on_post, NULL, NULL), RB_OK);
    ck_assert_str_eq(script.held[0]->path, "/api/v1/messages");
    ck_assert_str_eq(script.held[0]->bearer, "acc");
    ck_assert_str_eq(script.held[0]->idempotency_key, "0123");
    ck_assert_int_eq(script.held[0]->deadline_ms, RB_CALL_DEADLINE_MS);
    ck_assert(!script.held[0]->fresh_connection);
    end(0, 201, "{\"message_id\":\"7-0\",\"topic\":\"t\",\"timestamp\":\"x\"}");
    ck_assert_str_eq(last_text, "7-0");
}
END_TEST

START_TEST(a_poll_and_a_page_are_capped_and_patient)
{
    struct rb_since since = {RB_SPAN("t"), RB_SPAN("1-0")};
    ck_assert_int_eq(rb_relay_poll(relay, &peer, RB_SPAN("acc"), &since, 1, 30, 4096, on_poll, NULL, NULL), RB_OK);
    ck_assert_int_eq(script.held[0]->deadline_ms, 40 * 1000);
    ck_assert_uint_eq(script.held[0]->answer_max_bytes, 4096);
    ck_assert_int_eq(rb_relay_page(relay, &peer, RB_SPAN("acc"), RB_SPAN("\xc3\xa9-1"), true, 7, RB_SPAN("1&2"), 512,
                                   on_page, NULL, NULL),
                     RB_OK);
    ck_assert_str_eq(script.held[1]->method, "GET");
    ck_assert_str_eq(script.held[1]->path, "/api/v1/topics/%C3%A9-1/messages?limit=7&order=desc&cursor=1%262");
    ck_assert_ptr_null(script.held[1]->content_type);
    end(1, 200, "{\"messages\":[],\"next_cursor\":\"9\"}");
    ck_assert_str_eq(last_text, "9");
    end(0, 200, "{\"messages\":[],\"has_more\":false}");
    ck_assert_int_eq(last.end, RB_END_EXECUTED);
}
END_TEST

START_TEST(topic_calls_are_typed_paths)
{
    static const struct {
        enum rb_topic_call call;
        const char *method, *path, *body;
    } rows[] = {
        {RB_TOPIC_LIST, "GET", "/api/v1/topics", ""},
        {RB_TOPIC_GET, "GET", "/api/v1/topics/a_b", ""},
        {RB_TOPIC_CREATE, "POST", "/api/v1/topics", "{\"topic_name\":\"a_b\",\"description\":\"d\\\"\"}"},
        {RB_TOPIC_UPDATE, "PUT", "/api/v1/topics/a_b", "{\"description\":\"d\\\"\"}"},
        {RB_TOPIC_DELETE, "DELETE", "/api/v1/topics/a_b", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rb_topic_request request = {rows[i].call, RB_SPAN("a_b"), RB_SPAN("d\""), true};
        ck_assert_int_eq(rb_relay_topic(relay, &peer, RB_SPAN("acc"), &request, on_plain, NULL, NULL), RB_OK);
        ck_assert_str_eq(script.held[i]->method, rows[i].method);
        ck_assert_str_eq(script.held[i]->path, rows[i].path);
        ck_assert(rb_span_is(script.held[i]->body, rows[i].body));
        ck_assert_int_eq(script.held[i]->content_type != NULL, rows[i].body[0] != 0);
    }
}
END_TEST

START_TEST(what_must_not_be_sent_does_not_start)
{
    struct rb_outgoing message = {.topic = RB_SPAN("t"), .payload = RB_SPAN("{}")};
    struct rb_topic_request shadowed = {.call = RB_TOPIC_GET, .name = RB_SPAN("stats")};
    struct rb_topic_request climbing = {.call = RB_TOPIC_DELETE, .name = RB_SPAN("..")};
    struct rb_since since = {RB_SPAN("t"), {0}};
    ck_assert_int_eq(rb_relay_refresh(relay, &peer, RB_SPAN("a\r\nb"), on_tokens, NULL, NULL), RB_INVALID);
    ck_assert_int_eq(rb_relay_me(relay, &peer, RB_SPAN("a\r\nX: y"), NULL, NULL, NULL), RB_INVALID);
    ck_assert_int_eq(rb_relay_me(relay, &peer, RB_SPAN(""), NULL, NULL, NULL), RB_INVALID);
    ck_assert_int_eq(rb_relay_post(relay, &peer, RB_SPAN("acc"), &message, "k\n", on_post, NULL, NULL), RB_INVALID);
    ck_assert_int_eq(rb_relay_post(relay, &peer, RB_SPAN("acc"), &message, "", on_post, NULL, NULL), RB_INVALID);
    ck_assert_int_eq(rb_relay_topic(relay, &peer, RB_SPAN("acc"), &shadowed, on_plain, NULL, NULL), RB_INVALID);
    ck_assert_int_eq(rb_relay_topic(relay, &peer, RB_SPAN("acc"), &climbing, on_plain, NULL, NULL), RB_INVALID);
    ck_assert_int_eq(rb_relay_poll(relay, &peer, RB_SPAN("acc"), &since, 0, 30, 10, on_poll, NULL, NULL), RB_INVALID);
    ck_assert_int_eq(rb_relay_poll(relay, &peer, RB_SPAN("acc"), &since, 1, 61, 10, on_poll, NULL, NULL), RB_INVALID);
    ck_assert_uint_eq(script.count, 0);
    ck_assert_uint_eq(rb_relay_calls(relay), 0);
    ck_assert_int_eq(done_count, 0);
}
END_TEST

START_TEST(a_carrier_that_cannot_start_is_told_at_once)
{
    script.start_status = RB_NO_MEMORY;
    ck_assert_int_eq(rb_relay_health(relay, &peer, on_plain, NULL, NULL), RB_NO_MEMORY);
    ck_assert_uint_eq(rb_relay_calls(relay), 0);
    ck_assert_int_eq(done_count, 0);
}
END_TEST

START_TEST(an_abandoned_call_is_never_done)
{
    struct rb_call *call = NULL;
    ck_assert_int_eq(rb_relay_health(relay, &peer, on_plain, NULL, &call), RB_OK);
    rb_call_abandon(call);
    ck_assert_int_eq(script.abandoned, 1);
    ck_assert_int_eq(done_count, 0);
    ck_assert_uint_eq(rb_relay_calls(relay), 0);
}
END_TEST

START_TEST(a_done_may_abandon_another_call_and_itself_to_no_effect)
{
    struct rb_call *first = NULL, *second = NULL;
    ck_assert_int_eq(rb_relay_health(relay, &peer, on_plain, NULL, &first), RB_OK);
    ck_assert_int_eq(rb_relay_health(relay, &peer, on_plain, NULL, &second), RB_OK);
    abandon_in_done = second;
    end(0, 500, "");
    ck_assert_int_eq(script.abandoned, 1);
    ck_assert_uint_eq(rb_relay_calls(relay), 0);
    ck_assert_int_eq(rb_relay_health(relay, &peer, on_plain, NULL, &first), RB_OK);
    abandon_in_done = first;
    end(2, 500, "");
    ck_assert_int_eq(script.abandoned, 1);
    ck_assert_int_eq(done_count, 2);
}
END_TEST

START_TEST(freeing_the_relay_abandons_what_is_under_way)
{
    struct rb_relay *other;
    ck_assert_int_eq(rb_relay_new(&script.port, &other), RB_OK);
    ck_assert_int_eq(rb_relay_health(other, &peer, on_plain, NULL, NULL), RB_OK);
    ck_assert_int_eq(rb_relay_health(other, &peer, on_plain, NULL, NULL), RB_OK);
    rb_relay_free(other);
    ck_assert_int_eq(script.abandoned, 2);
    ck_assert_int_eq(done_count, 0);
}
END_TEST

Suite *call_suite(void)
{
    Suite *suite = suite_create("call");
    TCase *tcase = tcase_create("call");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_refresh_goes_on_its_own_connection_with_its_own_deadline);
    tcase_add_test(tcase, a_login_is_a_form);
    tcase_add_test(tcase, a_revocation_revokes_the_chain);
    tcase_add_test(tcase, a_post_has_its_bearer_and_key);
    tcase_add_test(tcase, a_poll_and_a_page_are_capped_and_patient);
    tcase_add_test(tcase, topic_calls_are_typed_paths);
    tcase_add_test(tcase, what_must_not_be_sent_does_not_start);
    tcase_add_test(tcase, a_carrier_that_cannot_start_is_told_at_once);
    tcase_add_test(tcase, an_abandoned_call_is_never_done);
    tcase_add_test(tcase, a_done_may_abandon_another_call_and_itself_to_no_effect);
    tcase_add_test(tcase, freeing_the_relay_abandons_what_is_under_way);
    suite_add_tcase(suite, tcase);
    return suite;
}
