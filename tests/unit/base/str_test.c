#include "base_test.h"

#include <stdlib.h>
#include <string.h>

#include "str.h"

START_TEST(strict_integers_are_read_and_bounded)
{
    static const struct {
        const char *text;
        int64_t min, max, value;
        enum rb_status status;
    } rows[] = {
        {"0", 0, 10, 0, RB_OK},
        {"10", 0, 10, 10, RB_OK},
        {"-7", -7, 0, -7, RB_OK},
        {"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX, RB_OK},
        {"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN, RB_OK},
        {"9223372036854775808", INT64_MIN, INT64_MAX, 0, RB_INVALID},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, 0, RB_INVALID},
        {"100000000000000000000", INT64_MIN, INT64_MAX, 0, RB_INVALID},
        {"11", 0, 10, 0, RB_INVALID},
        {"-1", 0, 10, 0, RB_INVALID},
        {"", 0, 10, 0, RB_INVALID},
        {"-", -10, 10, 0, RB_INVALID},
        {"-0", -10, 10, 0, RB_INVALID},
        {"00", 0, 10, 0, RB_INVALID},
        {"01", 0, 10, 0, RB_INVALID},
        {"-01", -10, 10, 0, RB_INVALID},
        {"+1", 0, 10, 0, RB_INVALID},
        {" 1", 0, 10, 0, RB_INVALID},
        {"1 ", 0, 10, 0, RB_INVALID},
        {"1.0", 0, 10, 0, RB_INVALID},
        {"1e0", 0, 10, 0, RB_INVALID},
        {"0x1", 0, 10, 0, RB_INVALID},
        {"--1", -10, 10, 0, RB_INVALID},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        int64_t value = 4711;
        enum rb_status status = rb_span_to_i64(rb_span_of(rows[row].text), rows[row].min, rows[row].max, &value);
        ck_assert_msg(status == rows[row].status, "'%s': %s", rows[row].text, rb_status_text(status));
        ck_assert_int_eq(value, status == RB_OK ? rows[row].value : 4711);
    }
    int64_t value;
    ck_assert_int_eq(rb_span_to_i64((struct rb_span){"12\0", 3}, 0, 99, &value), RB_INVALID);
    ck_assert_int_eq(rb_span_to_i64((struct rb_span){0}, 0, 99, &value), RB_INVALID);
}
END_TEST

START_TEST(foreign_text_is_made_printable)
{
    static const struct {
        const char *text, *printable;
    } rows[] = {
        {"plain é € 😀", "plain é € 😀"},
        {"a\nb\tc\x1b", "a\\x0ab\\x09c\\x1b"},
        {"\x7f", "\\x7f"},
        {"\xc2\x80\xc2\x9f\xc2\xa0", "\\u{0080}\\u{009f}\xc2\xa0"},
        {"\xd8\x9c", "\\u{061c}"},
        {"\xe2\x80\x8e\xe2\x80\x8f", "\\u{200e}\\u{200f}"},
        {"\xe2\x80\xaa\xe2\x80\xae", "\\u{202a}\\u{202e}"},
        {"\xe2\x80\xa8\xe2\x80\xa9", "\\u{2028}\\u{2029}"},
        {"\xe2\x81\xa6\xe2\x81\xa9", "\\u{2066}\\u{2069}"},
        {"\xef\xbb\xbf", "\\u{feff}"},
        {"\x80"
         "a\xc3",
         "\\x80"
         "a\\xc3"},
        {"\xc0\x80", "\\xc0\\x80"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        RB_CLEANUP_STR struct rb_str str = RB_STR_INIT;
        rb_str_add_printable(&str, rb_span_of(rows[row].text));
        rb_str_append(&str, "", 0);
        ck_assert_str_eq(str.at, rows[row].printable);
    }
    RB_CLEANUP_STR struct rb_str str = RB_STR_INIT;
    rb_str_add_printable(&str, (struct rb_span){"a\0b", 3});
    ck_assert_str_eq(str.at, "a\\x00b");
}
END_TEST

START_TEST(every_character_of_unicode_and_nothing_else_is_utf8)
{
    /* All that one, two or three bytes can be, and four that end in 0xbf: counted by the length that is seen. */
    uint32_t seen[5] = {0}, character;
    for (uint32_t word = 0; word <= 0xffffff; word++) {
        char bytes[4] = {(char)(word >> 16), (char)(word >> 8), (char)word, (char)0xbf};
        seen[rb_utf8_next((struct rb_span){bytes, 4}, &character)]++;
    }
    ck_assert_uint_eq(seen[1], 0x80 << 16);
    ck_assert_uint_eq(seen[2], (0x800 - 0x80) << 8);
    ck_assert_uint_eq(seen[3], 0x10000 - 0x800 - 0x800);
    ck_assert_uint_eq(seen[4], 0x100000 / 64);
    static const struct {
        struct rb_span text;
        size_t len;
        uint32_t character;
    } rows[] = {
        {RB_SPAN_INIT("\0"), 1, 0},
        {RB_SPAN_INIT("\x7f"), 1, 0x7f},
        {RB_SPAN_INIT("\xc2\x80"), 2, 0x80},
        {RB_SPAN_INIT("\xe2\x82\xac"), 3, 0x20ac},
        {RB_SPAN_INIT("\xed\x9f\xbf"), 3, 0xd7ff},
        {RB_SPAN_INIT("\xee\x80\x80"), 3, 0xe000},
        {RB_SPAN_INIT("\xf0\x90\x80\x80"), 4, 0x10000},
        {RB_SPAN_INIT("\xf4\x8f\xbf\xbf"), 4, 0x10ffff},
        {RB_SPAN_INIT("\xe2\x82"), 0, 4711},
        {RB_SPAN_INIT("\xed\xa0\x80"), 0, 4711},
        {RB_SPAN_INIT("\xe0\x9f\xbf"), 0, 4711},
        {RB_SPAN_INIT("\xc1\xbf"), 0, 4711},
        {RB_SPAN_INIT("\xbf"), 0, 4711},
        {RB_SPAN_INIT("\xf4\x90\x80\x80"), 0, 4711},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        character = 4711;
        ck_assert_uint_eq(rb_utf8_next(rows[row].text, &character), rows[row].len);
        ck_assert_uint_eq(character, rows[row].character);
    }
}
END_TEST

START_TEST(a_str_grows_and_ends_with_a_nul)
{
    RB_CLEANUP_STR struct rb_str str = RB_STR_INIT;
    for (int i = 0; i < 5000; i++) {
        rb_str_append(&str, "ab\0", 3);
        ck_assert_int_eq(str.at[str.len], 0);
    }
    rb_str_addf(&str, "%s-%d", "x", 12);
    rb_str_add_span(&str, (struct rb_span){0});
    ck_assert_uint_eq(str.len, 15004);
    ck_assert(!rb_str_failed(&str));
    ck_assert_str_eq(str.at + 15000, "x-12");
}
END_TEST

START_TEST(a_failed_str_stays_failed_until_reset)
{
    RB_CLEANUP_STR struct rb_str str = RB_STR_INIT;
    rb_str_add(&str, "kept");
    rb_str_append(&str, "", SIZE_MAX - 2);
    ck_assert(rb_str_failed(&str));
    rb_str_add(&str, "more");
    ck_assert_str_eq(str.at, "kept");
    rb_str_reset(&str);
    ck_assert(!rb_str_failed(&str));
    rb_str_add(&str, "again");
    ck_assert_str_eq(str.at, "again");
    rb_str_append(&str, "", SIZE_MAX - 2);
    ck_assert_ptr_null(rb_str_steal(&str));
    ck_assert(!rb_str_failed(&str));
}
END_TEST

START_TEST(stolen_bytes_belong_to_the_thief)
{
    struct rb_str str = RB_STR_INIT;
    RB_CLEANUP_FREE char *empty = rb_str_steal(&str);
    ck_assert_str_eq(empty, "");
    rb_str_add(&str, "mine");
    RB_CLEANUP_FREE char *text = rb_str_steal(&str);
    ck_assert_str_eq(text, "mine");
    ck_assert_ptr_null(str.at);
    ck_assert_uint_eq(str.len, 0);
}
END_TEST

START_TEST(spans_compare_by_all_their_bytes)
{
    ck_assert(rb_span_is(RB_SPAN("abc"), "abc"));
    ck_assert(!rb_span_is(RB_SPAN("abc"), "abcd"));
    ck_assert(!rb_span_is(RB_SPAN("ab\0"), "ab"));
    ck_assert(rb_span_is(rb_span_of(NULL), ""));
    ck_assert(rb_span_equal((struct rb_span){0}, RB_SPAN("")));
    ck_assert(rb_span_is_nocase(RB_SPAN("Content-Type"), "content-type"));
    ck_assert(!rb_span_is_nocase(RB_SPAN("Content-Typ"), "content-type"));
    ck_assert(!rb_span_is_nocase(RB_SPAN("\xc3\x89"), "\xc3\xa9"));
    RB_CLEANUP_FREE char *copy = rb_span_dup((struct rb_span){"abcd", 2});
    ck_assert_str_eq(copy, "ab");
    ck_assert_ptr_null(rb_span_dup((struct rb_span){"a\0b", 3}));
}
END_TEST

START_TEST(a_hex_digit_has_its_value_and_nothing_else_has_one)
{
    static const char digits[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    int found = 0;
    for (int c = -128; c < 128; c++)
        found += rb_hex_digit((char)c) >= 0;
    ck_assert_int_eq(found, 22);
    for (int i = 0; i < 16; i++) {
        ck_assert_int_eq(rb_hex_digit(digits[i]), i);
        ck_assert_int_eq(rb_hex_digit(upper[i]), i);
    }
}
END_TEST

Suite *str_suite(void)
{
    Suite *suite = suite_create("str");
    TCase *tcase = tcase_create("str");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, strict_integers_are_read_and_bounded);
    tcase_add_test(tcase, a_hex_digit_has_its_value_and_nothing_else_has_one);
    tcase_add_test(tcase, foreign_text_is_made_printable);
    tcase_add_test(tcase, every_character_of_unicode_and_nothing_else_is_utf8);
    tcase_add_test(tcase, a_str_grows_and_ends_with_a_nul);
    tcase_add_test(tcase, a_failed_str_stays_failed_until_reset);
    tcase_add_test(tcase, stolen_bytes_belong_to_the_thief);
    tcase_add_test(tcase, spans_compare_by_all_their_bytes);
    suite_add_tcase(suite, tcase);
    return suite;
}
