#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "message_body.h"
#include "wire.h"

enum { DEFAULT_TIMEOUT_S = 30, MAX_TIMEOUT_S = 60, ANSWER_MAX_BYTES = 8 << 20 };

/* A poll as the caller sent it. */
struct request_body {
    size_t count;
    struct rb_str names[RB_POLL_TOPICS_MAX];
    struct rb_str since[RB_POLL_TOPICS_MAX];
    bool has_since[RB_POLL_TOPICS_MAX];
    int64_t timeout_s;
};

struct parked {
    struct rb_poll poll;
    struct rb_http_request *request;
    struct rb_http_server *server;
};

static void read_topics(struct rb_json_value body, struct rb_wire_issues *issues, struct request_body *ret)
{
    struct rb_json_value list, item;
    if (!rb_json_member(body, "topics", &list)) {
        rb_wire_issue(issues, "missing", "body/topics", "topics is required.", NULL);
        return;
    }
    if (list.kind != RB_JSON_ARRAY) {
        rb_wire_issue(issues, "list_type", "body/topics", "topics must be an array of names.", &list);
        return;
    }
    struct rb_json_walk walk = rb_json_walk(list);
    while (rb_json_next(&walk, NULL, &item)) {
        if (ret->count == RB_POLL_TOPICS_MAX) {
            rb_wire_issue(issues, "too_long", "body/topics", "topics has at most 20 entries.", NULL);
            return;
        }
        char loc[40];
        snprintf(loc, sizeof loc, "body/topics/%zu", ret->count);
        rb_topic_value_read(item, loc, issues, &ret->names[ret->count++]);
    }
    if (ret->count == 0)
        rb_wire_issue(issues, "too_short", "body/topics", "topics has at least one entry.", &list);
}

static void read_since(struct rb_json_value body, struct rb_wire_issues *issues, struct request_body *ret)
{
    struct rb_json_value since, key, id;
    if (!rb_json_member(body, "since", &since) || since.kind == RB_JSON_NULL)
        return;
    if (since.kind != RB_JSON_OBJECT) {
        rb_wire_issue(issues, "dict_type", "body/since", "since must be an object of message ids.", &since);
        return;
    }
    struct rb_json_walk walk = rb_json_walk(since);
    while (rb_json_next(&walk, &key, &id)) {
        if (id.kind != RB_JSON_STRING) {
            rb_wire_issue(issues, "string_type", "body/since", "Every id in since must be a string.", &id);
            continue;
        }
        RB_CLEANUP_STR struct rb_str name = RB_STR_INIT;
        rb_json_string(key, &name);
        issues->no_memory |= rb_str_failed(&name);
        for (size_t i = 0; i < ret->count; i++) {
            if (!rb_span_equal(rb_str_span(&ret->names[i]), rb_str_span(&name)))
                continue;
            rb_str_reset(&ret->since[i]);
            rb_json_string(id, &ret->since[i]);
            issues->no_memory |= rb_str_failed(&ret->since[i]);
            ret->has_since[i] = true;
        }
    }
}

static void read_body(struct rb_json_value body, struct rb_wire_issues *issues, struct request_body *ret)
{
    struct rb_json_value timeout;
    ret->timeout_s = DEFAULT_TIMEOUT_S;
    if (body.kind != RB_JSON_OBJECT) {
        rb_wire_issue(issues, "model_attributes_type", "body", "The body must be an object.", &body);
        return;
    }
    read_topics(body, issues, ret);
    read_since(body, issues, ret);
    if (rb_json_member(body, "timeout", &timeout) &&
        rb_json_integer(timeout, 1, MAX_TIMEOUT_S, &ret->timeout_s) != RB_OK)
        rb_wire_issue(issues, timeout.kind == RB_JSON_NUMBER ? "less_than_equal" : "int_type", "body/timeout",
                      "timeout must be a whole number of seconds from 1 to 60.", &timeout);
}

static void free_body(struct request_body *body)
{
    for (size_t i = 0; i < RB_POLL_TOPICS_MAX; i++) {
        rb_str_free(&body->names[i]);
        rb_str_free(&body->since[i]);
    }
}

/* Valkey's ids are stream ids too; memory's have none. */
static bool is_stream_id(struct rb_span id)
{
    const char *dash = id.len ? memchr(id.at, '-', id.len) : NULL;
    return dash && id.at[0] >= '0' && id.at[0] <= '9';
}

static void add_item(struct rb_str *body, const struct rb_poll_item *item)
{
    rb_str_add(body, item->from_catch_up ? "{\"message_id\":" : "{\"type\":\"message\",\"message_id\":");
    rb_json_quote(body, item->message_id);
    rb_str_add(body, ",\"topic\":");
    rb_json_quote(body, item->topic);
    rb_str_add(body, ",\"payload\":");
    rb_str_add_span(body, item->payload);
    rb_str_add(body, ",\"timestamp\":");
    struct rb_span time = item->timestamp;
    if (!item->from_catch_up && time.len > 6 && memcmp(time.at + time.len - 6, "+00:00", 6) == 0) {
        RB_CLEANUP_STR struct rb_str zulu = RB_STR_INIT;
        rb_str_append(&zulu, time.at, time.len - 6);
        rb_str_add(&zulu, "Z");
        rb_json_quote(body, rb_str_span(&zulu));
    } else {
        rb_json_quote(body, time);
    }
    rb_str_add(body, ",\"metadata\":");
    if (item->metadata.len && !rb_span_is(item->metadata, "{}"))
        rb_str_add_span(body, item->metadata);
    else
        rb_str_add(body, item->from_catch_up ? "{}" : "null");
    if (item->from_catch_up) {
        rb_str_add(body, ",\"stream_id\":");
        if (is_stream_id(item->message_id))
            rb_json_quote(body, item->message_id);
        else
            rb_str_add(body, "null");
    }
    rb_str_add(body, "}");
}

static void on_done(struct rb_poll *poll, enum rb_status status, const struct rb_error *err,
                    const struct rb_poll_item *items, size_t count, bool has_more)
{
    struct parked *parked = RB_CONTAINER(poll, struct parked, poll);
    if (status != RB_OK) {
        rb_wire_unavailable(parked->request, 503, err->text, 1);
        free(parked);
        return;
    }
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"messages\":[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            rb_str_add(&body, ",");
        add_item(&body, &items[i]);
    }
    rb_str_addf(&body, "],\"has_more\":%s}", has_more ? "true" : "false");
    if (rb_str_failed(&body))
        rb_wire_no_memory(parked->request);
    else
        rb_http_answer_str(parked->request, 200, "application/json", &body);
    rb_str_free(&body);
    free(parked);
}

static void on_gone(struct rb_http_request *request, void *arg)
{
    struct parked *parked = arg;
    rb_poll_cancel(&parked->poll);
    rb_http_answer(request, 503, NULL, (struct rb_span){0});
    free(parked);
}

static bool has_room(struct rb_poll *poll)
{
    const struct parked *parked = RB_CONTAINER(poll, struct parked, poll);
    return rb_http_has_answer_room(parked->server);
}

static void start(struct rb_face_context *context, struct rb_http_request *request, struct rb_account *account,
                  struct rb_session *session, const struct request_body *body)
{
    struct rb_poll_topic topics[RB_POLL_TOPICS_MAX];
    for (size_t i = 0; i < body->count; i++) {
        topics[i] =
            (struct rb_poll_topic){rb_str_span(&body->names[i]), body->has_since[i], rb_str_span(&body->since[i])};
        if (!rb_door_may_poll(rb_http_door(request), topics[i].name)) {
            rb_wire_detail(request, 403, "This door does not allow reading one of these topics.");
            return;
        }
    }
    struct parked *parked = calloc(1, sizeof *parked);
    struct rb_error err = {.text = RB_MEMORY_IS_SHORT};
    enum rb_status status = RB_NO_MEMORY;
    if (parked) {
        parked->request = request;
        parked->server = context->server;
        parked->poll = (struct rb_poll){
            .session = session,
            .account = account,
            .uid = rb_http_peer(request)->uid,
            .topics = topics,
            .topic_count = body->count,
            .timeout_ms = body->timeout_s * 1000,
            .connection = rb_http_peer(request)->connection,
            .max_bytes = ANSWER_MAX_BYTES,
            .done = on_done,
            .has_room = has_room,
        };
        rb_tick_lead(context->tick);
        status = rb_poll_start(context->broker->sessions, &parked->poll, &err);
    }
    if (status != RB_OK) {
        free(parked);
        rb_wire_unavailable(request, 503, err.text, 1);
        return;
    }
    rb_http_on_gone(request, on_gone, parked);
}

void rb_wire_poll(struct rb_http_request *request, void *face)
{
    struct rb_json_value json;
    struct rb_account *account;
    struct rb_session *session;
    if (!rb_wire_body(request, true, &json) || !rb_wire_caller(face, request, &account, &session))
        return;
    struct rb_wire_issues issues = {.show_input = true};
    struct request_body body = {0};
    read_body(json, &issues, &body);
    if (!rb_wire_refuse(request, &issues))
        start(face, request, account, session, &body);
    free_body(&body);
}

void rb_wire_poll_stats(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    struct rb_session_stats stats;
    rb_session_stats(context->broker->sessions, &stats);
    rb_http_answer_json(request, 200,
                        json_pack("{si si}", "active_connections", (int)stats.parked, "sessions", (int)stats.sessions));
}
