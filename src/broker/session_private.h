/* Sessions inside: session.c (who they are, and their places), poll*.c (a poll from start to answer), poll_batch.c
 * (stored messages, read once for all who wait at the same place). */
#ifndef RB_SESSION_PRIVATE_H
#define RB_SESSION_PRIVATE_H

#include "account.h"
#include "map.h"
#include "outbox.h"
#include "session.h"
#include "session_rows.h"
#include "share.h"

enum {
    RB_HANDED_MAX = 4, /* connections of a session whose last answer is remembered, a topic */
    RB_BATCHES_MAX = 16,
    RB_BATCH_BYTES = 1024 * 1024,
    RB_BATCHES_BYTES = 4 * 1024 * 1024,
};

/* What a session has confirmed of a topic. */
struct rb_place {
    struct rb_list node;     /* in the session */
    struct rb_list in_topic; /* in its topic's places */
    int64_t topic, n;
    bool has_row;
    /* What was handed out last, by connection: in memory only, it moves nothing (I8). */
    struct {
        uint64_t connection;
        int64_t n;
    } handed[RB_HANDED_MAX];
    unsigned next_handed;
};

struct rb_session {
    struct rb_map_node by_id;
    struct rb_list node; /* in order of the next look at their age */
    struct rb_list places, polls;
    unsigned char id[RB_SESSION_ID_BYTES];
    struct rb_account *account;
    char *door, *username;
    int64_t uid, used; /* used: as in the row, so at most a minute late */
    int64_t seen_ms;   /* of the clock that does not jump */
    bool has_row;
    bool sent_since; /* it keeps its place itself */
};

struct rb_batch;

struct rb_sessions {
    const struct rb_ports *ports;
    struct rb_accounts *accounts;
    struct rb_topics *topics;
    struct rb_inbox *inbox;
    struct rb_outbox *outbox;
    struct rb_session_rows *rows;
    unsigned char seed[RB_MAP_SEED_BYTES];
    struct rb_map by_id;
    struct rb_map topic_places; /* struct topic_places, by topic id */
    struct rb_list all, polls, fetches;
    struct rb_share share;  /* every session, by its user */
    struct rb_share places; /* every place, by its session's user */
    unsigned turn, to_look_at;
    struct rb_timer expiry;
    struct rb_account_watch account_watch;
    struct rb_batch *batches[RB_BATCHES_MAX];
    unsigned next_batch;
};

/* session.c */
struct rb_place *rb_place_find(struct rb_session *session, int64_t topic); /* NULL: none yet */
/* Whether it has one there, or may have one more (D6). */
bool rb_place_has_room(struct rb_sessions *sessions, struct rb_session *session, int64_t topic);
/* Makes or moves it, a row in this tick where that changes anything. NULL: out of memory. */
struct rb_place *rb_place_set(struct rb_sessions *sessions, struct rb_session *session, int64_t topic, int64_t n);
void rb_place_hand_out(struct rb_place *place, uint64_t connection, int64_t n);
int64_t rb_place_handed(const struct rb_place *place, uint64_t connection); /* -1: nothing */

/* poll.c */
void rb_polls_account_changed(struct rb_account_watch *watch, struct rb_account *account);
void rb_polls_drop(
    struct rb_sessions *sessions); /* all, without their `done`, when nothing of the relay can come any more */
void rb_polls_forget_session(struct rb_session *session); /* its polls go on without a place */

/* poll_batch.c */
struct rb_batch_message {
    int64_t n;
    struct rb_span message_id, timestamp, payload, metadata;
};
/* Stored messages of a topic after n, read once: up to RB_POLL_MESSAGES_MAX and about RB_BATCH_BYTES, at least one. */
struct rb_batch {
    unsigned holders;
    int64_t topic, after, head;
    size_t count;
    bool more; /* there were more when it was read */
    struct rb_batch_message messages[RB_POLL_MESSAGES_MAX];
    struct rb_str bytes;
};
/* Held until released. NULL: it could not be read. */
struct rb_batch *rb_batch_get(struct rb_sessions *sessions, struct rb_topic *topic, int64_t after);
void rb_batch_release(struct rb_batch *batch); /* NULL allowed */
void rb_batches_clear(struct rb_sessions *sessions);

#endif
