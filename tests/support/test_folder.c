#include "test_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "file.h"

static void die(const char *what, const char *path)
{
    fprintf(stderr, "test folder: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

void rb_test_folder_make(struct rb_test_folder *folder)
{
    const char *top = getenv("TMPDIR");
    if (!top || strlen(top) > 32)
        top = "/tmp";
    snprintf(folder->path, sizeof folder->path, "%s/relay-broker-test-XXXXXX", top);
    if (!mkdtemp(folder->path))
        die("make", folder->path);
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *place)
{
    return remove(path);
}

void rb_test_folder_remove(struct rb_test_folder *folder)
{
    if (nftw(folder->path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        die("remove", folder->path);
}

const char *rb_test_path(const struct rb_test_folder *folder, const char *name)
{
    static char paths[64][256];
    static size_t count;
    if (count == sizeof paths / sizeof paths[0]) {
        fprintf(stderr, "test folder: too many different paths\n");
        abort();
    }
    char *path = paths[count];
    snprintf(path, sizeof paths[0], "%s/%s", folder->path, name);
    for (size_t i = 0; i < count; i++)
        if (strcmp(paths[i], path) == 0)
            return paths[i];
    count++;
    return path;
}

void rb_test_write(const char *path, struct rb_span bytes)
{
    RB_CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || rb_file_write_at(fd, bytes, 0) != RB_OK)
        die("write", path);
}

void rb_test_read(const char *path, struct rb_str *out)
{
    RB_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return;
    if (fd < 0 || rb_file_read(fd, 64 * 1024 * 1024, out) != RB_OK)
        die("read", path);
}

bool rb_test_file_has(const char *path, struct rb_span needle)
{
    RB_CLEANUP_STR struct rb_str bytes = RB_STR_INIT;
    rb_test_read(path, &bytes);
    return bytes.len && memmem(bytes.at, bytes.len, needle.at, needle.len) != NULL;
}
