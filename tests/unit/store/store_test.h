/* The suites of src/store, and the store that each test begins with. */
#ifndef RB_STORE_TEST_H
#define RB_STORE_TEST_H

#include <check.h>

#include "store.h"
#include "test_folder.h"

Suite *open_suite(void);
Suite *sequence_suite(void);
Suite *tick_suite(void);
Suite *transaction_suite(void);

extern struct rb_test_folder folder;
extern struct rb_store *store;

/* Makes `folder`; opens nothing. */
void setup_folder(void);
/* Closes `store` if it is open and removes the folder. */
void teardown(void);
/* Opens `store` in the folder; `vfs` and `max_bytes` as in rb_store_config. Must succeed. */
void open_store(const char *vfs, int64_t max_bytes);
void close_store(void);
/* Opening must fail so, with a sentence that holds `words`. */
void open_must_fail(enum rb_status status, const char *words);

sqlite3_stmt *store_statement(const char *sql); /* prepared; must succeed */
/* Writes into the event table, whose rows say little. */
void add_event(int64_t id, size_t bytes);
void delete_events(void);
int64_t number(const char *sql); /* first column of the first row */
void run_sql(const char *sql);   /* as a write of the tick */

/* Whether the test has logged this line, an error of the store. */
bool was_logged(const char *text);

#endif
