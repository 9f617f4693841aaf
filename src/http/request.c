#include "exchange.h"

enum rb_http_method rb_http_method(const struct rb_http_request *request)
{
    return request->method;
}

struct rb_span rb_http_path(const struct rb_http_request *request)
{
    return (struct rb_span){request->uri, request->path_len};
}

struct rb_span rb_http_param(const struct rb_http_request *request, unsigned index)
{
    return index < RB_ROUTE_PARAMS ? request->params[index] : (struct rb_span){0};
}

struct rb_span rb_http_method_name(const struct rb_http_request *request)
{
    return rb_span_of(request->method_at);
}

bool rb_http_chunked(const struct rb_http_request *request)
{
    return request->chunked;
}

struct rb_span rb_http_raw_query(const struct rb_http_request *request)
{
    if (request->path_len == request->uri_len)
        return (struct rb_span){0};
    return (struct rb_span){request->uri + request->path_len + 1, request->uri_len - request->path_len - 1};
}

struct rb_span rb_http_body(const struct rb_http_request *request)
{
    return rb_str_span(&request->body);
}

const struct rb_http_peer *rb_http_peer(const struct rb_http_request *request)
{
    return &request->connection->peer;
}

void *rb_http_door(const struct rb_http_request *request)
{
    return request->connection->entry->listener.door;
}

void rb_http_on_gone(struct rb_http_request *request, void (*gone)(struct rb_http_request *request, void *arg),
                     void *arg)
{
    request->gone = gone;
    request->gone_arg = arg;
}

struct rb_span rb_http_trim(struct rb_span text)
{
    while (text.len && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text.at++;
        text.len--;
    }
    while (text.len && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
        text.len--;
    return text;
}

struct rb_span rb_http_header(const struct rb_http_request *request, const char *name)
{
    return rb_http_trim(rb_span_of(MHD_lookup_connection_value(request->connection->mhd, MHD_HEADER_KIND, name)));
}

struct rb_span rb_http_bearer(const struct rb_http_request *request)
{
    static const char scheme[] = "Bearer ";
    struct rb_span header = rb_http_header(request, "Authorization");
    size_t len = sizeof scheme - 1;
    if (header.len <= len || !rb_span_is_nocase((struct rb_span){header.at, len}, scheme))
        return (struct rb_span){0};
    return rb_http_trim((struct rb_span){header.at + len, header.len - len});
}

/* Takes the next "name=value" off a form or a query. */
static bool next_pair(struct rb_span *rest, struct rb_span *ret_name, struct rb_span *ret_value)
{
    if (!rest->len)
        return false;
    const char *end = memchr(rest->at, '&', rest->len);
    size_t len = end ? (size_t)(end - rest->at) : rest->len;
    const char *equals = memchr(rest->at, '=', len);
    size_t name_len = equals ? (size_t)(equals - rest->at) : len;
    *ret_name = (struct rb_span){rest->at, name_len};
    *ret_value = equals ? (struct rb_span){equals + 1, len - name_len - 1} : (struct rb_span){0};
    size_t taken = end ? len + 1 : len;
    rest->at += taken;
    rest->len -= taken;
    return true;
}

/* Names are ASCII and never need an escape. */
bool rb_http_query(const struct rb_http_request *request, const char *name, struct rb_span *ret)
{
    struct rb_span rest = rb_http_raw_query(request);
    struct rb_span key, value;
    while (next_pair(&rest, &key, &value)) {
        if (!rb_span_is(key, name))
            continue;
        if (value.len == 0) {
            *ret = (struct rb_span){0};
            return true;
        }
        char *out = request->decoded + (value.at - request->uri);
        size_t len = 0;
        if (!rb_percent_decode(value, RB_DECODE_PLUS, out, &len))
            return false;
        *ret = (struct rb_span){out, len};
        return true;
    }
    return false;
}

bool rb_http_form(const struct rb_http_request *request, const char *name, struct rb_str *out)
{
    struct rb_span rest = rb_str_span(&request->body);
    struct rb_span key, value;
    while (next_pair(&rest, &key, &value)) {
        if (!rb_span_is(key, name))
            continue;
        RB_CLEANUP_FREE char *decoded = malloc(value.len + 1);
        size_t len = 0;
        out->failed = !decoded;
        if (!decoded || !rb_percent_decode(value, RB_DECODE_PLUS | RB_DECODE_CONTROLS, decoded, &len))
            return false;
        rb_str_append(out, decoded, len);
        return !rb_str_failed(out);
    }
    return false;
}
