#include "batch_rows.h"

struct rb_batch_rows {
    struct rb_store *store;
    sqlite3_stmt *insert, *update, *delete_row, *get;
};

enum rb_status rb_batch_rows_new(struct rb_store *store, struct rb_batch_rows **ret, struct rb_error *err)
{
    static const struct rb_statement statements[] = {
        {RB_ROWS_AT(ret, insert),
         "INSERT INTO batch(id, account, key, state, started, newest) VALUES(?1, ?2, ?3, ?4, ?5, ?6)"},
        {RB_ROWS_AT(ret, update),
         "UPDATE batch SET state = ?2, started = ?3, newest = CASE WHEN ?4 THEN ?5 ELSE newest END"
         " WHERE id = ?1"},
        {RB_ROWS_AT(ret, delete_row), "DELETE FROM batch WHERE id = ?1"},
        {RB_ROWS_AT(ret, get), "SELECT id, account, key, state, started, newest FROM batch WHERE id = ?1"},
    };
    return RB_ROWS_NEW(store, statements, ret, err);
}

void rb_batch_rows_free(struct rb_batch_rows *rows)
{
    free(rows);
}

void rb_batch_rows_insert(struct rb_batch_rows *rows, const struct rb_batch_row *row)
{
    sqlite3_stmt *s = rows->insert;
    sqlite3_bind_int64(s, 1, row->id);
    sqlite3_bind_int64(s, 2, row->account);
    rb_bind_text(s, 3, row->key);
    sqlite3_bind_int(s, 4, row->state);
    sqlite3_bind_int64(s, 5, row->started);
    rb_bind_text(s, 6, row->newest);
    rb_store_write(rows->store, s);
}

void rb_batch_rows_update(struct rb_batch_rows *rows, const struct rb_batch_row *row, bool with_newest)
{
    sqlite3_stmt *s = rows->update;
    sqlite3_bind_int64(s, 1, row->id);
    sqlite3_bind_int(s, 2, row->state);
    sqlite3_bind_int64(s, 3, row->started);
    sqlite3_bind_int(s, 4, with_newest);
    rb_bind_text(s, 5, row->newest);
    rb_store_write(rows->store, s);
}

void rb_batch_rows_delete(struct rb_batch_rows *rows, int64_t id)
{
    sqlite3_bind_int64(rows->delete_row, 1, id);
    rb_store_write(rows->store, rows->delete_row);
}

bool rb_batch_rows_get(struct rb_batch_rows *rows, int64_t id, void (*each)(void *arg, const struct rb_batch_row *row),
                       void *arg)
{
    sqlite3_stmt *s = rows->get;
    sqlite3_bind_int64(s, 1, id);
    if (!rb_store_row(rows->store, s))
        return false;
    struct rb_batch_row row = {
        .id = sqlite3_column_int64(s, 0),
        .account = sqlite3_column_int64(s, 1),
        .key = rb_column_text(s, 2),
        .state = sqlite3_column_int(s, 3),
        .started = sqlite3_column_int64(s, 4),
        .newest = rb_column_text(s, 5),
    };
    each(arg, &row);
    rb_store_row_end(s);
    return true;
}
