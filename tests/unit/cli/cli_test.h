/* The suites of src/cli, and what they share. */
#ifndef RB_CLI_TEST_H
#define RB_CLI_TEST_H

#include <check.h>

#include "test_folder.h"

Suite *options_suite(void);
Suite *paths_suite(void);
Suite *service_suite(void);
Suite *address_suite(void);
Suite *config_suite(void);
Suite *import_suite(void);
Suite *text_suite(void);

#endif
