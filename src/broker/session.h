/* Session: a poller on the wire face, known by the random id in its placeholder, and what it has confirmed
 * (I8, I11).
 *
 * Handing out moves nothing. Confirmed is what a `since` says; for a session that never sent a `since`, also a later
 * request on the same connection. On a new connection without since[topic]: again from confirmed. Every login and every
 * refresh opens a session of its own. */
#ifndef RB_SESSION_H
#define RB_SESSION_H

#include "inbox.h"

enum { RB_SESSION_ID_BYTES = 16 };

struct rb_session;

enum rb_status rb_sessions_new(const struct rb_ports *ports, struct rb_accounts *accounts, struct rb_topics *topics,
                               struct rb_inbox *inbox, struct rb_outbox *outbox, struct rb_sessions **ret,
                               struct rb_error *err);
void rb_sessions_free(struct rb_sessions *sessions);
enum rb_status rb_sessions_reload(struct rb_sessions *sessions);

/* A row in this tick. At the bound the one that was unused for longest ends, of those that never polled; RB_FULL: all
 * did (the caller says 503). */
enum rb_status rb_session_open(struct rb_sessions *sessions, struct rb_account *account, const char *door, int64_t uid,
                               struct rb_span username, struct rb_session **ret, struct rb_error *err);
/* Whether there is one of this door and uid, be its account retired or not. */
bool rb_session_is_known(struct rb_sessions *sessions, const unsigned char id[RB_SESSION_ID_BYTES], const char *door,
                         int64_t uid);
/* By its id; it must be of this door and uid, and of an account that is not retired, else NULL (R9). Constant time is
 * not needed: ids are random and the look-up is by hash. */
struct rb_session *rb_session_find(struct rb_sessions *sessions, const unsigned char id[RB_SESSION_ID_BYTES],
                                   const char *door, int64_t uid);
const unsigned char *rb_session_id(const struct rb_session *session);
struct rb_account *rb_session_account(const struct rb_session *session);
/* It is in use: a session that nobody uses ends after a while. A poll counts as use by itself. */
void rb_session_touch(struct rb_sessions *sessions, struct rb_session *session);
/* Ends it (row deleted in this tick). It must not be used afterwards. */
void rb_session_end(struct rb_sessions *sessions, struct rb_session *session);

/* --- a wire poll --- */
enum { RB_POLL_TOPICS_MAX = 20, RB_POLL_MESSAGES_MAX = 100 };
struct rb_poll_topic {
    struct rb_span name; /* checked */
    bool has_since;
    struct rb_span since; /* a relay's id, an outbox id (O10), "0-0" or "" (both: from the beginning) */
};
struct rb_poll_item {
    struct rb_span topic, message_id, timestamp, payload, metadata;
    bool from_catch_up; /* catch-up shape, or the waiter's shape (contract §5) */
};
struct rb_poll {
    /* request; copied by start */
    struct rb_session *session; /* or NULL: an anonymous poller, without a place */
    struct rb_account *account;
    int64_t uid;
    const struct rb_poll_topic *topics;
    size_t topic_count;
    int64_t timeout_ms;
    uint64_t connection;
    size_t max_bytes; /* of payloads in the answer (I11); at least one message is given */
    /* Whether messages can be answered now; while not, the poll waits, and at its end hears that nothing came. NULL:
     * always. */
    bool (*has_room)(struct rb_poll *poll);

    /* `done` fires once, after the commit of what it stands on, never inside start. Items live until it returns.
     * RB_UNAVAILABLE: the account has no login, an id not here could not be read from the relay, or nothing came and
     * a topic's start could not be learnt (I2): see err. */
    void (*done)(struct rb_poll *poll, enum rb_status status, const struct rb_error *err,
                 const struct rb_poll_item *items, size_t count, bool has_more);
    void *arg;
    void *state; /* private */
};
/* Not RB_OK (RB_INVALID; RB_UNAVAILABLE: no login; RB_FULL: too many topics, or too many places of sessions in them; RB_NO_MEMORY): it has not begun, and `done` will not come. A topic
 * that is named twice counts once. */
enum rb_status rb_poll_start(struct rb_sessions *sessions, struct rb_poll *poll, struct rb_error *err);
/* The caller has gone or the server stops: `done` will not come; nothing is confirmed by it. */
void rb_poll_cancel(struct rb_poll *poll);

struct rb_session_stats {
    unsigned sessions, parked;
};
void rb_session_stats(struct rb_sessions *sessions, struct rb_session_stats *ret);

#endif
