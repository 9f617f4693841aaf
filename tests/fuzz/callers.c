/* A local caller's request to every path of every face, with the whole broker behind it and a relay that answers from a
 * script: paths, queries, forms, JSON bodies, placeholders, headers. Every request gets one well-formed answer, no
 * answer holds a secret of the relay's, and a payload goes up as the bytes that came in. */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "codec.h"
#include "face.h"
#include "json_span.h"
#include "log.h"
#include "outbox.h"
#include "placeholder.h"
#include "test_folder.h"
#include "upstream.h"
#include "url.h"

enum { INPUTS_A_BROKER = 200, BODY_MAX = 65536 };

static struct {
    struct rb_test_folder folder;
    char socket[80];
    struct rb_loop *loop;
    struct rb_http_server *server;
    struct rb_door door;
    const struct rb_door *doors[1];
    struct rb_face_context context;
    struct rb_face faces[6];
    const struct rb_face *face_list[6];
    unsigned inputs;
    struct rb_str access, refresh, location; /* a session's placeholders, and the newest row's place */

    /* of this input */
    struct rb_str body;
    unsigned posts;
} host;

static char door_name[] = "default", account_name[] = UPSTREAM_ACCOUNT;
static char *accounts_served[] = {account_name, NULL};

/* --- the relay --- */

/* The payload goes up as it came in (O8). */
static void check_post(const struct rb_exchange *exchange)
{
    struct rb_json_value body, payload, topic;
    RB_CLEANUP_STR struct rb_str name = RB_STR_INIT;
    host.posts++;
    FUZZ_CHECK(rb_json_check(exchange->body, RB_JSON_LEVELS, &body, NULL) == RB_JSON_FINE);
    FUZZ_CHECK(rb_json_member(body, "payload", &payload) && payload.kind == RB_JSON_OBJECT);
    FUZZ_CHECK(fuzz_has(rb_str_span(&host.body), payload.text) && rb_json_levels(payload) <= 255);
    FUZZ_CHECK(rb_json_member(body, "topic", &topic) && rb_json_string(topic, &name) == RB_OK);
    FUZZ_CHECK(rb_topic_name_valid(rb_str_span(&name)) && exchange->body.len <= 1048576);
    FUZZ_CHECK(exchange->idempotency_key && rb_token_valid(rb_span_of(exchange->idempotency_key)));
}

static void see(const struct rb_exchange *exchange)
{
    if (upstream_is(exchange, "POST", "/api/v1/messages"))
        check_post(exchange);
}

/* --- the host --- */

static bool end_tick(void *arg)
{
    bool more = rb_engine_end_tick(upstream.engine);
    return host.server && (more | rb_http_flush(host.server));
}

static void turn(void)
{
    uv_run(rb_loop_uv(host.loop), UV_RUN_NOWAIT);
    FUZZ_CHECK(!rb_engine_is_lost(upstream.engine));
}

static void open_faces(void)
{
    static const char *const figures[] = {"/health", "/ready", "/metrics"};
    rb_admin_face(&host.context, &host.faces[0]);
    rb_broker_face(&host.context, &host.faces[1]);
    for (int i = 0; i < 3; i++) {
        rb_metrics_face(&host.context, &host.faces[2 + i]);
        host.faces[2 + i].prefix = figures[i];
    }
    rb_wire_face(&host.context, &host.faces[5]);
    for (int i = 0; i < 6; i++)
        host.face_list[i] = &host.faces[i];
}

static void open_door(void)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    struct rb_error err = {0};
    int fd = -1;
    limits.body_bytes = BODY_MAX;
    FUZZ_CHECK(rb_http_server_new(host.loop, &limits, &host.server, &err) == RB_OK);
    host.door = (struct rb_door){.name = door_name,
                                 .group = (gid_t)-1,
                                 .accounts = accounts_served,
                                 .wire = true,
                                 .broker = true,
                                 .topic_changes = true};
    host.doors[0] = &host.door;
    host.context.server = host.server;
    open_faces();
    FUZZ_CHECK(rb_http_bind_unix(host.socket, 0600, &fd, &err) == RB_OK);
    const struct rb_http_listener listener = {.fd = fd,
                                              .faces = host.face_list,
                                              .face_count = 6,
                                              .door = &host.door,
                                              .admits = rb_door_admits,
                                              .browser_guard = true};
    FUZZ_CHECK(rb_http_server_listen(host.server, &listener, &err) == RB_OK);
}

static void open_host(void)
{
    struct rb_error err = {0};
    rb_test_folder_make(&host.folder);
    snprintf(host.socket, sizeof host.socket, "%s/s", host.folder.path);
    FUZZ_CHECK(upstream_open(host.folder.path, &err) == RB_OK);
    FUZZ_CHECK(rb_loop_new(&upstream.clock.clock, end_tick, NULL, &host.loop) == RB_OK);
    host.context = (struct rb_face_context){
        .broker = rb_engine_broker(upstream.engine),
        .tick = rb_engine_tick(upstream.engine),
        .clock = &upstream.clock.clock,
        .vault = rb_engine_broker(upstream.engine)->ports.vault,
        .doors = host.doors,
        .door_count = 1,
        .version = "fuzz",
        .state_dir = "state",
    };
    rb_engine_start(upstream.engine);
    open_door();
    upstream_log_in(turn);
}

static void close_host(void)
{
    if (!upstream.engine)
        return;
    struct rb_http_server *server = host.server;
    rb_http_server_drain(server);
    host.server = NULL;
    upstream_close();
    upstream_forget_records();
    rb_http_server_free(server);
    rb_loop_free(host.loop);
    rb_test_folder_remove(&host.folder);
    struct rb_str *all[] = {&host.access, &host.refresh, &host.location, &host.body};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        rb_str_free(all[i]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    rb_log_set_level(RB_LOG_OFF);
    FUZZ_CHECK(sodium_init() >= 0);
    upstream.sees = see;
    atexit(close_host);
    return 0;
}

/* --- one request --- */

static const struct {
    const char *method, *path, *type;
} routes[] = {
    {"POST", "/api/v1/messages", "application/json"},
    {"POST", "/api/v1/messages/bulk", "application/json"},
    {"POST", "/messages/poll", "application/json"},
    {"POST", "/v1/outbox", "application/json"},
    {"GET", "/v1/outbox/*", NULL},
    {"GET", "/v1/status", NULL},
    {"POST", "/auth/login", "application/x-www-form-urlencoded"},
    {"POST", "/auth/token/refresh", "application/json"},
    {"POST", "/auth/token/revoke", "application/json"},
    {"POST", "/auth/logout", "application/json"},
    {"GET", "/auth/me", NULL},
    {"GET", "/auth/sessions", NULL},
    {"DELETE", "/auth/sessions/*", NULL},
    {"GET", "/api/v1/topics", NULL},
    {"POST", "/api/v1/topics", "application/json"},
    {"GET", "/api/v1/topics/*", NULL},
    {"PUT", "/api/v1/topics/*", "application/json"},
    {"DELETE", "/api/v1/topics/*", NULL},
    {"GET", "/api/v1/topics/*/messages", NULL},
    {"GET", "/messages/poll/stats", NULL},
    {"GET", "/metrics", NULL},
    {"GET", "/*", NULL},
    {"POST", "/admin/probe", "application/json"},
    {"POST", "/admin/accounts/*/login", "application/json"},
    {"POST", "/admin/accounts/*/import", "application/json"},
    {"POST", "/admin/accounts/*/release", "application/json"},
    {"POST", "/admin/accounts/*/logout", "application/json"},
    {"GET", "/admin/status", NULL},
};

/* The bytes 1, 2 and 3 stand for what only the broker can have made: placeholders and the place of a row. */
static void add_text(struct rb_str *out, struct rb_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        const struct rb_str *known = text.at[i] == 1   ? &host.access
                                     : text.at[i] == 2 ? &host.refresh
                                     : text.at[i] == 3 ? &host.location
                                                       : NULL;
        if (known)
            rb_str_add_span(out, rb_str_span(known));
        else
            rb_str_append(out, &text.at[i], 1);
    }
}

/* As it is where a URI or a header can hold it, else a '-'. */
static void add_visible(struct rb_str *out, struct rb_span text, bool spaces)
{
    RB_CLEANUP_STR struct rb_str known = RB_STR_INIT;
    add_text(&known, text);
    for (size_t i = 0; i < known.len; i++) {
        char c = known.at[i];
        bool fits = (c > ' ' && c < 0x7f && c != '#') || (spaces && c == ' ');
        rb_str_append(out, fits ? &c : "-", 1);
    }
}

static void add_header(struct rb_str *out, const char *name, struct rb_span value)
{
    if (!value.len)
        return;
    rb_str_addf(out, "%s: ", name);
    add_visible(out, value, true);
    rb_str_add(out, "\r\n");
}

static void add_target(struct rb_str *out, const char *path, struct rb_span param, struct rb_span query, bool encode)
{
    size_t before = strcspn(path, "*");
    rb_str_append(out, path, before);
    if (path[before]) {
        RB_CLEANUP_STR struct rb_str known = RB_STR_INIT;
        add_text(&known, param);
        if (encode)
            rb_url_encode(out, rb_str_span(&known));
        else
            add_visible(out, param, false);
        rb_str_add(out, path + before + 1);
    }
    if (query.len) {
        rb_str_add(out, "?");
        add_visible(out, query, false);
    }
}

static void compose(struct rb_span input, struct rb_str *out)
{
    size_t route = fuzz_byte(&input) % (sizeof routes / sizeof routes[0]);
    uint8_t how = fuzz_byte(&input);
    struct rb_span param = fuzz_until(&input, '\n'), query = fuzz_until(&input, '\n');
    struct rb_span key = fuzz_until(&input, '\n'), prefer = fuzz_until(&input, '\n');
    upstream.mode = (enum upstream_mode)(how >> 6);
    upstream.delivered = how & 0x20;
    add_text(&host.body, input);
    rb_str_addf(out, "%s ", routes[route].method);
    add_target(out, routes[route].path, param, query, how & 1);
    rb_str_add(out, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if (how & 2 && host.access.len)
        rb_str_addf(out, "Authorization: Bearer %s\r\n", host.access.at);
    else if (how & 4)
        add_header(out, "Authorization", prefer);
    add_header(out, "Idempotency-Key", key);
    add_header(out, "Prefer", prefer);
    if (routes[route].type)
        rb_str_addf(out, "Content-Type: %s\r\n", how & 8 ? "application/json; charset=utf-8" : routes[route].type);
    if (host.body.len)
        rb_str_addf(out, "Content-Length: %zu\r\n", host.body.len);
    rb_str_add(out, "\r\n");
    rb_str_add_span(out, rb_str_span(&host.body));
}

/* --- its answer --- */

static bool ask(struct rb_span request, struct rb_str *answer)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", host.socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    FUZZ_CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    (void)send(fd, request.at, request.len, MSG_NOSIGNAL);
    for (int round = 0;; round++) {
        char part[16384];
        ssize_t got = recv(fd, part, sizeof part, 0);
        if (got > 0)
            rb_str_append(answer, part, (size_t)got);
        else if (got == 0 || errno != EAGAIN)
            break;
        /* Behind a head that leaves it no room the library reads a body byte by byte, some in a round. */
        FUZZ_CHECK(round < UPSTREAM_ROUNDS_MAX + (int)request.len);
        upstream_go_on(round, turn);
    }
    close(fd);
    return answer->len;
}

/* The value of a header of the answer, or empty. */
static struct rb_span header_of(struct rb_span head, const char *name)
{
    while (head.len) {
        struct rb_span line = fuzz_until(&head, '\n'), key = fuzz_until(&line, ':');
        if (rb_span_is_nocase(key, name) && line.len >= 2)
            return (struct rb_span){line.at + 1, line.len - 2};
    }
    return (struct rb_span){0};
}

static void remember(struct rb_str *known, struct rb_span text)
{
    rb_str_reset(known);
    rb_str_add_span(known, text);
}

/* A session's placeholders, when the answer has some. */
static void check_placeholders(struct rb_json_value body)
{
    struct rb_json_value access, refresh;
    RB_CLEANUP_STR struct rb_str a = RB_STR_INIT, r = RB_STR_INIT;
    unsigned char ids[2][RB_SESSION_ID_BYTES];
    if (!rb_json_member(body, "access_token", &access) || !rb_json_member(body, "refresh_token", &refresh))
        return;
    FUZZ_CHECK(rb_json_string(access, &a) == RB_OK && rb_json_string(refresh, &r) == RB_OK);
    FUZZ_CHECK(rb_token_valid(rb_str_span(&a)) && rb_token_valid(rb_str_span(&r)));
    FUZZ_CHECK(rb_placeholder_access_id(rb_str_span(&a), ids[0]) && rb_placeholder_refresh_id(rb_str_span(&r), ids[1]));
    FUZZ_CHECK(memcmp(ids[0], ids[1], sizeof ids[0]) == 0);
    remember(&host.access, rb_str_span(&a));
    remember(&host.refresh, rb_str_span(&r));
}

static int64_t check_answer(struct rb_span answer)
{
    static const int known[] = {200, 201, 202, 204, 207, 400, 401, 403, 404, 405, 408,
                                409, 410, 413, 414, 415, 422, 431, 502, 503, 504, 507};
    const char *end = memmem(answer.at, answer.len, "\r\n\r\n", 4);
    FUZZ_CHECK(answer.len > 12 && memcmp(answer.at, "HTTP/1.1 ", 9) == 0 && end);
    struct rb_span head = {answer.at, (size_t)(end + 2 - answer.at)}, body = {end + 4, answer.len - head.len - 2};
    int64_t status = 0, length = 0;
    bool expected = false;
    FUZZ_CHECK(rb_span_to_i64((struct rb_span){answer.at + 9, 3}, 100, 999, &status) == RB_OK);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        expected |= known[i] == status;
    FUZZ_CHECK(expected);
    FUZZ_CHECK(!fuzz_has(answer, RB_SPAN(UPSTREAM_SECRET)));
    /* The library answers a head that is too long by itself, without any header of ours. */
    bool its_own = (status == 414 || status == 431) && !header_of(head, "Content-Type").len;
    FUZZ_CHECK(its_own || rb_span_is(header_of(head, "Cache-Control"), "no-store"));
    struct rb_span said = header_of(head, "Content-Length"), type = header_of(head, "Content-Type");
    FUZZ_CHECK(status == 204 ? !body.len
                             : rb_span_to_i64(said, 0, INT64_MAX, &length) == RB_OK && (size_t)length == body.len);
    FUZZ_CHECK(status != 405 || header_of(head, "Allow").len);
    struct rb_json_value value;
    if (type.len >= 16 && (memcmp(type.at, "application/json", 16) == 0 || fuzz_has(type, RB_SPAN("+json")))) {
        FUZZ_CHECK(rb_json_check(body, RB_JSON_LEVELS, &value, NULL) == RB_JSON_FINE);
        check_placeholders(value);
    }
    struct rb_span location = header_of(head, "Location");
    if (location.len)
        remember(&host.location, location);
    return status;
}

/* What the request began is brought to its end, and what it broke for those after it is put right. */
static void settle(void)
{
    struct rb_accounts *accounts = host.context.broker->accounts;
    struct rb_account *account = rb_account_by_name(accounts, rb_span_of(account_name));
    struct rb_http_stats stats;
    for (int round = 0;; round++) {
        rb_http_server_stats(host.server, &stats);
        if (!stats.connections && !rb_outbox_open_of(host.context.broker->outbox, rb_account_id(account)))
            break;
        FUZZ_CHECK(round < UPSTREAM_ROUNDS_MAX);
        if (rb_account_state(account) != RB_ACCOUNT_ACTIVE)
            upstream_log_in(turn);
        upstream_go_on(round, turn);
    }
    FUZZ_CHECK(!stats.parked && !stats.buffered_body_bytes);
    if (rb_account_state(account) != RB_ACCOUNT_ACTIVE || strcmp(rb_account_peer(account).url, UPSTREAM_URL) != 0)
        upstream_log_in(turn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    RB_CLEANUP_STR struct rb_str request = RB_STR_INIT, answer = RB_STR_INIT;
    /* libFuzzer learns what it is compared with. A caller who knows it may hear it. */
    if (fuzz_has((struct rb_span){(const char *)data, size}, RB_SPAN(UPSTREAM_SECRET)))
        return 0;
    if (host.inputs++ % INPUTS_A_BROKER == 0) {
        close_host();
        open_host();
    }
    rb_str_reset(&host.body);
    host.posts = 0;
    compose((struct rb_span){(const char *)data, size}, &request);
    bool relay_refuses = upstream.mode == UPSTREAM_REFUSAL;
    int64_t status = ask(rb_str_span(&request), &answer) ? check_answer(rb_str_span(&answer)) : 0;
    settle();
    /* What was refused here was not sent. */
    if (status >= 400 && status < 500 && status != 410 && !(status == 422 && relay_refuses))
        FUZZ_CHECK(host.posts == 0);
    return 0;
}
