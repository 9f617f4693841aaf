#include <errno.h>
#include <sys/socket.h>

#include "exchange.h"
#include "wipe.h"

/* On every answer (hard case D5). */
static const char *const always[][2] = {
    {"X-Content-Type-Options", "nosniff"},
    {"Cache-Control", "no-store"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};
enum { ALWAYS = sizeof always / sizeof always[0] };

void rb_http_add_header(struct rb_http_request *request, const char *name, const char *value)
{
    rb_str_append(&request->headers, name, strlen(name) + 1);
    rb_str_append(&request->headers, value, strlen(value) + 1);
}

/* Walks the headers of rb_http_add_header; start with *ret_name NULL. */
static bool next_header(const struct rb_http_request *request, const char **ret_name, const char **ret_value)
{
    if (request->headers.len == 0)
        return false;
    const char *end = request->headers.at + request->headers.len;
    const char *name = *ret_name ? *ret_value + strlen(*ret_value) + 1 : request->headers.at;
    if (name == end)
        return false;
    *ret_name = name;
    *ret_value = name + strlen(name) + 1;
    return true;
}

void rb_answer_release(struct rb_http_request *request)
{
    struct rb_http_connection *connection = request->connection;
    rb_share_give(&connection->server->body_bytes, connection->peer.uid, (int64_t)request->body.len);
    rb_str_free(&request->body);
    rb_str_free(&request->headers);
    if (request->waits)
        rb_share_give(&connection->server->waiting, connection->peer.uid, 1);
    request->waits = false;
}

void rb_answer_taken(struct rb_http_request *request)
{
    request->connection->server->stats.answer_bytes -= request->answer_bytes;
    request->answer_bytes = 0;
}

static void send_at_once(int fd, struct rb_span bytes)
{
    while (bytes.len) {
        ssize_t sent = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return; /* a caller that does not read gets a closed connection instead */
        bytes.at += sent;
        bytes.len -= (size_t)sent;
    }
}

static void add_head(struct rb_str *out, int status, size_t body_len)
{
    rb_str_addf(out, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %zu\r\n", status,
                MHD_get_reason_phrase_for((unsigned)status), body_len);
    for (size_t i = 0; i < ALWAYS; i++)
        rb_str_addf(out, "%s: %s\r\n", always[i][0], always[i][1]);
}

void rb_answer_bare(int fd, int status)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    add_head(&out, status, 0);
    rb_str_add(&out, "\r\n");
    if (!rb_str_failed(&out))
        send_at_once(fd, rb_str_span(&out));
}

static void answer_by_hand(struct rb_http_request *request, int status, const char *content_type, struct rb_span body)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    add_head(&out, status, body.len);
    if (content_type)
        rb_str_addf(&out, "Content-Type: %s\r\n", content_type);
    for (const char *name = NULL, *value = NULL; next_header(request, &name, &value);)
        rb_str_addf(&out, "%s: %s\r\n", name, value);
    rb_str_add(&out, "\r\n");
    rb_str_add_span(&out, body);
    if (!rb_str_failed(&out))
        send_at_once(request->connection->fd, rb_str_span(&out));
}

/* Takes the bytes over, also when out of memory: NULL then. A token may be among them. */
static struct MHD_Response *make_response(const struct rb_http_request *request, const char *content_type, void *bytes,
                                          size_t len)
{
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(len, bytes, rb_wipe_free);
    if (!response) {
        rb_wipe_free(bytes);
        return NULL;
    }
    bool ok = !rb_str_failed(&request->headers);
    for (size_t i = 0; i < ALWAYS; i++)
        ok &= MHD_add_response_header(response, always[i][0], always[i][1]) == MHD_YES;
    if (content_type)
        ok &= MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) == MHD_YES;
    /* What the library cannot see of a chunked body's framing must not become the next request. */
    if (request->chunked || request->connection->server->draining)
        ok &= MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES;
    for (const char *name = NULL, *value = NULL; next_header(request, &name, &value);)
        ok &= MHD_add_response_header(response, name, value) == MHD_YES;
    if (ok)
        return response;
    MHD_destroy_response(response);
    return NULL;
}

/* With a NULL response (a drop, or no memory for it) the connection is closed instead. */
static void settle(struct rb_http_request *request, int status, struct MHD_Response *response, size_t len)
{
    struct rb_http_server *server = request->connection->server;
    request->answer_bytes = response ? len : 0;
    server->stats.answer_bytes += request->answer_bytes;
    if (request->stage == RB_PARKED) {
        rb_list_remove(&request->node);
        rb_list_push(&server->answered, &request->node);
        server->stats.parked--;
    }
    request->stage = RB_ANSWERED;
    request->response = response;
    request->answer_status = (unsigned)status;
    request->gone = NULL;
    rb_answer_release(request);
}

void rb_http_answer(struct rb_http_request *request, int status, const char *content_type, struct rb_span body)
{
    struct MHD_Response *response = NULL;
    if (!content_type)
        body.len = 0;
    if (request->by_hand)
        answer_by_hand(request, status, content_type, body);
    else {
        char *bytes = malloc(body.len + 1);
        if (bytes) {
            if (body.len)
                memcpy(bytes, body.at, body.len);
            response = make_response(request, content_type, bytes, body.len);
        }
    }
    settle(request, status, response, body.len);
}

void rb_http_answer_str(struct rb_http_request *request, int status, const char *content_type, struct rb_str *body)
{
    if (rb_str_failed(body))
        rb_http_answer(request, 503, NULL, (struct rb_span){0});
    else if (request->by_hand || body->len == 0 || !content_type)
        rb_http_answer(request, status, content_type, rb_str_span(body));
    else {
        size_t len = body->len;
        char *bytes = rb_str_steal(body);
        settle(request, status, make_response(request, content_type, bytes, len), len);
    }
    rb_str_free(body);
}

void rb_http_drop(struct rb_http_request *request)
{
    settle(request, 0, NULL, 0);
}

void rb_http_answer_json(struct rb_http_request *request, int status, json_t *tree)
{
    struct rb_str body = RB_STR_INIT;
    if (rb_json_print(&body, tree) != RB_OK) {
        rb_str_free(&body);
        rb_http_answer(request, 503, NULL, (struct rb_span){0});
        return;
    }
    rb_http_answer_str(request, status, "application/json", &body);
}
