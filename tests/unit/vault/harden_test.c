#include "vault_test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harden.h"

START_TEST(D9_a_hardened_process_dumps_nothing_and_logs_no_session_keys)
{
    struct rlimit core;
    struct rb_error err;
    umask(0);
    ck_assert_int_eq(setenv("SSLKEYLOGFILE", "/dev/null", 1), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &core), 0);
    core.rlim_cur = core.rlim_max; /* a limit of 0 from outside would prove nothing */
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &core), 0);
    if (core.rlim_max == 0)
        fprintf(stderr, "the core limit is 0 from outside: that part proves nothing here\n");
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);

    ck_assert_int_eq(rb_harden_process(&err), RB_OK);

    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &core), 0);
    ck_assert_int_eq(core.rlim_cur, 0);
    ck_assert_int_eq(core.rlim_max, 0);
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    ck_assert_ptr_null(getenv("SSLKEYLOGFILE"));
    ck_assert_int_eq(umask(077), 077);
    ck_assert_int_eq(rb_harden_process(&err), RB_OK);
}
END_TEST

START_TEST(D9_a_hardened_process_that_aborts_leaves_no_core)
{
    int pid, status;
    struct rlimit core;
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &core), 0);
    core.rlim_cur = core.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &core), 0);
    ck_assert_int_ge(pid = fork(), 0);
    if (pid == 0) {
        if (rb_harden_process(NULL) != RB_OK)
            _exit(1);
        abort();
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert(!WCOREDUMP(status));
}
END_TEST

Suite *harden_suite(void)
{
    Suite *suite = suite_create("harden");
    TCase *tests = tcase_create("harden");
    tcase_add_test(tests, D9_a_hardened_process_dumps_nothing_and_logs_no_session_keys);
    tcase_add_test(tests, D9_a_hardened_process_that_aborts_leaves_no_core);
    suite_add_tcase(suite, tests);
    return suite;
}
