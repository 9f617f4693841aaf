#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "posting.h"
#include "wire.h"
#include "wire_time.h"

enum { BULK_MAX = 100 };

/* {message_id, topic, timestamp}: the relay's own once it has accepted the post, else the outbox's (O10). */
static void add_message_answer(struct rb_str *body, const struct rb_post_view *view)
{
    char outbox_id[RB_OUTBOX_ID_MAX];
    bool accepted = view->state == RB_POST_ACCEPTED;
    rb_outbox_id_print(view->id, outbox_id);
    rb_str_add(body, "{\"message_id\":");
    rb_json_quote(body, accepted ? view->message_id : rb_span_of(outbox_id));
    rb_str_add(body, ",\"topic\":");
    rb_json_quote(body, view->topic);
    rb_str_add(body, ",\"timestamp\":");
    if (accepted && view->timestamp.len)
        rb_json_quote(body, view->timestamp);
    else
        rb_wire_time_add(body, view->at_wall_ms);
    rb_str_add(body, "}");
}

static void answer_post(struct rb_http_request *request, enum rb_status committed, const struct rb_post_view *view)
{
    if (committed != RB_OK) {
        rb_wire_commit_failed(request, committed);
        return;
    }
    if (view->state == RB_POST_REFUSED || view->state == RB_POST_EXPIRED) {
        RB_CLEANUP_FREE char *detail = rb_span_dup(view->detail);
        rb_wire_detail(request, view->status >= 400 && view->status < 500 ? view->status : 400,
                       detail && *detail ? detail : "The relay refused the message.");
        return;
    }
    bool accepted = view->state == RB_POST_ACCEPTED;
    if (!accepted) {
        char location[sizeof "/v1/outbox/" + RB_OUTBOX_ID_MAX] = "/v1/outbox/";
        rb_outbox_id_print(view->id, location + strlen(location));
        rb_http_add_header(request, "Location", location);
    }
    struct rb_str body = RB_STR_INIT;
    add_message_answer(&body, view);
    if (rb_str_failed(&body)) {
        /* An error would say that nothing is there. */
        rb_str_free(&body);
        rb_http_drop(request);
        return;
    }
    rb_http_answer_str(request, accepted ? 201 : 202, "application/json", &body);
    rb_str_free(&body);
}

static void refuse_post(struct rb_http_request *request, enum rb_status status, const char *sentence)
{
    struct rb_wire_issues issues = {0};
    switch (status) {
    case RB_DENIED:
        rb_wire_detail(request, 403, sentence);
        return;
    case RB_EXISTS:
        rb_wire_issue(&issues, "value_error", "header/Idempotency-Key", sentence, NULL);
        rb_wire_refuse(request, &issues);
        return;
    case RB_INVALID:
        rb_wire_issue(&issues, "value_error", "body", sentence, NULL);
        rb_wire_refuse(request, &issues);
        return;
    default:
        rb_wire_unavailable(request, 503, sentence, 5);
        return;
    }
}

void rb_wire_post(struct rb_http_request *request, void *face)
{
    static const struct rb_posting_answers answers = {answer_post, refuse_post};
    struct rb_json_value body;
    struct rb_account *account;
    struct rb_session *session;
    if (!rb_wire_body(request, true, &body) || !rb_wire_caller(face, request, &account, &session))
        return;
    struct rb_wire_issues issues = {.show_input = true};
    struct rb_message_body message;
    if (rb_message_body_read(body, "body", &issues, &message))
        rb_posting_start(face, request, account, &message, 0, &answers);
    else
        rb_wire_refuse(request, &issues);
    rb_message_body_free(&message);
}

/* --- bulk: every message a row of its own; the answer waits for the commit alone --- */

struct bulk {
    struct rb_effect effect;
    struct rb_face_context *context;
    struct rb_http_request *request;
    size_t count;
    int64_t ids[BULK_MAX];
};

static void answer_bulk(struct rb_effect *effect, enum rb_status committed)
{
    struct bulk *bulk = RB_CONTAINER(effect, struct bulk, effect);
    if (committed != RB_OK) {
        rb_wire_commit_failed(bulk->request, committed);
        free(bulk);
        return;
    }
    struct rb_str body = RB_STR_INIT;
    size_t rejected = 0;
    rb_str_add(&body, "{\"results\":[");
    for (size_t i = 0; i < bulk->count; i++) {
        struct rb_post_view view;
        char outbox_id[RB_OUTBOX_ID_MAX];
        rb_outbox_id_print(bulk->ids[i], outbox_id);
        if (rb_outbox_view(bulk->context->broker->outbox, bulk->ids[i], &view) != RB_OK)
            view = (struct rb_post_view){0};
        bool refused = view.state == RB_POST_REFUSED || view.state == RB_POST_EXPIRED;
        rejected += refused;
        rb_str_add(&body, i ? ",{\"message_id\":" : "{\"message_id\":");
        rb_json_quote(&body, view.state == RB_POST_ACCEPTED ? view.message_id : rb_span_of(outbox_id));
        rb_str_add(&body, ",\"topic\":");
        rb_json_quote(&body, view.topic);
        rb_str_addf(&body, ",\"status\":\"%s\",\"error\":", refused ? "rejected" : "accepted");
        if (refused)
            rb_json_quote(&body, view.detail);
        else
            rb_str_add(&body, "null");
        rb_str_add(&body, "}");
    }
    rb_str_addf(&body, "],\"summary\":{\"total\":%zu,\"accepted\":%zu,\"rejected\":%zu}}", bulk->count,
                bulk->count - rejected, rejected);
    if (rb_str_failed(&body)) {
        rb_str_free(&body);
        rb_http_drop(bulk->request);
        free(bulk);
        return;
    }
    rb_http_answer_str(bulk->request, 207, "application/json", &body);
    rb_str_free(&body);
    free(bulk);
}

/* Reads all messages, adding issues. */
static size_t read_bulk(struct rb_json_value body, struct rb_wire_issues *issues, struct rb_message_body *messages)
{
    struct rb_json_value list, item;
    if (body.kind != RB_JSON_OBJECT) {
        rb_wire_issue(issues, "model_attributes_type", "body", "The body must be an object.", &body);
        return 0;
    }
    if (!rb_json_member(body, "messages", &list)) {
        rb_wire_issue(issues, "missing", "body/messages", "messages is required.", NULL);
        return 0;
    }
    if (list.kind != RB_JSON_ARRAY) {
        rb_wire_issue(issues, "list_type", "body/messages", "messages must be an array.", &list);
        return 0;
    }
    size_t count = 0;
    struct rb_json_walk walk = rb_json_walk(list);
    while (rb_json_next(&walk, NULL, &item)) {
        if (count == BULK_MAX) {
            rb_wire_issue(issues, "too_long", "body/messages", "messages has at most 100 entries.", NULL);
            break;
        }
        char loc[40];
        snprintf(loc, sizeof loc, "body/messages/%zu", count);
        rb_message_body_read(item, loc, issues, &messages[count]);
        count++;
    }
    if (count == 0)
        rb_wire_issue(issues, "too_short", "body/messages", "messages has at least one entry.", &list);
    return count;
}

/* Adds all rows to this tick, or none. With the caller's key each has one of its own. */
static enum rb_status add_rows(struct rb_http_request *request, struct bulk *bulk, struct rb_account *account,
                               const struct rb_message_body *messages, struct rb_error *err)
{
    struct rb_span key = rb_http_header(request, "Idempotency-Key");
    RB_CLEANUP_STR struct rb_str keys = RB_STR_INIT;
    size_t key_ends[BULK_MAX + 1] = {0};
    for (size_t i = 0; key.len && i < bulk->count; i++) {
        rb_str_addf(&keys, "%.*s\n%zu", (int)key.len, key.at, i);
        key_ends[i + 1] = keys.len;
    }
    RB_CLEANUP_FREE struct rb_post *posts = calloc(bulk->count, sizeof *posts);
    if (!posts || rb_str_failed(&keys))
        return rb_fail(err, RB_NO_MEMORY, RB_MEMORY_IS_SHORT);
    for (size_t i = 0; i < bulk->count; i++) {
        posts[i] = rb_posting_post(request, account, &messages[i]);
        if (key.len)
            posts[i].key = (struct rb_span){keys.at + key_ends[i], key_ends[i + 1] - key_ends[i]};
        posts[i].whole = rb_http_body(request);
    }
    bool repeated;
    return rb_outbox_add_all(bulk->context->broker->outbox, posts, bulk->count, bulk->ids, &repeated, err);
}

static void accept_bulk(struct rb_face_context *context, struct rb_http_request *request, struct rb_account *account,
                        const struct rb_message_body *messages, size_t count)
{
    const struct rb_door *door = rb_http_door(request);
    for (size_t i = 0; i < count; i++)
        if (!rb_door_may_post(door, rb_str_span(&messages[i].topic))) {
            rb_wire_detail(request, 403, "This door does not allow posts to one of these topics.");
            return;
        }
    if (rb_http_header(request, "Idempotency-Key").len > RB_POSTING_KEY_MAX) {
        refuse_post(request, RB_INVALID, "An Idempotency-Key has at most 255 bytes.");
        return;
    }
    struct bulk *bulk = calloc(1, sizeof *bulk);
    struct rb_error err = {.text = RB_MEMORY_IS_SHORT};
    enum rb_status status = RB_NO_MEMORY;
    if (bulk) {
        bulk->context = context;
        bulk->request = request;
        bulk->count = count;
        bulk->effect.run = answer_bulk;
        status = add_rows(request, bulk, account, messages, &err);
    }
    if (status != RB_OK) {
        free(bulk);
        refuse_post(request, status, err.text);
        return;
    }
    rb_tick_after(context->tick, &bulk->effect);
}

void rb_wire_bulk(struct rb_http_request *request, void *face)
{
    struct rb_json_value body;
    struct rb_account *account;
    struct rb_session *session;
    if (!rb_wire_body(request, true, &body) || !rb_wire_caller(face, request, &account, &session))
        return;
    struct rb_message_body *messages = calloc(BULK_MAX, sizeof *messages);
    if (!messages) {
        rb_wire_no_memory(request);
        return;
    }
    struct rb_wire_issues issues = {.show_input = true};
    size_t count = read_bulk(body, &issues, messages);
    if (!rb_wire_refuse(request, &issues))
        accept_bulk(face, request, account, messages, count);
    for (size_t i = 0; i < BULK_MAX; i++)
        rb_message_body_free(&messages[i]);
    free(messages);
}
