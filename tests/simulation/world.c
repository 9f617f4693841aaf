#include "world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "json_span.h"

const char world_url[] = "http://127.0.0.1:9000";

enum { END_TICK_MAX = 10000 };

static int64_t host_now(struct rb_clock *clock)
{
    return RB_CONTAINER(clock, struct world_clock, clock)->world->now_ms;
}

static int64_t host_wall(struct rb_clock *clock)
{
    struct world_clock *own = RB_CONTAINER(clock, struct world_clock, clock);
    return RB_FAKE_WALL_MS + own->world->now_ms + own->wall_offset_ms;
}

static void clock_init(struct world_clock *clock, struct world *world)
{
    clock->world = world;
    clock->clock = (struct rb_clock){.now_ms = host_now, .wall_ms = host_wall};
}

struct world_config world_config_default(uint64_t seed)
{
    struct world_config config = {.seed = seed, .access_token_s = 600, .rate_limits = true};
    config.broker = rb_broker_config_default;
    return config;
}

int64_t world_between(struct world *world, int64_t low, int64_t high)
{
    return rb_random_between(&world->random.random, low, high);
}

bool world_chance(struct world *world, int in_a_thousand)
{
    return in_a_thousand > 0 && world_between(world, 0, 999) < in_a_thousand;
}

void world_trace(struct world *world, const char *format, ...)
{
    if (!world->config.trace)
        return;
    fprintf(world->config.trace, "%10.3f  ", (double)world->now_ms / 1000);
    va_list args;
    va_start(args, format);
    vfprintf(world->config.trace, format, args);
    va_end(args);
    fputc('\n', world->config.trace);
    fflush(world->config.trace);
}

void world_fail(struct world *world, const char *format, ...)
{
    if (world->fault.set)
        return;
    world->fault.set = true;
    va_list args;
    va_start(args, format);
    vsnprintf(world->fault.text, sizeof world->fault.text, format, args);
    va_end(args);
    world_trace(world, "BROKEN: %s", world->fault.text);
}

/* A login that is not on disk yet may end with the process: nobody was told of it. */
static void lose_login(struct world *world)
{
    if (world->login_granted)
        world->orphan_chains += world->config.pairs ? 2 : 1;
    world->login_granted = false;
}

static void die(struct world *world)
{
    if (world->dead)
        return;
    if (world->on_death)
        world->on_death(world, world->on_death_arg);
    lose_login(world);
    world->dead = true;
    world->crash_in = 0;
    sim_vfs_crash(world->vfs);
}

bool world_leaves(struct world *world)
{
    if (world->dead)
        return false;
    if (world->crash_in > 0 && --world->crash_in == 0) {
        world_trace(world, "the host dies on an operation");
        die(world);
        return false;
    }
    return true;
}

static bool vfs_op(void *arg)
{
    return world_leaves(arg);
}

struct world *world_new(const struct world_config *config)
{
    struct world *world = calloc(1, sizeof *world);
    if (!world)
        abort();
    world->config = *config;
    rb_fake_random_init(&world->random, config->seed);
    rb_fake_random_init(&world->host_random, config->seed * 3 + 1);
    rb_fake_random_init(&world->net_random, config->seed * 3 + 2);
    clock_init(&world->host, world);
    clock_init(&world->net, world);
    world->now_ms = RB_FAKE_NOW_MS;
    world->weather.latency_max_ms = 20;
    world->vfs = sim_vfs_new("simulated", &world->random.random, vfs_op, world);
    sim_disk_init(world);
    sim_carrier_init(world);
    struct rb_model_config model = RB_MODEL_CONFIG_DEFAULT;
    model.flavour = config->flavour;
    model.access_token_s = config->access_token_s;
    model.rate_limits = config->rate_limits;
    if (rb_model_new(&world->net.clock, &world->net_random.random, &model, &world->model) != RB_OK)
        abort();
    return world;
}

void world_free(struct world *world)
{
    if (!world)
        return;
    if (world->up)
        world_crash(world);
    sim_carrier_free(world);
    rb_model_free(world->model);
    if (world->backup)
        sim_vfs_restore(world->vfs, world->backup);
    sim_vfs_free(world->vfs);
    for (int i = 0; i < 2; i++)
        rb_str_free(&world->record[i]);
    free(world);
}

void world_boot(struct world *world)
{
    static const char key[32] = {7};
    struct rb_engine_config config = {
        .store = {.dir = "/sim", .vfs = "simulated"},
        .key32 = {key, sizeof key},
        .broker = world->config.broker,
    };
    int64_t offset = world->host.wall_offset_ms;
    clock_init(&world->host, world);
    world->host.wall_offset_ms = offset;
    struct rb_error err = {0};
    world->dead = false;
    world->boots++;
    world_trace(world, "boot %llu", (unsigned long long)world->boots);
    enum rb_status status = rb_engine_open(&world->host.clock, &world->host_random.random, &world->disk,
                                           &world->carrier, &config, &world->engine, &err);
    if (status != RB_OK) {
        world->engine = NULL;
        if (world->dead) {
            sim_vfs_revive(world->vfs);
            world->crashes++;
            world->dead = false;
        } else {
            world_fail(world, "the engine did not open: %s: %s", rb_status_text(status), err.text);
        }
        return;
    }
    world->up = true;
    world->booted_ms = world->now_ms;
    world->broker = rb_engine_broker(world->engine);
    rb_engine_start(world->engine);
    world_end_tick(world);
}

void world_crash(struct world *world)
{
    if (!world->up)
        return;
    world_trace(world, "crash");
    die(world);
    world->crashes++;
    sim_carrier_host_died(world);
    rb_engine_close(world->engine);
    world->engine = NULL;
    world->broker = NULL;
    world->up = false;
    sim_vfs_revive(world->vfs);
    if (world->host.clock.first)
        world_fail(world, "a timer of the host was still set after it was freed");
}

void world_end_tick(struct world *world)
{
    for (int i = 0; world->up && !world->dead && i < END_TICK_MAX; i++) {
        bool more = rb_engine_end_tick(world->engine);
        if (rb_engine_is_lost(world->engine))
            die(world);
        if (!more)
            break;
        if (i == END_TICK_MAX - 1)
            world_fail(world, "the tick never ends: every commit makes new work");
    }
    if (world->up && world->dead)
        world_crash(world);
    if (world->up && !rb_tick_has_waiting_facts(rb_engine_tick(world->engine)))
        world->login_granted = false;
}

static bool broker_is_quiet(struct world *world, void *arg)
{
    return !world->up || rb_broker_quiet(world->broker);
}

void world_stop(struct world *world)
{
    if (!world->up)
        return;
    world_trace(world, "stop");
    rb_broker_stop(world->broker);
    world_end_tick(world);
    if (!world_run_until(world, broker_is_quiet, NULL, 10 * 60 * 1000))
        world_fail(world, "a graceful stop found token calls under way for ten minutes");
    if (!world->up)
        return;
    world_end_tick(world);
    if (!world->up)
        return;
    lose_login(world);
    sim_carrier_host_died(world);
    world->up = false;
    rb_engine_close(world->engine);
    world->engine = NULL;
    world->broker = NULL;
    world->dead = true;
    sim_vfs_crash(world->vfs);
    sim_vfs_revive(world->vfs);
    world->crash_in = 0;
}

bool world_step(struct world *world, int64_t until_ms)
{
    int64_t next = rb_clock_next_ms(&world->net.clock);
    if (world->up && rb_clock_next_ms(&world->host.clock) < next)
        next = rb_clock_next_ms(&world->host.clock);
    bool due = next <= until_ms;
    if (!due)
        next = until_ms;
    if (next > world->now_ms)
        world->now_ms = next;
    if (!due)
        return false;
    rb_clock_run(&world->net.clock);
    world_end_tick(world);
    if (world->up)
        rb_clock_run(&world->host.clock);
    world_end_tick(world);
    return true;
}

void world_run(struct world *world, int64_t ms)
{
    int64_t until = world->now_ms + ms;
    while (world_step(world, until))
        ;
}

bool world_run_until(struct world *world, bool (*holds)(struct world *world, void *arg), void *arg, int64_t max_ms)
{
    int64_t until = world->now_ms + max_ms;
    while (!holds(world, arg))
        if (!world_step(world, until))
            return holds(world, arg);
    return true;
}

char *world_foreign_login(struct world *world, struct rb_span form)
{
    /* Its own address: the broker's limits are not touched. */
    char address[32];
    snprintf(address, sizeof address, "10.1.0.%u", (unsigned)(++world->foreign_logins % 250));
    struct rb_model_request request = {
        .method = "POST",
        .path = "/auth/login",
        .content_type = RB_SPAN("application/x-www-form-urlencoded"),
        .body = form,
        .address = address,
    };
    struct rb_model_answer answer = {0};
    struct rb_model_poll *poll = NULL;
    if (!rb_model_request(world->model, &request, &answer, NULL, NULL, &poll) || answer.status != 200)
        abort();
    struct rb_json_value body, token;
    if (rb_json_check(rb_str_span(&answer.body), 16, &body, NULL) != RB_JSON_FINE ||
        !rb_json_member(body, "refresh_token", &token))
        abort();
    char *copy = rb_span_dup((struct rb_span){token.text.at + 1, token.text.len - 2});
    rb_str_free(&answer.body);
    if (!copy)
        abort();
    return copy;
}

struct login_end {
    bool ended;
    struct rb_account *account;
};

static void on_login(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    struct login_end *end = arg;
    end->ended = true;
    end->account = status == RB_OK ? account : NULL;
}

static bool login_ended(struct world *world, void *arg)
{
    return !world->up || ((struct login_end *)arg)->ended;
}

struct rb_account *world_login(struct world *world, const char *name, const char *username, bool keep_password)
{
    static const char password[] = "correct horse";
    if (rb_model_user(world->model, username, password, "") != RB_OK)
        abort();
    struct login_end end = {0};
    struct rb_login login = {
        .name = name,
        .relay_url = world_url,
        .username = username,
        .password = rb_span_of(password),
        .keep_password = keep_password,
    };
    struct rb_error err = {0};
    if (rb_account_login(world->broker->accounts, &login, on_login, &end, &err) != RB_OK) {
        world_fail(world, "login did not start: %s", err.text);
        return NULL;
    }
    world_end_tick(world);
    world_run_until(world, login_ended, &end, 60 * 1000);
    return end.ended ? end.account : NULL;
}
