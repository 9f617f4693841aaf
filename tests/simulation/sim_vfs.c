#include "sim_vfs.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "list.h"
#include "str.h"

enum { SECTOR = 512, FILES = 8 };

/* A write (or truncation: `bytes` NULL, offset the new size) since the last sync. */
struct pending {
    struct rb_list node;
    int64_t offset;
    size_t len;
    unsigned char *bytes;
};

struct content {
    unsigned char *at;
    size_t len, room;
};

struct disk_file {
    char name[128];
    bool exists;
    struct content now, durable;
    struct rb_list pending;
};

struct sim_vfs {
    sqlite3_vfs vfs;
    char name[32];
    struct rb_random *random;
    bool (*op)(void *arg);
    void *arg;
    bool dead, full, copies, fail_sync;
    struct disk_file files[FILES];
};

struct sim_vfs_copy {
    struct {
        char name[128];
        bool exists;
        struct content content;
    } files[FILES];
};

struct open_file {
    sqlite3_file base;
    struct sim_vfs *vfs;
    struct disk_file *file;
};

static void *must(void *pointer)
{
    if (!pointer)
        abort();
    return pointer;
}

static void content_write(struct content *content, int64_t offset, const unsigned char *bytes, size_t len)
{
    size_t end = (size_t)offset + len;
    if (end > content->room) {
        content->room = end * 2;
        content->at = must(realloc(content->at, content->room));
    }
    if (end > content->len) {
        if ((size_t)offset > content->len)
            memset(content->at + content->len, 0, (size_t)offset - content->len);
        content->len = end;
    }
    memcpy(content->at + offset, bytes, len);
}

static void content_resize(struct content *content, size_t len)
{
    if (len < content->len)
        content->len = len;
}

static void content_copy(struct content *to, const struct content *from)
{
    to->len = 0;
    if (from->len)
        content_write(to, 0, from->at, from->len);
}

static void pending_apply(struct content *content, const struct pending *pending)
{
    if (pending->bytes)
        content_write(content, pending->offset, pending->bytes, pending->len);
    else
        content_resize(content, (size_t)pending->offset);
}

static void pending_clear(struct disk_file *file)
{
    for (struct rb_list *node; (node = rb_list_pop(&file->pending));) {
        struct pending *pending = RB_CONTAINER(node, struct pending, node);
        free(pending->bytes);
        free(pending);
    }
}

static bool alive(struct sim_vfs *vfs)
{
    return !vfs->dead && vfs->op(vfs->arg) && !vfs->dead;
}

static void pending_add(struct disk_file *file, int64_t offset, const void *bytes, size_t len)
{
    struct pending *pending = must(calloc(1, sizeof *pending));
    pending->offset = offset;
    pending->len = len;
    if (bytes) {
        pending->bytes = must(malloc(len ? len : 1));
        memcpy(pending->bytes, bytes, len);
    }
    rb_list_push(&file->pending, &pending->node);
}

static int io_close(sqlite3_file *base)
{
    return SQLITE_OK;
}

static int io_read(sqlite3_file *base, void *bytes, int len, sqlite3_int64 offset)
{
    struct disk_file *file = ((struct open_file *)base)->file;
    if (((struct open_file *)base)->vfs->dead)
        return SQLITE_IOERR_READ;
    size_t have = (size_t)offset < file->now.len ? file->now.len - (size_t)offset : 0;
    size_t take = have < (size_t)len ? have : (size_t)len;
    if (take)
        memcpy(bytes, file->now.at + offset, take);
    memset((char *)bytes + take, 0, (size_t)len - take);
    return take == (size_t)len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int io_write(sqlite3_file *base, const void *bytes, int len, sqlite3_int64 offset)
{
    struct open_file *open = (struct open_file *)base;
    if (!alive(open->vfs))
        return SQLITE_IOERR_WRITE;
    bool grows = (size_t)offset + (size_t)len > open->file->now.len;
    if (open->vfs->full && (grows || open->vfs->copies))
        return SQLITE_FULL;
    pending_add(open->file, offset, bytes, (size_t)len);
    content_write(&open->file->now, offset, bytes, (size_t)len);
    return SQLITE_OK;
}

static int io_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct open_file *open = (struct open_file *)base;
    if (!alive(open->vfs))
        return SQLITE_IOERR_TRUNCATE;
    pending_add(open->file, size, NULL, 0);
    content_resize(&open->file->now, (size_t)size);
    return SQLITE_OK;
}

static int io_sync(sqlite3_file *base, int flags)
{
    struct open_file *open = (struct open_file *)base;
    if (!alive(open->vfs))
        return SQLITE_IOERR_FSYNC;
    if (open->vfs->fail_sync) {
        open->vfs->fail_sync = false;
        return SQLITE_IOERR_FSYNC;
    }
    RB_LIST_EACH (&open->file->pending, node)
        pending_apply(&open->file->durable, RB_CONTAINER(node, struct pending, node));
    pending_clear(open->file);
    return SQLITE_OK;
}

static int io_size(sqlite3_file *base, sqlite3_int64 *ret)
{
    *ret = (sqlite3_int64)((struct open_file *)base)->file->now.len;
    return SQLITE_OK;
}

static int io_lock(sqlite3_file *base, int level)
{
    return SQLITE_OK;
}

static int io_check_lock(sqlite3_file *base, int *ret)
{
    *ret = 0;
    return SQLITE_OK;
}

static int io_control(sqlite3_file *base, int op, void *arg)
{
    return SQLITE_NOTFOUND;
}

static int io_sector_size(sqlite3_file *base)
{
    return SECTOR;
}

static int io_characteristics(sqlite3_file *base)
{
    return 0;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = io_close,
    .xRead = io_read,
    .xWrite = io_write,
    .xTruncate = io_truncate,
    .xSync = io_sync,
    .xFileSize = io_size,
    .xLock = io_lock,
    .xUnlock = io_lock,
    .xCheckReservedLock = io_check_lock,
    .xFileControl = io_control,
    .xSectorSize = io_sector_size,
    .xDeviceCharacteristics = io_characteristics,
};

static struct disk_file *file_find(struct sim_vfs *vfs, const char *name, bool make)
{
    struct disk_file *spare = NULL;
    for (int i = 0; i < FILES; i++) {
        if (vfs->files[i].name[0] && strcmp(vfs->files[i].name, name) == 0)
            return &vfs->files[i];
        if (!vfs->files[i].name[0] && !spare)
            spare = &vfs->files[i];
    }
    if (!make || !spare || strlen(name) >= sizeof spare->name)
        return NULL;
    memcpy(spare->name, name, strlen(name) + 1);
    return spare;
}

static int vfs_open(sqlite3_vfs *base, const char *name, sqlite3_file *ret, int flags, int *ret_flags)
{
    struct sim_vfs *vfs = base->pAppData;
    struct open_file *open = (struct open_file *)ret;
    open->base.pMethods = NULL;
    if (vfs->dead || !name)
        return SQLITE_CANTOPEN;
    struct disk_file *file = file_find(vfs, name, flags & SQLITE_OPEN_CREATE);
    if (!file || (!file->exists && !(flags & SQLITE_OPEN_CREATE)))
        return SQLITE_CANTOPEN;
    file->exists = true;
    open->vfs = vfs;
    open->file = file;
    open->base.pMethods = &methods;
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *base, const char *name, int sync)
{
    struct sim_vfs *vfs = base->pAppData;
    if (!alive(vfs))
        return SQLITE_IOERR_DELETE;
    struct disk_file *file = file_find(vfs, name, false);
    if (!file || !file->exists)
        return SQLITE_IOERR_DELETE_NOENT;
    pending_clear(file);
    file->now.len = file->durable.len = 0;
    file->exists = false;
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *base, const char *name, int flags, int *ret)
{
    struct disk_file *file = file_find(base->pAppData, name, false);
    *ret = file && file->exists;
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *base, const char *name, int room, char *ret)
{
    return snprintf(ret, (size_t)room, "%s", name) < room ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_random(sqlite3_vfs *base, int len, char *ret)
{
    struct sim_vfs *vfs = base->pAppData;
    rb_random_fill(vfs->random, ret, (size_t)len);
    return len;
}

static int vfs_sleep(sqlite3_vfs *base, int microseconds)
{
    return microseconds;
}

static int vfs_time(sqlite3_vfs *base, double *ret)
{
    *ret = 2461041.5;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *base, int len, char *text)
{
    return 0;
}

struct sim_vfs *sim_vfs_new(const char *name, struct rb_random *random, bool (*op)(void *arg), void *arg)
{
    struct sim_vfs *vfs = must(calloc(1, sizeof *vfs));
    snprintf(vfs->name, sizeof vfs->name, "%s", name);
    vfs->random = random;
    vfs->op = op;
    vfs->arg = arg;
    for (int i = 0; i < FILES; i++)
        rb_list_init(&vfs->files[i].pending);
    vfs->vfs = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = sizeof(struct open_file),
        .mxPathname = 120,
        .zName = vfs->name,
        .pAppData = vfs,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_last_error,
    };
    if (sqlite3_vfs_register(&vfs->vfs, 0) != SQLITE_OK)
        abort();
    return vfs;
}

void sim_vfs_free(struct sim_vfs *vfs)
{
    if (!vfs)
        return;
    sqlite3_vfs_unregister(&vfs->vfs);
    for (int i = 0; i < FILES; i++) {
        pending_clear(&vfs->files[i]);
        free(vfs->files[i].now.at);
        free(vfs->files[i].durable.at);
    }
    free(vfs);
}

void sim_vfs_crash(struct sim_vfs *vfs)
{
    if (vfs->dead)
        return;
    vfs->dead = true;
    for (int i = 0; i < FILES; i++) {
        struct disk_file *file = &vfs->files[i];
        RB_LIST_EACH (&file->pending, node) {
            struct pending *pending = RB_CONTAINER(node, struct pending, node);
            int64_t fate = rb_random_between(vfs->random, 0, 3);
            if (fate == 0)
                continue;
            if (fate == 1 && pending->bytes)
                pending->len = (size_t)rb_random_between(vfs->random, 0, (int64_t)pending->len / SECTOR) * SECTOR;
            pending_apply(&file->durable, pending);
        }
        pending_clear(file);
    }
}

void sim_vfs_revive(struct sim_vfs *vfs)
{
    for (int i = 0; i < FILES; i++) {
        pending_clear(&vfs->files[i]);
        content_copy(&vfs->files[i].now, &vfs->files[i].durable);
    }
    vfs->dead = false;
    vfs->fail_sync = false;
}

void sim_vfs_set_full(struct sim_vfs *vfs, bool full)
{
    vfs->full = full;
}

void sim_vfs_set_copies(struct sim_vfs *vfs)
{
    vfs->copies = true;
}

void sim_vfs_fail_sync(struct sim_vfs *vfs)
{
    vfs->fail_sync = true;
}

struct sim_vfs_copy *sim_vfs_copy(struct sim_vfs *vfs)
{
    struct sim_vfs_copy *copy = must(calloc(1, sizeof *copy));
    for (int i = 0; i < FILES; i++) {
        memcpy(copy->files[i].name, vfs->files[i].name, sizeof copy->files[i].name);
        copy->files[i].exists = vfs->files[i].exists;
        content_copy(&copy->files[i].content, &vfs->files[i].durable);
    }
    return copy;
}

void sim_vfs_restore(struct sim_vfs *vfs, struct sim_vfs_copy *copy)
{
    for (int i = 0; i < FILES; i++) {
        struct disk_file *file = &vfs->files[i];
        pending_clear(file);
        memcpy(file->name, copy->files[i].name, sizeof file->name);
        file->exists = copy->files[i].exists;
        content_copy(&file->durable, &copy->files[i].content);
        content_copy(&file->now, &copy->files[i].content);
        free(copy->files[i].content.at);
    }
    free(copy);
}
