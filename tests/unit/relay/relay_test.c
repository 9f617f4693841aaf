#include "relay_test.h"

#include <stdlib.h>

int main(void)
{
    SRunner *runner = srunner_create(url_suite());
    srunner_add_suite(runner, topic_name_suite());
    srunner_add_suite(runner, codec_suite());
    srunner_add_suite(runner, call_suite());
    srunner_add_suite(runner, wire_suite());
    srunner_add_suite(runner, tls_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
