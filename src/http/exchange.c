#include "exchange.h"

#include "guard.h"
#include "problem.h"

/* For the header records that the library keeps beside the header's bytes. */
enum { HEADER_RECORD_BYTES = 64 };

static enum rb_http_method method_of(const char *method)
{
    static const struct {
        const char *name;
        enum rb_http_method method;
    } methods[] = {{"GET", RB_GET},       {"POST", RB_POST},       {"PUT", RB_PUT},
                   {"DELETE", RB_DELETE}, {"OPTIONS", RB_OPTIONS}, {"HEAD", RB_HEAD}};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(method, methods[i].name) == 0)
            return methods[i].method;
    return RB_OTHER_METHOD;
}

void *rb_exchange_on_uri(void *server, const char *uri, struct MHD_Connection *mhd)
{
    struct rb_http_connection *connection =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    size_t len = uri ? strlen(uri) : 0;
    struct rb_http_request *request = calloc(1, sizeof *request + 2 * len + 2);
    if (!request)
        return NULL; /* the connection is closed by the first call of the handler */
    rb_list_init(&request->node);
    request->connection = connection;
    request->uri_at = uri;
    request->uri_len = (uint32_t)len;
    request->decoded = request->uri + len + 1;
    if (len)
        memcpy(request->uri, uri, len);
    const char *query = strchr(request->uri, '?');
    request->path_len = query ? (uint32_t)(query - request->uri) : request->uri_len;
    request->face = rb_router_face(&connection->entry->listener, rb_http_path(request));
    connection->request = request;
    rb_deadline_arrive(connection);
    return request;
}

void rb_exchange_refuse(struct rb_http_request *request, struct rb_verdict verdict)
{
    request->connection->server->stats.refused++;
    if (verdict.status == 503)
        rb_http_add_header(request, "Retry-After", "1");
    rb_http_problem problem = request->face ? request->face->problem : rb_http_answer_problem;
    problem(request, verdict.status, verdict.word, verdict.sentence);
    if (request->stage != RB_ANSWERED)
        rb_http_answer(request, verdict.status, NULL, (struct rb_span){0});
}

static enum MHD_Result queue_answer(struct rb_http_request *request)
{
    if (!request->response)
        return MHD_NO;
    struct MHD_Response *response = request->response;
    request->response = NULL;
    enum MHD_Result queued = MHD_queue_response(request->connection->mhd, request->answer_status, response);
    MHD_destroy_response(response);
    rb_deadline_idle(request->connection);
    return queued;
}

static enum MHD_Result refuse_now(struct rb_http_request *request, struct rb_verdict verdict)
{
    rb_exchange_refuse(request, verdict);
    return queue_answer(request);
}

/* In the midst of a body the library takes no answer: it is written past it and the connection closed. */
static enum MHD_Result refuse_by_hand(struct rb_http_request *request, struct rb_verdict verdict)
{
    request->by_hand = true;
    rb_exchange_refuse(request, verdict);
    return MHD_NO;
}

static const struct rb_verdict too_large = {413, "too_large", "The body is too large."};
static const struct rb_verdict too_many_bytes = {503, "busy", "Too many bytes of requests are held at this moment."};
static const struct rb_verdict too_many_waiting = {503, "busy", "Too many requests are waiting at this moment."};
static const struct rb_verdict too_many_of_user = {503, "busy",
                                                   "Too many requests of this user are waiting at this moment."};
static const struct rb_verdict stopping = {503, "busy", "The broker is stopping."};
static const struct rb_verdict head_too_large = {431, "too_large", "The head of the request is too large."};

static enum MHD_Result count_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    return MHD_YES;
}

static bool head_fits(const struct rb_http_request *request)
{
    struct MHD_Connection *mhd = request->connection->mhd;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    int records =
        MHD_get_connection_values(mhd, MHD_HEADER_KIND | MHD_COOKIE_KIND | MHD_GET_ARGUMENT_KIND, count_header, NULL);
    return info && info->header_size + (size_t)records * HEADER_RECORD_BYTES <=
                       request->connection->server->limits.header_bytes;
}

static struct rb_verdict judge_bytes(const struct rb_http_connection *connection, size_t more)
{
    bool room = rb_share_room(&connection->server->body_bytes, connection->peer.uid, (int64_t)more, 100) == RB_ROOM;
    return room ? RB_PASS : too_many_bytes;
}

static struct rb_verdict judge_size(const struct rb_http_connection *connection, const struct rb_guard_head *head)
{
    if (head->content_length <= 0)
        return RB_PASS;
    size_t length = (size_t)head->content_length;
    if (length > connection->server->limits.body_bytes)
        return too_large;
    return judge_bytes(connection, length);
}

/* The head is whole. What is refused here ends the connection, without reading the body. */
static enum MHD_Result on_head(struct rb_http_request *request, const char *method, const char *version)
{
    const struct rb_http_server *server = request->connection->server;
    struct rb_guard_head head;
    request->begun = true;
    request->method_at = method;
    request->method = method_of(method);
    if (!head_fits(request))
        return refuse_now(request, head_too_large);
    struct rb_verdict verdict = rb_guard_head(request, version, &head);
    request->chunked = head.chunked;
    if (!verdict.status)
        verdict = judge_size(request->connection, &head);
    if (!verdict.status && server->draining)
        verdict = stopping;
    if (verdict.status)
        return refuse_now(request, verdict);
    request->verdict = rb_router_match(request);
    if (head.same_origin && !(request->route && request->route->own_page))
        return refuse_now(request, (struct rb_verdict){403, "forbidden", "Requests of web pages are refused."});
    if (!request->verdict.status)
        request->verdict = rb_guard_media_type(request, head.content_length > 0);
    return MHD_YES;
}

static enum MHD_Result on_data(struct rb_http_request *request, const char *data, size_t *data_len)
{
    struct rb_http_server *server = request->connection->server;
    size_t len = *data_len;
    *data_len = 0;
    if (len > server->limits.body_bytes - request->arrived_bytes)
        return refuse_by_hand(request, too_large);
    request->arrived_bytes += len;
    if (request->verdict.status)
        return MHD_YES;
    struct rb_verdict verdict = judge_bytes(request->connection, len);
    if (verdict.status)
        return refuse_by_hand(request, verdict);
    static const struct rb_verdict no_memory = {503, "busy", "There is no memory for the body now. Try again."};
    uid_t uid = request->connection->peer.uid;
    if (rb_share_take(&server->body_bytes, uid, (int64_t)len) != RB_OK)
        return refuse_by_hand(request, no_memory);
    rb_str_append(&request->body, data, len);
    if (!rb_str_failed(&request->body))
        return MHD_YES;
    rb_share_give(&server->body_bytes, uid, (int64_t)len);
    return refuse_by_hand(request, no_memory);
}

static void park(struct rb_http_request *request)
{
    struct rb_http_server *server = request->connection->server;
    request->stage = RB_PARKED;
    rb_deadline_stop(request->connection);
    rb_list_push(&server->fresh, &request->node);
    server->stats.parked++;
    MHD_suspend_connection(request->connection->mhd);
}

/* D6: those that may wait long are bounded, also by user. */
static struct rb_verdict count_waiting(struct rb_http_request *request)
{
    struct rb_share *waiting = &request->connection->server->waiting;
    int64_t uid = request->connection->peer.uid;
    enum rb_room room = rb_share_room(waiting, uid, 1, 100);
    if (room != RB_ROOM)
        return room == RB_NO_ROOM ? too_many_waiting : too_many_of_user;
    request->waits = rb_share_take(waiting, uid, 1) == RB_OK;
    return request->waits ? RB_PASS : too_many_waiting;
}

static enum MHD_Result on_whole(struct rb_http_request *request)
{
    struct rb_http_server *server = request->connection->server;
    struct rb_verdict verdict = request->verdict;
    if (request->chunked && MHD_get_connection_values(request->connection->mhd, MHD_FOOTER_KIND, NULL, NULL) > 0)
        verdict = (struct rb_verdict){400, "bad_request", "Trailers are not understood here."};
    if (!verdict.status)
        verdict = rb_guard_media_type(request, request->body.len > 0);
    if (!verdict.status && server->draining)
        verdict = stopping;
    if (!verdict.status && request->route->waits)
        verdict = count_waiting(request);
    if (verdict.status)
        return refuse_now(request, verdict);
    request->stage = RB_HANDED;
    server->stats.requests++;
    server->handed = true;
    request->route->handler(request, request->face->arg);
    if (request->stage == RB_ANSWERED)
        return queue_answer(request);
    park(request);
    return MHD_YES;
}

enum MHD_Result rb_exchange_on_request(void *server, struct MHD_Connection *mhd, const char *url, const char *method,
                                       const char *version, const char *data, size_t *data_len, void **context)
{
    struct rb_http_request *request = *context;
    if (!request)
        return MHD_NO;
    if (request->stage == RB_ANSWERED)
        return queue_answer(request);
    if (!request->begun)
        return on_head(request, method, version);
    if (*data_len)
        return on_data(request, data, data_len);
    return on_whole(request);
}

static void forget(struct rb_http_request *request)
{
    request->connection->request = NULL;
    rb_list_remove(&request->node);
    if (request->response)
        MHD_destroy_response(request->response);
    rb_answer_release(request);
    rb_answer_taken(request);
    free(request);
}

void rb_exchange_on_completed(void *server, struct MHD_Connection *mhd, void **context,
                              enum MHD_RequestTerminationCode code)
{
    struct rb_http_request *request = *context;
    if (!request)
        return;
    rb_deadline_idle(request->connection);
    forget(request);
    *context = NULL;
}

/* The library completes no request whose query has more arguments than it has memory for. */
void rb_exchange_on_closed(struct rb_http_connection *connection)
{
    if (connection->request)
        forget(connection->request);
}
