#include "message_rows.h"

/* What a row costs beside its texts, roughly: numbers, headers, the index entry. */
#define ROW_OVERHEAD 64
#define BYTES_SQL "length(payload) + coalesce(length(metadata), 0) + length(CAST(message_id AS BLOB))"

struct rb_message_rows {
    struct rb_store *store;
    sqlite3_stmt *add, *read, *id, *find, *ids, *stamps, *ages, *delete;
    sqlite3_stmt *anchor_load, *anchor_save, *anchor_delete;
};

int64_t rb_message_row_bytes(const struct rb_message_row *row)
{
    return (int64_t)(row->payload.len + row->metadata.len + row->message_id.len) + ROW_OVERHEAD;
}

enum rb_status rb_message_rows_new(struct rb_store *store, struct rb_message_rows **ret, struct rb_error *err)
{
    static const struct rb_statement statements[] = {
        {RB_ROWS_AT(ret, add), "INSERT INTO message(seq, topic, n, message_id, at, stamp, timestamp, metadata, payload)"
                               " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"},
        {RB_ROWS_AT(ret, read), "SELECT n, at, message_id, stamp, timestamp, metadata, payload FROM message"
                                " WHERE topic = ?1 AND n > ?2 ORDER BY n LIMIT ?3"},
        {RB_ROWS_AT(ret, id), "SELECT message_id FROM message WHERE topic = ?1 AND n = ?2"},
        {RB_ROWS_AT(ret, find),
         "SELECT n FROM message WHERE topic = ?1 AND n > ?2 AND message_id = ?3 ORDER BY n DESC LIMIT 1"},
        {RB_ROWS_AT(ret, ids), "SELECT message_id FROM message WHERE topic = ?1 AND n > ?2"},
        {RB_ROWS_AT(ret, stamps),
         "SELECT stamp FROM message WHERE topic = ?1 AND n > ?2 AND stamp IS NOT NULL ORDER BY n"},
        {RB_ROWS_AT(ret, ages),
         "SELECT n, at, " BYTES_SQL ", message_id FROM message WHERE topic = ?1 AND n > ?2 ORDER BY n LIMIT ?3"},
        {RB_ROWS_AT(ret, delete), "DELETE FROM message WHERE topic = ?1 AND n <= ?2"},
        {RB_ROWS_AT(ret, anchor_load), "SELECT message_id, incarnation FROM anchor WHERE topic = ?1"},
        {RB_ROWS_AT(ret, anchor_save), "INSERT INTO anchor(topic, message_id, incarnation) VALUES(?1, ?2, ?3)"
                                       " ON CONFLICT(topic) DO UPDATE SET message_id = excluded.message_id,"
                                       " incarnation = excluded.incarnation"},
        {RB_ROWS_AT(ret, anchor_delete), "DELETE FROM anchor WHERE topic = ?1"},
    };
    return RB_ROWS_NEW(store, statements, ret, err);
}

void rb_message_rows_free(struct rb_message_rows *rows)
{
    free(rows);
}

void rb_message_rows_add(struct rb_message_rows *rows, const struct rb_message_row *row)
{
    sqlite3_bind_int64(rows->add, 1, rb_store_next_id(rows->store, "message"));
    sqlite3_bind_int64(rows->add, 2, row->topic);
    sqlite3_bind_int64(rows->add, 3, row->n);
    rb_bind_text(rows->add, 4, row->message_id);
    sqlite3_bind_int64(rows->add, 5, row->at);
    rb_bind_blob(rows->add, 6, row->stamp.len ? row->stamp : (struct rb_span){0});
    rb_bind_text(rows->add, 7, row->timestamp.at ? row->timestamp : RB_SPAN(""));
    rb_bind_blob(rows->add, 8, row->metadata.len ? row->metadata : (struct rb_span){0});
    rb_bind_blob(rows->add, 9, row->payload.at ? row->payload : RB_SPAN(""));
    rb_store_write(rows->store, rows->add);
}

enum rb_status rb_message_rows_read(struct rb_message_rows *rows, int64_t topic, int64_t after, int64_t limit,
                                    bool (*each)(void *arg, const struct rb_message_row *row), void *arg)
{
    sqlite3_stmt *read = rows->read;
    sqlite3_bind_int64(read, 1, topic);
    sqlite3_bind_int64(read, 2, after);
    sqlite3_bind_int64(read, 3, limit);
    while (rb_store_row(rows->store, read)) {
        struct rb_message_row row = {
            .topic = topic,
            .n = sqlite3_column_int64(read, 0),
            .at = sqlite3_column_int64(read, 1),
            .message_id = rb_column_text(read, 2),
            .stamp = rb_column_blob(read, 3),
            .timestamp = rb_column_text(read, 4),
            .metadata = rb_column_blob(read, 5),
            .payload = rb_column_blob(read, 6),
        };
        if (!each(arg, &row)) {
            rb_store_row_end(read);
            return RB_OK;
        }
    }
    return rb_store_failed(rows->store);
}

bool rb_message_rows_id(struct rb_message_rows *rows, int64_t topic, int64_t n, struct rb_str *out)
{
    sqlite3_bind_int64(rows->id, 1, topic);
    sqlite3_bind_int64(rows->id, 2, n);
    if (!rb_store_row(rows->store, rows->id))
        return false;
    rb_str_add_span(out, rb_column_text(rows->id, 0));
    rb_store_row_end(rows->id);
    return !rb_str_failed(out);
}

int64_t rb_message_rows_find(struct rb_message_rows *rows, int64_t topic, int64_t after, struct rb_span message_id)
{
    sqlite3_bind_int64(rows->find, 1, topic);
    sqlite3_bind_int64(rows->find, 2, after);
    rb_bind_text(rows->find, 3, message_id);
    if (!rb_store_row(rows->store, rows->find))
        return 0;
    int64_t n = sqlite3_column_int64(rows->find, 0);
    rb_store_row_end(rows->find);
    return n;
}

void rb_message_rows_each_id(struct rb_message_rows *rows, int64_t topic, int64_t after,
                             void (*each)(void *arg, struct rb_span message_id), void *arg)
{
    sqlite3_bind_int64(rows->ids, 1, topic);
    sqlite3_bind_int64(rows->ids, 2, after);
    while (rb_store_row(rows->store, rows->ids))
        each(arg, rb_column_text(rows->ids, 0));
}

void rb_message_rows_each_stamp(struct rb_message_rows *rows, int64_t topic, int64_t after,
                                void (*each)(void *arg, struct rb_span stamp), void *arg)
{
    sqlite3_bind_int64(rows->stamps, 1, topic);
    sqlite3_bind_int64(rows->stamps, 2, after);
    while (rb_store_row(rows->store, rows->stamps))
        each(arg, rb_column_blob(rows->stamps, 0));
}

void rb_message_rows_each_age(struct rb_message_rows *rows, int64_t topic, int64_t after, int64_t limit,
                              bool (*each)(void *arg, int64_t n, int64_t at, int64_t bytes, struct rb_span message_id),
                              void *arg)
{
    sqlite3_stmt *ages = rows->ages;
    sqlite3_bind_int64(ages, 1, topic);
    sqlite3_bind_int64(ages, 2, after);
    sqlite3_bind_int64(ages, 3, limit);
    while (rb_store_row(rows->store, ages)) {
        if (!each(arg, sqlite3_column_int64(ages, 0), sqlite3_column_int64(ages, 1),
                  sqlite3_column_int64(ages, 2) + ROW_OVERHEAD, rb_column_text(ages, 3))) {
            rb_store_row_end(ages);
            return;
        }
    }
}

void rb_message_rows_delete(struct rb_message_rows *rows, int64_t topic, int64_t upto)
{
    sqlite3_bind_int64(rows->delete, 1, topic);
    sqlite3_bind_int64(rows->delete, 2, upto);
    rb_store_write(rows->store, rows->delete);
}

bool rb_anchor_load(struct rb_message_rows *rows, int64_t topic, struct rb_str *message_id, int64_t *ret_incarnation)
{
    sqlite3_bind_int64(rows->anchor_load, 1, topic);
    if (!rb_store_row(rows->store, rows->anchor_load))
        return false;
    rb_str_add_span(message_id, rb_column_text(rows->anchor_load, 0));
    *ret_incarnation = sqlite3_column_int64(rows->anchor_load, 1);
    rb_store_row_end(rows->anchor_load);
    return !rb_str_failed(message_id);
}

void rb_anchor_save(struct rb_message_rows *rows, int64_t topic, struct rb_span message_id, int64_t incarnation)
{
    sqlite3_bind_int64(rows->anchor_save, 1, topic);
    rb_bind_text(rows->anchor_save, 2, message_id);
    sqlite3_bind_int64(rows->anchor_save, 3, incarnation);
    rb_store_write(rows->store, rows->anchor_save);
}

void rb_anchor_delete(struct rb_message_rows *rows, int64_t topic)
{
    sqlite3_bind_int64(rows->anchor_delete, 1, topic);
    rb_store_write(rows->store, rows->anchor_delete);
}
