#include "relay_test.h"

#include <string.h>

#include "relay.h"

START_TEST(topic_names_are_letters_digits_underscores_and_hyphens)
{
    static const struct {
        const char *name;
        bool valid;
    } rows[] = {
        {"job_setup", true},
        {"a", true},
        {"0", true},
        {"-a", true},
        {"__a__", true},
        {"日本", true},
        {"aé", true},
        {"²", true},
        {"½", true},
        {"Ⅷ", true},
        {"٣", true},
        {"𝔸", true},
        {"Stats", true},
        {"", false},
        {"_", false},
        {"-_-", false},
        {"stats", false},
        {"a b", false},
        {"a/b", false},
        {"..", false},
        {"a.b", false},
        {"a:b", false},
        {"a%2f", false},
        {"a\n", false},
        {"a\xcc\x81", false} /* a combining mark */,
        {"Ⓐ", false},
        {"😀", false},
        {"a\xff", false},
        {"\xc0\xaf", false},
        {"a\xed\xa0\x80", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_msg(rb_topic_name_valid(rb_span_of(rows[i].name)) == rows[i].valid, "%s", rows[i].name);
    ck_assert(!rb_topic_name_valid(RB_SPAN("a\0b")));
}
END_TEST

START_TEST(a_topic_name_is_counted_in_characters_up_to_255)
{
    char name[2 * 256];
    for (size_t i = 0; i < sizeof name; i += 2)
        memcpy(name + i, "é", 2);
    ck_assert(rb_topic_name_valid((struct rb_span){name, 2 * 255}));
    ck_assert(!rb_topic_name_valid((struct rb_span){name, 2 * 256}));
}
END_TEST

/* The figures are Python 3.11's: the count and the sum of all characters for which str.isalnum is true. */
START_TEST(the_letters_and_digits_are_those_of_str_isalnum)
{
    uint32_t count = 0, sum = 0;
    for (uint32_t c = 0x80; c <= 0x10ffff; c++) {
        char text[4];
        size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = len; i-- > 0;)
            text[i] = (char)(i ? 0x80 | (c >> 6 * (len - 1 - i) & 0x3f)
                               : (len == 2   ? 0xc0u
                                  : len == 3 ? 0xe0u
                                             : 0xf0u) |
                                     c >> 6 * (len - 1));
        if (rb_topic_name_valid((struct rb_span){text, len})) {
            count++;
            sum += c;
        }
    }
    for (uint32_t c = 0; c < 0x80; c++)
        if (rb_topic_name_valid((struct rb_span){(char[]){(char)c}, 1})) {
            count++;
            sum += c;
        }
    ck_assert_uint_eq(count, 133547);
    ck_assert_uint_eq(sum, 1117912329);
}
END_TEST

Suite *topic_name_suite(void)
{
    Suite *suite = suite_create("topic_name");
    TCase *tcase = tcase_create("topic_name");
    tcase_add_test(tcase, topic_names_are_letters_digits_underscores_and_hyphens);
    tcase_add_test(tcase, a_topic_name_is_counted_in_characters_up_to_255);
    tcase_add_test(tcase, the_letters_and_digits_are_those_of_str_isalnum);
    suite_add_tcase(suite, tcase);
    return suite;
}
