#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "exchange.h"
#include "peer.h"

enum {
    RUNS_A_TURN = 8, /* the sockets of others get their turn after so many runs of the library, */
    TURN_MS = 4,     /* and what waits for the tick's end after so long */
    GONE_A_TURN = 256,
    LAST_RUNS = 64,           /* for answers to leave before the server is freed */
    ANSWER_HEAD_BYTES = 1024, /* the library keeps the head of the answer beside that of the request */
};

/* Runs the library until it waits for its sockets and nothing more comes from there: who was answered a moment ago asks
 * again while others are served, and the more requests one tick has, the fewer commits there are. The library waits for
 * its sockets with neither pipelined requests nor resumed ones. */
void rb_server_run(struct rb_http_server *server)
{
    struct rb_clock *clock = rb_loop_clock(server->loop);
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    bool waits = true, again = true;
    int64_t until_ms = rb_clock_now_ms(clock) + TURN_MS;
    server->running = true;
    for (int i = 0; i < RUNS_A_TURN && again; i++) {
        uint64_t before = server->stats.requests;
        server->now_ms = rb_clock_now_ms(clock);
        MHD_run(server->daemon);
        waits = MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES;
        again = (waits && wait_ms == 0) || server->stats.requests != before;
        again = again && rb_clock_now_ms(clock) < until_ms;
    }
    server->running = false;
    if (waits && !server->freed)
        rb_timer_set_in(clock, &server->run_timer, (int64_t)wait_ms);
    else
        rb_timer_stop(clock, &server->run_timer);
    rb_accept_go_on(server);
}

static void on_daemon(uv_poll_t *poll, int status, int events)
{
    rb_server_run(poll->data);
}

static void on_run_timer(struct rb_timer *timer)
{
    rb_server_run(RB_CONTAINER(timer, struct rb_http_server, run_timer));
}

static void tell_gone(struct rb_http_request *request)
{
    if (!request || request->stage != RB_PARKED || request->gone_told)
        return;
    request->gone_told = true;
    if (request->gone)
        request->gone(request, request->gone_arg);
}

static void watch(struct rb_http_connection *connection)
{
    connection->watched = true;
    if (connection->armed)
        return;
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = connection};
    int operation = connection->in_watch ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(connection->server->watch_fd, operation, connection->fd, &event) == 0)
        connection->in_watch = connection->armed = true;
}

/* It stays in the epoll set for the next request, until its socket is closed: two system calls less a request. */
static void unwatch(struct rb_http_connection *connection)
{
    connection->watched = false;
}

static void on_watch(uv_poll_t *poll, int status, int events)
{
    struct rb_http_server *server = poll->data;
    struct epoll_event seen[GONE_A_TURN];
    int count = epoll_wait(server->watch_fd, seen, GONE_A_TURN, 0);
    /* Connections are freed in runs of the library only, so the pointers stay good here. */
    for (int i = 0; i < count; i++) {
        struct rb_http_connection *connection = seen[i].data.ptr;
        connection->armed = false;
        if (connection->watched)
            tell_gone(connection->request);
    }
}

bool rb_http_flush(struct rb_http_server *server)
{
    if (server->running)
        return false;
    server->handed = false;
    /* What this tick's effects did not answer waits. What the run below hands over is not there yet: its own tick may
     * answer it. */
    for (struct rb_list *node; (node = rb_list_pop(&server->fresh));) {
        rb_list_push(&server->parked, node);
        watch(RB_CONTAINER(node, struct rb_http_request, node)->connection);
    }
    bool any = false;
    for (struct rb_list *node; (node = rb_list_pop(&server->answered)); any = true) {
        struct rb_http_connection *connection = RB_CONTAINER(node, struct rb_http_request, node)->connection;
        unwatch(connection);
        MHD_resume_connection(connection->mhd);
    }
    if (any)
        rb_server_run(server);
    return server->handed;
}

void rb_http_server_stats(const struct rb_http_server *server, struct rb_http_stats *ret)
{
    *ret = server->stats;
    ret->buffered_body_bytes = (size_t)server->body_bytes.held;
}

static void on_closed(uv_handle_t *handle)
{
    struct rb_http_server *server = handle->data;
    if (--server->open_handles)
        return;
    for (struct rb_list *node; (node = rb_list_pop(&server->entries));)
        free(RB_CONTAINER(node, struct rb_http_entry, node));
    rb_share_free(&server->connections);
    rb_share_free(&server->waiting);
    rb_share_free(&server->body_bytes);
    free(server);
}

static void on_entry_closed(uv_handle_t *handle)
{
    struct rb_http_entry *entry = handle->data;
    handle->data = entry->server;
    on_closed(handle);
}

static struct MHD_Daemon *start_daemon(struct rb_http_server *server)
{
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME;
    return MHD_start_daemon(flags, 0, NULL, NULL, rb_exchange_on_request, server, MHD_OPTION_CONNECTION_LIMIT,
                            server->limits.connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            server->limits.header_bytes + ANSWER_HEAD_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, 0u,
                            MHD_OPTION_URI_LOG_CALLBACK, rb_exchange_on_uri, server, MHD_OPTION_NOTIFY_COMPLETED,
                            rb_exchange_on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, rb_accept_on_connection,
                            server, MHD_OPTION_END);
}

enum rb_status rb_http_server_new(struct rb_loop *loop, const struct rb_http_limits *limits,
                                  struct rb_http_server **ret, struct rb_error *err)
{
    struct rb_http_server *server = calloc(1, sizeof *server);
    if (!server)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory for the HTTP server.");
    server->loop = loop;
    server->limits = *limits;
    rb_share_init(&server->connections, limits->connections, limits->user_percent);
    rb_share_init(&server->waiting, limits->parked, limits->user_percent);
    rb_share_init(&server->body_bytes, (int64_t)limits->buffered_body_bytes, limits->user_percent);
    server->now_ms = rb_clock_now_ms(rb_loop_clock(loop));
    struct rb_list *lists[] = {&server->entries, &server->arriving, &server->settling, &server->idle,
                               &server->fresh,   &server->parked,   &server->answered};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        rb_list_init(lists[i]);
    server->run_timer = RB_TIMER_INIT(on_run_timer);
    server->deadline_timer = RB_TIMER_INIT(rb_deadline_on_timer);
    server->accept_timer = RB_TIMER_INIT(rb_accept_on_timer);
    server->netlink_fd = rb_peer_open();
    server->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    server->daemon = start_daemon(server);
    if (server->netlink_fd < 0 || server->watch_fd < 0 || !server->daemon) {
        if (server->daemon)
            MHD_stop_daemon(server->daemon);
        if (server->netlink_fd >= 0)
            close(server->netlink_fd);
        if (server->watch_fd >= 0)
            close(server->watch_fd);
        free(server);
        return rb_fail(err, RB_IO, "The HTTP server cannot start: %s.", strerror(errno));
    }
    int daemon_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    uv_poll_init(rb_loop_uv(loop), &server->daemon_poll, daemon_fd);
    uv_poll_init(rb_loop_uv(loop), &server->watch_poll, server->watch_fd);
    server->daemon_poll.data = server->watch_poll.data = server;
    server->open_handles = 2;
    uv_poll_start(&server->daemon_poll, UV_READABLE, on_daemon);
    uv_poll_start(&server->watch_poll, UV_READABLE, on_watch);
    *ret = server;
    return RB_OK;
}

/* 0 for a unix socket, -1 for what is no listening socket. */
static int listening_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_storage storage;
    } address = {0};
    socklen_t len = sizeof address;
    int listening = 0;
    socklen_t listening_len = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_len) != 0 || !listening ||
        getsockname(fd, &address.any, &len) != 0)
        return -1;
    if (address.any.sa_family == AF_INET)
        return ntohs(address.in.sin_port);
    if (address.any.sa_family == AF_INET6)
        return ntohs(address.in6.sin6_port);
    return address.any.sa_family == AF_UNIX ? 0 : -1;
}

enum rb_status rb_http_server_listen(struct rb_http_server *server, const struct rb_http_listener *listener,
                                     struct rb_error *err)
{
    int port = listening_port(listener->fd);
    int flags = fcntl(listener->fd, F_GETFL);
    if (port < 0 || flags < 0 || fcntl(listener->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return rb_fail(err, RB_INVALID, "Descriptor %d is no listening socket.", listener->fd);
    struct rb_http_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory for a listening socket.");
    entry->server = server;
    entry->listener = *listener;
    entry->port = port;
    if (uv_poll_init(rb_loop_uv(server->loop), &entry->poll, listener->fd) != 0) {
        free(entry);
        return rb_fail(err, RB_IO, "Descriptor %d cannot be polled.", listener->fd);
    }
    entry->poll.data = entry;
    server->open_handles++;
    rb_list_init(&entry->node);
    rb_list_push(&server->entries, &entry->node);
    rb_accept_start(entry);
    return RB_OK;
}

static void tell_all_gone(struct rb_http_server *server)
{
    struct rb_list waiting = RB_LIST_INIT(waiting);
    rb_list_append_all(&waiting, &server->fresh);
    rb_list_append_all(&waiting, &server->parked);
    /* Each goes back to where an answer, now or later, takes it from. */
    for (struct rb_list *node; (node = rb_list_pop(&waiting));) {
        rb_list_push(&server->parked, node);
        tell_gone(RB_CONTAINER(node, struct rb_http_request, node));
    }
}

void rb_http_server_drain(struct rb_http_server *server)
{
    server->draining = true;
    tell_all_gone(server);
}

/* Suspended connections would make the library abort the process when it is stopped. */
static void answer_all(struct rb_http_server *server)
{
    static const struct rb_verdict stopped = {503, "busy", "The broker is stopping."};
    rb_list_append_all(&server->parked, &server->fresh);
    while (!rb_list_empty(&server->parked))
        rb_exchange_refuse(RB_CONTAINER(server->parked.next, struct rb_http_request, node), stopped);
    for (int i = 0; i < LAST_RUNS && (i == 0 || rb_timer_is_set(&server->run_timer)); i++)
        rb_http_flush(server);
}

void rb_http_server_free(struct rb_http_server *server)
{
    if (!server)
        return;
    rb_http_server_drain(server);
    answer_all(server);
    server->freed = true;
    struct rb_clock *clock = rb_loop_clock(server->loop);
    uv_close((uv_handle_t *)&server->daemon_poll, on_closed);
    uv_close((uv_handle_t *)&server->watch_poll, on_closed);
    RB_LIST_EACH (&server->entries, node) {
        struct rb_http_entry *entry = RB_CONTAINER(node, struct rb_http_entry, node);
        uv_close((uv_handle_t *)&entry->poll, on_entry_closed);
        close(entry->listener.fd);
    }
    MHD_stop_daemon(server->daemon);
    rb_timer_stop(clock, &server->run_timer);
    rb_timer_stop(clock, &server->deadline_timer);
    rb_timer_stop(clock, &server->accept_timer);
    close(server->watch_fd);
    close(server->netlink_fd);
}
