#include "chain.h"

#include <stdlib.h>

#include "account_private.h"
#include "log.h"

enum verdict { ROTATED, NOT_USED, REFUSED, UNCERTAIN };

/* One attempt to rotate a chain: allocated with the intent, so that its answer always has a place: when memory is short
 * it must still be sealed and written to the slot file, since nobody gives it twice. */
struct rotation {
    struct rb_fact fact;
    struct rb_effect effect;
    int holders; /* fact and effect */
    struct rb_accounts *accounts;
    int64_t chain, generation;
    enum verdict verdict;
    bool unreadable; /* REFUSED, by ourselves: the sealed token does not open, nothing was sent */
    char cause[256];
    /* ROTATED */
    bool names; /* the token names the user of an account that has no user name yet: sealed under it */
    struct rb_str sealed_token, sealed_access;
    struct rb_str sealed_unnamed; /* under the name of the row as it was */
    struct rb_secret *access;
    struct rb_claims claims;
    int64_t expires_ms, lifetime_ms, expires_wall_ms;
};

const char *rb_chain_state_text(enum rb_chain_state state)
{
    switch (state) {
    case RB_CHAIN_ACTIVE:
        return "active";
    case RB_CHAIN_ROTATING:
        return "rotating";
    case RB_CHAIN_UNCERTAIN:
        return "uncertain";
    case RB_CHAIN_DEAD:
        return "dead";
    case RB_CHAIN_REVOKING:
        return "revoking";
    case RB_CHAIN_REVOKED:
        return "revoked";
    case RB_CHAIN_HELD:
        return "held";
    }
    return "unknown";
}

static void send_refresh(struct rb_effect *effect, enum rb_status committed);

struct rb_chain *chain_new(struct rb_account *account)
{
    struct rb_chain *chain = calloc(1, sizeof *chain);
    if (!chain)
        return NULL;
    chain->account = account;
    chain->send.run = send_refresh;
    rb_list_init(&chain->send.node);
    rb_list_push(&account->chains, &chain->node);
    return chain;
}

void chain_free(struct rb_chain *chain)
{
    rb_tick_cancel(&chain->send);
    rotation_free(chain->rotation);
    rb_list_remove(&chain->node);
    free(chain);
}

struct rb_chain *chain_by_id(struct rb_accounts *accounts, int64_t id)
{
    RB_LIST_EACH (&accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        RB_LIST_EACH (&account->chains, of) {
            struct rb_chain *chain = RB_CONTAINER(of, struct rb_chain, node);
            if (chain->present && chain->id == id)
                return chain;
        }
    }
    return NULL;
}

void chain_set_state(struct rb_chain *chain, enum rb_chain_state state)
{
    rb_log(RB_LOG_DEBUG, "account", "%s: chain %lld: %s, was %s", chain->account->name, (long long)chain->id,
           rb_chain_state_text(state), chain->present ? rb_chain_state_text(chain->state) : "new");
    chain->state = state;
}

void chain_save(struct rb_chain *chain)
{
    struct rb_chain_row row = {
        .id = chain->id,
        .account = chain->account->id,
        .uid = {(const char *)chain->uid, sizeof chain->uid},
        .epoch = chain->epoch,
        .state = (int)chain->state,
        .generation = chain->generation,
        .mark = chain->mark,
        .doubt = chain->doubt,
        .rotated = chain->rotated,
    };
    rb_chain_rows_save(chain->account->accounts->chain_rows, &row);
    account_changed(chain->account);
}

bool chain_is_living(const struct rb_chain *chain)
{
    return chain->present && (chain->state == RB_CHAIN_ACTIVE || chain->state == RB_CHAIN_ROTATING ||
                              chain->state == RB_CHAIN_UNCERTAIN || chain->state == RB_CHAIN_HELD);
}

void chain_kill(struct rb_chain *chain)
{
    struct rb_accounts *accounts = chain->account->accounts;
    rb_store_wipe_securely(accounts->ports->store);
    chain_set_state(chain, RB_CHAIN_DEAD);
    chain_save(chain);
    rb_chain_rows_set_token(accounts->chain_rows, chain->id, (struct rb_span){0});
}

enum rb_status chain_token(struct rb_chain *chain, struct rb_secret **ret)
{
    struct rb_accounts *accounts = chain->account->accounts;
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    enum rb_status status = rb_chain_rows_token(accounts->chain_rows, chain->id, &sealed);
    if (status != RB_OK)
        return status;
    if (sealed.len == 0)
        return RB_NOT_FOUND;
    struct rb_seal seal = account_seal(chain->account, chain, chain->generation, "refresh_token");
    return rb_vault_unseal(accounts->ports->vault, &seal, rb_str_span(&sealed), ret);
}

void rotation_free(struct rotation *rotation)
{
    if (!rotation)
        return;
    rb_str_free(&rotation->sealed_token);
    rb_str_free(&rotation->sealed_access);
    rb_str_free(&rotation->sealed_unnamed);
    rb_secret_free(rotation->access);
    rb_claims_free(&rotation->claims);
    free(rotation);
}

static void rotation_let_go(struct rotation *rotation)
{
    if (--rotation->holders == 0)
        rotation_free(rotation);
}

/* --- the end of a rotation, as a fact --- */

static void apply_rotated(struct rotation *rotation, struct rb_chain *chain)
{
    struct rb_account *account = chain->account;
    struct rb_accounts *accounts = account->accounts;
    bool first_of_import = chain->rotated == 0;
    if (first_of_import && account->username[0] && rotation->claims.username &&
        !rb_span_is(rb_span_of(account->username), rotation->claims.username)) {
        /* R7: queued rows would go to a stranger. */
        rb_event(accounts->events, account->id, "other_user",
                 "The token imported into %s belongs to %s, not to %s; it is revoked.", account->name,
                 rotation->claims.username, account->username);
        chain_begin_revoke(chain);
        account_settle(account);
        return;
    }
    account_learn(account, &rotation->claims, rotation->names);
    bool as_sealed = !rotation->names || rb_span_is(rb_span_of(account->username), rotation->claims.username);
    chain->generation = rotation->generation;
    chain->mark++;
    chain->doubt = false;
    chain->rotated = rb_clock_wall_ms(accounts->ports->clock);
    chain_set_state(chain, RB_CHAIN_ACTIVE);
    chain_save(chain);
    rb_chain_rows_set_token(accounts->chain_rows, chain->id,
                            rb_str_span(as_sealed ? &rotation->sealed_token : &rotation->sealed_unnamed));
    struct rb_account_row row = {
        .id = account->id,
        .access_token = as_sealed ? rb_str_span(&rotation->sealed_access) : (struct rb_span){0},
        .access_expires = rotation->expires_wall_ms,
        .access_lifetime = rotation->lifetime_ms,
        .access_chain = chain->id,
        .access_generation = rotation->generation,
    };
    rb_account_rows_set_access(accounts->account_rows, &row);
}

static void apply_refused(struct rotation *rotation, struct rb_chain *chain)
{
    struct rb_account *account = chain->account;
    rb_event(account->accounts->events, account->id,
             chain->doubt || rotation->unreadable ? "chain_lost" : "foreign_use",
             rotation->unreadable ? "%s: a login is lost: %s."
             : chain->doubt       ? "%s: a login is lost: the answer to an earlier refresh never came (%s)."
                                  : "%s: somebody else used or revoked the refresh token; this login is gone (%s).",
             account->name, rotation->cause);
    chain_kill(chain);
    account_settle(account);
}

static void rotation_apply(struct rb_fact *fact)
{
    struct rotation *rotation = RB_CONTAINER(fact, struct rotation, fact);
    struct rb_chain *chain = chain_by_id(rotation->accounts, rotation->chain);
    rotation->holders++;
    rb_tick_after(rotation->accounts->ports->tick, &rotation->effect);
    if (!chain || chain->state != RB_CHAIN_ROTATING)
        return;
    switch (rotation->verdict) {
    case ROTATED:
        apply_rotated(rotation, chain);
        return;
    case NOT_USED:
        chain_set_state(chain, chain->doubt ? RB_CHAIN_UNCERTAIN : RB_CHAIN_ACTIVE);
        chain_save(chain);
        return;
    case REFUSED:
        apply_refused(rotation, chain);
        return;
    case UNCERTAIN:
        chain->doubt = true;
        chain_set_state(chain, RB_CHAIN_UNCERTAIN);
        chain_save(chain);
        return;
    }
}

static void rotation_release(struct rb_fact *fact)
{
    rotation_let_go(RB_CONTAINER(fact, struct rotation, fact));
}

static void publish(struct rotation *rotation, struct rb_chain *chain)
{
    struct rb_account *account = chain->account;
    struct rb_accounts *accounts = account->accounts;
    bool current = chain->state == RB_CHAIN_ACTIVE && chain->generation == rotation->generation;
    if (!current) {
        /* R6: the login has ended meanwhile. */
        if (rotation->access)
            account_deny_access(account, rotation->access);
        return;
    }
    if (rb_marks_write(accounts->marks, chain->uid, chain->mark) != RB_OK)
        rb_log(RB_LOG_WARNING, "account", "%s: the counter file could not be written after a refresh", account->name);
    rb_slots_drop(accounts->slots, chain->uid);
    if (rotation->access && account->state == RB_ACCOUNT_ACTIVE)
        account_publish(account, rotation->access, rotation->expires_ms, rotation->lifetime_ms, chain->id,
                        rotation->generation);
    rotation->access = NULL;
}

static void rotation_committed(struct rb_effect *effect, enum rb_status committed)
{
    struct rotation *rotation = RB_CONTAINER(effect, struct rotation, effect);
    struct rb_chain *chain = chain_by_id(rotation->accounts, rotation->chain);
    if (chain && committed == RB_OK) {
        if (rotation->verdict == ROTATED)
            publish(rotation, chain);
        if (chain->state == RB_CHAIN_DEAD)
            rb_marks_forget(chain->account->accounts->marks, chain->uid);
        account_kick(chain->account);
    }
    rotation_let_go(rotation);
}

/* The attempt is over: what came of it goes into the tick. */
static void rotation_ends(struct rb_chain *chain, enum verdict verdict, const char *cause)
{
    struct rotation *rotation = chain->rotation;
    struct rb_accounts *accounts = chain->account->accounts;
    chain->rotation = NULL;
    accounts->token_calls--;
    rotation->verdict = verdict;
    snprintf(rotation->cause, sizeof rotation->cause, "%s", cause);
    rotation->holders = 1;
    rb_tick_fact(accounts->ports->tick, &rotation->fact);
}

/* --- an attempt --- */

static enum verdict judge(const struct rb_answer *answer, const struct rb_tokens *tokens)
{
    if (answer->end == RB_END_EXECUTED && answer->problem == RB_PROBLEM_NONE && tokens)
        return ROTATED;
    if (answer->problem == RB_PROBLEM_TOKEN_REFUSED)
        return REFUSED;
    /* R4: these, and no other refusal, say that the token was not used. */
    if (answer->problem == RB_PROBLEM_UNREACHABLE || answer->problem == RB_PROBLEM_RATE ||
        (answer->problem == RB_PROBLEM_INVALID && answer->status == 422))
        return NOT_USED;
    return UNCERTAIN;
}

/* Seals what came, for the row under the name that the token says, if the account has none yet, and at once into the
 * slot record under the name that the row has now (T4). */
static bool take_tokens(struct rb_chain *chain, const struct rb_answer *answer, const struct rb_tokens *tokens)
{
    struct rotation *rotation = chain->rotation;
    struct rb_account *account = chain->account;
    struct rb_accounts *accounts = account->accounts;
    struct rb_vault *vault = accounts->ports->vault;
    struct rb_str *unnamed = &rotation->sealed_unnamed;
    struct rb_seal seal = account_seal(account, chain, rotation->generation, "refresh_token");
    if (rb_vault_seal(vault, &seal, tokens->refresh_token, unnamed) != RB_OK)
        return false;
    if (rb_slots_write(accounts->slots, chain->uid, rotation->generation, rb_str_span(unnamed)) != RB_OK)
        rb_log(RB_LOG_WARNING, "account", "%s: the slot file could not be written", account->name);

    rb_claims_read(tokens->access_token, &rotation->claims);
    rotation->names = !account->username[0] && rotation->claims.username;
    if (rotation->names)
        seal.username = rotation->claims.username;
    if (rb_vault_seal(vault, &seal, tokens->refresh_token, &rotation->sealed_token) != RB_OK)
        return false;
    if (rb_secret_new(tokens->access_token, &rotation->access, NULL) != RB_OK) {
        rotation->access = NULL;
        return true;
    }
    int64_t now = rb_clock_now_ms(accounts->ports->clock), wall = rb_clock_wall_ms(accounts->ports->clock);
    int64_t lifetime = tokens->expires_in_s * 1000, took = now - chain->sent_ms;
    rotation->lifetime_ms = lifetime;
    rotation->expires_ms = now + lifetime - (took < lifetime / 4 ? took : lifetime / 4);
    rotation->expires_wall_ms = wall + (rotation->expires_ms - now);
    int64_t skew = answer->relay_wall_ms < 0 ? 0 : answer->relay_wall_ms - wall;
    seal.column = "access_token";
    if (skew < -CLOCKS_AGREE_MS || skew > CLOCKS_AGREE_MS ||
        rb_vault_seal(vault, &seal, tokens->access_token, &rotation->sealed_access) != RB_OK)
        rb_str_reset(&rotation->sealed_access);
    return true;
}

/* Budget and waits after an end; not in rows. */
static void note_end(struct rb_chain *chain, enum verdict verdict, const struct rb_answer *answer)
{
    struct rb_account *account = chain->account;
    struct rb_budgets *budgets = account->accounts->budgets;
    if (verdict == ROTATED) {
        account->refreshes++;
        account->failures = 0;
        account->last_problem[0] = 0;
        return;
    }
    account->refreshes_failed++;
    account_tell_problem(account, answer);
    if (answer->problem == RB_PROBLEM_RATE)
        rb_budget_refused(budgets, account->relay_url, RB_BUDGET_REFRESH, answer->retry_after_ms);
    else if (verdict == NOT_USED)
        rb_budget_give_back(budgets, account->relay_url, RB_BUDGET_REFRESH);
    /* Also after an unknown end: what took this answer would take the spare's too (R5). */
    if (verdict == NOT_USED || verdict == UNCERTAIN)
        account_back_off(account, answer->retry_after_ms);
    if (verdict == UNCERTAIN)
        chain->quiet_ms =
            rb_clock_now_ms(account->accounts->ports->clock) + account->accounts->ports->config->retry_after_end_ms;
}

static void refreshed(void *arg, const struct rb_answer *answer, const struct rb_tokens *tokens)
{
    struct rb_chain *chain = arg;
    enum verdict verdict = judge(answer, tokens);
    chain->in_flight = false;
    if (verdict == ROTATED && !take_tokens(chain, answer, tokens))
        verdict = UNCERTAIN;
    note_end(chain, verdict, answer);
    /* R6: what was revoked meanwhile is revoked again, now that this can no longer give birth to a token. */
    chain->revoke_at_ms = chain->quiet_ms;
    rotation_ends(chain, verdict, answer->detail[0] ? answer->detail : rb_problem_text(answer->problem));
    account_kick(chain->account);
}

static void not_sent(struct rb_chain *chain, const char *cause)
{
    struct rb_account *account = chain->account;
    rb_budget_give_back(account->accounts->budgets, account->relay_url, RB_BUDGET_REFRESH);
    account_back_off(account, -1);
    snprintf(account->last_problem, sizeof account->last_problem, "%s", cause);
    rb_log(RB_LOG_WARNING, "account", "%s: a refresh was not sent: %s", account->name, cause);
    rotation_ends(chain, NOT_USED, cause);
}

static void begin(struct rb_chain *chain)
{
    struct rb_account *account = chain->account;
    struct rb_accounts *accounts = account->accounts;
    enum rb_status counted = rb_marks_write(accounts->marks, chain->uid, chain->mark);
    if (counted != RB_OK) {
        not_sent(chain, counted == RB_NO_MEMORY ? rb_status_text(counted) : "the counter file could not be written");
        return;
    }
    struct rb_secret *token = NULL;
    enum rb_status status = chain_token(chain, &token);
    if (status == RB_CORRUPT || status == RB_NOT_FOUND) {
        rb_budget_give_back(accounts->budgets, account->relay_url, RB_BUDGET_REFRESH);
        chain->rotation->unreadable = true;
        rotation_ends(chain, REFUSED, "the sealed token does not open");
        return;
    }
    if (status == RB_OK) {
        struct rb_relay_peer peer = rb_account_peer(account);
        status = rb_relay_refresh(accounts->ports->relay, &peer, rb_secret_span(token), refreshed, chain, NULL);
    }
    rb_secret_free(token);
    if (status != RB_OK) {
        not_sent(chain, rb_status_text(status));
        return;
    }
    chain->in_flight = true;
    chain->sent_ms = rb_clock_now_ms(accounts->ports->clock);
}

/* The tick of the intent has ended. */
static void send_refresh(struct rb_effect *effect, enum rb_status committed)
{
    struct rb_chain *chain = RB_CONTAINER(effect, struct rb_chain, send);
    struct rb_account *account = chain->account;
    struct rb_accounts *accounts = account->accounts;
    chain->sending = false;
    if (committed != RB_OK || chain->state != RB_CHAIN_ROTATING) {
        rotation_free(chain->rotation);
        chain->rotation = NULL;
        accounts->token_calls--;
        rb_budget_give_back(accounts->budgets, account->relay_url, RB_BUDGET_REFRESH);
        return;
    }
    if (accounts->stopped)
        not_sent(chain, "stopping");
    else
        begin(chain);
}

bool chain_rotate(struct rb_chain *chain)
{
    struct rb_accounts *accounts = chain->account->accounts;
    struct rotation *rotation = calloc(1, sizeof *rotation);
    if (!rotation)
        return false;
    if (!rb_str_reserve(&rotation->sealed_token, SEALED_ROOM) ||
        !rb_str_reserve(&rotation->sealed_unnamed, SEALED_ROOM) ||
        rb_slots_reserve(accounts->slots, chain->uid, SEALED_ROOM) != RB_OK) {
        rotation_free(rotation);
        return false;
    }
    rotation->accounts = accounts;
    rotation->chain = chain->id;
    rotation->generation = chain->generation + 1;
    rotation->fact = (struct rb_fact){.apply = rotation_apply, .release = rotation_release};
    rotation->effect.run = rotation_committed;
    chain->rotation = rotation;
    accounts->token_calls++;
    chain->mark++;
    chain->sending = true;
    chain_set_state(chain, RB_CHAIN_ROTATING);
    chain_save(chain);
    rb_tick_after(accounts->ports->tick, &chain->send);
    return true;
}
