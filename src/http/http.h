/* HTTP: what a face sees of a local request. The server (libmicrohttpd in the loop), the guard and the router fill and
 * check it; a face's handler reads it and answers, now or later.
 *
 * A request handed to a handler has passed the guard (T7, D5: smuggling forms, Host, Origin and its like, media types,
 * sizes), has its whole body, and stays valid until it was answered. */
#ifndef RB_HTTP_H
#define RB_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "json.h"
#include "str.h"

struct rb_http_request;

enum rb_http_method { RB_GET, RB_POST, RB_PUT, RB_DELETE, RB_OPTIONS, RB_HEAD, RB_OTHER_METHOD };

/* Who called: the kernel's word (D1, D2), looked up once, at accept. */
struct rb_http_peer {
    uid_t uid;
    gid_t gid;           /* of the uid's process where known (unix socket), else (gid_t)-1 */
    uint64_t connection; /* a number of its own for each accepted connection, never reused in this process */
};

enum rb_http_method rb_http_method(const struct rb_http_request *request);
/* The raw path as it was sent, without the query. */
struct rb_span rb_http_path(const struct rb_http_request *request);
/* Path parameter `index` of the matched route ("{…}" in its template), decoded once. */
struct rb_span rb_http_param(const struct rb_http_request *request, unsigned index);
/* The query's parameter, decoded once ('+' is a space); false when missing. Of several the first. */
bool rb_http_query(const struct rb_http_request *request, const char *name, struct rb_span *ret);
/* Without the blanks and tabs around it. */
struct rb_span rb_http_trim(struct rb_span text);
/* A request header (case-insensitive), or an empty span. */
struct rb_span rb_http_header(const struct rb_http_request *request, const char *name);
/* The bearer of Authorization, or empty. */
struct rb_span rb_http_bearer(const struct rb_http_request *request);
struct rb_span rb_http_body(const struct rb_http_request *request);
/* A field of an application/x-www-form-urlencoded body, decoded into `out`; false when missing or badly encoded, or out
 * of memory: then `out` has failed. */
bool rb_http_form(const struct rb_http_request *request, const char *name, struct rb_str *out);
const struct rb_http_peer *rb_http_peer(const struct rb_http_request *request);
/* The door it came through: the `door` given to rb_http_server_listen. */
void *rb_http_door(const struct rb_http_request *request);

/* --- answering: exactly once; the request is gone after it --- */

/* A header for the answer that is given next. Both strings are copied. */
void rb_http_add_header(struct rb_http_request *request, const char *name, const char *value);
/* Copies `body`. content_type NULL: no body (204). */
void rb_http_answer(struct rb_http_request *request, int status, const char *content_type, struct rb_span body);
/* Takes the str's memory. */
void rb_http_answer_str(struct rb_http_request *request, int status, const char *content_type, struct rb_str *body);
/* Prints and releases the tree as application/json; NULL (no memory) becomes a 503. */
void rb_http_answer_json(struct rb_http_request *request, int status, json_t *tree);

/* Closes the connection without an answer; the request is gone, as after an answer. Where any answer would
 * say what is not so; and for the fake relay's faults. */
void rb_http_drop(struct rb_http_request *request);
/* The request's method as it was sent, and whether its body came chunked. */
struct rb_span rb_http_method_name(const struct rb_http_request *request);
bool rb_http_chunked(const struct rb_http_request *request);
/* The raw query as it was sent, without the "?". */
struct rb_span rb_http_raw_query(const struct rb_http_request *request);

/* --- a caller that goes away --- */

/* While a request is unanswered: `gone` is called once when the caller has closed its connection (the request must
 * still be answered, into nothing, before `gone` returns or later), or when the server is stopping. */
void rb_http_on_gone(struct rb_http_request *request, void (*gone)(struct rb_http_request *request, void *arg),
                     void *arg);

#endif
