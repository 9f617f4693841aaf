#include "codec.h"

#include <stdlib.h>

#include "json_span.h"
#include "url.h"

#define JSON "application/json"
#define FORM "application/x-www-form-urlencoded"

/* A refresh has few: its 401 is told apart by its sentence (R4), and the relay has no other refusal for it. A
 * revocation carries no bearer, so a 401 or 403 to it is not the relay's. */
static const struct rb_call_rule rules[] = {
    [RB_CALL_LOGIN] = {"POST", "/auth/login", FORM, 200, RB_USUAL, .auth = true, .secret = true,
                       .fresh_connection = true},
    [RB_CALL_REFRESH] = {"POST", "/auth/token/refresh", JSON, 200, RB_422 | RB_429, .auth = true, .secret = true,
                         .fresh_connection = true},
    [RB_CALL_REVOKE] = {"POST", "/auth/token/revoke", JSON, 204, RB_400 | RB_413 | RB_422 | RB_429, .auth = true,
                        .secret = true, .fresh_connection = true},
    [RB_CALL_LOGOUT] = {"POST", "/auth/logout", NULL, 204, RB_USUAL, .auth = true, .fresh_connection = true},
    [RB_CALL_ME] = {"GET", "/auth/me", NULL, 200, RB_USUAL, .auth = true},
    [RB_CALL_SESSIONS] = {"GET", "/auth/sessions", NULL, 200, RB_USUAL, .auth = true},
    [RB_CALL_POST] = {"POST", "/api/v1/messages", JSON, 201, RB_USUAL},
    [RB_CALL_POLL] = {"POST", "/messages/poll", JSON, 200, RB_USUAL},
    [RB_CALL_PAGE] = {"GET", "/api/v1/topics/", NULL, 200, RB_USUAL | RB_404},
    [RB_CALL_TOPIC_LIST] = {"GET", "/api/v1/topics", NULL, 200, RB_USUAL},
    [RB_CALL_TOPIC_GET] = {"GET", "/api/v1/topics/", NULL, 200, RB_USUAL | RB_404},
    [RB_CALL_TOPIC_CREATE] = {"POST", "/api/v1/topics", JSON, 201, RB_USUAL | RB_409},
    [RB_CALL_TOPIC_UPDATE] = {"PUT", "/api/v1/topics/", JSON, 200, RB_USUAL | RB_404},
    [RB_CALL_TOPIC_DELETE] = {"DELETE", "/api/v1/topics/", NULL, 204, RB_USUAL | RB_404},
    [RB_CALL_HEALTH] = {"GET", "/health", NULL, 200, RB_USUAL},
};

const struct rb_call_rule *rb_call_rule(enum rb_call_kind kind)
{
    return &rules[kind];
}

bool rb_token_valid(struct rb_span token)
{
    for (size_t i = 0; i < token.len; i++)
        if (token.at[i] < 0x21 || token.at[i] > 0x7e)
            return false;
    return token.len > 0 && token.len <= RB_TOKEN_MAX;
}

/* --- requests --- */

void rb_codec_room(struct rb_str *str, size_t room)
{
    str->at = malloc(room);
    str->room = str->at ? room : 0;
    str->failed = !str->at;
    if (str->at)
        str->at[0] = 0;
}

void rb_encode_login(struct rb_str *body, const char *username, struct rb_span password)
{
    struct rb_span name = rb_span_of(username);
    size_t room;
    if (__builtin_add_overflow(name.len, password.len, &room) || __builtin_mul_overflow(room, (size_t)3, &room) ||
        __builtin_add_overflow(room, (size_t)64, &room)) {
        body->failed = true;
        return;
    }
    rb_codec_room(body, room);
    rb_str_add(body, "grant_type=password&username=");
    rb_url_encode(body, name);
    rb_str_add(body, "&password=");
    rb_url_encode(body, password);
}

static void add_refresh_token(struct rb_str *body, struct rb_span refresh_token)
{
    rb_codec_room(body, 6 * (size_t)RB_TOKEN_MAX + 64);
    rb_str_add(body, "{\"refresh_token\":");
    rb_json_quote(body, refresh_token);
}

void rb_encode_refresh(struct rb_str *body, struct rb_span refresh_token)
{
    add_refresh_token(body, refresh_token);
    rb_str_add(body, "}");
}

void rb_encode_revoke_chain(struct rb_str *body, struct rb_span refresh_token)
{
    add_refresh_token(body, refresh_token);
    rb_str_add(body, ",\"revoke_chain\":true}");
}

static void add_post_before_payload(struct rb_str *body, const struct rb_outgoing *message)
{
    rb_str_add(body, "{\"topic\":");
    rb_json_quote(body, message->topic);
    rb_str_add(body, ",\"payload\":");
}

static void add_post_after_payload(struct rb_str *body, const struct rb_outgoing *message)
{
    if (message->ttl_s > 0)
        rb_str_addf(body, ",\"ttl\":%lld", (long long)message->ttl_s);
    if (message->metadata.len) {
        rb_str_add(body, ",\"metadata\":");
        rb_str_add_span(body, message->metadata);
    }
    rb_str_add(body, "}");
}

void rb_encode_post(struct rb_str *body, const struct rb_outgoing *message)
{
    add_post_before_payload(body, message);
    rb_str_add_span(body, message->payload);
    add_post_after_payload(body, message);
}

size_t rb_relay_post_bytes(const struct rb_outgoing *message)
{
    RB_CLEANUP_STR struct rb_str around = RB_STR_INIT;
    size_t bytes;
    add_post_before_payload(&around, message);
    add_post_after_payload(&around, message);
    if (rb_str_failed(&around))
        return 0;
    return __builtin_add_overflow(around.len, message->payload.len, &bytes) ? SIZE_MAX : bytes;
}

void rb_encode_poll(struct rb_str *body, const struct rb_since *topics, size_t count, int timeout_s)
{
    rb_str_addf(body, "{\"timeout\":%d,\"topics\":[", timeout_s);
    for (size_t i = 0; i < count; i++) {
        rb_str_add(body, i ? "," : "");
        rb_json_quote(body, topics[i].topic);
    }
    rb_str_add(body, "]");
    size_t entries = 0;
    for (size_t i = 0; i < count; i++) {
        if (topics[i].message_id.len == 0)
            continue;
        rb_str_add(body, entries++ ? "," : ",\"since\":{");
        rb_json_quote(body, topics[i].topic);
        rb_str_add(body, ":");
        rb_json_quote(body, topics[i].message_id);
    }
    rb_str_add(body, entries ? "}}" : "}");
}

void rb_encode_topic_create(struct rb_str *body, const struct rb_topic_request *request)
{
    rb_str_add(body, "{\"topic_name\":");
    rb_json_quote(body, request->name);
    if (request->has_description) {
        rb_str_add(body, ",\"description\":");
        rb_json_quote(body, request->description);
    }
    rb_str_add(body, "}");
}

void rb_encode_topic_update(struct rb_str *body, const struct rb_topic_request *request)
{
    rb_str_add(body, "{\"description\":");
    if (request->has_description)
        rb_json_quote(body, request->description);
    else
        rb_str_add(body, "null");
    rb_str_add(body, "}");
}

void rb_encode_topic_path(struct rb_str *path, struct rb_span topic)
{
    rb_url_encode(path, topic);
}

void rb_encode_page_path(struct rb_str *path, struct rb_span topic, bool descending, int limit, struct rb_span cursor)
{
    rb_url_encode(path, topic);
    rb_str_addf(path, "/messages?limit=%d&order=%s", limit, descending ? "desc" : "asc");
    if (cursor.len) {
        rb_str_add(path, "&cursor=");
        rb_url_encode(path, cursor);
    }
}
