#include "base_test.h"

#include <string.h>

#include "status.h"

START_TEST(each_status_has_words_of_its_own)
{
    for (int a = RB_OK; a <= RB_UNAVAILABLE; a++) {
        ck_assert_str_ne(rb_status_text((enum rb_status)a), "unknown status");
        for (int b = RB_OK; b < a; b++)
            ck_assert_str_ne(rb_status_text((enum rb_status)a), rb_status_text((enum rb_status)b));
    }
    ck_assert_str_eq(rb_status_text((enum rb_status)99), "unknown status");
}
END_TEST

START_TEST(a_failure_is_one_statement_and_needs_no_error)
{
    struct rb_error err;
    ck_assert_int_eq(rb_fail(&err, RB_DENIED, "line %d: %s", 3, "no"), RB_DENIED);
    ck_assert_int_eq(err.status, RB_DENIED);
    ck_assert_str_eq(err.text, "line 3: no");
    ck_assert_int_eq(rb_fail(NULL, RB_IO, "x"), RB_IO);
}
END_TEST

START_TEST(words_can_be_put_before_an_error)
{
    struct rb_error err;
    rb_fail(&err, RB_IO, "disk");
    rb_fail(&err, RB_IO, "store: %s", err.text);
    ck_assert_str_eq(err.text, "store: disk");
}
END_TEST

START_TEST(a_long_text_is_cut_between_characters)
{
    static const struct {
        const char *character;
        size_t len;
    } rows[] = {{"x", 1}, {"é", 2}, {"€", 3}, {"😀", 4}};
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++)
        for (size_t shift = 0; shift < 4; shift++) {
            char text[4 * RB_ERROR_MAX] = "";
            size_t len = shift;
            memset(text, '-', shift);
            while (len + rows[row].len < sizeof text) {
                memcpy(text + len, rows[row].character, rows[row].len);
                len += rows[row].len;
            }
            text[len] = 0;
            struct rb_error err;
            rb_fail(&err, RB_INVALID, "%s", text);
            size_t whole = (RB_ERROR_MAX - 1 - shift) / rows[row].len * rows[row].len + shift;
            ck_assert_uint_eq(strlen(err.text), whole);
            ck_assert_int_eq(memcmp(err.text, text, whole), 0);
        }
}
END_TEST

Suite *status_suite(void)
{
    Suite *suite = suite_create("status");
    TCase *tcase = tcase_create("status");
    tcase_add_test(tcase, each_status_has_words_of_its_own);
    tcase_add_test(tcase, a_failure_is_one_statement_and_needs_no_error);
    tcase_add_test(tcase, words_can_be_put_before_an_error);
    tcase_add_test(tcase, a_long_text_is_cut_between_characters);
    suite_add_tcase(suite, tcase);
    return suite;
}
