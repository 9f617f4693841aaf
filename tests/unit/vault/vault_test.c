#include "vault_test.h"

#include <sodium.h>
#include <stdlib.h>

#include "fake.h"
#include "vault.h"

struct rb_test_folder folder;

void setup_folder(void)
{
    rb_test_folder_make(&folder);
}

void teardown_folder(void)
{
    rb_test_folder_remove(&folder);
}

#define KEY RB_SPAN("0123456789abcdef0123456789abcdef")

static struct rb_fake_random rnd;
static struct rb_vault *vault;
static struct rb_str sealed;

static struct rb_seal seal_of_a_token(void)
{
    return (struct rb_seal){.account_uid = RB_SPAN("aaaaaaaaaaaaaaaa"),
                            .relay_url = "https://relay.example",
                            .username = "ann",
                            .chain_uid = RB_SPAN("cccccccccccccccc"),
                            .generation = 7,
                            .column = "refresh_token"};
}

static void setup(void)
{
    rb_fake_random_init(&rnd, 1);
    sealed = RB_STR_INIT;
    ck_assert_int_eq(rb_vault_open_with_key(KEY, (struct rb_span){0}, &rnd.random, &vault, NULL), RB_OK);
    struct rb_seal seal = seal_of_a_token();
    ck_assert_int_eq(rb_vault_seal(vault, &seal, RB_SPAN("the-token"), &sealed), RB_OK);
}

static void finish(void)
{
    rb_vault_free(vault);
    rb_str_free(&sealed);
}

static void opens(const struct rb_seal *seal)
{
    struct rb_secret *secret = NULL;
    ck_assert_int_eq(rb_vault_unseal(vault, seal, rb_str_span(&sealed), &secret), RB_OK);
    ck_assert(rb_secret_equal(secret, RB_SPAN("the-token")));
    rb_secret_free(secret);
}

static void does_not_open(const struct rb_seal *seal)
{
    struct rb_secret *secret = NULL;
    ck_assert_int_eq(rb_vault_unseal(vault, seal, rb_str_span(&sealed), &secret), RB_CORRUPT);
    ck_assert_ptr_null(secret);
}

START_TEST(a_sealed_value_opens_with_the_same_seal_also_after_a_restart)
{
    struct rb_seal seal = seal_of_a_token();
    opens(&seal);
    ck_assert_ptr_null(memmem(sealed.at, sealed.len, "the-token", 9));
    RB_CLEANUP_STR struct rb_str key = RB_STR_INIT;
    rb_str_add_span(&key, rb_vault_sealed_key(vault));
    rb_vault_free(vault);
    ck_assert_int_eq(rb_vault_open_with_key(KEY, rb_str_span(&key), &rnd.random, &vault, NULL), RB_OK);
    ck_assert_str_eq(rb_vault_source(vault), "memory");
    opens(&seal);
}
END_TEST

START_TEST(R7_a_sealed_value_does_not_open_when_any_field_differs)
{
    struct rb_seal seal = seal_of_a_token();
    seal.account_uid = RB_SPAN("aaaaaaaaaaaaaaab");
    does_not_open(&seal);
    seal = seal_of_a_token();
    seal.relay_url = "https://relay.example.org";
    does_not_open(&seal);
    seal = seal_of_a_token();
    seal.username = "anna";
    does_not_open(&seal);
    seal = seal_of_a_token();
    seal.chain_uid = RB_SPAN("cccccccccccccccd");
    does_not_open(&seal);
    seal.chain_uid = (struct rb_span){0};
    does_not_open(&seal);
    seal = seal_of_a_token();
    seal.generation = 8;
    does_not_open(&seal);
    seal = seal_of_a_token();
    seal.column = "access_token";
    does_not_open(&seal);
    seal = seal_of_a_token();
    opens(&seal);
}
END_TEST

START_TEST(R7_bytes_moved_from_one_field_to_its_neighbour_do_not_open)
{
    struct rb_seal seal = seal_of_a_token();
    seal.relay_url = "https://relay.exampl";
    seal.username = "eann";
    does_not_open(&seal);
    seal = seal_of_a_token();
    seal.account_uid = RB_SPAN("aaaaaaaaaaaaaaaah");
    seal.relay_url = "ttps://relay.example";
    does_not_open(&seal);
    seal = seal_of_a_token();
    seal.username = "annc";
    seal.chain_uid = RB_SPAN("ccccccccccccccc");
    does_not_open(&seal);
}
END_TEST

START_TEST(a_changed_or_cut_value_does_not_open)
{
    struct rb_seal seal = seal_of_a_token();
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.at[i] ^= 0x40;
        does_not_open(&seal);
        sealed.at[i] ^= 0x40;
    }
    size_t whole = sealed.len;
    for (sealed.len = 0; sealed.len < whole; sealed.len++)
        does_not_open(&seal);
    opens(&seal);
}
END_TEST

START_TEST(the_same_value_sealed_twice_looks_different)
{
    struct rb_seal seal = seal_of_a_token();
    RB_CLEANUP_STR struct rb_str again = RB_STR_INIT;
    ck_assert_int_eq(rb_vault_seal(vault, &seal, RB_SPAN("the-token"), &again), RB_OK);
    ck_assert_int_eq(again.len, sealed.len);
    ck_assert(!rb_span_equal(rb_str_span(&again), rb_str_span(&sealed)));
}
END_TEST

START_TEST(another_key_or_another_database_opens_nothing)
{
    struct rb_error err = {0};
    struct rb_vault *other = NULL;
    ck_assert_int_eq(rb_vault_open_with_key(RB_SPAN("0123456789abcdef0123456789abcdeX"), rb_vault_sealed_key(vault),
                                            &rnd.random, &other, &err),
                     RB_DENIED);
    ck_assert_ptr_nonnull(strstr(err.text, "does not open"));
    ck_assert_int_eq(rb_vault_open_with_key(RB_SPAN("short"), (struct rb_span){0}, &rnd.random, &other, &err),
                     RB_INVALID);
    ck_assert_int_eq(rb_vault_open_with_key(KEY, (struct rb_span){0}, &rnd.random, &other, NULL), RB_OK);
    struct rb_secret *secret = NULL;
    struct rb_seal seal = seal_of_a_token();
    ck_assert_int_eq(rb_vault_unseal(other, &seal, rb_str_span(&sealed), &secret), RB_CORRUPT);
    rb_vault_free(other);
}
END_TEST

START_TEST(an_empty_value_can_be_sealed_and_a_huge_one_is_refused)
{
    struct rb_seal seal = seal_of_a_token();
    struct rb_secret *secret = NULL;
    rb_str_reset(&sealed);
    ck_assert_int_eq(rb_vault_seal(vault, &seal, (struct rb_span){0}, &sealed), RB_OK);
    ck_assert_int_eq(rb_vault_unseal(vault, &seal, rb_str_span(&sealed), &secret), RB_OK);
    ck_assert_int_eq(rb_secret_span(secret).len, 0);
    rb_secret_free(secret);
    RB_CLEANUP_FREE char *big = calloc(1, 1024 * 1024);
    ck_assert_ptr_nonnull(big);
    ck_assert_int_eq(rb_vault_seal(vault, &seal, (struct rb_span){big, 1024 * 1024}, &sealed), RB_INVALID);
}
END_TEST

Suite *seal_suite(void)
{
    Suite *suite = suite_create("seal");
    TCase *tests = tcase_create("seal");
    tcase_add_checked_fixture(tests, setup, finish);
    tcase_add_test(tests, a_sealed_value_opens_with_the_same_seal_also_after_a_restart);
    tcase_add_test(tests, R7_a_sealed_value_does_not_open_when_any_field_differs);
    tcase_add_test(tests, R7_bytes_moved_from_one_field_to_its_neighbour_do_not_open);
    tcase_add_test(tests, a_changed_or_cut_value_does_not_open);
    tcase_add_test(tests, the_same_value_sealed_twice_looks_different);
    tcase_add_test(tests, another_key_or_another_database_opens_nothing);
    tcase_add_test(tests, an_empty_value_can_be_sealed_and_a_huge_one_is_refused);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void)
{
    if (sodium_init() < 0)
        return EXIT_FAILURE;
    SRunner *runner = srunner_create(secret_suite());
    srunner_add_suite(runner, seal_suite());
    srunner_add_suite(runner, key_suite());
    srunner_add_suite(runner, disk_suite());
    srunner_add_suite(runner, harden_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
