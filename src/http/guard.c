#include "guard.h"

/* A name that counts is looked up once a header; those that may come only once have their count here. */
struct head_walk {
    const char *at, *end; /* where the next header has to begin, and where the header block ends */
    bool broken;
    bool browser, foreign_site, same_origin;
    unsigned hosts, lengths, encodings, types, credentials;
    struct rb_span host, length, encoding;
};

static bool is_token(struct rb_span text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && !memchr(others, c, sizeof others - 1))
            return false;
    }
    return true;
}

static bool is_field_value(struct rb_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* CR and LF were each overwritten with a NUL. A bare LF leaves one. */
static bool skip_line_end(struct head_walk *walk)
{
    if (walk->end - walk->at < 2 || walk->at[0] || walk->at[1])
        return false;
    walk->at += 2;
    return true;
}

static bool lines_up(struct head_walk *walk, struct rb_span name, struct rb_span value)
{
    if (name.at != walk->at || !is_token(name) || walk->end - walk->at < (ptrdiff_t)name.len + 1)
        return false;
    walk->at += name.len;
    if (*walk->at++) /* was the colon */
        return false;
    if (value.at < walk->at || value.at > walk->end)
        return false;
    for (; walk->at < value.at; walk->at++)
        if (*walk->at != ' ' && *walk->at != '\t')
            return false;
    if (walk->end - walk->at < (ptrdiff_t)value.len || !is_field_value(value))
        return false;
    walk->at += value.len;
    return skip_line_end(walk);
}

static bool begins_nocase(struct rb_span text, const char *start)
{
    size_t len = strlen(start);
    return text.len >= len && rb_span_is_nocase((struct rb_span){text.at, len}, start);
}

/* Headers that a browser or a proxy adds, but no local tool does. */
static bool is_browsers(struct rb_span name)
{
    static const char *const names[] = {"Origin", "Referer", "Forwarded", "Upgrade"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (rb_span_is_nocase(name, names[i]))
            return true;
    return begins_nocase(name, "X-Forwarded-");
}

static void note(struct head_walk *walk, struct rb_span name, struct rb_span value)
{
    if (rb_span_is_nocase(name, "Host")) {
        walk->hosts++;
        walk->host = value;
    } else if (rb_span_is_nocase(name, "Content-Length")) {
        walk->lengths++;
        walk->length = value;
    } else if (rb_span_is_nocase(name, "Transfer-Encoding")) {
        walk->encodings++;
        walk->encoding = value;
    } else if (rb_span_is_nocase(name, "Content-Type"))
        walk->types++;
    else if (rb_span_is_nocase(name, "Authorization"))
        walk->credentials++;
    else if (rb_span_is_nocase(name, "Sec-Fetch-Site")) {
        if (rb_span_is(value, "same-origin"))
            walk->same_origin = true;
        else if (!rb_span_is(value, "none"))
            walk->foreign_site = true;
    } else if (is_browsers(name))
        walk->browser = true;
}

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                 const char *value, size_t value_len)
{
    struct head_walk *walk = arg;
    struct rb_span n = {name, name_len}, v = {value, value_len};
    if (!lines_up(walk, n, v)) {
        walk->broken = true;
        return MHD_NO;
    }
    note(walk, n, v);
    return MHD_YES;
}

/* The request line: method, one space, URI, one space, version, CR LF, and nothing else in between. */
static bool request_line_lines_up(const struct rb_http_request *request, const char *version)
{
    const char *method = request->method_at, *uri = request->uri_at;
    return is_token(rb_span_of(method)) && method + strlen(method) + 1 == uri &&
           uri + request->uri_len + 1 == version &&
           (strcmp(version, "HTTP/1.1") == 0 || strcmp(version, "HTTP/1.0") == 0);
}

/* A path of our own, in visible ASCII: no absolute URI, no fragment, no '*'. */
static bool is_plain_uri(const struct rb_http_request *request)
{
    if (request->uri_len == 0 || request->uri[0] != '/')
        return false;
    for (size_t i = 0; i < request->uri_len; i++)
        if (request->uri[i] <= 0x20 || request->uri[i] >= 0x7f || request->uri[i] == '#')
            return false;
    return true;
}

/* A query that is badly encoded would mean something else to everybody who reads it. */
static bool is_decodable_query(const struct rb_http_request *request)
{
    size_t len;
    return rb_percent_decode(rb_http_raw_query(request), RB_DECODE_PLUS, request->decoded, &len);
}

static bool walk_head(const struct rb_http_request *request, const char *version, struct head_walk *walk)
{
    struct MHD_Connection *mhd = request->connection->mhd;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (!info || !request_line_lines_up(request, version))
        return false;
    walk->end = request->method_at + info->header_size;
    walk->at = version + strlen(version);
    if (!skip_line_end(walk))
        return false;
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, on_header, walk);
    return !walk->broken && skip_line_end(walk) && walk->at == walk->end;
}

static bool is_own_host(const struct rb_http_entry *entry, struct rb_span host)
{
    if (!entry->listener.hosts)
        return true;
    for (size_t i = 0; entry->listener.hosts[i]; i++) {
        const char *name = entry->listener.hosts[i];
        if (!begins_nocase(host, name))
            continue;
        struct rb_span rest = {host.at + strlen(name), host.len - strlen(name)};
        if (rest.len == 0)
            return true;
        int64_t port = 0;
        if (rest.at[0] == ':' && rb_span_to_i64((struct rb_span){rest.at + 1, rest.len - 1}, 1, 65535, &port) == RB_OK)
            return port == entry->port;
    }
    return false;
}

static struct rb_verdict bad(const char *sentence)
{
    return (struct rb_verdict){400, "bad_request", sentence};
}

static struct rb_verdict forbidden(const char *sentence)
{
    return (struct rb_verdict){403, "forbidden", sentence};
}

static struct rb_verdict judge_framing(const struct rb_http_request *request, const struct head_walk *walk,
                                       bool http_1_0, struct rb_guard_head *ret)
{
    ret->content_length = -1;
    if (walk->hosts != 1 || walk->host.len == 0)
        return bad("A request needs exactly one Host header.");
    if (walk->types > 1 || walk->credentials > 1)
        return bad("Content-Type and Authorization may be given once only.");
    if (walk->lengths > 1 || walk->encodings > 1 || (walk->lengths && walk->encodings))
        return bad("The length of the body is given twice.");
    if (walk->encodings && (http_1_0 || !rb_span_is_nocase(walk->encoding, "chunked")))
        return bad("The only transfer encoding here is chunked.");
    if (walk->lengths && rb_span_to_i64(walk->length, 0, INT64_MAX, &ret->content_length) != RB_OK)
        return bad("The Content-Length is no number.");
    ret->chunked = walk->encodings;
    if (!is_plain_uri(request))
        return bad("The request target has to be a path in visible ASCII.");
    if (!is_decodable_query(request))
        return bad("The query is badly encoded.");
    return RB_PASS;
}

static struct rb_verdict judge_caller(const struct rb_http_connection *connection)
{
    if (!connection->uid_known)
        return forbidden("The system could not tell which user calls: the calling socket was closed, or it belongs to "
                         "another network namespace.");
    if (!connection->admitted)
        return forbidden("This door is not open to your user.");
    return RB_PASS;
}

struct rb_verdict rb_guard_head(const struct rb_http_request *request, const char *version, struct rb_guard_head *ret)
{
    const struct rb_http_entry *entry = request->connection->entry;
    struct head_walk walk = {0};
    *ret = (struct rb_guard_head){.content_length = -1};
    if (!walk_head(request, version, &walk))
        return bad("The request's head is malformed.");
    struct rb_verdict verdict = judge_framing(request, &walk, strcmp(version, "HTTP/1.0") == 0, ret);
    if (verdict.status)
        return verdict;
    verdict = judge_caller(request->connection);
    if (verdict.status)
        return verdict;
    if (!is_own_host(entry, walk.host))
        return bad("The Host header does not name this door.");
    if (!entry->listener.browser_guard)
        return RB_PASS;
    if (walk.browser || walk.foreign_site)
        return forbidden("Requests of web pages and proxies are refused.");
    if (request->method == RB_OPTIONS)
        return forbidden("OPTIONS is refused: there is nothing here for other origins.");
    ret->same_origin = walk.same_origin;
    return RB_PASS;
}

/* "application/json", alone or with charset=utf-8. */
static bool is_media_type(struct rb_span value, const char *type)
{
    static const char *const charsets[] = {"charset=utf-8", "charset=\"utf-8\""};
    size_t len = strlen(type);
    if (!begins_nocase(value, type))
        return false;
    struct rb_span rest = {value.at + len, value.len - len};
    if (rest.len == 0)
        return true;
    bool semicolon = false;
    while (rest.len && (rest.at[0] == ' ' || (rest.at[0] == ';' && !semicolon))) {
        semicolon |= rest.at[0] == ';';
        rest.at++;
        rest.len--;
    }
    return semicolon && (rb_span_is_nocase(rest, charsets[0]) || rb_span_is_nocase(rest, charsets[1]));
}

struct rb_verdict rb_guard_media_type(const struct rb_http_request *request, bool has_body)
{
    struct rb_span type = rb_http_header(request, "Content-Type");
    bool json = is_media_type(type, "application/json");
    bool form = is_media_type(type, "application/x-www-form-urlencoded");
    bool fits = false;
    switch (request->route->body) {
    case RB_BODY_NONE:
        return has_body ? bad("This request takes no body.") : RB_PASS;
    case RB_BODY_JSON:
        fits = json;
        break;
    case RB_BODY_FORM:
        fits = form;
        break;
    case RB_BODY_JSON_OR_FORM:
        fits = json || form;
        break;
    case RB_BODY_OPTIONAL_JSON:
        fits = json || !has_body;
        break;
    case RB_BODY_ANY:
        return RB_PASS;
    }
    if (fits)
        return RB_PASS;
    return (struct rb_verdict){415, "media_type", "The Content-Type does not fit what this path takes."};
}
