#include "base_test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

static int reader, real_stderr;
static char seen[8192];

static void setup(void)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    real_stderr = dup(STDERR_FILENO);
    ck_assert_int_ge(real_stderr, 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    reader = ends[0];
}

/* Gives standard error back and returns all that was logged. */
static const char *logged(void)
{
    ck_assert_int_ge(dup2(real_stderr, STDERR_FILENO), 0);
    size_t len = 0;
    ssize_t part;
    while ((part = read(reader, seen + len, sizeof seen - 1 - len)) > 0)
        len += (size_t)part;
    seen[len] = 0;
    return seen;
}

static void teardown(void)
{
    close(reader);
    close(real_stderr);
}

START_TEST(a_line_has_its_level_and_room)
{
    rb_log(RB_LOG_WARNING, "relay", "%d of %s", 2, "three");
    ck_assert_str_eq(logged(), "warning relay: 2 of three\n");
}
END_TEST

START_TEST(foreign_text_cannot_forge_a_line_or_drive_a_terminal)
{
    rb_log(RB_LOG_INFO, "relay", "%s",
           "a\nerror vault: b\r\x1b[2J\x7f \xc2\x9b \xe2\x80\xae \xe2\x81\xa6 \xe2\x80\xa8 \xff é");
    ck_assert_str_eq(logged(),
                     "info relay: a\\x0aerror vault: b\\x0d\\x1b[2J\\x7f \\u{009b} \\u{202e} \\u{2066} \\u{2028} "
                     "\\xff é\n");
}
END_TEST

START_TEST(lines_above_the_level_are_dropped)
{
    rb_log(RB_LOG_DEBUG, "base", "one");
    rb_log_set_level(RB_LOG_DEBUG);
    rb_log(RB_LOG_DEBUG, "base", "two");
    rb_log_set_level(RB_LOG_ERROR);
    rb_log(RB_LOG_WARNING, "base", "three");
    rb_log(RB_LOG_ERROR, "base", "four");
    ck_assert_str_eq(logged(), "debug base: two\nerror base: four\n");
}
END_TEST

START_TEST(a_long_text_is_cut_and_still_ends_its_line)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    rb_log(RB_LOG_INFO, "base", "%s", text);
    const char *line = logged();
    size_t len = strlen(line);
    ck_assert_uint_gt(len, 2000);
    ck_assert_uint_lt(len, 2100);
    ck_assert_ptr_eq(strchr(line, '\n'), line + len - 1);
}
END_TEST

Suite *log_suite(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_line_has_its_level_and_room);
    tcase_add_test(tcase, foreign_text_cannot_forge_a_line_or_drive_a_terminal);
    tcase_add_test(tcase, lines_above_the_level_are_dropped);
    tcase_add_test(tcase, a_long_text_is_cut_and_still_ends_its_line);
    suite_add_tcase(suite, tcase);
    return suite;
}
