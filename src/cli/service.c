#include "service.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "str.h"

enum { FIRST_FD = 3, SOCKETS_MAX = 4096 };

void rb_service_tell(const char *line)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof address.sun_path || (*path != '/' && *path != '@'))
        return;
    memcpy(address.sun_path, path, len);
    if (*path == '@') /* an abstract socket */
        address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, line, strlen(line), MSG_NOSIGNAL, (struct sockaddr *)&address,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    close(fd);
}

/* A number in the environment, or 0. */
static int64_t number(const char *name)
{
    const char *text = getenv(name);
    int64_t value = 0;
    return text && rb_span_to_i64(rb_span_of(text), 1, INT32_MAX, &value) == RB_OK ? value : 0;
}

/* The names stand in one list, parted by colons. */
static enum rb_status read_all(const char *names, struct rb_service_socket *sockets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sockets[i].fd = FIRST_FD + (int)i;
        int flags = fcntl(sockets[i].fd, F_GETFD);
        if (flags < 0 || fcntl(sockets[i].fd, F_SETFD, flags | FD_CLOEXEC) != 0)
            return RB_INVALID;
        if (!names)
            continue;
        size_t len = strcspn(names, ":");
        sockets[i].name = rb_span_dup((struct rb_span){names, len});
        if (!sockets[i].name)
            return RB_NO_MEMORY;
        names = names[len] ? names + len + 1 : NULL;
    }
    return RB_OK;
}

enum rb_status rb_service_sockets(struct rb_service_socket **ret, size_t *ret_count)
{
    /* What was meant for another process (our parent, say) is not ours. */
    bool ours = number("LISTEN_PID") == getpid();
    int64_t count = ours ? number("LISTEN_FDS") : 0;
    enum rb_status status = count > SOCKETS_MAX ? RB_INVALID : RB_OK;
    *ret = NULL;
    *ret_count = 0;
    if (count && status == RB_OK) {
        struct rb_service_socket *sockets = calloc((size_t)count, sizeof *sockets);
        status = sockets ? read_all(getenv("LISTEN_FDNAMES"), sockets, (size_t)count) : RB_NO_MEMORY;
        if (status == RB_OK) {
            *ret = sockets;
            *ret_count = (size_t)count;
        } else if (sockets) {
            rb_service_sockets_free(sockets, (size_t)count);
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return status;
}

void rb_service_sockets_free(struct rb_service_socket *sockets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(sockets[i].name);
    free(sockets);
}
