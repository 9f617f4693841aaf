#include "event_rows.h"

#include <stdlib.h>

struct rb_event_rows {
    struct rb_store *store;
    sqlite3_stmt *add, *count, *trim, *each;
};

enum rb_status rb_event_rows_new(struct rb_store *store, struct rb_event_rows **ret, struct rb_error *err)
{
    static const struct rb_statement statements[] = {
        {RB_ROWS_AT(ret, add), "INSERT INTO event(id, at, account, kind, text) VALUES(?, ?, ?, ?, ?)"},
        {RB_ROWS_AT(ret, count), "SELECT count(*) FROM event"},
        {RB_ROWS_AT(ret, trim),
         "DELETE FROM event WHERE id <= (SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET ?)"},
        {RB_ROWS_AT(ret, each), "SELECT at, account, kind, text FROM event ORDER BY id DESC LIMIT ?"},
    };
    return RB_ROWS_NEW(store, statements, ret, err);
}

void rb_event_rows_free(struct rb_event_rows *rows)
{
    free(rows);
}

void rb_event_rows_add(struct rb_event_rows *rows, const struct rb_event_row *row)
{
    int64_t id = rb_store_next_id(rows->store, "event");
    sqlite3_bind_int64(rows->add, 1, id);
    sqlite3_bind_int64(rows->add, 2, row->at_wall_ms);
    if (row->account)
        sqlite3_bind_int64(rows->add, 3, row->account);
    rb_bind_text(rows->add, 4, row->kind);
    rb_bind_text(rows->add, 5, row->text);
    rb_store_write(rows->store, rows->add);
}

int64_t rb_event_rows_count(struct rb_event_rows *rows)
{
    int64_t count = 0;
    if (rb_store_row(rows->store, rows->count)) {
        count = sqlite3_column_int64(rows->count, 0);
        rb_store_row_end(rows->count);
    }
    return count;
}

void rb_event_rows_trim(struct rb_event_rows *rows, int64_t keep)
{
    sqlite3_bind_int64(rows->trim, 1, keep);
    rb_store_write(rows->store, rows->trim);
}

void rb_event_rows_each(struct rb_event_rows *rows, int limit, void (*each)(void *arg, const struct rb_event_row *row),
                        void *arg)
{
    sqlite3_bind_int(rows->each, 1, limit);
    while (rb_store_row(rows->store, rows->each)) {
        struct rb_event_row row = {
            .at_wall_ms = sqlite3_column_int64(rows->each, 0),
            .account = sqlite3_column_int64(rows->each, 1),
            .kind = rb_column_text(rows->each, 2),
            .text = rb_column_text(rows->each, 3),
        };
        each(arg, &row);
    }
}
