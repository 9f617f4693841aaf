/* Exchange: one request on one connection, as the files of this room see it; nobody outside includes this.
 *
 *     arriving ──body whole, handler called──▶ handed ──handler returned──▶ parked ──rb_http_answer──▶ answered
 *         │                                      └───────────rb_http_answer──────────────────────────▶ answered
 *         └──refused by guard, router or a limit─────────────────────────────────────────────────────▶ answered
 *
 * libmicrohttpd owns the socket and the header memory; a connection lives from accept until the library has closed its
 * socket, a request from its request line until its answer was sent or its connection ended. */
#ifndef RB_EXCHANGE_H
#define RB_EXCHANGE_H

#include <microhttpd.h>

#include "http.h"
#include "list.h"
#include "router.h"
#include "server.h"
#include "share.h"

enum { RB_ROUTE_PARAMS = 4 };

/* Why a request is refused; status 0: it is not. Static strings. */
struct rb_verdict {
    int status;
    const char *word, *sentence;
};
#define RB_PASS ((struct rb_verdict){0})

enum rb_exchange_stage { RB_ARRIVING, RB_HANDED, RB_PARKED, RB_ANSWERED };

/* A listening socket in the loop. */
struct rb_http_entry {
    struct rb_list node;
    struct rb_http_server *server;
    struct rb_http_listener listener;
    uv_poll_t poll;
    int port; /* 0: a unix socket */
};

struct rb_http_connection {
    /* In the server's `arriving`, `settling` or `idle`, by due_ms; unlinked while its request is parked. */
    struct rb_list node;
    int64_t due_ms;
    struct rb_http_server *server;
    struct rb_http_entry *entry;
    struct MHD_Connection *mhd;
    struct rb_http_request *request; /* NULL between requests */
    struct rb_http_peer peer;
    int fd;
    bool uid_known, admitted;
    /* For EPOLLRDHUP: a parked request wants to hear of it; the socket is in the server's own epoll set; and has not
     * fired since it was armed. */
    bool watched, in_watch, armed;
    bool struck; /* its deadline has passed once: see deadline.c */
    size_t struck_bytes;
};

struct rb_http_request {
    struct rb_list node; /* in the server's `fresh`, `parked` or `answered` */
    struct rb_http_connection *connection;
    const struct rb_face *face; /* NULL: the path is no face's */
    const struct rb_route *route;
    struct MHD_Response *response;
    void (*gone)(struct rb_http_request *request, void *arg);
    void *gone_arg;
    struct rb_str headers; /* for the answer: name NUL value NUL … */
    struct rb_str body;
    struct rb_verdict verdict; /* of the router, said when the body is whole so that the connection can stay */
    struct rb_span params[RB_ROUTE_PARAMS];
    size_t arrived_bytes;           /* of the body, kept or not */
    size_t answer_bytes;            /* counted in the server's, until the answer is taken */
    const char *method_at, *uri_at; /* where the library has them: for the guard's look at the raw header block */
    enum rb_http_method method;
    enum rb_exchange_stage stage;
    unsigned answer_status;
    bool begun; /* the library's first call was seen */
    bool chunked;
    bool by_hand; /* the library takes no answer now: it is written to the socket directly */
    bool gone_told;
    bool waits; /* counted in the server's `waiting` */
    uint32_t path_len, uri_len;
    /* Behind the raw URI, as many bytes for decoded parts: a part is decoded to the offset that it has in the URI, so
     * that asking twice costs no memory. */
    char *decoded;
    char uri[];
};

struct rb_http_server {
    struct rb_loop *loop;
    struct rb_http_limits limits;
    struct rb_http_stats stats;
    struct rb_share connections, waiting, body_bytes; /* by user (D6) */
    struct MHD_Daemon *daemon;
    uv_poll_t daemon_poll, watch_poll;
    int watch_fd, netlink_fd;
    unsigned open_handles;
    struct rb_timer run_timer, deadline_timer, accept_timer;
    struct rb_list entries;
    struct rb_list arriving, settling, idle; /* connections by due_ms, the earliest first */
    struct rb_list fresh;                    /* parked, not watched yet: most are answered within their tick */
    struct rb_list parked;                   /* parked and watched */
    struct rb_list answered;                 /* to be resumed by the next flush */
    struct rb_http_connection *accepting;
    int64_t now_ms;         /* of this run */
    int64_t room_looked_ms; /* when callers that take no answer were looked for */
    bool running, handed, draining, accept_paused, freed;
};

/* --- exchange.c: the library's callbacks --- */
void *rb_exchange_on_uri(void *server, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result rb_exchange_on_request(void *server, struct MHD_Connection *mhd, const char *url, const char *method,
                                       const char *version, const char *data, size_t *data_len, void **context);
void rb_exchange_on_completed(void *server, struct MHD_Connection *mhd, void **context,
                              enum MHD_RequestTerminationCode code);
/* The connection is about to be freed: a request that was not completed goes with it. */
void rb_exchange_on_closed(struct rb_http_connection *connection);
/* Words a refusal as the request's face does. The request is answered after it. */
void rb_exchange_refuse(struct rb_http_request *request, struct rb_verdict verdict);

/* --- server.c --- */
void rb_server_run(struct rb_http_server *server);

/* --- accept.c --- */
void rb_accept_on_connection(void *server, struct MHD_Connection *mhd, void **context,
                             enum MHD_ConnectionNotificationCode code);
void rb_accept_start(struct rb_http_entry *entry);
/* Listens again when it had paused at a limit and there is room. */
void rb_accept_go_on(struct rb_http_server *server);
void rb_accept_on_timer(struct rb_timer *timer);

/* --- deadline.c --- */
/* Starts the time in which a request has to arrive. */
void rb_deadline_arrive(struct rb_http_connection *connection);
/* Starts the time that a connection may do nothing, or take for its answer. */
void rb_deadline_idle(struct rb_http_connection *connection);
void rb_deadline_stop(struct rb_http_connection *connection);
void rb_deadline_on_timer(struct rb_timer *timer);

/* --- answer.c --- */
/* Forgets what the answer needs no more: body and headers, and its part of what may wait. */
void rb_answer_release(struct rb_http_request *request);
/* The answer was sent, or its connection has ended. */
void rb_answer_taken(struct rb_http_request *request);
/* Writes an answer without a body to the socket, where no request is known that could be answered. */
void rb_answer_bare(int fd, int status);

/* --- router.c --- */
/* The face that takes the path, NULL for none. */
const struct rb_face *rb_router_face(const struct rb_http_listener *listener, struct rb_span path);
/* Finds the route and decodes its parameters into the request; a 405 adds Allow. */
struct rb_verdict rb_router_match(struct rb_http_request *request);

/* --- percent.c --- */
enum {
    RB_DECODE_PLUS = 1 /* '+' is a space */,
    RB_DECODE_CONTROLS = 2 /* control characters but NUL are let through */
};
/* Decodes %XX once into `out`, which has room for text.len bytes. False: a bad escape, or the result has control
 * characters or is no UTF-8. */
bool rb_percent_decode(struct rb_span text, unsigned flags, char *out, size_t *ret_len);

#endif
