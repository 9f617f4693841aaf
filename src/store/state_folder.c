#include "state_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "file.h"

static const unsigned long network_magic[] = {
    0x6969,     /* nfs */
    0x517b,     /* smb */
    0xfe534d42, /* smb2 */
    0xff534d42, /* cifs */
    0x00c36400, /* ceph */
    0x5346414f, /* afs */
    0x6b414653, /* kafs */
    0x73757245, /* coda */
    0x01021997, /* 9p */
    0x01161970, /* gfs2 */
    0x7461636f, /* ocfs2 */
    0x0bd00bd0, /* lustre */
    0x47504653, /* gpfs */
    0x19830326, /* beegfs */
    0xaad7aaea, /* panfs */
    0x013111a8, /* ibrix */
    0x20030528, /* orangefs */
};

enum { FUSE_MAGIC = 0x65735546 };

/* FUSE file systems that stay on this machine; all others may be anywhere. */
static const char *const local_fuse[] = {"fuseblk", "fuse.fuse-overlayfs", "fuse.ext4", "fuse.mergerfs", "fuse.lxcfs"};

/* A mount point that cannot be found is not called local. */
static bool fuse_is_local(const char *dir)
{
    struct stat here, there;
    if (stat(dir, &here) != 0)
        return false;
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    if (!mounts)
        return false;
    bool local = false;
    struct mntent *mount;
    while ((mount = getmntent(mounts))) {
        if (strncmp(mount->mnt_type, "fuse", 4) != 0 || stat(mount->mnt_dir, &there) != 0 ||
            there.st_dev != here.st_dev)
            continue;
        local = false;
        for (size_t i = 0; i < sizeof local_fuse / sizeof local_fuse[0]; i++)
            local = local || strcmp(mount->mnt_type, local_fuse[i]) == 0;
    }
    endmntent(mounts);
    return local;
}

static enum rb_status refuse_network(const char *dir, struct rb_error *err)
{
    struct statfs found;
    if (statfs(dir, &found) != 0)
        return rb_fail(err, rb_file_status(errno), "Cannot look at the file system of %s: %s.", dir, strerror(errno));
    unsigned long magic = (unsigned long)found.f_type & 0xffffffff;
    bool network = magic == FUSE_MAGIC && !fuse_is_local(dir);
    for (size_t i = 0; i < sizeof network_magic / sizeof network_magic[0]; i++)
        network = network || magic == network_magic[i];
    if (network)
        return rb_fail(
            err, RB_INVALID,
            "%s is on a network file system, where a database is not safe; name a local folder with --state.", dir);
    return RB_OK;
}

static enum rb_status name_holder(int fd, const char *dir, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
    int64_t pid;
    enum rb_status status = rb_file_read(fd, 32, &text);
    struct rb_span digits = rb_str_span(&text);
    if (digits.len && digits.at[digits.len - 1] == '\n')
        digits.len--;
    if (status == RB_OK && rb_span_to_i64(digits, 1, INT32_MAX, &pid) == RB_OK)
        return rb_fail(err, RB_BUSY, "Another relay-broker, process %d, holds %s; end it, or use another --state.",
                       (int)pid, dir);
    return rb_fail(err, RB_BUSY, "Another relay-broker holds %s; end it, or use another --state.", dir);
}

/* The pid is a courtesy: a disk that has no room for it keeps nobody from starting. */
static void write_pid(int fd)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) == 0)
        (void)rb_file_write_at(fd, (struct rb_span){text, (size_t)len}, 0);
}

enum rb_status rb_state_folder_hold(const char *dir, int *ret_fd, struct rb_error *err)
{
    enum rb_status status = rb_folder_make(dir, err);
    if (status == RB_OK)
        status = refuse_network(dir, err);
    if (status != RB_OK)
        return status;
    RB_CLEANUP_STR struct rb_str path = RB_STR_INIT;
    rb_str_addf(&path, "%s/lock", dir);
    if (rb_str_failed(&path))
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    RB_CLEANUP_FD int fd = open(path.at, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return rb_fail(err, rb_file_status(errno), "Cannot open %s: %s; check owner, mode and file system.", path.at,
                       strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return name_holder(fd, dir, err);
        return rb_fail(err, RB_IO, "Cannot lock %s: %s.", path.at, strerror(errno));
    }
    write_pid(fd);
    *ret_fd = fd;
    fd = -1;
    return RB_OK;
}

enum rb_status rb_state_folder_file(const char *path, struct rb_error *err)
{
    RB_CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) {
        int number = errno;
        return rb_fail(
            err, rb_file_status(number), "The database %s cannot be opened for writing: %s%s.", path, strerror(number),
            number == ELOOP ? "; it must not be a symbolic link" : "; check its owner, mode and file system");
    }
    struct stat found;
    if (fstat(fd, &found) != 0)
        return rb_fail(err, rb_file_status(errno), "Cannot look at %s: %s.", path, strerror(errno));
    if (!S_ISREG(found.st_mode))
        return rb_fail(err, RB_INVALID, "%s is not a file; move it away.", path);
    if ((found.st_mode & 0177) && fchmod(fd, 0600) != 0)
        return rb_fail(err, rb_file_status(errno), "%s is open to other users and its mode cannot be changed: %s.",
                       path, strerror(errno));
    return RB_OK;
}
