#include <sys/resource.h>

#include "web.h"

int main(void)
{
    /* 2,000 connections have both of their ends in this process. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 8192) {
        files.rlim_cur = files.rlim_max < 8192 ? files.rlim_max : 8192;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    SRunner *runner = srunner_create(guard_suite());
    srunner_add_suite(runner, router_suite());
    srunner_add_suite(runner, server_suite());
    srunner_add_suite(runner, deadline_suite());
    srunner_add_suite(runner, peer_suite());
    srunner_add_suite(runner, bind_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
