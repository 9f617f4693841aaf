/* Server: libmicrohttpd in the loop, one daemon for all listening sockets of one kind.
 *
 * Promises: a request is handed over once its body is whole; an answer given in a tick's effects leaves with
 * rb_http_flush, all of a tick together; limits below are kept, with an own deadline for a request to arrive (T7); a
 * caller that goes away while its request is parked is noticed (`gone`). Facts about the library that shaped it: design
 * §11. */
#ifndef RB_SERVER_H
#define RB_SERVER_H

#include "http.h"
#include "loop.h"
#include "router.h"

struct rb_http_limits {
    size_t body_bytes;    /* default 1048576; above: 413 */
    size_t header_bytes;  /* default 8192 */
    unsigned connections; /* default 15000 */
    unsigned parked;      /* requests at once that wait for an answer, default 12500: above, 503 with Retry-After */
    int user_percent;     /* of these two and of buffered_body_bytes: what one user may hold; default 80 (D6) */
    size_t buffered_body_bytes; /* of all requests together, default 256 MiB: above, 503 with Retry-After */
    int64_t arrive_ms;          /* for a request to arrive, from its first byte; default 10000 */
    int64_t idle_ms;            /* a connection without a request; default 75000 */
    size_t answer_bytes;        /* of answers that callers have not taken yet; default 256 MiB */
};
#define RB_HTTP_LIMITS_DEFAULT \
    ((struct rb_http_limits){1048576, 8192, 15000, 12500, 80, (size_t)256 << 20, 10000, 75000, (size_t)256 << 20})

struct rb_http_server;

enum rb_status rb_http_server_new(struct rb_loop *loop, const struct rb_http_limits *limits,
                                  struct rb_http_server **ret, struct rb_error *err);

/* What may come in by one listening socket. Borrowed until the server is freed. */
struct rb_http_listener {
    int fd;                             /* bound, listening, non-blocking; owned by the server from then on */
    const struct rb_face *const *faces; /* tried in order by prefix */
    size_t face_count;
    void *door; /* for rb_http_door */
    /* Host names that are the door's own ("127.0.0.1", "localhost", "[::1]"), without a port; NULL-terminated. NULL:
     * any (unix sockets). With own names a port in Host must be the listening port. */
    const char *const *hosts;
    /* May this caller come in? Called once, at accept. NULL: everybody whose uid could be told. `uid_known` false (D2)
     * is always refused before this is asked. */
    bool (*admits)(void *door, uid_t uid);
    bool browser_guard; /* D5: refuse Origin, Referer, Sec-Fetch-Site and so on */
};
enum rb_status rb_http_server_listen(struct rb_http_server *server, const struct rb_http_listener *listener,
                                     struct rb_error *err);

/* Binds and listens on "HOST:PORT" (numeric host; port 0 picks one); RB_BUSY names the owner where it can be told (D3).
 */
enum rb_status rb_http_bind(const char *host, int port, int *ret_fd, int *ret_port, struct rb_error *err);
/* A unix socket, mode 0600 (or as given); a stale file is replaced, a live one is RB_BUSY. */
enum rb_status rb_http_bind_unix(const char *path, unsigned mode, int *ret_fd, struct rb_error *err);

/* Lets queued answers leave and reads what is there; call at the end of each tick, after the effects. True when
 * requests were handed over by it. */
bool rb_http_flush(struct rb_http_server *server);

struct rb_http_stats {
    uint64_t requests, refused, connections_total;
    unsigned connections, parked;
    size_t buffered_body_bytes;
    size_t answer_bytes; /* not taken yet */
};
void rb_http_server_stats(const struct rb_http_server *server, struct rb_http_stats *ret);

/* Whether a large answer may be made now. If not, who has not taken one for some seconds is cut, so that it may soon. */
bool rb_http_has_answer_room(struct rb_http_server *server);

/* Refuses new requests with 503, calls `gone` for parked ones. */
void rb_http_server_drain(struct rb_http_server *server);
/* Answers what is still parked with 503 and closes all. */
void rb_http_server_free(struct rb_http_server *server);

#endif
