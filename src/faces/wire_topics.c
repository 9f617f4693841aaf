#include <stdlib.h>

#include "account.h"
#include "stamp.h"
#include "message_body.h"
#include "outbox.h"
#include "wire.h"

enum { DESCRIPTION_MAX = 500, PAGE_DEFAULT = 10, PAGE_MAX = 100 };

static void ask(struct rb_face_context *context, struct rb_http_request *request, const struct rb_topic_request *call)
{
    struct rb_account *account;
    struct rb_session *session;
    if (rb_wire_caller(context, request, &account, &session) &&
        rb_account_topic(account, rb_http_peer(request)->uid, call, RB_WIRE_CALL_WAIT_MS, rb_wire_pass_answer,
                         request) != RB_OK)
        rb_wire_no_memory(request);
}

/* The name in the path. The relay knows no other names than valid ones: 404, as it says for one it has not. */
static bool path_topic(struct rb_http_request *request, struct rb_span *ret)
{
    struct rb_span name = rb_http_param(request, 0);
    if (!rb_topic_name_valid(name)) {
        rb_wire_detail(request, 404, "There is no such topic.");
        return false;
    }
    *ret = name;
    return true;
}

/* PUT and DELETE only where the door says so (D6). */
static bool may_change(struct rb_http_request *request)
{
    const struct rb_door *door = rb_http_door(request);
    if (!door->topic_changes)
        rb_wire_detail(request, 403, "This door does not allow topics to be changed.");
    return door->topic_changes;
}

void rb_wire_topic_list(struct rb_http_request *request, void *face)
{
    ask(face, request, &(struct rb_topic_request){.call = RB_TOPIC_LIST});
}

void rb_wire_topic_get(struct rb_http_request *request, void *face)
{
    struct rb_topic_request call = {.call = RB_TOPIC_GET};
    if (path_topic(request, &call.name))
        ask(face, request, &call);
}

void rb_wire_topic_delete(struct rb_http_request *request, void *face)
{
    struct rb_topic_request call = {.call = RB_TOPIC_DELETE};
    if (may_change(request) && path_topic(request, &call.name))
        ask(face, request, &call);
}

static size_t characters(struct rb_span text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.at[i] & 0xc0) != 0x80;
    return count;
}

static void read_description(struct rb_json_value body, struct rb_wire_issues *issues, struct rb_str *text,
                             bool *ret_has)
{
    struct rb_json_value value;
    if (!rb_json_member(body, "description", &value) || value.kind == RB_JSON_NULL)
        return;
    if (value.kind != RB_JSON_STRING)
        rb_wire_issue(issues, "string_type", "body/description", "The description must be a string.", &value);
    else if (rb_json_string(value, text) == RB_OK && characters(rb_str_span(text)) > DESCRIPTION_MAX)
        rb_wire_issue(issues, "string_too_long", "body/description", "The description has at most 500 characters.",
                      NULL);
    issues->no_memory |= rb_str_failed(text);
    *ret_has = true;
}

void rb_wire_topic_create(struct rb_http_request *request, void *face)
{
    struct rb_json_value body, value;
    if (!rb_wire_body(request, true, &body))
        return;
    RB_CLEANUP_STR struct rb_str name = RB_STR_INIT, description = RB_STR_INIT;
    struct rb_wire_issues issues = {.show_input = true};
    struct rb_topic_request call = {.call = RB_TOPIC_CREATE};
    if (body.kind != RB_JSON_OBJECT)
        rb_wire_issue(&issues, "model_attributes_type", "body", "The body must be an object.", &body);
    else if (!rb_json_member(body, "topic_name", &value))
        rb_wire_issue(&issues, "missing", "body/topic_name", "topic_name is required.", NULL);
    else
        rb_topic_value_read(value, "body/topic_name", &issues, &name);
    read_description(body, &issues, &description, &call.has_description);
    if (rb_wire_refuse(request, &issues))
        return;
    call.name = rb_str_span(&name);
    call.description = rb_str_span(&description);
    ask(face, request, &call);
}

void rb_wire_topic_update(struct rb_http_request *request, void *face)
{
    struct rb_json_value body;
    if (!may_change(request) || !rb_wire_body(request, true, &body))
        return;
    RB_CLEANUP_STR struct rb_str description = RB_STR_INIT;
    struct rb_wire_issues issues = {.show_input = true};
    struct rb_topic_request call = {.call = RB_TOPIC_UPDATE};
    read_description(body, &issues, &description, &call.has_description);
    if (rb_wire_refuse(request, &issues) || !path_topic(request, &call.name))
        return;
    call.description = rb_str_span(&description);
    ask(face, request, &call);
}

/* --- a page of messages --- */

struct page {
    struct rb_http_request *request;
    bool descending;
    int limit;
    struct rb_str cursor;
};

static void add_quoted_or_null(struct rb_str *body, struct rb_span text)
{
    if (text.len)
        rb_json_quote(body, text);
    else
        rb_str_add(body, "null");
}

/* Without our stamp, which is nobody's business here. */
static void add_metadata(struct rb_str *body, struct rb_span metadata)
{
    unsigned char stamp[RB_STAMP_BYTES];
    bool found;
    RB_CLEANUP_STR struct rb_str bare = RB_STR_INIT;
    if (metadata.len == 0)
        rb_str_add(body, "null");
    else if (rb_stamp_take_off(metadata, &bare, stamp, &found) != RB_OK)
        body->failed = true;
    else if (bare.len)
        rb_str_add_span(body, rb_str_span(&bare));
    else
        rb_str_add(body, "{}");
}

static void answer_page(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                        struct rb_span next_cursor)
{
    struct page *page = arg;
    if (answer->end != RB_END_EXECUTED) {
        rb_wire_pass_answer(page->request, answer);
    } else {
        struct rb_str body = RB_STR_INIT;
        rb_str_add(&body, "{\"messages\":[");
        for (size_t i = 0; i < count; i++) {
            rb_str_add(&body, i ? ",{\"message_id\":" : "{\"message_id\":");
            rb_json_quote(&body, messages[i].message_id);
            rb_str_add(&body, ",\"topic\":");
            rb_json_quote(&body, messages[i].topic);
            rb_str_add(&body, ",\"payload\":");
            rb_str_add_span(&body, messages[i].payload);
            rb_str_add(&body, ",\"timestamp\":");
            rb_json_quote(&body, messages[i].timestamp);
            rb_str_add(&body, ",\"metadata\":");
            add_metadata(&body, messages[i].metadata);
            rb_str_add(&body, "}");
        }
        rb_str_addf(&body, "],\"total\":%zu,\"limit\":%d,\"order\":\"%s\",\"cursor\":", count, page->limit,
                    page->descending ? "desc" : "asc");
        add_quoted_or_null(&body, rb_str_span(&page->cursor));
        rb_str_add(&body, ",\"next_cursor\":");
        add_quoted_or_null(&body, next_cursor);
        rb_str_add(&body, "}");
        if (rb_str_failed(&body))
            rb_wire_no_memory(page->request);
        else
            rb_http_answer_str(page->request, 200, "application/json", &body);
        rb_str_free(&body);
    }
    rb_str_free(&page->cursor);
    free(page);
}

/* limit, order and cursor by the relay's rules (wire contract §6). False: it was answered. */
static bool read_query(struct rb_http_request *request, struct page *page)
{
    struct rb_span text;
    int64_t limit = PAGE_DEFAULT;
    if (rb_http_query(request, "limit", &text) && rb_span_to_i64(text, INT64_MIN, INT64_MAX, &limit) != RB_OK) {
        struct rb_wire_issues issues = {0};
        rb_wire_issue(&issues, "int_parsing", "query/limit", "limit must be a whole number.", NULL);
        rb_wire_refuse(request, &issues);
        return false;
    }
    if (limit < 1) {
        rb_wire_detail(request, 400, "limit must be at least 1.");
        return false;
    }
    page->limit = limit > PAGE_MAX ? PAGE_MAX : (int)limit;
    page->descending = true;
    if (rb_http_query(request, "order", &text)) {
        page->descending = rb_span_is(text, "desc");
        if (!page->descending && !rb_span_is(text, "asc")) {
            rb_wire_detail(request, 400, "order must be asc or desc.");
            return false;
        }
    }
    if (rb_http_query(request, "cursor", &text))
        rb_str_add_span(&page->cursor, text);
    return true;
}

/* A cursor may be the id that a 202 gave (O10): the relay knows the message by its own. */
static void resolve_cursor(struct rb_face_context *context, struct page *page, struct rb_span *ret)
{
    int64_t id;
    struct rb_post_view view;
    *ret = rb_str_span(&page->cursor);
    if (rb_outbox_id_parse(*ret, &id) && rb_outbox_view(context->broker->outbox, id, &view) == RB_OK &&
        view.state == RB_POST_ACCEPTED)
        *ret = view.message_id;
}

void rb_wire_topic_messages(struct rb_http_request *request, void *face)
{
    struct rb_account *account;
    struct rb_session *session;
    struct rb_span topic, cursor;
    if (!rb_wire_caller(face, request, &account, &session) || !path_topic(request, &topic))
        return;
    if (!rb_door_may_poll(rb_http_door(request), topic)) {
        rb_wire_detail(request, 403, "This door does not allow reading that topic.");
        return;
    }
    struct page *page = calloc(1, sizeof *page);
    if (!page) {
        rb_wire_no_memory(request);
        return;
    }
    page->request = request;
    if (read_query(request, page)) {
        resolve_cursor(face, page, &cursor);
        if (rb_account_page(account, rb_http_peer(request)->uid, topic, page->descending, page->limit, cursor,
                            RB_WIRE_CALL_WAIT_MS, answer_page, page) == RB_OK)
            return;
        rb_wire_no_memory(request);
    }
    rb_str_free(&page->cursor);
    free(page);
}
