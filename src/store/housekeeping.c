/* Housekeeping: what is done to the file between ticks. */
#include <sys/statvfs.h>

#include "log.h"
#include "sql.h"
#include "store_inside.h"

enum { CHECKPOINT_FRAMES = 1000, CHECKPOINT_LEAST_FRAMES = 16 };

/* Nothing is lost by a checkpoint that finds no room: it is tried again. After an I/O error the next fsync may lie
 * about what this one lost, so it must not come to that: the store is marked and the process ends (T4). */
static void note(struct rb_store *store, int result, const char *what, bool *said)
{
    if (rb_sql_status(store->db, result) == RB_IO)
        rb_store_mark(store, result, NULL);
    else if (result != SQLITE_OK && !*said)
        rb_log(RB_LOG_WARNING, "store", "%s failed and will be tried again: %s", what, sqlite3_errmsg(store->db));
    *said = result != SQLITE_OK;
}

/* What the log holds still has to find room in the database file: while it can, it goes there, and its place in the log
 * is used again. Otherwise the log alone fills a small disk, with no way to give anything back. */
static bool room_gets_short(const struct rb_store *store)
{
    struct statvfs disk;
    if (store->lock_fd < 0 || store->wal_frames < CHECKPOINT_LEAST_FRAMES || fstatvfs(store->lock_fd, &disk) != 0)
        return false;
    return disk.f_bavail * disk.f_frsize < (uint64_t)(store->wal_frames * store->page_size);
}

static bool is_due(const struct rb_store *store)
{
    if (store->room_due && store->wal_frames > 0)
        return true;
    return store->wal_frames > CHECKPOINT_FRAMES || room_gets_short(store);
}

void rb_store_checkpoint(struct rb_store *store, bool truncate)
{
    truncate = truncate || store->truncate_due;
    if (store->open || (!truncate && !is_due(store)))
        return;
    store->room_due = false;
    int result = rb_wal_checkpoint(store, truncate);
    note(store, result, "a checkpoint", &store->checkpoint_failed);
    if (result == SQLITE_OK && truncate)
        store->truncate_due = false;
}

void rb_store_vacuum(struct rb_store *store, int pages)
{
    if (store->open || pages <= 0)
        return;
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%d)", pages);
    note(store, rb_sql_run(store->db, sql), "giving space back", &store->vacuum_failed);
}

void rb_store_wipe_securely(struct rb_store *store)
{
    if (store->wiping || !rb_store_begin(store))
        return;
    int result = rb_sql_run(store->db, "PRAGMA secure_delete = ON");
    if (result == SQLITE_OK)
        store->wiping = true;
    else
        rb_store_mark(store, result, NULL);
}

void rb_store_wipe_end(struct rb_store *store, bool committed)
{
    if (!store->wiping)
        return;
    store->wiping = false;
    store->truncate_due = store->truncate_due || committed;
    /* Should it fail, deleting stays secure and slower. */
    (void)rb_sql_run(store->db, "PRAGMA secure_delete = FAST");
}

void rb_store_stats(struct rb_store *store, struct rb_store_stats *ret)
{
    int64_t pages = sqlite3_step(store->page_count) == SQLITE_ROW ? sqlite3_column_int64(store->page_count, 0) : 0;
    sqlite3_reset(store->page_count);
    *ret = (struct rb_store_stats){.file_bytes = pages * store->page_size,
                                   .wal_frames = store->wal_frames,
                                   .commits = store->commits,
                                   .failed_commits = store->failed_commits};
}
