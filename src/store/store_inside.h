/* Store, inside: what the files behind store.h share. Not for table files. */
#ifndef RB_STORE_INSIDE_H
#define RB_STORE_INSIDE_H

#include "store.h"

enum { RB_SEQUENCES_MAX = 32, RB_SEQUENCE_BLOCK = 1000, RB_SEQUENCE_NAME_MAX = 31 };

/* A block of ids: `next` up to `last` may be given. Empty when next > last. */
struct rb_sequence {
    char name[RB_SEQUENCE_NAME_MAX + 1];
    int64_t next, last;
};

struct rb_store {
    sqlite3 *db;
    int lock_fd; /* -1 without a lock (own VFS) */
    sqlite3_stmt *begin, *commit, *rollback, *reserve, *page_count;
    int64_t page_size;

    bool open;             /* a transaction */
    enum rb_status failed; /* the transaction's mark */

    struct rb_sequence sequences[RB_SEQUENCES_MAX];
    size_t sequence_count;
    int64_t void_ids; /* given in failed transactions: unique, negative */

    bool wiping;                           /* secure_delete is ON until this transaction ends */
    bool truncate_due;                     /* the WAL may hold what was wiped */
    bool room_due;                         /* a commit found no room; what the log holds may lie in the file instead */
    bool checkpoint_failed, vacuum_failed; /* said once */
    int64_t wal_frames;                    /* of the log, not yet in the database file */
    int64_t wal_end;                       /* frames up to the last commit; -1: not known */
    unsigned char wal_salt[8];             /* of the log that wal_end is about */
    bool wal_salt_stale;                   /* the log may have been started anew since */
    uint64_t commits, failed_commits;
};

/* Marks the transaction as failed with what SQLite said; a defect is logged with its statement's text, never with
 * values. */
void rb_store_mark(struct rb_store *store, int result, sqlite3_stmt *statement);
/* Begins the transaction if none is open; false when it is marked or cannot be begun. */
bool rb_store_begin(struct rb_store *store);
/* Begins to follow the log; the database is in WAL mode. */
void rb_wal_watch(struct rb_store *store);
/* For a log that an earlier process left and that could not be written back; before the first write. */
void rb_wal_measure(struct rb_store *store);
/* SQLite's result. */
int rb_wal_checkpoint(struct rb_store *store, bool truncate);
/* After a COMMIT that failed and was rolled back: makes sure that no recovery brings it back. */
enum rb_status rb_wal_unwrite(struct rb_store *store);
void rb_sequence_forget(struct rb_store *store);
/* The transaction ended: secure_delete goes back; after a commit a TRUNCATE checkpoint is due. */
void rb_store_wipe_end(struct rb_store *store, bool committed);

#endif
