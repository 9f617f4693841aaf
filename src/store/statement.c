/* Statement: stepping and binding, as store.h says it to table files. */
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "sql.h"
#include "store_inside.h"

enum rb_status rb_store_prepare(struct rb_store *store, const char *sql, sqlite3_stmt **ret, struct rb_error *err)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (result == SQLITE_OK && !statement)
        result = SQLITE_ERROR;
    if ((result & 0xff) == SQLITE_NOMEM)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    if (result != SQLITE_OK)
        return rb_fail(err, rb_sql_status(store->db, result),
                       "The database does not have what this program needs: %s; restore a backup.",
                       sqlite3_errmsg(store->db));
    *ret = statement;
    return RB_OK;
}

enum rb_status rb_store_rows_new(struct rb_store *store, size_t size, const struct rb_statement *statements,
                                 size_t count, void **ret, struct rb_error *err)
{
    char *rows = calloc(1, size);
    if (!rows)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    memcpy(rows, &store, sizeof store);
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < count && status == RB_OK; i++) {
        void *statement = rows + statements[i].at;
        status = rb_store_prepare(store, statements[i].sql, statement, err);
    }
    if (status == RB_OK)
        *ret = rows;
    else
        free(rows);
    return status;
}

int rb_store_write(struct rb_store *store, sqlite3_stmt *statement)
{
    int changes = 0;
    if (rb_store_begin(store)) {
        int result;
        do
            result = sqlite3_step(statement);
        while (result == SQLITE_ROW);
        if (result == SQLITE_DONE)
            changes = sqlite3_changes(store->db);
        else
            rb_store_mark(store, result, statement);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return changes;
}

bool rb_store_row(struct rb_store *store, sqlite3_stmt *statement)
{
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        return true;
    if (result != SQLITE_DONE)
        rb_store_mark(store, result, statement);
    rb_store_row_end(statement);
    return false;
}

void rb_store_row_end(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

struct rb_span rb_column_text(sqlite3_stmt *statement, int column)
{
    /* Not sqlite3_column_text: it makes room for a NUL, and without memory a text would be taken for a NULL. */
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return (struct rb_span){0};
    const char *text = sqlite3_column_blob(statement, column);
    return (struct rb_span){text ? text : "", text ? (size_t)sqlite3_column_bytes(statement, column) : 0};
}

struct rb_span rb_column_blob(sqlite3_stmt *statement, int column)
{
    const void *blob = sqlite3_column_blob(statement, column);
    return (struct rb_span){blob, blob ? (size_t)sqlite3_column_bytes(statement, column) : 0};
}

/* Binding borrowed bytes allocates nothing: it fails only for a wrong index, a statement that is being read, or a
 * length beyond SQLite's. */
static void check_bound(sqlite3_stmt *statement, int index, int result)
{
    if (result != SQLITE_OK)
        rb_log(RB_LOG_ERROR, "store", "defect: value %d cannot be bound (%s), in: %s", index, sqlite3_errstr(result),
               sqlite3_sql(statement));
}

void rb_bind_text(sqlite3_stmt *statement, int index, struct rb_span text)
{
    check_bound(statement, index,
                text.at ? sqlite3_bind_text64(statement, index, text.at, text.len, SQLITE_STATIC, SQLITE_UTF8)
                        : sqlite3_bind_null(statement, index));
}

void rb_bind_blob(sqlite3_stmt *statement, int index, struct rb_span blob)
{
    check_bound(statement, index,
                blob.at ? sqlite3_bind_blob64(statement, index, blob.at, blob.len, SQLITE_STATIC)
                        : sqlite3_bind_null(statement, index));
}
