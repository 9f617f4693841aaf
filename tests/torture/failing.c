#include "failing.h"

#include <errno.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static struct {
    struct world *world;
    struct failing_plan plan;
    bool on;
    int paused;
    uint64_t counted[FAILING_KINDS], injected;
    int64_t until_ms; /* of a plan that lasts, once its first call has failed */
    int64_t blocks;
    bool log_hidden, record_refused;

    sqlite3_vfs *vfs; /* the world's */
    sqlite3_vfs own;
    enum rb_status (*record_read)(struct rb_disk *, enum rb_record, struct rb_str *, struct rb_error *);
    enum rb_status (*record_write)(struct rb_disk *, enum rb_record, struct rb_span);
    enum rb_status (*start)(struct rb_carrier *, struct rb_exchange *);
    void (*abandon)(struct rb_carrier *, struct rb_exchange *);
    void (*done)(struct rb_exchange *);
} failing;

#ifdef __SANITIZE_ADDRESS__
void __sanitizer_print_stack_trace(void);
#endif

static void say_where(const char *what)
{
    failing_pause();
    world_trace(failing.world, "FAILS: %s", what);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_print_stack_trace();
#endif
    failing_go_on();
}

static bool lasts(void)
{
    if (failing.plan.while_ms == 0)
        return false;
    if (failing.until_ms == 0)
        failing.until_ms = failing.world->now_ms + failing.plan.while_ms;
    return failing.world->now_ms < failing.until_ms;
}

static bool fails(enum failing_kind kind, const char *what)
{
    if (!failing.on || failing.paused)
        return false;
    uint64_t number = ++failing.counted[kind];
    const struct failing_plan *plan = &failing.plan;
    if (kind != plan->kind || plan->nth == 0 || number < plan->nth || (number > plan->nth && !lasts()))
        return false;
    if (number == plan->nth)
        (void)lasts();
    failing.injected++;
    if (plan->trace && failing.injected <= 3)
        say_where(what);
    return true;
}

void failing_begin(const struct failing_plan *plan)
{
    failing.plan = *plan;
    memset(failing.counted, 0, sizeof failing.counted);
    failing.injected = 0;
    failing.record_refused = false;
    failing.until_ms = 0;
    failing.on = true;
}

void failing_end(void)
{
    failing.on = false;
}

void failing_pause(void)
{
    failing.paused++;
}

void failing_go_on(void)
{
    failing.paused--;
}

uint64_t failing_counted(enum failing_kind kind)
{
    return failing.counted[kind];
}

uint64_t failing_injected(void)
{
    return failing.injected;
}

bool failing_record_refused(void)
{
    return failing.record_refused;
}

int64_t failing_blocks(void)
{
    return failing.blocks;
}

/* --- memory: the linker's --wrap --- */

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__real_reallocarray(void *at, size_t count, size_t size);
void __real_free(void *at);
char *__real_strdup(const char *text);
void *__real_sodium_malloc(size_t size);
void __real_sodium_free(void *at);
int __real_sodium_mlock(void *at, size_t len);
void __real_rb_clock_run(struct rb_clock *clock);
size_t __real_fwrite(const void *at, size_t size, size_t count, FILE *stream);

static void *made(void *at)
{
    failing.blocks += at != NULL;
    return at;
}

static bool no_memory(const char *what)
{
    if (!fails(FAILING_MEMORY, what))
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return no_memory("malloc") ? NULL : made(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory("calloc") ? NULL : made(__real_calloc(count, size));
}

static void *grown(void *before, void *at)
{
    failing.blocks += !before && at;
    return at;
}

void *__wrap_realloc(void *at, size_t size)
{
    return no_memory("realloc") ? NULL : grown(at, __real_realloc(at, size));
}

void *__wrap_reallocarray(void *at, size_t count, size_t size)
{
    return no_memory("reallocarray") ? NULL : grown(at, __real_reallocarray(at, count, size));
}

char *__wrap_strdup(const char *text)
{
    return no_memory("strdup") ? NULL : made(__real_strdup(text));
}

void __wrap_free(void *at)
{
    failing.blocks -= at != NULL;
    __real_free(at);
}

void *__wrap_sodium_malloc(size_t size)
{
    return no_memory("sodium_malloc") ? NULL : made(__real_sodium_malloc(size));
}

void __wrap_sodium_free(void *at)
{
    failing.blocks -= at != NULL;
    __real_sodium_free(at);
}

int __wrap_sodium_mlock(void *at, size_t len)
{
    return no_memory("sodium_mlock") ? -1 : __real_sodium_mlock(at, len);
}

/* The network's timers belong to the test; what they deliver is let through in on_done. */
void __wrap_rb_clock_run(struct rb_clock *clock)
{
    bool ours = failing.world && clock == &failing.world->net.clock;
    if (ours)
        failing_pause();
    __real_rb_clock_run(clock);
    if (ours)
        failing_go_on();
}

void failing_hide_log(bool hidden)
{
    failing.log_hidden = hidden;
}

size_t __wrap_fwrite(const void *at, size_t size, size_t count, FILE *stream)
{
    return failing.log_hidden && stream == stderr ? count : __real_fwrite(at, size, count, stream);
}

/* --- memory of SQLite and jansson --- */

enum { HEAD = 16 };

static void *sqlite_malloc(int size)
{
    if (no_memory("SQLite's malloc"))
        return NULL;
    char *at = made(__real_malloc((size_t)size + HEAD));
    if (!at)
        return NULL;
    memcpy(at, &size, sizeof size);
    return at + HEAD;
}

static void sqlite_free(void *at)
{
    if (at)
        __wrap_free((char *)at - HEAD);
}

static void *sqlite_realloc(void *before, int size)
{
    if (no_memory("SQLite's realloc"))
        return NULL;
    char *at = __real_realloc((char *)before - HEAD, (size_t)size + HEAD);
    if (!at)
        return NULL;
    memcpy(at, &size, sizeof size);
    return at + HEAD;
}

static int sqlite_size(void *at)
{
    int size = 0;
    if (at)
        memcpy(&size, (char *)at - HEAD, sizeof size);
    return size;
}

static int sqlite_roundup(int size)
{
    return (size + 7) & ~7;
}

static int sqlite_init(void *arg)
{
    return SQLITE_OK;
}

static void sqlite_end(void *arg)
{
}

void failing_init(void)
{
    static const sqlite3_mem_methods methods = {sqlite_malloc,  sqlite_free, sqlite_realloc, sqlite_size,
                                                sqlite_roundup, sqlite_init, sqlite_end,     NULL};
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    /* Without lookaside each small piece of memory is a call of its own. */
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK || sqlite3_initialize() != SQLITE_OK)
        abort();
}

/* --- the disk: a VFS around the world's --- */

struct file {
    sqlite3_file base;
    sqlite3_file *inner; /* behind this */
};

static sqlite3_file *inner_of(sqlite3_file *base)
{
    return ((struct file *)base)->inner;
}

static int passed(int result)
{
    failing_go_on();
    return result;
}

/* The world's own VFS runs paused; `call` is evaluated in between. */
#define PASS(call) (failing_pause(), passed(call))

static int file_close(sqlite3_file *base)
{
    return PASS(inner_of(base)->pMethods->xClose(inner_of(base)));
}

static int file_read(sqlite3_file *base, void *bytes, int len, sqlite3_int64 offset)
{
    if (fails(FAILING_DISK, "a read of the database"))
        return SQLITE_IOERR_READ;
    return PASS(inner_of(base)->pMethods->xRead(inner_of(base), bytes, len, offset));
}

static int file_write(sqlite3_file *base, const void *bytes, int len, sqlite3_int64 offset)
{
    if (fails(FAILING_DISK, "a write to the database"))
        return SQLITE_IOERR_WRITE;
    if (fails(FAILING_ROOM, "a write to the database, for room"))
        return SQLITE_FULL;
    return PASS(inner_of(base)->pMethods->xWrite(inner_of(base), bytes, len, offset));
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    if (fails(FAILING_DISK, "a truncation of the database"))
        return SQLITE_IOERR_TRUNCATE;
    return PASS(inner_of(base)->pMethods->xTruncate(inner_of(base), size));
}

static int file_sync(sqlite3_file *base, int flags)
{
    if (fails(FAILING_DISK, "a sync of the database"))
        return SQLITE_IOERR_FSYNC;
    return PASS(inner_of(base)->pMethods->xSync(inner_of(base), flags));
}

static int file_size(sqlite3_file *base, sqlite3_int64 *ret)
{
    if (fails(FAILING_DISK, "the size of the database"))
        return SQLITE_IOERR_FSTAT;
    return PASS(inner_of(base)->pMethods->xFileSize(inner_of(base), ret));
}

static int file_lock(sqlite3_file *base, int level)
{
    if (fails(FAILING_DISK, "a lock on the database"))
        return SQLITE_IOERR_LOCK;
    return PASS(inner_of(base)->pMethods->xLock(inner_of(base), level));
}

static int file_unlock(sqlite3_file *base, int level)
{
    if (fails(FAILING_DISK, "an unlock of the database"))
        return SQLITE_IOERR_UNLOCK;
    return PASS(inner_of(base)->pMethods->xUnlock(inner_of(base), level));
}

static int file_check_lock(sqlite3_file *base, int *ret)
{
    if (fails(FAILING_DISK, "a look at the database's lock"))
        return SQLITE_IOERR_CHECKRESERVEDLOCK;
    return PASS(inner_of(base)->pMethods->xCheckReservedLock(inner_of(base), ret));
}

static int file_control(sqlite3_file *base, int op, void *arg)
{
    return PASS(inner_of(base)->pMethods->xFileControl(inner_of(base), op, arg));
}

static int file_sector_size(sqlite3_file *base)
{
    return inner_of(base)->pMethods->xSectorSize(inner_of(base));
}

static int file_characteristics(sqlite3_file *base)
{
    return inner_of(base)->pMethods->xDeviceCharacteristics(inner_of(base));
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *ret, int flags, int *ret_flags)
{
    struct file *file = (struct file *)ret;
    file->base.pMethods = NULL;
    if (fails(FAILING_DISK, "an open"))
        return SQLITE_CANTOPEN;
    file->inner = (sqlite3_file *)(file + 1);
    int result = PASS(failing.vfs->xOpen(failing.vfs, name, file->inner, flags, ret_flags));
    if (result == SQLITE_OK)
        file->base.pMethods = &file_methods;
    return result;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    if (fails(FAILING_DISK, "a deletion"))
        return SQLITE_IOERR_DELETE;
    return PASS(failing.vfs->xDelete(failing.vfs, name, sync));
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    if (fails(FAILING_DISK, "a look for a file"))
        return SQLITE_IOERR_ACCESS;
    return PASS(failing.vfs->xAccess(failing.vfs, name, flags, ret));
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int room, char *ret)
{
    return failing.vfs->xFullPathname(failing.vfs, name, room, ret);
}

static int vfs_random(sqlite3_vfs *vfs, int len, char *ret)
{
    return failing.vfs->xRandomness(failing.vfs, len, ret);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    return failing.vfs->xSleep(failing.vfs, microseconds);
}

static int vfs_time(sqlite3_vfs *vfs, double *ret)
{
    return failing.vfs->xCurrentTime(failing.vfs, ret);
}

static int vfs_last_error(sqlite3_vfs *vfs, int len, char *text)
{
    return 0;
}

static void attach_vfs(void)
{
    failing.vfs = sqlite3_vfs_find("simulated");
    if (!failing.vfs)
        abort();
    sqlite3_vfs_unregister(failing.vfs);
    failing.own = *failing.vfs;
    failing.own.szOsFile = (int)sizeof(struct file) + failing.vfs->szOsFile;
    failing.own.xOpen = vfs_open;
    failing.own.xDelete = vfs_delete;
    failing.own.xAccess = vfs_access;
    failing.own.xFullPathname = vfs_full_path;
    failing.own.xRandomness = vfs_random;
    failing.own.xSleep = vfs_sleep;
    failing.own.xCurrentTime = vfs_time;
    failing.own.xGetLastError = vfs_last_error;
    if (sqlite3_vfs_register(&failing.own, 0) != SQLITE_OK)
        abort();
}

/* --- the records --- */

static enum rb_status record_read(struct rb_disk *disk, enum rb_record record, struct rb_str *out, struct rb_error *err)
{
    if (fails(FAILING_DISK, "a read of a record"))
        return rb_fail(err, RB_IO, "The record could not be read.");
    failing_pause();
    enum rb_status status = failing.record_read(disk, record, out, err);
    failing_go_on();
    return status;
}

static enum rb_status record_write(struct rb_disk *disk, enum rb_record record, struct rb_span bytes)
{
    if (fails(FAILING_DISK, "a write of a record")) {
        failing.record_refused = true;
        return RB_IO;
    }
    failing_pause();
    enum rb_status status = failing.record_write(disk, record, bytes);
    failing_go_on();
    return status;
}

/* --- the network --- */

static void on_done(struct rb_exchange *exchange)
{
    failing_go_on();
    failing.done(exchange);
    failing_pause();
}

static enum rb_status carrier_start(struct rb_carrier *carrier, struct rb_exchange *exchange)
{
    if (no_memory("the start of an exchange"))
        return RB_NO_MEMORY;
    failing.done = exchange->done;
    exchange->done = on_done;
    failing_pause();
    enum rb_status status = failing.start(carrier, exchange);
    failing_go_on();
    return status;
}

static void carrier_abandon(struct rb_carrier *carrier, struct rb_exchange *exchange)
{
    failing_pause();
    failing.abandon(carrier, exchange);
    failing_go_on();
}

void failing_attach(struct world *world)
{
    failing.world = world;
    attach_vfs();
    failing.record_read = world->disk.read;
    failing.record_write = world->disk.write;
    world->disk = (struct rb_disk){.read = record_read, .write = record_write};
    failing.start = world->carrier.start;
    failing.abandon = world->carrier.abandon;
    world->carrier = (struct rb_carrier){.start = carrier_start, .abandon = carrier_abandon};
}

void failing_detach(void)
{
    sqlite3_vfs_unregister(&failing.own);
}
