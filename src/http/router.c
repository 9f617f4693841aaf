#include "exchange.h"

const struct rb_face *rb_router_face(const struct rb_http_listener *listener, struct rb_span path)
{
    for (size_t i = 0; i < listener->face_count; i++) {
        size_t len = strlen(listener->faces[i]->prefix);
        if (path.len >= len && memcmp(path.at, listener->faces[i]->prefix, len) == 0)
            return listener->faces[i];
    }
    return NULL;
}

/* Cuts the part up to the next '/' off the rest. */
static struct rb_span segment(struct rb_span *rest)
{
    const char *slash = rest->len ? memchr(rest->at, '/', rest->len) : NULL;
    struct rb_span part = {rest->at, slash ? (size_t)(slash - rest->at) : rest->len};
    size_t taken = slash ? part.len + 1 : part.len;
    rest->at += taken;
    rest->len -= taken;
    return part;
}

/* A parameter may be no path of its own: no '/', and not the dot segments that other software would walk. */
static bool decode_param(struct rb_http_request *request, struct rb_span raw, struct rb_span *ret)
{
    if (raw.len == 0)
        return false;
    char *out = request->decoded + (raw.at - request->uri);
    size_t len = 0;
    if (!rb_percent_decode(raw, 0, out, &len) || memchr(out, '/', len))
        return false;
    *ret = (struct rb_span){out, len};
    return !rb_span_is(*ret, ".") && !rb_span_is(*ret, "..");
}

static bool matches(struct rb_http_request *request, const char *template, struct rb_span *params)
{
    struct rb_span path = rb_http_path(request), pattern = rb_span_of(template);
    unsigned count = 0;
    for (;;) {
        if (rb_span_is(pattern, "*"))
            return true;
        bool more = pattern.len && memchr(pattern.at, '/', pattern.len);
        if (more != (path.len && memchr(path.at, '/', path.len)))
            return false;
        struct rb_span want = segment(&pattern), have = segment(&path);
        if (want.len && want.at[0] == '{') {
            if (count == RB_ROUTE_PARAMS || !decode_param(request, have, &params[count++]))
                return false;
        } else if (!rb_span_equal(want, have))
            return false;
        if (!more)
            return true;
    }
}

static const char *method_name(enum rb_http_method method)
{
    switch (method) {
    case RB_GET:
        return "GET";
    case RB_POST:
        return "POST";
    case RB_PUT:
        return "PUT";
    case RB_DELETE:
        return "DELETE";
    case RB_OPTIONS:
        return "OPTIONS";
    case RB_HEAD:
        return "HEAD";
    case RB_OTHER_METHOD:
        break;
    }
    return "";
}

static void add_allow(struct rb_http_request *request, const bool *allowed)
{
    RB_CLEANUP_STR struct rb_str allow = RB_STR_INIT;
    for (unsigned method = 0; method < RB_OTHER_METHOD; method++)
        if (allowed[method])
            rb_str_addf(&allow, "%s%s", allow.len ? ", " : "", method_name((enum rb_http_method)method));
    if (!rb_str_failed(&allow))
        rb_http_add_header(request, "Allow", allow.at);
}

struct rb_verdict rb_router_match(struct rb_http_request *request)
{
    static const struct rb_verdict not_found = {404, "not_found", "There is nothing at this path."};
    bool allowed[RB_OTHER_METHOD + 1] = {0}, known = false;
    if (!request->face)
        return not_found;
    for (size_t i = 0; i < request->face->count; i++) {
        const struct rb_route *route = &request->face->routes[i];
        struct rb_span params[RB_ROUTE_PARAMS] = {{0}};
        if (!matches(request, route->template, params))
            continue;
        if (route->method == request->method || route->method == RB_OTHER_METHOD) {
            memcpy(request->params, params, sizeof params);
            request->route = route;
            return RB_PASS;
        }
        allowed[route->method] = known = true;
    }
    if (!known)
        return not_found;
    add_allow(request, allowed);
    return (struct rb_verdict){405, "method", "This path does not know that method; see the Allow header."};
}
