#include "base_test.h"

#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "json_span.h"

enum { LEVELS = 255, UNTOUCHED = 4711 };

struct fault_row {
    const char *text;
    enum rb_json_fault fault;
    size_t at;
};

static struct rb_json_value checked(const char *text)
{
    struct rb_json_value value;
    size_t at = 0;
    enum rb_json_fault fault = rb_json_check(rb_span_of(text), LEVELS, &value, &at);
    ck_assert_msg(fault == RB_JSON_FINE, "%s: fault %d at %zu", text, (int)fault, at);
    return value;
}

static void check_faults(const struct fault_row *rows, size_t count)
{
    for (const struct fault_row *row = rows; row < rows + count; row++) {
        /* A block of its own, so that a byte read behind the text is seen. */
        size_t len = strlen(row->text), at = UNTOUCHED;
        RB_CLEANUP_FREE char *text = malloc(len ? len : 1);
        ck_assert_ptr_nonnull(text);
        memcpy(text, row->text, len);
        struct rb_json_value value = {.kind = RB_JSON_NULL, .text = {NULL, UNTOUCHED}};
        enum rb_json_fault fault = rb_json_check((struct rb_span){text, len}, LEVELS, &value, &at);
        ck_assert_msg(fault == row->fault, "%s: fault %d, not %d, at %zu", row->text, (int)fault, (int)row->fault, at);
        if (fault)
            ck_assert_msg(at == row->at, "%s: at %zu, not %zu", row->text, at, row->at);
        ck_assert_uint_eq(value.text.len == UNTOUCHED, fault != RB_JSON_FINE);
    }
}

#define CHECK_FAULTS(rows) check_faults((rows), sizeof(rows) / sizeof(rows)[0])

START_TEST(the_relays_grammar_is_accepted)
{
    static const struct {
        const char *text;
        enum rb_json_kind kind;
    } rows[] = {
        {"null", RB_JSON_NULL},
        {"true", RB_JSON_TRUE},
        {"false", RB_JSON_FALSE},
        {"NaN", RB_JSON_NUMBER},
        {"Infinity", RB_JSON_NUMBER},
        {"-Infinity", RB_JSON_NUMBER},
        {"0", RB_JSON_NUMBER},
        {"-0", RB_JSON_NUMBER},
        {"123456789012345678901234567890", RB_JSON_NUMBER},
        {"-10.50e+007", RB_JSON_NUMBER},
        {"0E-0", RB_JSON_NUMBER},
        {"1e5", RB_JSON_NUMBER},
        {"\"\"", RB_JSON_STRING},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uabCD\"", RB_JSON_STRING},
        {"\"\\\\\"", RB_JSON_STRING},
        {"\"\\ud83d\\ude00 \x7f é € 😀\"", RB_JSON_STRING},
        {"[]", RB_JSON_ARRAY},
        {"[ ]", RB_JSON_ARRAY},
        {"[1 , -2\t,\r\n[NaN,[]],{}]", RB_JSON_ARRAY},
        {"{}", RB_JSON_OBJECT},
        {"{\n}", RB_JSON_OBJECT},
        {"{ \"\" : [ ] , \"a\":{\"a\" :1},\"a\":2 }", RB_JSON_OBJECT},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        struct rb_json_value value = checked(rows[row].text);
        ck_assert_msg(value.kind == rows[row].kind, "%s: kind %d", rows[row].text, (int)value.kind);
        ck_assert(rb_span_is(value.text, rows[row].text));
        RB_CLEANUP_STR struct rb_str padded = RB_STR_INIT;
        rb_str_addf(&padded, " \t\r\n%s \t\r\n", rows[row].text);
        ck_assert(rb_span_is(checked(padded.at).text, rows[row].text));
    }
}
END_TEST

START_TEST(what_is_no_json_is_refused_where_it_goes_wrong)
{
    static const struct fault_row rows[] = {
        {"", RB_JSON_SYNTAX, 0},
        {"  ", RB_JSON_SYNTAX, 2},
        {"\xef\xbb\xbf{}", RB_JSON_SYNTAX, 0},
        {"\v1", RB_JSON_SYNTAX, 0},
        {"\xc2\xa0"
         "1",
         RB_JSON_SYNTAX, 0},
        {"nul", RB_JSON_SYNTAX, 0},
        {"nullx", RB_JSON_SYNTAX, 4},
        {"True", RB_JSON_SYNTAX, 0},
        {"nan", RB_JSON_SYNTAX, 0},
        {"-NaN", RB_JSON_SYNTAX, 1},
        {"+Infinity", RB_JSON_SYNTAX, 0},
        {"Infinit", RB_JSON_SYNTAX, 0},
        {"'a'", RB_JSON_SYNTAX, 0},
        {"01", RB_JSON_SYNTAX, 1},
        {"-01", RB_JSON_SYNTAX, 2},
        {"-", RB_JSON_SYNTAX, 1},
        {"+1", RB_JSON_SYNTAX, 0},
        {".5", RB_JSON_SYNTAX, 0},
        {"1.", RB_JSON_SYNTAX, 2},
        {"1.e5", RB_JSON_SYNTAX, 2},
        {"1e", RB_JSON_SYNTAX, 2},
        {"1e+", RB_JSON_SYNTAX, 3},
        {"1e+-2", RB_JSON_SYNTAX, 3},
        {"0x10", RB_JSON_SYNTAX, 1},
        {"1_000", RB_JSON_SYNTAX, 1},
        {"1 2", RB_JSON_SYNTAX, 2},
        {"[] []", RB_JSON_SYNTAX, 3},
        {"{},", RB_JSON_SYNTAX, 2},
        {"]", RB_JSON_SYNTAX, 0},
        {"[", RB_JSON_SYNTAX, 1},
        {"[1", RB_JSON_SYNTAX, 2},
        {"[1,", RB_JSON_SYNTAX, 3},
        {"[1,]", RB_JSON_SYNTAX, 3},
        {"[,1]", RB_JSON_SYNTAX, 1},
        {"[1 2]", RB_JSON_SYNTAX, 3},
        {"[1}", RB_JSON_SYNTAX, 2},
        {"[1:2]", RB_JSON_SYNTAX, 2},
        {"{]", RB_JSON_SYNTAX, 1},
        {"{\"a\":1]", RB_JSON_SYNTAX, 6},
        {"{\"a\"}", RB_JSON_SYNTAX, 4},
        {"{\"a\" 1}", RB_JSON_SYNTAX, 5},
        {"{\"a\":}", RB_JSON_SYNTAX, 5},
        {"{\"a\":1,}", RB_JSON_SYNTAX, 7},
        {"{,}", RB_JSON_SYNTAX, 1},
        {"{a:1}", RB_JSON_SYNTAX, 1},
        {"{1:1}", RB_JSON_SYNTAX, 1},
        {"{\"a\"::1}", RB_JSON_SYNTAX, 5},
        {"[{}}", RB_JSON_SYNTAX, 3},
        {"/* */1", RB_JSON_SYNTAX, 0},
        {"1 //", RB_JSON_SYNTAX, 2},
    };
    CHECK_FAULTS(rows);
    size_t at = UNTOUCHED;
    ck_assert_int_eq(rb_json_check((struct rb_span){0}, LEVELS, NULL, &at), RB_JSON_SYNTAX);
    ck_assert_uint_eq(at, 0);
    ck_assert_int_eq(rb_json_check((struct rb_span){"1\0", 2}, LEVELS, NULL, &at), RB_JSON_SYNTAX);
    ck_assert_uint_eq(at, 1);
    ck_assert_int_eq(rb_json_check(RB_SPAN("["), LEVELS, NULL, NULL), RB_JSON_SYNTAX);
}
END_TEST

START_TEST(bad_strings_are_refused_where_they_go_wrong)
{
    static const struct fault_row rows[] = {
        {"\"", RB_JSON_SYNTAX, 1},
        {"\"abc", RB_JSON_SYNTAX, 4},
        {"\"abcdefghijklmnop", RB_JSON_SYNTAX, 17},
        {"\"\\\"", RB_JSON_SYNTAX, 3},
        {"\"\\", RB_JSON_SYNTAX, 1},
        {"\"a\nb\"", RB_JSON_SYNTAX, 2},
        {"\"abcdefghij\x1fklmnopq\"", RB_JSON_SYNTAX, 11},
        {"\"\t\"", RB_JSON_SYNTAX, 1},
        {"\"\\a\"", RB_JSON_SYNTAX, 1},
        {"\"\\'\"", RB_JSON_SYNTAX, 1},
        {"\"\\x41\"", RB_JSON_SYNTAX, 1},
        {"\"\\U0041\"", RB_JSON_SYNTAX, 1},
        {"\"\\u004\"", RB_JSON_SYNTAX, 1},
        {"\"\\u00g0\"", RB_JSON_SYNTAX, 1},
        {"\"\\u 041\"", RB_JSON_SYNTAX, 1},
        {"\"\\u+041\"", RB_JSON_SYNTAX, 1},
        {"\"\\u0041", RB_JSON_SYNTAX, 7},
        {"\"\\ud83d\\u00\"", RB_JSON_SYNTAX, 7},
    };
    CHECK_FAULTS(rows);
}
END_TEST

START_TEST(invalid_utf8_is_refused_where_it_is)
{
    static const struct fault_row rows[] = {
        {"\"\x80\"", RB_JSON_UTF8, 1},
        {"\"\xbf\"", RB_JSON_UTF8, 1},
        {"\"abcdefgh\xff\"", RB_JSON_UTF8, 9},
        {"\"\xc0\x80\"", RB_JSON_UTF8, 1},
        {"\"\xc1\xbf\"", RB_JSON_UTF8, 1},
        {"\"\xe0\x9f\xbf\"", RB_JSON_UTF8, 1},
        {"\"\xf0\x8f\xbf\xbf\"", RB_JSON_UTF8, 1},
        {"\"\xed\xa0\x80\"", RB_JSON_UTF8, 1},
        {"\"\xed\xbf\xbf\"", RB_JSON_UTF8, 1},
        {"\"\xf4\x90\x80\x80\"", RB_JSON_UTF8, 1},
        {"\"\xf5\x80\x80\x80\"", RB_JSON_UTF8, 1},
        {"\"\xc3\"", RB_JSON_UTF8, 1},
        {"\"\xe2\x82\"", RB_JSON_UTF8, 1},
        {"\"\xf0\x9f\x98\"", RB_JSON_UTF8, 1},
        {"\"\xe2\x82", RB_JSON_UTF8, 1},
        {"{\"\xe2\":1}", RB_JSON_UTF8, 2},
        {"\"\xc2\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"", RB_JSON_FINE, 0},
        {"\"\xef\xbb\xbf\"", RB_JSON_FINE, 0},
    };
    CHECK_FAULTS(rows);
}
END_TEST

START_TEST(O8_lone_surrogates_are_a_fault_of_their_own)
{
    static const struct fault_row rows[] = {
        {"\"\\ud800\"", RB_JSON_SURROGATE, 1},
        {"\"\\uDBFF\"", RB_JSON_SURROGATE, 1},
        {"\"\\udc00\"", RB_JSON_SURROGATE, 1},
        {"\"\\uDFFF\"", RB_JSON_SURROGATE, 1},
        {"\"\\udc00\\ud800\"", RB_JSON_SURROGATE, 1},
        {"\"\\ud800\\ud800\\udc00\"", RB_JSON_SURROGATE, 1},
        {"\"\\ud800\\udc00\\udc00\"", RB_JSON_SURROGATE, 13},
        {"\"\\ud800 \\udc00\"", RB_JSON_SURROGATE, 1},
        {"\"\\ud800\\n\"", RB_JSON_SURROGATE, 1},
        {"{\"a\":[{\"\\ud800\":1}]}", RB_JSON_SURROGATE, 8},
        {"\"\\ud800\\udc00\"", RB_JSON_FINE, 0},
        {"\"\\uDBFF\\uDFFF\\ud7ff\\ue000\"", RB_JSON_FINE, 0},
        {"\"\\\\ud800\"", RB_JSON_FINE, 0},
        /* what breaks the grammar wins */
        {"[\"\\ud800\",]", RB_JSON_SYNTAX, 10},
        {"[\"\\ud800\",\"\xff\"]", RB_JSON_UTF8, 11},
        {"\"\\ud800", RB_JSON_SYNTAX, 7},
    };
    CHECK_FAULTS(rows);
}
END_TEST

/* `levels` containers, objects and arrays in turn from the outermost, around `core`. */
static void add_nest(struct rb_str *str, unsigned levels, const char *core)
{
    for (unsigned i = 0; i < levels; i++)
        rb_str_add(str, i % 3 ? "[" : "{\"k\":");
    rb_str_add(str, core);
    for (unsigned i = levels; i-- > 0;)
        rb_str_add(str, i % 3 ? "]" : "}");
}

START_TEST(O8_255_levels_are_fine_and_256_are_too_deep)
{
    RB_CLEANUP_STR struct rb_str fine = RB_STR_INIT, deep = RB_STR_INIT, broken = RB_STR_INIT;
    add_nest(&fine, 255, "1");
    ck_assert_int_eq(rb_json_check(rb_str_span(&fine), LEVELS, NULL, NULL), RB_JSON_FINE);
    add_nest(&deep, 255, "[]");
    size_t at = 0;
    ck_assert_int_eq(rb_json_check(rb_str_span(&deep), LEVELS, NULL, &at), RB_JSON_DEPTH);
    ck_assert_int_eq(strncmp(deep.at + at, "[]", 2), 0);
    add_nest(&broken, 255, "[[]");
    ck_assert_int_eq(rb_json_check(rb_str_span(&broken), LEVELS, NULL, NULL), RB_JSON_SYNTAX);
    /* side by side is not deep */
    rb_str_reset(&fine);
    rb_str_add(&fine, "[");
    for (int i = 0; i < 3000; i++)
        rb_str_add(&fine, "[{}],");
    rb_str_add(&fine, "0]");
    ck_assert_int_eq(rb_json_check(rb_str_span(&fine), 3, NULL, NULL), RB_JSON_FINE);
    ck_assert_int_eq(rb_json_check(rb_str_span(&fine), 2, NULL, NULL), RB_JSON_DEPTH);
    ck_assert_int_eq(rb_json_check(RB_SPAN("1"), 0, NULL, NULL), RB_JSON_FINE);
    ck_assert_int_eq(rb_json_check(RB_SPAN("[]"), 0, NULL, NULL), RB_JSON_DEPTH);
}
END_TEST

START_TEST(levels_count_the_deepest_value_scalars_too)
{
    static const struct {
        const char *text;
        unsigned levels;
    } rows[] = {{"1", 1},       {"{}", 1},           {"{\"a\":1}", 2},  {"[[]]", 2},
                {"[[], 1]", 2}, {"[[ \"]}\" ]]", 3}, {"{\"[\":[]}", 2}, {"[[[0]],{\"a\":{}}]", 4},
                {" [ ] ", 1}};
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++)
        ck_assert_uint_eq(rb_json_levels(checked(rows[row].text)), rows[row].levels);
}
END_TEST

START_TEST(the_scanners_own_bound_of_levels_holds)
{
    RB_CLEANUP_STR struct rb_str str = RB_STR_INIT;
    add_nest(&str, RB_JSON_LEVELS, "1");
    ck_assert_int_eq(rb_json_check(rb_str_span(&str), RB_JSON_LEVELS, NULL, NULL), RB_JSON_FINE);
    rb_str_reset(&str);
    add_nest(&str, RB_JSON_LEVELS + 1, "1");
    ck_assert_int_eq(rb_json_check(rb_str_span(&str), 5000, NULL, NULL), RB_JSON_DEPTH);
    /* beyond the bound nothing is known of what follows, and what came first is told */
    rb_str_reset(&str);
    for (int i = 0; i < 1000000; i++)
        rb_str_add(&str, "[");
    size_t at;
    ck_assert_int_eq(rb_json_check(rb_str_span(&str), LEVELS, NULL, &at), RB_JSON_DEPTH);
    ck_assert_uint_eq(at, LEVELS);
    str.at[0] = '{';
    ck_assert_int_eq(rb_json_check(rb_str_span(&str), LEVELS, NULL, NULL), RB_JSON_SYNTAX);
}
END_TEST

START_TEST(the_first_of_a_surrogate_and_a_depth_fault_is_told)
{
    size_t at;
    ck_assert_int_eq(rb_json_check(RB_SPAN("[\"\\ud800\",[]]"), 1, NULL, &at), RB_JSON_SURROGATE);
    ck_assert_uint_eq(at, 2);
    ck_assert_int_eq(rb_json_check(RB_SPAN("[[],\"\\ud800\"]"), 1, NULL, &at), RB_JSON_DEPTH);
    ck_assert_uint_eq(at, 1);
}
END_TEST

static const char rich[] =
    "{\"id\": 123456789012345678901234567890, \"a\\u0062\": [1.5e-3, -0, NaN, -Infinity, {}, []],"
    " \"s\": \"x\\\\\\\"\\ud83d\\ude00é€😀\\u0000\", \"o\": {\"k\": null, \"k\": [true, false]}}";

START_TEST(every_prefix_of_a_rich_document_is_refused)
{
    ck_assert_int_eq(checked(rich).kind, RB_JSON_OBJECT);
    for (size_t len = 0; len < sizeof rich - 1; len++) {
        RB_CLEANUP_FREE char *text = malloc(len ? len : 1);
        ck_assert_ptr_nonnull(text);
        memcpy(text, rich, len);
        size_t at = UNTOUCHED;
        enum rb_json_fault fault = rb_json_check((struct rb_span){text, len}, LEVELS, NULL, &at);
        ck_assert_msg(fault == RB_JSON_SYNTAX || fault == RB_JSON_UTF8, "%zu bytes: fault %d", len, (int)fault);
        ck_assert_uint_le(at, len);
    }
}
END_TEST

static void walk_all(struct rb_json_value value, struct rb_span whole)
{
    ck_assert(value.text.at >= whole.at && value.text.at + value.text.len <= whole.at + whole.len);
    struct rb_json_value again;
    ck_assert_int_eq(rb_json_check(value.text, RB_JSON_LEVELS, &again, NULL), RB_JSON_FINE);
    ck_assert_int_eq(again.kind, value.kind);
    ck_assert(rb_span_equal(again.text, value.text));
    struct rb_json_walk walk = rb_json_walk(value);
    struct rb_json_value key, item;
    while (rb_json_next(&walk, &key, &item)) {
        if (value.kind == RB_JSON_OBJECT)
            walk_all(key, whole);
        walk_all(item, whole);
    }
    RB_CLEANUP_STR struct rb_str str = RB_STR_INIT;
    ck_assert_int_eq(rb_json_string(value, &str), value.kind == RB_JSON_STRING ? RB_OK : RB_INVALID);
}

START_TEST(changed_bytes_are_refused_or_walk_within_the_text)
{
    struct rb_fake_random random;
    rb_fake_random_init(&random, (uint64_t)_i);
    static const char alphabet[] = "{}[]\",:\\u0d8ce1.-+ \n\xc3\xa9\xffNIntf";
    int fine = 0;
    for (int round = 0; round < 20000; round++) {
        size_t len = sizeof rich - 1;
        RB_CLEANUP_FREE char *text = malloc(len);
        ck_assert_ptr_nonnull(text);
        memcpy(text, rich, len);
        for (int64_t changes = rb_random_between(&random.random, 1, 3); changes > 0; changes--)
            text[rb_random_between(&random.random, 0, (int64_t)len - 1)] =
                alphabet[rb_random_between(&random.random, 0, (int64_t)sizeof alphabet - 2)];
        struct rb_json_value value;
        struct rb_span whole = {text, len};
        if (rb_json_check(whole, LEVELS, &value, NULL) != RB_JSON_FINE)
            continue;
        fine++;
        walk_all(value, whole);
    }
    ck_assert_int_gt(fine, 100);
}
END_TEST

START_TEST(members_are_walked_in_their_order_with_their_own_bytes)
{
    struct rb_json_value object =
        checked(" { \"b\" : 123456789012345678901234567890 ,\"a\":[ 1, {\"]\":\"}\\\"\"} ]\n,\"b\":\"\"} ");
    static const char *const want[] = {
        "\"b\"", "123456789012345678901234567890", "\"a\"", "[ 1, {\"]\":\"}\\\"\"} ]", "\"b\"", "\"\""};
    struct rb_json_walk walk = rb_json_walk(object);
    struct rb_json_value key, value;
    size_t seen = 0;
    while (rb_json_next(&walk, &key, &value)) {
        ck_assert_uint_lt(seen, 6);
        ck_assert(rb_span_is(key.text, want[seen++]));
        ck_assert(rb_span_is(value.text, want[seen++]));
    }
    ck_assert_uint_eq(seen, 6);
    ck_assert(!rb_json_next(&walk, &key, &value));
}
END_TEST

START_TEST(elements_are_walked_in_their_order)
{
    struct rb_json_walk walk = rb_json_walk(checked("[1,\"two\" , [3] ,{\"4\":4},null,true,-1.5e3]"));
    static const char *const want[] = {"1", "\"two\"", "[3]", "{\"4\":4}", "null", "true", "-1.5e3"};
    struct rb_json_value key = {.kind = RB_JSON_TRUE}, value;
    size_t seen = 0;
    while (rb_json_next(&walk, seen % 2 ? &key : NULL, &value)) {
        ck_assert_uint_lt(seen, 7);
        ck_assert(rb_span_is(value.text, want[seen++]));
    }
    ck_assert_uint_eq(seen, 7);
    ck_assert_int_eq(key.kind, RB_JSON_TRUE);
    static const char *const empty[] = {"[]", "[ \n]", "{}", "{ }", "1", "\"[1]\"", "null"};
    for (size_t row = 0; row < sizeof empty / sizeof empty[0]; row++) {
        walk = rb_json_walk(checked(empty[row]));
        ck_assert(!rb_json_next(&walk, NULL, NULL));
    }
}
END_TEST

START_TEST(a_member_is_found_by_its_unescaped_name_and_the_last_wins)
{
    struct rb_json_value object =
        checked("{\"a\":1,\"b\":2,\"\\u0061\":3,\"ab\":4,\"\":5,\"\\ud83d\\ude00\":6,\"a\\u0000\":7,"
                "\"in\":{\"c\":8},\"q\\\"\\/\":9}");
    static const struct {
        const char *name, *value;
    } rows[] = {{"a", "3"}, {"b", "2"}, {"ab", "4"}, {"", "5"}, {"😀", "6"}, {"in", "{\"c\":8}"}, {"q\"/", "9"}};
    struct rb_json_value value;
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        ck_assert(rb_json_member(object, rows[row].name, &value));
        ck_assert(rb_span_is(value.text, rows[row].value));
    }
    ck_assert(!rb_json_member(object, "c", &value));
    ck_assert(!rb_json_member(object, "A", &value));
    ck_assert(!rb_json_member(checked("[\"a\",1]"), "a", &value));
    ck_assert(!rb_json_member(checked("\"a\""), "a", &value));
}
END_TEST

START_TEST(a_string_is_unescaped)
{
    static const struct {
        const char *text;
        struct rb_span want;
    } rows[] = {
        {"\"\"", RB_SPAN_INIT("")},
        {"\"plain é\"", RB_SPAN_INIT("plain é")},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", RB_SPAN_INIT("\"\\/\b\f\n\r\t")},
        {"\"a\\u0000b\"", RB_SPAN_INIT("a\0b")},
        {"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"", RB_SPAN_INIT("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf")},
        {"\"\\ud800\\udc00\\uDBFF\\uDFFF\"", RB_SPAN_INIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
        {"\"\\\\u0041\\\\\"", RB_SPAN_INIT("\\u0041\\")},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        RB_CLEANUP_STR struct rb_str str = RB_STR_INIT;
        struct rb_json_value value = checked(rows[row].text);
        ck_assert_int_eq(rb_json_string(value, &str), RB_OK);
        ck_assert(rb_span_equal(rb_str_span(&str), rows[row].want));
        if (!rows[row].want.len || !memchr(rows[row].want.at, 0, rows[row].want.len))
            ck_assert(rb_json_is(value, rows[row].want.at));
    }
    RB_CLEANUP_STR struct rb_str str = RB_STR_INIT;
    ck_assert_int_eq(rb_json_string(checked("1"), &str), RB_INVALID);
    rb_str_add(&str, "x");
    rb_str_append(&str, "", SIZE_MAX);
    ck_assert_int_eq(rb_json_string(checked("\"a\""), &str), RB_NO_MEMORY);
}
END_TEST

START_TEST(a_value_is_a_text_only_if_all_characters_are)
{
    ck_assert(rb_json_is(checked("\"abc\""), "abc"));
    ck_assert(rb_json_is(checked("\"a\\u0062c\""), "abc"));
    ck_assert(!rb_json_is(checked("\"a\\u0062c\""), "ab"));
    ck_assert(!rb_json_is(checked("\"a\\u0062c\""), "abcd"));
    ck_assert(!rb_json_is(checked("\"a\\u0062c\""), "aXc"));
    ck_assert(!rb_json_is(checked("\"abc\\u0000\""), "abc"));
    ck_assert(!rb_json_is(checked("\"\\u00e9\""), "\xc3"));
    ck_assert(!rb_json_is(checked("null"), "null"));
}
END_TEST

START_TEST(integers_and_floats_without_a_fraction_are_read)
{
    static const struct {
        const char *text;
        enum rb_status status;
        int64_t value;
    } rows[] = {
        {"0", RB_OK, 0},
        {"-0", RB_OK, 0},
        {"-0.0", RB_OK, 0},
        {"30", RB_OK, 30},
        {"30.0", RB_OK, 30},
        {"-30.000", RB_OK, -30},
        {"3e1", RB_OK, 30},
        {"0.3E+2", RB_OK, 30},
        {"3000e-2", RB_OK, 30},
        {"0.0e999999999999999999999", RB_OK, 0},
        {"0e-999999999999999999999", RB_OK, 0},
        {"9223372036854775807", RB_OK, INT64_MAX},
        {"-9223372036854775808", RB_OK, INT64_MIN},
        {"922337203685477580.7e1", RB_OK, INT64_MAX},
        {"9223372036854775808", RB_INVALID, 0},
        {"-9223372036854775809", RB_INVALID, 0},
        {"123456789012345678901234567890", RB_INVALID, 0},
        {"1e19", RB_INVALID, 0},
        {"1e999999999999999999999", RB_INVALID, 0},
        {"1e-999999999999999999999", RB_INVALID, 0},
        {"30.5", RB_INVALID, 0},
        {"0.30e1", RB_OK, 3},
        {"0.35e1", RB_INVALID, 0},
        {"3e-1", RB_INVALID, 0},
        {"30.0000000000000000000000001", RB_INVALID, 0},
        {"NaN", RB_INVALID, 0},
        {"Infinity", RB_INVALID, 0},
        {"-Infinity", RB_INVALID, 0},
        {"\"30\"", RB_INVALID, 0},
        {"\"\"", RB_INVALID, 0},
        {"true", RB_INVALID, 0},
        {"null", RB_INVALID, 0},
        {"[30]", RB_INVALID, 0},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        int64_t value = UNTOUCHED;
        enum rb_status status = rb_json_integer(checked(rows[row].text), INT64_MIN, INT64_MAX, &value);
        ck_assert_msg(status == rows[row].status, "%s: %s", rows[row].text, rb_status_text(status));
        ck_assert_int_eq(value, status == RB_OK ? rows[row].value : UNTOUCHED);
    }
    int64_t value = UNTOUCHED;
    ck_assert_int_eq(rb_json_integer(checked("61"), 1, 60, &value), RB_INVALID);
    ck_assert_int_eq(rb_json_integer(checked("0"), 1, 60, &value), RB_INVALID);
    ck_assert_int_eq(rb_json_integer(checked("60.0"), 1, 60, &value), RB_OK);
    ck_assert_int_eq(value, 60);
}
END_TEST

START_TEST(a_quoted_text_is_a_string_and_reads_back_the_same)
{
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT, quoted = RB_STR_INIT, back = RB_STR_INIT;
    for (int byte = 0; byte < 0x80; byte++)
        rb_str_append(&text, &(char){(char)byte}, 1);
    rb_str_add(&text, "é€😀\xf4\x8f\xbf\xbf");
    rb_json_quote(&quoted, rb_str_span(&text));
    ck_assert_int_eq(rb_json_string(checked(quoted.at), &back), RB_OK);
    ck_assert(rb_span_equal(rb_str_span(&back), rb_str_span(&text)));
}
END_TEST

START_TEST(a_quoted_text_is_escaped_no_more_than_needed)
{
    static const struct {
        struct rb_span text;
        const char *quoted;
    } rows[] = {
        {{NULL, 0}, "\"\""},
        {RB_SPAN_INIT("a/b é\x7f"), "\"a/b é\x7f\""},
        {RB_SPAN_INIT("\"\\\b\f\n\r\t"), "\"\\\"\\\\\\b\\f\\n\\r\\t\""},
        {RB_SPAN_INIT("\0\x1f"), "\"\\u0000\\u001f\""},
        {RB_SPAN_INIT("a\xff"
                      "b\xc3"),
         "\"a\xef\xbf\xbd"
         "b\xef\xbf\xbd\""},
        {RB_SPAN_INIT("é\xc3\n"), "\"é\xef\xbf\xbd\\n\""},
        {RB_SPAN_INIT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        RB_CLEANUP_STR struct rb_str str = RB_STR_INIT;
        rb_json_quote(&str, rows[row].text);
        ck_assert_str_eq(str.at, rows[row].quoted);
    }
}
END_TEST

Suite *json_span_suite(void)
{
    Suite *suite = suite_create("json_span");
    TCase *tcase = tcase_create("json_span");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_relays_grammar_is_accepted);
    tcase_add_test(tcase, what_is_no_json_is_refused_where_it_goes_wrong);
    tcase_add_test(tcase, bad_strings_are_refused_where_they_go_wrong);
    tcase_add_test(tcase, invalid_utf8_is_refused_where_it_is);
    tcase_add_test(tcase, O8_lone_surrogates_are_a_fault_of_their_own);
    tcase_add_test(tcase, O8_255_levels_are_fine_and_256_are_too_deep);
    tcase_add_test(tcase, levels_count_the_deepest_value_scalars_too);
    tcase_add_test(tcase, the_scanners_own_bound_of_levels_holds);
    tcase_add_test(tcase, the_first_of_a_surrogate_and_a_depth_fault_is_told);
    tcase_add_test(tcase, every_prefix_of_a_rich_document_is_refused);
    tcase_add_loop_test(tcase, changed_bytes_are_refused_or_walk_within_the_text, 1, 4);
    tcase_add_test(tcase, members_are_walked_in_their_order_with_their_own_bytes);
    tcase_add_test(tcase, elements_are_walked_in_their_order);
    tcase_add_test(tcase, a_member_is_found_by_its_unescaped_name_and_the_last_wins);
    tcase_add_test(tcase, a_string_is_unescaped);
    tcase_add_test(tcase, a_value_is_a_text_only_if_all_characters_are);
    tcase_add_test(tcase, integers_and_floats_without_a_fraction_are_read);
    tcase_add_test(tcase, a_quoted_text_is_a_string_and_reads_back_the_same);
    tcase_add_test(tcase, a_quoted_text_is_escaped_no_more_than_needed);
    suite_add_tcase(suite, tcase);
    return suite;
}
