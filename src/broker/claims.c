#include "claims.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "json_span.h"

enum { PART_MAX = 8192, NAME_MAX_BYTES = 255, DEPTH_MAX = 32 };

static bool decode(struct rb_span text, struct rb_str *out)
{
    if (!rb_str_reserve(out, text.len) ||
        sodium_base642bin((unsigned char *)out->at, out->room, text.at, text.len, NULL, &out->len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return false;
    out->at[out->len] = 0;
    return true;
}

bool rb_claims_is_name(struct rb_span text)
{
    return text.len > 0 && text.len <= NAME_MAX_BYTES && rb_span_is_printable(text);
}

char *rb_claims_name(struct rb_span text)
{
    return rb_claims_is_name(text) ? rb_span_dup(text) : NULL;
}

static char *member(struct rb_json_value object, const char *name)
{
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
    struct rb_json_value value;
    if (!rb_json_member(object, name, &value))
        return NULL;
    if (value.kind == RB_JSON_NUMBER)
        return rb_claims_name(value.text);
    return rb_json_string(value, &text) == RB_OK ? rb_claims_name(rb_str_span(&text)) : NULL;
}

void rb_claims_read(struct rb_span access_token, struct rb_claims *ret)
{
    *ret = (struct rb_claims){0};
    RB_CLEANUP_STR struct rb_str json = RB_STR_INIT;
    const char *end = access_token.at + access_token.len;
    const char *first = access_token.len ? memchr(access_token.at, '.', access_token.len) : NULL;
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (!second || second - first - 1 > PART_MAX)
        return;
    struct rb_json_value claims;
    if (!decode((struct rb_span){first + 1, (size_t)(second - first - 1)}, &json) ||
        rb_json_check(rb_str_span(&json), DEPTH_MAX, &claims, NULL) != RB_JSON_FINE)
        return;
    ret->sub = member(claims, "sub");
    ret->username = member(claims, "username");
}

void rb_claims_free(struct rb_claims *claims)
{
    free(claims->sub);
    free(claims->username);
    *claims = (struct rb_claims){0};
}
