#include "claims.h"

#include <stdlib.h>
#include <string.h>

#include "json_span.h"

enum { PART_MAX = 8192, NAME_MAX_BYTES = 255, DEPTH_MAX = 32 };

static int sextet(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool decode(struct rb_span text, struct rb_str *out)
{
    unsigned bits = 0;
    int held = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = sextet(text.at[i]);
        if (value < 0)
            return false;
        bits = (bits << 6 | (unsigned)value) & 0xffffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            rb_str_append(out, (const unsigned char[]){(unsigned char)(bits >> held)}, 1);
        }
    }
    return !rb_str_failed(out);
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
