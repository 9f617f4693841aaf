#include "web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 20 };

struct web web;

static void on_hello(struct rb_http_request *request, void *face)
{
    web.handled++;
    web.peer = *rb_http_peer(request);
    rb_http_answer(request, 200, "text/plain", RB_SPAN("hello"));
}

static void on_echo(struct rb_http_request *request, void *face)
{
    web.handled++;
    rb_http_answer(request, 200, "application/json", rb_http_body(request));
}

static void on_length(struct rb_http_request *request, void *face)
{
    struct rb_str out = RB_STR_INIT;
    web.handled++;
    rb_str_addf(&out, "%zu", rb_http_body(request).len);
    rb_http_answer_str(request, 200, "text/plain", &out);
}

static void on_form(struct rb_http_request *request, void *face)
{
    struct rb_str out = RB_STR_INIT;
    web.handled++;
    if (rb_http_form(request, "username", &out))
        rb_http_answer_str(request, 200, "text/plain", &out);
    else
        rb_http_answer_problem(request, 422, "form", "no username");
    rb_str_free(&out);
}

static void on_param(struct rb_http_request *request, void *face)
{
    web.handled++;
    rb_http_answer(request, 200, "text/plain", rb_http_param(request, 0));
}

static void on_two_params(struct rb_http_request *request, void *face)
{
    struct rb_str out = RB_STR_INIT;
    web.handled++;
    rb_str_add_span(&out, rb_http_param(request, 0));
    rb_str_add(&out, "|");
    rb_str_add_span(&out, rb_http_param(request, 1));
    rb_http_answer_str(request, 200, "text/plain", &out);
}

static void on_query(struct rb_http_request *request, void *face)
{
    struct rb_span value = {0};
    web.handled++;
    /* Twice: the second look has to find the same. */
    bool found = rb_http_query(request, "name", &value) && rb_http_query(request, "name", &value);
    if (found)
        rb_http_answer(request, 200, "text/plain", value);
    else
        rb_http_answer(request, 404, NULL, (struct rb_span){0});
}

static void on_bearer(struct rb_http_request *request, void *face)
{
    web.handled++;
    rb_http_add_header(request, "X-Test", "yes");
    rb_http_answer(request, 200, "text/plain", rb_http_bearer(request));
}

static void on_gone(struct rb_http_request *request, void *arg)
{
    web.gone++;
    for (unsigned i = 0; i < web.parked_count; i++)
        if (web.parked[i] == request && web.answer_when_gone) {
            web.parked[i] = NULL;
            rb_http_answer(request, 503, NULL, (struct rb_span){0});
        }
}

static void on_park(struct rb_http_request *request, void *face)
{
    ck_assert_uint_lt(web.parked_count, WEB_PARKED_MAX);
    web.handled++;
    web.parked[web.parked_count++] = request;
    rb_http_on_gone(request, on_gone, NULL);
}

static void on_drop(struct rb_http_request *request, void *face)
{
    rb_http_drop(request);
}

static const struct rb_route routes[] = {
    {.method = RB_GET, .template = "/hello", .handler = on_hello},
    {.method = RB_DELETE, .template = "/hello", .handler = on_hello},
    {.method = RB_POST, .template = "/echo", .body = RB_BODY_JSON, .handler = on_echo},
    {.method = RB_POST, .template = "/length", .body = RB_BODY_JSON, .handler = on_length},
    {.method = RB_POST, .template = "/form", .body = RB_BODY_FORM, .handler = on_form},
    {.method = RB_POST, .template = "/either", .body = RB_BODY_JSON_OR_FORM, .handler = on_length},
    {.method = RB_POST, .template = "/maybe", .body = RB_BODY_OPTIONAL_JSON, .handler = on_length},
    {.method = RB_POST, .template = "/any", .body = RB_BODY_ANY, .handler = on_length},
    {.method = RB_GET, .template = "/item/{name}", .handler = on_param},
    {.method = RB_GET, .template = "/item/{name}/of/{owner}", .handler = on_two_params},
    {.method = RB_GET, .template = "/query", .handler = on_query},
    {.method = RB_GET, .template = "/bearer", .handler = on_bearer},
    {.method = RB_GET, .template = "/park", .handler = on_park, .waits = true},
    {.method = RB_GET, .template = "/drop", .handler = on_drop},
    {.method = RB_GET, .template = "/page-data", .handler = on_hello, .own_page = true},
};

static const struct rb_face face = {routes, sizeof routes / sizeof routes[0], "", rb_http_answer_problem, NULL};
const struct rb_face *const web_faces[1] = {&face};
static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]", NULL};

static bool end_tick(void *arg)
{
    return web.server && rb_http_flush(web.server);
}

void web_start_with(const struct rb_http_limits *limits)
{
    int fd = -1;
    web = (struct web){0};
    rb_fake_clock_init(&web.clock);
    ck_assert_int_eq(rb_loop_new(&web.clock.clock, end_tick, NULL, &web.loop), RB_OK);
    ck_assert_int_eq(rb_http_server_new(web.loop, limits, &web.server, NULL), RB_OK);
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 0, &fd, &web.port, NULL), RB_OK);
    struct rb_http_listener listener = {
        .fd = fd, .faces = web_faces, .face_count = 1, .hosts = hosts, .browser_guard = true};
    ck_assert_int_eq(rb_http_server_listen(web.server, &listener, NULL), RB_OK);
}

void web_start(void)
{
    web_start_with(&RB_HTTP_LIMITS_DEFAULT);
}

void web_stop(void)
{
    struct rb_http_server *server = web.server;
    web.server = NULL;
    rb_http_server_free(server);
    rb_loop_free(web.loop);
}

void web_turn(void)
{
    uv_run(rb_loop_uv(web.loop), UV_RUN_NOWAIT);
}

static time_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void web_until(bool (*condition)(void))
{
    time_t end = seconds() + PATIENCE_S;
    while (!condition()) {
        ck_assert_msg(seconds() < end, "it never happened");
        web_turn();
    }
}

int web_connect(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)web.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void web_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    time_t end = seconds() + PATIENCE_S;
    while (len) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return; /* the other side has closed; what it said is still to be read */
        if (sent > 0) {
            at += sent;
            len -= (size_t)sent;
        }
        ck_assert_msg(seconds() < end, "the server does not read");
        web_turn();
    }
}

void web_say(int fd, const char *text)
{
    web_send(fd, text, strlen(text));
}

/* Reads up to `len` bytes, fewer only at the end of the connection. */
static size_t read_exactly(int fd, char *out, size_t len)
{
    size_t got = 0;
    time_t end = seconds() + PATIENCE_S;
    while (got < len) {
        ssize_t one = recv(fd, out + got, len - got, 0);
        if (one == 0 || (one < 0 && errno != EAGAIN))
            break;
        if (one > 0)
            got += (size_t)one;
        else {
            ck_assert_msg(seconds() < end, "no answer");
            web_turn();
        }
    }
    return got;
}

bool web_is_closed(int fd)
{
    char byte;
    return read_exactly(fd, &byte, 1) == 0;
}

void web_read_all(int fd, struct rb_str *out)
{
    char bytes[4096];
    size_t got;
    do {
        got = read_exactly(fd, bytes, sizeof bytes);
        rb_str_append(out, bytes, got);
    } while (got == sizeof bytes);
}

struct web_answer web_read(int fd)
{
    struct web_answer answer = {0};
    struct rb_str head = RB_STR_INIT;
    char byte;
    while (head.len < 4 || memcmp(head.at + head.len - 4, "\r\n\r\n", 4) != 0) {
        if (read_exactly(fd, &byte, 1) == 0) {
            ck_assert_msg(head.len == 0, "a torn answer: %s", head.at);
            return answer;
        }
        rb_str_append(&head, &byte, 1);
    }
    answer.head = rb_str_steal(&head);
    ck_assert_int_eq(strncmp(answer.head, "HTTP/1.1 ", 9), 0);
    answer.status = (int)strtol(answer.head + 9, NULL, 10);
    const char *length = strcasestr(answer.head, "\r\nContent-Length: ");
    size_t len = length ? strtoul(length + 18, NULL, 10) : 0;
    ck_assert_uint_le(len, WEB_ANSWER_MAX);
    answer.body = malloc(len + 1);
    ck_assert_ptr_nonnull(answer.body);
    ck_assert_uint_eq(read_exactly(fd, answer.body, len), len);
    answer.body[len] = 0;
    answer.body_len = len;
    return answer;
}

void web_forget(struct web_answer *answer)
{
    free(answer->head);
    free(answer->body);
    *answer = (struct web_answer){0};
}

struct web_answer web_ask(const char *request)
{
    int fd = web_connect();
    web_say(fd, request);
    struct web_answer answer = web_read(fd);
    close(fd);
    return answer;
}

int web_status(const char *request)
{
    struct web_answer answer = web_ask(request);
    int status = answer.status;
    web_forget(&answer);
    return status;
}

int web_status_and_close(const char *request)
{
    int fd = web_connect();
    web_say(fd, request);
    struct web_answer answer = web_read(fd);
    int status = answer.status;
    ck_assert_msg(web_is_closed(fd), "the connection is still open after %d", status);
    close(fd);
    web_forget(&answer);
    return status;
}
