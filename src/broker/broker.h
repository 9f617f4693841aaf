/* Broker: what the project exists for. One login for many (account, chain), posts that are never lost (outbox), messages that
 * are never stepped over (inbox, session).
 *
 * Nothing here knows HTTP, SQL or the kernel's clock: the outside is reached through the ports below, through store/ (typed rows)
 * and vault/. Memory is a cache of committed rows: rb_broker_reload rebuilds it, at start and after a failed commit; what
 * cannot be in rows (calls under way, waiting callers) survives a reload and is keyed by row id.
 *
 * The parts and who may call whom: faces ──▶ session ──▶ inbox ──▶ topic; faces ──▶ outbox ──▶ topic, budget;
 * all ──▶ account ──▶ chain ──▶ budget; all ──▶ event. Nothing calls back but through the callbacks it was given. */
#ifndef RB_BROKER_H
#define RB_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "disk.h"
#include "random.h"
#include "relay.h"
#include "store.h"
#include "tick.h"
#include "vault.h"

struct rb_broker_config {
    /* chain (R1, R2) */
    int64_t retry_after_end_ms; /* the same refresh token again, after its connection ended: default 75,000 */
    /* outbox */
    int64_t unknown_wait_ms;           /* from an unknown end to the look-up: default 10,000 (O2) */
    int64_t look_up_give_up_ms;        /* a look-up that fails this long ends as not found: default 60,000 (O3) */
    int64_t outbox_rows, outbox_bytes; /* open rows: default 100,000 and 256 MiB */
    int64_t key_ms; /* a row, and a caller's idempotency key with it, lives this long from its end: default 24 h (O5) */
    int64_t backoff_min_ms, backoff_max_ms; /* default 500 and 30,000; doubled, full jitter */
    int sending_max;                        /* posts in flight a relay address: default 16 */
    /* budgets a relay address and minute; 0: no limit assumed */
    int posts_per_minute, refreshes_per_minute, logins_per_minute; /* default 120, 10, 5 */
    /* inbox */
    int poll_timeout_s;       /* of an upstream poll: default 30 */
    int64_t answer_max_bytes; /* of an upstream read: default 32 MiB (I5) */
    int64_t retention_ms;     /* default 24 h */
    int64_t inbox_bytes;      /* default 1 GiB; at the bound reading stops (I6) */
    int64_t session_ms;       /* a session not used for so long ends: default 24 h */
    int64_t sessions;         /* default 10,000 */
    int64_t topics;           /* that callers have named: default 10,000 */
    int64_t keys;             /* posts that are remembered, with a key or without: default 1,000,000 */
    int user_percent;         /* of sessions, topics, keys, outbox and inbox: what one user may hold, default 80 (D6) */
};
extern const struct rb_broker_config rb_broker_config_default;

/* Borrowed by everything in this room. */
struct rb_ports {
    struct rb_clock *clock;
    struct rb_random *random;
    struct rb_disk *disk;
    struct rb_relay *relay;
    struct rb_store *store;
    struct rb_tick *tick;
    struct rb_vault *vault;
    const struct rb_broker_config *config;
};

struct rb_accounts;
struct rb_topics;
struct rb_budgets;
struct rb_outbox;
struct rb_inbox;
struct rb_sessions;
struct rb_events;

struct rb_broker {
    struct rb_ports ports;
    struct rb_events *events;
    struct rb_budgets *budgets;
    struct rb_accounts *accounts;
    struct rb_topics *topics;
    struct rb_outbox *outbox;
    struct rb_inbox *inbox;
    struct rb_sessions *sessions;
};

/* Makes the parts and loads them from rows; a row or chain with an attempt in flight starts as unknown or uncertain
 * (T5). Reads the slot file and counter (T4, R3). Nothing is sent before rb_broker_start. */
enum rb_status rb_broker_new(const struct rb_ports *ports, struct rb_broker **ret, struct rb_error *err);
/* Begins to work: refreshes, sends, polls, revokes. */
void rb_broker_start(struct rb_broker *broker);
/* For the tick: rebuilds memory from rows after a rollback. When it fails memory is not what the rows say, and the
 * process has to end: a queue with a hole would send out of order, a cursor ahead of its row would step over messages. */
enum rb_status rb_broker_reload(struct rb_broker *broker);
/* Graceful stop: starts nothing new. */
void rb_broker_stop(struct rb_broker *broker);
/* No token call (refresh, login, revoke) is under way: shutdown waits for it (R1). */
bool rb_broker_quiet(struct rb_broker *broker);
void rb_broker_free(struct rb_broker *broker);

#endif
