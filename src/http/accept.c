#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exchange.h"
#include "peer.h"

/* A burst of callers may not keep the loop from everybody else. */
enum { ACCEPTS_A_TURN = 64, NO_DESCRIPTORS_WAIT_MS = 100 };

/* For rb_http_peer.connection, which must not come twice in the process: not even from two servers. */
static uint64_t last_connection;

/* False: its user holds as many connections as one may, or there is no memory to count it. */
static bool count(const struct rb_http_connection *connection)
{
    struct rb_share *share = &connection->server->connections;
    int64_t uid = connection->peer.uid;
    return rb_share_room(share, uid, 1, 100) != RB_NO_ROOM_FOR_USER && rb_share_take(share, uid, 1) == RB_OK;
}

static void forget(struct rb_http_connection *connection)
{
    rb_share_give(&connection->server->connections, connection->peer.uid, 1);
    free(connection);
}

static void let_in(struct rb_http_entry *entry, int fd, const struct sockaddr_storage *address, socklen_t len)
{
    struct rb_http_server *server = entry->server;
    struct rb_http_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        close(fd);
        return;
    }
    rb_list_init(&connection->node);
    connection->server = server;
    connection->entry = entry;
    connection->fd = fd;
    connection->peer = (struct rb_http_peer){(uid_t)-1, (gid_t)-1, ++last_connection};
    connection->uid_known = rb_peer_of(server->netlink_fd, fd, &connection->peer.uid, &connection->peer.gid);
    if (!count(connection)) {
        server->stats.refused++;
        rb_answer_bare(fd, 503);
        close(fd);
        free(connection);
        return;
    }
    const struct rb_http_listener *listener = &entry->listener;
    connection->admitted =
        connection->uid_known && (!listener->admits || listener->admits(listener->door, connection->peer.uid));
    server->accepting = connection;
    enum MHD_Result added = MHD_add_connection(server->daemon, fd, (const struct sockaddr *)address, len);
    /* It closes the socket on failure, and if it had come to know the connection, that is freed already. */
    if (added != MHD_YES && server->accepting && !connection->mhd)
        forget(connection);
    server->accepting = NULL;
}

void rb_accept_on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                             enum MHD_ConnectionNotificationCode code)
{
    struct rb_http_server *server = arg;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct rb_http_connection *connection = server->accepting;
        connection->mhd = mhd;
        *context = connection;
        server->stats.connections++;
        server->stats.connections_total++;
        rb_deadline_arrive(connection);
        return;
    }
    struct rb_http_connection *connection = *context;
    if (server->accepting == connection)
        server->accepting = NULL;
    server->stats.connections--;
    rb_exchange_on_closed(connection);
    rb_deadline_stop(connection);
    forget(connection);
    *context = NULL;
}

static void pause_all(struct rb_http_server *server)
{
    server->accept_paused = true;
    RB_LIST_EACH (&server->entries, node)
        uv_poll_stop(&RB_CONTAINER(node, struct rb_http_entry, node)->poll);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct rb_http_entry *entry = poll->data;
    struct rb_http_server *server = entry->server;
    server->now_ms = rb_clock_now_ms(rb_loop_clock(server->loop));
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        if (server->stats.connections >= server->limits.connections) {
            pause_all(server);
            break;
        }
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        int fd = accept4(entry->listener.fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            let_in(entry, fd, &address, len);
        else if (errno == EAGAIN)
            break;
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_all(server);
            rb_timer_set_in(rb_loop_clock(server->loop), &server->accept_timer, NO_DESCRIPTORS_WAIT_MS);
            break;
        }
    }
    rb_server_run(server);
}

void rb_accept_start(struct rb_http_entry *entry)
{
    if (!entry->server->accept_paused)
        uv_poll_start(&entry->poll, UV_READABLE, on_readable);
}

void rb_accept_go_on(struct rb_http_server *server)
{
    if (!server->accept_paused || server->freed || rb_timer_is_set(&server->accept_timer) ||
        server->stats.connections >= server->limits.connections)
        return;
    server->accept_paused = false;
    RB_LIST_EACH (&server->entries, node)
        rb_accept_start(RB_CONTAINER(node, struct rb_http_entry, node));
}

void rb_accept_on_timer(struct rb_timer *timer)
{
    rb_accept_go_on(RB_CONTAINER(timer, struct rb_http_server, accept_timer));
}
