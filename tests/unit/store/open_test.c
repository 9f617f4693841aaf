#include "store_test.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_vfs.h"
#include "migrate.h"

/* What statfs says instead, when not 0: no test can mount an NFS. */
static unsigned long pretended_magic;

int __real_statfs(const char *path, struct statfs *ret);
int __wrap_statfs(const char *path, struct statfs *ret);
int __real_statfs64(const char *path, struct statfs *ret);
int __wrap_statfs64(const char *path, struct statfs *ret);

static int pretend(int result, struct statfs *ret)
{
    if (pretended_magic)
        ret->f_type = (__fsword_t)pretended_magic;
    return result;
}

int __wrap_statfs(const char *path, struct statfs *ret)
{
    return pretend(__real_statfs(path, ret), ret);
}

int __wrap_statfs64(const char *path, struct statfs *ret)
{
    return pretend(__real_statfs64(path, ret), ret);
}

static const char *database(void)
{
    return rb_test_path(&folder, "relay-broker.db");
}

/* Runs SQL on the closed file, as another program would. */
static void meddle(const char *sql)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(database(), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void text_is(const char *sql, const char *expected)
{
    sqlite3_stmt *statement;
    ck_assert_int_eq(rb_store_prepare(store, sql, &statement, NULL), RB_OK);
    ck_assert(rb_store_row(store, statement));
    ck_assert_str_eq(rb_column_text(statement, 0).at, expected);
    sqlite3_finalize(statement);
}

START_TEST(a_fresh_folder_gets_the_whole_schema_in_private_files)
{
    struct stat found;
    rb_test_folder_remove(&folder);
    open_store(NULL, 0);
    ck_assert_int_eq(number("PRAGMA user_version"), (int)rb_schema_count);
    ck_assert_int_eq(number("PRAGMA application_id"), RB_APPLICATION_ID);
    ck_assert_int_eq(number("SELECT count(*) FROM post"), 0);
    ck_assert_int_eq(number("PRAGMA page_size"), 4096);
    ck_assert_int_eq(number("PRAGMA auto_vacuum"), 2);
    ck_assert_int_eq(stat(folder.path, &found), 0);
    ck_assert_int_eq(found.st_mode & 0777, 0700);
    add_event(1, 10);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    static const char *const names[] = {"lock", "relay-broker.db", "relay-broker.db-wal"};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(stat(rb_test_path(&folder, names[i]), &found), 0);
        ck_assert_msg((found.st_mode & 0777) == 0600, "%s: %o", names[i], found.st_mode);
    }
}
END_TEST

START_TEST(an_open_file_mode_is_closed)
{
    struct stat found;
    open_store(NULL, 0);
    close_store();
    ck_assert_int_eq(chmod(database(), 0644), 0);
    open_store(NULL, 0);
    ck_assert_int_eq(stat(database(), &found), 0);
    ck_assert_int_eq(found.st_mode & 0777, 0600);
}
END_TEST

START_TEST(T6_the_store_is_in_exclusive_wal_mode_with_full_sync)
{
    open_store(NULL, 0);
    text_is("PRAGMA journal_mode", "wal");
    text_is("PRAGMA locking_mode", "exclusive");
    ck_assert_int_eq(number("PRAGMA synchronous"), 2);
    ck_assert_int_eq(number("PRAGMA wal_autocheckpoint"), 0);
    ck_assert_int_eq(number("PRAGMA secure_delete"), 2);
    ck_assert_int_ne(access(rb_test_path(&folder, "relay-broker.db-shm"), F_OK), 0);
    int claim = -1;
    sqlite3 *db = sqlite3_db_handle(store_statement("SELECT 1"));
    ck_assert_int_eq(sqlite3_file_control(db, "main", SQLITE_FCNTL_POWERSAFE_OVERWRITE, &claim), SQLITE_OK);
    ck_assert_int_eq(claim, 0);
}
END_TEST

START_TEST(T6_a_vfs_with_version_1_methods_is_in_wal_mode_too)
{
    fault_vfs_register();
    for (int again = 0; again < 2; again++) {
        open_store(FAULT_VFS, 0);
        text_is("PRAGMA journal_mode", "wal");
        ck_assert_int_eq(number("SELECT count(*) FROM event"), again);
        add_event(7 + again, 10);
        ck_assert_int_eq(rb_store_commit(store), RB_OK);
        close_store();
        ck_assert_int_ne(access(rb_test_path(&folder, "lock"), F_OK), 0);
    }
}
END_TEST

START_TEST(T6_a_file_system_without_a_write_ahead_log_is_refused)
{
    struct rb_error err;
    char dir[128]; /* a database without locks has no write-ahead log */
    snprintf(dir, sizeof dir, "file:%s/x.db?nolock=1&rest=", folder.path);
    struct rb_store_config config = {.dir = dir, .vfs = "unix"};
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_URI, 1), SQLITE_OK);
    ck_assert_int_eq(rb_store_open(&config, &store, &err), RB_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err.text, "write-ahead log"));
}
END_TEST

START_TEST(T6_a_network_file_system_is_refused)
{
    static const unsigned long magic[] = {0x6969, 0xfe534d42, 0xff534d42, 0x00c36400, 0x01021997, 0x65735546};
    for (size_t i = 0; i < sizeof magic / sizeof magic[0]; i++) {
        pretended_magic = magic[i];
        open_must_fail(RB_INVALID, "network file system");
        ck_assert_int_ne(access(database(), F_OK), 0);
    }
    pretended_magic = 0xef53;
    open_store(NULL, 0);
    pretended_magic = 0;
}
END_TEST

START_TEST(a_reopened_database_has_its_rows_and_runs_no_migration_twice)
{
    open_store(NULL, 0);
    add_event(41, 10);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    close_store();
    open_store(NULL, 0);
    ck_assert_int_eq(number("SELECT id FROM event"), 41);
}
END_TEST

/* _i: the schema that it has. */
START_TEST(a_database_of_an_older_schema_is_brought_up_to_date_with_its_rows)
{
    char mark[64];
    meddle("PRAGMA auto_vacuum = INCREMENTAL");
    for (int i = 0; i < _i; i++)
        meddle(rb_schema[i].sql);
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d", RB_APPLICATION_ID, _i);
    meddle(mark);
    meddle("INSERT INTO topic(id, account, name) VALUES(7, 1, 'jobs');"
           "INSERT INTO post(id, topic, state, at, bytes, digest) VALUES(9, 7, 0, 1, 2, x'00');");
    open_store(NULL, 0);
    ck_assert_int_eq(number("PRAGMA user_version"), (int)rb_schema_count);
    ck_assert_int_eq(number("SELECT uid FROM topic WHERE id = 7 AND name = 'jobs'"), -1);
    ck_assert_int_eq(number("SELECT uid FROM post WHERE id = 9 AND topic = 7"), -1);
}
END_TEST

START_TEST(a_file_that_a_crash_left_without_tables_is_taken)
{
    meddle("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;");
    open_store(NULL, 0);
    ck_assert_int_eq(number("PRAGMA user_version"), (int)rb_schema_count);
    ck_assert_int_eq(number("PRAGMA auto_vacuum"), 2);
}
END_TEST

START_TEST(a_database_of_a_newer_version_is_refused)
{
    open_store(NULL, 0);
    close_store();
    meddle("PRAGMA user_version = 1000");
    open_must_fail(RB_NEWER, "newer version");
}
END_TEST

START_TEST(a_file_that_is_no_database_is_refused_and_left_alone)
{
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
    for (int i = 0; i < 1000; i++)
        rb_str_addf(&text, "line %d\n", i);
    rb_test_write(database(), rb_str_span(&text));
    open_must_fail(RB_CORRUPT, "not a database");
    RB_CLEANUP_STR struct rb_str after = RB_STR_INIT;
    rb_test_read(database(), &after);
    ck_assert(rb_span_equal(rb_str_span(&text), rb_str_span(&after)));
}
END_TEST

START_TEST(a_database_of_another_program_is_refused_and_left_alone)
{
    meddle("PRAGMA auto_vacuum = FULL; CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1);");
    RB_CLEANUP_STR struct rb_str before = RB_STR_INIT, after = RB_STR_INIT;
    rb_test_read(database(), &before);
    open_must_fail(RB_CORRUPT, "another program");
    rb_test_read(database(), &after);
    ck_assert(rb_span_equal(rb_str_span(&before), rb_str_span(&after)));
}
END_TEST

START_TEST(a_damaged_database_is_refused)
{
    open_store(NULL, 0);
    close_store();
    RB_CLEANUP_STR struct rb_str bytes = RB_STR_INIT;
    rb_test_read(database(), &bytes);
    memset(bytes.at + 100, 0x5a, 3000); /* the first page behind its header */
    rb_test_write(database(), rb_str_span(&bytes));
    open_must_fail(RB_CORRUPT, "damaged");
}
END_TEST

START_TEST(a_folder_or_link_in_the_place_of_the_database_is_refused)
{
    ck_assert_int_eq(mkdir(database(), 0700), 0);
    open_must_fail(RB_INVALID, "Is a directory");
    ck_assert_int_eq(rmdir(database()), 0);
    ck_assert_int_eq(symlink(rb_test_path(&folder, "elsewhere"), database()), 0);
    open_must_fail(RB_DENIED, "symbolic link");
    ck_assert_int_ne(access(rb_test_path(&folder, "elsewhere"), F_OK), 0);
}
END_TEST

START_TEST(a_file_in_the_place_of_the_folder_is_refused)
{
    rb_test_folder_remove(&folder);
    rb_test_write(folder.path, RB_SPAN("x"));
    open_must_fail(RB_INVALID, "is not a folder");
}
END_TEST

START_TEST(a_read_only_file_system_is_refused)
{
    open_store(NULL, 0);
    close_store();
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(folder.path, folder.path, NULL, MS_BIND, NULL) != 0 ||
        mount(NULL, folder.path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0) {
        fprintf(stderr, "SKIPPED a_read_only_file_system_is_refused: no bind mounts here: %s\n", strerror(errno));
        return;
    }
    open_must_fail(RB_DENIED, "Read-only");
    ck_assert_int_eq(umount(folder.path), 0);
    open_store(NULL, 0);
}
END_TEST

START_TEST(a_folder_held_by_another_process_is_busy_and_the_sentence_names_its_pid)
{
    int told[2], pid;
    char byte, words[32];
    ck_assert_int_eq(pipe(told), 0);
    ck_assert_int_ge(pid = fork(), 0);
    if (pid == 0) {
        open_store(NULL, 0);
        add_event(1, 1);
        if (write(told[1], "x", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    snprintf(words, sizeof words, "process %d", pid);
    open_must_fail(RB_BUSY, words);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    open_store(NULL, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM event"), 0);
    close(told[0]);
    close(told[1]);
}
END_TEST

START_TEST(another_program_with_the_database_open_is_named_as_busy)
{
    sqlite3 *db;
    open_store(NULL, 0);
    close_store();
    ck_assert_int_eq(sqlite3_open(database(), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN; SELECT * FROM event;", NULL, NULL, NULL), SQLITE_OK);
    int told[2], pid, status;
    ck_assert_int_eq(pipe(told), 0);
    ck_assert_int_ge(pid = fork(), 0);
    if (pid == 0) { /* locks are a process's: this one must be another */
        open_must_fail(RB_BUSY, "Another program");
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    sqlite3_close(db);
}
END_TEST

Suite *open_suite(void)
{
    Suite *suite = suite_create("open");
    TCase *tests = tcase_create("open");
    tcase_add_checked_fixture(tests, setup_folder, teardown);
    tcase_add_test(tests, a_fresh_folder_gets_the_whole_schema_in_private_files);
    tcase_add_test(tests, an_open_file_mode_is_closed);
    tcase_add_test(tests, T6_the_store_is_in_exclusive_wal_mode_with_full_sync);
    tcase_add_test(tests, T6_a_vfs_with_version_1_methods_is_in_wal_mode_too);
    tcase_add_test(tests, T6_a_file_system_without_a_write_ahead_log_is_refused);
    tcase_add_test(tests, T6_a_network_file_system_is_refused);
    tcase_add_test(tests, a_reopened_database_has_its_rows_and_runs_no_migration_twice);
    tcase_add_loop_test(tests, a_database_of_an_older_schema_is_brought_up_to_date_with_its_rows, 1, 2);
    tcase_add_test(tests, a_file_that_a_crash_left_without_tables_is_taken);
    tcase_add_test(tests, a_database_of_a_newer_version_is_refused);
    tcase_add_test(tests, a_file_that_is_no_database_is_refused_and_left_alone);
    tcase_add_test(tests, a_database_of_another_program_is_refused_and_left_alone);
    tcase_add_test(tests, a_damaged_database_is_refused);
    tcase_add_test(tests, a_folder_or_link_in_the_place_of_the_database_is_refused);
    tcase_add_test(tests, a_file_in_the_place_of_the_folder_is_refused);
    tcase_add_test(tests, a_read_only_file_system_is_refused);
    tcase_add_test(tests, a_folder_held_by_another_process_is_busy_and_the_sentence_names_its_pid);
    tcase_add_test(tests, another_program_with_the_database_open_is_named_as_busy);
    suite_add_tcase(suite, tests);
    return suite;
}
