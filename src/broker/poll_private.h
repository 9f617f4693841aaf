/* A poll inside: poll.c (its way from start to end), poll_answer.c (what is stored), poll_fetch.c (what only the
 * relay has). */
#ifndef RB_POLL_PRIVATE_H
#define RB_POLL_PRIVATE_H

#include "session_private.h"

struct rb_poll_state;

/* One topic of a poll. */
struct rb_poll_entry {
    struct rb_inbox_watch watch;
    struct rb_poll_state *state;
    struct rb_topic *topic;
    char *since;     /* still to be read from the relay after this id; NULL: nothing */
    char *named;     /* nothing followed this id at the relay; it may come to be stored here */
    int64_t after;   /* what is stored here is given from here on */
    int64_t head;    /* the topic's when the relay was asked */
    int limit;       /* of a page from the relay */
    bool by_poll;    /* the relay has no pages of it (any more), only polls */
    bool from_relay; /* it gave something: the inbox goes on with the next poll */
};

/* One page asked of the relay for a poll. It outlives the poll if the caller goes. */
struct rb_poll_fetch {
    struct rb_list node; /* in the sessions */
    struct rb_poll_state *state;
    struct rb_poll_entry *entry;
};

struct rb_poll_fetched {
    size_t entry, begin, message_id, timestamp, payload, metadata; /* offsets of the ends */
};

struct rb_poll_state {
    struct rb_list node, in_session;
    struct rb_sessions *sessions;
    struct rb_session *session;
    struct rb_account *account;
    struct rb_poll *poll;
    struct rb_effect effect;
    struct rb_timer timer;
    struct rb_timer retry; /* of a read at the relay that failed, or of an answer without room */
    uint64_t connection;
    int64_t ends_ms;
    size_t max_bytes;
    bool effect_set, parked, had_since, more_fetched;
    bool late;    /* its time is up, but something is just being learnt from the relay */
    size_t first; /* the entry that is read from the relay first: by chance, so that none is always last */
    struct rb_poll_fetch *fetch;
    struct rb_poll_fetched *fetched;
    size_t fetched_count;
    struct rb_str fetched_bytes;
    size_t count;
    struct rb_poll_entry entries[];
};

/* poll.c: each ends the poll, and the state with it. */
void rb_poll_finish(struct rb_poll_state *state, const struct rb_poll_item *items, size_t count, bool has_more);
void rb_poll_fail(struct rb_poll_state *state, enum rb_status status, const char *text);
/* Reads on, answers or parks it, whatever is next. The state may be gone then. */
void rb_poll_proceed(struct rb_poll_state *state);

/* poll_answer.c: answers if there is anything, or if `empty_too`. True: the state is gone. */
bool rb_poll_try_answer(struct rb_poll_state *state, bool empty_too);

/* Every topic's start is known: an empty answer promises what comes from now on (I2). */
bool rb_poll_is_anchored(const struct rb_poll_state *state);

/* poll_fetch.c: what is still to be read from the relay, or NULL. */
struct rb_poll_entry *rb_poll_to_fetch(struct rb_poll_state *state);
/* Starts reading it, or waits for the topic's start first. The state may be gone then. */
void rb_poll_start_fetch(struct rb_poll_state *state, struct rb_poll_entry *entry);

/* For the retry timer: the read is tried again. */
void rb_poll_fetch_again(struct rb_timer *timer);

#endif
