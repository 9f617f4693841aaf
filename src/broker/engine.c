#include "engine.h"

#include <stdlib.h>

#include "log.h"
#include "vault_rows.h"

enum {
    RETRY_FACTS_MS = 500, /* facts that wait for room on a full disk */
    VACUUM_EVERY_MS = 60 * 1000,
    VACUUM_PAGES = 100,
};

struct rb_engine {
    struct rb_engine_config config;
    struct rb_ports ports;
    struct rb_broker *broker;
    struct rb_timer retry, vacuum;
    enum rb_status unread; /* why memory could not be rebuilt after a failed commit */
    bool lost;
};

static enum rb_status reload(void *arg)
{
    struct rb_engine *engine = arg;
    engine->unread = rb_broker_reload(engine->broker);
    return engine->unread;
}

static void on_retry(struct rb_timer *timer)
{
    struct rb_engine *engine = RB_CONTAINER(timer, struct rb_engine, retry);
    rb_tick_retry(engine->ports.tick);
}

static void on_vacuum(struct rb_timer *timer)
{
    struct rb_engine *engine = RB_CONTAINER(timer, struct rb_engine, vacuum);
    if (!rb_store_dirty(engine->ports.store))
        rb_store_vacuum(engine->ports.store, VACUUM_PAGES);
    rb_timer_set_in(engine->ports.clock, timer, VACUUM_EVERY_MS);
}

/* The data key is stored, durably, before anything is sealed with it. */
static enum rb_status open_vault(struct rb_engine *engine, struct rb_error *err)
{
    struct rb_ports *ports = &engine->ports;
    const struct rb_engine_config *config = &engine->config;
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    enum rb_status status = rb_vault_rows_load(ports->store, &sealed);
    if (status != RB_OK && status != RB_NOT_FOUND)
        return rb_fail(err, status, "The sealed key could not be read from the database; restore a backup.");
    struct rb_span old = rb_str_span(&sealed);
    status = config->keys_dir
                 ? rb_vault_open(config->keys_dir, config->credentials_dir, old, ports->random, &ports->vault, err)
                 : rb_vault_open_with_key(config->key32, old, ports->random, &ports->vault, err);
    if (status != RB_OK || old.len)
        return status;
    rb_vault_rows_save(ports->store, rb_vault_sealed_key(ports->vault));
    status = rb_store_commit(ports->store);
    if (status != RB_OK)
        rb_fail(err, status, "The sealed key could not be written to the database: %s.", rb_status_text(status));
    return status;
}

enum rb_status rb_engine_open(struct rb_clock *clock, struct rb_random *random, struct rb_disk *disk,
                              struct rb_carrier *carrier, const struct rb_engine_config *config, struct rb_engine **ret,
                              struct rb_error *err)
{
    struct rb_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory to start.");
    engine->config = *config;
    engine->retry = RB_TIMER_INIT(on_retry);
    engine->vacuum = RB_TIMER_INIT(on_vacuum);
    struct rb_ports *ports = &engine->ports;
    *ports = (struct rb_ports){.clock = clock, .random = random, .disk = disk, .config = &engine->config.broker};
    enum rb_status status;
    if ((status = rb_store_open(&config->store, &ports->store, err)) != RB_OK ||
        (status = disk->open ? disk->open(disk, err) : RB_OK) != RB_OK || (status = open_vault(engine, err)) != RB_OK)
        goto failed;
    if ((status = rb_tick_new(ports->store, reload, engine, &ports->tick)) != RB_OK ||
        (status = rb_relay_new(carrier, &ports->relay)) != RB_OK) {
        rb_fail(err, status, "There is not enough memory to start.");
        goto failed;
    }
    if ((status = rb_broker_new(ports, &engine->broker, err)) != RB_OK)
        goto failed;
    *ret = engine;
    return RB_OK;
failed:
    rb_engine_close(engine);
    return status;
}

void rb_engine_start(struct rb_engine *engine)
{
    rb_broker_start(engine->broker);
    rb_timer_set_in(engine->ports.clock, &engine->vacuum, VACUUM_EVERY_MS);
}

struct rb_broker *rb_engine_broker(struct rb_engine *engine)
{
    return engine->broker;
}

struct rb_tick *rb_engine_tick(struct rb_engine *engine)
{
    return engine->ports.tick;
}

bool rb_engine_end_tick(struct rb_engine *engine)
{
    if (engine->lost)
        return false;
    bool more = false;
    enum rb_status status = rb_tick_end(engine->ports.tick, &more);
    if (status == RB_IO) {
        if (engine->unread != RB_OK)
            rb_log(RB_LOG_ERROR, "store",
                   "The state could not be read again after a commit that failed (%s). Stopping, so that a restart "
                   "reads what is there.",
                   rb_status_text(engine->unread));
        else
            rb_log(RB_LOG_ERROR, "store",
                   "The disk failed while writing; whether the last change was kept is unknown. "
                   "Stopping, so that a restart reads what is there.");
        engine->lost = true;
        return false;
    }
    if (rb_tick_has_waiting_facts(engine->ports.tick) && !rb_timer_is_set(&engine->retry))
        rb_timer_set_in(engine->ports.clock, &engine->retry, RETRY_FACTS_MS);
    if (!more)
        rb_store_checkpoint(engine->ports.store, false);
    return more;
}

bool rb_engine_is_lost(const struct rb_engine *engine)
{
    return engine->lost;
}

void rb_engine_close(struct rb_engine *engine)
{
    if (!engine)
        return;
    struct rb_ports *ports = &engine->ports;
    rb_timer_stop(ports->clock, &engine->retry);
    rb_timer_stop(ports->clock, &engine->vacuum);
    if (ports->tick)
        rb_tick_free(ports->tick);
    rb_broker_free(engine->broker);
    rb_relay_free(ports->relay);
    rb_vault_free(ports->vault);
    rb_store_close(ports->store);
    free(engine);
}
