#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "file.h"
#include "list.h"

/* A half: a header in a block of its own, then the bytes. Halves are written in turn; the whole one with the higher
 * sequence number is the record. A fresh file has two whole halves with number 0, which are no record: so a torn first
 * write is told from a damaged file. */
enum {
    HEADER = 56,
    BLOCK = 4096,
    HALF = BLOCK + RB_RECORD_MAX,
    AT_MAGIC = 0,
    AT_NUMBER = 8,
    AT_LEN = 16,
    AT_SUM = 24,
    SUM = 32,
};
_Static_assert(AT_SUM + SUM == HEADER, "the checksum ends the header");

static const char *const names[] = {[RB_RECORD_SLOT] = "slot", [RB_RECORD_COUNTER] = "counter"};
static const char magic[2][9] = {[RB_RECORD_SLOT] = "RBslot 1", [RB_RECORD_COUNTER] = "RBcount1"};

struct record_file {
    int fd;
    uint64_t number; /* the highest that may be on disk */
    int current;     /* the half that holds the record, on disk for certain; -1: none is whole */
};

struct rb_file_disk {
    struct rb_disk port;
    const char *dirs[2]; /* borrowed */
    struct record_file files[2];
    unsigned char half[HALF]; /* one half on its way: writing must not depend on memory */
};

static void sum_half(const unsigned char *half, size_t len, unsigned char ret[SUM])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, SUM);
    crypto_generichash_update(&state, half, AT_SUM);
    crypto_generichash_update(&state, half + BLOCK, len);
    crypto_generichash_final(&state, ret, SUM);
}

static void fill_half(unsigned char *half, enum rb_record record, uint64_t number, struct rb_span bytes)
{
    memset(half, 0, BLOCK);
    memcpy(half + AT_MAGIC, magic[record], 8);
    rb_put_le64(half + AT_NUMBER, number);
    rb_put_le64(half + AT_LEN, bytes.len);
    if (bytes.len)
        memcpy(half + BLOCK, bytes.at, bytes.len);
    sum_half(half, bytes.len, half + AT_SUM);
}

static bool half_is_whole(const unsigned char *half, enum rb_record record)
{
    unsigned char sum[SUM];
    uint64_t len = rb_get_le64(half + AT_LEN);
    if (memcmp(half + AT_MAGIC, magic[record], 8) != 0 || len > RB_RECORD_MAX)
        return false;
    sum_half(half, (size_t)len, sum);
    return memcmp(sum, half + AT_SUM, SUM) == 0;
}

/* Reads half `index` into `disk->half`. A file that was cut short reads as zeros there. */
static enum rb_status read_half(struct rb_file_disk *disk, int fd, int index)
{
    size_t have = 0;
    memset(disk->half, 0, HALF);
    while (have < HALF) {
        ssize_t got = pread(fd, disk->half + have, HALF - have, (off_t)index * HALF + (off_t)have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return RB_IO;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return RB_OK;
}

/* Finds the record of an open file. */
static enum rb_status find_record(struct rb_file_disk *disk, enum rb_record record)
{
    struct record_file *file = &disk->files[record];
    uint64_t best = 0;
    int current = -1;
    for (int i = 0; i < 2; i++) {
        enum rb_status status = read_half(disk, file->fd, i);
        if (status != RB_OK)
            return status;
        uint64_t number = rb_get_le64(disk->half + AT_NUMBER);
        if (!half_is_whole(disk->half, record) || (current >= 0 && number <= best))
            continue;
        current = i;
        best = number;
    }
    file->current = current;
    if (best > file->number)
        file->number = best;
    return RB_OK;
}

/* Brings the record's half into `disk->half`. The half that is known to be on disk goes first: after a failed write
 * the other may look newer from the page cache only. */
static enum rb_status load_current(struct rb_file_disk *disk, enum rb_record record)
{
    struct record_file *file = &disk->files[record];
    enum rb_status status;
    if (file->current >= 0) {
        status = read_half(disk, file->fd, file->current);
        if (status != RB_OK || half_is_whole(disk->half, record))
            return status;
    }
    status = find_record(disk, record);
    if (status != RB_OK)
        return status;
    return file->current >= 0 ? read_half(disk, file->fd, file->current) : RB_CORRUPT;
}

static enum rb_status disk_read(struct rb_disk *port, enum rb_record record, struct rb_str *out, struct rb_error *err)
{
    struct rb_file_disk *disk = RB_CONTAINER(port, struct rb_file_disk, port);
    enum rb_status status = load_current(disk, record);
    if (status == RB_CORRUPT)
        return rb_fail(err, status, "The %s file is damaged in both of its halves.", names[record]);
    if (status != RB_OK || rb_get_le64(disk->half + AT_LEN) > RB_RECORD_MAX)
        return rb_fail(err, RB_IO, "The %s file cannot be read.", names[record]);
    if (rb_get_le64(disk->half + AT_NUMBER) == 0)
        return rb_fail(err, RB_NOT_FOUND, "The %s file was never written.", names[record]);
    rb_str_append(out, disk->half + BLOCK, (size_t)rb_get_le64(disk->half + AT_LEN));
    return rb_str_failed(out) ? rb_fail(err, RB_NO_MEMORY, "There is not enough memory.") : RB_OK;
}

static enum rb_status disk_write(struct rb_disk *port, enum rb_record record, struct rb_span bytes)
{
    struct rb_file_disk *disk = RB_CONTAINER(port, struct rb_file_disk, port);
    struct record_file *file = &disk->files[record];
    if (bytes.len > RB_RECORD_MAX)
        return RB_FULL;
    /* After a failure the same half is written again: the other one is the record still. */
    int target = file->current == 0 ? 1 : 0;
    fill_half(disk->half, record, ++file->number, bytes);
    struct rb_span out = {(const char *)disk->half, BLOCK + bytes.len};
    if (rb_file_write_at(file->fd, out, (int64_t)target * HALF) != RB_OK || fsync(file->fd) != 0)
        return RB_IO;
    file->current = target;
    return RB_OK;
}

/* Written out in full, not only reserved: later writes need no room on most file systems. */
static enum rb_status fill_new(struct rb_file_disk *disk, int fd, enum rb_record record)
{
    int error_number = posix_fallocate(fd, 0, 2 * HALF);
    if (error_number)
        return rb_file_status(error_number);
    memset(disk->half, 0, HALF);
    fill_half(disk->half, record, 0, (struct rb_span){0});
    for (int i = 0; i < 2; i++) {
        enum rb_status status =
            rb_file_write_at(fd, (struct rb_span){(const char *)disk->half, HALF}, (int64_t)i * HALF);
        if (status != RB_OK)
            return status;
    }
    return fsync(fd) == 0 ? RB_OK : RB_IO;
}

/* Under another name first: a file that has its name is whole. */
static enum rb_status make_file(struct rb_file_disk *disk, const char *dir, const char *path, enum rb_record record,
                                struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str part = RB_STR_INIT;
    rb_str_addf(&part, "%s.new", path);
    if (rb_str_failed(&part))
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    unlink(part.at);
    RB_CLEANUP_FD int fd = open(part.at, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    enum rb_status status = fd < 0 ? rb_file_status(errno) : fill_new(disk, fd, record);
    if (status == RB_OK && renameat2(AT_FDCWD, part.at, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
        status = rb_file_status(errno);
    if (status == RB_OK)
        status = rb_folder_sync(dir);
    if (status == RB_OK)
        return RB_OK;
    if (fd >= 0)
        unlink(part.at);
    return rb_fail(err, status, "Cannot make %s: %s.", path, rb_status_text(status));
}

/* Two daemons with one key folder would count over each other's marks. */
static enum rb_status hold(int fd, const char *path, struct rb_error *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return RB_OK;
    if (errno == EWOULDBLOCK)
        return rb_fail(err, RB_BUSY, "Another relay-broker uses %s; end it, or use another --keys.", path);
    return rb_fail(err, RB_IO, "Cannot lock %s: %s.", path, strerror(errno));
}

static enum rb_status open_file(struct rb_file_disk *disk, enum rb_record record, struct rb_error *err)
{
    struct record_file *file = &disk->files[record];
    const char *dir = disk->dirs[record];
    RB_CLEANUP_STR struct rb_str path = RB_STR_INIT;
    rb_str_addf(&path, "%s/%s", dir, names[record]);
    if (rb_str_failed(&path))
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    enum rb_status status = rb_folder_make(dir, err);
    if (status != RB_OK)
        return status;
    enum { FLAGS = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK };
    file->fd = open(path.at, FLAGS);
    if (file->fd < 0 && errno == ENOENT) {
        status = make_file(disk, dir, path.at, record, err);
        if (status != RB_OK)
            return status;
        file->fd = open(path.at, FLAGS);
    }
    struct stat found;
    if (file->fd < 0 || fstat(file->fd, &found) != 0)
        return rb_fail(err, rb_file_status(errno), "Cannot open %s: %s.", path.at, strerror(errno));
    if (!S_ISREG(found.st_mode) || found.st_uid != geteuid())
        return rb_fail(err, RB_DENIED, "%s is not a file of the user who runs this; check its owner.", path.at);
    if ((found.st_mode & 0177) && fchmod(file->fd, 0600) != 0)
        return rb_fail(err, rb_file_status(errno), "%s is open to other users: %s.", path.at, strerror(errno));
    status = record == RB_RECORD_COUNTER ? hold(file->fd, path.at, err) : RB_OK;
    if (status != RB_OK)
        return status;
    status = find_record(disk, record);
    return status == RB_OK ? RB_OK : rb_fail(err, status, "%s cannot be read: %s.", path.at, rb_status_text(status));
}

static enum rb_status disk_open(struct rb_disk *port, struct rb_error *err)
{
    struct rb_file_disk *disk = RB_CONTAINER(port, struct rb_file_disk, port);
    enum rb_status status = open_file(disk, RB_RECORD_SLOT, err);
    return status == RB_OK ? open_file(disk, RB_RECORD_COUNTER, err) : status;
}

enum rb_status rb_file_disk_new(const char *state_dir, const char *keys_dir, struct rb_file_disk **ret,
                                struct rb_error *err)
{
    struct rb_file_disk *disk = calloc(1, sizeof *disk);
    if (!disk)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    disk->port = (struct rb_disk){.open = disk_open, .read = disk_read, .write = disk_write};
    disk->dirs[RB_RECORD_SLOT] = state_dir;
    disk->dirs[RB_RECORD_COUNTER] = keys_dir;
    disk->files[0].fd = disk->files[1].fd = -1;
    *ret = disk;
    return RB_OK;
}

void rb_file_disk_free(struct rb_file_disk *disk)
{
    if (!disk)
        return;
    for (int i = 0; i < 2; i++)
        rb_close_fd(&disk->files[i].fd);
    free(disk);
}

struct rb_disk *rb_file_disk_port(struct rb_file_disk *disk)
{
    return &disk->port;
}
