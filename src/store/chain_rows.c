#include "chain_rows.h"

#include <stdlib.h>

struct rb_chain_rows {
    struct rb_store *store;
    sqlite3_stmt *each, *save, *set_token, *token, *trim;
};

enum rb_status rb_chain_rows_new(struct rb_store *store, struct rb_chain_rows **ret, struct rb_error *err)
{
    static const struct rb_statement statements[] = {
        {RB_ROWS_AT(ret, each),
         "SELECT id, uid, account, epoch, state, generation, mark, doubt, rotated FROM chain ORDER BY id"},
        {RB_ROWS_AT(ret, save),
         "INSERT INTO chain(id, uid, account, epoch, state, generation, mark, doubt, rotated)"
         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
         " ON CONFLICT(id) DO UPDATE SET epoch = excluded.epoch, state = excluded.state, generation = "
         "excluded.generation,"
         " mark = excluded.mark, doubt = excluded.doubt, rotated = excluded.rotated"},
        {RB_ROWS_AT(ret, set_token), "UPDATE chain SET token = ?2 WHERE id = ?1"},
        {RB_ROWS_AT(ret, token), "SELECT token FROM chain WHERE id = ?"},
        {RB_ROWS_AT(ret, trim), "DELETE FROM chain WHERE state IN (3, 5) AND rotated < ?"
                                " AND id NOT IN (SELECT access_chain FROM account WHERE access_chain IS NOT NULL)"},
    };
    return RB_ROWS_NEW(store, statements, ret, err);
}

void rb_chain_rows_free(struct rb_chain_rows *rows)
{
    free(rows);
}

void rb_chain_rows_each(struct rb_chain_rows *rows, void (*each)(void *arg, const struct rb_chain_row *row), void *arg)
{
    sqlite3_stmt *s = rows->each;
    while (rb_store_row(rows->store, s)) {
        struct rb_chain_row row = {
            .id = sqlite3_column_int64(s, 0),
            .uid = rb_column_blob(s, 1),
            .account = sqlite3_column_int64(s, 2),
            .epoch = sqlite3_column_int64(s, 3),
            .state = sqlite3_column_int(s, 4),
            .generation = sqlite3_column_int64(s, 5),
            .mark = sqlite3_column_int64(s, 6),
            .doubt = sqlite3_column_int(s, 7) != 0,
            .rotated = sqlite3_column_int64(s, 8),
        };
        each(arg, &row);
    }
}

void rb_chain_rows_save(struct rb_chain_rows *rows, const struct rb_chain_row *row)
{
    sqlite3_stmt *s = rows->save;
    sqlite3_bind_int64(s, 1, row->id);
    rb_bind_blob(s, 2, row->uid);
    sqlite3_bind_int64(s, 3, row->account);
    sqlite3_bind_int64(s, 4, row->epoch);
    sqlite3_bind_int(s, 5, row->state);
    sqlite3_bind_int64(s, 6, row->generation);
    sqlite3_bind_int64(s, 7, row->mark);
    sqlite3_bind_int(s, 8, row->doubt);
    sqlite3_bind_int64(s, 9, row->rotated);
    rb_store_write(rows->store, s);
}

void rb_chain_rows_set_token(struct rb_chain_rows *rows, int64_t id, struct rb_span sealed)
{
    sqlite3_bind_int64(rows->set_token, 1, id);
    if (sealed.len)
        rb_bind_blob(rows->set_token, 2, sealed);
    rb_store_write(rows->store, rows->set_token);
}

enum rb_status rb_chain_rows_token(struct rb_chain_rows *rows, int64_t id, struct rb_str *out)
{
    sqlite3_bind_int64(rows->token, 1, id);
    if (rb_store_row(rows->store, rows->token)) {
        rb_str_add_span(out, rb_column_blob(rows->token, 0));
        rb_store_row_end(rows->token);
    }
    return rb_str_failed(out) ? RB_NO_MEMORY : rb_store_failed(rows->store);
}

void rb_chain_rows_trim(struct rb_chain_rows *rows, int64_t rotated_before)
{
    sqlite3_bind_int64(rows->trim, 1, rotated_before);
    rb_store_write(rows->store, rows->trim);
}
