#include "model_private.h"

#include <jansson.h>
#include <sodium.h>

struct denied {
    struct map_node node;
    char id[ID_MAX];
};

static void add_base64(struct rb_str *out, const void *bytes, size_t len)
{
    size_t room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = malloc(room);
    if (!text) {
        out->failed = true;
        return;
    }
    sodium_bin2base64(text, room, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    rb_str_add(out, text);
    free(text);
}

static void sign(const struct rb_model *model, struct rb_span text, unsigned char ret[crypto_auth_hmacsha256_BYTES])
{
    crypto_auth_hmacsha256(ret, (const unsigned char *)text.at, text.len, model->secret);
}

void access_token_new(struct rb_model *model, const struct user *user, struct rb_str *out)
{
    int64_t now_s = rb_clock_wall_ms(model->clock) / 1000;
    char id[33];
    rb_random_hex(model->random, 16, id);
    RB_CLEANUP_STR struct rb_str claims = RB_STR_INIT;
    rb_str_addf(&claims, "{\"sub\":\"%s\",\"username\":", user->id);
    quote(&claims, user->username);
    rb_str_addf(&claims, ",\"permissions\":[%s],\"exp\":%lld,\"iat\":%lld,\"jti\":\"%s\"}",
                user->admin                   ? "\"admin\",\"read\",\"write\""
                : user->reads && user->writes ? "\"read\",\"write\""
                : user->reads                 ? "\"read\""
                : user->writes                ? "\"write\""
                                              : "",
                (long long)(now_s + model->config.access_token_s), (long long)now_s, id);
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    size_t start = out->len;
    add_base64(out, header, sizeof header - 1);
    rb_str_add(out, ".");
    add_base64(out, claims.at, claims.len);
    out->failed = out->failed || claims.failed;
    if (rb_str_failed(out))
        return;
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    sign(model, (struct rb_span){out->at + start, out->len - start}, mac);
    rb_str_add(out, ".");
    add_base64(out, mac, sizeof mac);
}

/* The claims of a token with the right signature, or NULL. */
static json_t *claims_of(const struct rb_model *model, struct rb_span token)
{
    const char *first = memchr(token.at, '.', token.len);
    const char *last = token.len ? memrchr(token.at, '.', token.len) : NULL;
    if (!first || first == last)
        return NULL;
    const char *end = token.at + token.len;
    unsigned char given[crypto_auth_hmacsha256_BYTES], mac[crypto_auth_hmacsha256_BYTES];
    size_t len = 0;
    if (sodium_base642bin(given, sizeof given, last + 1, (size_t)(end - last - 1), NULL, &len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        len != sizeof given)
        return NULL;
    sign(model, (struct rb_span){token.at, (size_t)(last - token.at)}, mac);
    if (sodium_memcmp(given, mac, sizeof mac) != 0)
        return NULL;
    size_t room = (size_t)(last - first);
    char *text = malloc(room);
    if (!text)
        return NULL;
    json_t *claims = NULL;
    if (sodium_base642bin((unsigned char *)text, room, first + 1, room - 1, NULL, &len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0)
        claims = json_loadb(text, len, 0, NULL);
    free(text);
    return claims;
}

static bool take_claims(struct call *call, struct rb_str *subject)
{
    json_t *claims = claims_of(call->model, call->request->bearer);
    const char *sub = NULL, *id = NULL;
    json_int_t ends_s = 0;
    bool good = claims && json_unpack(claims, "{s:s, s:s, s:I}", "sub", &sub, "jti", &id, "exp", &ends_s) == 0;
    if (good) {
        rb_str_add(subject, sub);
        rb_str_add(&call->token_id, id);
        call->token_ends_ms = ends_s * 1000;
    }
    json_decref(claims);
    return good && call->token_ends_ms > rb_clock_wall_ms(call->model->clock);
}

bool access_token_check(struct call *call, bool user_too)
{
    if (call->request->bearer.len == 0) {
        answer_unauthorized(call, "Not authenticated");
        return false;
    }
    RB_CLEANUP_STR struct rb_str subject = RB_STR_INIT;
    if (!take_claims(call, &subject)) {
        answer_unauthorized(call, "Invalid or expired token");
        return false;
    }
    if (call->model->storage_dead) {
        answer_internal(call);
        return false;
    }
    if (map_find(&call->model->denied, rb_str_span(&call->token_id))) {
        answer_unauthorized(call, "Token has been revoked");
        return false;
    }
    if (!user_too)
        return true;
    call->user = user_by_id(call->model, rb_str_span(&subject));
    if (!call->user) {
        answer_unauthorized(call, "User not found");
        return false;
    }
    if (!call->user->active) {
        answer_detail(call, 403, "User is inactive");
        return false;
    }
    return true;
}

static void denied_release(struct rb_map_node *node)
{
    free(RB_CONTAINER(node, struct denied, node.node));
}

void denied_free(struct rb_model *model)
{
    rb_map_clear(&model->denied, denied_release);
}

void handle_logout(struct call *call)
{
    struct denied *denied = call->model->config.flavour == RB_FLAVOUR_MEMORY ? calloc(1, sizeof *denied) : NULL;
    if (!denied) {
        answer_internal(call);
        return;
    }
    snprintf(denied->id, sizeof denied->id, "%s", call->token_id.at);
    map_add(&call->model->denied, &denied->node, rb_span_of(denied->id));
    answer_nothing(call);
}
