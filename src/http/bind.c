#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "peer.h"
#include "server.h"

enum { BACKLOG = 4096 };

union any_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static bool parse_host(const char *host, int port, union any_address *ret, socklen_t *ret_len)
{
    char bare[INET6_ADDRSTRLEN];
    size_t len = strlen(host);
    bool brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';
    len -= brackets ? 2 : 0;
    if (len >= sizeof bare)
        return false;
    memcpy(bare, host + brackets, len);
    bare[len] = 0;
    *ret = (union any_address){.in6 = {0}};
    if (!brackets && inet_pton(AF_INET, bare, &ret->in.sin_addr) == 1) {
        ret->in.sin_family = AF_INET;
        ret->in.sin_port = htons((uint16_t)port);
        *ret_len = sizeof ret->in;
        return true;
    }
    if (inet_pton(AF_INET6, bare, &ret->in6.sin6_addr) != 1)
        return false;
    ret->in6.sin6_family = AF_INET6;
    ret->in6.sin6_port = htons((uint16_t)port);
    *ret_len = sizeof ret->in6;
    return true;
}

/* Whether that process has the socket open. */
static bool holds_inode(int proc, const char *pid, uint32_t inode)
{
    char path[64], wanted[32], target[32];
    snprintf(wanted, sizeof wanted, "socket:[%u]", inode);
    snprintf(path, sizeof path, "%.20s/fd", pid);
    int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(folder));) {
        ssize_t len = readlinkat(fd, entry->d_name, target, sizeof target - 1);
        if (len > 0) {
            target[len] = 0;
            found = strcmp(target, wanted) == 0;
        }
    }
    closedir(folder);
    return found;
}

/* 0 when no process that we may look into has it. */
static int64_t process_with(uint32_t inode)
{
    DIR *proc = opendir("/proc");
    int64_t pid = 0;
    if (!proc)
        return 0;
    for (struct dirent *entry; !pid && (entry = readdir(proc));) {
        int64_t number;
        if (rb_span_to_i64(rb_span_of(entry->d_name), 1, INT32_MAX, &number) == RB_OK &&
            holds_inode(dirfd(proc), entry->d_name, inode))
            pid = number;
    }
    closedir(proc);
    return pid;
}

static enum rb_status address_taken(const char *host, int port, const struct sockaddr *address, struct rb_error *err)
{
    uid_t uid;
    uint32_t inode;
    if (!rb_peer_listening(address, &uid, &inode))
        return rb_fail(err, RB_BUSY, "%s port %d is already in use", host, port);
    int64_t pid = process_with(inode);
    if (!pid)
        return rb_fail(err, RB_BUSY, "%s port %d is already in use by a process of uid %u", host, port, uid);
    return rb_fail(err, RB_BUSY, "%s port %d is already in use by process %d of uid %u", host, port, (int)pid, uid);
}

enum rb_status rb_http_bind(const char *host, int port, int *ret_fd, int *ret_port, struct rb_error *err)
{
    union any_address address;
    socklen_t len;
    if (port < 0 || port > 65535 || !parse_host(host, port, &address, &len))
        return rb_fail(err, RB_INVALID, "\"%s\" port %d is no numeric address to listen on", host, port);
    int on = 1;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        (address.any.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0))
        goto failed;
    if (bind(fd, &address.any, len) != 0 || listen(fd, BACKLOG) != 0 || getsockname(fd, &address.any, &len) != 0)
        goto failed;
    *ret_fd = fd;
    *ret_port = ntohs(address.any.sa_family == AF_INET ? address.in.sin_port : address.in6.sin6_port);
    return RB_OK;
failed:;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (why == EADDRINUSE)
        return address_taken(host, port, &address.any, err);
    if (why == EADDRNOTAVAIL || why == EAFNOSUPPORT)
        return rb_fail(err, RB_NOT_FOUND, "%s is no address of this host", host);
    return rb_fail(err, why == EACCES ? RB_DENIED : RB_IO, "cannot listen on %s port %d: %s", host, port,
                   strerror(why));
}

/* RB_OK: nothing is at the path any more. */
static enum rb_status clear_path(const char *path, const struct sockaddr_un *address, struct rb_error *err)
{
    struct stat there;
    if (lstat(path, &there) != 0)
        return errno == ENOENT ? RB_OK : rb_fail(err, RB_IO, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISSOCK(there.st_mode))
        return rb_fail(err, RB_EXISTS, "%s exists and is no socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return rb_fail(err, RB_IO, "cannot open a socket: %s", strerror(errno));
    int why = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    close(fd);
    if (why == EACCES)
        return rb_fail(err, RB_DENIED, "%s belongs to another user; remove it, or listen elsewhere", path);
    if (why != ECONNREFUSED)
        return rb_fail(err, RB_BUSY, "another process listens on %s", path);
    if (unlink(path) != 0)
        return rb_fail(err, RB_IO, "cannot replace %s: %s", path, strerror(errno));
    return RB_OK;
}

enum rb_status rb_http_bind_unix(const char *path, unsigned mode, int *ret_fd, struct rb_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address.sun_path)
        return rb_fail(err, RB_INVALID, "the path of a socket has 1 to %zu bytes: %s", sizeof address.sun_path - 1,
                       path);
    memcpy(address.sun_path, path, len);
    enum rb_status cleared = clear_path(path, &address, err);
    if (cleared != RB_OK)
        return cleared;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Nobody can connect before listen(), so the mode is right from the first moment. */
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || chmod(path, mode) != 0 ||
        listen(fd, BACKLOG) != 0) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return rb_fail(err,
                       why == EADDRINUSE ? RB_BUSY
                       : why == EACCES   ? RB_DENIED
                                         : RB_IO,
                       "cannot listen on %s: %s", path, strerror(why));
    }
    *ret_fd = fd;
    return RB_OK;
}
