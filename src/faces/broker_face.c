/* The broker's own face, /v1/…: durable posts with honest status, and the broker's state. */
#include <string.h>

#include "account.h"
#include "face.h"
#include "message_body.h"
#include "outbox.h"
#include "posting.h"
#include "problem.h"

/* The account named by ?account=, else the door's only one. NULL: it was answered. */
static struct rb_account *choose_account(struct rb_face_context *context, struct rb_http_request *request)
{
    const struct rb_door *door = rb_http_door(request);
    struct rb_span name;
    struct rb_account *account;
    if (rb_http_query(request, "account", &name)) {
        account = rb_account_by_name(context->broker->accounts, name);
        if (!account || !rb_door_serves(door, account)) {
            rb_http_answer_problem(request, 404, "no_account", "This door has no account of that name.");
            return NULL;
        }
    } else if (!(account = rb_door_default_account(door, context->broker->accounts))) {
        rb_http_answer_problem(request, 409, "no_account",
                               rb_account_next(context->broker->accounts, NULL)
                                   ? "There are several accounts here: name one with ?account=NAME."
                                   : "There is no login here yet: run relay-broker login.");
        return NULL;
    }
    if (rb_account_state(account) == RB_ACCOUNT_LOGGED_OUT) {
        rb_http_answer_problem(request, 401, "logged_out",
                               "This account was logged out; run relay-broker login to log in again.");
        return NULL;
    }
    return account;
}

static json_t *optional_string(struct rb_span text)
{
    return text.len ? json_stringn(text.at, text.len) : json_null();
}

static json_t *optional_ms(int64_t wall_ms)
{
    return wall_ms ? json_integer(wall_ms) : json_null();
}

static json_t *post_json(const struct rb_post_view *view)
{
    char id[RB_OUTBOX_ID_MAX];
    rb_outbox_id_print(view->id, id);
    json_t *refusal = view->state == RB_POST_REFUSED
                          ? json_pack("{si so}", "status", view->status, "detail", optional_string(view->detail))
                          : json_null();
    return json_pack("{ss ss so sI so sI sb so so so}", "id", id, "state", rb_post_state_text(view->state), "topic",
                     optional_string(view->topic), "at_ms", (json_int_t)view->at_wall_ms, "ended_ms",
                     optional_ms(view->ended_wall_ms), "attempts", (json_int_t)view->attempts, "maybe_duplicate",
                     view->maybe_duplicate, "message_id", optional_string(view->message_id), "timestamp",
                     optional_string(view->timestamp), "refusal", refusal);
}

static void answer_post(struct rb_http_request *request, enum rb_status committed, const struct rb_post_view *view)
{
    if (committed != RB_OK) {
        rb_http_answer_problem(request, committed == RB_FULL ? 507 : 503, "not_stored",
                               committed == RB_FULL
                                   ? "The disk is full; nothing was stored. Try again when there is room."
                                   : "It could not be stored now; nothing was done. Try again.");
        return;
    }
    char location[sizeof "/v1/outbox/" + RB_OUTBOX_ID_MAX] = "/v1/outbox/";
    rb_outbox_id_print(view->id, location + strlen(location));
    rb_http_add_header(request, "Location", location);
    int status = view->state == RB_POST_ACCEPTED  ? 201
                 : view->state == RB_POST_REFUSED ? 422
                 : view->state == RB_POST_EXPIRED ? 410
                                                  : 202;
    struct rb_str body = RB_STR_INIT;
    if (rb_json_print(&body, post_json(view)) == RB_OK)
        rb_http_answer_str(request, status, "application/json", &body);
    else /* an error would say that nothing is there */
        rb_http_drop(request);
    rb_str_free(&body);
}

static void refuse_post(struct rb_http_request *request, enum rb_status status, const char *sentence)
{
    switch (status) {
    case RB_DENIED:
        rb_http_answer_problem(request, 403, "topic_not_allowed", sentence);
        return;
    case RB_EXISTS:
        rb_http_answer_problem(request, 422, "key_reused", sentence);
        return;
    case RB_INVALID:
        rb_http_answer_problem(request, 422, "invalid", sentence);
        return;
    default:
        rb_http_add_header(request, "Retry-After", "5");
        rb_http_answer_problem(request, 503, "full", sentence);
        return;
    }
}

/* The first thing wrong, as a problem. */
static bool refuse_issues(struct rb_http_request *request, struct rb_wire_issues *issues)
{
    if (!issues->list && !issues->no_memory)
        return false;
    const char *sentence = json_string_value(json_object_get(json_array_get(issues->list, 0), "msg"));
    if (issues->no_memory)
        rb_http_answer_problem(request, 503, "busy", RB_MEMORY_IS_SHORT);
    else
        rb_http_answer_problem(request, 422, "invalid", sentence);
    json_decref(issues->list);
    issues->list = NULL;
    return true;
}

/* `expires_at` in Unix milliseconds: the post is dropped, visibly, when it could not be sent by then. */
static bool read_expiry(struct rb_face_context *context, struct rb_json_value body, struct rb_wire_issues *issues,
                        int64_t *ret)
{
    struct rb_json_value value;
    if (!rb_json_member(body, "expires_at", &value) || value.kind == RB_JSON_NULL)
        return true;
    if (rb_json_integer(value, rb_clock_wall_ms(context->clock), INT64_MAX, ret) == RB_OK)
        return true;
    rb_wire_issue(issues, "value_error", "body/expires_at", "expires_at must be a time to come, in Unix milliseconds.",
                  &value);
    return false;
}

static void post(struct rb_http_request *request, void *face)
{
    static const struct rb_posting_answers answers = {answer_post, refuse_post};
    struct rb_json_value body;
    size_t at = 0;
    enum rb_json_fault fault = rb_json_check(rb_http_body(request), RB_JSON_LEVELS, &body, &at);
    if (fault != RB_JSON_FINE) {
        static const char *const sentences[] = {
            [RB_JSON_SYNTAX] = "The body is not valid JSON.",
            [RB_JSON_UTF8] = "The body is not valid UTF-8.",
            [RB_JSON_SURROGATE] = "The body has a lone surrogate escape; the relay could never read it again.",
            [RB_JSON_DEPTH] = "The body is nested too deep.",
        };
        rb_http_answer_problem(request, fault == RB_JSON_SYNTAX || fault == RB_JSON_UTF8 ? 400 : 422, "invalid",
                               sentences[fault]);
        return;
    }
    struct rb_account *account = choose_account(face, request);
    if (!account)
        return;
    struct rb_wire_issues issues = {0};
    struct rb_message_body message;
    int64_t expires_ms = 0;
    if (rb_message_body_read(body, "body", &issues, &message) && read_expiry(face, body, &issues, &expires_ms))
        rb_posting_start(face, request, account, &message, expires_ms, &answers);
    else
        refuse_issues(request, &issues);
    rb_message_body_free(&message);
}

static void view_post(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    const struct rb_door *door = rb_http_door(request);
    int64_t id;
    struct rb_post_view view;
    struct rb_account *account = NULL;
    enum rb_status status = RB_NOT_FOUND;
    if (rb_outbox_id_parse(rb_http_param(request, 0), &id))
        status = rb_outbox_view(context->broker->outbox, id, &view);
    if (status == RB_OK)
        account = rb_account_by_id(context->broker->accounts, view.account);
    if (status != RB_OK && status != RB_NOT_FOUND)
        rb_http_answer_problem(request, 503, "busy", "The post cannot be read now. Try again.");
    else if (account && rb_door_serves(door, account))
        rb_http_answer_json(request, 200, post_json(&view));
    else
        rb_http_answer_problem(
            request, 404, "not_found",
            "There is no such post here; ended ones are forgotten after key_hours (default: a day).");
}

static void status(struct rb_http_request *request, void *face)
{
    rb_http_answer_json(request, 200, rb_status_json(face, false));
}

static const struct rb_route routes[] = {
    {RB_POST, "/v1/outbox", RB_BODY_JSON, post},
    {RB_GET, "/v1/outbox/{id}", RB_BODY_NONE, view_post},
    {RB_GET, "/v1/status", RB_BODY_NONE, status},
};

void rb_broker_face(struct rb_face_context *context, struct rb_face *ret)
{
    *ret = (struct rb_face){routes, sizeof routes / sizeof *routes, "/v1/", rb_http_answer_problem, context};
}
