/* Local: a caller on this host. The faces over the HTTP server, in this process, with the world's broker behind them; one
 * request over a real socket, in simulated time. libmicrohttpd and libuv keep their memory. */
#ifndef RB_LOCAL_H
#define RB_LOCAL_H

#include "str.h"
#include "world.h"

struct local;

/* Nothing fails meanwhile. The world is up. */
struct local *local_open(struct world *world);
/* Also when the host has died. */
void local_close(struct local *local);

/* Sends the request, head and body, and waits for an answer up to so much simulated time: its status and body; 0: the
 * connection ended, or time, without one. */
int local_ask(struct local *local, struct rb_span request, int64_t patience_ms, struct rb_str *ret_body);

#endif
