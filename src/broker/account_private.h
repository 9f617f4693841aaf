/* What the files of account and chain share. Nobody else includes it.
 *
 * Rows first: what happens to an account or a chain is written, then account_changed() marks the account until the tick
 * has ended. account_pump decides what to do next, always from a timer and only on committed rows: it rotates, retries,
 * revokes, logs in again. Answers of the relay become facts; whatever moves a chain out of `rotating` is one. */
#ifndef RB_ACCOUNT_PRIVATE_H
#define RB_ACCOUNT_PRIVATE_H

#include "account.h"
#include "account_rows.h"
#include "budget.h"
#include "chain.h"
#include "chain_rows.h"
#include "claims.h"
#include "event.h"
#include "mark.h"
#include "share.h"
#include "slot.h"

enum {
    HOLD_MS = 60 * 1000,          /* R8: an imported chain that is never released */
    RISK_LEFT_MS = 60 * 1000,     /* R5: the other chain rests while the access token has more than this left */
    RISK_ROTATING_MS = 10 * 1000, /* R5: and while a rotation has only just begun */
    LEAST_LEFT_MS = 5 * 1000,     /* an access token with less left is not handed out */
    COMMIT_FAILED_WAIT_MS = 500,
    CLOCKS_AGREE_MS = 5 * 60 * 1000, /* R10 */
    REVOKE_BACKOFF_MAX_MS = 5 * 60 * 1000,
    CHAIN_CHECK_MS = 24 * 3600 * 1000,
    CALLS_MAX = 256, /* of callers, sent at once, each on a connection to the relay; the others wait for their turn */
    CALL_POLLS_MAX =
        8,        /* of them polls, which wait at the relay: beside the inbox's 40 of its 50 places (contract §5) */
    OWN_UID = -1, /* the daemon's own calls */
    SEALED_ROOM = 4096 + RB_SEAL_BYTES, /* of a refreshed token: reserved before it is asked for */
};
#define DAY_MS (INT64_C(24) * 3600 * 1000)

struct rotation;
struct login_op;

struct rb_chain {
    struct rb_list node; /* rb_account.chains */
    struct rb_account *account;
    bool present; /* it has a row */
    bool seen;    /* by a reload */
    bool pinned;  /* a login that is being committed holds it: a reload keeps it without a row */
    /* the row */
    int64_t id;
    unsigned char uid[RB_UID_BYTES];
    enum rb_chain_state state;
    int64_t epoch, generation, mark, rotated;
    bool doubt; /* an earlier attempt with this token had an unknown end */
    /* not in rows */
    int64_t quiet_ms; /* from then on no earlier request with this token can reach the relay (R1) */
    int64_t hold_until_ms;
    struct rotation *rotation; /* from the intent until its end has become a fact */
    struct rb_effect send;
    bool sending;   /* the intent is not committed yet */
    bool in_flight; /* rb_relay_refresh is under way */
    int64_t sent_ms;
    bool revoke_in_flight, revoke_sure;
    int64_t revoke_at_ms;
    int revoke_failures;
};

struct rb_account {
    struct rb_list node; /* rb_accounts.accounts */
    struct rb_accounts *accounts;
    bool present;
    /* the row */
    int64_t id;
    unsigned char uid[RB_UID_BYTES];
    char *name, *relay_url, *username, *sub, *ca_file; /* sub: "" when not known; ca_file: NULL for none */
    enum rb_account_state state;
    int64_t epoch, created, incarnation;
    bool retired, stamp, has_password;
    struct rb_list chains;
    /* the access token, only from committed rows */
    struct rb_secret *access, *access_before; /* before: lives until control returns to the loop */
    uint64_t serial;
    int64_t access_expires_ms, access_lifetime_ms, refresh_ms;
    int64_t access_chain, access_generation;
    /* not in rows */
    bool changed;  /* rows were written in a tick that has not ended */
    bool announce; /* watchers hear it when the tick has ended */
    struct rb_effect tick_ended;
    struct rb_timer pump;
    bool seen;                   /* by a reload */
    struct rb_str sealed_access; /* from a reload's first pass to its second */
    int64_t sealed_expires;
    bool wanted; /* somebody waits for an access token */
    bool used;   /* since the last refresh */
    bool asked_me;
    int64_t not_before_ms; /* of refreshes and logins */
    int failures;
    struct login_op *recovery;
    uint64_t refreshes, refreshes_failed;
    char last_problem[256];
};

struct rb_accounts {
    const struct rb_ports *ports;
    struct rb_budgets *budgets;
    struct rb_events *events;
    struct rb_account_rows *account_rows;
    struct rb_chain_rows *chain_rows;
    struct rb_marks *marks;
    struct rb_slots *slots;
    struct rb_list accounts, watches, calls, logins, probes;
    struct rb_fact judged;
    struct rb_effect judged_committed;
    bool started, stopped;
    bool settled; /* what was in flight when the process ended has been judged, and that is committed (T5, R3, T4) */
    uint64_t serial;
    struct rb_share calls_sent; /* of `calls`, by the caller's user */
    struct rb_share polls_sent; /* the polls of them */
    int token_calls;            /* refreshes, logins, revocations and intents under way */
};

/* --- account_load.c --- */
struct rb_account *account_new(struct rb_accounts *accounts);
void account_free(struct rb_account *account);

/* --- account.c --- */
/* The only place that changes the state. */
void account_set_state(struct rb_account *account, enum rb_account_state state);
void account_save(struct rb_account *account);
/* To be called with each write: nothing is done on the account's rows before the tick has ended. */
void account_changed(struct rb_account *account);
void account_tick_ended(struct rb_effect *effect, enum rb_status committed);
/* Lets account_pump run soon. */
void account_kick(struct rb_account *account);
void account_forget_access(struct rb_account *account); /* memory only; lives until control returns to the loop */
/* After a commit: takes the secret. */
void account_publish(struct rb_account *account, struct rb_secret *access, int64_t expires_ms, int64_t lifetime_ms,
                     int64_t chain, int64_t generation);
void account_wipe_access(struct rb_account *account); /* memory and row */
void account_wipe_password(struct rb_account *account);
int64_t account_access_left_ms(const struct rb_account *account);
int64_t account_least_left_ms(const struct rb_account *account);
bool account_has_living_chain(const struct rb_account *account);
/* Without a living chain and a password an active account needs a login: state and event, in this tick. */
void account_settle(struct rb_account *account);
/* Waits before the next refresh or login, longer with each failure in a row; at least until `at_least_ms` from now. */
void account_back_off(struct rb_account *account, int64_t at_least_ms);
void account_tell_problem(struct rb_account *account, const struct rb_answer *answer);
/* In this tick: takes the user id that a token names (another one than before: the relay was wiped, R7) and, with
 * `may_name`, the user name of an account that has none; its chains' tokens are sealed anew then. */
void account_learn(struct rb_account *account, const struct rb_claims *claims, bool may_name);
struct rb_seal account_seal(const struct rb_account *account, const struct rb_chain *chain, int64_t generation,
                            const char *column);
struct rb_account *account_by_identity(struct rb_accounts *accounts, const char *relay_url, const char *username);

/* --- account_pump.c --- */
void account_pump(struct rb_timer *timer);

/* --- chain.c --- */
struct rb_chain *chain_new(struct rb_account *account);
void chain_free(struct rb_chain *chain);
struct rb_chain *chain_by_id(struct rb_accounts *accounts, int64_t id);
void chain_set_state(struct rb_chain *chain, enum rb_chain_state state);
void chain_save(struct rb_chain *chain);
bool chain_is_living(const struct rb_chain *chain);
/* In this tick: dead, the token wiped. */
void chain_kill(struct rb_chain *chain);
/* Writes the intent; the rest follows after its commit. The budget was taken. False: out of memory. */
bool chain_rotate(struct rb_chain *chain);
/* The row's token, opened. RB_NOT_FOUND: it has none. RB_CORRUPT: it does not open. */
enum rb_status chain_token(struct rb_chain *chain, struct rb_secret **ret);
void rotation_free(struct rotation *rotation);

/* --- chain_revoke.c --- */
/* In this tick: to be revoked upstream. Nothing for a chain that has ended. */
void chain_begin_revoke(struct rb_chain *chain);
void chain_revoke_pump(struct rb_chain *chain, int64_t now, int64_t *next);
/* Tells the relay to forget an access token; best effort (contract §2). */
void account_deny_access(struct rb_account *account, const struct rb_secret *access);

/* --- account_change.c --- */
/* In this tick: a new chain of its account, with the uid and state that `chain` has; its mark stands in the counter
 * file already. */
void chain_add(struct rb_chain *chain, enum rb_chain_state state, int64_t rotated, struct rb_span sealed);
/* In this tick: ends what the account has, with a new epoch: chains go to revoking, password and access token are
 * wiped. */
void account_end_login(struct rb_account *account, enum rb_account_state state);

/* --- account_admin.c --- */
void account_probes_free(struct rb_accounts *accounts);

/* --- account_login.c --- */
/* Logs in with the stored password (committed rows; the budget was taken). */
void account_recover(struct rb_account *account);
void account_logins_free(struct rb_accounts *accounts);

/* --- account_call.c --- */
void account_calls_go_on(struct rb_account *account);
void account_calls_free(struct rb_accounts *accounts);

#endif
