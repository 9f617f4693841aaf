#include "base_test.h"

#include <sodium.h>

#include "fake.h"

/* From the published description of SplitMix64, low byte first. */
#define SEED_42 "956eeb2f2632d7bd03f166b233e3ef28"

START_TEST(numbers_stay_between_their_ends_and_reach_both)
{
    struct rb_fake_random random;
    rb_fake_random_init(&random, 1);
    bool low = false, high = false;
    for (int i = 0; i < 1000; i++) {
        int64_t number = rb_random_between(&random.random, -2, 3);
        ck_assert_int_ge(number, -2);
        ck_assert_int_le(number, 3);
        low = low || number == -2;
        high = high || number == 3;
    }
    ck_assert(low && high);
    ck_assert_int_eq(rb_random_between(&random.random, 7, 7), 7);
    ck_assert_int_ne(rb_random_between(&random.random, INT64_MIN, INT64_MAX),
                     rb_random_between(&random.random, INT64_MIN, INT64_MAX));
}
END_TEST

static void fill_with_count(struct rb_random *random, void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((unsigned char *)bytes)[i] = (unsigned char)(0xf0 + i);
}

START_TEST(hex_digits_are_the_bytes_in_order)
{
    struct rb_random random = {.fill = fill_with_count};
    char text[2 * 4 + 2];
    text[9] = '!';
    rb_random_hex(&random, 4, text);
    ck_assert_str_eq(text, "f0f1f2f3");
    ck_assert_int_eq(text[9], '!');
    rb_random_hex(&random, 1, text);
    ck_assert_str_eq(text, "f0");
    rb_random_hex(&random, 0, text);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(a_seed_always_gives_the_same_bytes)
{
    struct rb_fake_random random;
    char text[33];
    rb_fake_random_init(&random, 42);
    rb_random_hex(&random.random, 16, text);
    ck_assert_str_eq(text, SEED_42);
    rb_fake_random_init(&random, 43);
    rb_random_hex(&random.random, 16, text);
    ck_assert_str_ne(text, SEED_42);
}
END_TEST

START_TEST(the_kernels_bytes_differ_each_time)
{
    ck_assert_int_ge(sodium_init(), 0);
    struct rb_random random;
    rb_random_init_system(&random);
    char one[33], two[33];
    rb_random_hex(&random, 16, one);
    rb_random_hex(&random, 16, two);
    ck_assert_str_ne(one, two);
}
END_TEST

Suite *random_suite(void)
{
    Suite *suite = suite_create("random");
    TCase *tcase = tcase_create("random");
    tcase_add_test(tcase, numbers_stay_between_their_ends_and_reach_both);
    tcase_add_test(tcase, hex_digits_are_the_bytes_in_order);
    tcase_add_test(tcase, a_seed_always_gives_the_same_bytes);
    tcase_add_test(tcase, the_kernels_bytes_differ_each_time);
    suite_add_tcase(suite, tcase);
    return suite;
}
