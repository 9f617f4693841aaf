/* Guard: what is refused before a face sees it (hard cases T7, D2, D4, D5).
 *
 * libmicrohttpd is lenient: it takes two Hosts, folded lines, NULs, bare line feeds and spaces before the colon without
 * a word. It writes NULs over the separators of the header block but leaves the rest of it where it was, so the guard
 * walks the block beside the parsed headers: whatever is not exactly "name ':' space value CR LF" does not line up. Only
 * a NUL before a bare line feed, or a colon in the last line, cannot be told from a CR; it means the same then. */
#ifndef RB_GUARD_H
#define RB_GUARD_H

#include "exchange.h"

struct rb_guard_head {
    int64_t content_length; /* -1: none said */
    bool chunked;
    bool same_origin;
};

/* Judges caller and head of a request. Every refusal here ends the connection. */
struct rb_verdict rb_guard_head(const struct rb_http_request *request, const char *version, struct rb_guard_head *ret);

/* Judges the media type by what the route takes; `has_body`: there are bytes, or there may be some yet to come. */
struct rb_verdict rb_guard_media_type(const struct rb_http_request *request, bool has_body);

#endif
