#include "store_test.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

struct rb_test_folder folder;
struct rb_store *store;
static struct rb_str logged;

void setup_folder(void)
{
    rb_test_folder_make(&folder);
    rb_str_reset(&logged);
    store = NULL;
}

void close_store(void)
{
    rb_store_close(store);
    store = NULL;
}

void teardown(void)
{
    close_store();
    rb_test_folder_remove(&folder);
}

void open_store(const char *vfs, int64_t max_bytes)
{
    struct rb_error err;
    struct rb_store_config config = {.dir = folder.path, .vfs = vfs, .max_bytes = max_bytes};
    enum rb_status status = rb_store_open(&config, &store, &err);
    ck_assert_msg(status == RB_OK, "%s", status == RB_OK ? "" : err.text);
}

void open_must_fail(enum rb_status status, const char *words)
{
    struct rb_error err = {0};
    struct rb_store_config config = {.dir = folder.path};
    struct rb_store *other = NULL;
    ck_assert_int_eq(rb_store_open(&config, &other, &err), status);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(err.status, status);
    ck_assert_msg(strstr(err.text, words) != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, folder.path) != NULL, "%s", err.text);
}

sqlite3_stmt *store_statement(const char *sql)
{
    struct rb_error err;
    sqlite3_stmt *statement = NULL;
    enum rb_status status = rb_store_prepare(store, sql, &statement, &err);
    ck_assert_msg(status == RB_OK, "%s", status == RB_OK ? "" : err.text);
    return statement;
}

void add_event(int64_t id, size_t bytes)
{
    sqlite3_stmt *statement =
        store_statement("INSERT INTO event(id, at, kind, text) VALUES(?1, 0, 'test', zeroblob(?2))");
    sqlite3_bind_int64(statement, 1, id);
    sqlite3_bind_int64(statement, 2, (int64_t)bytes);
    rb_store_write(store, statement);
    sqlite3_finalize(statement);
}

void run_sql(const char *sql)
{
    sqlite3_stmt *statement = store_statement(sql);
    rb_store_write(store, statement);
    sqlite3_finalize(statement);
}

void delete_events(void)
{
    run_sql("DELETE FROM event");
}

int64_t number(const char *sql)
{
    sqlite3_stmt *statement = store_statement(sql);
    int64_t value = rb_store_row(store, statement) ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    return value;
}

/* The linker leads the log of the shipped objects through here (--wrap). */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
void __real_rb_log(enum rb_log_level level, const char *room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void __wrap_rb_log(enum rb_log_level level, const char *room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void __wrap_rb_log(enum rb_log_level level, const char *room, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    rb_str_addf(&logged, "%d %s: %s\n", (int)level, room, text);
    __real_rb_log(level, room, "%s", text);
}

bool was_logged(const char *text)
{
    RB_CLEANUP_STR struct rb_str line = RB_STR_INIT;
    rb_str_addf(&line, "%d store: %s\n", RB_LOG_ERROR, text);
    return logged.len && strstr(logged.at, line.at);
}

int main(void)
{
    SRunner *runner = srunner_create(open_suite());
    srunner_add_suite(runner, sequence_suite());
    srunner_add_suite(runner, tick_suite());
    srunner_add_suite(runner, transaction_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
