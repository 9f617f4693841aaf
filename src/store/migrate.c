#include "migrate.h"

#include <inttypes.h>

#include "sql.h"

/* A file without our mark is ours to use only while nothing is in it: a crash may come between making the file and the
 * first migration. */
static enum rb_status check_owner(sqlite3 *db, const char *path, int64_t *ret_version, struct rb_error *err)
{
    int64_t application, version, objects = 0;
    int result = rb_sql_number(db, "PRAGMA application_id", &application);
    if (result == SQLITE_OK)
        result = rb_sql_number(db, "PRAGMA user_version", &version);
    if (result == SQLITE_OK)
        result = rb_sql_number(db, "SELECT count(*) FROM sqlite_schema", &objects);
    if (result != SQLITE_OK)
        return rb_sql_fail(db, result, path, err);
    bool unused = application == 0 && version == 0 && objects == 0;
    if (application != RB_APPLICATION_ID && !unused)
        return rb_fail(err, RB_CORRUPT, "%s is a database of another program; move it away.", path);
    if (version < 0 || (application == RB_APPLICATION_ID && version == 0))
        return rb_fail(err, RB_CORRUPT, "The database %s has no usable version; restore a backup.", path);
    if (version > (int64_t)rb_schema_count)
        return rb_fail(err, RB_NEWER,
                       "The database %s has schema %" PRId64 ", this program knows %zu: it was written by a newer "
                       "version; install that one, or use another --state.",
                       path, version, rb_schema_count);
    *ret_version = version;
    return RB_OK;
}

static int apply(sqlite3 *db, const struct rb_migration *migration)
{
    char mark[64];
    int result = rb_sql_run(db, "BEGIN IMMEDIATE");
    if (result == SQLITE_OK)
        result = sqlite3_exec(db, migration->sql, NULL, NULL, NULL);
    if (result == SQLITE_OK) {
        snprintf(mark, sizeof mark, "PRAGMA application_id = %d", RB_APPLICATION_ID);
        result = rb_sql_run(db, mark);
    }
    if (result == SQLITE_OK) {
        snprintf(mark, sizeof mark, "PRAGMA user_version = %d", migration->number);
        result = rb_sql_run(db, mark);
    }
    if (result == SQLITE_OK)
        result = rb_sql_run(db, "COMMIT");
    return result;
}

enum rb_status rb_migrate_check(sqlite3 *db, const char *path, struct rb_error *err)
{
    int64_t version;
    return check_owner(db, path, &version, err);
}

enum rb_status rb_migrate(sqlite3 *db, const char *path, struct rb_error *err)
{
    int64_t version = 0;
    enum rb_status status = check_owner(db, path, &version, err);
    for (size_t i = (size_t)version; status == RB_OK && i < rb_schema_count; i++) {
        int result = apply(db, &rb_schema[i]);
        if (result != SQLITE_OK) {
            status = rb_sql_fail(db, result, path, err);
            if (!sqlite3_get_autocommit(db))
                rb_sql_run(db, "ROLLBACK");
        }
    }
    return status;
}
