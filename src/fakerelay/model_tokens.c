#include "model_private.h"

#include <sodium.h>

void tokens_free(struct rb_model *model)
{
    rb_map_clear(&model->tokens, NULL);
    RB_LIST_EACH_SAFE (&model->token_order, node) {
        rb_list_remove(node);
        free(RB_CONTAINER(node, struct token, link));
    }
}

static struct token *token_by_id(const struct rb_model *model, struct rb_span id)
{
    struct map_node *node = map_find(&model->tokens, id);
    return node ? RB_CONTAINER(node, struct token, node) : NULL;
}

static struct token *token_new(struct rb_model *model, const struct user *user, const struct token *parent)
{
    struct token *token = calloc(1, sizeof *token);
    if (!token)
        return NULL;
    uuid_new(model->random, token->id);
    snprintf(token->user_id, sizeof token->user_id, "%s", user->id);
    unsigned char secret[32];
    rb_random_fill(model->random, secret, sizeof secret);
    sodium_bin2base64(token->secret, sizeof token->secret, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    token->chain = parent ? parent->chain : ++model->next_chain;
    token->issued_ms = rb_clock_wall_ms(model->clock);
    token->expires_ms = token->issued_ms + model->config.refresh_token_s * 1000;
    rb_list_init(&token->link);
    map_add(&model->tokens, &token->node, rb_span_of(token->id));
    rb_list_push(&model->token_order, &token->link);
    return token;
}

/* How many were live. */
static size_t revoke_chain(struct rb_model *model, uint64_t chain)
{
    size_t revoked = 0;
    RB_LIST_EACH (&model->token_order, node) {
        struct token *token = RB_CONTAINER(node, struct token, link);
        if (token->chain != chain || token->state != TOKEN_LIVE)
            continue;
        token->state = TOKEN_REVOKED;
        revoked++;
    }
    model->counts.chains_revoked += revoked > 0;
    return revoked;
}

void rb_model_revoke_all(struct rb_model *model, const char *username)
{
    const struct user *user = user_by_name(model, rb_span_of(username));
    RB_LIST_EACH (&model->token_order, node) {
        struct token *token = RB_CONTAINER(node, struct token, link);
        if (user && strcmp(token->user_id, user->id) == 0 && token->state == TOKEN_LIVE)
            token->state = TOKEN_REVOKED;
    }
}

void rb_model_live_tokens(const struct rb_model *model, const char *username, size_t *ret_tokens, size_t *ret_chains)
{
    const struct user *user = user_by_name(model, rb_span_of(username));
    int64_t wall_ms = rb_clock_wall_ms(model->clock);
    size_t tokens = 0;
    RB_LIST_EACH (&model->token_order, node) {
        const struct token *token = RB_CONTAINER(node, struct token, link);
        if (!user || strcmp(token->user_id, user->id) != 0 || token->state != TOKEN_LIVE ||
            token->expires_ms <= wall_ms)
            continue;
        tokens++;
    }
    *ret_tokens = tokens;
    *ret_chains = tokens; /* one a chain at most: each rotation ends the token before */
}

static void answer_tokens(struct call *call, const struct user *user, const struct token *token)
{
    if (!token) {
        answer_internal(call);
        return;
    }
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"access_token\":\"");
    access_token_new(call->model, user, &body);
    rb_str_addf(&body,
                "\",\"token_type\":\"bearer\",\"expires_in\":%lld,\"refresh_token\":\"%s.%s\","
                "\"refresh_token_secondary\":null}",
                (long long)call->model->config.access_token_s, token->id, token->secret);
    answer_json(call, 200, &body);
}

static bool is_form(struct rb_span content_type)
{
    struct rb_span form = RB_SPAN("application/x-www-form-urlencoded");
    if (content_type.len > form.len && (content_type.at[form.len] == ';' || content_type.at[form.len] == ' '))
        content_type.len = form.len;
    return rb_span_is_nocase(content_type, form.at);
}

bool login_field(const struct call *call, const char *name, struct rb_str *out)
{
    return is_form(call->request->content_type) && form_field(call->request->body, name, out);
}

/* A field of the login form, which may be neither missing nor empty. */
static void read_field(struct call *call, struct problems *problems, const char *name, struct rb_str *out)
{
    char loc[64];
    snprintf(loc, sizeof loc, "[\"body\",\"%s\"]", name);
    if (!login_field(call, name, out) || out->len == 0)
        problem_add(problems, "missing", loc, "Field required", NULL, NULL);
}

void handle_login(struct call *call)
{
    struct problems problems = {0};
    RB_CLEANUP_STR struct rb_str grant = RB_STR_INIT, name = RB_STR_INIT, password = RB_STR_INIT;
    if (login_field(call, "grant_type", &grant) && grant.len > 0 && !rb_span_is(rb_str_span(&grant), "password"))
        problem_add_text(&problems, "string_pattern_mismatch", "[\"body\",\"grant_type\"]",
                         "String should match pattern '^password$'", rb_str_span(&grant),
                         "{\"pattern\":\"^password$\"}");
    read_field(call, &problems, "username", &name);
    read_field(call, &problems, "password", &password);
    if (problems_answer(call, &problems) || !limit_take(call, "login", 5))
        return;
    if (call->model->storage_dead) {
        answer_internal(call);
        return;
    }
    struct user *user = user_by_name(call->model, rb_str_span(&name));
    if (!user || !rb_span_is(rb_str_span(&password), user->password)) {
        answer_unauthorized(call, "Incorrect username or password");
        return;
    }
    if (!user->active) {
        answer_detail(call, 403, "User account is inactive");
        return;
    }
    call->model->counts.logins++;
    answer_tokens(call, user, token_new(call->model, user, NULL));
}

/* The token's id and secret; false when either is missing. */
static bool split(struct rb_span wire, struct rb_span *ret_id, struct rb_span *ret_secret)
{
    const char *dot = wire.len ? memchr(wire.at, '.', wire.len) : NULL;
    if (!dot)
        return false;
    *ret_id = (struct rb_span){wire.at, (size_t)(dot - wire.at)};
    *ret_secret = (struct rb_span){dot + 1, wire.len - ret_id->len - 1};
    return ret_id->len > 0 && ret_secret->len > 0;
}

/* The token that may be rotated, or NULL; a replay takes its chain down. */
static struct token *take_token(struct rb_model *model, struct rb_span wire)
{
    struct rb_span id, secret;
    if (!split(wire, &id, &secret))
        return NULL;
    struct token *token = token_by_id(model, id);
    if (!token || !rb_span_is(secret, token->secret))
        return NULL;
    if (token->state == TOKEN_ROTATED) {
        model->counts.replays++;
        revoke_chain(model, token->chain);
    }
    if (token->state != TOKEN_LIVE)
        return NULL;
    if (token->expires_ms > rb_clock_wall_ms(model->clock))
        return token;
    token->state = TOKEN_REVOKED;
    return NULL;
}

void handle_refresh(struct call *call)
{
    struct rb_model *model = call->model;
    struct problems problems = {0};
    RB_CLEANUP_STR struct rb_str wire = RB_STR_INIT;
    field_text(&problems, call->body, "[\"body\"", "refresh_token", true, &wire);
    if (problems_answer(call, &problems) || !limit_take(call, "refresh", 10))
        return;
    model->counts.refreshes++;
    if (model->storage_dead) {
        answer_internal(call);
        return;
    }
    struct token *old = take_token(model, rb_str_span(&wire));
    if (!old) {
        answer_unauthorized(call, "invalid refresh token");
        return;
    }
    struct user *user = user_by_id(model, rb_span_of(old->user_id));
    if (!user || !user->active) {
        old->state = TOKEN_REVOKED;
        model->counts.refused_401++;
        answer_detail(call, 401, "user not found");
        return;
    }
    old->state = TOKEN_ROTATED;
    model->counts.refreshes_ok++;
    answer_tokens(call, user, token_new(model, user, old));
}

void handle_revoke(struct call *call)
{
    struct rb_model *model = call->model;
    struct problems problems = {0};
    RB_CLEANUP_STR struct rb_str wire = RB_STR_INIT;
    bool whole = false;
    field_text(&problems, call->body, "[\"body\"", "refresh_token", true, &wire);
    field_bool(&problems, call->body, "revoke_chain", &whole);
    if (problems_answer(call, &problems))
        return;
    struct rb_span id, secret;
    if (!split(rb_str_span(&wire), &id, &secret)) {
        answer_detail(call, 400, "malformed refresh token");
        return;
    }
    if (model->storage_dead) {
        answer_internal(call);
        return;
    }
    model->counts.revokes++;
    struct token *token = token_by_id(model, id);
    if (token && rb_span_is(secret, token->secret)) {
        if (whole)
            revoke_chain(model, token->chain);
        else if (token->state == TOKEN_LIVE)
            token->state = TOKEN_REVOKED;
    }
    answer_nothing(call);
}

void handle_sessions(struct call *call)
{
    struct rb_str body = RB_STR_INIT;
    const char *comma = "";
    rb_str_add(&body, "[");
    RB_LIST_EACH (&call->model->token_order, node) {
        const struct token *token = RB_CONTAINER(node, struct token, link);
        if (strcmp(token->user_id, call->user->id) != 0 || token->state != TOKEN_LIVE)
            continue;
        char issued[TIME_MAX], expires[TIME_MAX];
        time_text(token->issued_ms, true, issued);
        time_text(token->expires_ms, true, expires);
        rb_str_addf(&body,
                    "%s{\"jti\":\"%s\",\"issued_at\":\"%s\",\"expires_at\":\"%s\",\"last_used_at\":null,"
                    "\"client_hint\":\"password-login\"}",
                    comma, token->id, issued, expires);
        comma = ",";
    }
    rb_str_add(&body, "]");
    answer_json(call, 200, &body);
}

void handle_session_delete(struct call *call)
{
    struct token *token = token_by_id(call->model, rb_str_span(&call->param));
    if (!token || strcmp(token->user_id, call->user->id) != 0) {
        answer_detail(call, 404, "session not found");
        return;
    }
    if (token->state == TOKEN_LIVE)
        token->state = TOKEN_REVOKED;
    answer_nothing(call);
}
