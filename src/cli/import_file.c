#include "import_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "json_span.h"
#include "placeholder.h"

enum { FILE_MAX_BYTES = 64 * 1024, TOKEN_MAX_BYTES = 512, JSON_DEPTH = 16 };

/* In every refresh placeholder (placeholder.h), and in no token of a relay. */
static const char placeholder_mark[] = "placeholder-of-relay-broker";

struct rb_import_file {
    int folder;
    char *path, *name, *aside, *fresh; /* as given; names in the folder */
    char *relay_url;
    struct rb_secret *token;
    uid_t owner;
    gid_t group;
    mode_t mode;
};

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
}

static enum rb_status failed(const struct rb_import_file *file, const char *what, struct rb_error *err)
{
    int why = errno;
    return rb_fail(err, rb_file_status(why), "%s cannot be %s: %s.", file->path, what, strerror(why));
}

static enum rb_status open_folder(struct rb_import_file *file, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str folder = RB_STR_INIT;
    const char *slash = strrchr(file->path, '/');
    if (!slash)
        rb_str_add(&folder, ".");
    else
        rb_str_append(&folder, file->path, slash == file->path ? 1 : (size_t)(slash - file->path));
    if (rb_str_failed(&folder))
        return no_memory(err);
    struct stat found;
    file->folder = open(folder.at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->folder < 0 || fstat(file->folder, &found) != 0)
        return failed(file, "opened", err);
    if (found.st_mode & (S_IWGRP | S_IWOTH))
        return rb_fail(err, RB_DENIED, "The folder %s can be written to by others: take that away with chmod go-w.",
                       folder.at);
    if (found.st_uid != 0 && found.st_uid != geteuid() && geteuid() != 0)
        return rb_fail(err, RB_DENIED, "The folder %s belongs to somebody else: call this as its owner or as root.",
                       folder.at);
    return RB_OK;
}

static char *name_with(const char *before, const char *name, const char *after)
{
    struct rb_str text = RB_STR_INIT;
    rb_str_addf(&text, "%s%s%s", before, name, after);
    return rb_str_steal(&text);
}

static enum rb_status open_it(struct rb_import_file *file, struct rb_error *err)
{
    const char *slash = strrchr(file->path, '/'), *name = slash ? slash + 1 : file->path;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return rb_fail(err, RB_INVALID, "%s is no file.", file->path);
    file->name = strdup(name);
    file->aside = name_with("", name, ".imported");
    file->fresh = name_with(".", name, ".relay-broker");
    if (!file->name || !file->aside || !file->fresh)
        return no_memory(err);
    enum rb_status status = open_folder(file, err);
    if (status != RB_OK)
        return status;
    struct stat found;
    if (fstatat(file->folder, file->aside, &found, AT_SYMLINK_NOFOLLOW) == 0)
        return rb_fail(err, RB_EXISTS, "%s.imported is there from an earlier import: remove it first.", file->path);
    return rb_import_read(file, err);
}

enum rb_status rb_import_open(const char *path, struct rb_import_file **ret, struct rb_error *err)
{
    struct rb_import_file *file = calloc(1, sizeof *file);
    if (!file)
        return no_memory(err);
    file->folder = -1;
    file->path = strdup(path);
    enum rb_status status = file->path ? open_it(file, err) : no_memory(err);
    if (status != RB_OK) {
        rb_import_free(file);
        return status;
    }
    *ret = file;
    return RB_OK;
}

void rb_import_free(struct rb_import_file *file)
{
    if (!file)
        return;
    rb_close_fd(&file->folder);
    rb_secret_free(file->token);
    free(file->path);
    free(file->name);
    free(file->aside);
    free(file->fresh);
    free(file->relay_url);
    free(file);
}

/* --- reading --- */

/* The member's characters: a non-empty string without control characters. */
static bool read_member(struct rb_json_value object, const char *name, size_t max, struct rb_str *out)
{
    struct rb_json_value value;
    if (!rb_json_member(object, name, &value) || rb_json_string(value, out) != RB_OK || !out->len || out->len > max)
        return false;
    for (size_t i = 0; i < out->len; i++)
        if (out->at[i] <= ' ' || out->at[i] > '~')
            return false;
    return true;
}

static enum rb_status take_content(struct rb_import_file *file, struct rb_span text, struct rb_str *token,
                                   struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str url = RB_STR_INIT;
    struct rb_json_value value;
    if (rb_json_check(text, JSON_DEPTH, &value, NULL) != RB_JSON_FINE ||
        !read_member(value, "relay_url", TOKEN_MAX_BYTES, &url) ||
        !read_member(value, "refresh_token", TOKEN_MAX_BYTES, token) ||
        !rb_placeholder_refresh_shape(rb_str_span(token)))
        return rb_str_failed(&url) || rb_str_failed(token)
                   ? no_memory(err)
                   : rb_fail(err, RB_INVALID,
                             "%s is no credentials file of a relay client: it has no relay_url and refresh_token.",
                             file->path);
    if (memmem(token->at, token->len, placeholder_mark, sizeof placeholder_mark - 1))
        return rb_fail(err, RB_EXISTS, "%s has a placeholder of relay-broker and no login: it was imported before.",
                       file->path);
    struct rb_secret *secret;
    char *copy = rb_str_steal(&url);
    enum rb_status status = copy ? rb_secret_new(rb_str_span(token), &secret, err) : no_memory(err);
    if (status != RB_OK) {
        free(copy);
        return status;
    }
    free(file->relay_url);
    rb_secret_free(file->token);
    file->relay_url = copy;
    file->token = secret;
    return RB_OK;
}

enum rb_status rb_import_read(struct rb_import_file *file, struct rb_error *err)
{
    struct stat found;
    RB_CLEANUP_FD int fd = openat(file->folder, file->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ELOOP)
        return rb_fail(err, RB_DENIED, "%s is a symbolic link: name the file itself.", file->path);
    if (fd < 0 || fstat(fd, &found) != 0)
        return failed(file, "read", err);
    if (!S_ISREG(found.st_mode) || found.st_nlink != 1)
        return rb_fail(err, RB_DENIED, "%s is not a plain file with one name.", file->path);
    if (found.st_mode & (S_IWGRP | S_IWOTH))
        return rb_fail(err, RB_DENIED, "%s can be written to by others: take that away with chmod go-w.", file->path);
    struct rb_str text = RB_STR_INIT, token = RB_STR_INIT;
    enum rb_status status = rb_file_read(fd, FILE_MAX_BYTES, &text);
    if (status == RB_FULL)
        rb_fail(err, RB_INVALID, "%s is too large for a credentials file.", file->path);
    else if (status != RB_OK)
        rb_fail(err, status, "%s cannot be read: %s.", file->path, rb_status_text(status));
    else
        status = take_content(file, rb_str_span(&text), &token, err);
    rb_str_free(&text);
    rb_str_free(&token);
    file->owner = found.st_uid;
    file->group = found.st_gid;
    file->mode = found.st_mode & 0777;
    return status;
}

const char *rb_import_relay_url(const struct rb_import_file *file)
{
    return file->relay_url;
}

struct rb_span rb_import_token(const struct rb_import_file *file)
{
    return rb_secret_span(file->token);
}

uid_t rb_import_owner(const struct rb_import_file *file)
{
    return file->owner;
}

/* --- moving --- */

enum rb_status rb_import_move_aside(struct rb_import_file *file, struct rb_error *err)
{
    if (renameat(file->folder, file->name, file->folder, file->aside) != 0 || fsync(file->folder) != 0)
        return failed(file, "moved aside", err);
    return RB_OK;
}

static enum rb_status write_fresh(const struct rb_import_file *file, int fd, struct rb_span text, struct rb_error *err)
{
    bool other = file->owner != geteuid() || file->group != getegid();
    if (rb_file_write_at(fd, text, 0) != RB_OK || fchmod(fd, file->mode & 0700) != 0 ||
        (other && fchown(fd, file->owner, file->group) != 0 && file->owner != geteuid()) || fsync(fd) != 0)
        return failed(file, "written", err);
    return RB_OK;
}

enum rb_status rb_import_put(struct rb_import_file *file, const char *relay_url, struct rb_span refresh_token,
                             struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
    struct timespec now;
    struct tm parts;
    char at[40] = "";
    clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &parts))
        strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%S+00:00", &parts);
    if (rb_json_print(&text, json_pack("{ss ss% ss}", "relay_url", relay_url, "refresh_token", refresh_token.at,
                                       refresh_token.len, "issued_at", at)) != RB_OK)
        return no_memory(err);
    unlinkat(file->folder, file->fresh, 0);
    RB_CLEANUP_FD int fd = openat(file->folder, file->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(file, "written", err);
    enum rb_status status = write_fresh(file, fd, rb_str_span(&text), err);
    if (status == RB_OK && renameat2(file->folder, file->fresh, file->folder, file->name, RENAME_NOREPLACE) != 0)
        status = failed(file, "written", err);
    if (status == RB_OK && fsync(file->folder) != 0)
        return failed(file, "written", err);
    if (status != RB_OK)
        unlinkat(file->folder, file->fresh, 0);
    return status;
}

enum rb_status rb_import_forget(struct rb_import_file *file, struct rb_error *err)
{
    struct stat found;
    RB_CLEANUP_FD int fd = openat(file->folder, file->aside, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &found) == 0 && found.st_size > 0 && found.st_size <= FILE_MAX_BYTES) {
        RB_CLEANUP_STR struct rb_str blank = RB_STR_INIT;
        for (off_t i = 0; i < found.st_size; i++)
            rb_str_add(&blank, " ");
        if (rb_file_write_at(fd, rb_str_span(&blank), 0) == RB_OK)
            fsync(fd);
    }
    if (unlinkat(file->folder, file->aside, 0) != 0 || fsync(file->folder) != 0)
        return rb_fail(err, rb_file_status(errno),
                       "%s.imported cannot be removed: %s. Remove it: its token must not be used.", file->path,
                       strerror(errno));
    return RB_OK;
}
