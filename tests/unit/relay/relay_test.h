/* The suites of src/relay, one a file. */
#ifndef RB_RELAY_TEST_H
#define RB_RELAY_TEST_H

#include <check.h>

Suite *url_suite(void);
Suite *topic_name_suite(void);
Suite *codec_suite(void);
Suite *call_suite(void);
Suite *wire_suite(void);
Suite *tls_suite(void);

#endif
