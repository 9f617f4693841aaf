/* Deadlines: the library's own timeout starts anew with each byte (T7), so these are ours. All connections of a list
 * have the same time to live, so each list is in order of its deadlines and one timer serves all.
 *
 * After a stall the deadline may have passed while the rest of the request lay in the socket (T2). So a deadline only
 * strikes at first; the connection is cut when the poll phase after that brought nothing more of its body. */
#include <sys/socket.h>

#include "exchange.h"

/* The library reads with edge-triggered epoll and takes a short read for the last one: when the end of the connection
 * came together with the last bytes, it never hears of it. So a connection that has done nothing for a moment is asked
 * once. */
enum { SETTLE_MS = 1000 };

/* For a large answer to be taken while others wait for room to be answered. */
enum { TAKE_MS = 5000, LARGE_BYTES = 65536, LOOK_EVERY_MS = 100 };

static int64_t due_of(const struct rb_list *list)
{
    return rb_list_empty(list) ? INT64_MAX : RB_CONTAINER(list->next, struct rb_http_connection, node)->due_ms;
}

static void arm(struct rb_http_server *server)
{
    const struct rb_list *lists[] = {&server->arriving, &server->settling, &server->idle};
    int64_t at_ms = INT64_MAX;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (due_of(lists[i]) < at_ms)
            at_ms = due_of(lists[i]);
    struct rb_timer *timer = &server->deadline_timer;
    /* A timer that is set too early is cheaper than moving it with each request. */
    if (at_ms != INT64_MAX && (!rb_timer_is_set(timer) || timer->at_ms > at_ms))
        rb_timer_set(rb_loop_clock(server->loop), timer, at_ms);
}

static void start(struct rb_http_connection *connection, struct rb_list *list, int64_t in_ms)
{
    rb_list_remove(&connection->node);
    connection->due_ms = connection->server->now_ms + in_ms;
    connection->struck = false;
    rb_list_push(list, &connection->node);
    arm(connection->server);
}

void rb_deadline_arrive(struct rb_http_connection *connection)
{
    start(connection, &connection->server->arriving, connection->server->limits.arrive_ms);
}

void rb_deadline_idle(struct rb_http_connection *connection)
{
    start(connection, &connection->server->settling, SETTLE_MS);
}

void rb_deadline_stop(struct rb_http_connection *connection)
{
    rb_list_remove(&connection->node);
}

static void cut(struct rb_http_connection *connection, bool arriving)
{
    static const struct rb_verdict too_slow = {408, "timeout", "The request did not arrive in time."};
    struct rb_http_request *request = connection->request;
    rb_list_remove(&connection->node);
    if (request && request->stage == RB_ARRIVING) {
        request->by_hand = true;
        rb_exchange_refuse(request, too_slow);
    } else if (arriving) {
        connection->server->stats.refused++;
        rb_answer_bare(connection->fd, too_slow.status);
    }
    shutdown(connection->fd, SHUT_RDWR);
}

static void settle(struct rb_http_server *server)
{
    char byte;
    RB_LIST_EACH_SAFE (&server->settling, node) {
        struct rb_http_connection *connection = RB_CONTAINER(node, struct rb_http_connection, node);
        if (connection->due_ms > server->now_ms)
            break;
        rb_list_remove(node);
        connection->due_ms += server->limits.idle_ms - SETTLE_MS;
        rb_list_push(&server->idle, node);
        if (!connection->request && recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
            shutdown(connection->fd, SHUT_RDWR);
    }
}

/* True when a connection was only struck and has to be looked at again. */
static bool expire(struct rb_http_server *server, struct rb_list *list)
{
    bool again = false;
    RB_LIST_EACH_SAFE (list, node) {
        struct rb_http_connection *connection = RB_CONTAINER(node, struct rb_http_connection, node);
        if (connection->due_ms > server->now_ms)
            break;
        size_t bytes = connection->request ? connection->request->arrived_bytes : 0;
        if (connection->struck && connection->struck_bytes == bytes) {
            cut(connection, list == &server->arriving);
            continue;
        }
        connection->struck = again = true;
        connection->struck_bytes = bytes;
    }
    return again;
}

void rb_deadline_on_timer(struct rb_timer *timer)
{
    struct rb_http_server *server = RB_CONTAINER(timer, struct rb_http_server, deadline_timer);
    server->now_ms = rb_clock_now_ms(rb_loop_clock(server->loop));
    settle(server);
    bool again = expire(server, &server->arriving);
    again |= expire(server, &server->idle);
    if (again)
        rb_timer_set(rb_loop_clock(server->loop), timer, server->now_ms);
    else
        arm(server);
}

/* All that are due long enough are cut: one after the other would keep those who do take their answers waiting. */
bool rb_http_has_answer_room(struct rb_http_server *server)
{
    if (server->stats.answer_bytes < server->limits.answer_bytes)
        return true;
    int64_t now_ms = rb_clock_now_ms(rb_loop_clock(server->loop));
    if (now_ms - server->room_looked_ms < LOOK_EVERY_MS)
        return false;
    server->room_looked_ms = now_ms;
    RB_LIST_EACH_SAFE (&server->idle, node) {
        struct rb_http_connection *connection = RB_CONTAINER(node, struct rb_http_connection, node);
        const struct rb_http_request *request = connection->request;
        if (now_ms - (connection->due_ms - server->limits.idle_ms) < TAKE_MS)
            break;
        if (request && request->answer_bytes >= LARGE_BYTES)
            cut(connection, false);
    }
    return false;
}
