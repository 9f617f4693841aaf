#include "store.h"

#include <inttypes.h>

#include "file.h"
#include "state_folder.h"
#include "log.h"
#include "migrate.h"
#include "sql.h"
#include "store_inside.h"

static int run_all(sqlite3 *db, const char *const *statements, size_t count)
{
    int result = SQLITE_OK;
    for (size_t i = 0; result == SQLITE_OK && i < count; i++)
        result = rb_sql_run(db, statements[i]);
    return result;
}

/* The journal mode is asserted, not hoped for (T6). Incremental vacuum has to be chosen before the first table. */
static enum rb_status start_wal(struct rb_store *store, const char *path, struct rb_error *err)
{
    sqlite3_stmt *statement;
    enum { INCREMENTAL = 2 };
    int64_t vacuum = 0;
    int result = rb_sql_number(store->db, "PRAGMA auto_vacuum", &vacuum);
    /* Setting it writes, also what is there already: a full disk must not keep the daemon from starting. */
    if (result == SQLITE_OK && vacuum != INCREMENTAL)
        result = rb_sql_run(store->db, "PRAGMA auto_vacuum = INCREMENTAL");
    if (result == SQLITE_OK)
        result = sqlite3_prepare_v2(store->db, "PRAGMA journal_mode = WAL", -1, &statement, NULL);
    if (result != SQLITE_OK)
        return rb_sql_fail(store->db, result, path, err);
    result = sqlite3_step(statement);
    bool wal = result == SQLITE_ROW && rb_span_is(rb_column_text(statement, 0), "wal");
    sqlite3_finalize(statement);
    if (result != SQLITE_ROW)
        return rb_sql_fail(store->db, result, path, err);
    if (!wal)
        return rb_fail(err, RB_UNAVAILABLE, "The database %s cannot use a write-ahead log there; use another --state.",
                       path);
    return RB_OK;
}

static int set_modes(struct rb_store *store, int64_t max_bytes)
{
    static const char *const modes[] = {"PRAGMA synchronous = FULL", "PRAGMA cache_size = -16384",
                                        "PRAGMA secure_delete = FAST", "PRAGMA wal_autocheckpoint = 0",
                                        "PRAGMA journal_size_limit = 8388608"};
    int result = run_all(store->db, modes, sizeof modes / sizeof modes[0]);
    if (result == SQLITE_OK)
        result = rb_sql_number(store->db, "PRAGMA page_size", &store->page_size);
    if (result == SQLITE_OK && max_bytes > 0 && store->page_size > 0) {
        char text[64];
        int64_t pages = max_bytes / store->page_size;
        snprintf(text, sizeof text, "PRAGMA max_page_count = %" PRId64, pages > 0 ? pages : 1);
        result = rb_sql_run(store->db, text);
    }
    rb_wal_watch(store);
    return result;
}

static int prepare_own(struct rb_store *store)
{
    const struct {
        sqlite3_stmt **statement;
        const char *sql;
    } own[] = {
        {&store->begin, "BEGIN IMMEDIATE"},
        {&store->commit, "COMMIT"},
        {&store->rollback, "ROLLBACK"},
        {&store->page_count, "PRAGMA page_count"},
        {&store->reserve, "INSERT INTO counter(name, value) VALUES(?1, ?2)"
                          " ON CONFLICT(name) DO UPDATE SET value = value + excluded.value RETURNING value"},
    };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        int result = sqlite3_prepare_v3(store->db, own[i].sql, -1, SQLITE_PREPARE_PERSISTENT, own[i].statement, NULL);
        if (result != SQLITE_OK)
            return result;
    }
    return SQLITE_OK;
}

static enum rb_status open_database(struct rb_store *store, const struct rb_store_config *config, const char *path,
                                    struct rb_error *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int result = sqlite3_open_v2(path, &store->db, flags, config->vfs);
    if (result != SQLITE_OK)
        return rb_sql_fail(store->db, result, path, err);
    /* A torn write may spoil its whole sector: commits are padded to sectors (T6). A VFS that does not know the
     * question makes no such claim. */
    int claim = 0;
    sqlite3_file_control(store->db, "main", SQLITE_FCNTL_POWERSAFE_OVERWRITE, &claim);
    /* Before the first access: without the lock mode a VFS that has no shared memory would silently stay in the
     * rollback journal (T6). */
    static const char *const first[] = {"PRAGMA page_size = 4096", "PRAGMA locking_mode = EXCLUSIVE",
                                        "PRAGMA temp_store = MEMORY", "PRAGMA trusted_schema = OFF"};
    result = run_all(store->db, first, sizeof first / sizeof first[0]);
    if (result != SQLITE_OK)
        return rb_sql_fail(store->db, result, path, err);
    enum rb_status status = rb_migrate_check(store->db, path, err);
    if (status == RB_OK && sqlite3_db_readonly(store->db, "main") != 0)
        status =
            rb_fail(err, RB_DENIED, "The database %s cannot be written; check its owner, mode and file system.", path);
    if (status == RB_OK)
        status = start_wal(store, path, err);
    if (status != RB_OK)
        return status;
    result = set_modes(store, config->max_bytes);
    if (result != SQLITE_OK)
        return rb_sql_fail(store->db, result, path, err);
    status = rb_migrate(store->db, path, err);
    if (status != RB_OK)
        return status;
    result = prepare_own(store);
    return result == SQLITE_OK ? RB_OK : rb_sql_fail(store->db, result, path, err);
}

enum rb_status rb_store_open(const struct rb_store_config *config, struct rb_store **ret, struct rb_error *err)
{
    struct rb_store *store = calloc(1, sizeof *store);
    if (!store)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    store->lock_fd = -1;
    RB_CLEANUP_STR struct rb_str path = RB_STR_INIT;
    rb_str_addf(&path, "%s/relay-broker.db", config->dir);
    enum rb_status status = RB_OK;
    if (rb_str_failed(&path))
        status = rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    if (status == RB_OK && !config->vfs)
        status = rb_state_folder_hold(config->dir, &store->lock_fd, err);
    if (status == RB_OK && !config->vfs)
        status = rb_state_folder_file(path.at, err);
    if (status == RB_OK)
        status = open_database(store, config, path.at, err);
    if (status == RB_OK) {
        /* A crash may have come between a wipe and its checkpoint (D9). */
        store->truncate_due = true;
        rb_store_checkpoint(store, false);
        if (store->truncate_due)
            rb_wal_measure(store);
        status = store->failed;
        if (status != RB_OK)
            rb_fail(err, status, "The database %s cannot be written back from its log: %s.", path.at,
                    sqlite3_errmsg(store->db));
    }
    if (status != RB_OK) {
        rb_store_close(store);
        return status;
    }
    *ret = store;
    return RB_OK;
}

void rb_store_close(struct rb_store *store)
{
    if (!store)
        return;
    if (store->db) {
        sqlite3_stmt *statement;
        while ((statement = sqlite3_next_stmt(store->db, NULL)))
            sqlite3_finalize(statement);
        if (!sqlite3_get_autocommit(store->db))
            rb_sql_run(store->db, "ROLLBACK");
        sqlite3_close(store->db);
    }
    rb_close_fd(&store->lock_fd);
    free(store);
}

void rb_store_mark(struct rb_store *store, int result, sqlite3_stmt *statement)
{
    if (statement && rb_sql_is_defect(result))
        rb_log(RB_LOG_ERROR, "store", "defect: %s, in: %s", sqlite3_errmsg(store->db), sqlite3_sql(statement));
    if (store->failed != RB_OK)
        return;
    enum rb_status status = rb_sql_status(store->db, result);
    store->failed = status == RB_OK ? RB_CORRUPT : status;
}

bool rb_store_begin(struct rb_store *store)
{
    if (store->failed != RB_OK)
        return false;
    if (store->open)
        return true;
    int result = sqlite3_step(store->begin);
    sqlite3_reset(store->begin);
    if (result != SQLITE_DONE) {
        rb_store_mark(store, result, store->begin);
        return false;
    }
    store->open = true;
    return true;
}

enum rb_status rb_store_failed(const struct rb_store *store)
{
    return store->failed;
}

bool rb_store_dirty(const struct rb_store *store)
{
    return store->open;
}

enum rb_status rb_store_commit(struct rb_store *store)
{
    bool tried = store->failed == RB_OK && store->open;
    if (tried) {
        int result = sqlite3_step(store->commit);
        sqlite3_reset(store->commit);
        if (result != SQLITE_DONE)
            rb_store_mark(store, result, store->commit);
    }
    enum rb_status status = store->failed;
    if (status != RB_OK) {
        store->failed_commits++;
        store->room_due = status == RB_FULL;
        rb_store_rollback(store);
        return tried && status != RB_IO && rb_wal_unwrite(store) != RB_OK ? RB_IO : status;
    }
    if (store->open)
        store->commits++;
    store->open = false;
    rb_store_wipe_end(store, true);
    return RB_OK;
}

void rb_store_rollback(struct rb_store *store)
{
    /* A reader that is still in its rows would see SQLITE_ABORT at its next step. */
    for (sqlite3_stmt *statement = sqlite3_next_stmt(store->db, NULL); statement;
         statement = sqlite3_next_stmt(store->db, statement))
        if (sqlite3_stmt_busy(statement))
            sqlite3_reset(statement);
    /* After a full disk or an I/O error SQLite may have rolled back already. */
    if (!sqlite3_get_autocommit(store->db)) {
        sqlite3_step(store->rollback);
        sqlite3_reset(store->rollback);
    }
    store->open = false;
    store->failed = RB_OK;
    rb_sequence_forget(store);
    rb_store_wipe_end(store, false);
}
