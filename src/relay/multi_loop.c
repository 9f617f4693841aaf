#include "multi_loop.h"

#include <stdlib.h>

#include "list.h"

/* Connections kept for reuse; they are few and short-lived anyway. */
enum { IDLE_CONNECTIONS = 64L };

struct rb_multi_loop {
    struct rb_loop *loop;
    CURLM *multi;
    struct rb_timer timer;
    struct rb_list sockets;
    struct rb_multi_loop_users users;
};

struct watch {
    uv_poll_t poll;
    struct rb_list node;
    struct rb_multi_loop *ml;
    CURL *easy; /* the transfer that the socket serves now, or NULL */
    curl_socket_t socket;
    int events; /* that libcurl waits for */
};

static void tell_ended(struct rb_multi_loop *ml)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(ml->multi, &left)))
        if (message->msg == CURLMSG_DONE)
            ml->users.ended(ml->users.arg, message->easy_handle, message->data.result);
}

static void set_timer(struct rb_multi_loop *ml, long timeout_ms)
{
    struct rb_clock *clock = rb_loop_clock(ml->loop);
    if (timeout_ms < 0)
        rb_timer_stop(clock, &ml->timer);
    else
        rb_timer_set_in(clock, &ml->timer, timeout_ms);
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *arg)
{
    set_timer(arg, timeout_ms);
    return 0;
}

static void on_timer(struct rb_timer *timer)
{
    struct rb_multi_loop *ml = RB_CONTAINER(timer, struct rb_multi_loop, timer);
    int running;
    long left_ms = -1;
    curl_multi_socket_action(ml->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    /* Where our clock was ahead of libcurl's it found nothing due, and does not ask again for the same moment. */
    if (!rb_timer_is_set(&ml->timer) && curl_multi_timeout(ml->multi, &left_ms) == CURLM_OK && left_ms >= 0)
        set_timer(ml, left_ms ? left_ms : 1);
    tell_ended(ml);
}

static void on_closed(uv_handle_t *handle)
{
    free(RB_CONTAINER(handle, struct watch, poll));
}

static void watch_close(struct watch *watch)
{
    rb_list_remove(&watch->node);
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = RB_CONTAINER(poll, struct watch, poll);
    struct rb_multi_loop *ml = watch->ml;
    int flags = 0, running;
    /* An error of the socket says nothing of what came before it: that is read, and then the reading says it (T2). Who
     * only waits to write hears it by writing. */
    if (status < 0)
        flags |= watch->events & UV_READABLE ? CURL_CSELECT_IN : CURL_CSELECT_OUT;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    if ((flags & CURL_CSELECT_IN) && watch->easy)
        ml->users.arrived(ml->users.arg, watch->easy);
    curl_multi_socket_action(ml->multi, watch->socket, flags, &running);
    /* libuv stops a watch with an error, and libcurl reads a part at a time. */
    if (status < 0 && !uv_is_closing((uv_handle_t *)poll))
        uv_poll_start(poll, watch->events, on_poll);
    tell_ended(ml);
}

static struct watch *watch_new(struct rb_multi_loop *ml, curl_socket_t socket)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    if (uv_poll_init_socket(rb_loop_uv(ml->loop), &watch->poll, socket) != 0) {
        free(watch);
        return NULL;
    }
    watch->ml = ml;
    watch->socket = socket;
    rb_list_push(&ml->sockets, &watch->node);
    curl_multi_assign(ml->multi, socket, watch);
    return watch;
}

/* A failure here must not be told to libcurl, which would give up all transfers for ever. The one that cannot be
 * watched ends at its deadline. */
static int on_socket_wanted(CURL *easy, curl_socket_t socket, int what, void *arg, void *socket_arg)
{
    struct rb_multi_loop *ml = arg;
    struct watch *watch = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (watch) {
            watch_close(watch);
            curl_multi_assign(ml->multi, socket, NULL);
        }
        return 0;
    }
    if (!watch)
        watch = watch_new(ml, socket);
    if (!watch)
        return 0;
    watch->easy = easy;
    watch->events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&watch->poll, watch->events, on_poll);
    return 0;
}

enum rb_status rb_multi_loop_new(struct rb_loop *loop, struct rb_multi_loop_users users, struct rb_multi_loop **ret)
{
    struct rb_multi_loop *ml = calloc(1, sizeof *ml);
    if (!ml)
        return RB_NO_MEMORY;
    ml->loop = loop;
    ml->users = users;
    ml->timer = RB_TIMER_INIT(on_timer);
    rb_list_init(&ml->sockets);
    ml->multi = curl_multi_init();
    if (!ml->multi || curl_multi_setopt(ml->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted) != CURLM_OK ||
        curl_multi_setopt(ml->multi, CURLMOPT_SOCKETDATA, ml) != CURLM_OK ||
        curl_multi_setopt(ml->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) != CURLM_OK ||
        curl_multi_setopt(ml->multi, CURLMOPT_TIMERDATA, ml) != CURLM_OK ||
        curl_multi_setopt(ml->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING) != CURLM_OK ||
        curl_multi_setopt(ml->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS) != CURLM_OK) {
        rb_multi_loop_free(ml);
        return RB_NO_MEMORY;
    }
    *ret = ml;
    return RB_OK;
}

void rb_multi_loop_free(struct rb_multi_loop *ml)
{
    if (!ml)
        return;
    curl_multi_cleanup(ml->multi);
    RB_LIST_EACH_SAFE (&ml->sockets, node)
        watch_close(RB_CONTAINER(node, struct watch, node));
    rb_timer_stop(rb_loop_clock(ml->loop), &ml->timer);
    free(ml);
}

enum rb_status rb_multi_loop_add(struct rb_multi_loop *ml, CURL *easy)
{
    return curl_multi_add_handle(ml->multi, easy) == CURLM_OK ? RB_OK : RB_NO_MEMORY;
}

void rb_multi_loop_remove(struct rb_multi_loop *ml, CURL *easy)
{
    curl_multi_remove_handle(ml->multi, easy);
    RB_LIST_EACH (&ml->sockets, node) {
        struct watch *watch = RB_CONTAINER(node, struct watch, node);
        if (watch->easy == easy)
            watch->easy = NULL;
    }
}
