/* Router: paths as a table. A face is an array of routes; the first that matches wins.
 *
 * A template is matched against the raw path, segment by segment; "{name}" takes one whole segment, which is decoded
 * once and must then be valid UTF-8 without '/', NUL or other control characters (D4). Anything else is a 404, a known
 * path with another method a 405 with Allow. A trailing slash is another path. A last segment "*" takes the rest of the
 * path, whatever it is (also nothing), undecoded; it is no parameter. RB_OTHER_METHOD in a route takes every method. */
#ifndef RB_ROUTER_H
#define RB_ROUTER_H

#include "http.h"

typedef void (*rb_http_handler)(struct rb_http_request *request, void *face);

enum rb_body_kind {
    RB_BODY_NONE, /* a body is refused with 400 unless it is empty */
    RB_BODY_JSON, /* media type exactly application/json (parameters charset=utf-8 allowed); else 422 or 415, as the
                     face says */
    RB_BODY_FORM, /* application/x-www-form-urlencoded */
    RB_BODY_JSON_OR_FORM,
    RB_BODY_OPTIONAL_JSON, /* JSON or nothing */
    RB_BODY_ANY,           /* whatever the media type says, or without one: the handler looks at it */
};

struct rb_route {
    enum rb_http_method method;
    const char *template;
    enum rb_body_kind body;
    rb_http_handler handler;
    bool waits; /* it may wait long for something to happen: the limit of parked requests is for these */
    /* A GET for data of the status page's own script: the only route where Sec-Fetch-Site: same-origin is let through
     * (D5). Never one that leases, moves or spends. */
    bool own_page;
};

/* How a face words the errors of server, guard and router: status, a short machine word ("too_large", "not_found",
 * "bad_request", "forbidden", "method", "media_type", "timeout", "busy"), and the sentence. */
typedef void (*rb_http_problem)(struct rb_http_request *request, int status, const char *word, const char *sentence);

struct rb_face {
    const struct rb_route *routes;
    size_t count;
    const char *prefix; /* the face takes paths that begin with it; "" takes all */
    rb_http_problem problem;
    void *arg; /* handed to handlers */
};

#endif
