/* Revoking a chain upstream (R6): sent at once, and again when no rotation of it can be under way any more; only the
 * relay's answer to that one confirms. */
#include <stdlib.h>

#include "account_private.h"
#include "backoff.h"
#include "log.h"

struct revoked {
    struct rb_fact fact;
    struct rb_effect effect;
    int holders;
    struct rb_accounts *accounts;
    int64_t chain;
};

void chain_begin_revoke(struct rb_chain *chain)
{
    if (!chain->present || chain->state == RB_CHAIN_DEAD || chain->state == RB_CHAIN_REVOKED ||
        chain->state == RB_CHAIN_REVOKING)
        return;
    chain_set_state(chain, RB_CHAIN_REVOKING);
    /* By two: a copy may have one more by the slot file (T4). */
    chain->mark += 2;
    chain->revoke_at_ms = 0;
    chain->revoke_failures = 0;
    chain_save(chain);
}

static void let_go(struct revoked *revoked)
{
    if (--revoked->holders == 0)
        free(revoked);
}

static void revoked_apply(struct rb_fact *fact)
{
    struct revoked *revoked = RB_CONTAINER(fact, struct revoked, fact);
    struct rb_accounts *accounts = revoked->accounts;
    struct rb_chain *chain = chain_by_id(accounts, revoked->chain);
    revoked->holders++;
    rb_tick_after(accounts->ports->tick, &revoked->effect);
    if (!chain || chain->state != RB_CHAIN_REVOKING)
        return;
    rb_store_wipe_securely(accounts->ports->store);
    chain_set_state(chain, RB_CHAIN_REVOKED);
    chain_save(chain);
    rb_chain_rows_set_token(accounts->chain_rows, chain->id, (struct rb_span){0});
}

static void revoked_release(struct rb_fact *fact)
{
    let_go(RB_CONTAINER(fact, struct revoked, fact));
}

static void revoked_committed(struct rb_effect *effect, enum rb_status committed)
{
    struct revoked *revoked = RB_CONTAINER(effect, struct revoked, effect);
    struct rb_chain *chain = committed == RB_OK ? chain_by_id(revoked->accounts, revoked->chain) : NULL;
    if (chain && chain->state == RB_CHAIN_REVOKED) {
        int64_t generation;
        struct rb_span sealed;
        rb_marks_forget(revoked->accounts->marks, chain->uid);
        if (rb_slots_find(revoked->accounts->slots, chain->uid, &generation, &sealed)) {
            rb_slots_drop(revoked->accounts->slots, chain->uid);
            rb_slots_flush(revoked->accounts->slots);
        }
    }
    let_go(revoked);
}

static void confirm(struct rb_chain *chain)
{
    struct rb_accounts *accounts = chain->account->accounts;
    struct revoked *revoked = calloc(1, sizeof *revoked);
    if (!revoked) {
        chain->revoke_at_ms = rb_clock_now_ms(accounts->ports->clock) + REVOKE_BACKOFF_MAX_MS;
        return;
    }
    revoked->accounts = accounts;
    revoked->chain = chain->id;
    revoked->holders = 1;
    revoked->fact = (struct rb_fact){.apply = revoked_apply, .release = revoked_release};
    revoked->effect.run = revoked_committed;
    rb_tick_fact(accounts->ports->tick, &revoked->fact);
}

/* Until then no confirmation counts. INT64_MAX: a rotation is under way. */
static int64_t sure_from_ms(const struct rb_chain *chain)
{
    return chain->in_flight ? INT64_MAX : chain->quiet_ms;
}

static void try_again(struct rb_chain *chain, int64_t now, int64_t at_least_ms)
{
    const struct rb_ports *ports = chain->account->accounts->ports;
    int64_t wait = rb_backoff_ms(ports, chain->revoke_failures, REVOKE_BACKOFF_MAX_MS, RB_JITTER_HALF);
    chain->revoke_failures++;
    chain->revoke_at_ms = now + (wait > at_least_ms ? wait : at_least_ms);
}

static void revoke_answered(void *arg, const struct rb_answer *answer)
{
    struct rb_chain *chain = arg;
    struct rb_accounts *accounts = chain->account->accounts;
    int64_t now = rb_clock_now_ms(accounts->ports->clock);
    chain->revoke_in_flight = false;
    accounts->token_calls--;
    /* A malformed token is none of the relay's: there is nothing to revoke. */
    bool gone = answer->end == RB_END_EXECUTED || answer->problem == RB_PROBLEM_INVALID;
    if (!gone) {
        account_tell_problem(chain->account, answer);
        try_again(chain, now, answer->retry_after_ms);
    } else if (chain->revoke_sure) {
        confirm(chain);
    } else {
        chain->revoke_at_ms = sure_from_ms(chain);
    }
    account_kick(chain->account);
}

/* R3: a copy from before the revocation is older than the counter file from now on, and never uses the chain. */
static void outdate_copies(struct rb_chain *chain)
{
    struct rb_account *account = chain->account;
    struct rb_marks *marks = account->accounts->marks;
    int64_t file;
    if (rb_marks_find(marks, chain->uid, &file) && file < chain->mark &&
        rb_marks_write(marks, chain->uid, chain->mark) != RB_OK)
        rb_log(RB_LOG_WARNING, "account", "%s: the counter file could not be written at a logout", account->name);
}

static void revoke(struct rb_chain *chain, int64_t now)
{
    struct rb_account *account = chain->account;
    struct rb_accounts *accounts = account->accounts;
    struct rb_secret *token = NULL;
    outdate_copies(chain);
    enum rb_status status = chain_token(chain, &token);
    if (status == RB_CORRUPT || status == RB_NOT_FOUND) {
        rb_event(accounts->events, account->id, "revoke_failed",
                 "%s: the sealed token of a login does not open, so it cannot be revoked at the relay.", account->name);
        confirm(chain);
        return;
    }
    if (status == RB_OK) {
        struct rb_relay_peer peer = rb_account_peer(account);
        chain->revoke_sure = now >= sure_from_ms(chain);
        status =
            rb_relay_revoke_chain(accounts->ports->relay, &peer, rb_secret_span(token), revoke_answered, chain, NULL);
    }
    rb_secret_free(token);
    if (status != RB_OK) {
        try_again(chain, now, -1);
        return;
    }
    chain->revoke_in_flight = true;
    accounts->token_calls++;
}

void chain_revoke_pump(struct rb_chain *chain, int64_t now, int64_t *next)
{
    if (!chain->revoke_in_flight && now >= chain->revoke_at_ms)
        revoke(chain, now);
    if (!chain->revoke_in_flight && chain->state == RB_CHAIN_REVOKING && chain->revoke_at_ms < *next)
        *next = chain->revoke_at_ms;
}

static void denied(void *arg, const struct rb_answer *answer)
{
    struct rb_accounts *accounts = arg;
    accounts->token_calls--;
}

void account_deny_access(struct rb_account *account, const struct rb_secret *access)
{
    struct rb_accounts *accounts = account->accounts;
    struct rb_relay_peer peer = rb_account_peer(account);
    if (!accounts->stopped &&
        rb_relay_logout(accounts->ports->relay, &peer, rb_secret_span(access), denied, accounts, NULL) == RB_OK)
        accounts->token_calls++;
}
