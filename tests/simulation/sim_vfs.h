/* Simulated file system: a SQLite VFS in memory whose crash keeps what was synced and, of what was not, any subset of
 * the writes, each whole, dropped or torn at a 512-byte sector (no POWERSAFE_OVERWRITE claim: T6). */
#ifndef RB_SIM_VFS_H
#define RB_SIM_VFS_H

#include <stdbool.h>
#include <stdint.h>

#include "random.h"

struct sim_vfs;

/* Registered with SQLite under `name`. `op` is called before every write, sync, truncate and delete; when it returns
 * false the process is dead: the call and all later ones fail and change nothing. */
struct sim_vfs *sim_vfs_new(const char *name, struct rb_random *random, bool (*op)(void *arg), void *arg);
void sim_vfs_free(struct sim_vfs *vfs);

/* Fixes what a crash at this instant leaves. Until sim_vfs_revive every call on the files fails. */
void sim_vfs_crash(struct sim_vfs *vfs);
void sim_vfs_revive(struct sim_vfs *vfs);

/* Writes that would grow a file fail with SQLITE_FULL. */
void sim_vfs_set_full(struct sim_vfs *vfs, bool full);
/* A file system that writes nothing in place: on a full disk what is overwritten needs room too. */
void sim_vfs_set_copies(struct sim_vfs *vfs);
/* The next sync fails with an I/O error (outcome unknown). */
void sim_vfs_fail_sync(struct sim_vfs *vfs);
/* A copy of all files as they are on disk now, to be restored later: a backup of the state folder (R3). */
struct sim_vfs_copy;
struct sim_vfs_copy *sim_vfs_copy(struct sim_vfs *vfs);
void sim_vfs_restore(struct sim_vfs *vfs, struct sim_vfs_copy *copy); /* frees the copy */

#endif
