/* HTTP carrier: exchanges over libcurl's multi interface in the loop.
 *
 * Rules: T2 (no libcurl timeout decides; a deadline of the clock counts only after a whole poll phase that brought
 * nothing for that exchange), T3 (one call, one execution: fresh connections where asked, else a body reader that
 * cannot rewind and a second sending refused, and connections idle for less than 4 s; HTTP/1.1, no redirects, cookies,
 * compression), D7 (a proxy from the environment only for https), I5 (answers capped). TLS is always verified. */
#ifndef RB_HTTP_CARRIER_H
#define RB_HTTP_CARRIER_H

#include "carrier.h"
#include "loop.h"

struct rb_http_carrier;

enum rb_status rb_http_carrier_new(struct rb_loop *loop, struct rb_http_carrier **ret, struct rb_error *err);
/* Abandons what is under way; not from inside a `done`. Close before the loop is freed; the memory goes once the loop
 * has closed its handles. */
void rb_http_carrier_free(struct rb_http_carrier *carrier);
struct rb_carrier *rb_http_carrier_port(struct rb_http_carrier *carrier);

#endif
