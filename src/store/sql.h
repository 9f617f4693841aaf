/* Sql: what SQLite's results mean here, and statements that run once. */
#ifndef RB_SQL_H
#define RB_SQL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "status.h"

/* The result code of a call that failed on `db`. RB_FULL: disk, quota or bound. RB_IO: the disk. RB_CORRUPT: the file,
 * or a statement of ours that breaks the schema (a defect). SQLITE_OK, _ROW and _DONE are RB_OK. */
enum rb_status rb_sql_status(sqlite3 *db, int result);
/* The same with a sentence that names the file and what to do. */
enum rb_status rb_sql_fail(sqlite3 *db, int result, const char *path, struct rb_error *err);
/* True for results that no input and no disk can cause: the statement's text belongs into the log. */
bool rb_sql_is_defect(int result);

/* Runs one statement to its end, ignoring its rows. Returns SQLite's result, SQLITE_OK at its end. */
int rb_sql_run(sqlite3 *db, const char *sql);
/* The first column of the first row, as a number (0 without a row); `*ret` is set only on SQLITE_OK. */
int rb_sql_number(sqlite3 *db, const char *sql, int64_t *ret);

#endif
