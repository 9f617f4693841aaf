#include "post_rows.h"

struct rb_post_rows {
    struct rb_store *store;
    sqlite3_stmt *insert, *insert_body, *update, *end, *delete_body, *delete_row, *get, *body, *open, *open_by_id,
        *count, *keys, *after;
};

#define COLUMNS                                                                                               \
    "id, topic, state, at, ended, expires, ttl, bytes, key, digest, stamp, batch, attempts, maybe_duplicate," \
    " message_id, timestamp, detail, status, uid"
#define OPEN                                                                                              \
    "SELECT id, topic, state, at, expires, bytes, stamp, batch, attempts, maybe_duplicate, uid FROM post" \
    " WHERE state < 3 ORDER BY "

enum rb_status rb_post_rows_new(struct rb_store *store, struct rb_post_rows **ret, struct rb_error *err)
{
    static const struct rb_statement statements[] = {
        {RB_ROWS_AT(ret, insert), "INSERT INTO post(id, topic, state, at, expires, ttl, bytes, key, digest, stamp, uid)"
                                  " VALUES(?1, ?2, ?3, ?4, nullif(?5, 0), nullif(?6, 0), ?7, ?8, ?9, ?10, ?11)"},
        {RB_ROWS_AT(ret, insert_body), "INSERT INTO post_body(id, metadata, payload) VALUES(?1, ?2, ?3)"},
        {RB_ROWS_AT(ret, update),
         "UPDATE post SET state = ?2, batch = nullif(?3, 0), attempts = ?4, maybe_duplicate = ?5 WHERE id = ?1"},
        {RB_ROWS_AT(ret, end), "UPDATE post SET state = ?2, ended = ?3, message_id = ?4, timestamp = ?5, detail = ?6,"
                               " status = nullif(?7, 0), batch = NULL WHERE id = ?1"},
        {RB_ROWS_AT(ret, delete_body), "DELETE FROM post_body WHERE id = ?1"},
        {RB_ROWS_AT(ret, delete_row), "DELETE FROM post WHERE id = ?1"},
        {RB_ROWS_AT(ret, get), "SELECT " COLUMNS " FROM post WHERE id = ?1"},
        {RB_ROWS_AT(ret, body), "SELECT metadata, payload FROM post_body WHERE id = ?1"},
        {RB_ROWS_AT(ret, open), OPEN "topic, id"},
        {RB_ROWS_AT(ret, open_by_id), OPEN "id"},
        {RB_ROWS_AT(ret, count), "SELECT (SELECT count(*) FROM post WHERE state < 3),"
                                 " (SELECT max(id) FROM post) - (SELECT min(id) FROM post) + 1"},
        {RB_ROWS_AT(ret, keys), "SELECT id, key, uid FROM post"},
        {RB_ROWS_AT(ret, after), "SELECT " COLUMNS " FROM post WHERE id > ?1 ORDER BY id LIMIT ?2"},
    };
    return RB_ROWS_NEW(store, statements, ret, err);
}

void rb_post_rows_free(struct rb_post_rows *rows)
{
    free(rows);
}

void rb_post_rows_insert(struct rb_post_rows *rows, const struct rb_post_row *row, struct rb_span metadata,
                         struct rb_span payload)
{
    sqlite3_stmt *s = rows->insert;
    sqlite3_bind_int64(s, 1, row->id);
    sqlite3_bind_int64(s, 2, row->topic);
    sqlite3_bind_int(s, 3, row->state);
    sqlite3_bind_int64(s, 4, row->at);
    sqlite3_bind_int64(s, 5, row->expires);
    sqlite3_bind_int64(s, 6, row->ttl);
    sqlite3_bind_int64(s, 7, row->bytes);
    rb_bind_blob(s, 8, row->key);
    rb_bind_blob(s, 9, row->digest);
    rb_bind_blob(s, 10, row->stamp);
    sqlite3_bind_int64(s, 11, row->uid);
    rb_store_write(rows->store, s);
    s = rows->insert_body;
    sqlite3_bind_int64(s, 1, row->id);
    rb_bind_blob(s, 2, metadata);
    rb_bind_blob(s, 3, payload);
    rb_store_write(rows->store, s);
}

void rb_post_rows_update(struct rb_post_rows *rows, const struct rb_post_row *row)
{
    sqlite3_stmt *s = rows->update;
    sqlite3_bind_int64(s, 1, row->id);
    sqlite3_bind_int(s, 2, row->state);
    sqlite3_bind_int64(s, 3, row->batch);
    sqlite3_bind_int64(s, 4, row->attempts);
    sqlite3_bind_int(s, 5, row->maybe_duplicate);
    rb_store_write(rows->store, s);
}

void rb_post_rows_end(struct rb_post_rows *rows, const struct rb_post_row *row)
{
    sqlite3_stmt *s = rows->end;
    sqlite3_bind_int64(s, 1, row->id);
    sqlite3_bind_int(s, 2, row->state);
    sqlite3_bind_int64(s, 3, row->ended);
    rb_bind_text(s, 4, row->message_id);
    rb_bind_text(s, 5, row->timestamp);
    rb_bind_text(s, 6, row->detail);
    sqlite3_bind_int(s, 7, row->status);
    rb_store_write(rows->store, s);
    sqlite3_bind_int64(rows->delete_body, 1, row->id);
    rb_store_write(rows->store, rows->delete_body);
}

void rb_post_rows_delete(struct rb_post_rows *rows, int64_t id)
{
    sqlite3_bind_int64(rows->delete_row, 1, id);
    rb_store_write(rows->store, rows->delete_row);
}

static void read_row(sqlite3_stmt *s, rb_post_each each, void *arg)
{
    struct rb_post_row row = {
        .id = sqlite3_column_int64(s, 0),
        .topic = sqlite3_column_int64(s, 1),
        .state = sqlite3_column_int(s, 2),
        .at = sqlite3_column_int64(s, 3),
        .ended = sqlite3_column_int64(s, 4),
        .expires = sqlite3_column_int64(s, 5),
        .ttl = sqlite3_column_int64(s, 6),
        .bytes = sqlite3_column_int64(s, 7),
        .key = rb_column_blob(s, 8),
        .digest = rb_column_blob(s, 9),
        .stamp = rb_column_blob(s, 10),
        .batch = sqlite3_column_int64(s, 11),
        .attempts = sqlite3_column_int64(s, 12),
        .maybe_duplicate = sqlite3_column_int(s, 13) != 0,
        .message_id = rb_column_text(s, 14),
        .timestamp = rb_column_text(s, 15),
        .detail = rb_column_text(s, 16),
        .status = sqlite3_column_int(s, 17),
        .uid = sqlite3_column_int64(s, 18),
    };
    each(arg, &row);
}

bool rb_post_rows_get(struct rb_post_rows *rows, int64_t id, rb_post_each each, void *arg)
{
    sqlite3_bind_int64(rows->get, 1, id);
    if (!rb_store_row(rows->store, rows->get))
        return false;
    read_row(rows->get, each, arg);
    rb_store_row_end(rows->get);
    return true;
}

bool rb_post_rows_body(struct rb_post_rows *rows, int64_t id,
                       void (*each)(void *arg, struct rb_span metadata, struct rb_span payload), void *arg)
{
    sqlite3_bind_int64(rows->body, 1, id);
    if (!rb_store_row(rows->store, rows->body))
        return false;
    each(arg, rb_column_blob(rows->body, 0), rb_column_blob(rows->body, 1));
    rb_store_row_end(rows->body);
    return true;
}

void rb_post_rows_open(struct rb_post_rows *rows, bool scan, rb_post_each each, void *arg)
{
    sqlite3_stmt *s = scan ? rows->open_by_id : rows->open;
    while (rb_store_row(rows->store, s)) {
        struct rb_post_row row = {
            .id = sqlite3_column_int64(s, 0),
            .topic = sqlite3_column_int64(s, 1),
            .state = sqlite3_column_int(s, 2),
            .at = sqlite3_column_int64(s, 3),
            .expires = sqlite3_column_int64(s, 4),
            .bytes = sqlite3_column_int64(s, 5),
            .stamp = rb_column_blob(s, 6),
            .batch = sqlite3_column_int64(s, 7),
            .attempts = sqlite3_column_int(s, 8),
            .maybe_duplicate = sqlite3_column_int(s, 9) != 0,
            .uid = sqlite3_column_int64(s, 10),
        };
        each(arg, &row);
    }
}

void rb_post_rows_count(struct rb_post_rows *rows, int64_t *ret_open, int64_t *ret_at_most)
{
    *ret_open = *ret_at_most = 0;
    if (!rb_store_row(rows->store, rows->count))
        return;
    *ret_open = sqlite3_column_int64(rows->count, 0);
    *ret_at_most = sqlite3_column_int64(rows->count, 1);
    rb_store_row_end(rows->count);
}

void rb_post_rows_keys(struct rb_post_rows *rows, rb_post_each each, void *arg)
{
    while (rb_store_row(rows->store, rows->keys)) {
        struct rb_post_row row = {.id = sqlite3_column_int64(rows->keys, 0),
                                  .key = rb_column_blob(rows->keys, 1),
                                  .uid = sqlite3_column_int64(rows->keys, 2)};
        each(arg, &row);
    }
}

void rb_post_rows_after(struct rb_post_rows *rows, int64_t after, int limit, rb_post_each each, void *arg)
{
    sqlite3_bind_int64(rows->after, 1, after);
    sqlite3_bind_int(rows->after, 2, limit);
    while (rb_store_row(rows->store, rows->after))
        read_row(rows->after, each, arg);
}
