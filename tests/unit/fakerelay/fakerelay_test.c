#include "desk.h"

int main(void)
{
    SRunner *runner = srunner_create(tokens_suite());
    srunner_add_suite(runner, limits_suite());
    srunner_add_suite(runner, messages_suite());
    srunner_add_suite(runner, polls_suite());
    srunner_add_suite(runner, topics_suite());
    srunner_add_suite(runner, normal_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
