/* Whatever a relay answers to a typed call: handed to the codec by a carrier of its own (every second input), or as raw
 * bytes on a socket, through libcurl and the shipped carrier. A call ends once; what it says of its end is consistent;
 * and jansson finds in the answer what the codec does. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec.h"
#include "fake.h"
#include "fuzz.h"
#include "http_carrier.h"
#include "log.h"
#include "relay.h"

enum { TURNS_MAX = 2000, ANSWER_MAX = 4096 };

static struct {
    struct rb_fake_clock clock;
    struct rb_loop *loop;
    struct rb_http_carrier *carrier;
    struct rb_carrier port; /* answers from memory */
    struct rb_relay *relays[2];
    int listener;
    char url[40];

    /* of this input */
    enum rb_call_kind kind;
    bool from_memory;
    struct rb_span said; /* what the relay answers */
    struct rb_exchange *exchange;
    unsigned requests, ends;
} host;

/* --- what must hold of every end --- */

static bool is_printable(struct rb_span text)
{
    RB_CLEANUP_STR struct rb_str printable = RB_STR_INIT;
    rb_str_add_printable(&printable, text);
    return rb_span_equal(rb_str_span(&printable), text);
}

static void check_detail(const struct rb_answer *answer)
{
    const struct rb_call_rule *rule = rb_call_rule(host.kind);
    FUZZ_CHECK(memchr(answer->detail, 0, sizeof answer->detail));
    FUZZ_CHECK(is_printable(rb_span_of(answer->detail)));
    if (answer->problem == RB_PROBLEM_TOKEN_REFUSED)
        FUZZ_CHECK(strcmp(answer->detail, "invalid refresh token") == 0 ||
                   strcmp(answer->detail, "user not found") == 0);
    else if (rule->auth && answer->end == RB_END_NOT_EXECUTED && answer->status)
        FUZZ_CHECK(!answer->detail[0]);
}

static void check_body(struct rb_span body)
{
    if (!body.len)
        return;
    FUZZ_CHECK(rb_json_check(body, RB_JSON_LEVELS, NULL, NULL) == RB_JSON_FINE);
    if (host.from_memory)
        FUZZ_CHECK(fuzz_inside(body, host.said));
    else if (!memmem(host.said.at, host.said.len, "hunked", 6))
        FUZZ_CHECK(fuzz_has(host.said, body));
}

static void check_end(const struct rb_answer *answer, bool has_more_to_say)
{
    const struct rb_call_rule *rule = rb_call_rule(host.kind);
    bool executed = answer->end == RB_END_EXECUTED;
    host.ends++;
    FUZZ_CHECK(executed == (answer->problem == RB_PROBLEM_NONE));
    FUZZ_CHECK(!executed || (answer->status == rule->success && !answer->detail[0]));
    FUZZ_CHECK(executed || !has_more_to_say);
    FUZZ_CHECK(answer->end != RB_END_NOT_EXECUTED || answer->status == 0 ||
               (answer->status >= 400 && answer->status <= 499));
    FUZZ_CHECK((answer->problem == RB_PROBLEM_SERVER) == (answer->status >= 500 && answer->status <= 599));
    FUZZ_CHECK(answer->problem != RB_PROBLEM_TOKEN_REFUSED || (host.kind == RB_CALL_REFRESH && answer->status == 401));
    FUZZ_CHECK(answer->retry_after_ms >= -1 && answer->retry_after_ms <= INT64_C(86400000));
    FUZZ_CHECK(answer->relay_wall_ms >= -1);
    FUZZ_CHECK(!rule->secret || !answer->body.len);
    FUZZ_CHECK(!rule->auth || executed || !answer->body.len);
    check_detail(answer);
    check_body(answer->body);
}

/* The answer as jansson has it; NULL: it cannot judge (NaN, numbers beyond a double, zero bytes). */
static json_t *tree_of_answer(void)
{
    return host.from_memory && !memchr(host.said.at, 0, host.said.len)
               ? json_loadb(host.said.at, host.said.len, JSON_ALLOW_NUL, NULL)
               : NULL;
}

static void check_same(const json_t *tree, const char *member, struct rb_span text)
{
    const json_t *value = json_object_get(tree, member);
    FUZZ_CHECK(fuzz_is_utf8(text));
    if (!tree)
        return;
    if (json_is_string(value))
        FUZZ_CHECK(rb_span_equal(text, (struct rb_span){json_string_value(value), json_string_length(value)}));
    else
        FUZZ_CHECK(text.len == 0 && (!value || json_is_null(value)));
}

static void on_tokens(void *arg, const struct rb_answer *answer, const struct rb_tokens *tokens)
{
    check_end(answer, tokens);
    FUZZ_CHECK(!tokens == (answer->end != RB_END_EXECUTED));
    if (!tokens)
        return;
    FUZZ_CHECK(rb_token_valid(tokens->access_token) && rb_token_valid(tokens->refresh_token));
    FUZZ_CHECK(!tokens->refresh_token_secondary.len || rb_token_valid(tokens->refresh_token_secondary));
    FUZZ_CHECK(tokens->expires_in_s >= 1 && tokens->expires_in_s <= 7 * 24 * 3600);
    json_t *tree = tree_of_answer();
    check_same(tree, "access_token", tokens->access_token);
    check_same(tree, "refresh_token", tokens->refresh_token);
    check_same(tree, "refresh_token_secondary", tokens->refresh_token_secondary);
    json_decref(tree);
}

static void on_plain(void *arg, const struct rb_answer *answer)
{
    check_end(answer, false);
}

static void on_me(void *arg, const struct rb_answer *answer, const struct rb_me *me)
{
    check_end(answer, me);
    FUZZ_CHECK(!me == (answer->end != RB_END_EXECUTED));
    if (!me)
        return;
    json_t *tree = tree_of_answer();
    FUZZ_CHECK(me->user_id.len && me->username.len);
    check_same(tree, "user_id", me->user_id);
    check_same(tree, "username", me->username);
    json_decref(tree);
}

static void on_stored(void *arg, const struct rb_answer *answer, const struct rb_stored *stored)
{
    check_end(answer, stored);
    FUZZ_CHECK(!stored == (answer->end != RB_END_EXECUTED));
    if (!stored)
        return;
    json_t *tree = tree_of_answer();
    FUZZ_CHECK(stored->message_id.len && stored->timestamp.len);
    check_same(tree, "message_id", stored->message_id);
    check_same(tree, "timestamp", stored->timestamp);
    json_decref(tree);
}

static void check_object(struct rb_span text)
{
    struct rb_json_value value;
    FUZZ_CHECK(rb_json_check(text, RB_JSON_LEVELS, &value, NULL) == RB_JSON_FINE && value.kind == RB_JSON_OBJECT);
    FUZZ_CHECK(!host.from_memory || fuzz_inside(text, host.said));
}

/* A message that was read can be sent as it is, and keeps its bytes. */
static void check_sendable(const struct rb_incoming *message)
{
    const struct rb_outgoing outgoing = {
        .topic = message->topic, .payload = message->payload, .metadata = message->metadata, .ttl_s = 1};
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT;
    rb_encode_post(&body, &outgoing);
    struct rb_json_value value, payload;
    FUZZ_CHECK(body.len == rb_relay_post_bytes(&outgoing));
    if (rb_json_check(rb_str_span(&body), RB_JSON_LEVELS, &value, NULL) == RB_JSON_FINE)
        FUZZ_CHECK(rb_json_member(value, "payload", &payload) && rb_span_equal(payload.text, message->payload));
}

static void check_messages(const struct rb_answer *answer, const struct rb_incoming *messages, size_t count)
{
    FUZZ_CHECK(answer->end == RB_END_EXECUTED || !count);
    json_t *tree = tree_of_answer();
    const json_t *list = json_object_get(tree, "messages");
    FUZZ_CHECK(!tree || answer->end != RB_END_EXECUTED || json_array_size(list) == count);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        FUZZ_CHECK(messages[i].topic.len && messages[i].message_id.len);
        check_same(item, "topic", messages[i].topic);
        check_same(item, "message_id", messages[i].message_id);
        check_same(item, "timestamp", messages[i].timestamp);
        FUZZ_CHECK(!item || messages[i].from_waiter == (json_object_get(item, "type") != NULL));
        check_object(messages[i].payload);
        if (messages[i].metadata.len)
            check_object(messages[i].metadata);
        check_sendable(&messages[i]);
    }
    json_decref(tree);
}

static void on_poll(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                    bool has_more)
{
    check_end(answer, count || has_more);
    check_messages(answer, messages, count);
}

static void on_page(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                    struct rb_span next_cursor)
{
    check_end(answer, count || next_cursor.len);
    check_messages(answer, messages, count);
    FUZZ_CHECK(fuzz_is_utf8(next_cursor));
}

/* --- what must hold of every request --- */

static bool is_visible(const char *text)
{
    for (; *text; text++)
        if (*text < '!' || *text > '~')
            return false;
    return true;
}

static void check_request(const struct rb_exchange *exchange)
{
    const struct rb_call_rule *rule = rb_call_rule(host.kind);
    FUZZ_CHECK(strcmp(exchange->method, rule->method) == 0 &&
               strncmp(exchange->path, rule->path, strlen(rule->path)) == 0);
    FUZZ_CHECK(is_visible(exchange->path) && !strchr(exchange->path, '#'));
    FUZZ_CHECK(!exchange->bearer || rb_token_valid(rb_span_of(exchange->bearer)));
    FUZZ_CHECK(exchange->fresh_connection == rule->fresh_connection && exchange->deadline_ms > 0);
    FUZZ_CHECK(!exchange->content_type == !exchange->body.len);
    if (exchange->content_type && strcmp(exchange->content_type, "application/json") == 0)
        FUZZ_CHECK(rb_json_check(exchange->body, RB_JSON_LEVELS, NULL, NULL) == RB_JSON_FINE);
}

/* --- the carrier that answers from memory --- */

static enum rb_status memory_start(struct rb_carrier *carrier, struct rb_exchange *exchange)
{
    check_request(exchange);
    host.requests++;
    host.exchange = exchange;
    return RB_OK;
}

static void memory_abandon(struct rb_carrier *carrier, struct rb_exchange *exchange)
{
    host.exchange = NULL;
}

static int status_of(uint8_t choice)
{
    static const int others[] = {200, 201, 202, 204, 301, 400, 401, 403, 404,
                                 409, 413, 422, 429, 500, 502, 503, 599, 999};
    return choice % 3 == 0 ? rb_call_rule(host.kind)->success : others[choice / 3 % (sizeof others / sizeof others[0])];
}

static void answer_from_memory(uint8_t how, uint8_t status)
{
    struct rb_exchange *exchange = host.exchange;
    exchange->delivery = how & 0x0e ? RB_DELIVERY_ANSWER : how & 0x10 ? RB_DELIVERY_LOST : RB_DELIVERY_NONE;
    exchange->retry_after_ms = exchange->relay_wall_ms = -1;
    exchange->too_long = exchange->delivery == RB_DELIVERY_LOST && how & 0x20;
    if (exchange->delivery == RB_DELIVERY_ANSWER) {
        exchange->status = status_of(status);
        exchange->answer = host.said;
        exchange->answer_is_json = !(how & 0x40);
    } else {
        snprintf(exchange->cause, sizeof exchange->cause, "%.*s", (int)host.said.len,
                 host.said.len ? host.said.at : "");
    }
    exchange->done(exchange);
}

/* --- the relay on a socket --- */

static bool is_whole(const char *request, size_t len)
{
    const char *end = memmem(request, len, "\r\n\r\n", 4);
    if (!end)
        return false;
    const char *length = strcasestr(request, "\r\nContent-Length: ");
    size_t body = length && length < end ? strtoul(length + 18, NULL, 10) : 0;
    return len - (size_t)(end + 4 - request) >= body;
}

/* One request of one connection. */
static void answer_connection(int fd)
{
    char request[65536];
    size_t len = 0;
    ssize_t got;
    request[0] = 0;
    while (!is_whole(request, len) && (got = recv(fd, request + len, sizeof request - 1 - len, 0)) > 0)
        request[len += (size_t)got] = 0;
    FUZZ_CHECK(is_whole(request, len));
    struct rb_span line = {request, strcspn(request, "\r\n")};
    FUZZ_CHECK(line.len > 9 && memcmp(line.at + line.len - 9, " HTTP/1.1", 9) == 0);
    FUZZ_CHECK(!strstr(request, "\nX-Injected"));
    host.requests++;
    if (host.said.len)
        (void)send(fd, host.said.at, host.said.len, MSG_NOSIGNAL);
}

static bool end_tick(void *arg)
{
    return false;
}

static void answer_from_socket(void)
{
    for (int turns = 0; !host.ends; turns++) {
        int fd = accept4(host.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            /* libcurl needs its turn to send the request. */
            uv_run(rb_loop_uv(host.loop), UV_RUN_NOWAIT);
            answer_connection(fd);
            close(fd);
        }
        uv_run(rb_loop_uv(host.loop), UV_RUN_NOWAIT);
        FUZZ_CHECK(turns < TURNS_MAX);
        if (turns > 1000)
            rb_fake_clock_advance(&host.clock, 1000);
    }
}

static void stop(void)
{
    rb_relay_free(host.relays[0]);
    rb_relay_free(host.relays[1]);
    rb_http_carrier_free(host.carrier);
    rb_loop_free(host.loop);
    close(host.listener);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    rb_log_set_level(RB_LOG_OFF);
    FUZZ_CHECK(sodium_init() >= 0);
    rb_fake_clock_init(&host.clock);
    FUZZ_CHECK(rb_loop_new(&host.clock.clock, end_tick, NULL, &host.loop) == RB_OK);
    FUZZ_CHECK(rb_http_carrier_new(host.loop, &host.carrier, NULL) == RB_OK);
    host.port = (struct rb_carrier){.start = memory_start, .abandon = memory_abandon};
    FUZZ_CHECK(rb_relay_new(rb_http_carrier_port(host.carrier), &host.relays[0]) == RB_OK);
    FUZZ_CHECK(rb_relay_new(&host.port, &host.relays[1]) == RB_OK);
    host.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    FUZZ_CHECK(bind(host.listener, (const struct sockaddr *)&at, sizeof at) == 0 && listen(host.listener, 8) == 0);
    FUZZ_CHECK(getsockname(host.listener, (struct sockaddr *)&at, &len) == 0);
    snprintf(host.url, sizeof host.url, "http://127.0.0.1:%d", ntohs(at.sin_port));
    atexit(stop);
    return 0;
}

/* --- the call; its words are the input's too --- */

static enum rb_status call(struct rb_relay *relay, struct rb_span word)
{
    const struct rb_relay_peer peer = {.url = host.url};
    const struct rb_span token = RB_SPAN("eyJ.a.b"), topic = rb_topic_name_valid(word) ? word : RB_SPAN("a-topic");
    const struct rb_since since[] = {{topic, {0}}, {RB_SPAN("b"), word}};
    const struct rb_outgoing message = {topic, RB_SPAN("{\"a\":[1,NaN]}"), RB_SPAN("{\"k\":\"v\"}"), 30};
    struct rb_topic_request request = {RB_TOPIC_LIST, topic, word, word.len};
    RB_CLEANUP_FREE char *name = strndup(word.len ? word.at : "", word.len);
    bool descending = word.len % 2;
    switch (host.kind) {
    case RB_CALL_LOGIN:
        return rb_relay_login(relay, &peer, name, word, on_tokens, NULL, NULL);
    case RB_CALL_REFRESH:
        return rb_relay_refresh(relay, &peer, rb_token_valid(word) ? word : token, on_tokens, NULL, NULL);
    case RB_CALL_REVOKE:
        return rb_relay_revoke_chain(relay, &peer, rb_token_valid(word) ? word : token, on_plain, NULL, NULL);
    case RB_CALL_LOGOUT:
        return rb_relay_logout(relay, &peer, token, on_plain, NULL, NULL);
    case RB_CALL_ME:
        return rb_relay_me(relay, &peer, token, on_me, NULL, NULL);
    case RB_CALL_SESSIONS:
        return rb_relay_sessions(relay, &peer, rb_token_valid(word) ? word : token, on_plain, NULL, NULL);
    case RB_CALL_POST:
        return rb_relay_post(relay, &peer, token, &message, "key-1", on_stored, NULL, NULL);
    case RB_CALL_POLL:
        return rb_relay_poll(relay, &peer, token, since, 2, 30, ANSWER_MAX, on_poll, NULL, NULL);
    case RB_CALL_PAGE:
        return rb_relay_page(relay, &peer, token, topic, descending, 100, word, ANSWER_MAX, on_page, NULL, NULL);
    case RB_CALL_TOPIC_GET:
        request.call = RB_TOPIC_GET;
        break;
    case RB_CALL_TOPIC_CREATE:
        request.call = RB_TOPIC_CREATE;
        break;
    case RB_CALL_TOPIC_UPDATE:
        request.call = RB_TOPIC_UPDATE;
        break;
    case RB_CALL_TOPIC_DELETE:
        request.call = RB_TOPIC_DELETE;
        break;
    case RB_CALL_HEALTH:
        return rb_relay_health(relay, &peer, on_plain, NULL, NULL);
    case RB_CALL_TOPIC_LIST:
        break;
    }
    return rb_relay_topic(relay, &peer, token, &request, on_plain, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rb_span input = {(const char *)data, size};
    uint8_t kind = fuzz_byte(&input), how = fuzz_byte(&input), status = fuzz_byte(&input);
    struct rb_span word = fuzz_take(&input, fuzz_byte(&input));
    host.kind = kind % (RB_CALL_HEALTH + 1);
    host.from_memory = how & 1;
    host.said = input.len ? input : (struct rb_span){"", 0};
    host.requests = host.ends = 0;
    struct rb_relay *relay = host.relays[host.from_memory];
    FUZZ_CHECK(call(relay, word) == RB_OK && !host.ends && rb_relay_calls(relay) == 1);
    if (host.from_memory)
        answer_from_memory(how, status);
    else
        answer_from_socket();
    FUZZ_CHECK(host.ends == 1 && host.requests == 1 && rb_relay_calls(relay) == 0);
    FUZZ_CHECK(is_printable(rb_span_of(rb_relay_trouble(relay, host.url))));
    return 0;
}
