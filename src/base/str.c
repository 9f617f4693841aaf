#include "str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wipe.h"

struct rb_span rb_span_of(const char *text)
{
    return (struct rb_span){text, text ? strlen(text) : 0};
}

struct rb_span rb_str_span(const struct rb_str *str)
{
    return (struct rb_span){str->at, str->len};
}

bool rb_span_equal(struct rb_span a, struct rb_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool rb_span_is(struct rb_span span, const char *text)
{
    return rb_span_equal(span, rb_span_of(text));
}

bool rb_span_is_nocase(struct rb_span span, const char *text)
{
    return span.len == strlen(text) && (span.len == 0 || strncasecmp(span.at, text, span.len) == 0);
}

char *rb_span_dup(struct rb_span span)
{
    if (span.len && memchr(span.at, 0, span.len))
        return NULL;
    char *copy = malloc(span.len + 1);
    if (!copy)
        return NULL;
    if (span.len)
        memcpy(copy, span.at, span.len);
    copy[span.len] = 0;
    return copy;
}

enum rb_status rb_span_to_i64(struct rb_span span, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = span.len > 0 && span.at[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == span.len || (span.at[i] == '0' && span.len > 1))
        return RB_INVALID;
    int64_t value = 0;
    for (; i < span.len; i++) {
        if (span.at[i] < '0' || span.at[i] > '9')
            return RB_INVALID;
        int digit = span.at[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return RB_INVALID;
    }
    if (value < min || value > max)
        return RB_INVALID;
    *ret = value;
    return RB_OK;
}

bool rb_str_reserve(struct rb_str *str, size_t more)
{
    if (str->failed)
        return false;
    size_t need;
    if (__builtin_add_overflow(str->len, more, &need) || __builtin_add_overflow(need, (size_t)1, &need)) {
        str->failed = true;
        return false;
    }
    if (need <= str->room)
        return true;
    size_t room = str->room < 64 ? 64 : str->room;
    while (room < need)
        room = room > SIZE_MAX / 2 ? need : room * 2;
    char *at = rb_wipe_realloc(str->at, room);
    if (!at) {
        str->failed = true;
        return false;
    }
    str->at = at;
    str->room = room;
    return true;
}

void rb_str_append(struct rb_str *str, const void *bytes, size_t len)
{
    if (!rb_str_reserve(str, len))
        return;
    if (len)
        memcpy(str->at + str->len, bytes, len);
    str->len += len;
    str->at[str->len] = 0;
}

void rb_str_add(struct rb_str *str, const char *text)
{
    rb_str_append(str, text, strlen(text));
}

void rb_str_add_span(struct rb_str *str, struct rb_span span)
{
    rb_str_append(str, span.at, span.len);
}

void rb_str_addf(struct rb_str *str, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        str->failed = true;
        return;
    }
    if (!rb_str_reserve(str, (size_t)len))
        return;
    va_start(args, format);
    vsnprintf(str->at + str->len, (size_t)len + 1, format, args);
    va_end(args);
    str->len += (size_t)len;
}

int rb_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

size_t rb_utf8_next(struct rb_span text, uint32_t *ret)
{
    const unsigned char *at = (const unsigned char *)text.at;
    if (at[0] < 0x80) {
        *ret = at[0];
        return 1;
    }
    size_t len = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || len > text.len)
        return 0;
    uint32_t character = at[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (at[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (character < least[len] || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
        return 0;
    *ret = character;
    return len;
}

bool rb_drives_terminal(uint32_t character)
{
    return character < 0x20 || (character >= 0x7f && character <= 0x9f) || character == 0x61c ||
           (character >= 0x200e && character <= 0x200f) || (character >= 0x2028 && character <= 0x202e) ||
           (character >= 0x2066 && character <= 0x2069) || character == 0xfeff;
}

void rb_str_add_printable(struct rb_str *str, struct rb_span text)
{
    while (text.len) {
        uint32_t character = 0;
        size_t len = rb_utf8_next(text, &character);
        if (len == 0)
            rb_str_addf(str, "\\x%02x", (unsigned char)text.at[0]);
        else if (rb_drives_terminal(character))
            rb_str_addf(str, character < 0x80 ? "\\x%02x" : "\\u{%04x}", character);
        else
            rb_str_append(str, text.at, len);
        len = len ? len : 1;
        text.at += len;
        text.len -= len;
    }
}

bool rb_span_is_printable(struct rb_span text)
{
    while (text.len) {
        uint32_t character = 0;
        size_t len = rb_utf8_next(text, &character);
        if (len == 0 || rb_drives_terminal(character))
            return false;
        text.at += len;
        text.len -= len;
    }
    return true;
}

bool rb_str_failed(const struct rb_str *str)
{
    return str->failed;
}

void rb_str_reset(struct rb_str *str)
{
    str->len = 0;
    str->failed = false;
    if (str->at)
        str->at[0] = 0;
}

char *rb_str_steal(struct rb_str *str)
{
    if (!str->at)
        rb_str_append(str, "", 0);
    char *at = str->at;
    if (str->failed) {
        free(at);
        at = NULL;
    }
    *str = RB_STR_INIT;
    return at;
}

void rb_str_free(struct rb_str *str)
{
    rb_wipe_free(str->at);
    *str = RB_STR_INIT;
}

void rb_free_pointer(void *pointer_to_pointer)
{
    void **pointer = pointer_to_pointer;
    free(*pointer);
    *pointer = NULL;
}
