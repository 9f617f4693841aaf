/* Whatever bytes a local caller sends to the server: what reaches a handler is one of the requests that a strict reader
 * of HTTP finds in those bytes, in their order, with the same method, target and body; and every connection ends. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "exchange.h"
#include "fake.h"
#include "fuzz.h"
#include "problem.h"
#include "server.h"
#include "test_folder.h"
#include "url.h"

enum { BODY_MAX = 2048, HEAD_MAX = 4096, REQUESTS_MAX = 64, TURNS_MAX = 400 };

/* --- the strict reader --- */

struct seen {
    struct rb_span method, target;
    struct rb_str body;
    struct rb_span loose; /* instead of a body: chunks that are framed badly begin here */
    unsigned hosts;
};

struct reader {
    struct rb_span rest;
    struct seen requests[REQUESTS_MAX];
    size_t count;
};

static bool is_token(struct rb_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", text.at[i]) ||
            !text.at[i])
            return false;
    return text.len > 0;
}

/* A line without its CR LF. libmicrohttpd writes zero bytes over both, and takes a bare LF too: after a zero byte the
 * guard cannot tell one. */
static bool take_line(struct rb_span *rest, struct rb_span *ret)
{
    if (!rest->len || !memchr(rest->at, '\n', rest->len))
        return false;
    *ret = fuzz_until(rest, '\n');
    if (!ret->len || !memchr("\r", ret->at[ret->len - 1], 2))
        return false;
    ret->len--;
    return !ret->len || (!memchr(ret->at, '\r', ret->len) && !memchr(ret->at, 0, ret->len));
}

/* To libmicrohttpd a line that begins with a colon or a zero byte may end the head as an empty one does, and after a bare
 * LF nobody can see it any more: the two are written over as CR LF is. */
static bool take_head_line(struct rb_span *rest, struct rb_span *ret)
{
    struct rb_span from = *rest;
    if (take_line(rest, ret))
        return true;
    *rest = from;
    *ret = fuzz_until(rest, '\n');
    if (rest->len < 3 || !memchr(":", rest->at[0], 2) || !memchr("\r:", rest->at[1], 3) || rest->at[2] != '\n' ||
        memchr(ret->at, '\r', ret->len) || memchr(ret->at, 0, ret->len))
        return false;
    fuzz_take(rest, 1);
    return true;
}

/* The empty line that ends a head; it writes over a colon too. */
static bool take_last_line(struct rb_span *rest)
{
    if (rest->len < 2 || !memchr("\r:", rest->at[0], 3) || rest->at[1] != '\n')
        return false;
    fuzz_take(rest, 2);
    return true;
}

/* The last header and the empty line in one: a zero byte, another or a CR, and two bare LF are written over as two CR LF
 * are. */
static bool take_hidden_end(struct rb_span *rest, struct rb_span *ret)
{
    struct rb_span from = *rest;
    *ret = fuzz_until(rest, '\n');
    size_t len = ret->len < 2 ? 0 : ret->len - 2;
    if (ret->len < 2 || !rest->len || rest->at[0] != '\n' || ret->at[len] || !memchr("\r", ret->at[len + 1], 2) ||
        memchr(ret->at, '\r', len) || memchr(ret->at, 0, len)) {
        *rest = from;
        return false;
    }
    ret->len = len;
    fuzz_take(rest, 1);
    return true;
}

static struct rb_span trimmed(struct rb_span text)
{
    while (text.len && strchr(" \t", text.at[0]) && text.at[0])
        fuzz_take(&text, 1);
    while (text.len && strchr(" \t", text.at[text.len - 1]) && text.at[text.len - 1])
        text.len--;
    return text;
}

static bool read_request_line(struct rb_span line, struct seen *ret)
{
    ret->method = fuzz_until(&line, ' ');
    ret->target = fuzz_until(&line, ' ');
    return is_token(ret->method) && ret->target.len && (rb_span_is(line, "HTTP/1.1") || rb_span_is(line, "HTTP/1.0"));
}

static bool read_chunks(struct rb_span *rest, struct rb_str *body)
{
    for (;;) {
        struct rb_span line;
        size_t size = 0, digits = 0;
        if (!take_line(rest, &line))
            return false;
        for (; digits < line.len && rb_hex_digit(line.at[digits]) >= 0; digits++) {
            if (size > SIZE_MAX >> 5)
                return false;
            size = size << 4 | (size_t)rb_hex_digit(line.at[digits]);
        }
        fuzz_take(&line, digits);
        line = trimmed(line);
        if (!digits || (line.len && line.at[0] != ';'))
            return false;
        if (!size)
            break;
        if (rest->len < size + 2)
            return false;
        rb_str_add_span(body, fuzz_take(rest, size));
        if (!rb_span_is(fuzz_take(rest, 2), "\r\n"))
            return false;
    }
    return rb_span_is(fuzz_take(rest, 2), "\r\n");
}

/* Before a request libmicrohttpd skips empty lines, with any line end, and takes a line that begins with a zero byte
 * for one. Nothing of them becomes part of a request. */
static void skip_empty_lines(struct rb_span *rest)
{
    while (rest->len &&
           (rest->at[0] == 0 || rest->at[0] == '\n' || (rest->len > 1 && rest->at[0] == '\r' && rest->at[1] == '\n')))
        fuzz_until(rest, '\n');
}

static bool read_head(struct rb_span *rest, struct seen *seen, size_t *ret_length, bool *ret_chunked)
{
    struct rb_span line;
    size_t lengths = 0;
    skip_empty_lines(rest);
    if (!take_head_line(rest, &line) || !read_request_line(line, seen))
        return false;
    for (bool last = false; !last && !take_last_line(rest);) {
        last = take_hidden_end(rest, &line);
        if (!last && !take_head_line(rest, &line))
            return false;
        bool colon = memchr(line.at, ':', line.len);
        struct rb_span name = fuzz_until(&line, ':'), value = trimmed(line);
        if (!colon || !is_token(name))
            return false;
        seen->hosts += rb_span_is_nocase(name, "Host");
        if (rb_span_is_nocase(name, "Transfer-Encoding") && (*ret_chunked || !rb_span_is_nocase(value, "chunked")))
            return false;
        *ret_chunked |= rb_span_is_nocase(name, "Transfer-Encoding");
        int64_t length = 0;
        if (rb_span_is_nocase(name, "Content-Length")) {
            if (lengths++ || rb_span_to_i64(value, 0, INT64_MAX, &length) != RB_OK)
                return false;
            *ret_length = (size_t)length;
        }
    }
    return lengths + *ret_chunked <= 1;
}

/* libmicrohttpd takes chunks that are framed otherwise too, so that a chunked request has to be the last one. */
static bool read_one(struct reader *reader)
{
    struct seen *seen = &reader->requests[reader->count];
    size_t length = 0;
    bool chunked = false;
    if (reader->count == REQUESTS_MAX || !read_head(&reader->rest, seen, &length, &chunked) ||
        reader->rest.len < length)
        return false;
    reader->count++;
    struct rb_span chunks = reader->rest;
    if (!chunked)
        rb_str_add_span(&seen->body, fuzz_take(&reader->rest, length));
    else if (!read_chunks(&reader->rest, &seen->body))
        seen->loose = chunks;
    return !chunked;
}

static bool has_body(const struct seen *seen, struct rb_span body)
{
    if (!seen->loose.at)
        return rb_span_equal(rb_str_span(&seen->body), body);
    size_t found = 0;
    for (size_t i = 0; i < seen->loose.len && found < body.len; i++)
        found += seen->loose.at[i] == body.at[found];
    return found == body.len;
}

static void reader_free(struct reader *reader)
{
    for (size_t i = 0; i < REQUESTS_MAX; i++)
        rb_str_free(&reader->requests[i].body);
}

/* --- the server --- */

static struct {
    struct rb_test_folder folder;
    struct rb_fake_clock clock;
    struct rb_loop *loop;
    struct rb_http_server *server;
    struct reader reader;
    size_t next; /* of the reader's requests, the first that no handler has seen */
    size_t handled;
    struct rb_http_request *parked[REQUESTS_MAX];
    size_t parked_count;
} host;

/* What was handed over is one of the requests that the reader found, after those before it. */
static void check_is_next(const struct rb_http_request *request)
{
    struct rb_span path = rb_http_path(request), query = rb_http_raw_query(request);
    for (; host.next < host.reader.count; host.next++) {
        const struct seen *seen = &host.reader.requests[host.next];
        struct rb_span rest = seen->target;
        if (rb_span_equal(seen->method, rb_http_method_name(request)) && rb_span_equal(fuzz_until(&rest, '?'), path) &&
            rb_span_equal(rest, query) && has_body(seen, rb_http_body(request)) && seen->hosts == 1)
            break;
    }
    FUZZ_CHECK(host.next < host.reader.count);
    host.next++;
    host.handled++;
}

static bool is_plain(struct rb_span text, bool controls)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] == 0 || (!controls && (unsigned char)text.at[i] < 0x20) || text.at[i] == 0x7f)
            return controls && text.at[i];
    return fuzz_is_utf8(text);
}

/* Encoded and decoded again it is the same. */
static void check_encoding(struct rb_span text, unsigned flags)
{
    RB_CLEANUP_STR struct rb_str encoded = RB_STR_INIT;
    RB_CLEANUP_FREE char *decoded = malloc(3 * text.len + 1);
    size_t len = 0;
    rb_url_encode(&encoded, text);
    FUZZ_CHECK(decoded && rb_percent_decode(rb_str_span(&encoded), flags, decoded, &len));
    FUZZ_CHECK(rb_span_equal(text, (struct rb_span){decoded, len}));
}

static void check_params(const struct rb_http_request *request)
{
    for (unsigned i = 0; i < RB_ROUTE_PARAMS + 1; i++) {
        struct rb_span param = rb_http_param(request, i);
        FUZZ_CHECK(is_plain(param, false) && !(param.len && memchr(param.at, '/', param.len)));
        FUZZ_CHECK(!rb_span_is(param, ".") && !rb_span_is(param, ".."));
        check_encoding(param, 0);
    }
}

static void check_query(const struct rb_http_request *request)
{
    static const char *const names[] = {"name", "limit", "cursor", ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct rb_span value = {0}, again = {0};
        bool found = rb_http_query(request, names[i], &value);
        RB_CLEANUP_STR struct rb_str copy = RB_STR_INIT;
        rb_str_add_span(&copy, value);
        FUZZ_CHECK(rb_http_query(request, names[i], &again) == found);
        FUZZ_CHECK(rb_span_equal(rb_str_span(&copy), again) && is_plain(again, false));
        check_encoding(again, RB_DECODE_PLUS);
    }
}

static void check_body(const struct rb_http_request *request)
{
    struct rb_span type = rb_http_header(request, "Content-Type"), body = rb_http_body(request);
    bool json = type.len >= 16 && strncasecmp(type.at, "application/json", 16) == 0;
    bool form = type.len >= 33 && strncasecmp(type.at, "application/x-www-form-urlencoded", 33) == 0;
    FUZZ_CHECK(body.len <= BODY_MAX);
    switch (request->route->body) {
    case RB_BODY_NONE:
        FUZZ_CHECK(body.len == 0);
        break;
    case RB_BODY_JSON:
        FUZZ_CHECK(json);
        break;
    case RB_BODY_FORM:
        FUZZ_CHECK(form);
        break;
    case RB_BODY_JSON_OR_FORM:
        FUZZ_CHECK(json || form);
        break;
    case RB_BODY_OPTIONAL_JSON:
        FUZZ_CHECK(json || body.len == 0);
        break;
    case RB_BODY_ANY:
        break;
    }
    RB_CLEANUP_STR struct rb_str field = RB_STR_INIT;
    if (rb_http_form(request, "name", &field)) {
        FUZZ_CHECK(is_plain(rb_str_span(&field), true));
        check_encoding(rb_str_span(&field), RB_DECODE_PLUS | RB_DECODE_CONTROLS);
    }
}

static void check_request(const struct rb_http_request *request)
{
    struct rb_span path = rb_http_path(request), bearer = rb_http_bearer(request);
    check_is_next(request);
    FUZZ_CHECK(path.len && path.at[0] == '/');
    for (size_t i = 0; i < path.len; i++)
        FUZZ_CHECK(path.at[i] > ' ' && path.at[i] < 0x7f && path.at[i] != '?' && path.at[i] != '#');
    FUZZ_CHECK(!bearer.len || (bearer.at[0] != ' ' && bearer.at[bearer.len - 1] != ' '));
    FUZZ_CHECK(!rb_http_header(request, "Origin").len && !rb_http_header(request, "Referer").len);
    check_params(request);
    check_query(request);
    check_body(request);
}

static void on_request(struct rb_http_request *request, void *face)
{
    check_request(request);
    rb_http_add_header(request, "X-Count", "1");
    rb_http_answer(request, 200, "text/plain", RB_SPAN("ok"));
}

static void answer_parked(struct rb_http_request *request, void *arg)
{
    size_t i = 0;
    while (i < host.parked_count && host.parked[i] != request)
        i++;
    FUZZ_CHECK(i < host.parked_count); /* nobody that was answered is told to be gone */
    host.parked[i] = host.parked[--host.parked_count];
    rb_http_answer(request, 200, "text/plain", RB_SPAN("late"));
}

static void on_wait(struct rb_http_request *request, void *face)
{
    check_request(request);
    FUZZ_CHECK(host.parked_count < REQUESTS_MAX);
    host.parked[host.parked_count++] = request;
    rb_http_on_gone(request, answer_parked, NULL);
}

static const struct rb_route routes[] = {
    {RB_GET, "/a", RB_BODY_NONE, on_request},
    {RB_GET, "/w", RB_BODY_NONE, on_wait, .waits = true},
    {RB_POST, "/w", RB_BODY_ANY, on_wait, .waits = true},
    {RB_POST, "/j", RB_BODY_JSON, on_request},
    {RB_POST, "/f", RB_BODY_FORM, on_request},
    {RB_POST, "/e", RB_BODY_JSON_OR_FORM, on_request},
    {RB_PUT, "/o", RB_BODY_OPTIONAL_JSON, on_request},
    {RB_GET, "/p", RB_BODY_NONE, on_request, .own_page = true},
    {RB_GET, "/t/{name}", RB_BODY_NONE, on_request},
    {RB_DELETE, "/t/{name}", RB_BODY_NONE, on_request},
    {RB_GET, "/t/{name}/m/{other}", RB_BODY_NONE, on_request},
    {RB_OTHER_METHOD, "/x/*", RB_BODY_ANY, on_request},
};
static const struct rb_face wide = {routes, sizeof routes / sizeof routes[0], "", rb_http_answer_problem, NULL};
static const struct rb_face narrow = {routes + 11, 1, "/x/", rb_http_answer_problem, NULL};
static const struct rb_face *const faces[] = {&narrow, &wide};
static const char *const hosts[] = {"127.0.0.1", "localhost", NULL};

static bool end_tick(void *arg)
{
    return host.server && rb_http_flush(host.server);
}

static void stop(void)
{
    struct rb_http_server *server = host.server;
    host.server = NULL;
    rb_http_server_free(server);
    rb_loop_free(host.loop);
    rb_test_folder_remove(&host.folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    struct rb_http_listener listener = {
        .faces = faces, .face_count = 2, .hosts = hosts, .browser_guard = true, .door = &host};
    limits.body_bytes = BODY_MAX;
    limits.header_bytes = HEAD_MAX;
    FUZZ_CHECK(sodium_init() >= 0);
    rb_test_folder_make(&host.folder);
    rb_fake_clock_init(&host.clock);
    FUZZ_CHECK(rb_loop_new(&host.clock.clock, end_tick, NULL, &host.loop) == RB_OK);
    FUZZ_CHECK(rb_http_server_new(host.loop, &limits, &host.server, NULL) == RB_OK);
    FUZZ_CHECK(rb_http_bind_unix(rb_test_path(&host.folder, "s"), 0600, &listener.fd, NULL) == RB_OK);
    FUZZ_CHECK(rb_http_server_listen(host.server, &listener, NULL) == RB_OK);
    atexit(stop);
    return 0;
}

/* --- one caller --- */

static int call_up(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", rb_test_path(&host.folder, "s"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    FUZZ_CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

static void turn(void)
{
    uv_run(rb_loop_uv(host.loop), UV_RUN_NOWAIT);
}

/* False once the connection has ended. */
static bool hear(int fd, struct rb_str *answers)
{
    char part[4096];
    ssize_t got;
    while ((got = recv(fd, part, sizeof part, 0)) > 0)
        rb_str_append(answers, part, (size_t)got);
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

/* In up to three parts, with turns of the loop between them. */
static void say(int fd, struct rb_span bytes, unsigned cut, struct rb_str *answers)
{
    for (int part = 0; part < 3 && bytes.len; part++) {
        struct rb_span now = fuzz_take(&bytes, cut && part < 2 ? cut : bytes.len);
        if (send(fd, now.at, now.len, MSG_NOSIGNAL) != (ssize_t)now.len)
            return; /* the server has closed */
        for (int i = 0; i < 2; i++)
            turn();
        hear(fd, answers);
    }
}

static size_t count_of(struct rb_span text, struct rb_span needle)
{
    size_t count = 0;
    for (const char *at; text.len && (at = memmem(text.at, text.len, needle.at, needle.len)); count++)
        fuzz_take(&text, (size_t)(at - text.at) + needle.len);
    return count;
}

/* No connection stays open: after the last byte, or at the latest at its deadline, it ends. */
static void hear_out(int fd, struct rb_str *answers)
{
    for (int turns = 0; hear(fd, answers); turns++) {
        FUZZ_CHECK(turns < TURNS_MAX);
        if (turns % 4 == 3)
            while (host.parked_count)
                answer_parked(host.parked[0], NULL);
        if (turns > 40)
            rb_fake_clock_advance(&host.clock, 1000);
        turn();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rb_span input = {(const char *)data, size};
    unsigned how = fuzz_byte(&input);
    RB_CLEANUP_STR struct rb_str answers = RB_STR_INIT;
    host.reader = (struct reader){.rest = input};
    host.next = host.handled = 0;
    while (read_one(&host.reader))
        ;
    int fd = call_up();
    say(fd, input, how >> 1, &answers);
    shutdown(fd, SHUT_WR);
    if (how & 1)
        hear_out(fd, &answers);
    close(fd);
    struct rb_http_stats stats;
    for (int i = 0; i < TURNS_MAX; i++) {
        turn();
        rb_http_server_stats(host.server, &stats);
        if (!stats.connections)
            break;
        while (host.parked_count)
            answer_parked(host.parked[0], NULL);
        if (i > 40)
            rb_fake_clock_advance(&host.clock, 1000);
    }
    FUZZ_CHECK(!stats.connections && !stats.parked && !stats.buffered_body_bytes && !host.parked_count);
    FUZZ_CHECK(!answers.len || memcmp(answers.at, "HTTP/1.", 7) == 0);
    size_t said = count_of(rb_str_span(&answers), RB_SPAN("HTTP/1.1 200 OK\r\n"));
    /* The library may close without the answer where it said 100 and what follows the request is no head. */
    bool all = how & 1 && count_of(rb_str_span(&answers), RB_SPAN("HTTP/1.1 100 ")) == 0;
    FUZZ_CHECK(all ? said == host.handled : said <= host.handled);
    reader_free(&host.reader);
    return 0;
}
