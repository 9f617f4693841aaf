/* Outbox: posts that callers handed over, until the relay has accepted or refused them (O1–O10).
 *
 *     queued ──attempt committed──▶ sending ──executed──▶ accepted
 *       ▲                            │ not executed: queued again (with backoff), or refused where the relay refuses it for good
 *       │                            └ unknown, or restart ▶ unknown ──after 10 s, look at the topic──▶ accepted (found)
 *       └────────────────────────────────────────────────────────────── not found: maybe_duplicate
 *     queued ──expires──▶ expired
 *     queued, unknown ──another account takes the name──▶ expired (an unknown one: maybe_duplicate)
 *
 * FIFO per account and topic: a later row waits for an earlier one. One attempt at a time a row. */
#ifndef RB_OUTBOX_H
#define RB_OUTBOX_H

#include "broker.h"
#include "topic.h"

enum rb_post_state {
    RB_POST_QUEUED = 0,
    RB_POST_SENDING = 1,
    RB_POST_UNKNOWN = 2,
    /* ended; the literal `state < 3` in schema and statements means the above */
    RB_POST_ACCEPTED = 3,
    RB_POST_REFUSED = 4,
    RB_POST_EXPIRED = 5,
};
const char *rb_post_state_text(enum rb_post_state state);

struct rb_post {
    struct rb_account *account;
    struct rb_span topic;    /* characters; a valid name */
    struct rb_span payload;  /* the caller's JSON bytes: an object, checked (O8) */
    struct rb_span metadata; /* the caller's JSON bytes: an object of strings, checked; or empty */
    int64_t ttl_s;           /* passed on, 0: none */
    int64_t expires_wall_ms; /* 0: never */
    struct rb_span key;      /* the caller's idempotency key; empty: none */
    struct rb_span whole; /* what the key stands for, where it is more than this message (a bulk's body); else empty */
    const char *door;
    int64_t uid;
};

/* What is known of a row. Spans live until control returns to the loop. */
struct rb_post_view {
    int64_t id;
    enum rb_post_state state;
    struct rb_span topic;
    int64_t account;
    int64_t at_wall_ms, ended_wall_ms; /* 0: not ended */
    int64_t attempts;
    bool maybe_duplicate;
    struct rb_span message_id, timestamp; /* accepted */
    int status;                           /* refused: the relay's */
    struct rb_span detail;                /* refused: the relay's sentence, printable */
};

enum rb_status rb_outbox_new(const struct rb_ports *ports, struct rb_accounts *accounts, struct rb_topics *topics,
                             struct rb_budgets *budgets, struct rb_events *events, struct rb_outbox **ret,
                             struct rb_error *err);
void rb_outbox_free(struct rb_outbox *outbox);
enum rb_status rb_outbox_reload(struct rb_outbox *outbox);
void rb_outbox_start(struct rb_outbox *outbox);
void rb_outbox_stop(struct rb_outbox *outbox);

/* Adds a row in this tick. The same key within its life gives the earlier row (`*ret_repeated`); with another message
 * or whole RB_EXISTS (422). RB_FULL: the bounds are reached (503). RB_INVALID: see err. */
enum rb_status rb_outbox_add(struct rb_outbox *outbox, const struct rb_post *post, int64_t *ret_id, bool *ret_repeated,
                             struct rb_error *err);

/* As add, for `count` (at least one) posts of a caller that are one: all become rows in this tick, in this order, or
 * none does; all have keys or none has. Within their keys' lives all are the earlier rows; RB_EXISTS also where some of
 * these are forgotten and some are not: what is still remembered is not sent twice. */
enum rb_status rb_outbox_add_all(struct rb_outbox *outbox, const struct rb_post *posts, size_t count, int64_t *ret_ids,
                                 bool *ret_repeated, struct rb_error *err);

/* Waits for a row's end. Intrusive, owned by the caller; `done` fires once, after the commit of what it says and never
 * inside rb_outbox_wait: with the row ended; or still open, when wait_ms are over or when it cannot be sent now (relay
 * down, budget spent, a queue ahead: then after the commit of this tick); or with `committed` not RB_OK: the row's
 * commit failed, there is no row. O9: an end in the same tick as the timeout wins. It does not come after a commit with
 * an unknown outcome (RB_IO): the process has to end. */
struct rb_post_wait {
    struct rb_list node;
    struct rb_effect effect;
    struct rb_timer timer;
    int64_t id;
    struct rb_outbox *outbox;
    struct rb_topic *topic; /* NULL: the row was not open */
    int64_t at_wall_ms;
    int64_t deadline_ms;
    bool ending; /* `done` comes with the effect */
    void (*done)(struct rb_post_wait *wait, enum rb_status committed, const struct rb_post_view *view);
};
void rb_outbox_wait(struct rb_outbox *outbox, int64_t id, int64_t wait_ms, struct rb_post_wait *wait);
/* The caller has gone: `done` will not come. */
void rb_outbox_wait_cancel(struct rb_post_wait *wait);

/* RB_NOT_FOUND: no such row, or it was forgotten after its key's life. */
enum rb_status rb_outbox_view(struct rb_outbox *outbox, int64_t id, struct rb_post_view *ret);

/* Outbox ids as callers see them, "outbox-<n>", where a relay's message id could stand (O10). */
enum { RB_OUTBOX_ID_MAX = 32 };
void rb_outbox_id_print(int64_t id, char *ret);
bool rb_outbox_id_parse(struct rb_span text, int64_t *ret);

struct rb_outbox_stats {
    int64_t queued, sending, unknown, open_bytes;
    uint64_t accepted, refused, expired, retries, look_ups, maybe_duplicates;
    int64_t oldest_wall_ms; /* 0: none open */
};
void rb_outbox_stats(struct rb_outbox *outbox, struct rb_outbox_stats *ret);
/* Open rows of an account at once, for status. */
int64_t rb_outbox_open_of(struct rb_outbox *outbox, int64_t account);

#endif
