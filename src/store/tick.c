#include "tick.h"

#include <stdlib.h>

#include "log.h"

struct rb_tick {
    struct rb_store *store;
    enum rb_status (*reload)(void *arg);
    void *arg;
    struct rb_list effects; /* of the tick that is being filled */
    struct rb_list applied; /* facts in it, in order */
    struct rb_list waiting; /* facts to be applied, in order */
    bool leading, ending, freeing;
    uint64_t failures; /* since the last commit that succeeded */
};

enum rb_status rb_tick_new(struct rb_store *store, enum rb_status (*reload)(void *arg), void *arg, struct rb_tick **ret)
{
    struct rb_tick *tick = calloc(1, sizeof *tick);
    if (!tick)
        return RB_NO_MEMORY;
    tick->store = store;
    tick->reload = reload;
    tick->arg = arg;
    rb_list_init(&tick->effects);
    rb_list_init(&tick->applied);
    rb_list_init(&tick->waiting);
    *ret = tick;
    return RB_OK;
}

static void run_effects(struct rb_list *effects, enum rb_status committed)
{
    struct rb_list *node;
    while ((node = rb_list_pop(effects))) {
        struct rb_effect *effect = RB_CONTAINER(node, struct rb_effect, node);
        effect->run(effect, committed);
    }
}

static void release_facts(struct rb_list *facts)
{
    struct rb_list *node;
    while ((node = rb_list_pop(facts))) {
        struct rb_fact *fact = RB_CONTAINER(node, struct rb_fact, node);
        fact->release(fact);
    }
}

void rb_tick_free(struct rb_tick *tick)
{
    if (!tick)
        return;
    tick->freeing = true;
    run_effects(&tick->effects, RB_UNAVAILABLE);
    release_facts(&tick->applied);
    release_facts(&tick->waiting);
    free(tick);
}

struct rb_store *rb_tick_store(struct rb_tick *tick)
{
    return tick->store;
}

static bool registered(const struct rb_list *node)
{
    return node->next && rb_list_linked(node);
}

void rb_tick_after(struct rb_tick *tick, struct rb_effect *effect)
{
    if (!registered(&effect->node))
        rb_list_push(&tick->effects, &effect->node);
}

void rb_tick_cancel(struct rb_effect *effect)
{
    if (registered(&effect->node))
        rb_list_remove(&effect->node);
}

void rb_tick_fact(struct rb_tick *tick, struct rb_fact *fact)
{
    if (!registered(&fact->node))
        rb_list_push(&tick->waiting, &fact->node);
    rb_tick_lead(tick);
}

void rb_tick_lead(struct rb_tick *tick)
{
    /* A fact that comes up while one is applied waits for its turn: facts are applied whole and in order. */
    if (tick->leading || tick->freeing)
        return;
    tick->leading = true;
    struct rb_list *node;
    while ((node = rb_list_pop(&tick->waiting))) {
        rb_list_push(&tick->applied, node);
        struct rb_fact *fact = RB_CONTAINER(node, struct rb_fact, node);
        fact->apply(fact);
    }
    tick->leading = false;
}

bool rb_tick_has_waiting_facts(const struct rb_tick *tick)
{
    return !rb_list_empty(&tick->waiting);
}

void rb_tick_retry(struct rb_tick *tick)
{
    rb_tick_lead(tick);
}

/* The edge is logged, not every failure behind it. */
static void note_commit(struct rb_tick *tick, enum rb_status status)
{
    if (status != RB_OK) {
        /* After RB_IO nothing of it is known: the engine says so, and ends. */
        if (tick->failures++ == 0 && status != RB_IO)
            rb_log(RB_LOG_ERROR, "store",
                   "a commit failed (%s): its requests were refused, what the relay said is kept",
                   rb_status_text(status));
        return;
    }
    if (tick->failures)
        rb_log(RB_LOG_INFO, "store", "commits succeed again, after %llu that failed",
               (unsigned long long)tick->failures);
    tick->failures = 0;
}

static bool something_written(const struct rb_tick *tick)
{
    return rb_store_dirty(tick->store) || rb_store_failed(tick->store) != RB_OK;
}

enum rb_status rb_tick_end(struct rb_tick *tick, bool *ret_more)
{
    *ret_more = false;
    if (tick->ending)
        return RB_OK;
    tick->ending = true;
    struct rb_list effects = RB_LIST_INIT(effects), facts = RB_LIST_INIT(facts);
    rb_list_append_all(&effects, &tick->effects);
    rb_list_append_all(&facts, &tick->applied);
    enum rb_status status = RB_OK;
    if (something_written(tick)) {
        status = rb_store_commit(tick->store);
        note_commit(tick, status);
    }
    if (status != RB_OK) {
        /* Either list is empty: facts are applied only when none is left waiting. */
        rb_list_append_all(&tick->waiting, &facts);
        /* After an I/O error, or when rows cannot be read, memory cannot be rebuilt: the process goes, and its facts
         * are what it knows. */
        if (tick->reload && status != RB_IO && tick->reload(tick->arg) != RB_OK)
            status = RB_IO;
        if (rb_store_failed(tick->store) != RB_OK)
            status = RB_IO;
    }
    run_effects(&effects, status);
    release_facts(&facts);
    tick->ending = false;
    *ret_more = something_written(tick) || !rb_list_empty(&tick->effects) || !rb_list_empty(&tick->applied);
    return status;
}
