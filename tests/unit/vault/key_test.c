#include "vault_test.h"

#include <ctype.h>
#include <sys/stat.h>
#include <unistd.h>

#include "key.h"
#include "random.h"
#include "vault.h"

static struct rb_random rnd;
static struct rb_vault *vault;
static struct rb_error err;

static const char *keys(void)
{
    return rb_test_path(&folder, "keys");
}

static const char *key_path(void)
{
    return rb_test_path(&folder, "keys/key");
}

static void setup(void)
{
    setup_folder();
    rb_random_init_system(&rnd);
    vault = NULL;
    err = (struct rb_error){0};
}

static void finish(void)
{
    rb_vault_free(vault);
    teardown_folder();
}

static enum rb_status open_vault(const char *credentials, struct rb_span sealed_key)
{
    rb_vault_free(vault);
    vault = NULL;
    return rb_vault_open(keys(), credentials, sealed_key, &rnd, &vault, &err);
}

static void is_refused(enum rb_status status, struct rb_span sealed_key, const char *words)
{
    ck_assert_int_eq(open_vault(NULL, sealed_key), status);
    ck_assert_ptr_null(vault);
    ck_assert_msg(strstr(err.text, words) != NULL, "%s", err.text);
}

/* The sealed key of a vault that was opened once and closed. */
static void first_start(struct rb_str *sealed_key)
{
    ck_assert_int_eq(open_vault(NULL, (struct rb_span){0}), RB_OK);
    rb_str_add_span(sealed_key, rb_vault_sealed_key(vault));
    rb_vault_free(vault);
    vault = NULL;
}

START_TEST(the_first_start_makes_a_private_key_file)
{
    struct stat found;
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT, sealed = RB_STR_INIT;
    first_start(&sealed);
    ck_assert_int_gt(sealed.len, 32);
    ck_assert_int_eq(stat(keys(), &found), 0);
    ck_assert_int_eq(found.st_mode & 0777, 0700);
    ck_assert_int_eq(stat(key_path(), &found), 0);
    ck_assert_int_eq(found.st_mode & 0777, 0600);
    rb_test_read(key_path(), &text);
    ck_assert_int_eq(text.len, 65);
    ck_assert_int_eq(text.at[64], '\n');
    for (int i = 0; i < 64; i++)
        ck_assert(isxdigit((unsigned char)text.at[i]));
    ck_assert_int_eq(open_vault(NULL, rb_str_span(&sealed)), RB_OK);
    ck_assert_str_eq(rb_vault_source(vault), "key file");
    ck_assert(rb_span_equal(rb_vault_sealed_key(vault), rb_str_span(&sealed)));
}
END_TEST

START_TEST(a_new_database_uses_the_key_that_is_there)
{
    RB_CLEANUP_STR struct rb_str before = RB_STR_INIT, after = RB_STR_INIT, sealed = RB_STR_INIT;
    first_start(&sealed);
    rb_test_read(key_path(), &before);
    ck_assert_int_eq(open_vault(NULL, (struct rb_span){0}), RB_OK);
    ck_assert(!rb_span_equal(rb_vault_sealed_key(vault), rb_str_span(&sealed)));
    rb_test_read(key_path(), &after);
    ck_assert(rb_span_equal(rb_str_span(&before), rb_str_span(&after)));
}
END_TEST

START_TEST(D9_a_key_is_never_made_anew_while_a_sealed_key_exists)
{
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    first_start(&sealed);
    ck_assert_int_eq(unlink(key_path()), 0);
    is_refused(RB_DENIED, rb_str_span(&sealed), "missing");
    ck_assert_int_ne(access(key_path(), F_OK), 0);
    ck_assert_int_eq(rmdir(keys()), 0);
    is_refused(RB_DENIED, rb_str_span(&sealed), "missing");
    ck_assert_int_ne(access(keys(), F_OK), 0);
}
END_TEST

START_TEST(another_key_is_refused)
{
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT, text = RB_STR_INIT;
    first_start(&sealed);
    rb_test_read(key_path(), &text);
    text.at[10] = text.at[10] == '0' ? '1' : '0';
    rb_test_write(key_path(), rb_str_span(&text));
    is_refused(RB_DENIED, rb_str_span(&sealed), "does not open");
    ck_assert_ptr_null(strstr(err.text, text.at));
}
END_TEST

START_TEST(a_damaged_sealed_key_is_refused)
{
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    first_start(&sealed);
    for (size_t len = 1; len < sealed.len; len++)
        is_refused(RB_DENIED, (struct rb_span){sealed.at, len}, "does not open");
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.at[i] ^= 1;
        is_refused(RB_DENIED, rb_str_span(&sealed), "does not open");
        sealed.at[i] ^= 1;
    }
}
END_TEST

START_TEST(a_key_file_that_others_may_read_is_refused)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644, 0610};
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    first_start(&sealed);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        ck_assert_int_eq(chmod(key_path(), modes[i]), 0);
        is_refused(RB_DENIED, rb_str_span(&sealed), "open to other users");
        is_refused(RB_DENIED, (struct rb_span){0}, "open to other users");
    }
    ck_assert_int_eq(chmod(key_path(), 0400), 0);
    ck_assert_int_eq(open_vault(NULL, rb_str_span(&sealed)), RB_OK);
}
END_TEST

START_TEST(a_key_file_of_another_user_is_refused)
{
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    first_start(&sealed);
    if (chown(key_path(), 65534, 65534) != 0) {
        fprintf(stderr, "SKIPPED a_key_file_of_another_user_is_refused: not root\n");
        return;
    }
    is_refused(RB_DENIED, rb_str_span(&sealed), "belongs to user 65534");
}
END_TEST

START_TEST(a_key_folder_that_others_may_write_in_is_refused)
{
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    first_start(&sealed);
    ck_assert_int_eq(chmod(keys(), 0770), 0);
    is_refused(RB_DENIED, rb_str_span(&sealed), "may write");
    ck_assert_int_eq(unlink(key_path()), 0);
    is_refused(RB_DENIED, (struct rb_span){0}, "may write");
    ck_assert_int_ne(access(key_path(), F_OK), 0);
}
END_TEST

START_TEST(a_symbolic_link_is_no_key_file)
{
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    first_start(&sealed);
    ck_assert_int_eq(rename(key_path(), rb_test_path(&folder, "elsewhere")), 0);
    ck_assert_int_eq(symlink(rb_test_path(&folder, "elsewhere"), key_path()), 0);
    is_refused(RB_DENIED, rb_str_span(&sealed), "symbolic link");
    ck_assert_int_eq(unlink(key_path()), 0);
    ck_assert_int_eq(symlink(rb_test_path(&folder, "nowhere"), key_path()), 0);
    is_refused(RB_DENIED, (struct rb_span){0}, "symbolic link");
    ck_assert_int_ne(access(rb_test_path(&folder, "nowhere"), F_OK), 0);
    ck_assert_int_eq(unlink(key_path()), 0);
    ck_assert_int_eq(mkfifo(key_path(), 0600), 0);
    is_refused(RB_DENIED, (struct rb_span){0}, "not a file");
}
END_TEST

START_TEST(a_file_without_a_key_is_refused)
{
    static const char *const texts[] = {
        "",
        "\n",
        "abc\n",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1\n",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g\n",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0\n",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n\n",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f ",
    };
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    first_start(&sealed);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        rb_test_write(key_path(), rb_span_of(texts[i]));
        is_refused(RB_CORRUPT, (struct rb_span){0}, "holds no key");
    }
    rb_test_write(key_path(), RB_SPAN("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
    ck_assert_int_eq(open_vault(NULL, (struct rb_span){0}), RB_OK);
}
END_TEST

START_TEST(a_credential_goes_before_the_key_file)
{
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    const char *path = rb_test_path(&folder, "relay-broker.key");
    ck_assert_int_eq(open_vault(folder.path, (struct rb_span){0}), RB_OK);
    ck_assert_str_eq(rb_vault_source(vault), "key file"); /* there is no credential yet */
    rb_test_write(path, RB_SPAN("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"));
    ck_assert_int_eq(open_vault(folder.path, (struct rb_span){0}), RB_OK);
    ck_assert_str_eq(rb_vault_source(vault), "systemd credential");
    rb_str_add_span(&sealed, rb_vault_sealed_key(vault));
    is_refused(RB_DENIED, rb_str_span(&sealed), "does not open");
    ck_assert_int_eq(chmod(path, 0440), 0); /* an ACL for us shows like this */
    ck_assert_int_eq(open_vault(folder.path, rb_str_span(&sealed)), RB_OK);
    ck_assert_int_eq(chmod(path, 0444), 0);
    ck_assert_int_eq(open_vault(folder.path, rb_str_span(&sealed)), RB_DENIED);
}
END_TEST

Suite *key_suite(void)
{
    Suite *suite = suite_create("key");
    TCase *tests = tcase_create("key");
    tcase_add_checked_fixture(tests, setup, finish);
    tcase_add_test(tests, the_first_start_makes_a_private_key_file);
    tcase_add_test(tests, a_new_database_uses_the_key_that_is_there);
    tcase_add_test(tests, D9_a_key_is_never_made_anew_while_a_sealed_key_exists);
    tcase_add_test(tests, another_key_is_refused);
    tcase_add_test(tests, a_damaged_sealed_key_is_refused);
    tcase_add_test(tests, a_key_file_that_others_may_read_is_refused);
    tcase_add_test(tests, a_key_file_of_another_user_is_refused);
    tcase_add_test(tests, a_key_folder_that_others_may_write_in_is_refused);
    tcase_add_test(tests, a_symbolic_link_is_no_key_file);
    tcase_add_test(tests, a_file_without_a_key_is_refused);
    tcase_add_test(tests, a_credential_goes_before_the_key_file);
    suite_add_tcase(suite, tests);
    return suite;
}
