#include "fault_vfs.h"

#include <sqlite3.h>
#include <stdbool.h>

struct rb_fault fault;

struct fault_file {
    sqlite3_file base;
    sqlite3_file *real;
};

static sqlite3_vfs *system_vfs;

static sqlite3_file *real(sqlite3_file *file)
{
    return ((struct fault_file *)(void *)file)->real;
}

static bool strikes(int kind)
{
    if (fault.kind != FAULT_ANY && (int)fault.kind != kind)
        return false;
    if (fault.countdown > 0 && --fault.countdown == 0) {
        fault.hits++;
        return true;
    }
    if (fault.countdown == 0 && fault.hits && fault.more != 0) {
        if (fault.more > 0)
            fault.more--;
        fault.hits++;
        return true;
    }
    return false;
}

static int fault_close(sqlite3_file *file)
{
    sqlite3_file *at = real(file);
    int result = at->pMethods ? at->pMethods->xClose(at) : SQLITE_OK;
    sqlite3_free(at);
    return result;
}

static int fault_read(sqlite3_file *file, void *bytes, int len, sqlite3_int64 offset)
{
    return real(file)->pMethods->xRead(real(file), bytes, len, offset);
}

static int fault_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 offset)
{
    return strikes(FAULT_WRITE) ? fault.result : real(file)->pMethods->xWrite(real(file), bytes, len, offset);
}

static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return strikes(FAULT_TRUNCATE) ? fault.result : real(file)->pMethods->xTruncate(real(file), size);
}

static int fault_sync(sqlite3_file *file, int flags)
{
    return strikes(FAULT_SYNC) ? fault.result : SQLITE_OK; /* no test here loses power */
}

static int fault_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    return real(file)->pMethods->xFileSize(real(file), ret);
}

static int fault_lock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xLock(real(file), level);
}

static int fault_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}

static int fault_reserved(sqlite3_file *file, int *ret)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), ret);
}

static int fault_control(sqlite3_file *file, int operation, void *arg)
{
    return real(file)->pMethods->xFileControl(real(file), operation, arg);
}

static int fault_sector(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int fault_traits(sqlite3_file *file)
{
    return 0;
}

static const sqlite3_io_methods methods = {
    1,          fault_close,  fault_read,     fault_write,   fault_truncate, fault_sync,  fault_size,
    fault_lock, fault_unlock, fault_reserved, fault_control, fault_sector,   fault_traits};

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    struct fault_file *at = (struct fault_file *)(void *)file;
    at->base.pMethods = NULL;
    at->real = sqlite3_malloc(system_vfs->szOsFile);
    if (!at->real)
        return SQLITE_NOMEM;
    int result = system_vfs->xOpen(system_vfs, name, at->real, flags, ret_flags);
    if (result != SQLITE_OK) {
        sqlite3_free(at->real);
        return result;
    }
    at->base.pMethods = &methods;
    return SQLITE_OK;
}

void fault_vfs_register(void)
{
    static sqlite3_vfs vfs;
    system_vfs = sqlite3_vfs_find(NULL);
    vfs = *system_vfs;
    vfs.iVersion = 1;
    vfs.szOsFile = sizeof(struct fault_file);
    vfs.zName = FAULT_VFS;
    vfs.pNext = NULL;
    vfs.xOpen = fault_open;
    sqlite3_vfs_register(&vfs, 0);
    fault = (struct rb_fault){0};
}
