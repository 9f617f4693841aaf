#include "model_private.h"

#include <math.h>

#include "model_normal.h"

static void loc_of(char ret[96], const char *loc, const char *name)
{
    if (*name)
        snprintf(ret, 96, "%s,\"%s\"]", loc, name);
    else
        snprintf(ret, 96, "%s]", loc);
}

bool field_string(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                  bool required, struct rb_json_value *ret)
{
    char where[96];
    loc_of(where, loc, name);
    struct rb_json_value value;
    if (!rb_json_member(object, name, &value)) {
        if (required)
            problem_add(problems, "missing", where, "Field required", &object, NULL);
        return false;
    }
    if (value.kind == RB_JSON_NULL && !required)
        return false;
    if (value.kind != RB_JSON_STRING) {
        problem_add(problems, "string_type", where, "Input should be a valid string", &value, NULL);
        return false;
    }
    *ret = value;
    return true;
}

/* False: a lone surrogate is in it. */
static bool decode_string(struct rb_json_value value, struct rb_str *out)
{
    struct normal found = {0};
    RB_CLEANUP_STR struct rb_str printed = RB_STR_INIT;
    normal_value(&printed, value, &found);
    if (found.surrogate_value)
        return false;
    if (rb_json_string(value, out) != RB_OK)
        out->failed = true;
    return true;
}

bool field_text(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                bool required, struct rb_str *out)
{
    struct rb_json_value value;
    if (!field_string(problems, object, loc, name, required, &value))
        return false;
    if (decode_string(value, out) && !out->failed)
        return true;
    problems->unprintable = true;
    return false;
}

/* An approximation of Python's isalnum: the blocks of Unicode that hold no letters or digits. */
static bool is_letter_or_digit(uint32_t c)
{
    static const uint32_t others[][2] = {
        {0, '0' - 1},     {'9' + 1, 'A' - 1}, {'Z' + 1, 'a' - 1}, {'z' + 1, 0xa9},     {0xab, 0xb1},
        {0xb4, 0xb4},     {0xb6, 0xb8},       {0xbb, 0xbb},       {0xbf, 0xbf},        {0xd7, 0xd7},
        {0xf7, 0xf7},     {0x300, 0x36f},     {0x1680, 0x1680},   {0x2000, 0x206f},    {0x20a0, 0x20ff},
        {0x2190, 0x245f}, {0x249c, 0x24e9},   {0x2500, 0x2775},   {0x2794, 0x2bff},    {0x3000, 0x3004},
        {0x3008, 0x3020}, {0xd800, 0xf8ff},   {0xfe00, 0xfe6f},   {0xfeff, 0xff0f},    {0xff1a, 0xff20},
        {0xffe0, 0xffff}, {0x1f000, 0x1f0ff}, {0x1f200, 0x1fbef}, {0xe0000, 0x10ffff},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (c >= others[i][0] && c <= others[i][1])
            return false;
    return true;
}

bool topic_name_ok(struct rb_span name, const char **ret_why)
{
    size_t characters = 0;
    bool letters = false, only = true;
    *ret_why = "Value error, Topic name must not be empty";
    if (name.len == 0)
        return false;
    while (name.len) {
        uint32_t c = 0;
        size_t len = rb_utf8_next(name, &c);
        bool letter = len > 0 && is_letter_or_digit(c);
        letters = letters || letter;
        only = only && (letter || c == '_' || c == '-');
        len = len ? len : 1;
        name.at += len;
        name.len -= len;
        characters++;
    }
    *ret_why = "Value error, Topic name must be at most 255 characters";
    if (characters > 255)
        return false;
    *ret_why = "Value error, Topic must contain only alphanumeric characters, hyphens, and underscores";
    return letters && only;
}

bool check_topic(struct problems *problems, struct rb_json_value value, const char *loc, struct rb_str *out)
{
    const char *why = NULL;
    if (!decode_string(value, out) || out->failed) {
        problems->unprintable = true;
        return false;
    }
    if (topic_name_ok(rb_str_span(out), &why))
        return true;
    problem_add(problems, "value_error", loc, why, &value, "{\"error\":{}}");
    return false;
}

bool field_topic(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                 struct rb_str *out)
{
    char where[96];
    loc_of(where, loc, name);
    struct rb_json_value value;
    return field_string(problems, object, loc, name, true, &value) && check_topic(problems, value, where, out);
}

enum lax { LAX_INTEGER, LAX_FRACTION, LAX_NO_TEXT, LAX_NO_NUMBER, LAX_NOT_FINITE };

/* Digits with a sign and perhaps ".0"; beyond 64 bits the nearest that fits. */
static bool text_to_integer(struct rb_span text, int64_t *ret)
{
    size_t i = 0;
    while (text.len && strchr(" \t\r\n", text.at[text.len - 1]))
        text.len--;
    while (i < text.len && strchr(" \t\r\n", text.at[i]))
        i++;
    bool negative = i < text.len && text.at[i] == '-';
    if (i < text.len && (text.at[i] == '-' || text.at[i] == '+'))
        i++;
    int64_t number = 0;
    size_t digits = 0;
    for (; i < text.len && (text.at[i] == '_' || (text.at[i] >= '0' && text.at[i] <= '9')); i++) {
        if (text.at[i] == '_') {
            if (digits == 0 || text.at[i - 1] == '_')
                return false;
            continue;
        }
        digits++;
        number = number > (INT64_MAX - 9) / 10 ? INT64_MAX / 10 : number * 10 + (text.at[i] - '0');
    }
    if (digits == 0 || text.at[i - 1] == '_')
        return false;
    if (i < text.len && text.at[i] == '.')
        for (i++; i < text.len && text.at[i] == '0'; i++)
            ;
    *ret = negative ? -number : number;
    return i == text.len;
}

static bool is_finite(struct rb_span number)
{
    RB_CLEANUP_FREE char *text = rb_span_dup(number);
    return text && isfinite(strtod(text, NULL));
}

static enum lax lax_integer(struct rb_json_value value, int64_t *ret)
{
    if (value.kind == RB_JSON_TRUE || value.kind == RB_JSON_FALSE) {
        *ret = value.kind == RB_JSON_TRUE;
        return LAX_INTEGER;
    }
    if (value.kind == RB_JSON_STRING)
        return text_to_integer((struct rb_span){value.text.at + 1, value.text.len - 2}, ret) ? LAX_INTEGER
                                                                                             : LAX_NO_TEXT;
    if (value.kind != RB_JSON_NUMBER)
        return LAX_NO_NUMBER;
    if (text_to_integer(value.text, ret))
        return LAX_INTEGER;
    if (!is_finite(value.text))
        return LAX_NOT_FINITE;
    return rb_json_integer(value, INT64_MIN, INT64_MAX, ret) == RB_OK ? LAX_INTEGER : LAX_FRACTION;
}

static void check_bounds(struct problems *problems, const char *where, struct rb_json_value value, int64_t number,
                         int64_t least, bool exclusive, int64_t most)
{
    char message[96], context[48];
    if (number > most) {
        snprintf(message, sizeof message, "Input should be less than or equal to %lld", (long long)most);
        snprintf(context, sizeof context, "{\"le\":%lld}", (long long)most);
        problem_add(problems, "less_than_equal", where, message, &value, context);
        return;
    }
    if (exclusive ? number > least : number >= least)
        return;
    snprintf(message, sizeof message, "Input should be greater than %s%lld", exclusive ? "" : "or equal to ",
             (long long)least);
    snprintf(context, sizeof context, "{\"%s\":%lld}", exclusive ? "gt" : "ge", (long long)least);
    problem_add(problems, exclusive ? "greater_than" : "greater_than_equal", where, message, &value, context);
}

void field_integer(struct problems *problems, struct rb_json_value object, const char *name, const char *loc,
                   bool optional, int64_t least, bool exclusive, int64_t most, int64_t *ret)
{
    char where[96];
    loc_of(where, loc, name);
    struct rb_json_value value;
    if (!rb_json_member(object, name, &value) || (optional && value.kind == RB_JSON_NULL))
        return;
    int64_t number = 0;
    switch (lax_integer(value, &number)) {
    case LAX_INTEGER:
        check_bounds(problems, where, value, number, least, exclusive, most);
        *ret = number;
        break;
    case LAX_FRACTION:
        problem_add(problems, "int_from_float", where,
                    "Input should be a valid integer, got a number with a fractional part", &value, NULL);
        break;
    case LAX_NO_TEXT:
        problem_add(problems, "int_parsing", where,
                    "Input should be a valid integer, unable to parse string as an integer", &value, NULL);
        break;
    case LAX_NO_NUMBER:
        problem_add(problems, "int_type", where, "Input should be a valid integer", &value, NULL);
        break;
    case LAX_NOT_FINITE:
        problems->unprintable = true;
        break;
    }
}

void field_bool(struct problems *problems, struct rb_json_value object, const char *name, bool *ret)
{
    char where[96];
    loc_of(where, "[\"body\"", name);
    struct rb_json_value value;
    if (!rb_json_member(object, name, &value))
        return;
    static const char *const yes[] = {"true", "\"true\"", "\"yes\"", "\"on\"", "\"t\"", "\"y\"", "1", "1.0", "\"1\""};
    static const char *const no[] = {"false", "\"false\"", "\"no\"", "\"off\"", "\"f\"", "\"n\"", "0", "0.0", "\"0\""};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (rb_span_is_nocase(value.text, yes[i]) || rb_span_is_nocase(value.text, no[i])) {
            *ret = rb_span_is_nocase(value.text, yes[i]);
            return;
        }
    }
    if (value.kind == RB_JSON_NUMBER || value.kind == RB_JSON_STRING)
        problem_add(problems, "bool_parsing", where, "Input should be a valid boolean, unable to interpret input",
                    &value, NULL);
    else
        problem_add(problems, "bool_type", where, "Input should be a valid boolean", &value, NULL);
}

size_t field_list(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                  size_t most, struct rb_json_value *ret)
{
    char where[96];
    loc_of(where, loc, name);
    if (!rb_json_member(object, name, ret)) {
        problem_add(problems, "missing", where, "Field required", &object, NULL);
        return 0;
    }
    if (ret->kind != RB_JSON_ARRAY) {
        problem_add(problems, "list_type", where, "Input should be a valid list", ret, NULL);
        return 0;
    }
    struct rb_json_walk walk = rb_json_walk(*ret);
    size_t length = 0;
    while (rb_json_next(&walk, NULL, NULL))
        length++;
    if (length > 0 && length <= most)
        return length;
    bool shorter = length == 0;
    char message[96], context[96];
    snprintf(message, sizeof message, "List should have at %s %zu item%s after validation, not %zu",
             shorter ? "least" : "most", shorter ? 1 : most, shorter ? "" : "s", length);
    snprintf(context, sizeof context, "{\"field_type\":\"List\",\"%s_length\":%zu,\"actual_length\":%zu}",
             shorter ? "min" : "max", shorter ? 1 : most, length);
    problem_add(problems, shorter ? "too_short" : "too_long", where, message, ret, context);
    return 0;
}

bool field_strings(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                   struct rb_json_value *ret)
{
    char where[96];
    loc_of(where, loc, name);
    struct rb_json_value value;
    if (!rb_json_member(object, name, &value) || value.kind == RB_JSON_NULL)
        return false;
    if (value.kind != RB_JSON_OBJECT) {
        problem_add(problems, "dict_type", where, "Input should be a valid dictionary", &value, NULL);
        return false;
    }
    struct rb_json_walk walk = rb_json_walk(value);
    struct rb_json_value key, item;
    bool good = true;
    while (rb_json_next(&walk, &key, &item)) {
        if (item.kind == RB_JSON_STRING)
            continue;
        RB_CLEANUP_STR struct rb_str place = RB_STR_INIT;
        struct normal found = {0};
        rb_str_addf(&place, "%s,\"%s\",", loc, name);
        normal_value(&place, key, &found);
        rb_str_add(&place, "]");
        problems->unprintable = problems->unprintable || found.surrogate_value || rb_str_failed(&place);
        if (!rb_str_failed(&place))
            problem_add(problems, "string_type", place.at, "Input should be a valid string", &item, NULL);
        good = false;
    }
    *ret = value;
    return good;
}

void decode_percent(struct rb_str *out, struct rb_span text, bool plus)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c == '%' && text.len - i >= 3 && rb_hex_digit(text.at[i + 1]) >= 0 && rb_hex_digit(text.at[i + 2]) >= 0) {
            c = (char)(rb_hex_digit(text.at[i + 1]) * 16 + rb_hex_digit(text.at[i + 2]));
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        rb_str_append(out, &c, 1);
    }
}

bool form_field(struct rb_span form, const char *name, struct rb_str *out)
{
    bool found = false;
    while (form.len) {
        const char *and = memchr(form.at, '&', form.len);
        struct rb_span pair = {form.at, and? (size_t)(and-form.at) : form.len};
        size_t used = pair.len + (and? 1 : 0);
        form.at += used;
        form.len -= used;
        const char *equals = memchr(pair.at, '=', pair.len);
        struct rb_span key = {pair.at, equals ? (size_t)(equals - pair.at) : pair.len};
        RB_CLEANUP_STR struct rb_str decoded = RB_STR_INIT;
        decode_percent(&decoded, key, true);
        if (!rb_span_is(rb_str_span(&decoded), name))
            continue;
        rb_str_reset(out);
        if (equals)
            decode_percent(out, (struct rb_span){equals + 1, pair.len - key.len - 1}, true);
        found = true;
    }
    return found;
}
