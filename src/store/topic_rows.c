#include "topic_rows.h"

struct rb_topic_rows {
    struct rb_store *store;
    sqlite3_stmt *each, *save, *forget;
};

enum rb_status rb_topic_rows_new(struct rb_store *store, struct rb_topic_rows **ret, struct rb_error *err)
{
    static const struct rb_statement statements[] = {
        {RB_ROWS_AT(ret, each), "SELECT id, account, name, posted, following, cursor, newest, head, tail, "
                                "rows, bytes, wanted, uid FROM topic ORDER BY id"},
        {RB_ROWS_AT(ret, save),
         "INSERT INTO topic(id, account, name, posted, following, cursor, newest, head, tail, rows, bytes, wanted, uid)"
         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
         " ON CONFLICT(id) DO UPDATE SET posted = excluded.posted, following = excluded.following,"
         " cursor = excluded.cursor, newest = excluded.newest, head = excluded.head, tail = excluded.tail,"
         " rows = excluded.rows, bytes = excluded.bytes, wanted = excluded.wanted"},
        /* Not followed, without rows: no message is kept, and it has no anchor. */
        {RB_ROWS_AT(ret, forget), "DELETE FROM topic WHERE wanted < ?1 AND following = 0 AND rows = 0"
                                  " AND id NOT IN (SELECT topic FROM place) AND id NOT IN (SELECT topic FROM post)"},
    };
    return RB_ROWS_NEW(store, statements, ret, err);
}

void rb_topic_rows_free(struct rb_topic_rows *rows)
{
    free(rows);
}

void rb_topic_rows_each(struct rb_topic_rows *rows, void (*each)(void *arg, const struct rb_topic_row *row), void *arg)
{
    sqlite3_stmt *s = rows->each;
    while (rb_store_row(rows->store, s)) {
        struct rb_topic_row row = {
            .id = sqlite3_column_int64(s, 0),
            .account = sqlite3_column_int64(s, 1),
            .name = rb_column_text(s, 2),
            .posted = sqlite3_column_int(s, 3) != 0,
            .following = sqlite3_column_int(s, 4) != 0,
            .cursor = rb_column_text(s, 5),
            .newest = rb_column_text(s, 6),
            .head = sqlite3_column_int64(s, 7),
            .tail = sqlite3_column_int64(s, 8),
            .rows = sqlite3_column_int64(s, 9),
            .bytes = sqlite3_column_int64(s, 10),
            .wanted = sqlite3_column_int64(s, 11),
            .uid = sqlite3_column_int64(s, 12),
        };
        each(arg, &row);
    }
}

void rb_topic_rows_save(struct rb_topic_rows *rows, const struct rb_topic_row *row)
{
    sqlite3_stmt *s = rows->save;
    sqlite3_bind_int64(s, 1, row->id);
    sqlite3_bind_int64(s, 2, row->account);
    rb_bind_text(s, 3, row->name);
    sqlite3_bind_int(s, 4, row->posted);
    sqlite3_bind_int(s, 5, row->following);
    rb_bind_text(s, 6, row->cursor);
    rb_bind_text(s, 7, row->newest);
    sqlite3_bind_int64(s, 8, row->head);
    sqlite3_bind_int64(s, 9, row->tail);
    sqlite3_bind_int64(s, 10, row->rows);
    sqlite3_bind_int64(s, 11, row->bytes);
    sqlite3_bind_int64(s, 12, row->wanted);
    sqlite3_bind_int64(s, 13, row->uid);
    rb_store_write(rows->store, s);
}

void rb_topic_rows_forget(struct rb_topic_rows *rows, int64_t wanted_before)
{
    sqlite3_bind_int64(rows->forget, 1, wanted_before);
    rb_store_write(rows->store, rows->forget);
}
