#include "account_rows.h"

#include <stdlib.h>

struct rb_account_rows {
    struct rb_store *store;
    sqlite3_stmt *each, *save, *set_access, *set_password, *password;
};

enum rb_status rb_account_rows_new(struct rb_store *store, struct rb_account_rows **ret, struct rb_error *err)
{
    static const struct rb_statement statements[] = {
        {RB_ROWS_AT(ret, each),
         "SELECT id, uid, name, relay_url, username, sub, ca_file, state, epoch, incarnation, created, retired, stamp,"
         " password IS NOT NULL, access_token, access_expires, access_lifetime, access_chain, access_generation"
         " FROM account ORDER BY id"},
        {RB_ROWS_AT(ret, save),
         "INSERT INTO account(id, uid, name, relay_url, username, sub, ca_file, state, epoch, incarnation, created, "
         "retired,"
         " stamp) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
         " ON CONFLICT(id) DO UPDATE SET name = excluded.name, relay_url = excluded.relay_url,"
         " username = excluded.username, sub = excluded.sub, ca_file = excluded.ca_file, state = excluded.state,"
         " epoch = excluded.epoch, incarnation = excluded.incarnation, retired = excluded.retired, stamp = "
         "excluded.stamp"},
        {RB_ROWS_AT(ret, set_access),
         "UPDATE account SET access_token = ?2, access_expires = ?3, access_lifetime = ?4, access_chain = ?5,"
         " access_generation = ?6 WHERE id = ?1"},
        {RB_ROWS_AT(ret, set_password), "UPDATE account SET password = ?2 WHERE id = ?1"},
        {RB_ROWS_AT(ret, password), "SELECT password FROM account WHERE id = ?"},
    };
    return RB_ROWS_NEW(store, statements, ret, err);
}

void rb_account_rows_free(struct rb_account_rows *rows)
{
    free(rows);
}

void rb_account_rows_each(struct rb_account_rows *rows, void (*each)(void *arg, const struct rb_account_row *row),
                          void *arg)
{
    sqlite3_stmt *s = rows->each;
    while (rb_store_row(rows->store, s)) {
        struct rb_account_row row = {
            .id = sqlite3_column_int64(s, 0),
            .uid = rb_column_blob(s, 1),
            .name = rb_column_text(s, 2),
            .relay_url = rb_column_text(s, 3),
            .username = rb_column_text(s, 4),
            .sub = rb_column_text(s, 5),
            .ca_file = rb_column_text(s, 6),
            .state = sqlite3_column_int(s, 7),
            .epoch = sqlite3_column_int64(s, 8),
            .incarnation = sqlite3_column_int64(s, 9),
            .created = sqlite3_column_int64(s, 10),
            .retired = sqlite3_column_int(s, 11) != 0,
            .stamp = sqlite3_column_int(s, 12) != 0,
            .has_password = sqlite3_column_int(s, 13) != 0,
            .access_token = rb_column_blob(s, 14),
            .access_expires = sqlite3_column_int64(s, 15),
            .access_lifetime = sqlite3_column_int64(s, 16),
            .access_chain = sqlite3_column_int64(s, 17),
            .access_generation = sqlite3_column_int64(s, 18),
        };
        each(arg, &row);
    }
}

static void bind_optional(sqlite3_stmt *statement, int index, struct rb_span text)
{
    if (text.len)
        rb_bind_text(statement, index, text);
}

void rb_account_rows_save(struct rb_account_rows *rows, const struct rb_account_row *row)
{
    sqlite3_stmt *s = rows->save;
    sqlite3_bind_int64(s, 1, row->id);
    rb_bind_blob(s, 2, row->uid);
    rb_bind_text(s, 3, row->name);
    rb_bind_text(s, 4, row->relay_url);
    rb_bind_text(s, 5, row->username);
    bind_optional(s, 6, row->sub);
    bind_optional(s, 7, row->ca_file);
    sqlite3_bind_int(s, 8, row->state);
    sqlite3_bind_int64(s, 9, row->epoch);
    sqlite3_bind_int64(s, 10, row->incarnation);
    sqlite3_bind_int64(s, 11, row->created);
    sqlite3_bind_int(s, 12, row->retired);
    sqlite3_bind_int(s, 13, row->stamp);
    rb_store_write(rows->store, s);
}

void rb_account_rows_set_access(struct rb_account_rows *rows, const struct rb_account_row *row)
{
    sqlite3_stmt *s = rows->set_access;
    sqlite3_bind_int64(s, 1, row->id);
    if (row->access_chain) {
        if (row->access_token.len)
            rb_bind_blob(s, 2, row->access_token);
        sqlite3_bind_int64(s, 3, row->access_expires);
        sqlite3_bind_int64(s, 4, row->access_lifetime);
        sqlite3_bind_int64(s, 5, row->access_chain);
        sqlite3_bind_int64(s, 6, row->access_generation);
    }
    rb_store_write(rows->store, s);
}

void rb_account_rows_set_password(struct rb_account_rows *rows, int64_t id, struct rb_span sealed)
{
    sqlite3_bind_int64(rows->set_password, 1, id);
    if (sealed.len)
        rb_bind_blob(rows->set_password, 2, sealed);
    rb_store_write(rows->store, rows->set_password);
}

enum rb_status rb_account_rows_password(struct rb_account_rows *rows, int64_t id, struct rb_str *out)
{
    sqlite3_bind_int64(rows->password, 1, id);
    if (rb_store_row(rows->store, rows->password)) {
        rb_str_add_span(out, rb_column_blob(rows->password, 0));
        rb_store_row_end(rows->password);
    }
    return rb_str_failed(out) ? RB_NO_MEMORY : rb_store_failed(rows->store);
}
