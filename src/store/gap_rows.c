#include "gap_rows.h"

struct rb_gap_rows {
    struct rb_store *store;
    sqlite3_stmt *add, *forget, *has, *count;
};

enum rb_status rb_gap_rows_new(struct rb_store *store, struct rb_gap_rows **ret, struct rb_error *err)
{
    static const struct rb_statement statements[] = {
        {RB_ROWS_AT(ret, add), "INSERT INTO gap(id, topic, at, n, reason, after_id, until_id)"
                               " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
        {RB_ROWS_AT(ret, forget), "DELETE FROM gap WHERE id <= ?1"},
        {RB_ROWS_AT(ret, has), "SELECT 1 FROM gap WHERE topic = ?1 AND reason = ?2 LIMIT 1"},
        {RB_ROWS_AT(ret, count), "SELECT count(*) FROM gap"},
    };
    return RB_ROWS_NEW(store, statements, ret, err);
}

void rb_gap_rows_free(struct rb_gap_rows *rows)
{
    free(rows);
}

void rb_gap_rows_add(struct rb_gap_rows *rows, const struct rb_gap_row *row)
{
    int64_t id = rb_store_next_id(rows->store, "gap");
    sqlite3_bind_int64(rows->add, 1, id);
    sqlite3_bind_int64(rows->add, 2, row->topic);
    sqlite3_bind_int64(rows->add, 3, row->at);
    sqlite3_bind_int64(rows->add, 4, row->n);
    rb_bind_text(rows->add, 5, rb_span_of(row->reason));
    rb_bind_text(rows->add, 6, row->after_id.len ? row->after_id : (struct rb_span){0});
    rb_bind_text(rows->add, 7, row->until_id.len ? row->until_id : (struct rb_span){0});
    rb_store_write(rows->store, rows->add);
    sqlite3_bind_int64(rows->forget, 1, id - RB_GAPS_KEPT);
    rb_store_write(rows->store, rows->forget);
}

bool rb_gap_rows_has(struct rb_gap_rows *rows, int64_t topic, const char *reason)
{
    sqlite3_bind_int64(rows->has, 1, topic);
    rb_bind_text(rows->has, 2, rb_span_of(reason));
    bool has = rb_store_row(rows->store, rows->has);
    if (has)
        rb_store_row_end(rows->has);
    return has;
}

int64_t rb_gap_rows_count(struct rb_gap_rows *rows)
{
    if (!rb_store_row(rows->store, rows->count))
        return 0;
    int64_t count = sqlite3_column_int64(rows->count, 0);
    rb_store_row_end(rows->count);
    return count;
}
