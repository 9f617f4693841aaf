#include "sql.h"

#include <errno.h>

enum rb_status rb_sql_status(sqlite3 *db, int result)
{
    switch (result) {
    case SQLITE_IOERR_NOMEM:
        return RB_NO_MEMORY;
    case SQLITE_IOERR_WRITE: /* SQLite knows ENOSPC only */
        switch (sqlite3_system_errno(db)) {
        case EDQUOT:
        case EFBIG:
            return RB_FULL;
        default:
            return RB_IO;
        }
    default:
        break;
    }
    switch (result & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return RB_OK;
    case SQLITE_NOMEM:
        return RB_NO_MEMORY;
    case SQLITE_FULL:
        return RB_FULL;
    case SQLITE_IOERR:
        return RB_IO;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return RB_DENIED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return RB_BUSY;
    case SQLITE_INTERRUPT:
    case SQLITE_ABORT:
        return RB_UNAVAILABLE;
    default:
        return RB_CORRUPT;
    }
}

enum rb_status rb_sql_fail(sqlite3 *db, int result, const char *path, struct rb_error *err)
{
    enum rb_status status = rb_sql_status(db, result);
    switch (result & 0xff) {
    case SQLITE_NOTADB:
        return rb_fail(err, status, "%s is not a database; move it away, or restore a backup.", path);
    case SQLITE_CORRUPT:
        return rb_fail(err, status, "The database %s is damaged; restore a backup.", path);
    case SQLITE_BUSY:
        return rb_fail(err, status, "Another program has the database %s open; end it first.", path);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return rb_fail(err, status, "The database %s cannot be written; check its owner, mode and file system.", path);
    case SQLITE_FULL:
        return rb_fail(err, status, "No room for the database %s; free some space.", path);
    default:
        return rb_fail(err, status, "The database %s cannot be used: %s.", path,
                       db ? sqlite3_errmsg(db) : sqlite3_errstr(result));
    }
}

bool rb_sql_is_defect(int result)
{
    switch (result & 0xff) {
    case SQLITE_ERROR:
    case SQLITE_INTERNAL:
    case SQLITE_SCHEMA:
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_LOCKED:
        return true;
    default:
        return false;
    }
}

int rb_sql_run(sqlite3 *db, const char *sql)
{
    int64_t ignored;
    return rb_sql_number(db, sql, &ignored);
}

int rb_sql_number(sqlite3 *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *statement;
    int result = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (result != SQLITE_OK)
        return result;
    int64_t number = 0;
    bool first = true;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        if (first)
            number = sqlite3_column_int64(statement, 0);
        first = false;
    }
    sqlite3_finalize(statement);
    if (result != SQLITE_DONE)
        return result;
    *ret = number;
    return SQLITE_OK;
}
