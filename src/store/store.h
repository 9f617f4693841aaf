/* Store: the SQLite database of one state folder, and the only room that knows SQL.
 *
 * One process holds the folder (an exclusive lock on DIR/lock, for life), one connection holds the database. It is
 * opened with locking_mode=EXCLUSIVE before the first WAL access, then journal_mode=WAL, which is asserted (T6), and
 * synchronous=FULL; migrations from schema/ run in one transaction each.
 *
 * Writes go into one open transaction, begun by the first of them and ended by the tick (tick.h). A write that fails
 * marks the transaction: later writes of the tick do nothing, and its commit fails. So a table's functions return
 * nothing for writes; who needs to know hears it from the tick.
 *
 * Tables have one file each (account_rows.h, post_rows.h, …): typed rows and named statements, prepared once. */
#ifndef RB_STORE_H
#define RB_STORE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "str.h"

struct rb_store;

struct rb_store_config {
    const char *dir;   /* the state folder, made (0700) when missing */
    const char *vfs;   /* NULL: SQLite's own; the simulator brings its own and then `dir` is not locked or made */
    int64_t max_bytes; /* of the database file, 0: no bound */
};

/* RB_BUSY: another daemon has the folder. RB_NEWER: written by a newer version. RB_CORRUPT, RB_IO, RB_DENIED, RB_FULL
 * as the words say; the sentence names the file and what to do. Network file systems are refused with RB_INVALID
 * (T6). */
enum rb_status rb_store_open(const struct rb_store_config *config, struct rb_store **ret, struct rb_error *err);
/* Rolls back what is open. */
void rb_store_close(struct rb_store *store);

/* --- for table files --- */

/* Prepares once; the store finalises it at close. Bad SQL is a defect of ours: the caller passes the failure on. */
enum rb_status rb_store_prepare(struct rb_store *store, const char *sql, sqlite3_stmt **ret, struct rb_error *err);
struct rb_statement {
    size_t at; /* RB_ROWS_AT: where the rows keep it */
    const char *sql;
};
#define RB_ROWS_AT(ret, member) offsetof(__typeof__(**(ret)), member)
/* Makes a table's rows, to be freed with free(): a struct of `size` bytes that begins with its `struct rb_store *`, with
 * all its statements prepared. */
enum rb_status rb_store_rows_new(struct rb_store *store, size_t size, const struct rb_statement *statements,
                                 size_t count, void **ret, struct rb_error *err);
#define RB_ROWS_NEW(store, statements, ret, err) \
    rb_store_rows_new(store, sizeof **(ret), statements, sizeof(statements) / sizeof *(statements), (void **)(ret), err)
/* Begins the transaction if none is open, steps the bound statement to its end, resets it and clears its bindings. Does
 * nothing but reset when the transaction is marked as failed. Returns the number of rows changed. */
int rb_store_write(struct rb_store *store, sqlite3_stmt *statement);
/* Steps a reading statement: true for a row. At the end or on failure it is reset (an un-reset SELECT pins the WAL) and
 * false is returned; a failure marks the store (rb_store_failed). */
bool rb_store_row(struct rb_store *store, sqlite3_stmt *statement);
/* Ends reading early. */
void rb_store_row_end(sqlite3_stmt *statement);

/* The first failure since the last end of a transaction, or RB_OK. RB_FULL: disk or bound; RB_IO: fatal (T4). */
enum rb_status rb_store_failed(const struct rb_store *store);
bool rb_store_dirty(const struct rb_store *store); /* a transaction is open */

/* Text and blob columns as spans, valid until the statement is stepped or reset. */
struct rb_span rb_column_text(sqlite3_stmt *statement, int column);
struct rb_span rb_column_blob(sqlite3_stmt *statement, int column);
/* Binds without copying: the span lives until rb_store_write or the end of reading. An empty span with NULL `at` binds
 * NULL. */
void rb_bind_text(sqlite3_stmt *statement, int index, struct rb_span text);
void rb_bind_blob(sqlite3_stmt *statement, int index, struct rb_span blob);

/* The next id of a named sequence, from a block reserved through `counter`: never given twice, also not after a crash
 * or when the table has become empty. A reservation made in a failed transaction is made again. While the transaction
 * is marked and no block is left it is a negative number, unique in this process: nothing is written under it.
 * `sequence` is a literal. */
int64_t rb_store_next_id(struct rb_store *store, const char *sequence);

/* --- for the tick --- */
/* RB_OK also with nothing to commit. RB_FULL, RB_NO_MEMORY, RB_DENIED, RB_CORRUPT (the file, or a defect: see the
 * log): rolled back. RB_IO: rolled back here, the outcome on disk is unknown. The mark is gone in each case. */
enum rb_status rb_store_commit(struct rb_store *store);
void rb_store_rollback(struct rb_store *store);

/* --- housekeeping, called between ticks --- */
/* A PASSIVE checkpoint when the WAL holds more than 1,000 frames; with `truncate`, or when secrets were wiped since
 * the last one (D9), a TRUNCATE one. Finding no room is no failure; an I/O error marks the store, so that the next
 * tick ends with RB_IO. */
void rb_store_checkpoint(struct rb_store *store, bool truncate);
/* Gives up to `pages` free pages back to the file system. */
void rb_store_vacuum(struct rb_store *store, int pages);
/* secure_delete ON for what is wiped in this transaction (D9), FAST again after it; the next rb_store_checkpoint
 * truncates. Begins the transaction; to be called before the wiping writes. */
void rb_store_wipe_securely(struct rb_store *store);

struct rb_store_stats {
    int64_t file_bytes, wal_frames;
    uint64_t commits, failed_commits;
};
void rb_store_stats(struct rb_store *store, struct rb_store_stats *ret);

#endif
