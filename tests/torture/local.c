#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "face.h"
#include "failing.h"
#include "test_folder.h"

enum { STEP_MS = 5, TURNS = 6 };

struct local {
    struct world *world;
    struct world_clock clock; /* the server's timers: they outlive a host that dies */
    struct rb_test_folder folder;
    struct rb_loop *loop;
    struct rb_http_server *server;
    struct rb_face_context context;
    struct rb_door door;
    const struct rb_door *doors[1];
    struct rb_face face[2];
    const struct rb_face *faces[2];
    char path[100];
    void (*on_death)(struct world *world, void *arg);
    void *on_death_arg;
};

static bool end_tick(void *arg)
{
    struct local *local = arg;
    world_end_tick(local->world);
    return local->world->up && rb_http_flush(local->server);
}

/* Callers are told while the broker still knows them, as the daemon does it. */
static void on_death(struct world *world, void *arg)
{
    struct local *local = arg;
    if (local->on_death)
        local->on_death(world, local->on_death_arg);
    rb_http_server_drain(local->server);
}

static void must(bool good)
{
    if (!good)
        abort();
}

static void listen_there(struct local *local)
{
    struct rb_error err;
    int fd;
    snprintf(local->path, sizeof local->path, "%s/socket", local->folder.path);
    must(rb_http_bind_unix(local->path, 0600, &fd, &err) == RB_OK);
    must(rb_door_init_default(&local->door) == RB_OK);
    rb_broker_face(&local->context, &local->face[0]);
    rb_wire_face(&local->context, &local->face[1]);
    for (int i = 0; i < 2; i++)
        local->faces[i] = &local->face[i];
    struct rb_http_listener listener = {
        .fd = fd,
        .faces = local->faces,
        .face_count = 2,
        .door = &local->door,
        .admits = rb_door_admits,
        .browser_guard = true,
    };
    must(rb_http_server_listen(local->server, &listener, &err) == RB_OK);
}

struct local *local_open(struct world *world)
{
    failing_pause();
    struct local *local = calloc(1, sizeof *local);
    must(local);
    local->world = world;
    rb_test_folder_make(&local->folder);
    struct rb_error err;
    local->clock = (struct world_clock){.world = world, .clock = world->host.clock};
    local->clock.clock.first = NULL;
    must(rb_loop_new(&local->clock.clock, end_tick, local, &local->loop) == RB_OK);
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    must(rb_http_server_new(local->loop, &limits, &local->server, &err) == RB_OK);
    local->doors[0] = &local->door;
    local->context = (struct rb_face_context){
        .broker = world->broker,
        .tick = rb_engine_tick(world->engine),
        .clock = &world->host.clock,
        .server = local->server,
        .vault = world->broker->ports.vault,
        .doors = local->doors,
        .door_count = 1,
        .version = "torture",
        .state_dir = "/sim",
    };
    listen_there(local);
    local->on_death = world->on_death;
    local->on_death_arg = world->on_death_arg;
    world->on_death = on_death;
    world->on_death_arg = local;
    failing_go_on();
    return local;
}

void local_close(struct local *local)
{
    failing_pause();
    struct world *world = local->world;
    world->on_death = local->on_death;
    world->on_death_arg = local->on_death_arg;
    rb_http_server_free(local->server);
    rb_loop_free(local->loop);
    rb_door_free(&local->door);
    rb_test_folder_remove(&local->folder);
    free(local);
    failing_go_on();
}

/* The caller's own steps. */
static int call_up(const struct local *local)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", local->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* False: the connection has ended. */
static bool hear(int fd, struct rb_str *answer)
{
    char bytes[4096];
    ssize_t got;
    failing_pause();
    while ((got = read(fd, bytes, sizeof bytes)) > 0)
        rb_str_append(answer, bytes, (size_t)got);
    failing_go_on();
    return got != 0 && (got > 0 || errno == EAGAIN);
}

/* The status of a whole answer with a Content-Length, whose body is left; 0: not whole yet. */
static int whole_answer(struct rb_str *answer, struct rb_str *ret_body)
{
    if (!answer->at)
        return 0;
    const char *body = strstr(answer->at, "\r\n\r\n"), *length = strcasestr(answer->at, "content-length: ");
    if (!body || answer->len < 12)
        return 0;
    body += 4;
    size_t have = answer->len - (size_t)(body - answer->at);
    int64_t want = 0;
    if (length)
        must(rb_span_to_i64((struct rb_span){length + 16, strcspn(length + 16, "\r")}, 0, INT64_MAX, &want) == RB_OK);
    if (have < (size_t)want)
        return 0;
    int64_t status;
    must(rb_span_to_i64((struct rb_span){answer->at + 9, 3}, 100, 599, &status) == RB_OK);
    failing_pause();
    rb_str_reset(ret_body);
    rb_str_append(ret_body, body, have);
    failing_go_on();
    return (int)status;
}

int local_ask(struct local *local, struct rb_span request, int64_t patience_ms, struct rb_str *ret_body)
{
    struct world *world = local->world;
    struct rb_str answer = RB_STR_INIT;
    int fd = call_up(local), status = 0;
    must(write(fd, request.at, request.len) == (ssize_t)request.len);
    bool open = true;
    for (int64_t until = world->now_ms + patience_ms; open && !status && world->now_ms <= until;) {
        for (int i = 0; i < TURNS && world->up; i++)
            uv_run(rb_loop_uv(local->loop), UV_RUN_NOWAIT);
        open = hear(fd, &answer) && world->up;
        status = whole_answer(&answer, ret_body);
        if (world->up && !status)
            world_run(world, STEP_MS);
    }
    close(fd);
    for (int i = 0; i < TURNS && world->up; i++)
        uv_run(rb_loop_uv(local->loop), UV_RUN_NOWAIT);
    world_trace(world, "the caller hears %d %s", status, ret_body->len ? ret_body->at : "");
    failing_pause();
    rb_str_free(&answer);
    failing_go_on();
    return status;
}
