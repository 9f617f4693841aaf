/* Wal: where the write-ahead log's last commit ends, and how a commit that failed is kept from coming back.
 *
 * A commit is a last frame in the log. When something after it finds no room (the padding to a sector), the commit has
 * failed but its frames are whole, and a recovery would take them for good. So they are cut off, which needs no room.
 * Cutting needs to know where the last good commit ends: SQLite tells after each commit, but once everything is in the
 * database file the next write starts the log anew, at its beginning and under another salt. Before the first commit the
 * end is found as a recovery finds it: by the frames' checksums. */
#include <stdlib.h>

#include "sql.h"
#include "store_inside.h"

/* The log's header and each frame's: SQLite's file format, "The Write-Ahead Log". */
enum {
    LOG_HEADER = 32,
    FRAME_HEADER = 24,
    AT_SALT = 16,
    AT_LOG_SUM = 24,
    AT_FRAME_COMMIT = 4,
    AT_FRAME_SALT = 8,
    AT_FRAME_SUM = 16,
    SALT = sizeof(((struct rb_store *)0)->wal_salt),
};

static sqlite3_file *log_file(struct rb_store *store)
{
    sqlite3_file *log = NULL;
    if (sqlite3_file_control(store->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) != SQLITE_OK)
        return NULL;
    return log && log->pMethods ? log : NULL;
}

static bool read_salt(struct rb_store *store, unsigned char ret[SALT])
{
    sqlite3_file *log = log_file(store);
    return log && log->pMethods->xRead(log, ret, SALT, AT_SALT) == SQLITE_OK;
}

static int after_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
    struct rb_store *store = arg;
    store->wal_frames = frames;
    store->wal_end = frames;
    if (store->wal_salt_stale && !read_salt(store, store->wal_salt))
        store->wal_end = -1;
    store->wal_salt_stale = store->wal_end < 0;
    return SQLITE_OK;
}

void rb_wal_watch(struct rb_store *store)
{
    store->wal_end = -1;
    store->wal_salt_stale = true;
    sqlite3_wal_hook(store->db, after_commit, store);
}

/* --- a log that another process left --- */

struct sum {
    bool big_endian;
    uint32_t first, second;
};

static uint32_t word(const unsigned char *at, bool big_endian)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t)at[i] << 8 * (big_endian ? 3 - i : i);
    return value;
}

static void add(struct sum *sum, const unsigned char *bytes, int64_t len)
{
    for (const unsigned char *at = bytes; at < bytes + len; at += 8) {
        sum->first += word(at, sum->big_endian) + sum->second;
        sum->second += word(at + 4, sum->big_endian) + sum->first;
    }
}

static bool is_sum(const struct sum *sum, const unsigned char *at)
{
    return word(at, true) == sum->first && word(at + 4, true) == sum->second;
}

static int64_t count_frames(sqlite3_file *log, const unsigned char *salt, struct sum sum, unsigned char *frame,
                            int64_t page_size)
{
    const int64_t size = FRAME_HEADER + page_size;
    int64_t end = 0;
    for (int64_t i = 0; log->pMethods->xRead(log, frame, (int)size, LOG_HEADER + i * size) == SQLITE_OK; i++) {
        add(&sum, frame, AT_FRAME_SALT);
        add(&sum, frame + FRAME_HEADER, page_size);
        if (memcmp(frame + AT_FRAME_SALT, salt, SALT) != 0 || !is_sum(&sum, frame + AT_FRAME_SUM))
            break;
        if (word(frame + AT_FRAME_COMMIT, true))
            end = i + 1;
    }
    return end;
}

void rb_wal_measure(struct rb_store *store)
{
    unsigned char head[LOG_HEADER];
    sqlite3_file *log = log_file(store);
    if (!log || log->pMethods->xRead(log, head, LOG_HEADER, 0) != SQLITE_OK)
        return;
    struct sum sum = {.big_endian = head[3] & 1};
    add(&sum, head, AT_LOG_SUM);
    unsigned char *frame = is_sum(&sum, head + AT_LOG_SUM) ? malloc(FRAME_HEADER + (size_t)store->page_size) : NULL;
    if (!frame)
        return;
    store->wal_end = store->wal_frames = count_frames(log, head + AT_SALT, sum, frame, store->page_size);
    memcpy(store->wal_salt, head + AT_SALT, SALT);
    store->wal_salt_stale = false;
    free(frame);
}

/* --- checkpoints and failed commits --- */

int rb_wal_checkpoint(struct rb_store *store, bool truncate)
{
    int frames = 0, done = 0;
    int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    int result = sqlite3_wal_checkpoint_v2(store->db, "main", mode, &frames, &done);
    store->wal_salt_stale = true;
    if (result != SQLITE_OK)
        return result;
    store->wal_frames = frames > done ? frames - done : 0;
    if (truncate)
        store->wal_end = 0;
    return SQLITE_OK;
}

enum rb_status rb_wal_unwrite(struct rb_store *store)
{
    unsigned char salt[SALT];
    sqlite3_file *log = log_file(store);
    if (store->wal_end < 0 || !log)
        return rb_sql_status(store->db, rb_wal_checkpoint(store, true));
    int64_t end = 0;
    if (store->wal_end > 0) {
        if (!read_salt(store, salt))
            return RB_IO;
        bool anew = memcmp(salt, store->wal_salt, SALT) != 0;
        store->wal_end = anew ? 0 : store->wal_end;
        end = anew ? 0 : LOG_HEADER + store->wal_end * (store->page_size + FRAME_HEADER);
    }
    int result = log->pMethods->xTruncate(log, end);
    if (result == SQLITE_OK)
        result = log->pMethods->xSync(log, SQLITE_SYNC_FULL);
    return rb_sql_status(store->db, result);
}
