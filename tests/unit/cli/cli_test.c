#include "cli_test.h"

#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>

int main(void)
{
    if (sodium_init() < 0)
        return EXIT_FAILURE;
    umask(077);
    SRunner *runner = srunner_create(options_suite());
    srunner_add_suite(runner, paths_suite());
    srunner_add_suite(runner, address_suite());
    srunner_add_suite(runner, service_suite());
    srunner_add_suite(runner, config_suite());
    srunner_add_suite(runner, import_suite());
    srunner_add_suite(runner, text_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
