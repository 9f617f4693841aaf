/* The inbox inside: inbox.c (what others see), inbox_lane.c (upstream polls), inbox_page.c (starts, checks and pages
 * of one topic), inbox_land.c (facts: what was read, into rows), inbox_examine.c (poison), inbox_retention.c. */
#ifndef RB_INBOX_PRIVATE_H
#define RB_INBOX_PRIVATE_H

#include "account.h"
#include "event.h"
#include "gap_rows.h"
#include "inbox.h"
#include "seen.h"
#include "share.h"
#include "stamp.h"
#include "message_rows.h"
#include "relay_id.h"

enum {
    RB_GROUP_MAX = 20,           /* topics in one upstream poll (contract §5) */
    RB_PAGE_MAX = 100,           /* messages in one page (contract §6) */
    RB_SINGLES_MAX = 8,          /* reads of one topic alone, at once and per account */
    RB_POLLS_MAX = 32,           /* polls of several topics: with the singles 40 of the 50 places (contract §5) */
    RB_LONG_POLLS_MAX = 16,      /* of them with the whole timeout, so that a place is always free within seconds */
    RB_SHORT_TIMEOUT_S = 2,      /* of the others */
    RB_TURN_TIMEOUT_S = 1,       /* of all, while topics wait for a place */
    RB_ALONE_TIMEOUT_S = 1,      /* of a poll that only tries whether a topic can be read */
    RB_MERGE_HOLD_MS = 1500,     /* topics wait so long for another poll's end, to share the next one */
    RB_CHECK_MS = 5 * 60 * 1000, /* a silent topic's newest id is looked at so often (I3) */
    RB_UNWANTED_MS = 10 * 60 * 1000,
    RB_RECENT_IDS = 256,
    RB_FEW_IDS = 500, /* of a topic with no more all are looked through */
    RB_LANDING_TRIES = 3,
    RB_FULL_USERS_MAX = 100, /* who are named when their share is full */
    RB_NO_ROOM_MS = 3000,    /* the disk of this host is asked again sooner than a relay would be */
};

/* What a topic needs next.
 *
 *     off ──wanted──▶ anchor ──start committed──▶ follow ◀──caught up── page ◀──too much at once── follow
 *                       └─404─▶ drain ──▶ follow    │ ▲                  └──one message cannot be read──▶ examine ──▶ page
 *                                                   ▼ │
 *                                                  check ──relay was wiped──▶ follow, from the beginning */
enum rb_feed_step {
    RB_FEED_OFF,     /* not followed */
    RB_FEED_ANCHOR,  /* its newest id is asked for (I2) */
    RB_FEED_DRAIN,   /* no such topic, but its messages may be there: read to the end, discarded (I2) */
    RB_FEED_CHECK,   /* is the relay still the one that the cursor is of? (I3) */
    RB_FEED_FOLLOW,  /* polled */
    RB_FEED_PAGE,    /* read alone, in pages of `limit` (I5) */
    RB_FEED_EXAMINE, /* the next message cannot be read: find the way past it (I4) */
};

struct rb_lane;
struct rb_exam;
struct rb_landing;

/* A topic, as the inbox follows it. Made once, lives as long as the topic in memory. */
struct rb_feed {
    struct rb_inbox *inbox;
    struct rb_lane *lane;
    struct rb_topic *topic;
    struct rb_list node;   /* in the lane: least recently read first */
    struct rb_list landed; /* in the inbox: a fact of it was applied in this tick */
    struct rb_list watches;
    enum rb_feed_step step, then; /* then: once the landed fact is committed */
    bool calling;                 /* an upstream call is under way */
    bool landing;                 /* a fact of it waits for its commit: nothing is asked with the old cursor */
    bool alone;                   /* polled alone until that has worked (I4) */
    bool wake_all;                /* anchored: also who waits for no message is woken */
    bool woken;                   /* the waiter named a message that no catch-up has shown yet */
    bool must_check;
    bool leaving; /* nobody wants it: not polled again */
    int64_t checked_ms, not_before_ms;
    int failures, limit;
    char *drained; /* RB_FEED_DRAIN: the newest id discarded, or NULL */
    int check_stage;
    char *oldest_seen, *gap_cursor; /* RB_FEED_CHECK; gap_cursor: told already that what follows is not kept */
    struct rb_exam *exam;

    /* caches of rows, dropped by a reload */
    bool loaded, ordered; /* ordered: the ids of the rows ascend with n */
    char *anchor;
    int64_t incarnation; /* of the relay that the cursor is of (R7) */
    struct rb_stamp_set *stamps;
    bool rereading; /* I3: from the beginning; what is held is dropped by id */
    bool held_loaded;
    struct rb_id_set held;
    struct rb_id_filter ids; /* of the rows, once somebody asked for one that is not easily found */
    struct {
        uint64_t hash;
        int64_t n;
    } recent[RB_RECENT_IDS];
};

/* An account's upstream reads. */
struct rb_lane {
    struct rb_inbox *inbox;
    struct rb_list node, feeds, reads;
    int64_t account;
    struct rb_timer timer;
    bool dirty;
    int failures, denied;
    int64_t not_before_ms, hold_until_ms;
    int singles, polls; /* under way */
    bool crowded;       /* topics wait for a place */
};

enum rb_read_kind { RB_READ_POLL, RB_READ_DRAIN, RB_READ_ANCHOR, RB_READ_CHECK, RB_READ_PAGE, RB_READ_EXAMINE };

/* One upstream call under way. */
struct rb_read {
    struct rb_list node; /* in the lane */
    struct rb_lane *lane;
    enum rb_read_kind kind;
    struct rb_call *call;
    uint64_t serial; /* of the token */
    int64_t ends_ms; /* a poll's own timeout */
    int limit;
    bool alone;
    size_t count;
    struct rb_feed *feeds[RB_GROUP_MAX];
    char *cursors[RB_GROUP_MAX]; /* what was asked with */
};

struct rb_inbox {
    const struct rb_ports *ports;
    struct rb_accounts *accounts;
    struct rb_topics *topics;
    struct rb_events *events;
    struct rb_message_rows *rows;
    struct rb_gap_rows *gaps;
    struct rb_list lanes, landed;
    struct rb_effect effect;
    struct rb_account_watch account_watch;
    struct rb_timer retry, retention;
    bool effect_set, running, told_full;
    struct rb_share share;                 /* bytes, by the user that a topic counts as (D6) */
    bool user_full;                        /* somebody's share is full, or was at the last look */
    int64_t full_users[RB_FULL_USERS_MAX]; /* at the last look, and told */
    size_t full_user_count;
    bool no_room; /* the disk had no room for what was read: waits for the retry timer */
    int64_t (*floor)(void *arg, int64_t topic_id);
    void *floor_arg;
    int64_t prune_topic; /* where the next slice begins */
    uint64_t id_key;
    struct rb_inbox_stats stats;
};

/* inbox.c */
struct rb_feed *rb_feed_of(struct rb_inbox *inbox, struct rb_topic *topic); /* NULL: out of memory */
void rb_feed_set_step(struct rb_feed *feed, enum rb_feed_step step);
bool rb_feed_load(struct rb_feed *feed); /* anchor and incarnation; false: there is none */
/* The cursor is one of the relay as it is now. */
void rb_feed_renew(struct rb_feed *feed);
/* And its row. The span may be the feed's own. */
void rb_feed_set_anchor(struct rb_feed *feed, struct rb_span id);
void rb_feed_remember(struct rb_feed *feed, struct rb_span id, int64_t n);
struct rb_account *rb_lane_account(const struct rb_lane *lane);
/* Runs what is to be done after the commit of this tick. */
void rb_inbox_kick(struct rb_inbox *inbox);
bool rb_inbox_is_full(const struct rb_inbox *inbox);
/* D6: what counts as this user's topics may take more of the inbox. */
bool rb_inbox_has_room_for(const struct rb_inbox *inbox, int64_t uid);

/* inbox_lane.c */
void rb_lane_run(struct rb_lane *lane);
void rb_lane_kick(struct rb_lane *lane);
void rb_lane_stop(struct rb_lane *lane, bool abandon); /* not `abandon`: the relay is gone, and the calls with it */
int64_t rb_inbox_backoff_ms(struct rb_inbox *inbox, int failures);
void rb_feed_delay(struct rb_feed *feed);
/* A catch-up read has come to the topic's end. */
void rb_feed_caught_up(struct rb_feed *feed);
/* Makes a read and takes it up into the lane, or NULL. */
struct rb_read *rb_read_new(struct rb_lane *lane, enum rb_read_kind kind);
/* `cursor` is copied; false: out of memory. */
bool rb_read_add(struct rb_read *read, struct rb_feed *feed, const char *cursor);
/* The call is over: feeds are free again, the read leaves the lane (free it with rb_read_free). */
void rb_read_end(struct rb_read *read);
/* It is over with an answer, or the end of one: its feeds stand behind all others now (D6). */
void rb_read_answered(struct rb_read *read);
void rb_read_free(struct rb_read *read);
void rb_lane_succeeded(struct rb_lane *lane);
/* Backs off, asks for a new token, or isolates topics, as the problem says. */
void rb_lane_failed(struct rb_lane *lane, struct rb_read *read, const struct rb_answer *answer);

/* inbox_page.c */
/* Starts the call that a feed's step asks for (anchor, check, page, examine). */
void rb_feed_read(struct rb_feed *feed, const struct rb_relay_peer *peer, struct rb_span token, uint64_t serial);

/* inbox_land.c */
struct rb_landing *rb_landing_new(struct rb_inbox *inbox);
/* A topic's cursor goes from `from` (NULL: had none) to `to`. False: out of memory. */
bool rb_landing_part(struct rb_landing *landing, struct rb_feed *feed, const char *from, struct rb_span to,
                     enum rb_feed_step then);
/* Of the newest part: what was left out, and why (a literal). */
bool rb_landing_gap(struct rb_landing *landing, const char *reason, struct rb_span until);
/* Of the newest part: from its beginning again (I3). */
void rb_landing_reset(struct rb_landing *landing);
/* A message of the newest part, copied, its stamp taken off. */
bool rb_landing_message(struct rb_landing *landing, const struct rb_incoming *message);
void rb_landing_free(struct rb_landing *landing);
/* Hands it to the tick. NULL, or one that ran out of memory (`whole` false): its feeds try again later. */
void rb_landing_land(struct rb_landing *landing, bool whole);
/* I3: re-anchors at the beginning. */
void rb_feed_reset(struct rb_feed *feed, const char *reason);

/* inbox_examine.c */
struct rb_probe {
    bool descending;
    int limit;
    char cursor[320]; /* "": none */
};
bool rb_exam_begin(struct rb_feed *feed);
void rb_exam_end(struct rb_feed *feed);
/* What to read next; false: nothing for now (the feed was delayed). */
bool rb_exam_next(struct rb_feed *feed, struct rb_probe *ret);
void rb_exam_read(struct rb_feed *feed, const struct rb_answer *answer, const struct rb_incoming *messages,
                  size_t count);

/* inbox_retention.c */
void rb_inbox_retention(struct rb_timer *timer);

#endif
