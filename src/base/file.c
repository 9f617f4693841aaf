#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum rb_status rb_file_status(int error_number)
{
    switch (error_number) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP:
        return RB_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return RB_FULL;
    case ENOENT:
        return RB_NOT_FOUND;
    case EEXIST:
        return RB_EXISTS;
    case EISDIR:
    case ENOTDIR:
    case ENAMETOOLONG:
    case EINVAL:
        return RB_INVALID;
    case ENOMEM:
        return RB_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return RB_UNAVAILABLE;
    default:
        return RB_IO;
    }
}

static enum rb_status make_one(const char *path, struct rb_error *err)
{
    if (mkdir(path, 0700) == 0)
        return RB_OK;
    int error_number = errno;
    struct stat found;
    if (stat(path, &found) == 0) {
        if (S_ISDIR(found.st_mode))
            return RB_OK;
        return rb_fail(err, RB_INVALID, "%s is not a folder; move it away or name another folder.", path);
    }
    if (error_number == EEXIST)
        error_number = errno;
    return rb_fail(err, rb_file_status(error_number), "Cannot make the folder %s: %s.", path, strerror(error_number));
}

enum rb_status rb_folder_make(const char *path, struct rb_error *err)
{
    RB_CLEANUP_FREE char *part = strdup(path);
    if (!part)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    for (char *slash = strchr(part + (*part == '/'), '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        enum rb_status status = make_one(part, err);
        if (status != RB_OK)
            return status;
        *slash = '/';
    }
    return make_one(path, err);
}

enum rb_status rb_folder_sync(const char *path)
{
    RB_CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return rb_file_status(errno);
    return fsync(fd) == 0 ? RB_OK : rb_file_status(errno);
}

enum rb_status rb_file_write_at(int fd, struct rb_span bytes, int64_t offset)
{
    while (bytes.len) {
        ssize_t done = pwrite(fd, bytes.at, bytes.len, offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? rb_file_status(errno) : RB_IO;
        bytes.at += done;
        bytes.len -= (size_t)done;
        offset += done;
    }
    return RB_OK;
}

enum rb_status rb_file_read(int fd, size_t max, struct rb_str *out)
{
    char part[4096];
    size_t total = 0;
    for (;;) {
        ssize_t got = pread(fd, part, sizeof part, (off_t)total);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rb_file_status(errno);
        if (got == 0)
            break;
        total += (size_t)got;
        if (total > max) {
            explicit_bzero(part, sizeof part);
            return RB_FULL;
        }
        rb_str_append(out, part, (size_t)got);
    }
    explicit_bzero(part, sizeof part);
    return rb_str_failed(out) ? RB_NO_MEMORY : RB_OK;
}

void rb_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
