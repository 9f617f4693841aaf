#include "model_normal.h"

#include <math.h>

enum { GIVE_UP_LEVEL = 258 }; /* nothing deeper is ever printed */

static uint32_t unit_at(const char *at)
{
    uint32_t unit = 0;
    for (int i = 2; i < 6; i++)
        unit = unit << 4 | (uint32_t)rb_hex_digit(at[i]);
    return unit;
}

static void add_character(struct rb_str *out, uint32_t c)
{
    char bytes[4];
    if (c < 0x20) {
        static const char controls[] = "\b\f\n\r\t", letters[] = "bfnrt";
        const char *control = c ? strchr(controls, (int)c) : NULL;
        if (control)
            rb_str_addf(out, "\\%c", letters[control - controls]);
        else
            rb_str_addf(out, "\\u%04x", c);
        return;
    }
    if (c == '"' || c == '\\')
        rb_str_add(out, "\\");
    size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len; i-- > 0; c >>= 6)
        bytes[i] = (char)(i > 0 ? 0x80 | (c & 0x3f) : lead[len] | c);
    rb_str_append(out, bytes, len);
}

/* The escape at `at` (before `end`); where the text goes on. */
static const char *add_escape(struct rb_str *out, const char *at, const char *end, bool *surrogate)
{
    static const char letters[] = "bfnrt", controls[] = "\b\f\n\r\t";
    if (at[1] != 'u') {
        const char *letter = strchr(letters, at[1]);
        add_character(out, letter ? (unsigned char)controls[letter - letters] : (unsigned char)at[1]);
        return at + 2;
    }
    uint32_t unit = unit_at(at);
    at += 6;
    if (unit < 0xd800 || unit > 0xdfff) {
        add_character(out, unit);
        return at;
    }
    if (unit < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        uint32_t low = unit_at(at);
        if (low >= 0xdc00 && low <= 0xdfff) {
            add_character(out, 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff));
            return at + 6;
        }
    }
    *surrogate = true;
    rb_str_add(out, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    return at;
}

static void add_string(struct rb_str *out, struct rb_span text, bool *surrogate)
{
    const char *at = text.at + 1, *end = text.at + text.len - 1;
    rb_str_add(out, "\"");
    while (at < end) {
        const char *backslash = memchr(at, '\\', (size_t)(end - at));
        const char *run_end = backslash ? backslash : end;
        rb_str_append(out, at, (size_t)(run_end - at));
        at = backslash ? add_escape(out, backslash, end, surrogate) : end;
    }
    rb_str_add(out, "\"");
}

/* The fewest digits that mean the same number, written out when the point is within 16 digits and five zeros. */
static void add_double(struct rb_str *out, double number)
{
    char text[40] = "";
    for (int precision = 0; precision <= 16; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, number);
        if (strtod(text, NULL) == number)
            break;
    }
    char digits[24];
    int count = 0;
    const char *at = text;
    if (*at == '-')
        rb_str_add(out, "-"), at++;
    for (; *at != 'e'; at++)
        if (*at != '.')
            digits[count++] = *at;
    digits[count] = 0;
    int point = (int)strtol(at + 1, NULL, 10) + 1; /* so many digits stand before the point */
    if (point > 16 || point <= -5)
        rb_str_addf(out, "%c%s%se%+d", digits[0], count > 1 ? "." : "", digits + 1, point - 1);
    else if (point <= 0)
        rb_str_addf(out, "0.%.*s%s", -point, "0000", digits);
    else if (point >= count)
        rb_str_addf(out, "%s%.*s.0", digits, point - count, "0000000000000000");
    else
        rb_str_addf(out, "%.*s.%s", point, digits, digits + point);
}

static void add_number(struct rb_str *out, struct rb_span text)
{
    if (memchr(text.at, 'N', text.len) || memchr(text.at, 'I', text.len)) {
        rb_str_add(out, "null");
        return;
    }
    if (!memchr(text.at, '.', text.len) && !memchr(text.at, 'e', text.len) && !memchr(text.at, 'E', text.len)) {
        if (rb_span_is(text, "-0"))
            rb_str_add(out, "0");
        else
            rb_str_add_span(out, text);
        return;
    }
    RB_CLEANUP_FREE char *copy = rb_span_dup(text);
    if (!copy) {
        out->failed = true;
        return;
    }
    double number = strtod(copy, NULL);
    if (isfinite(number))
        add_double(out, number);
    else
        rb_str_add(out, "null");
}

static void add_value(struct rb_str *out, struct rb_json_value value, unsigned level, struct normal *found);

static void add_array(struct rb_str *out, struct rb_json_value array, unsigned level, struct normal *found)
{
    struct rb_json_walk walk = rb_json_walk(array);
    struct rb_json_value item;
    const char *comma = "";
    rb_str_add(out, "[");
    while (rb_json_next(&walk, NULL, &item)) {
        rb_str_add(out, comma);
        add_value(out, item, level + 1, found);
        comma = ",";
    }
    rb_str_add(out, "]");
}

struct member {
    size_t key_at, key_len, order;
    struct rb_json_value value;
    bool dropped;
};

static int by_key(const void *a, const void *b, void *keys)
{
    const struct member *x = *(struct member *const *)a, *y = *(struct member *const *)b;
    size_t shorter = x->key_len < y->key_len ? x->key_len : y->key_len;
    int order = memcmp((char *)keys + x->key_at, (char *)keys + y->key_at, shorter);
    if (order != 0)
        return order;
    if (x->key_len != y->key_len)
        return x->key_len < y->key_len ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* Of members with one key the first gets the last one's value and the others are dropped. */
static bool drop_duplicates(struct member *members, size_t count, char *keys)
{
    struct member **sorted = calloc(count ? count : 1, sizeof(struct member *));
    if (!sorted)
        return false;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &members[i];
    if (count > 1)
        qsort_r(sorted, count, sizeof *sorted, by_key, keys);
    struct member *first = count ? sorted[0] : NULL;
    for (size_t i = 1; i < count; i++) {
        struct member *member = sorted[i];
        if (member->key_len == first->key_len && !memcmp(keys + member->key_at, keys + first->key_at, first->key_len)) {
            first->value = member->value;
            member->dropped = true;
        } else {
            first = member;
        }
    }
    free(sorted);
    return true;
}

static bool read_members(struct rb_json_value object, struct member **ret, size_t *ret_count, struct rb_str *keys,
                         bool *surrogate)
{
    struct rb_json_walk walk = rb_json_walk(object);
    struct rb_json_value key, value;
    struct member *members = NULL;
    size_t count = 0, room = 0;
    while (rb_json_next(&walk, &key, &value)) {
        if (count == room) {
            room = room ? room * 2 : 8;
            struct member *more = reallocarray(members, room, sizeof *members);
            if (!more) {
                free(members);
                return false;
            }
            members = more;
        }
        size_t key_at = keys->len;
        add_string(keys, key.text, surrogate);
        members[count] = (struct member){key_at, keys->len - key_at, count, value, false};
        count++;
    }
    if (keys->failed) {
        free(members);
        return false;
    }
    *ret = members;
    *ret_count = count;
    return true;
}

static void add_object(struct rb_str *out, struct rb_json_value object, unsigned level, struct normal *found)
{
    RB_CLEANUP_STR struct rb_str keys = RB_STR_INIT;
    struct member *members = NULL;
    size_t count = 0;
    if (!read_members(object, &members, &count, &keys, &found->surrogate_key) ||
        !drop_duplicates(members, count, keys.at)) {
        free(members);
        out->failed = true;
        return;
    }
    const char *comma = "";
    rb_str_add(out, "{");
    for (size_t i = 0; i < count; i++) {
        if (members[i].dropped)
            continue;
        rb_str_add(out, comma);
        rb_str_append(out, keys.at + members[i].key_at, members[i].key_len);
        rb_str_add(out, ":");
        add_value(out, members[i].value, level + 1, found);
        comma = ",";
    }
    rb_str_add(out, "}");
    free(members);
}

static void add_value(struct rb_str *out, struct rb_json_value value, unsigned level, struct normal *found)
{
    if (level > found->levels)
        found->levels = level;
    if (level >= GIVE_UP_LEVEL) {
        rb_str_add_span(out, value.text);
        return;
    }
    switch (value.kind) {
    case RB_JSON_NULL:
    case RB_JSON_FALSE:
    case RB_JSON_TRUE:
        rb_str_add_span(out, value.text);
        break;
    case RB_JSON_NUMBER:
        add_number(out, value.text);
        break;
    case RB_JSON_STRING:
        add_string(out, value.text, &found->surrogate_value);
        break;
    case RB_JSON_ARRAY:
        add_array(out, value, level, found);
        break;
    case RB_JSON_OBJECT:
        add_object(out, value, level, found);
        break;
    }
}

void normal_value(struct rb_str *out, struct rb_json_value value, struct normal *found)
{
    add_value(out, value, 1, found);
}

/* Whether containers or an integer's digits are too many; looks at brackets and digits outside of strings only. */
static bool too_much(struct rb_span body)
{
    unsigned levels = 0;
    size_t digits = 0;
    bool string = false, fraction = false;
    for (size_t i = 0; i < body.len; i++) {
        char byte = body.at[i];
        if (string) {
            i += byte == '\\';
            string = byte != '"';
            continue;
        }
        if (byte >= '0' && byte <= '9') {
            digits++;
            continue;
        }
        bool float_sign = byte == '.' || byte == 'e' || byte == 'E' || byte == '+' || byte == '-';
        if (digits > NORMAL_INTEGER_DIGITS && !float_sign && !fraction)
            return true;
        fraction = float_sign && (fraction || digits > 0);
        digits = 0;
        string = byte == '"';
        if (byte == '{' || byte == '[')
            levels++;
        else if ((byte == '}' || byte == ']') && levels > 0)
            levels--;
        if (levels > NORMAL_PARSE_LEVELS)
            return true;
    }
    return digits > NORMAL_INTEGER_DIGITS && !fraction;
}

static enum rb_json_kind kind_of(char first)
{
    switch (first) {
    case '{':
        return RB_JSON_OBJECT;
    case '[':
        return RB_JSON_ARRAY;
    case '"':
        return RB_JSON_STRING;
    default:
        return RB_JSON_NUMBER;
    }
}

static bool is_utf8(struct rb_span text)
{
    while (text.len) {
        uint32_t character;
        size_t len = rb_utf8_next(text, &character);
        if (len == 0)
            return false;
        text.at += len;
        text.len -= len;
    }
    return true;
}

enum rb_json_fault normal_check(struct rb_span body, struct rb_json_value *ret, size_t *ret_at)
{
    if (body.len >= 3 && memcmp(body.at, "\xef\xbb\xbf", 3) == 0) {
        body.at += 3;
        body.len -= 3;
    }
    if (!is_utf8(body))
        return RB_JSON_UTF8;
    if (too_much(body))
        return RB_JSON_DEPTH;
    enum rb_json_fault fault = rb_json_check(body, RB_JSON_LEVELS, ret, ret_at);
    if (fault != RB_JSON_SURROGATE)
        return fault;
    /* Well-formed otherwise: only a string, an object or an array can hold a surrogate. */
    while (strchr(" \t\r\n", body.at[0]))
        body.at++, body.len--;
    while (strchr(" \t\r\n", body.at[body.len - 1]))
        body.len--;
    *ret = (struct rb_json_value){kind_of(body.at[0]), body};
    return RB_JSON_FINE;
}
