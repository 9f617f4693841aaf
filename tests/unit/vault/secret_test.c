#include "vault_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "secret.h"

START_TEST(a_secret_is_a_copy_followed_by_a_nul)
{
    struct rb_secret *secret;
    char bytes[] = "token";
    ck_assert_int_eq(rb_secret_new(rb_span_of(bytes), &secret, NULL), RB_OK);
    bytes[0] = 'X';
    ck_assert(rb_span_is(rb_secret_span(secret), "token"));
    ck_assert_int_eq(rb_secret_span(secret).at[5], 0);
    ck_assert(rb_secret_equal(secret, RB_SPAN("token")));
    ck_assert(!rb_secret_equal(secret, RB_SPAN("tokem")));
    ck_assert(!rb_secret_equal(secret, RB_SPAN("toke")));
    rb_secret_free(secret);
    rb_secret_free(NULL);
    ck_assert_int_eq(rb_secret_new((struct rb_span){0}, &secret, NULL), RB_OK);
    ck_assert_int_eq(rb_secret_span(secret).len, 0);
    ck_assert(rb_secret_equal(secret, (struct rb_span){0}));
    rb_secret_free(secret);
}
END_TEST

START_TEST(a_secret_cannot_be_written_to)
{
    struct rb_secret *secret;
    ck_assert_int_eq(rb_secret_new(RB_SPAN("token"), &secret, NULL), RB_OK);
    signal(SIGSEGV, SIG_DFL);                                     /* a sanitizer would make an exit of it */
    *(volatile char *)(uintptr_t)rb_secret_span(secret).at = 'X'; /* SIGSEGV */
}
END_TEST

START_TEST(the_bytes_of_a_secret_are_gone_when_it_is_freed)
{
    struct rb_secret *secret;
    ck_assert_int_eq(rb_secret_new(RB_SPAN("token"), &secret, NULL), RB_OK);
    const char *at = rb_secret_span(secret).at;
    signal(SIGSEGV, SIG_DFL);
    rb_secret_free(secret);
    char byte = *(const volatile char *)at; /* unmapped: SIGSEGV */
    ck_abort_msg("still there: %c", byte);
}
END_TEST

#if defined(__SANITIZE_ADDRESS__)
#define MLOCK_IS_REAL false
#elif defined(__has_feature)
#define MLOCK_IS_REAL !__has_feature(address_sanitizer)
#else
#define MLOCK_IS_REAL true
#endif

START_TEST(D9_a_failed_mlock_is_an_error_that_names_the_limit)
{
    if (!MLOCK_IS_REAL) {
        fprintf(stderr,
                "SKIPPED D9_a_failed_mlock_is_an_error_that_names_the_limit: the sanitizer's mlock does nothing\n");
        return;
    }
    static const struct rlimit none = {0, 0};
    struct rb_error err = {0};
    struct rb_secret *secret = NULL;
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
    ck_assert_int_eq(rb_secret_new(RB_SPAN("token"), &secret, &err), RB_NO_MEMORY);
    ck_assert_ptr_null(secret);
    ck_assert_ptr_nonnull(strstr(err.text, "memlock"));
}
END_TEST

Suite *secret_suite(void)
{
    Suite *suite = suite_create("secret");
    TCase *tests = tcase_create("secret");
    tcase_add_test(tests, a_secret_is_a_copy_followed_by_a_nul);
    tcase_add_test_raise_signal(tests, a_secret_cannot_be_written_to, SIGSEGV);
    tcase_add_test_raise_signal(tests, the_bytes_of_a_secret_are_gone_when_it_is_freed, SIGSEGV);
    tcase_add_test(tests, D9_a_failed_mlock_is_an_error_that_names_the_limit);
    suite_add_tcase(suite, tests);
    return suite;
}
