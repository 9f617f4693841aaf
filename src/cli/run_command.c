#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "address.h"
#include "command.h"
#include "config.h"
#include "disk.h"
#include "doors.h"
#include "engine.h"
#include "http_carrier.h"
#include "log.h"
#include "options.h"
#include "paths.h"
#include "service.h"
#include "version.h"

enum {
    STOP_MAX_MS = 330 * 1000, /* a refresh under way may take 5 minutes (R1); a graceful stop costs no chain (P2) */
    SPARE_DESCRIPTORS = 512,  /* for the database, upstream connections and sockets being accepted */
    LEAST_CONNECTIONS = 16,
    LEAST_DESCRIPTORS = 24 + LEAST_CONNECTIONS, /* what is open at rest, and those */
    SIGNALS = 3,
};

/* The process, put together in the order in which it is taken apart again, backwards. */
struct daemon {
    struct rb_paths paths;
    struct rb_config config;
    struct rb_clock clock;
    struct rb_random random;
    struct rb_file_disk *disk;
    struct rb_loop *loop;
    struct rb_http_carrier *carrier;
    struct rb_engine *engine;
    struct rb_http_server *server, *admin_server;
    struct rb_doors *doors;
    struct rb_face_context face;
    uv_signal_t signals[SIGNALS];
    struct rb_timer stop_timer;
    bool signals_open, stopping;
};

/* --- stopping --- */

static void stop_now(struct rb_timer *timer)
{
    struct daemon *daemon = RB_CONTAINER(timer, struct daemon, stop_timer);
    rb_log(RB_LOG_WARNING, "run", "Stopping although a token call is under way: its chain starts as uncertain.");
    rb_loop_stop(daemon->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;
    if (daemon->stopping) {
        stop_now(&daemon->stop_timer);
        return;
    }
    daemon->stopping = daemon->face.stopping = true;
    rb_service_tell("STOPPING=1");
    rb_log(RB_LOG_INFO, "run", "Stopping.");
    rb_http_server_drain(daemon->server);
    rb_http_server_drain(daemon->admin_server);
    rb_broker_stop(rb_engine_broker(daemon->engine));
    rb_timer_set_in(&daemon->clock, &daemon->stop_timer, STOP_MAX_MS);
}

static bool end_tick(void *arg)
{
    struct daemon *daemon = arg;
    bool more = rb_engine_end_tick(daemon->engine);
    more |= rb_http_flush(daemon->server);
    more |= rb_http_flush(daemon->admin_server);
    if (rb_engine_is_lost(daemon->engine)) {
        rb_loop_stop(daemon->loop);
        return false;
    }
    if (daemon->stopping && !more && rb_broker_quiet(rb_engine_broker(daemon->engine)))
        rb_loop_stop(daemon->loop);
    return more;
}

static void watch_signals(struct daemon *daemon)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < SIGNALS; i++) {
        uv_signal_init(rb_loop_uv(daemon->loop), &daemon->signals[i]);
        daemon->signals[i].data = daemon;
        uv_signal_start(&daemon->signals[i], on_signal, numbers[i]);
    }
    daemon->signals_open = true;
}

/* --- starting --- */

/* As many descriptors as the system allows, and no more connections than they suffice for. */
static enum rb_status raise_descriptors(struct rb_config *config, struct rb_error *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return RB_OK;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return RB_OK;
    int64_t most = (int64_t)limit.rlim_cur, room = most - SPARE_DESCRIPTORS;
    if (most < LEAST_DESCRIPTORS)
        return rb_fail(err, RB_FULL,
                       "The system allows %lld descriptors, and the daemon needs %d: raise the limit (ulimit -n, "
                       "LimitNOFILE=).",
                       (long long)most, (int)LEAST_DESCRIPTORS);
    if (room < config->connections) {
        room = room < LEAST_CONNECTIONS ? LEAST_CONNECTIONS : room;
        rb_log(RB_LOG_WARNING, "run", "The system allows %lld descriptors: connections are limited to %lld.",
               (long long)most, (long long)room);
        config->connections = room;
    }
    return RB_OK;
}

static enum rb_status start_engine(struct daemon *daemon, struct rb_error *err)
{
    rb_clock_init_system(&daemon->clock);
    rb_random_init_system(&daemon->random);
    enum rb_status status = rb_file_disk_new(daemon->paths.state, daemon->paths.keys, &daemon->disk, err);
    if (status == RB_OK && (status = rb_loop_new(&daemon->clock, end_tick, daemon, &daemon->loop)) != RB_OK)
        rb_fail(err, status, "The loop cannot start: %s.", rb_status_text(status));
    if (status == RB_OK)
        status = rb_http_carrier_new(daemon->loop, &daemon->carrier, err);
    if (status != RB_OK)
        return status;
    const struct rb_engine_config config = {
        .store = {.dir = daemon->paths.state},
        .keys_dir = daemon->paths.keys,
        .credentials_dir = getenv("CREDENTIALS_DIRECTORY"),
        .broker = rb_config_broker(&daemon->config),
    };
    return rb_engine_open(&daemon->clock, &daemon->random, rb_file_disk_port(daemon->disk),
                          rb_http_carrier_port(daemon->carrier), &config, &daemon->engine, err);
}

static enum rb_status open_doors(struct daemon *daemon, const struct rb_texts *listen, struct rb_error *err)
{
    const struct rb_http_limits limits = rb_config_http_limits(&daemon->config);
    enum rb_status status = rb_http_server_new(daemon->loop, &limits, &daemon->server, err);
    if (status == RB_OK)
        status = rb_http_server_new(daemon->loop, &limits, &daemon->admin_server, err);
    if (status == RB_OK)
        status = rb_doors_open(&daemon->config, listen, daemon->paths.admin_socket, &daemon->doors, err);
    if (status != RB_OK)
        return status;
    struct rb_broker *broker = rb_engine_broker(daemon->engine);
    daemon->face = (struct rb_face_context){
        .broker = broker,
        .tick = rb_engine_tick(daemon->engine),
        .clock = &daemon->clock,
        .server = daemon->server,
        .vault = broker->ports.vault,
        .version = RB_VERSION,
        .state_dir = daemon->paths.state,
        .started_wall_ms = rb_clock_wall_ms(&daemon->clock),
        .started_ms = rb_clock_now_ms(&daemon->clock),
    };
    daemon->face.doors = rb_doors_list(daemon->doors, &daemon->face.door_count);
    return rb_doors_serve(daemon->doors, &daemon->face, daemon->server, daemon->admin_server, err);
}

static void tell_ready(const struct daemon *daemon)
{
    RB_CLEANUP_STR struct rb_str lines = RB_STR_INIT;
    rb_doors_describe(daemon->doors, &lines);
    if (!rb_str_failed(&lines) && lines.len) {
        fwrite(lines.at, 1, lines.len, stdout);
        fflush(stdout);
    }
    for (size_t i = 0; i < daemon->face.door_count; i++)
        if (daemon->face.doors[i]->any_uid)
            rb_log(RB_LOG_WARNING, "run", "The door %s lets every local user in (uids = any).",
                   daemon->face.doors[i]->name);
    rb_log(RB_LOG_INFO, "run", "ready: version %s, state in %s, process %d.", RB_VERSION, daemon->paths.state,
           (int)getpid());
    rb_service_tell("READY=1");
}

static void close_daemon(struct daemon *daemon)
{
    /* Callers are told while the broker still knows them, and what the broker still answers at its end finds its
     * request. */
    if (daemon->server)
        rb_http_server_drain(daemon->server);
    if (daemon->admin_server)
        rb_http_server_drain(daemon->admin_server);
    rb_engine_close(daemon->engine);
    rb_http_server_free(daemon->server);
    rb_http_server_free(daemon->admin_server);
    rb_http_carrier_free(daemon->carrier);
    if (daemon->loop)
        rb_timer_stop(&daemon->clock, &daemon->stop_timer);
    for (size_t i = 0; daemon->signals_open && i < SIGNALS; i++)
        uv_close((uv_handle_t *)&daemon->signals[i], NULL);
    rb_loop_free(daemon->loop);
    rb_doors_free(daemon->doors);
    rb_file_disk_free(daemon->disk);
    rb_config_free(&daemon->config);
    rb_paths_free(&daemon->paths);
}

/* Options go before the configuration, the configuration before environment and defaults. */
static enum rb_status prepare(struct daemon *daemon, const char *config, const char *state, const char *keys,
                              struct rb_error *err)
{
    signal(SIGPIPE, SIG_IGN);
    /* A bound on file sizes is a failed write like any other. */
    signal(SIGXFSZ, SIG_IGN);
    enum rb_status status = config ? rb_config_read(&daemon->config, config, err) : RB_OK;
    if (status != RB_OK)
        return status;
    rb_log_set_level((enum rb_log_level)daemon->config.log_level);
    status = raise_descriptors(&daemon->config, err);
    if (status != RB_OK)
        return status;
    return rb_paths_find(state ? state : daemon->config.state, keys ? keys : daemon->config.keys, geteuid(),
                         &daemon->paths, err);
}

static int run(const char *config, const char *state, const char *keys, const struct rb_texts *listen)
{
    struct daemon daemon = {.stop_timer = RB_TIMER_INIT(stop_now)};
    struct rb_error err = {0};
    rb_config_init(&daemon.config);
    enum rb_status status = prepare(&daemon, config, state, keys, &err);
    if (status == RB_OK)
        status = start_engine(&daemon, &err);
    if (status == RB_OK)
        status = open_doors(&daemon, listen, &err);
    int ends = RB_EXIT_DONE;
    if (status == RB_OK) {
        watch_signals(&daemon);
        rb_engine_start(daemon.engine);
        tell_ready(&daemon);
        rb_loop_run(daemon.loop);
        ends = rb_engine_is_lost(daemon.engine) ? RB_EXIT_FAILED : RB_EXIT_DONE;
        rb_log(RB_LOG_INFO, "run", "Stopped.");
    } else {
        rb_complain("%s", err.text);
        ends = RB_EXIT_FAILED;
    }
    close_daemon(&daemon);
    return ends;
}

int rb_command_run(int argc, char **argv)
{
    const char *config = NULL, *state = NULL, *keys = NULL;
    struct rb_texts listen = {.count = 0};
    const struct rb_option options[] = {
        {"config", "FILE", RB_OPTION_TEXT, &config, 0, 0, "configuration file (default: none, all defaults)"},
        {"listen", "HOST:PORT", RB_OPTION_TEXTS, &listen, 0, 0,
         "where the default door opens, instead of 127.0.0.1:7420 and [::1]:7420:\n"
         "a loopback address (port 0 picks one) or unix:/PATH; may come again"},
        RB_OPTION_STATE(&state),
        RB_OPTION_KEYS(&keys),
    };
    const struct rb_usage usage = {
        "run",
        "[--config FILE] [--state DIR] [--keys DIR] [--listen HOST:PORT]…",
        "Runs the daemon in the foreground until SIGTERM, SIGINT or SIGHUP. It prints \"listening on ADDRESS\" for\n"
        "each address. A stop waits for a token call that is under way; a second signal does not.",
        options,
        sizeof options / sizeof options[0],
        0,
        0};
    int ends;
    if (!rb_options_parse(&usage, argc, argv, NULL, &ends))
        return ends;
    for (size_t i = 0; i < listen.count; i++) {
        struct rb_address address;
        struct rb_error err = {0};
        if (rb_address_read(listen.at[i], &address, &err) != RB_OK) {
            rb_fail(&err, RB_INVALID, "--listen: %s.", err.text);
            return rb_complain_of_usage("run", &err);
        }
    }
    return run(config, state, keys, &listen);
}
