/* The suites of src/vault, one a file. */
#ifndef RB_VAULT_TEST_H
#define RB_VAULT_TEST_H

#include <check.h>

#include "test_folder.h"

Suite *disk_suite(void);
Suite *harden_suite(void);
Suite *key_suite(void);
Suite *secret_suite(void);
Suite *seal_suite(void);

/* A folder for state and keys, made by the fixture of each test. */
extern struct rb_test_folder folder;
void setup_folder(void);
void teardown_folder(void);

#endif
