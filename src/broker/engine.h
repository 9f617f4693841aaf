/* Engine: the broker on its store, put together over ports. The daemon runs one on the kernel's clock, disk and
 * network, the simulator runs the same one on its own.
 *
 * Whoever owns the loop calls rb_engine_end_tick at the end of each tick, as loop.h says. */
#ifndef RB_ENGINE_H
#define RB_ENGINE_H

#include "broker.h"

struct rb_engine;

struct rb_engine_config {
    struct rb_store_config store;
    /* The sealing key: from a key folder or credential (vault.h), or, with keys_dir NULL, these 32 bytes. */
    const char *keys_dir, *credentials_dir;
    struct rb_span key32;
    struct rb_broker_config broker;
};

/* Clock, random, disk and carrier are borrowed and outlive the engine. Nothing is sent before rb_engine_start. */
enum rb_status rb_engine_open(struct rb_clock *clock, struct rb_random *random, struct rb_disk *disk,
                              struct rb_carrier *carrier, const struct rb_engine_config *config, struct rb_engine **ret,
                              struct rb_error *err);
void rb_engine_start(struct rb_engine *engine);
struct rb_broker *rb_engine_broker(struct rb_engine *engine);
struct rb_tick *rb_engine_tick(struct rb_engine *engine);

/* Commits and lets effects leave, then housekeeping. True: there is more to commit. */
bool rb_engine_end_tick(struct rb_engine *engine);
/* The disk failed with an unknown outcome, or memory could not be rebuilt after a failed commit: the process must exit
 * and be started again (T4). */
bool rb_engine_is_lost(const struct rb_engine *engine);

/* Abandons what is under way; for a graceful stop wait until rb_broker_quiet after rb_broker_stop. */
void rb_engine_close(struct rb_engine *engine);

#endif
