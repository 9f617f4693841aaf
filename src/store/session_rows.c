#include "session_rows.h"

struct rb_session_rows {
    struct rb_store *store;
    sqlite3_stmt *add, *used, *delete, *delete_places, *each;
    sqlite3_stmt *place_save, *place_each;
};

enum rb_status rb_session_rows_new(struct rb_store *store, struct rb_session_rows **ret, struct rb_error *err)
{
    static const struct rb_statement statements[] = {
        {RB_ROWS_AT(ret, add),
         "INSERT INTO session(id, account, door, uid, username, created, used) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
        {RB_ROWS_AT(ret, used), "UPDATE session SET used = ?2 WHERE id = ?1"},
        {RB_ROWS_AT(ret, delete), "DELETE FROM session WHERE id = ?1"},
        {RB_ROWS_AT(ret, delete_places), "DELETE FROM place WHERE session = ?1"},
        {RB_ROWS_AT(ret, each), "SELECT id, account, uid, door, username, created, used FROM session"},
        {RB_ROWS_AT(ret, place_save), "INSERT INTO place(session, topic, n) VALUES(?1, ?2, ?3)"
                                      " ON CONFLICT(session, topic) DO UPDATE SET n = excluded.n"},
        {RB_ROWS_AT(ret, place_each), "SELECT session, topic, n FROM place"},
    };
    return RB_ROWS_NEW(store, statements, ret, err);
}

void rb_session_rows_free(struct rb_session_rows *rows)
{
    free(rows);
}

void rb_session_rows_add(struct rb_session_rows *rows, const struct rb_session_row *row)
{
    rb_bind_blob(rows->add, 1, row->id);
    sqlite3_bind_int64(rows->add, 2, row->account);
    rb_bind_text(rows->add, 3, row->door.at ? row->door : RB_SPAN(""));
    sqlite3_bind_int64(rows->add, 4, row->uid);
    rb_bind_text(rows->add, 5, row->username.at ? row->username : RB_SPAN(""));
    sqlite3_bind_int64(rows->add, 6, row->created);
    sqlite3_bind_int64(rows->add, 7, row->used);
    rb_store_write(rows->store, rows->add);
}

void rb_session_rows_used(struct rb_session_rows *rows, struct rb_span id, int64_t used)
{
    rb_bind_blob(rows->used, 1, id);
    sqlite3_bind_int64(rows->used, 2, used);
    rb_store_write(rows->store, rows->used);
}

void rb_session_rows_delete(struct rb_session_rows *rows, struct rb_span id)
{
    rb_bind_blob(rows->delete_places, 1, id);
    rb_store_write(rows->store, rows->delete_places);
    rb_bind_blob(rows->delete, 1, id);
    rb_store_write(rows->store, rows->delete);
}

void rb_session_rows_each(struct rb_session_rows *rows, void (*each)(void *arg, const struct rb_session_row *row),
                          void *arg)
{
    sqlite3_stmt *read = rows->each;
    while (rb_store_row(rows->store, read)) {
        struct rb_session_row row = {
            .id = rb_column_blob(read, 0),
            .account = sqlite3_column_int64(read, 1),
            .uid = sqlite3_column_int64(read, 2),
            .door = rb_column_text(read, 3),
            .username = rb_column_text(read, 4),
            .created = sqlite3_column_int64(read, 5),
            .used = sqlite3_column_int64(read, 6),
        };
        each(arg, &row);
    }
}

void rb_place_save(struct rb_session_rows *rows, struct rb_span session, int64_t topic, int64_t n)
{
    rb_bind_blob(rows->place_save, 1, session);
    sqlite3_bind_int64(rows->place_save, 2, topic);
    sqlite3_bind_int64(rows->place_save, 3, n);
    rb_store_write(rows->store, rows->place_save);
}

void rb_place_each(struct rb_session_rows *rows,
                   void (*each)(void *arg, struct rb_span session, int64_t topic, int64_t n), void *arg)
{
    while (rb_store_row(rows->store, rows->place_each))
        each(arg, rb_column_blob(rows->place_each, 0), sqlite3_column_int64(rows->place_each, 1),
             sqlite3_column_int64(rows->place_each, 2));
}
