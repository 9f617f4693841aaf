#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

enum { HEX_DIGITS = 2 * RB_KEY_BYTES };

/* A credential's mode is the service manager's business (an ACL shows as group bits), but never everybody's. */
static enum rb_status check_access(int fd, const char *path, bool credential, struct rb_error *err)
{
    struct stat found;
    if (fstat(fd, &found) != 0)
        return rb_fail(err, rb_file_status(errno), "Cannot look at %s: %s.", path, strerror(errno));
    if (!S_ISREG(found.st_mode))
        return rb_fail(err, RB_DENIED, "%s is not a file.", path);
    if (!credential && found.st_uid != geteuid())
        return rb_fail(err, RB_DENIED, "The key file %s belongs to user %u, not to user %u who runs this.", path,
                       (unsigned)found.st_uid, (unsigned)geteuid());
    if (found.st_mode & (credential ? 007 : 077))
        return rb_fail(err, RB_DENIED, "The key file %s is open to other users (mode %04o); make it 0600.", path,
                       (unsigned)found.st_mode & 07777);
    return RB_OK;
}

/* Whoever can write in the folder can put another key in place of ours. */
static enum rb_status check_folder(const char *dir, struct rb_error *err)
{
    struct stat found;
    if (stat(dir, &found) != 0)
        return rb_fail(err, rb_file_status(errno), "Cannot look at the key folder %s: %s.", dir, strerror(errno));
    if (found.st_uid != geteuid() && found.st_uid != 0)
        return rb_fail(err, RB_DENIED, "The key folder %s belongs to user %u, not to user %u who runs this.", dir,
                       (unsigned)found.st_uid, (unsigned)geteuid());
    if (found.st_mode & 022)
        return rb_fail(err, RB_DENIED, "Others may write in the key folder %s (mode %04o); make it 0700.", dir,
                       (unsigned)found.st_mode & 07777);
    return RB_OK;
}

static enum rb_status parse_key(int fd, const char *path, struct rb_secret **ret, struct rb_error *err)
{
    char text[HEX_DIGITS + 2];
    unsigned char key[RB_KEY_BYTES];
    size_t len = 0, key_len = 0;
    ssize_t got;
    while (len < sizeof text && (got = read(fd, text + len, sizeof text - len)) != 0) {
        if (got < 0 && errno != EINTR) {
            sodium_memzero(text, sizeof text);
            return rb_fail(err, RB_IO, "The key file %s cannot be read: %s.", path, strerror(errno));
        }
        len += got > 0 ? (size_t)got : 0;
    }
    bool whole = len == HEX_DIGITS || (len == HEX_DIGITS + 1 && text[HEX_DIGITS] == '\n');
    whole =
        whole && sodium_hex2bin(key, sizeof key, text, HEX_DIGITS, NULL, &key_len, NULL) == 0 && key_len == sizeof key;
    sodium_memzero(text, sizeof text);
    enum rb_status status = whole ? rb_secret_new((struct rb_span){(const char *)key, sizeof key}, ret, err)
                                  : rb_fail(err, RB_CORRUPT, "%s holds no key: 64 hex digits and a line end.", path);
    sodium_memzero(key, sizeof key);
    return status;
}

/* RB_NOT_FOUND, without a sentence, when there is no such file. */
static enum rb_status read_key(const char *path, bool credential, struct rb_secret **ret, struct rb_error *err)
{
    RB_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return RB_NOT_FOUND;
    if (fd < 0 && errno == ELOOP)
        return rb_fail(err, RB_DENIED, "The key file %s must not be a symbolic link.", path);
    if (fd < 0)
        return rb_fail(err, rb_file_status(errno), "The key file %s cannot be opened: %s.", path, strerror(errno));
    enum rb_status status = check_access(fd, path, credential, err);
    return status == RB_OK ? parse_key(fd, path, ret, err) : status;
}

static enum rb_status write_new(const char *path)
{
    unsigned char key[RB_KEY_BYTES];
    char text[HEX_DIGITS + 1];
    RB_CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return rb_file_status(errno);
    randombytes_buf(key, sizeof key);
    sodium_bin2hex(text, sizeof text, key, sizeof key);
    text[HEX_DIGITS] = '\n';
    enum rb_status status = rb_file_write_at(fd, (struct rb_span){text, sizeof text}, 0);
    sodium_memzero(key, sizeof key);
    sodium_memzero(text, sizeof text);
    if (status == RB_OK && fsync(fd) != 0)
        status = RB_IO;
    return status;
}

/* Under another name first, so that a crash leaves a whole key or none; a key that is there is never replaced. */
static enum rb_status make_key(const char *keys_dir, const char *path, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str part = RB_STR_INIT;
    rb_str_addf(&part, "%s/key.%d.new", keys_dir, (int)getpid());
    if (rb_str_failed(&part))
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    unlink(part.at);
    enum rb_status status = write_new(part.at);
    if (status == RB_OK && renameat2(AT_FDCWD, part.at, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
        status = errno == EEXIST ? RB_OK : rb_file_status(errno);
    if (status == RB_OK)
        status = rb_folder_sync(keys_dir);
    unlink(part.at);
    return status == RB_OK ? RB_OK
                           : rb_fail(err, status, "Cannot make the key file %s: %s.", path, rb_status_text(status));
}

static enum rb_status load_file(const char *keys_dir, bool may_make, struct rb_secret **ret, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str path = RB_STR_INIT;
    rb_str_addf(&path, "%s/key", keys_dir);
    if (rb_str_failed(&path))
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    enum rb_status status = may_make ? rb_folder_make(keys_dir, err) : RB_OK;
    if (status != RB_OK)
        return status;
    status = read_key(path.at, false, ret, err);
    if (status == RB_OK)
        status = check_folder(keys_dir, err);
    if (status == RB_NOT_FOUND && !may_make)
        return rb_fail(
            err, RB_DENIED,
            "The key file %s is missing, and the database holds secrets sealed under it; restore it, or name its "
            "folder with --keys.",
            path.at);
    if (status == RB_NOT_FOUND) {
        status = check_folder(keys_dir, err);
        if (status == RB_OK)
            status = make_key(keys_dir, path.at, err);
        if (status == RB_OK)
            status = read_key(path.at, false, ret, err);
    }
    if (status != RB_OK && *ret) {
        rb_secret_free(*ret);
        *ret = NULL;
    }
    return status;
}

enum rb_status rb_key_load(const char *keys_dir, const char *credentials_dir, bool may_make, struct rb_secret **ret,
                           const char **ret_source, struct rb_error *err)
{
    struct rb_secret *key = NULL;
    const char *source = "key file";
    enum rb_status status = RB_NOT_FOUND;
    if (credentials_dir && *credentials_dir) {
        RB_CLEANUP_STR struct rb_str path = RB_STR_INIT;
        rb_str_addf(&path, "%s/relay-broker.key", credentials_dir);
        status = rb_str_failed(&path) ? rb_fail(err, RB_NO_MEMORY, "There is not enough memory.")
                                      : read_key(path.at, true, &key, err);
        source = status == RB_NOT_FOUND ? source : "systemd credential";
    }
    if (status == RB_NOT_FOUND)
        status = load_file(keys_dir, may_make, &key, err);
    if (status != RB_OK)
        return status;
    *ret = key;
    *ret_source = source;
    return RB_OK;
}
