#include "fake_relay.h"

#include <signal.h>

#include "address.h"
#include "command.h"
#include "options.h"

enum { SIGNALS = 2, NAME_MAX_BYTES = 128 };

struct fake {
    struct rb_clock clock;
    struct rb_loop *loop;
    struct rb_fake_relay *relay;
    uv_signal_t signals[SIGNALS];
};

static bool end_tick(void *arg)
{
    struct fake *fake = arg;
    return rb_fake_relay_flush(fake->relay);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct fake *fake = handle->data;
    rb_loop_stop(fake->loop);
}

/* The users of the command line, with the names cut out of NAME:PASSWORD. */
struct users {
    char names[2 * RB_TEXTS_MAX][NAME_MAX_BYTES];
    struct rb_fake_user list[2 * RB_TEXTS_MAX];
    size_t count;
};

static enum rb_status read_users(const struct rb_texts *texts, const char *permissions, struct users *users,
                                 struct rb_error *err)
{
    for (size_t i = 0; i < texts->count; i++) {
        const char *colon = strchr(texts->at[i], ':');
        size_t len = colon ? (size_t)(colon - texts->at[i]) : 0;
        if (len == 0 || len >= NAME_MAX_BYTES || !colon[1])
            return rb_fail(err, RB_INVALID, "--user and --admin take NAME:PASSWORD, not \"%s\".", texts->at[i]);
        char *name = users->names[users->count];
        memcpy(name, texts->at[i], len);
        name[len] = 0;
        users->list[users->count++] = (struct rb_fake_user){name, colon + 1, permissions};
    }
    return RB_OK;
}

static int serve(struct fake *fake, const struct rb_fake_relay_config *config)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT};
    struct rb_error err = {0};
    signal(SIGPIPE, SIG_IGN);
    rb_clock_init_system(&fake->clock);
    enum rb_status status = rb_loop_new(&fake->clock, end_tick, fake, &fake->loop);
    if (status != RB_OK) {
        rb_complain("The loop cannot start: %s.", rb_status_text(status));
        return RB_EXIT_FAILED;
    }
    status = rb_fake_relay_new(fake->loop, config, &fake->relay, &err);
    if (status == RB_OK) {
        for (size_t i = 0; i < SIGNALS; i++) {
            uv_signal_init(rb_loop_uv(fake->loop), &fake->signals[i]);
            fake->signals[i].data = fake;
            uv_signal_start(&fake->signals[i], on_signal, numbers[i]);
        }
        printf("listening on http://%s:%d\n", config->host, rb_fake_relay_port(fake->relay));
        fflush(stdout);
        rb_loop_run(fake->loop);
        for (size_t i = 0; i < SIGNALS; i++)
            uv_close((uv_handle_t *)&fake->signals[i], NULL);
    } else {
        rb_complain("%s", err.text);
    }
    rb_fake_relay_free(fake->relay);
    rb_loop_free(fake->loop);
    return status == RB_OK ? RB_EXIT_DONE : RB_EXIT_FAILED;
}

/* What the command line says, as the fake relay's configuration. */
static enum rb_status read_config(const char *listen, const char *flavour, struct rb_address *address,
                                  struct rb_fake_relay_config *config, struct rb_error *err)
{
    struct rb_error why = {0};
    enum rb_status status = rb_address_read(listen, address, &why);
    if (status != RB_OK)
        return rb_fail(err, status, "--listen: %s.", why.text);
    if (address->path)
        return rb_fail(err, RB_INVALID, "The fake relay listens on HOST:PORT, not on \"%s\".", listen);
    if (strcmp(flavour, "memory") != 0 && strcmp(flavour, "valkey") != 0)
        return rb_fail(err, RB_INVALID, "--flavour is memory or valkey, not \"%s\".", flavour);
    config->model.flavour = *flavour == 'v' ? RB_FLAVOUR_VALKEY : RB_FLAVOUR_MEMORY;
    config->host = address->host;
    config->port = address->port;
    return RB_OK;
}

int rb_command_fake_relay(int argc, char **argv)
{
    const char *listen = "127.0.0.1:8000", *flavour = "memory", *state = NULL, *keys = NULL;
    struct rb_texts plain = {.count = 0}, admins = {.count = 0};
    struct rb_fake_relay_config config = {.model = RB_MODEL_CONFIG_DEFAULT};
    bool no_limits = false;
    const struct rb_option options[] = {
        {"listen", "HOST:PORT", RB_OPTION_TEXT, &listen, 0, 0,
         "a loopback address; port 0 picks one (default 127.0.0.1:8000)"},
        {"flavour", "FLAVOUR", RB_OPTION_TEXT, &flavour, 0, 0, "memory (default) or valkey: which relay it is like"},
        {"user", "NAME:PASSWORD", RB_OPTION_TEXTS, &plain, 0, 0, "a user; may come again (default test:test)"},
        {"admin", "NAME:PASSWORD", RB_OPTION_TEXTS, &admins, 0, 0, "a user who may administrate; may come again"},
        {"access-token-seconds", "N", RB_OPTION_INTEGER, &config.model.access_token_s, 1, 86400,
         "how long access tokens last (default 600)"},
        {"no-rate-limits", NULL, RB_OPTION_FLAG, &no_limits, 0, 0, "answers no 429"},
        {"state", "DIR", RB_OPTION_TEXT, &state, 0, 0, "taken and not used: the fake relay keeps nothing"},
        {"keys", "DIR", RB_OPTION_TEXT, &keys, 0, 0, "the same"},
    };
    const struct rb_usage usage = {"fake-relay",
                                   "[--listen HOST:PORT] [--flavour memory|valkey] [--user NAME:PASSWORD]…",
                                   rb_fake_relay_help(),
                                   options,
                                   sizeof options / sizeof options[0],
                                   0,
                                   0};
    int ends;
    if (!rb_options_parse(&usage, argc, argv, NULL, &ends))
        return ends;
    struct rb_error err = {0};
    struct rb_address address;
    struct users users = {.count = 0};
    if (!plain.count && !admins.count)
        plain = (struct rb_texts){.at = {"test:test"}, .count = 1};
    if (read_config(listen, flavour, &address, &config, &err) != RB_OK ||
        read_users(&plain, "", &users, &err) != RB_OK || read_users(&admins, "admin", &users, &err) != RB_OK)
        return rb_complain_of_usage("fake-relay", &err);
    config.model.rate_limits = !no_limits;
    config.users = users.list;
    config.user_count = users.count;
    struct fake fake = {0};
    return serve(&fake, &config);
}
