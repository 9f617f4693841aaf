#include "relay.h"

#include <stdlib.h>

#include "codec.h"
#include "list.h"
#include "wipe.h"

enum {
    POLL_TOPICS_MAX = 20,
    POLL_TIMEOUT_MAX_S = 60,
    PAGE_LIMIT_MAX = 100,
};

struct rb_relay {
    struct rb_carrier *carrier;
    struct rb_list calls;
    size_t count;
    struct rb_list troubled;
};

struct troubled {
    struct rb_list node;
    char *url;
    char text[RB_RELAY_TROUBLE_MAX];
};

struct rb_call {
    struct rb_list node;
    struct rb_relay *relay;
    enum rb_call_kind kind;
    enum rb_status fault; /* found while the request was put together */
    bool ended;           /* its `done` is running */
    struct rb_exchange exchange;
    char *url, *ca_file, *bearer, *idempotency_key;
    struct rb_str path, body;
    union {
        rb_tokens_done tokens;
        rb_plain_done plain;
        rb_me_done me;
        rb_post_done post;
        rb_poll_done poll;
        rb_page_done page;
    } done;
    void *arg;
};

enum rb_status rb_relay_new(struct rb_carrier *carrier, struct rb_relay **ret)
{
    struct rb_relay *relay = calloc(1, sizeof *relay);
    if (!relay)
        return RB_NO_MEMORY;
    relay->carrier = carrier;
    rb_list_init(&relay->calls);
    rb_list_init(&relay->troubled);
    *ret = relay;
    return RB_OK;
}

/* --- who is in trouble --- */

static void troubled_free(struct troubled *troubled)
{
    rb_list_remove(&troubled->node);
    free(troubled->url);
    free(troubled);
}

static struct troubled *troubled_find(const struct rb_relay *relay, const char *url)
{
    RB_LIST_EACH (&relay->troubled, node) {
        struct troubled *troubled = RB_CONTAINER(node, struct troubled, node);
        if (strcmp(troubled->url, url) == 0)
            return troubled;
    }
    return NULL;
}

/* Without memory for it nothing is noted. */
static struct troubled *troubled_new(struct rb_relay *relay, const char *url)
{
    struct troubled *troubled = calloc(1, sizeof *troubled);
    if (!troubled)
        return NULL;
    troubled->url = rb_span_dup(rb_span_of(url));
    if (!troubled->url) {
        free(troubled);
        return NULL;
    }
    rb_list_push(&relay->troubled, &troubled->node);
    return troubled;
}

static void note_trouble(struct rb_relay *relay, const char *url, const struct rb_answer *answer)
{
    bool well = answer->problem != RB_PROBLEM_UNREACHABLE && answer->problem != RB_PROBLEM_LOST &&
                answer->problem != RB_PROBLEM_SERVER;
    struct troubled *troubled = troubled_find(relay, url);
    if (well && troubled)
        troubled_free(troubled);
    if (!well && !troubled)
        troubled = troubled_new(relay, url);
    if (!well && troubled)
        snprintf(troubled->text, sizeof troubled->text, "%s%s%s", rb_problem_text(answer->problem),
                 answer->detail[0] ? ": " : "", answer->detail);
}

const char *rb_relay_trouble(const struct rb_relay *relay, const char *url)
{
    const struct troubled *troubled = troubled_find(relay, url);
    return troubled ? troubled->text : "";
}

void rb_relay_free(struct rb_relay *relay)
{
    if (!relay)
        return;
    while (!rb_list_empty(&relay->calls))
        rb_call_abandon(RB_CONTAINER(relay->calls.next, struct rb_call, node));
    while (!rb_list_empty(&relay->troubled))
        troubled_free(RB_CONTAINER(relay->troubled.next, struct troubled, node));
    free(relay);
}

size_t rb_relay_calls(const struct rb_relay *relay)
{
    return relay->count;
}

/* --- a call's life --- */

static void call_free(struct rb_call *call)
{
    free(call->url);
    free(call->ca_file);
    rb_wipe_free(call->bearer);
    free(call->idempotency_key);
    rb_str_free(&call->path);
    rb_str_free(&call->body);
    free(call);
}

static void call_unlink(struct rb_call *call)
{
    rb_list_remove(&call->node);
    call->relay->count--;
}

void rb_call_abandon(struct rb_call *call)
{
    if (!call || call->ended)
        return;
    call->relay->carrier->abandon(call->relay->carrier, &call->exchange);
    call_unlink(call);
    call_free(call);
}

static void report(struct rb_call *call, const struct rb_answer *answer, const struct rb_decoded *decoded)
{
    bool executed = answer->end == RB_END_EXECUTED;
    switch (call->kind) {
    case RB_CALL_LOGIN:
    case RB_CALL_REFRESH:
        call->done.tokens(call->arg, answer, executed ? &decoded->tokens : NULL);
        break;
    case RB_CALL_ME:
        call->done.me(call->arg, answer, executed ? &decoded->me : NULL);
        break;
    case RB_CALL_POST:
        call->done.post(call->arg, answer, executed ? &decoded->stored : NULL);
        break;
    case RB_CALL_POLL:
        call->done.poll(call->arg, answer, decoded->messages, decoded->count, decoded->has_more);
        break;
    case RB_CALL_PAGE:
        call->done.page(call->arg, answer, decoded->messages, decoded->count, decoded->next_cursor);
        break;
    case RB_CALL_REVOKE:
    case RB_CALL_LOGOUT:
    case RB_CALL_SESSIONS:
    case RB_CALL_TOPIC_LIST:
    case RB_CALL_TOPIC_GET:
    case RB_CALL_TOPIC_CREATE:
    case RB_CALL_TOPIC_UPDATE:
    case RB_CALL_TOPIC_DELETE:
    case RB_CALL_HEALTH:
        call->done.plain(call->arg, answer);
        break;
    }
}

static void on_exchange_done(struct rb_exchange *exchange)
{
    struct rb_call *call = exchange->arg;
    struct rb_answer answer;
    struct rb_decoded decoded;
    /* The callee may free the relay: the call stands for itself from here. */
    call_unlink(call);
    call->ended = true;
    rb_decode(call->kind, exchange, &answer, &decoded);
    /* A logout is a 500 at every relay with Valkey (contract §2). */
    if (call->kind != RB_CALL_LOGOUT)
        note_trouble(call->relay, call->url, &answer);
    report(call, &answer, &decoded);
    rb_decoded_free(&decoded);
    call_free(call);
}

static void fault(struct rb_call *call, enum rb_status status)
{
    if (call->fault == RB_OK)
        call->fault = status;
}

static char *copy(struct rb_call *call, struct rb_span text)
{
    char *copied = rb_span_dup(text);
    if (!copied)
        fault(call, RB_NO_MEMORY);
    return copied;
}

/* NULL when out of memory; other failures are told by call_start. An empty bearer is none. */
static struct rb_call *call_new(struct rb_relay *relay, enum rb_call_kind kind, const struct rb_relay_peer *peer)
{
    const struct rb_call_rule *rule = rb_call_rule(kind);
    struct rb_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    rb_list_init(&call->node);
    call->relay = relay;
    call->kind = kind;
    call->url = copy(call, rb_span_of(peer->url));
    if (peer->ca_file)
        call->ca_file = copy(call, rb_span_of(peer->ca_file));
    rb_str_add(&call->path, rule->path);
    call->exchange.deadline_ms = RB_CALL_DEADLINE_MS;
    call->exchange.answer_max_bytes = rule->secret ? RB_TOKEN_ANSWER_MAX : RB_PLAIN_ANSWER_MAX;
    return call;
}

/* What cannot stand in a header is never sent: a line end in a token would be a header of somebody else's. */
static struct rb_call *call_new_with_bearer(struct rb_relay *relay, enum rb_call_kind kind,
                                            const struct rb_relay_peer *peer, struct rb_span access_token)
{
    struct rb_call *call = call_new(relay, kind, peer);
    if (!call)
        return NULL;
    if (rb_token_valid(access_token))
        call->bearer = copy(call, access_token);
    else
        fault(call, RB_INVALID);
    return call;
}

/* Starts the call or frees it. */
static enum rb_status call_start(struct rb_call *call, void *arg, struct rb_call **ret)
{
    const struct rb_call_rule *rule = rb_call_rule(call->kind);
    struct rb_relay *relay = call->relay;
    if (rb_str_failed(&call->path) || rb_str_failed(&call->body))
        fault(call, RB_NO_MEMORY);
    if (call->fault != RB_OK) {
        enum rb_status status = call->fault;
        call_free(call);
        return status;
    }
    call->arg = arg;
    call->exchange.url = call->url;
    call->exchange.ca_file = call->ca_file;
    call->exchange.method = rule->method;
    call->exchange.path = call->path.at;
    call->exchange.content_type = rule->content_type;
    call->exchange.body = rb_str_span(&call->body);
    call->exchange.bearer = call->bearer;
    call->exchange.idempotency_key = call->idempotency_key;
    call->exchange.fresh_connection = rule->fresh_connection;
    call->exchange.done = on_exchange_done;
    call->exchange.arg = call;
    enum rb_status status = relay->carrier->start(relay->carrier, &call->exchange);
    if (status != RB_OK) {
        call_free(call);
        return status;
    }
    rb_list_push(&relay->calls, &call->node);
    relay->count++;
    if (ret)
        *ret = call;
    return RB_OK;
}

/* --- tokens --- */

enum rb_status rb_relay_login(struct rb_relay *relay, const struct rb_relay_peer *peer, const char *username,
                              struct rb_span password, rb_tokens_done done, void *arg, struct rb_call **ret)
{
    struct rb_call *call = call_new(relay, RB_CALL_LOGIN, peer);
    if (!call)
        return RB_NO_MEMORY;
    rb_encode_login(&call->body, username, password);
    call->done.tokens = done;
    return call_start(call, arg, ret);
}

enum rb_status rb_relay_refresh(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span refresh_token,
                                rb_tokens_done done, void *arg, struct rb_call **ret)
{
    struct rb_call *call = call_new(relay, RB_CALL_REFRESH, peer);
    if (!call)
        return RB_NO_MEMORY;
    if (rb_token_valid(refresh_token))
        rb_encode_refresh(&call->body, refresh_token);
    else
        fault(call, RB_INVALID);
    call->exchange.deadline_ms = RB_REFRESH_DEADLINE_MS;
    call->done.tokens = done;
    return call_start(call, arg, ret);
}

enum rb_status rb_relay_revoke_chain(struct rb_relay *relay, const struct rb_relay_peer *peer,
                                     struct rb_span refresh_token, rb_plain_done done, void *arg, struct rb_call **ret)
{
    struct rb_call *call = call_new(relay, RB_CALL_REVOKE, peer);
    if (!call)
        return RB_NO_MEMORY;
    if (rb_token_valid(refresh_token))
        rb_encode_revoke_chain(&call->body, refresh_token);
    else
        fault(call, RB_INVALID);
    call->done.plain = done;
    return call_start(call, arg, ret);
}

enum rb_status rb_relay_logout(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                               rb_plain_done done, void *arg, struct rb_call **ret)
{
    struct rb_call *call = call_new_with_bearer(relay, RB_CALL_LOGOUT, peer, access_token);
    if (!call)
        return RB_NO_MEMORY;
    call->done.plain = done;
    return call_start(call, arg, ret);
}

/* --- calls with a bearer --- */

enum rb_status rb_relay_me(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                           rb_me_done done, void *arg, struct rb_call **ret)
{
    struct rb_call *call = call_new_with_bearer(relay, RB_CALL_ME, peer, access_token);
    if (!call)
        return RB_NO_MEMORY;
    call->done.me = done;
    return call_start(call, arg, ret);
}

enum rb_status rb_relay_sessions(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                                 rb_plain_done done, void *arg, struct rb_call **ret)
{
    struct rb_call *call = call_new_with_bearer(relay, RB_CALL_SESSIONS, peer, access_token);
    if (!call)
        return RB_NO_MEMORY;
    call->done.plain = done;
    return call_start(call, arg, ret);
}

/* --- messages --- */

enum rb_status rb_relay_post(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                             const struct rb_outgoing *message, const char *idempotency_key, rb_post_done done,
                             void *arg, struct rb_call **ret)
{
    struct rb_call *call = call_new_with_bearer(relay, RB_CALL_POST, peer, access_token);
    if (!call)
        return RB_NO_MEMORY;
    struct rb_span key = rb_span_of(idempotency_key);
    if (rb_token_valid(key))
        call->idempotency_key = copy(call, key);
    else
        fault(call, RB_INVALID);
    rb_encode_post(&call->body, message);
    call->done.post = done;
    return call_start(call, arg, ret);
}

enum rb_status rb_relay_poll(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                             const struct rb_since *topics, size_t count, int timeout_s, size_t answer_max_bytes,
                             rb_poll_done done, void *arg, struct rb_call **ret)
{
    if (count < 1 || count > POLL_TOPICS_MAX || timeout_s < 1 || timeout_s > POLL_TIMEOUT_MAX_S)
        return RB_INVALID;
    struct rb_call *call = call_new_with_bearer(relay, RB_CALL_POLL, peer, access_token);
    if (!call)
        return RB_NO_MEMORY;
    rb_encode_poll(&call->body, topics, count, timeout_s);
    call->exchange.deadline_ms = (int64_t)timeout_s * 1000 + RB_POLL_GRACE_MS;
    call->exchange.answer_max_bytes = answer_max_bytes;
    call->done.poll = done;
    return call_start(call, arg, ret);
}

enum rb_status rb_relay_page(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                             struct rb_span topic, bool descending, int limit, struct rb_span cursor,
                             size_t answer_max_bytes, rb_page_done done, void *arg, struct rb_call **ret)
{
    if (!rb_topic_name_valid(topic) || limit < 1 || limit > PAGE_LIMIT_MAX)
        return RB_INVALID;
    struct rb_call *call = call_new_with_bearer(relay, RB_CALL_PAGE, peer, access_token);
    if (!call)
        return RB_NO_MEMORY;
    rb_encode_page_path(&call->path, topic, descending, limit, cursor);
    call->exchange.answer_max_bytes = answer_max_bytes;
    call->done.page = done;
    return call_start(call, arg, ret);
}

/* --- topics and health --- */

enum rb_status rb_relay_topic(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                              const struct rb_topic_request *request, rb_plain_done done, void *arg,
                              struct rb_call **ret)
{
    static const enum rb_call_kind kinds[] = {
        [RB_TOPIC_LIST] = RB_CALL_TOPIC_LIST,     [RB_TOPIC_GET] = RB_CALL_TOPIC_GET,
        [RB_TOPIC_CREATE] = RB_CALL_TOPIC_CREATE, [RB_TOPIC_UPDATE] = RB_CALL_TOPIC_UPDATE,
        [RB_TOPIC_DELETE] = RB_CALL_TOPIC_DELETE,
    };
    if (request->call != RB_TOPIC_LIST && !rb_topic_name_valid(request->name))
        return RB_INVALID;
    struct rb_call *call = call_new_with_bearer(relay, kinds[request->call], peer, access_token);
    if (!call)
        return RB_NO_MEMORY;
    if (request->call == RB_TOPIC_CREATE)
        rb_encode_topic_create(&call->body, request);
    else if (request->call != RB_TOPIC_LIST)
        rb_encode_topic_path(&call->path, request->name);
    if (request->call == RB_TOPIC_UPDATE)
        rb_encode_topic_update(&call->body, request);
    call->done.plain = done;
    return call_start(call, arg, ret);
}

enum rb_status rb_relay_health(struct rb_relay *relay, const struct rb_relay_peer *peer, rb_plain_done done, void *arg,
                               struct rb_call **ret)
{
    struct rb_call *call = call_new(relay, RB_CALL_HEALTH, peer);
    if (!call)
        return RB_NO_MEMORY;
    call->done.plain = done;
    return call_start(call, arg, ret);
}
