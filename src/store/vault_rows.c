#include "vault_rows.h"

enum rb_status rb_vault_rows_load(struct rb_store *store, struct rb_str *out)
{
    sqlite3_stmt *statement;
    enum rb_status status = rb_store_prepare(store, "SELECT sealed_key FROM vault WHERE id = 1", &statement, NULL);
    if (status != RB_OK)
        return status;
    while (rb_store_row(store, statement))
        rb_str_add_span(out, rb_column_blob(statement, 0));
    sqlite3_finalize(statement);
    status = rb_store_failed(store);
    return status == RB_OK && rb_str_failed(out) ? RB_NO_MEMORY : status;
}

enum rb_status rb_vault_rows_save(struct rb_store *store, struct rb_span sealed_key)
{
    sqlite3_stmt *statement;
    enum rb_status status = rb_store_prepare(store,
                                             "INSERT INTO vault(id, sealed_key) VALUES(1, ?1)"
                                             " ON CONFLICT(id) DO UPDATE SET sealed_key = excluded.sealed_key",
                                             &statement, NULL);
    if (status != RB_OK)
        return status;
    rb_bind_blob(statement, 1, sealed_key);
    rb_store_write(store, statement);
    sqlite3_finalize(statement);
    return RB_OK;
}
