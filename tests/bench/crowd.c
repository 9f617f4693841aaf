#include "crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, PART_BYTES = 65536 };

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

_Noreturn void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void watch(struct caller *caller, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = caller};
    if (epoll_ctl(caller->crowd->epoll, operation, caller->fd, &event) != 0)
        fail("epoll");
}

void crowd_connect(struct crowd *crowd, unsigned count, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    raise_descriptors();
    crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
    crowd->count = count;
    crowd->callers = calloc(count, sizeof *crowd->callers);
    if (!crowd->callers)
        fail("memory");
    for (unsigned i = 0; i < count; i++) {
        struct caller *caller = &crowd->callers[i];
        int on = 1;
        caller->crowd = crowd;
        caller->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (caller->fd < 0 || connect(caller->fd, (struct sockaddr *)&address, sizeof address) != 0)
            fail("connect");
        setsockopt(caller->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(caller, EPOLL_CTL_ADD, EPOLLIN);
    }
}

void crowd_end(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->count; i++)
        if (crowd->callers[i].fd >= 0)
            close(crowd->callers[i].fd);
    close(crowd->epoll);
    free(crowd->callers);
}

static void write_on(struct caller *caller)
{
    const struct crowd *crowd = caller->crowd;
    ssize_t sent =
        send(caller->fd, crowd->request + caller->sent, crowd->request_len - caller->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return; /* its end shows up when it is read */
    bool waited = caller->sent > 0;
    caller->sent += sent > 0 ? (size_t)sent : 0;
    bool waits = caller->sent < crowd->request_len;
    if (waits || waited)
        watch(caller, EPOLL_CTL_MOD, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void caller_send(struct caller *caller)
{
    caller->sent = 0;
    caller->held = 0;
    caller->in_body = false;
    write_on(caller);
}

static void lose(struct caller *caller)
{
    close(caller->fd);
    caller->fd = -1;
    caller->crowd->lost++;
}

static size_t content_length(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");
    return at ? strtoul(at + strlen("\r\ncontent-length:"), NULL, 10) : 0;
}

/* Takes up head bytes until the head is whole; what it took. */
static size_t read_head(struct caller *caller, const char *bytes, size_t len)
{
    size_t room = sizeof caller->head - 1 - caller->held;
    size_t take = len < room ? len : room, before = caller->held;
    memcpy(caller->head + caller->held, bytes, take);
    caller->held += take;
    caller->head[caller->held] = 0;
    const char *end = strstr(caller->head, "\r\n\r\n");
    if (!end) {
        if (take == 0)
            lose(caller);
        return take;
    }
    caller->status = (int)strtol(caller->head + strlen("HTTP/1.1 "), NULL, 10);
    caller->body_left = content_length(caller->head);
    caller->in_body = true;
    return (size_t)(end + 4 - caller->head) - before;
}

static void read_on(struct caller *caller)
{
    static char part[PART_BYTES];
    ssize_t got = recv(caller->fd, part, sizeof part, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        lose(caller);
        return;
    }
    for (size_t at = 0, len = (size_t)got; at < len && caller->fd >= 0;) {
        if (!caller->in_body)
            at += read_head(caller, part + at, len - at);
        if (!caller->in_body)
            continue;
        size_t take = len - at < caller->body_left ? len - at : caller->body_left;
        at += take;
        caller->body_left -= take;
        if (caller->body_left == 0) {
            caller->in_body = false;
            caller->held = 0;
            caller->crowd->answered(caller, caller->status);
        }
    }
}

void crowd_run(struct crowd *crowd, int ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(crowd->epoll, events, EVENTS, ms);
    for (int i = 0; i < count; i++) {
        struct caller *caller = events[i].data.ptr;
        if ((events[i].events & EPOLLOUT) && caller->fd >= 0)
            write_on(caller);
        if ((events[i].events & ~(uint32_t)EPOLLOUT) && caller->fd >= 0)
            read_on(caller);
    }
}
