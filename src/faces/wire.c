#include "wire.h"

#include <stdlib.h>

#include "account.h"
#include "placeholder.h"

static void forbid_administration(struct rb_http_request *request, void *face)
{
    rb_wire_detail(request, 403, "Administration of the relay is not offered to local callers; use the relay itself.");
}

static void forbid_device_flow(struct rb_http_request *request, void *face)
{
    rb_wire_detail(request, 403, "The broker owns the login here: run relay-broker login to make one.");
}

static const struct rb_route routes[] = {
    {RB_POST, "/auth/login", RB_BODY_FORM, rb_wire_login},
    {RB_POST, "/auth/token/refresh", RB_BODY_JSON, rb_wire_refresh},
    {RB_POST, "/auth/token/revoke", RB_BODY_JSON, rb_wire_end_session},
    {RB_POST, "/auth/logout", RB_BODY_OPTIONAL_JSON, rb_wire_end_session},
    {RB_GET, "/auth/me", RB_BODY_NONE, rb_wire_me},
    {RB_GET, "/auth/sessions", RB_BODY_NONE, rb_wire_sessions},
    {RB_OTHER_METHOD, "/auth/sessions/{jti}", RB_BODY_ANY, forbid_administration},
    {RB_OTHER_METHOD, "/auth/register", RB_BODY_ANY, forbid_administration},
    {RB_OTHER_METHOD, "/auth/users", RB_BODY_ANY, forbid_administration},
    {RB_OTHER_METHOD, "/auth/users/*", RB_BODY_ANY, forbid_administration},
    {RB_OTHER_METHOD, "/auth/device", RB_BODY_ANY, forbid_device_flow},
    {RB_OTHER_METHOD, "/auth/device/*", RB_BODY_ANY, forbid_device_flow},
    {RB_OTHER_METHOD, "/auth/oidc/*", RB_BODY_ANY, forbid_device_flow},
    {RB_POST, "/api/v1/messages", RB_BODY_JSON, rb_wire_post},
    {RB_POST, "/api/v1/messages/bulk", RB_BODY_JSON, rb_wire_bulk},
    {RB_POST, "/messages/poll", RB_BODY_JSON, rb_wire_poll, .waits = true},
    {RB_GET, "/messages/poll/stats", RB_BODY_NONE, rb_wire_poll_stats},
    {RB_GET, "/api/v1/topics", RB_BODY_NONE, rb_wire_topic_list},
    {RB_POST, "/api/v1/topics", RB_BODY_JSON, rb_wire_topic_create},
    {RB_OTHER_METHOD, "/api/v1/topics/stats", RB_BODY_ANY, forbid_administration},
    {RB_GET, "/api/v1/topics/{name}", RB_BODY_NONE, rb_wire_topic_get},
    {RB_PUT, "/api/v1/topics/{name}", RB_BODY_JSON, rb_wire_topic_update},
    {RB_DELETE, "/api/v1/topics/{name}", RB_BODY_NONE, rb_wire_topic_delete},
    {RB_GET, "/api/v1/topics/{name}/messages", RB_BODY_NONE, rb_wire_topic_messages},
};

void rb_wire_face(struct rb_face_context *context, struct rb_face *ret)
{
    *ret = (struct rb_face){routes, sizeof routes / sizeof *routes, "", rb_wire_problem, context};
}

bool rb_wire_account_open(struct rb_http_request *request, const struct rb_account *account)
{
    if (rb_account_state(account) != RB_ACCOUNT_LOGGED_OUT)
        return true;
    rb_wire_detail(request, 401, "This account was logged out; run relay-broker login to log in again.");
    return false;
}

struct rb_session *rb_wire_session(struct rb_face_context *context, struct rb_http_request *request,
                                   const unsigned char id[RB_SESSION_ID_BYTES])
{
    struct rb_sessions *sessions = context->broker->sessions;
    const struct rb_door *door = rb_http_door(request);
    struct rb_session *session = rb_session_find(sessions, id, door->name, rb_http_peer(request)->uid);
    if (!session || !rb_door_serves(door, rb_session_account(session)))
        return NULL;
    rb_session_touch(sessions, session);
    return session;
}

bool rb_wire_caller(struct rb_face_context *context, struct rb_http_request *request, struct rb_account **ret_account,
                    struct rb_session **ret_session)
{
    const struct rb_door *door = rb_http_door(request);
    unsigned char id[RB_SESSION_ID_BYTES];
    struct rb_session *session = NULL;
    if (rb_placeholder_access_id(rb_http_bearer(request), id)) {
        session = rb_wire_session(context, request, id);
        /* Served without its session, a reader would begin at the newest message with each poll (P4). */
        if (!session && rb_session_is_known(context->broker->sessions, id, door->name, rb_http_peer(request)->uid)) {
            rb_wire_detail(request, 401, "The account of this login is not served here any more: log in again.");
            return false;
        }
    }
    struct rb_account *account =
        session ? rb_session_account(session) : rb_door_default_account(door, context->broker->accounts);
    if (!account) {
        rb_wire_detail(
            request, 401,
            rb_account_next(context->broker->accounts, NULL)
                ? "Several accounts are open here: name one, by --account or as the user name of POST /auth/login."
                : "There is no login here yet: run relay-broker login.");
        return false;
    }
    if (!rb_wire_account_open(request, account))
        return false;
    *ret_account = account;
    *ret_session = session;
    return true;
}

void rb_wire_commit_failed(struct rb_http_request *request, enum rb_status committed)
{
    /* T4: whether it is on disk is not known, and each sentence would say more. */
    if (committed == RB_IO)
        rb_http_drop(request);
    else if (committed == RB_FULL)
        rb_wire_unavailable(request, 507, "The disk is full; nothing was stored. Try again when there is room.", 10);
    else
        rb_wire_unavailable(request, 503, "It could not be stored now; nothing was done. Try again.", 1);
}

/* An answer that waits for the commit. */
struct reply {
    struct rb_effect effect;
    struct rb_http_request *request;
    int status;
    struct rb_str body;
};

static void release_reply(struct rb_effect *effect, enum rb_status committed)
{
    struct reply *reply = RB_CONTAINER(effect, struct reply, effect);
    if (committed == RB_OK)
        rb_http_answer_str(reply->request, reply->status, reply->body.len ? "application/json" : NULL, &reply->body);
    else
        rb_wire_commit_failed(reply->request, committed);
    rb_str_free(&reply->body);
    free(reply);
}

void rb_wire_answer_after(struct rb_face_context *context, struct rb_http_request *request, int status,
                          struct rb_str *body)
{
    struct reply *reply = rb_str_failed(body) ? NULL : calloc(1, sizeof *reply);
    if (!reply) {
        rb_str_free(body);
        rb_wire_no_memory(request);
        return;
    }
    reply->effect.run = release_reply;
    reply->request = request;
    reply->status = status;
    reply->body = *body;
    *body = RB_STR_INIT;
    rb_tick_after(context->tick, &reply->effect);
}

static const char *advice(const struct rb_http_request *request, const struct rb_answer *answer)
{
    if (rb_http_method(request) == RB_GET)
        return " Try again later.";
    if (answer->end == RB_END_NOT_EXECUTED)
        return " Nothing was done; try again later.";
    return " It may have been done all the same.";
}

void rb_wire_pass_answer(void *arg, const struct rb_answer *answer)
{
    struct rb_http_request *request = arg;
    bool relays_own = answer->status >= 200 && answer->status < 500 && (answer->body.len || answer->status == 204) &&
                      answer->status != 401 && answer->status != 429;
    if (relays_own) {
        bool empty = answer->status == 204;
        rb_http_answer(request, answer->status, empty ? NULL : "application/json",
                       empty ? (struct rb_span){0} : answer->body);
        return;
    }
    bool reached = answer->problem != RB_PROBLEM_UNREACHABLE;
    /* A 503 that is not the relay's: there was no token to ask it with. */
    bool no_token = !reached && answer->status == 503;
    const char *problem = no_token ? "" : rb_problem_text(answer->problem);
    char sentence[450];
    snprintf(sentence, sizeof sentence, "%s: %s%s%s.%s",
             reached ? "The relay gave no answer to pass on" : "The relay could not be asked", problem,
             *problem && answer->detail[0] ? ": " : "", answer->detail, no_token ? "" : advice(request, answer));
    rb_wire_unavailable(request, 503, sentence, 1);
}
