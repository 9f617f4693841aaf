#include "store_test.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_vfs.h"
#include "log.h"
#include "vault_rows.h"

static void setup(void)
{
    setup_folder();
    open_store(NULL, 0);
}

static int64_t events(void)
{
    return number("SELECT count(*) FROM event");
}

START_TEST(the_first_write_begins_the_transaction_and_closing_drops_it)
{
    ck_assert(!rb_store_dirty(store));
    ck_assert_int_eq(events(), 0);
    ck_assert(!rb_store_dirty(store));
    add_event(1, 10);
    ck_assert(rb_store_dirty(store));
    close_store();
    open_store(NULL, 0);
    ck_assert_int_eq(events(), 0);
}
END_TEST

START_TEST(a_write_says_how_many_rows_it_changed)
{
    sqlite3_stmt *statement;
    add_event(1, 1);
    add_event(2, 1);
    ck_assert_int_eq(rb_store_prepare(store, "DELETE FROM event WHERE id <= ?1", &statement, NULL), RB_OK);
    sqlite3_bind_int64(statement, 1, 2);
    ck_assert_int_eq(rb_store_write(store, statement), 2);
    add_event(1, 1);
    ck_assert_int_eq(rb_store_write(store, statement), 0); /* its binding is gone */
}
END_TEST

START_TEST(a_full_database_fails_the_transaction_and_later_ones_work)
{
    close_store();
    open_store(NULL, 400 * 1024);
    add_event(1, 100);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    for (int64_t id = 2; id < 100; id++)
        add_event(id, 10000);
    ck_assert_int_eq(rb_store_failed(store), RB_FULL);
    add_event(1000, 1);
    ck_assert_int_eq(rb_store_commit(store), RB_FULL);
    ck_assert_int_eq(rb_store_failed(store), RB_OK);
    ck_assert_int_eq(events(), 1);
    add_event(2, 100);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    ck_assert_int_eq(events(), 2);
    struct rb_store_stats stats;
    rb_store_stats(store, &stats);
    ck_assert_int_eq(stats.failed_commits, 1);
    ck_assert_int_eq(stats.commits, 2);
    ck_assert_int_le(stats.file_bytes, 400 * 1024);
}
END_TEST

START_TEST(a_broken_constraint_is_a_defect_that_fails_the_whole_transaction)
{
    add_event(1, 1);
    add_event(1, 1);
    add_event(2, 1);
    ck_assert_int_eq(rb_store_failed(store), RB_CORRUPT);
    ck_assert_int_eq(rb_store_commit(store), RB_CORRUPT);
    ck_assert_int_eq(events(), 0);
}
END_TEST

START_TEST(a_reader_that_reached_its_end_pins_nothing)
{
    sqlite3_stmt *statement;
    add_event(1, 1);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    ck_assert_int_eq(rb_store_prepare(store, "SELECT id FROM event", &statement, NULL), RB_OK);
    ck_assert(rb_store_row(store, statement));
    ck_assert(sqlite3_stmt_busy(statement));
    ck_assert(!rb_store_row(store, statement));
    ck_assert(!sqlite3_stmt_busy(statement));
    ck_assert(rb_store_row(store, statement));
    rb_store_row_end(statement);
    ck_assert(!sqlite3_stmt_busy(statement));
}
END_TEST

START_TEST(bad_sql_is_told_to_whoever_prepares_it)
{
    struct rb_error err = {0};
    sqlite3_stmt *statement = NULL;
    ck_assert_int_eq(rb_store_prepare(store, "SELECT x FROM nowhere", &statement, &err), RB_CORRUPT);
    ck_assert_msg(strstr(err.text, "nowhere") != NULL, "%s", err.text);
    ck_assert_ptr_null(statement);
}
END_TEST

START_TEST(values_come_back_as_they_were_bound)
{
    sqlite3_stmt *write, *read;
    ck_assert_int_eq(
        rb_store_prepare(store, "INSERT INTO message VALUES(1, 1, 1, ?1, 0, ?2, '', NULL, ?3)", &write, NULL), RB_OK);
    rb_bind_text(write, 1, RB_SPAN("id"));
    rb_bind_blob(write, 2, (struct rb_span){0});
    rb_bind_blob(write, 3, RB_SPAN("a\0b"));
    ck_assert_int_eq(rb_store_write(store, write), 1);
    ck_assert_int_eq(rb_store_prepare(store, "SELECT message_id, stamp, payload FROM message", &read, NULL), RB_OK);
    ck_assert(rb_store_row(store, read));
    ck_assert(rb_span_is(rb_column_text(read, 0), "id"));
    ck_assert_int_eq(sqlite3_column_type(read, 1), SQLITE_NULL);
    ck_assert_ptr_null(rb_column_blob(read, 1).at);
    ck_assert(rb_span_equal(rb_column_blob(read, 2), RB_SPAN("a\0b")));
    rb_store_row_end(read);
}
END_TEST

START_TEST(a_value_that_the_statement_has_no_place_for_is_logged_with_the_statement)
{
    sqlite3_stmt *read = store_statement("SELECT ?1");
    rb_bind_text(read, 2, RB_SPAN("secret"));
    ck_assert(was_logged("defect: value 2 cannot be bound (column index out of range), in: SELECT ?1"));
    rb_bind_blob(read, 3, (struct rb_span){0});
    ck_assert(was_logged("defect: value 3 cannot be bound (column index out of range), in: SELECT ?1"));
    sqlite3_finalize(read);
}
END_TEST

START_TEST(a_value_for_a_statement_that_is_being_read_is_logged_with_the_statement)
{
    sqlite3_stmt *read = store_statement("SELECT ?1");
    rb_bind_text(read, 1, RB_SPAN("first"));
    ck_assert(rb_store_row(store, read));
    rb_bind_text(read, 1, RB_SPAN("second"));
    ck_assert(was_logged("defect: value 1 cannot be bound (bad parameter or other API misuse), in: SELECT ?1"));
    ck_assert(rb_span_is(rb_column_text(read, 0), "first"));
    sqlite3_finalize(read);
}
END_TEST

START_TEST(a_long_log_is_checkpointed_between_ticks)
{
    struct rb_store_stats stats;
    struct stat found;
    for (int64_t id = 1; id <= 40; id++) {
        add_event(id, 300000);
        ck_assert_int_eq(rb_store_commit(store), RB_OK);
        rb_store_stats(store, &stats);
        ck_assert_int_le(stats.wal_frames, 1100);
        rb_store_checkpoint(store, false);
    }
    ck_assert_int_eq(stat(rb_test_path(&folder, "relay-broker.db-wal"), &found), 0);
    ck_assert_int_le(found.st_size, 5 * 1024 * 1024);
    rb_store_checkpoint(store, true);
    ck_assert_int_eq(stat(rb_test_path(&folder, "relay-broker.db-wal"), &found), 0);
    ck_assert_int_eq(found.st_size, 0);
}
END_TEST

START_TEST(free_pages_go_back_to_the_file_system_in_slices)
{
    struct rb_store_stats before, after;
    for (int64_t id = 1; id <= 20; id++)
        add_event(id, 100000);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    delete_events();
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    rb_store_stats(store, &before);
    rb_store_vacuum(store, 100);
    rb_store_stats(store, &after);
    ck_assert_int_eq(before.file_bytes - after.file_bytes, 100 * 4096);
    for (int i = 0; i < 10; i++)
        rb_store_vacuum(store, 100);
    ck_assert_int_eq(number("PRAGMA freelist_count"), 0);
    rb_store_checkpoint(store, true);
    struct stat found;
    ck_assert_int_eq(stat(rb_test_path(&folder, "relay-broker.db"), &found), 0);
    ck_assert_int_lt(found.st_size, 400 * 1024);
}
END_TEST

static bool on_disk(const char *needle)
{
    return rb_test_file_has(rb_test_path(&folder, "relay-broker.db"), rb_span_of(needle)) ||
           rb_test_file_has(rb_test_path(&folder, "relay-broker.db-wal"), rb_span_of(needle));
}

START_TEST(D9_what_was_wiped_is_neither_in_the_database_nor_in_its_log)
{
    run_sql("INSERT INTO event VALUES(1, 0, NULL, 'test', 'the-sealed-needle')");
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    ck_assert(on_disk("the-sealed-needle"));
    rb_store_wipe_securely(store);
    ck_assert_int_eq(number("PRAGMA secure_delete"), 1);
    run_sql("UPDATE event SET text = 'wiped'");
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    ck_assert_int_eq(number("PRAGMA secure_delete"), 2);
    rb_store_checkpoint(store, false);
    ck_assert(!on_disk("the-sealed-needle"));
    ck_assert(on_disk("wiped"));
}
END_TEST

START_TEST(D9_a_crash_between_wipe_and_checkpoint_leaves_nothing_after_the_next_start)
{
    int pid;
    close_store();
    ck_assert_int_ge(pid = fork(), 0);
    if (pid == 0) {
        open_store(NULL, 0);
        run_sql("INSERT INTO event VALUES(1, 0, NULL, 'test', 'the-sealed-needle')");
        ck_assert_int_eq(rb_store_commit(store), RB_OK);
        rb_store_wipe_securely(store);
        run_sql("UPDATE event SET text = 'wiped'");
        ck_assert_int_eq(rb_store_commit(store), RB_OK);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(on_disk("the-sealed-needle"));
    open_store(NULL, 0);
    ck_assert(!on_disk("the-sealed-needle"));
    ck_assert(on_disk("wiped"));
}
END_TEST

START_TEST(the_sealed_data_key_is_stored_and_replaced)
{
    RB_CLEANUP_STR struct rb_str key = RB_STR_INIT;
    ck_assert_int_eq(rb_vault_rows_load(store, &key), RB_OK);
    ck_assert_int_eq(key.len, 0);
    ck_assert_int_eq(rb_vault_rows_save(store, RB_SPAN("first")), RB_OK);
    ck_assert_int_eq(rb_vault_rows_save(store, RB_SPAN("second")), RB_OK);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    ck_assert_int_eq(rb_vault_rows_load(store, &key), RB_OK);
    ck_assert(rb_span_is(rb_str_span(&key), "second"));
}
END_TEST

/* One run with the n-th call failing, and `more` after it (-1: all): what was said to be on disk must be there
 * afterwards, what was said to have been rolled back must not. Returns whether the fault struck. */
static bool fault_run(int n, int result, int more)
{
    enum rb_status said[3] = {RB_UNAVAILABLE, RB_UNAVAILABLE, RB_UNAVAILABLE};
    fault = (struct rb_fault){
        .countdown = n, .result = result, .more = more, .kind = result == SQLITE_FULL ? FAULT_WRITE : FAULT_ANY};
    struct rb_store_config config = {.dir = folder.path, .vfs = FAULT_VFS};
    struct rb_error err;
    enum rb_status opened = rb_store_open(&config, &store, &err);
    if (opened == RB_OK) {
        for (int64_t i = 0; i < 3; i++) {
            add_event(i, 9000);
            said[i] = rb_store_commit(store);
            rb_store_checkpoint(store, i == 1);
        }
        close_store();
    } else {
        ck_assert_int_eq(opened, result == SQLITE_FULL ? RB_FULL : RB_IO);
    }
    bool struck = fault.hits > 0;
    fault = (struct rb_fault){0};
    open_store(FAULT_VFS, 0);
    for (int64_t i = 0; i < 3; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM event WHERE id = %d", (int)i);
        int64_t there = number(sql);
        if (said[i] == RB_OK)
            ck_assert_msg(there == 1, "call %d: row %d is lost", n, (int)i);
        if (said[i] == RB_FULL || said[i] == RB_UNAVAILABLE)
            ck_assert_msg(there == 0, "call %d: row %d came back", n, (int)i);
        if (struck && said[i] != RB_OK && said[i] != RB_UNAVAILABLE)
            ck_assert_int_eq(said[i], result == SQLITE_FULL ? RB_FULL : RB_IO);
    }
    close_store();
    return struck;
}

START_TEST(whatever_write_or_sync_fails_a_commit_keeps_its_word)
{
    static const int results[] = {SQLITE_FULL, SQLITE_IOERR_FSYNC};
    close_store();
    fault_vfs_register();
    rb_log_set_level(RB_LOG_ERROR);
    for (size_t i = 0; i < 4; i++) {
        int n = 1;
        for (;; n += i < 2 ? 3 : 1) {
            rb_test_folder_remove(&folder);
            rb_test_folder_make(&folder);
            if (!fault_run(n, results[i % 2], i < 2 ? -1 : 0))
                break;
        }
        ck_assert_int_gt(n, 40); /* the calls of opening, migrating, three commits and a checkpoint */
    }
}
END_TEST

START_TEST(a_log_that_a_full_disk_keeps_from_being_written_back_is_not_cut)
{
    int pid;
    close_store();
    fault_vfs_register();
    ck_assert_int_ge(pid = fork(), 0);
    if (pid == 0) {
        open_store(FAULT_VFS, 0);
        add_event(1, 9000);
        _exit(rb_store_commit(store) == RB_OK ? 0 : 1); /* its rows are in the log only */
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    fault = (struct rb_fault){.countdown = 1, .result = SQLITE_FULL, .more = -1, .kind = FAULT_WRITE};
    open_store(FAULT_VFS, 0);
    for (int i = 0; i < 3; i++) {
        add_event(2, 9000);
        ck_assert_int_eq(rb_store_commit(store), RB_FULL);
        rb_store_checkpoint(store, false);
    }
    ck_assert_int_ge(fault.hits, 2);
    fault = (struct rb_fault){0};
    add_event(3, 9000);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    close_store();
    open_store(FAULT_VFS, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM event WHERE id IN (1, 3)"), 2);
    ck_assert_int_eq(number("SELECT count(*) FROM event WHERE id = 2"), 0);
}
END_TEST

START_TEST(refusals_in_a_row_at_the_start_of_a_new_log_are_no_io_errors)
{
    close_store();
    fault_vfs_register();
    open_store(FAULT_VFS, 0);
    add_event(1, 9000);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    fault = (struct rb_fault){.countdown = 2, .result = SQLITE_FULL, .kind = FAULT_TRUNCATE}; /* the log's */
    rb_store_checkpoint(store, true);
    fault = (struct rb_fault){.countdown = 3, .result = SQLITE_FULL, .more = -1, .kind = FAULT_WRITE};
    for (int i = 0; i < 3; i++) {
        add_event(2, 9000);
        ck_assert_int_eq(rb_store_commit(store), RB_FULL);
    }
    fault = (struct rb_fault){0};
    add_event(3, 9000);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    close_store();
    open_store(FAULT_VFS, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM event WHERE id IN (1, 3)"), 2);
    ck_assert_int_eq(number("SELECT count(*) FROM event"), 2);
}
END_TEST

START_TEST(a_commit_without_room_has_the_log_written_back_so_that_its_place_can_be_used_again)
{
    struct rb_store_stats stats;
    close_store();
    fault_vfs_register();
    open_store(FAULT_VFS, 0);
    for (int64_t id = 1; id <= 5; id++) {
        add_event(id, 9000);
        ck_assert_int_eq(rb_store_commit(store), RB_OK);
        rb_store_checkpoint(store, false);
    }
    rb_store_stats(store, &stats);
    ck_assert_int_gt(stats.wal_frames, 0);
    fault = (struct rb_fault){.countdown = 1, .result = SQLITE_FULL, .kind = FAULT_WRITE};
    add_event(6, 9000);
    ck_assert_int_eq(rb_store_commit(store), RB_FULL);
    rb_store_checkpoint(store, false);
    rb_store_stats(store, &stats);
    ck_assert_int_eq(stats.wal_frames, 0);
}
END_TEST

/* The log was written back whole but not cut, so the next commit starts it anew; then the n-th write of that commit
 * finds no room, and the process dies. Whether it was refused. */
static bool refused_on_a_new_log(int n)
{
    int pid, status;
    ck_assert_int_ge(pid = fork(), 0);
    if (pid == 0) {
        open_store(FAULT_VFS, 0);
        for (int64_t id = 1; id <= 5; id++) {
            add_event(id, 9000);
            ck_assert_int_eq(rb_store_commit(store), RB_OK);
        }
        fault = (struct rb_fault){.countdown = 2, .result = SQLITE_FULL, .kind = FAULT_TRUNCATE}; /* the log's */
        rb_store_checkpoint(store, true);
        ck_assert_int_eq(fault.hits, 1);
        fault = (struct rb_fault){.countdown = n, .result = SQLITE_FULL, .kind = FAULT_WRITE};
        add_event(6, 100);
        enum rb_status said = rb_store_commit(store);
        ck_assert(said == RB_OK || said == RB_FULL);
        _exit(said == RB_FULL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status) == 1;
}

START_TEST(a_refused_commit_at_the_start_of_a_new_log_does_not_come_back)
{
    close_store();
    fault_vfs_register();
    rb_log_set_level(RB_LOG_ERROR);
    int n = 1;
    for (bool refused = true; refused; n++) {
        rb_test_folder_remove(&folder);
        rb_test_folder_make(&folder);
        refused = refused_on_a_new_log(n);
        open_store(FAULT_VFS, 0);
        ck_assert_int_eq(number("SELECT count(*) FROM event WHERE id <= 5"), 5);
        ck_assert_msg(number("SELECT count(*) FROM event WHERE id = 6") == (refused ? 0 : 1), "write %d", n);
        close_store();
    }
    ck_assert_int_gt(n, 4); /* the log's header, frames, padding */
}
END_TEST

static sqlite3_mem_methods system_memory;
static int memory_countdown; /* this allocation fails; 0: none */
static bool memory_struck, memory_stays_full;

static bool memory_fails(void)
{
    if (memory_countdown > 0 && --memory_countdown == 0)
        memory_struck = true;
    else if (!memory_struck || !memory_stays_full)
        return false;
    return true;
}

static void *scarce_malloc(int size)
{
    return memory_fails() ? NULL : system_memory.xMalloc(size);
}

static void *scarce_realloc(void *at, int size)
{
    return memory_fails() ? NULL : system_memory.xRealloc(at, size);
}

static void set_memory(int countdown, bool stays_full)
{
    memory_countdown = countdown;
    memory_stays_full = stays_full;
    memory_struck = false;
}

/* As fault_run, with allocations of SQLite's. Whether the n-th one came. */
static bool memory_run(int n, bool stays_full)
{
    enum rb_status said = RB_UNAVAILABLE;
    struct rb_store_config config = {.dir = folder.path, .vfs = FAULT_VFS};
    struct rb_error err;
    sqlite3_stmt *statement;
    set_memory(n, stays_full);
    enum rb_status opened = rb_store_open(&config, &store, &err);
    if (opened == RB_OK) {
        if (rb_store_prepare(store, "INSERT INTO event VALUES(?1, 0, NULL, 'test', zeroblob(9000))", &statement,
                             NULL) == RB_OK) {
            sqlite3_bind_int64(statement, 1, rb_store_next_id(store, "event"));
            rb_store_write(store, statement);
            said = rb_store_commit(store);
        }
        rb_store_checkpoint(store, true);
        close_store();
    }
    bool struck = memory_struck;
    set_memory(0, false);
    ck_assert_msg(opened == RB_OK || opened == RB_NO_MEMORY, "allocation %d: open says %d", n, opened);
    ck_assert_msg(said == RB_OK || said == RB_NO_MEMORY || said == RB_UNAVAILABLE, "allocation %d: commit says %d", n,
                  said);
    open_store(FAULT_VFS, 0);
    ck_assert_msg(number("SELECT count(*) FROM event") == (said == RB_OK ? 1 : 0), "allocation %d: said %d", n, said);
    close_store();
    return struck;
}

START_TEST(whatever_allocation_fails_a_commit_keeps_its_word)
{
    close_store();
    rb_log_set_level(RB_LOG_ERROR);
    ck_assert_int_eq(sqlite3_shutdown(), SQLITE_OK);
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_memory), SQLITE_OK);
    sqlite3_mem_methods scarce = system_memory;
    scarce.xMalloc = scarce_malloc;
    scarce.xRealloc = scarce_realloc;
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &scarce), SQLITE_OK);
    fault_vfs_register();
    for (int stays_full = 0; stays_full < 2; stays_full++) {
        int n = 1;
        for (;; n += n < 40 ? 1 : 23) {
            rb_test_folder_remove(&folder);
            rb_test_folder_make(&folder);
            if (!memory_run(n, stays_full))
                break;
        }
        ck_assert_int_gt(n, 500);
    }
}
END_TEST

START_TEST(memory_that_is_short_in_the_vfs_is_no_io_error)
{
    close_store();
    fault_vfs_register();
    open_store(FAULT_VFS, 0);
    add_event(1, 10);
    fault = (struct rb_fault){.countdown = 2, .result = SQLITE_IOERR_NOMEM};
    ck_assert_int_eq(rb_store_commit(store), RB_NO_MEMORY);
    add_event(1, 10);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
}
END_TEST

START_TEST(an_io_error_in_a_checkpoint_marks_the_store)
{
    close_store();
    fault_vfs_register();
    open_store(FAULT_VFS, 0);
    add_event(1, 10);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    fault = (struct rb_fault){.countdown = 1, .result = SQLITE_FULL};
    rb_store_checkpoint(store, true);
    ck_assert_int_eq(rb_store_failed(store), RB_OK);
    fault = (struct rb_fault){.countdown = 1, .result = SQLITE_IOERR_FSYNC, .kind = FAULT_SYNC};
    rb_store_checkpoint(store, true);
    ck_assert_int_eq(rb_store_failed(store), RB_IO);
    ck_assert_int_eq(rb_store_commit(store), RB_IO);
    fault = (struct rb_fault){0};
}
END_TEST

Suite *transaction_suite(void)
{
    Suite *suite = suite_create("transaction");
    TCase *tests = tcase_create("transaction");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, the_first_write_begins_the_transaction_and_closing_drops_it);
    tcase_add_test(tests, a_write_says_how_many_rows_it_changed);
    tcase_add_test(tests, a_full_database_fails_the_transaction_and_later_ones_work);
    tcase_add_test(tests, a_broken_constraint_is_a_defect_that_fails_the_whole_transaction);
    tcase_add_test(tests, a_reader_that_reached_its_end_pins_nothing);
    tcase_add_test(tests, bad_sql_is_told_to_whoever_prepares_it);
    tcase_add_test(tests, values_come_back_as_they_were_bound);
    tcase_add_test(tests, a_value_that_the_statement_has_no_place_for_is_logged_with_the_statement);
    tcase_add_test(tests, a_value_for_a_statement_that_is_being_read_is_logged_with_the_statement);
    tcase_add_test(tests, a_long_log_is_checkpointed_between_ticks);
    tcase_add_test(tests, free_pages_go_back_to_the_file_system_in_slices);
    tcase_add_test(tests, D9_what_was_wiped_is_neither_in_the_database_nor_in_its_log);
    tcase_add_test(tests, D9_a_crash_between_wipe_and_checkpoint_leaves_nothing_after_the_next_start);
    tcase_add_test(tests, the_sealed_data_key_is_stored_and_replaced);
    tcase_add_test(tests, whatever_write_or_sync_fails_a_commit_keeps_its_word);
    tcase_add_test(tests, a_log_that_a_full_disk_keeps_from_being_written_back_is_not_cut);
    tcase_add_test(tests, refusals_in_a_row_at_the_start_of_a_new_log_are_no_io_errors);
    tcase_add_test(tests, a_commit_without_room_has_the_log_written_back_so_that_its_place_can_be_used_again);
    tcase_add_test(tests, a_refused_commit_at_the_start_of_a_new_log_does_not_come_back);
    tcase_add_test(tests, whatever_allocation_fails_a_commit_keeps_its_word);
    tcase_add_test(tests, memory_that_is_short_in_the_vfs_is_no_io_error);
    tcase_add_test(tests, an_io_error_in_a_checkpoint_marks_the_store);
    suite_add_tcase(suite, tests);
    return suite;
}
