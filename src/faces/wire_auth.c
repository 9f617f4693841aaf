#include "account.h"
#include "placeholder.h"
#include "wire.h"

/* Opens a session and answers with its placeholders, after the commit. Every login and every refresh opens one of its
 * own (I8). */
static void answer_placeholders(struct rb_face_context *context, struct rb_http_request *request,
                                struct rb_account *account, struct rb_span username)
{
    const struct rb_door *door = rb_http_door(request);
    struct rb_session *session;
    struct rb_error err = {0};
    rb_tick_lead(context->tick);
    enum rb_status status = rb_session_open(context->broker->sessions, account, door->name, rb_http_peer(request)->uid,
                                            username, &session, &err);
    if (status != RB_OK) {
        rb_wire_unavailable(request, 503, err.text, 60);
        return;
    }
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"access_token\":\"");
    status = rb_placeholder_access(session, rb_clock_wall_ms(context->clock), &body);
    rb_str_addf(&body, "\",\"token_type\":\"bearer\",\"expires_in\":%d,\"refresh_token\":\"", RB_PLACEHOLDER_S);
    rb_placeholder_refresh(session, &body);
    rb_str_add(&body, "\",\"refresh_token_secondary\":null}");
    if (status != RB_OK)
        body.failed = true;
    rb_wire_answer_after(context, request, 200, &body);
}

static void answer_no_account(struct rb_face_context *context, struct rb_http_request *request)
{
    rb_wire_detail(request, 401,
                   rb_account_next(context->broker->accounts, NULL)
                       ? "No account here has this name, and there is not just one to choose; see relay-broker status."
                       : "There is no login here yet: run relay-broker login.");
}

void rb_wire_login(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    struct rb_wire_issues issues = {0};
    RB_CLEANUP_STR struct rb_str username = RB_STR_INIT, password = RB_STR_INIT, grant = RB_STR_INIT;
    if (!rb_http_form(request, "username", &username))
        rb_wire_issue(&issues, "missing", "body/username", "A user name is required.", NULL);
    if (!rb_http_form(request, "password", &password))
        rb_wire_issue(&issues, "missing", "body/password", "A password is required; any will do.", NULL);
    issues.no_memory = issues.no_memory || rb_str_failed(&username) || rb_str_failed(&password);
    if (rb_http_form(request, "grant_type", &grant) && grant.len && !rb_span_is(rb_str_span(&grant), "password"))
        rb_wire_issue(&issues, "string_pattern_mismatch", "body/grant_type", "grant_type must be password.", NULL);
    if (rb_wire_refuse(request, &issues))
        return;
    struct rb_account *account =
        rb_door_account(rb_http_door(request), context->broker->accounts, rb_str_span(&username));
    if (!account)
        answer_no_account(context, request);
    else if (rb_wire_account_open(request, account))
        answer_placeholders(context, request, account, rb_str_span(&username));
}

/* The refresh token in the body, unescaped into `out`. False: it was answered. */
static bool body_refresh_token(struct rb_http_request *request, struct rb_str *out)
{
    struct rb_json_value body, token;
    if (!rb_wire_body(request, false, &body))
        return false;
    struct rb_wire_issues issues = {0};
    if (body.kind != RB_JSON_OBJECT)
        rb_wire_issue(&issues, "model_attributes_type", "body", "The body must be an object.", NULL);
    else if (!rb_json_member(body, "refresh_token", &token))
        rb_wire_issue(&issues, "missing", "body/refresh_token", "A refresh token is required.", NULL);
    else if (token.kind != RB_JSON_STRING)
        rb_wire_issue(&issues, "string_type", "body/refresh_token", "The refresh token must be a string.", NULL);
    else
        rb_json_string(token, out);
    issues.no_memory |= rb_str_failed(out);
    return !rb_wire_refuse(request, &issues);
}

void rb_wire_refresh(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    RB_CLEANUP_STR struct rb_str token = RB_STR_INIT;
    if (!body_refresh_token(request, &token))
        return;
    unsigned char id[RB_SESSION_ID_BYTES];
    struct rb_session *session = NULL;
    struct rb_account *account = NULL;
    if (rb_placeholder_refresh_id(rb_str_span(&token), id))
        session = rb_wire_session(context, request, id);
    if (session)
        account = rb_session_account(session);
    else if (rb_placeholder_refresh_shape(rb_str_span(&token)))
        account = rb_door_default_account(rb_http_door(request), context->broker->accounts);
    if (!account)
        rb_wire_detail(request, 401, "invalid refresh token");
    else if (rb_wire_account_open(request, account))
        answer_placeholders(context, request, account, rb_span_of(rb_account_username(account)));
}

/* Revoke and logout end the caller's own session only; a token that names none is nothing to end. */
void rb_wire_end_session(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    unsigned char id[RB_SESSION_ID_BYTES];
    bool named = rb_placeholder_access_id(rb_http_bearer(request), id);
    if (rb_span_is(rb_http_path(request), "/auth/token/revoke")) {
        RB_CLEANUP_STR struct rb_str token = RB_STR_INIT;
        if (!body_refresh_token(request, &token))
            return;
        named = rb_placeholder_refresh_id(rb_str_span(&token), id);
    }
    struct rb_session *session = named ? rb_wire_session(context, request, id) : NULL;
    if (!session) {
        rb_http_answer(request, 204, NULL, (struct rb_span){0});
        return;
    }
    struct rb_str nothing = RB_STR_INIT;
    rb_session_end(context->broker->sessions, session);
    rb_wire_answer_after(context, request, 204, &nothing);
}

static void pass_me_on(void *arg, const struct rb_answer *answer, const struct rb_me *me)
{
    rb_wire_pass_answer(arg, answer);
}

void rb_wire_me(struct rb_http_request *request, void *face)
{
    struct rb_account *account;
    struct rb_session *session;
    if (!rb_wire_caller(face, request, &account, &session))
        return;
    if (rb_account_me(account, rb_http_peer(request)->uid, RB_WIRE_CALL_WAIT_MS, pass_me_on, request) != RB_OK)
        rb_wire_no_memory(request);
}

void rb_wire_sessions(struct rb_http_request *request, void *face)
{
    struct rb_account *account;
    struct rb_session *session;
    if (!rb_wire_caller(face, request, &account, &session))
        return;
    if (rb_account_sessions(account, rb_http_peer(request)->uid, RB_WIRE_CALL_WAIT_MS, rb_wire_pass_answer, request) !=
        RB_OK)
        rb_wire_no_memory(request);
}
