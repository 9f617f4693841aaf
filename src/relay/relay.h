/* Relay: the upstream pulsar-relay as typed calls. One function a call; each ends in one of three ways (hard case O1):
 * certainly not executed, executed, unknown. The wire contract (paths, bodies, what each status means) is known here
 * and nowhere else.
 *
 * A call is started with a filled request; the answer comes to `done` exactly once, never inside the starting function
 * (T8). Request strings are copied by the start. An answer and what it points to live until `done` returns.
 * Errors of the relay arrive as `problem`; its own text (`detail`) is foreign: printable-escaped before it is shown,
 * and never carried from /auth/ calls beyond the two sentences of R4. */
#ifndef RB_RELAY_H
#define RB_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "carrier.h"
#include "clock.h"
#include "str.h"

enum rb_end {
    RB_END_NOT_EXECUTED, /* never connected, or refused by the relay itself before it did anything */
    RB_END_EXECUTED,     /* done, and the answer is whole */
    RB_END_UNKNOWN,      /* anything else: it may have been done, or may yet be */
};

/* Why a call did not succeed. */
enum rb_problem {
    RB_PROBLEM_NONE,
    RB_PROBLEM_UNREACHABLE,  /* never connected */
    RB_PROBLEM_LOST,         /* no whole answer, or an answer that is not the relay's (HTML, wrong types, a redirect) */
    RB_PROBLEM_TOO_LONG,     /* the answer is above the cap */
    RB_PROBLEM_SERVER,       /* 5xx */
    RB_PROBLEM_RATE,         /* 429 in the relay's JSON; retry_after_ms may be set */
    RB_PROBLEM_UNAUTHORIZED, /* 401 in the relay's JSON: the bearer (or password) is not accepted */
    RB_PROBLEM_TOKEN_REFUSED, /* refresh only: 401 with one of the two sentences of R4; the chain is dead */
    RB_PROBLEM_FORBIDDEN,     /* 403 in the relay's JSON */
    RB_PROBLEM_NOT_FOUND,     /* 404 in the relay's JSON */
    RB_PROBLEM_EXISTS,        /* 400 or 409 on creating a topic */
    RB_PROBLEM_INVALID,       /* 400 or 422 in the relay's JSON */
    RB_PROBLEM_TOO_LARGE,     /* 413 in the relay's JSON */
};
const char *rb_problem_text(enum rb_problem problem);

/* The relay as an account sees it. All borrowed for the length of the call's start. */
struct rb_relay_peer {
    const char *url;     /* normalised */
    const char *ca_file; /* or NULL */
};

struct rb_call; /* one call under way */

/* What every answer has. */
struct rb_answer {
    enum rb_end end;
    enum rb_problem problem;
    int status;             /* HTTP status, 0 if none */
    char detail[256];       /* the relay's sentence, or the carrier's cause; printable; empty for /auth/ calls' 4xx */
    struct rb_span body;    /* the relay's own JSON body where the answer is the relay's; else empty. Not for logs. */
    int64_t retry_after_ms; /* -1 if none */
    int64_t relay_wall_ms;  /* -1 if unknown */
};

struct rb_relay;

/* The carrier is borrowed. */
enum rb_status rb_relay_new(struct rb_carrier *carrier, struct rb_relay **ret);
/* Abandons all calls without their `done`. */
void rb_relay_free(struct rb_relay *relay);
/* Ends a call without its `done`; what was sent may still arrive (R1). */
void rb_call_abandon(struct rb_call *call);
/* The number of calls under way. */
size_t rb_relay_calls(const struct rb_relay *relay);

enum { RB_RELAY_TROUBLE_MAX = 300 };
/* What is wrong with a relay: its last call had no answer of its own, or a 5xx. "": nothing known. Printable. */
const char *rb_relay_trouble(const struct rb_relay *relay, const char *url);

/* Deadlines from the start of a call. R1: a refresh is cut only at its own. */
enum {
    RB_REFRESH_DEADLINE_MS = 5 * 60 * 1000,
    /* With the wait for a token still below the 30 s after which the Python client gives up. */
    RB_CALL_DEADLINE_MS = 20 * 1000,
    RB_POLL_GRACE_MS = 10 * 1000, /* added to a poll's own timeout */
};

/* --- tokens (contract §2). The secrets in an answer are in carrier memory, wiped after `done`. --- */
struct rb_tokens {
    struct rb_span access_token, refresh_token; /* visible ASCII only (D8) */
    struct rb_span refresh_token_secondary;     /* empty when null */
    int64_t expires_in_s;                       /* 3600 when missing; clamped to [1, 7 days] */
};
typedef void (*rb_tokens_done)(void *arg, const struct rb_answer *answer, const struct rb_tokens *tokens);
typedef void (*rb_plain_done)(void *arg, const struct rb_answer *answer);

/* Each returns RB_NO_MEMORY when it could not start, and RB_INVALID for what must never be sent: a token or key that is
 * not visible ASCII, a topic in a path that is not rb_topic_name_valid, a number out of its range. `done` does not come
 * then. `ret` may be NULL when the caller never abandons. The second argument of a `done` (tokens, me, stored) is NULL
 * unless the end is RB_END_EXECUTED; counts and spans are zero then. */
enum rb_status rb_relay_login(struct rb_relay *relay, const struct rb_relay_peer *peer, const char *username,
                              struct rb_span password, rb_tokens_done done, void *arg, struct rb_call **ret);
enum rb_status rb_relay_refresh(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span refresh_token,
                                rb_tokens_done done, void *arg, struct rb_call **ret);
/* POST /auth/token/revoke with revoke_chain: 204 is EXECUTED. */
enum rb_status rb_relay_revoke_chain(struct rb_relay *relay, const struct rb_relay_peer *peer,
                                     struct rb_span refresh_token, rb_plain_done done, void *arg, struct rb_call **ret);
/* POST /auth/logout: deny-lists the access token; a 500 is not to be retried (contract §2). */
enum rb_status rb_relay_logout(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                               rb_plain_done done, void *arg, struct rb_call **ret);

/* --- calls with a bearer --- */
struct rb_me {
    struct rb_span user_id, username; /* unescaped, printable checked by nobody yet */
};
typedef void (*rb_me_done)(void *arg, const struct rb_answer *answer, const struct rb_me *me);
enum rb_status rb_relay_me(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                           rb_me_done done, void *arg, struct rb_call **ret);
/* GET /auth/sessions; the body is the answer. */
enum rb_status rb_relay_sessions(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                                 rb_plain_done done, void *arg, struct rb_call **ret);

/* --- messages (contract §4) --- */
struct rb_outgoing {
    struct rb_span topic;    /* characters, unescaped */
    struct rb_span payload;  /* the caller's own JSON bytes, an object, checked */
    struct rb_span metadata; /* checked JSON object of strings with the stamp added, or empty */
    int64_t ttl_s;           /* 0: none */
};
struct rb_stored {
    struct rb_span message_id, timestamp; /* unescaped */
};
typedef void (*rb_post_done)(void *arg, const struct rb_answer *answer, const struct rb_stored *stored);
enum rb_status rb_relay_post(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                             const struct rb_outgoing *message, const char *idempotency_key, rb_post_done done,
                             void *arg, struct rb_call **ret);
/* The exact length in bytes of the body that rb_relay_post would send; 0: out of memory. */
size_t rb_relay_post_bytes(const struct rb_outgoing *message);

struct rb_incoming {
    struct rb_span topic, message_id, timestamp; /* unescaped */
    struct rb_span payload;                      /* the relay's own JSON bytes */
    struct rb_span metadata;                     /* the relay's own JSON bytes, an object; empty when null or missing */
    bool from_waiter; /* a waiter's item (it has a `type`): a wake-up, never a reason to move a cursor (contract §5) */
};
typedef void (*rb_poll_done)(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages,
                             size_t count, bool has_more);
struct rb_since {
    struct rb_span topic;
    struct rb_span message_id; /* empty: the topic is polled without an entry in `since` */
};
/* POST /messages/poll. With no entry at all `since` is left out: the relay only waits. timeout 1..60 s. Answers are
 * capped at answer_max_bytes (TOO_LONG, I5). */
enum rb_status rb_relay_poll(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                             const struct rb_since *topics, size_t count, int timeout_s, size_t answer_max_bytes,
                             rb_poll_done done, void *arg, struct rb_call **ret);

/* GET /api/v1/topics/{name}/messages, exclusive cursor (empty: none). `next_cursor` is empty when null. */
typedef void (*rb_page_done)(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages,
                             size_t count, struct rb_span next_cursor);
enum rb_status rb_relay_page(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                             struct rb_span topic, bool descending, int limit, struct rb_span cursor,
                             size_t answer_max_bytes, rb_page_done done, void *arg, struct rb_call **ret);

/* --- topics (contract §6); the body is the answer --- */
enum rb_topic_call { RB_TOPIC_LIST, RB_TOPIC_GET, RB_TOPIC_CREATE, RB_TOPIC_UPDATE, RB_TOPIC_DELETE };
struct rb_topic_request {
    enum rb_topic_call call;
    struct rb_span name;        /* unused for LIST */
    struct rb_span description; /* CREATE, UPDATE: characters, unescaped */
    bool has_description;
};
enum rb_status rb_relay_topic(struct rb_relay *relay, const struct rb_relay_peer *peer, struct rb_span access_token,
                              const struct rb_topic_request *request, rb_plain_done done, void *arg,
                              struct rb_call **ret);

/* GET /health, without a token: EXECUTED when something that speaks like a relay answers. */
enum rb_status rb_relay_health(struct rb_relay *relay, const struct rb_relay_peer *peer, rb_plain_done done, void *arg,
                               struct rb_call **ret);

/* Contract §6: 1–255 characters, letters and digits (Unicode ones too), '_', '-', at least one letter or digit, not
 * "stats". */
bool rb_topic_name_valid(struct rb_span name);

#endif
