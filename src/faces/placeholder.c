#include "placeholder.h"

#include <sodium.h>
#include <string.h>

#include "account.h"
#include "json.h"

enum { HEX_LEN = 2 * RB_SESSION_ID_BYTES, UUID_LEN = HEX_LEN + 4, CLAIMS_MAX = 2048 };

static const char refresh_tail[] = "local-placeholder-of-relay-broker-worthless-elsewhere";

static enum rb_status add_base64(struct rb_str *out, struct rb_span bytes)
{
    size_t room = sodium_base64_encoded_len(bytes.len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char text[sodium_base64_ENCODED_LEN(CLAIMS_MAX, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    if (room > sizeof text)
        return RB_FULL;
    sodium_bin2base64(text, sizeof text, (const unsigned char *)bytes.at, bytes.len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    rb_str_add(out, text);
    return RB_OK;
}

enum rb_status rb_placeholder_access(const struct rb_session *session, int64_t wall_ms, struct rb_str *out)
{
    const struct rb_account *account = rb_session_account(session);
    char id[HEX_LEN + 1];
    sodium_bin2hex(id, sizeof id, rb_session_id(session), RB_SESSION_ID_BYTES);
    RB_CLEANUP_STR struct rb_str claims = RB_STR_INIT;
    enum rb_status status =
        rb_json_print(&claims, json_pack("{ss ss sI sI ss}", "sub", rb_account_sub(account), "username",
                                         rb_account_username(account), "iat", (json_int_t)(wall_ms / 1000), "exp",
                                         (json_int_t)(wall_ms / 1000 + RB_PLACEHOLDER_S), "jti", id));
    if (status != RB_OK)
        return status;
    add_base64(out, RB_SPAN("{\"alg\":\"none\",\"typ\":\"JWT\"}"));
    rb_str_add(out, ".");
    status = add_base64(out, rb_str_span(&claims));
    rb_str_add(out, ".");
    return status == RB_OK && rb_str_failed(out) ? RB_NO_MEMORY : status;
}

void rb_placeholder_refresh(const struct rb_session *session, struct rb_str *out)
{
    char hex[HEX_LEN + 1];
    sodium_bin2hex(hex, sizeof hex, rb_session_id(session), RB_SESSION_ID_BYTES);
    rb_str_addf(out, "%.8s-%.4s-%.4s-%.4s-%.12s.%s", hex, hex + 8, hex + 12, hex + 16, hex + 20, refresh_tail);
}

static bool id_from_hex(struct rb_span hex, unsigned char ret[RB_SESSION_ID_BYTES])
{
    size_t len = 0;
    return sodium_hex2bin(ret, RB_SESSION_ID_BYTES, hex.at, hex.len, NULL, &len, NULL) == 0 &&
           len == RB_SESSION_ID_BYTES && hex.len == HEX_LEN;
}

bool rb_placeholder_access_id(struct rb_span token, unsigned char ret[RB_SESSION_ID_BYTES])
{
    const char *first = token.len ? memchr(token.at, '.', token.len) : NULL;
    if (!first)
        return false;
    const char *claims = first + 1;
    const char *second = memchr(claims, '.', token.len - (size_t)(claims - token.at));
    char text[CLAIMS_MAX];
    size_t len = 0;
    if (!second || sodium_base642bin((unsigned char *)text, sizeof text, claims, (size_t)(second - claims), NULL, &len,
                                     NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return false;
    RB_CLEANUP_JSON json_t *tree = json_loadb(text, len, 0, NULL);
    const char *id = json_string_value(json_object_get(tree, "jti"));
    return id && id_from_hex(rb_span_of(id), ret);
}

bool rb_placeholder_refresh_shape(struct rb_span token)
{
    if (token.len < UUID_LEN + 2 || token.len > 512 || token.at[UUID_LEN] != '.')
        return false;
    for (size_t i = 0; i < UUID_LEN; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? token.at[i] != '-' : !strchr("0123456789abcdefABCDEF", token.at[i]))
            return false;
    }
    return true;
}

bool rb_placeholder_refresh_id(struct rb_span token, unsigned char ret[RB_SESSION_ID_BYTES])
{
    if (!rb_placeholder_refresh_shape(token))
        return false;
    char hex[HEX_LEN];
    size_t len = 0;
    for (size_t i = 0; i < UUID_LEN; i++)
        if (token.at[i] != '-')
            hex[len++] = token.at[i];
    return id_from_hex((struct rb_span){hex, len}, ret);
}
