/* Model: a pulsar-relay as a pure state machine: requests in, answers out, no socket, no clock and no random of its
 * own. It speaks the relay wire contract with its limits and traps, in both flavours of message ids. The embedded
 * fake relay serves it over HTTP, the simulator talks to it directly and checks the broker's promises against what
 * it knows.
 *
 * Left out: the device flow (its calls answer as a relay without an identity provider), browser pages, web sockets. */
#ifndef RB_MODEL_H
#define RB_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "random.h"
#include "str.h"

struct rb_model;
struct rb_model_poll;

enum rb_flavour { RB_FLAVOUR_MEMORY, RB_FLAVOUR_VALKEY };

struct rb_model_config {
    enum rb_flavour flavour;
    int64_t access_token_s;  /* default 600 */
    int64_t refresh_token_s; /* default 90 days */
    bool rate_limits;        /* default true */
    size_t kept_messages;    /* a topic's newest; 0: 10,000 memory, 1,000,000 valkey */
};
#define RB_MODEL_CONFIG_DEFAULT ((struct rb_model_config){RB_FLAVOUR_MEMORY, 600, 90 * 86400, true, 0})

struct rb_model_request {
    const char *method, *path; /* raw, with query */
    struct rb_span content_type, bearer, idempotency_key, body;
    bool chunked;        /* the body came chunked: no 413 */
    const char *address; /* the client's address: rate limits go by it */
    struct rb_span host; /* the Host header: it is checked unless it is empty, and makes the Location of a 307 */
};

struct rb_model_answer {
    int status; /* 0: the connection ends without an answer (a poll that waited when the relay restarted) */
    const char *content_type; /* static; NULL: no body */
    struct rb_str body;       /* owned by the caller (rb_str_free) */
    char header[2][512];      /* further "Name: value" headers, or empty */
    bool close;               /* the relay closes the connection after it (every 500) */
};

/* Clock and random are borrowed. The wall time of the clock stamps messages and tokens. */
enum rb_status rb_model_new(struct rb_clock *clock, struct rb_random *random, const struct rb_model_config *config,
                            struct rb_model **ret);
void rb_model_free(struct rb_model *model);

/* Adds or changes a user; `permissions`: "admin" (may do everything), "" (reads and writes), "read", "write" or
 * "none". */
enum rb_status rb_model_user(struct rb_model *model, const char *username, const char *password,
                             const char *permissions);
void rb_model_user_active(struct rb_model *model, const char *username, bool active);
/* The user goes; its tokens stay and are good for nothing. */
void rb_model_user_remove(struct rb_model *model, const char *username);

/* Executes one request. A poll that has to wait returns false, with `*ret_poll` to be answered later through
 * `ready`; every other request returns true with `*answer` filled. `ready` may be called from inside a later
 * rb_model_* call, never this one. */
bool rb_model_request(struct rb_model *model, const struct rb_model_request *request, struct rb_model_answer *answer,
                      void (*ready)(void *arg, struct rb_model_answer *answer), void *arg,
                      struct rb_model_poll **ret_poll);
/* The client has gone: nobody hears the answer, but the poll keeps its place among the 50 until its timeout. */
void rb_model_poll_forget(struct rb_model *model, struct rb_model_poll *poll);

/* --- what an operator or the weather does --- */
/* Stores a message for the user as if another of its clients had posted it: no limit, no token. */
enum rb_status rb_model_publish(struct rb_model *model, const char *username, struct rb_span topic,
                                struct rb_span payload);
/* The process restarts: waiters (their polls end with status 0) and rate limits go. Memory: everything goes,
 * idempotency too, and users get new ids; Valkey: what is stored stays, remembered answers too. Access tokens keep
 * their signature. */
void rb_model_restart(struct rb_model *model);
void rb_model_wipe(struct rb_model *model); /* stored messages and topics go, ids start anew */
void rb_model_revoke_all(struct rb_model *model, const char *username); /* every chain of the user */
void rb_model_storage_dead(struct rb_model *model, bool dead);          /* every request that stores or reads: 500 */
/* Storing to that topic (of anybody) fails: bulk items are "rejected", single posts 500. */
void rb_model_reject_topic(struct rb_model *model, const char *topic, bool reject);
/* A waiter misses what is published in the very millisecond in which it began to wait: the gap between the two
 * steps. */
void rb_model_waiter_gap(struct rb_model *model, bool gap);
void rb_model_rate_limits(struct rb_model *model, bool on);
/* Waiters hear of each message on its own, up to `delay_ms` late and so out of stored order, as with Valkey; 0: at
 * once. */
void rb_model_waiter_shuffle(struct rb_model *model, int64_t delay_ms);

/* --- what the model knows, for tests --- */
struct rb_model_counts {
    uint64_t requests;  /* all */
    uint64_t logins;    /* that gave tokens */
    uint64_t refreshes; /* within the limits, with whatever token */
    uint64_t refreshes_ok, replays;
    uint64_t chains_revoked;      /* that had a live token when a replay or a revoke with revoke_chain took them */
    uint64_t revokes;             /* well-formed calls */
    uint64_t posts, bulks, polls; /* within the limits and valid, remembered answers too */
    uint64_t rate_limited, refused_401;
};
void rb_model_counts(const struct rb_model *model, struct rb_model_counts *ret);
size_t rb_model_topic_length(const struct rb_model *model, const char *username, const char *topic);
struct rb_model_message {
    struct rb_span message_id, payload, metadata; /* valid until the model is used again */
};
/* Message `index` (0: the oldest kept) of the topic in stored order; false past the end. */
bool rb_model_topic_message(const struct rb_model *model, const char *username, const char *topic, size_t index,
                            struct rb_model_message *ret);
/* Topic `index` of all users in the order in which they were first used (deleted ones with messages too); false past
 * the end. `*ret_username` is NULL when the user has been removed. Both strings are valid until the model is used
 * again. */
bool rb_model_topic_at(const struct rb_model *model, size_t index, const char **ret_username, const char **ret_topic);
/* User `index` in the order of creation, NULL past the end. */
const char *rb_model_user_at(const struct rb_model *model, size_t index);
/* How many refresh tokens of the user are live, over how many chains. */
void rb_model_live_tokens(const struct rb_model *model, const char *username, size_t *ret_tokens, size_t *ret_chains);
size_t rb_model_waiting_polls(const struct rb_model *model);

#endif
