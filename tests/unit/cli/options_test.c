#include "cli_test.h"

#include "options.h"

static bool flag;
static const char *text;
static int64_t count;
static struct rb_texts many, operands;
static struct rb_error err;
static bool help;

static const struct rb_option options[] = {
    {"flag", NULL, RB_OPTION_FLAG, &flag, 0, 0, "a flag"},
    {"text", "WORD", RB_OPTION_TEXT, &text, 0, 0, "a word\nof two lines"},
    {"count", "N", RB_OPTION_INTEGER, &count, 1, 9, "a number"},
    {"many", "X", RB_OPTION_TEXTS, &many, 0, 0, "several"},
};
static const struct rb_usage usage = {"try", "ONE [TWO]", "Tries.", options, 4, 1, 2};

static enum rb_status read_all(int argc, const char **argv)
{
    flag = false;
    text = NULL;
    count = 0;
    many.count = 0;
    err = (struct rb_error){0};
    char *copies[16];
    for (int i = 0; i < argc; i++)
        copies[i] = (char *)(uintptr_t)argv[i];
    return rb_options_read(&usage, argc, copies, &operands, &help, &err);
}
#define READ(...) read_all((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})

START_TEST(values_come_after_the_option_or_an_equals_sign)
{
    ck_assert_int_eq(READ("--text", "a", "one", "--count=7", "--flag", "--many", "x", "--many=y=z"), RB_OK);
    ck_assert_str_eq(text, "a");
    ck_assert_int_eq(count, 7);
    ck_assert(flag);
    ck_assert_uint_eq(many.count, 2);
    ck_assert_str_eq(many.at[1], "y=z");
    ck_assert_uint_eq(operands.count, 1);
    ck_assert_str_eq(operands.at[0], "one");
}
END_TEST

START_TEST(after_two_dashes_everything_is_an_argument)
{
    ck_assert_int_eq(READ("--", "--flag", "-"), RB_OK);
    ck_assert(!flag);
    ck_assert_str_eq(operands.at[0], "--flag");
    ck_assert_str_eq(operands.at[1], "-");
}
END_TEST

START_TEST(wrong_usage_is_named)
{
    ck_assert_int_eq(READ("one", "--nothing=secret"), RB_INVALID);
    ck_assert_str_eq(err.text, "\"--nothing\" is no option of try.");
    ck_assert_int_eq(READ("one", "--count", "10"), RB_INVALID);
    ck_assert_str_eq(err.text, "--count takes a whole number from 1 to 9, not \"10\".");
    ck_assert_int_eq(READ("one", "--text"), RB_INVALID);
    ck_assert_str_eq(err.text, "--text needs a value: WORD.");
    ck_assert_int_eq(READ("one", "--flag=yes"), RB_INVALID);
    ck_assert_int_eq(READ("one", "-x"), RB_INVALID);
    ck_assert_int_eq(READ("--flag"), RB_INVALID);
    ck_assert_str_eq(err.text, "An argument is missing: relay-broker try ONE [TWO].");
    ck_assert_int_eq(READ("one", "two", "three"), RB_INVALID);
    ck_assert_str_eq(err.text, "\"three\" is one argument too many for try.");
}
END_TEST

START_TEST(help_wins_over_what_follows)
{
    ck_assert_int_eq(READ("--help", "--nothing"), RB_OK);
    ck_assert(help);
}
END_TEST

START_TEST(help_names_every_option)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    rb_options_help(&usage, &out);
    ck_assert_str_eq(out.at, "Usage: relay-broker try ONE [TWO]\n\nTries.\n\nOptions:\n"
                             "  --flag                    a flag\n"
                             "  --text WORD               a word\n"
                             "                            of two lines\n"
                             "  --count N                 a number\n"
                             "  --many X                  several\n"
                             "  --help                    this text\n");
}
END_TEST

Suite *options_suite(void)
{
    Suite *suite = suite_create("options");
    TCase *tests = tcase_create("options");
    tcase_add_test(tests, values_come_after_the_option_or_an_equals_sign);
    tcase_add_test(tests, after_two_dashes_everything_is_an_argument);
    tcase_add_test(tests, wrong_usage_is_named);
    tcase_add_test(tests, help_wins_over_what_follows);
    tcase_add_test(tests, help_names_every_option);
    suite_add_tcase(suite, tests);
    return suite;
}
