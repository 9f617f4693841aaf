/* Account: a login at a relay, (relay URL, upstream user name), and the way to a valid access token for everybody else.
 *
 *     active ──all chains dead, no password──▶ login_required ──login──▶ active
 *     any ──logout committed──▶ logged_out ──login──▶ active
 *
 * An account's chains rotate in chain.h. `epoch` counts logins and logouts: answers of an older epoch are revoked, not used (R6).
 * N callers at expiry cause exactly one refresh (P1). */
#ifndef RB_ACCOUNT_H
#define RB_ACCOUNT_H

#include "broker.h"

enum rb_account_state { RB_ACCOUNT_ACTIVE = 0, RB_ACCOUNT_LOGIN_REQUIRED = 1, RB_ACCOUNT_LOGGED_OUT = 2 };
const char *rb_account_state_text(enum rb_account_state state);

struct rb_account;

enum rb_status rb_accounts_new(const struct rb_ports *ports, struct rb_budgets *budgets, struct rb_events *events,
                               struct rb_accounts **ret, struct rb_error *err);
void rb_accounts_free(struct rb_accounts *accounts);
enum rb_status rb_accounts_reload(struct rb_accounts *accounts);
void rb_accounts_start(struct rb_accounts *accounts);
void rb_accounts_stop(struct rb_accounts *accounts);
bool rb_accounts_quiet(struct rb_accounts *accounts);

/* NULL when there is none. Accounts live until the process ends: pointers stay valid, also across reloads. */
struct rb_account *rb_account_by_id(struct rb_accounts *accounts, int64_t id);
struct rb_account *rb_account_by_name(struct rb_accounts *accounts, struct rb_span name);
struct rb_account *rb_account_by_username(struct rb_accounts *accounts,
                                          struct rb_span username); /* NULL when ambiguous */
struct rb_account *rb_account_next(struct rb_accounts *accounts, const struct rb_account *after); /* NULL: the first */

int64_t rb_account_id(const struct rb_account *account);
const char *rb_account_name(const struct rb_account *account);
const char *rb_account_username(const struct rb_account *account);
const char *rb_account_sub(const struct rb_account *account); /* "" when not known yet */
/* Counts how often the relay was set up anew under us, as a changed `sub` shows (R7); kept in the account's row.
 * Watchers hear a change: every cursor is to be anchored again. */
uint64_t rb_account_relay_incarnation(const struct rb_account *account);
struct rb_relay_peer rb_account_peer(const struct rb_account *account);
enum rb_account_state rb_account_state(const struct rb_account *account);
bool rb_account_stamps(const struct rb_account *account);     /* O2: its posts bear our id */
bool rb_account_is_retired(const struct rb_account *account); /* another account has its name now, for good (R7) */

/* --- access tokens, for outbox, inbox and faces --- */

/* RB_OK: `*ret_token` (valid until control returns to the loop) and `*ret_serial`. RB_UNAVAILABLE: none now, one is on
 * its way (a refresh was started if it was needed). RB_DENIED: login required or logged out. Counts as use: a used
 * account refreshes ahead. */
enum rb_status rb_account_access(struct rb_account *account, struct rb_span *ret_token, uint64_t *ret_serial);
/* The relay answered 401 to that token: it is dropped (if still the current one) and a refresh is started. */
void rb_account_access_refused(struct rb_account *account, uint64_t serial);

/* Told when a token came, or when none can come (state changed). Intrusive, stays registered until taken off; `changed`
 * is never called inside a call that a watcher makes. */
struct rb_account_watch {
    struct rb_list node;
    void (*changed)(struct rb_account_watch *watch, struct rb_account *account);
};
void rb_account_watch(struct rb_accounts *accounts, struct rb_account_watch *watch);
void rb_account_unwatch(struct rb_account_watch *watch);

/* --- logging in and out (admin) --- */

struct rb_login {
    const char *name;      /* the account's name */
    const char *relay_url; /* normalised by the callee; RB_INVALID with a sentence */
    const char *ca_file;   /* or NULL */
    const char *username;  /* password login */
    struct rb_span password;
    bool keep_password;
    struct rb_span refresh_token; /* import (R8): instead of user name and password */
    bool hold;                    /* import: do not rotate before rb_account_release, or 60 s */
    bool replace; /* allows another relay URL or user name for an existing name; its queued posts expire */
};
/* Ends after the commit of the new chain, or with a sentence; never inside. RB_EXISTS: the name is another (url, user)
 * and `replace` was not given (R7). */
typedef void (*rb_account_done)(void *arg, enum rb_status status, const struct rb_error *err,
                                struct rb_account *account);
enum rb_status rb_account_login(struct rb_accounts *accounts, const struct rb_login *login, rb_account_done done,
                                void *arg, struct rb_error *err);
/* Import's step before the first: whether the relay answers under that URL and with those certificates; nothing is
 * kept. `done` has no account; RB_UNAVAILABLE comes with a sentence that names the cause. */
enum rb_status rb_account_probe(struct rb_accounts *accounts, const char *relay_url, const char *ca_file,
                                rb_account_done done, void *arg, struct rb_error *err);
/* Import's second step: the file was moved aside; `refresh_token` is a newer one that reappeared, or empty. */
enum rb_status rb_account_release(struct rb_account *account, struct rb_span refresh_token, struct rb_error *err);
/* P5, R6: in one commit the epoch is bumped, password and access token are wiped, chains go to revoking; revocation is
 * sent at once and retried until confirmed. `done` after the commit. */
enum rb_status rb_account_logout(struct rb_account *account, rb_account_done done, void *arg, struct rb_error *err);

/* --- typed calls with the account's token, for the caller `uid`: waits for a token and for its turn up to wait_ms,
 * retries once after a 401. So many are under way at once, a part of them for one user (D6). --- */
/* problem UNREACHABLE with status 503 in `answer` when no token came in time. The call is never started twice after an
 * unknown end. */
enum rb_status rb_account_topic(struct rb_account *account, int64_t uid, const struct rb_topic_request *request,
                                int64_t wait_ms, rb_plain_done done, void *arg);
enum rb_status rb_account_me(struct rb_account *account, int64_t uid, int64_t wait_ms, rb_me_done done, void *arg);
enum rb_status rb_account_sessions(struct rb_account *account, int64_t uid, int64_t wait_ms, rb_plain_done done,
                                   void *arg);
enum rb_status rb_account_page(struct rb_account *account, int64_t uid, struct rb_span topic, bool descending,
                               int limit, struct rb_span cursor, int64_t wait_ms, rb_page_done done, void *arg);
/* What follows `since` in one topic, by the shortest poll. */
enum rb_status rb_account_poll(struct rb_account *account, int64_t uid, struct rb_span topic, struct rb_span since,
                               int64_t wait_ms, rb_poll_done done, void *arg);

/* --- for status and metrics --- */
struct rb_account_status {
    const char *state, *chain_state; /* chain_state: of the chain in use, "none" without one */
    int64_t generation, chains, chains_revoking;
    int64_t access_expires_in_ms; /* -1: none */
    uint64_t refreshes, refreshes_failed;
    char last_problem[256];             /* "" */
    char trouble[RB_RELAY_TROUBLE_MAX]; /* of the relay, by the last call to it; "": none */
};
void rb_account_status(struct rb_account *account, struct rb_account_status *ret);

#endif
