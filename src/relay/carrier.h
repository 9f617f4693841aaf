/* Carrier: one HTTP exchange with a relay, as a port. http_carrier does it with libcurl, the simulator with the model
 * relay.
 *
 * A carrier knows nothing of tokens or topics; it sends exactly one request, at most once, and says how that ended. It
 * never repeats, redirects, or answers from a cache. T8: `done` never fires inside carrier->start. */
#ifndef RB_CARRIER_H
#define RB_CARRIER_H

#include <stdbool.h>
#include <stdint.h>

#include "status.h"
#include "str.h"

enum rb_delivery {
    RB_DELIVERY_NONE,   /* never connected: the request certainly did not leave */
    RB_DELIVERY_LOST,   /* it may have left; no whole answer came (cut, deadline, over the size limit, not HTTP) */
    RB_DELIVERY_ANSWER, /* a whole answer came */
};

struct rb_exchange {
    /* The request. All spans and pointers are borrowed until `done`. */
    const char *url;          /* normalised relay URL without a trailing slash (rb_url_normalise) */
    const char *ca_file;      /* or NULL for the system's; https only */
    const char *method;       /* "GET", "POST", "PUT", "DELETE" */
    const char *path;         /* begins with '/', already encoded, query included; sent as it is */
    const char *content_type; /* or NULL: no body */
    struct rb_span body;
    const char *bearer;          /* or NULL */
    const char *idempotency_key; /* or NULL */
    int64_t deadline_ms;         /* from the start; the exchange is cut then and its end is LOST (or NONE) */
    size_t answer_max_bytes;     /* a longer body is cut: LOST with `too_long` */
    bool fresh_connection;       /* T3: a connection of its own, closed after: refresh, login, revoke */

    /* Called once, after start has returned, unless the exchange was abandoned. */
    void (*done)(struct rb_exchange *exchange);
    void *arg;

    /* The end, valid during `done`; the body is borrowed from the carrier and gone when `done` returns. */
    enum rb_delivery delivery;
    int status; /* of the HTTP answer, 0 if none */
    struct rb_span answer;
    bool answer_is_json; /* by its Content-Type */
    bool too_long;
    int64_t retry_after_ms; /* from Retry-After (seconds, or a date against `Date`), at most a day, -1 if none */
    int64_t relay_wall_ms;  /* from Date, -1 if none or unreadable */
    char cause[160];        /* for NONE and LOST: a few words ("connection refused", "certificate has expired") */

    void *carrier_data; /* the carrier's own, from start to end */
};

struct rb_carrier {
    /* Starts; a failure (RB_NO_MEMORY) means that `done` will not come. */
    enum rb_status (*start)(struct rb_carrier *carrier, struct rb_exchange *exchange);
    /* Ends the exchange now without `done`. What was sent may still arrive at the relay (R1). */
    void (*abandon)(struct rb_carrier *carrier, struct rb_exchange *exchange);
};

#endif
