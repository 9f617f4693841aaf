/* The scanner of JSON, held against jansson: both must tell valid from invalid alike, and see the same values. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "json_span.h"

enum { JANSSON = JSON_DECODE_ANY | JSON_ALLOW_NUL };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

static bool is_word(struct rb_json_value number)
{
    return memchr("NI", number.text.at[number.text.len > 1 && number.text.at[0] == '-'], 2);
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static void check_number(struct rb_json_value number)
{
    int64_t integer = 0;
    bool whole = rb_json_integer(number, INT64_MIN, INT64_MAX, &integer) == RB_OK;
    if (is_word(number)) {
        FUZZ_CHECK(!whole);
        return;
    }
    json_error_t error;
    json_t *tree = json_loadb(number.text.at, number.text.len, JANSSON, &error);
    FUZZ_CHECK(tree || json_error_code(&error) == json_error_numeric_overflow);
    if (json_is_integer(tree))
        FUZZ_CHECK(whole && integer == json_integer_value(tree));
    else if (tree && whole)
        FUZZ_CHECK((double)integer == json_real_value(tree));
    else if (tree && !whole)
        FUZZ_CHECK(fabs(json_real_value(tree)) >= 0x1p53 || json_real_value(tree) != trunc(json_real_value(tree)) ||
                   memchr(number.text.at, '.', number.text.len) || memchr(number.text.at, '-', number.text.len));
    int64_t small;
    if (rb_json_integer(number, 1, 60, &small) == RB_OK)
        FUZZ_CHECK(whole && small == integer && small >= 1 && small <= 60);
    json_decref(tree);
}

/* Unescaped, quoted and unescaped again it is the same. */
static void check_string(struct rb_json_value string)
{
    RB_CLEANUP_STR struct rb_str plain = RB_STR_INIT, quoted = RB_STR_INIT, again = RB_STR_INIT;
    struct rb_json_value value;
    FUZZ_CHECK(rb_json_string(string, &plain) == RB_OK && plain.len <= string.text.len - 2);
    FUZZ_CHECK(fuzz_is_utf8(rb_str_span(&plain)));
    rb_json_quote(&quoted, rb_str_span(&plain));
    FUZZ_CHECK(rb_json_check(rb_str_span(&quoted), 1, &value, NULL) == RB_JSON_FINE && value.kind == RB_JSON_STRING);
    FUZZ_CHECK(rb_json_string(value, &again) == RB_OK);
    FUZZ_CHECK(rb_span_equal(rb_str_span(&plain), rb_str_span(&again)));
    if (plain.len && !memchr(plain.at, 0, plain.len))
        FUZZ_CHECK(rb_json_is(string, plain.at));
}

/* Walks everything; the numbers in `copy`, which has the same bytes, become a 1 that jansson can read. Returns how deep
 * containers are nested. */
static unsigned check_value(struct rb_json_value value, struct rb_span text, char *copy)
{
    FUZZ_CHECK(value.text.len > 0 && fuzz_inside(value.text, text));
    FUZZ_CHECK(!is_space(value.text.at[0]) && !is_space(value.text.at[value.text.len - 1]));
    struct rb_json_walk walk = rb_json_walk(value);
    struct rb_json_value key, element;
    unsigned deepest = 0;
    if (value.kind == RB_JSON_NUMBER) {
        check_number(value);
        memset(copy + (value.text.at - text.at), ' ', value.text.len);
        copy[value.text.at - text.at] = '1';
    }
    if (value.kind == RB_JSON_STRING)
        check_string(value);
    while (rb_json_next(&walk, &key, &element)) {
        if (value.kind == RB_JSON_OBJECT)
            check_value(key, value.text, copy + (value.text.at - text.at));
        unsigned deep = check_value(element, value.text, copy + (value.text.at - text.at));
        deepest = deep > deepest ? deep : deepest;
    }
    return value.kind == RB_JSON_ARRAY || value.kind == RB_JSON_OBJECT ? deepest + 1 : 0;
}

/* The tree has what a walk finds; of duplicate keys the last. */
static void compare(struct rb_json_value value, json_t *tree)
{
    static const json_type types[] = {
        [RB_JSON_NULL] = JSON_NULL,      [RB_JSON_FALSE] = JSON_FALSE,   [RB_JSON_TRUE] = JSON_TRUE,
        [RB_JSON_NUMBER] = JSON_INTEGER, [RB_JSON_STRING] = JSON_STRING, [RB_JSON_ARRAY] = JSON_ARRAY,
        [RB_JSON_OBJECT] = JSON_OBJECT};
    FUZZ_CHECK(tree && json_typeof(tree) == types[value.kind]);
    struct rb_json_walk walk = rb_json_walk(value);
    struct rb_json_value element;
    size_t count = 0;
    if (value.kind == RB_JSON_STRING) {
        RB_CLEANUP_STR struct rb_str plain = RB_STR_INIT;
        rb_json_string(value, &plain);
        FUZZ_CHECK(
            rb_span_equal(rb_str_span(&plain), (struct rb_span){json_string_value(tree), json_string_length(tree)}));
    }
    if (value.kind == RB_JSON_ARRAY) {
        while (rb_json_next(&walk, NULL, &element))
            compare(element, json_array_get(tree, count++));
        FUZZ_CHECK(count == json_array_size(tree));
    }
    if (value.kind == RB_JSON_OBJECT) {
        const char *name;
        json_t *member;
        json_object_foreach(tree, name, member)
        {
            FUZZ_CHECK(rb_json_member(value, name, &element));
            compare(element, member);
        }
        while (rb_json_next(&walk, NULL, NULL))
            count++;
        FUZZ_CHECK(count >= json_object_size(tree));
    }
}

static void check_fine(struct rb_span text, struct rb_json_value value, unsigned max_depth)
{
    RB_CLEANUP_FREE char *copy = malloc(text.len);
    FUZZ_CHECK(copy);
    memcpy(copy, text.at, text.len);
    FUZZ_CHECK(fuzz_is_utf8(text));
    for (const char *at = text.at; at < text.at + text.len; at++)
        FUZZ_CHECK((at >= value.text.at && at < value.text.at + value.text.len) || is_space(*at));
    unsigned deep = check_value(value, text, copy);
    FUZZ_CHECK(deep <= RB_JSON_LEVELS && deep <= max_depth);
    FUZZ_CHECK(rb_json_levels(value) == deep || rb_json_levels(value) == deep + 1);
    FUZZ_CHECK(deep == 0 || rb_json_check(text, deep - 1, NULL, NULL) == RB_JSON_DEPTH);
    FUZZ_CHECK(rb_json_check(text, deep, NULL, NULL) == RB_JSON_FINE);
    json_error_t error;
    json_t *tree = json_loadb(copy, text.len, JANSSON, &error);
    FUZZ_CHECK(tree || json_error_code(&error) == json_error_null_byte_in_key);
    if (tree)
        compare(value, tree);
    json_decref(tree);
}

/* Any bytes can be quoted; those that are UTF-8 come back as they are. */
static void check_quote(struct rb_span bytes)
{
    RB_CLEANUP_STR struct rb_str quoted = RB_STR_INIT, plain = RB_STR_INIT;
    struct rb_json_value value;
    rb_json_quote(&quoted, bytes);
    FUZZ_CHECK(rb_json_check(rb_str_span(&quoted), 0, &value, NULL) == RB_JSON_FINE);
    FUZZ_CHECK(value.kind == RB_JSON_STRING && value.text.len == quoted.len);
    FUZZ_CHECK(rb_json_string(value, &plain) == RB_OK);
    FUZZ_CHECK(rb_span_equal(rb_str_span(&plain), bytes) == fuzz_is_utf8(bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rb_span text = {(const char *)data, size};
    unsigned max_depth = fuzz_byte(&text);
    if (max_depth == UINT8_MAX)
        max_depth = RB_JSON_LEVELS;
    struct rb_json_value value = {.text = {.len = SIZE_MAX}};
    size_t at = SIZE_MAX;
    enum rb_json_fault fault = rb_json_check(text, max_depth, &value, &at);
    if (fault == RB_JSON_FINE) {
        FUZZ_CHECK(at == SIZE_MAX);
        check_fine(text, value, max_depth);
    } else {
        FUZZ_CHECK(at <= text.len && value.text.len == SIZE_MAX);
        json_t *tree = json_loadb(text.len ? text.at : "", text.len, JANSSON, NULL);
        /* jansson takes a zero byte for the end. */
        FUZZ_CHECK(!tree || fault == RB_JSON_DEPTH || memchr(text.at, 0, text.len));
        json_decref(tree);
    }
    check_quote(text);
    return 0;
}
