/* Tick: one transaction for everything that happens in a round of the loop, and what may happen only after it.
 *
 *     callbacks ──▶ rows (store)  ──▶ rb_tick_end: commit ──▶ effects: answers are released, upstream requests start
 *
 * Nothing leaves the process that depends on a row that is not yet on disk. Whoever wants something to leave registers
 * an effect; it runs once, after the commit of the tick it was registered in, with RB_OK, or after its failure, with
 * why.
 *
 * Local requests register effects only: if the commit fails their rows are gone and they hear it. Facts from upstream
 * (a rotated token, the result of a post) cannot be taken back: a fact is applied at once, and when the commit fails
 * it is applied again at the head of the next tick, until it is on disk (T4).
 *
 * When a commit fails: rollback; `reload` (memory is a cache of committed rows); effects with the failure; facts wait
 * for the next tick. An effect may write rows and register effects: they belong to the next tick, which follows at
 * once. Order in a commit: effects as they were registered, then facts are released, so an effect may lie in its fact.
 *
 * The nodes are zero (calloc) or rb_list_init'ed before their first use. What is registered already is not registered
 * again and keeps its place. */
#ifndef RB_TICK_H
#define RB_TICK_H

#include <stdbool.h>

#include "list.h"
#include "status.h"
#include "store.h"

struct rb_effect {
    struct rb_list node;
    void (*run)(struct rb_effect *effect, enum rb_status committed); /* may free the effect */
};

struct rb_fact {
    struct rb_list node;
    void (*apply)(struct rb_fact *fact); /* writes rows, changes memory, registers effects, not facts; may come again */
    void (*release)(struct rb_fact *fact); /* committed, or the process ends: frees it */
};

struct rb_tick;

/* `reload` is called after a rollback and must rebuild memory from rows, without writing; NULL for none. It is not
 * called after RB_IO; when it fails, for want of memory or because rows cannot be read, the failure becomes RB_IO. */
enum rb_status rb_tick_new(struct rb_store *store, enum rb_status (*reload)(void *arg), void *arg,
                           struct rb_tick **ret);
/* Runs waiting effects with RB_UNAVAILABLE, then releases the facts. What is open is left to rb_store_close, which
 * rolls it back. */
void rb_tick_free(struct rb_tick *tick);
struct rb_store *rb_tick_store(struct rb_tick *tick);

/* The effect is owned by the tick until it runs. */
void rb_tick_after(struct rb_tick *tick, struct rb_effect *effect);
/* Takes an effect back that has not run; does nothing to one that is not registered. */
void rb_tick_cancel(struct rb_effect *effect);
/* The fact is owned by the tick until released. Facts that wait from a failed tick are applied before it. Applied
 * before this returns, except from inside another's `apply`. */
void rb_tick_fact(struct rb_tick *tick, struct rb_fact *fact);
/* To be called before the first write of a local request in a tick: applies waiting facts so that they lead it. */
void rb_tick_lead(struct rb_tick *tick);

/* Commits and runs effects. With nothing to commit effects run with RB_OK. `*ret_more`: there is a next tick already
 * (effects wrote or registered). Waiting facts alone do not make more: they are tried again by rb_tick_retry, which
 * the owner calls by a timer, or by the next local write. RB_IO: the outcome on disk is unknown; the process must
 * write its slots and exit (T4). */
enum rb_status rb_tick_end(struct rb_tick *tick, bool *ret_more);
bool rb_tick_has_waiting_facts(const struct rb_tick *tick);
void rb_tick_retry(struct rb_tick *tick);

#endif
