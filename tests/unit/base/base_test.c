#include "base_test.h"

#include <stdlib.h>

int main(void)
{
    SRunner *runner = srunner_create(clock_suite());
    srunner_add_suite(runner, json_span_suite());
    srunner_add_suite(runner, list_suite());
    srunner_add_suite(runner, log_suite());
    srunner_add_suite(runner, loop_suite());
    srunner_add_suite(runner, map_suite());
    srunner_add_suite(runner, random_suite());
    srunner_add_suite(runner, share_suite());
    srunner_add_suite(runner, status_suite());
    srunner_add_suite(runner, str_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
