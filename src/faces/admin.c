/* The admin face, on a socket of its own that only the daemon's user and root can open: logging in and out, a real
 * token, a look at a relay, the whole state. The command line uses it. */
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "face.h"
#include "json_span.h"
#include "problem.h"

enum { BODY_LEVELS = 8 };

/* A body of strings and booleans, unescaped; secrets among them, so wiped when freed. */
struct fields {
    struct rb_str relay_url, ca_file, username, password, refresh_token;
    bool keep_password, replace;
};

static void fields_free(struct fields *fields)
{
    struct rb_str *strs[] = {&fields->relay_url, &fields->ca_file, &fields->username, &fields->password,
                             &fields->refresh_token};
    for (size_t i = 0; i < sizeof strs / sizeof *strs; i++)
        rb_str_free(strs[i]);
}

static enum rb_status read_string(struct rb_json_value value, struct rb_str *out)
{
    enum rb_status status = rb_json_string(value, out);
    return status == RB_OK && out->len && memchr(out->at, 0, out->len) ? RB_INVALID : status;
}

static enum rb_status read_bool(struct rb_json_value value, bool *out)
{
    *out = value.kind == RB_JSON_TRUE;
    return value.kind == RB_JSON_TRUE || value.kind == RB_JSON_FALSE ? RB_OK : RB_INVALID;
}

static void answer_no_memory(struct rb_http_request *request)
{
    rb_http_answer_problem(request, 503, "failed", RB_MEMORY_IS_SHORT);
}

/* False: it was answered. */
static bool fields_read(struct rb_http_request *request, struct fields *ret)
{
    struct rb_json_value body, key, value;
    bool object =
        rb_json_check(rb_http_body(request), BODY_LEVELS, &body, NULL) == RB_JSON_FINE && body.kind == RB_JSON_OBJECT;
    enum rb_status status = object ? RB_OK : RB_INVALID;
    struct rb_json_walk walk = object ? rb_json_walk(body) : (struct rb_json_walk){0};
    while (status == RB_OK && rb_json_next(&walk, &key, &value)) {
        struct rb_str *str = rb_json_is(key, "relay_url")       ? &ret->relay_url
                             : rb_json_is(key, "ca_file")       ? &ret->ca_file
                             : rb_json_is(key, "username")      ? &ret->username
                             : rb_json_is(key, "password")      ? &ret->password
                             : rb_json_is(key, "refresh_token") ? &ret->refresh_token
                                                                : NULL;
        bool *flag = rb_json_is(key, "keep_password") ? &ret->keep_password
                     : rb_json_is(key, "replace")     ? &ret->replace
                                                      : NULL;
        if (value.kind == RB_JSON_NULL)
            continue;
        status = str ? read_string(value, str) : flag ? read_bool(value, flag) : RB_INVALID;
    }
    if (status == RB_NO_MEMORY)
        answer_no_memory(request);
    else if (status != RB_OK)
        rb_http_answer_problem(request, 422, "invalid",
                               "The body must be an object of the strings and booleans that this call takes.");
    return status == RB_OK;
}

static int http_status(enum rb_status status)
{
    switch (status) {
    case RB_OK:
        return 200;
    case RB_INVALID:
        return 422;
    case RB_NOT_FOUND:
        return 404;
    case RB_EXISTS:
        return 409;
    case RB_DENIED:
        return 403;
    case RB_FULL:
        return 507;
    case RB_BUSY:
    case RB_UNAVAILABLE:
    case RB_NO_MEMORY:
        return 503;
    case RB_IO:
    case RB_CORRUPT:
    case RB_NEWER:
        return 500;
    }
    return 500;
}

static void answer_account(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    struct rb_http_request *request = arg;
    if (status != RB_OK) {
        rb_http_answer_problem(request, http_status(status), "failed", err ? err->text : rb_status_text(status));
        return;
    }
    struct rb_account_status now;
    rb_account_status(account, &now);
    rb_http_answer_json(request, 200,
                        json_pack("{ss ss ss sI}", "name", rb_account_name(account), "state", now.state, "chain",
                                  now.chain_state, "chains_revoking", (json_int_t)now.chains_revoking));
}

static struct rb_account *path_account(struct rb_face_context *context, struct rb_http_request *request)
{
    struct rb_account *account = rb_account_by_name(context->broker->accounts, rb_http_param(request, 0));
    if (!account)
        rb_http_answer_problem(request, 404, "no_account",
                               "There is no account of that name; see relay-broker status.");
    return account;
}

static const char *text_or_null(const struct rb_str *str)
{
    return str->len ? str->at : NULL;
}

static void start_login(struct rb_face_context *context, struct rb_http_request *request, const struct fields *fields,
                        bool import)
{
    RB_CLEANUP_FREE char *name = rb_span_dup(rb_http_param(request, 0));
    struct rb_login login = {
        .name = name,
        .relay_url = text_or_null(&fields->relay_url),
        .ca_file = text_or_null(&fields->ca_file),
        .username = import ? NULL : text_or_null(&fields->username),
        .password = import ? (struct rb_span){0} : rb_str_span(&fields->password),
        .keep_password = fields->keep_password,
        .refresh_token = import ? rb_str_span(&fields->refresh_token) : (struct rb_span){0},
        .hold = import,
        .replace = fields->replace,
    };
    struct rb_error err = {.text = RB_MEMORY_IS_SHORT};
    if (!name) {
        answer_no_memory(request);
        return;
    }
    if (!login.relay_url || (import ? !login.refresh_token.len : !login.username || !login.password.len)) {
        rb_http_answer_problem(request, 422, "invalid",
                               import ? "An import needs relay_url and refresh_token."
                                      : "A login needs relay_url, username and password.");
        return;
    }
    rb_tick_lead(context->tick);
    enum rb_status status = rb_account_login(context->broker->accounts, &login, answer_account, request, &err);
    if (status != RB_OK)
        rb_http_answer_problem(request, http_status(status), "failed", err.text);
}

static void login(struct rb_http_request *request, void *face)
{
    struct fields fields = {0};
    if (fields_read(request, &fields))
        start_login(face, request, &fields, false);
    fields_free(&fields);
}

static void import(struct rb_http_request *request, void *face)
{
    struct fields fields = {0};
    if (fields_read(request, &fields))
        start_login(face, request, &fields, true);
    fields_free(&fields);
}

static void answer_probe(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    if (status != RB_OK)
        rb_http_answer_problem(arg, http_status(status), "failed", err ? err->text : rb_status_text(status));
    else
        rb_http_answer_json(arg, 200, json_pack("{sb}", "reachable", true));
}

static void probe(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    struct fields fields = {0};
    struct rb_error err = {0};
    if (!fields_read(request, &fields)) {
        fields_free(&fields);
        return;
    }
    enum rb_status status = fields.relay_url.len
                                ? rb_account_probe(context->broker->accounts, fields.relay_url.at,
                                                   text_or_null(&fields.ca_file), answer_probe, request, &err)
                                : rb_fail(&err, RB_INVALID, "The relay's URL is missing.");
    if (status != RB_OK)
        rb_http_answer_problem(request, http_status(status), "failed", err.text);
    fields_free(&fields);
}

/* An answer that waits for the commit of a change that has no callback of its own. */
struct released {
    struct rb_effect effect;
    struct rb_http_request *request;
    struct rb_account *account;
};

static void on_released(struct rb_effect *effect, enum rb_status committed)
{
    struct released *released = RB_CONTAINER(effect, struct released, effect);
    answer_account(released->request, committed, NULL, released->account);
    free(released);
}

static void release(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    struct fields fields = {0};
    struct rb_account *account = fields_read(request, &fields) ? path_account(context, request) : NULL;
    if (account) {
        struct released *released = calloc(1, sizeof *released);
        struct rb_error err = {.text = RB_MEMORY_IS_SHORT};
        rb_tick_lead(context->tick);
        enum rb_status status =
            released ? rb_account_release(account, rb_str_span(&fields.refresh_token), &err) : RB_NO_MEMORY;
        if (status != RB_OK) {
            free(released);
            rb_http_answer_problem(request, http_status(status), "failed", err.text);
        } else {
            *released = (struct released){.effect.run = on_released, .request = request, .account = account};
            rb_tick_after(context->tick, &released->effect);
        }
    }
    fields_free(&fields);
}

static void logout(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    struct rb_account *account = path_account(context, request);
    struct rb_error err = {0};
    if (!account)
        return;
    rb_tick_lead(context->tick);
    enum rb_status status = rb_account_logout(account, answer_account, request, &err);
    if (status != RB_OK)
        rb_http_answer_problem(request, http_status(status), "failed", err.text);
}

static void answer_token(struct rb_http_request *request, struct rb_account *account, struct rb_span token)
{
    struct rb_account_status now;
    rb_account_status(account, &now);
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"access_token\":");
    rb_json_quote(&body, token);
    rb_str_addf(&body, ",\"token_type\":\"bearer\",\"expires_in\":%lld}",
                (long long)(now.access_expires_in_ms > 0 ? now.access_expires_in_ms / 1000 : 0));
    rb_http_answer(request, 200, "application/json", rb_str_span(&body));
    rb_str_free(&body);
}

static void token(struct rb_http_request *request, void *face)
{
    struct rb_account *account = path_account(face, request);
    if (!account)
        return;
    struct rb_span access;
    uint64_t serial;
    enum rb_status status = rb_account_access(account, &access, &serial);
    if (status == RB_OK)
        answer_token(request, account, access);
    else if (status == RB_DENIED)
        rb_http_answer_problem(request, 403, "login_required",
                               "This account has no working login: run relay-broker login.");
    else
        rb_http_answer_problem(request, 503, "refreshing", "A new token is on its way; try again in a moment.");
}

static void status(struct rb_http_request *request, void *face)
{
    rb_http_answer_json(request, 200, rb_status_json(face, true));
}

static const struct rb_route routes[] = {
    {RB_GET, "/admin/status", RB_BODY_NONE, status},
    {RB_POST, "/admin/probe", RB_BODY_JSON, probe},
    {RB_POST, "/admin/accounts/{name}/login", RB_BODY_JSON, login},
    {RB_POST, "/admin/accounts/{name}/import", RB_BODY_JSON, import},
    {RB_POST, "/admin/accounts/{name}/release", RB_BODY_JSON, release},
    {RB_POST, "/admin/accounts/{name}/logout", RB_BODY_OPTIONAL_JSON, logout},
    {RB_POST, "/admin/accounts/{name}/token", RB_BODY_OPTIONAL_JSON, token},
};

void rb_admin_face(struct rb_face_context *context, struct rb_face *ret)
{
    *ret = (struct rb_face){routes, sizeof routes / sizeof *routes, "/admin/", rb_http_answer_problem, context};
}
