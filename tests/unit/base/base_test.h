/* The suites of src/base, one a file. */
#ifndef RB_BASE_TEST_H
#define RB_BASE_TEST_H

#include <check.h>

Suite *clock_suite(void);
Suite *json_span_suite(void);
Suite *list_suite(void);
Suite *log_suite(void);
Suite *loop_suite(void);
Suite *map_suite(void);
Suite *random_suite(void);
Suite *share_suite(void);
Suite *status_suite(void);
Suite *str_suite(void);

#endif
