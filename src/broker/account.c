#include "account.h"

#include <stdlib.h>
#include <string.h>

#include "account_private.h"
#include "backoff.h"
#include "log.h"

const char *rb_account_state_text(enum rb_account_state state)
{
    switch (state) {
    case RB_ACCOUNT_ACTIVE:
        return "active";
    case RB_ACCOUNT_LOGIN_REQUIRED:
        return "login_required";
    case RB_ACCOUNT_LOGGED_OUT:
        return "logged_out";
    }
    return "unknown";
}

/* --- finding --- */

static bool visible(const struct rb_account *account)
{
    return account->present && !account->retired;
}

struct rb_account *rb_account_next(struct rb_accounts *accounts, const struct rb_account *after)
{
    const struct rb_list *from = after ? &after->node : &accounts->accounts;
    for (struct rb_list *node = from->next; node != &accounts->accounts; node = node->next) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        if (visible(account))
            return account;
    }
    return NULL;
}

struct rb_account *rb_account_by_id(struct rb_accounts *accounts, int64_t id)
{
    RB_LIST_EACH (&accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        if (account->present && account->id == id)
            return account;
    }
    return NULL;
}

struct rb_account *rb_account_by_name(struct rb_accounts *accounts, struct rb_span name)
{
    struct rb_account *account = NULL;
    while ((account = rb_account_next(accounts, account)))
        if (rb_span_is(name, account->name))
            return account;
    return NULL;
}

struct rb_account *rb_account_by_username(struct rb_accounts *accounts, struct rb_span username)
{
    struct rb_account *account = NULL, *found = NULL;
    while (username.len && (account = rb_account_next(accounts, account))) {
        if (!rb_span_is(username, account->username))
            continue;
        if (found)
            return NULL;
        found = account;
    }
    return found;
}

struct rb_account *account_by_identity(struct rb_accounts *accounts, const char *relay_url, const char *username)
{
    struct rb_account *account = NULL;
    while (username[0] && (account = rb_account_next(accounts, account)))
        if (rb_span_is(rb_span_of(username), account->username) &&
            rb_span_is(rb_span_of(relay_url), account->relay_url))
            return account;
    return NULL;
}

/* --- what is known --- */

int64_t rb_account_id(const struct rb_account *account)
{
    return account->id;
}

const char *rb_account_name(const struct rb_account *account)
{
    return account->name;
}

const char *rb_account_username(const struct rb_account *account)
{
    return account->username;
}

const char *rb_account_sub(const struct rb_account *account)
{
    return account->sub;
}

uint64_t rb_account_relay_incarnation(const struct rb_account *account)
{
    return (uint64_t)account->incarnation;
}

struct rb_relay_peer rb_account_peer(const struct rb_account *account)
{
    return (struct rb_relay_peer){.url = account->relay_url, .ca_file = account->ca_file};
}

enum rb_account_state rb_account_state(const struct rb_account *account)
{
    return account->retired ? RB_ACCOUNT_LOGGED_OUT : account->state;
}

bool rb_account_stamps(const struct rb_account *account)
{
    return account->stamp;
}

bool rb_account_is_retired(const struct rb_account *account)
{
    return account->retired;
}

struct rb_seal account_seal(const struct rb_account *account, const struct rb_chain *chain, int64_t generation,
                            const char *column)
{
    return (struct rb_seal){
        .account_uid = {(const char *)account->uid, sizeof account->uid},
        .relay_url = account->relay_url,
        .username = account->username,
        .chain_uid = chain ? (struct rb_span){(const char *)chain->uid, sizeof chain->uid} : (struct rb_span){0},
        .generation = generation,
        .column = column,
    };
}

/* --- rows and what follows from their commit --- */

void account_set_state(struct rb_account *account, enum rb_account_state state)
{
    rb_log(RB_LOG_DEBUG, "account", "%s: %s, was %s", account->name, rb_account_state_text(state),
           account->present ? rb_account_state_text(account->state) : "new");
    account->state = state;
}

void account_changed(struct rb_account *account)
{
    account->changed = true;
    rb_tick_after(account->accounts->ports->tick, &account->tick_ended);
}

void account_save(struct rb_account *account)
{
    struct rb_account_row row = {
        .id = account->id,
        .uid = {(const char *)account->uid, sizeof account->uid},
        .name = rb_span_of(account->name),
        .relay_url = rb_span_of(account->relay_url),
        .username = rb_span_of(account->username),
        .sub = rb_span_of(account->sub),
        .ca_file = rb_span_of(account->ca_file),
        .state = (int)account->state,
        .epoch = account->epoch,
        .incarnation = account->incarnation,
        .created = account->created,
        .retired = account->retired,
        .stamp = account->stamp,
    };
    rb_account_rows_save(account->accounts->account_rows, &row);
    account_changed(account);
}

void account_kick(struct rb_account *account)
{
    struct rb_accounts *accounts = account->accounts;
    if (accounts->started && !accounts->stopped)
        rb_timer_set_in(accounts->ports->clock, &account->pump, 0);
}

void account_back_off(struct rb_account *account, int64_t at_least_ms)
{
    const struct rb_ports *ports = account->accounts->ports;
    int64_t wait = rb_backoff_ms(ports, account->failures, ports->config->backoff_max_ms, RB_JITTER_FULL);
    if (wait < at_least_ms)
        wait = at_least_ms;
    account->failures++;
    int64_t at;
    if (!__builtin_add_overflow(rb_clock_now_ms(ports->clock), wait, &at))
        account->not_before_ms = at;
}

void account_tell_problem(struct rb_account *account, const struct rb_answer *answer)
{
    snprintf(account->last_problem, sizeof account->last_problem, "%s%s%.150s", rb_problem_text(answer->problem),
             answer->detail[0] ? ": " : "", answer->detail);
}

bool account_has_living_chain(const struct rb_account *account)
{
    RB_LIST_EACH (&account->chains, node)
        if (chain_is_living(RB_CONTAINER(node, struct rb_chain, node)))
            return true;
    return false;
}

void account_settle(struct rb_account *account)
{
    if (account->state != RB_ACCOUNT_ACTIVE || account->retired || account->has_password ||
        account_has_living_chain(account))
        return;
    account_set_state(account, RB_ACCOUNT_LOGIN_REQUIRED);
    account->announce = true;
    account_save(account);
    account_wipe_access(account);
    rb_event(account->accounts->events, account->id, "login_required",
             "%s: no login is left at %s; log in again with: relay-broker login %s", account->name, account->relay_url,
             account->name);
}

/* --- the access token --- */

int64_t account_access_left_ms(const struct rb_account *account)
{
    if (!account->access)
        return 0;
    int64_t left = account->access_expires_ms - rb_clock_now_ms(account->accounts->ports->clock);
    return left > 0 ? left : 0;
}

int64_t account_least_left_ms(const struct rb_account *account)
{
    int64_t quarter = account->access_lifetime_ms / 4;
    return quarter < LEAST_LEFT_MS ? quarter + 1 : LEAST_LEFT_MS;
}

void account_forget_access(struct rb_account *account)
{
    if (!account->access)
        return;
    rb_secret_free(account->access_before);
    account->access_before = account->access;
    account->access = NULL;
    account->access_chain = account->access_generation = 0;
    account_kick(account);
}

void account_wipe_access(struct rb_account *account)
{
    struct rb_accounts *accounts = account->accounts;
    struct rb_account_row none = {.id = account->id};
    account_forget_access(account);
    rb_store_wipe_securely(accounts->ports->store);
    rb_account_rows_set_access(accounts->account_rows, &none);
    account_changed(account);
}

void account_wipe_password(struct rb_account *account)
{
    struct rb_accounts *accounts = account->accounts;
    account->has_password = false;
    rb_store_wipe_securely(accounts->ports->store);
    rb_account_rows_set_password(accounts->account_rows, account->id, (struct rb_span){0});
    account_changed(account);
}

/* Watchers may take off themselves or others, and add: the walk keeps its place with a node of its own. */
static void notify(struct rb_account *account)
{
    struct rb_accounts *accounts = account->accounts;
    struct rb_list pending = RB_LIST_INIT(pending);
    rb_list_append_all(&pending, &accounts->watches);
    struct rb_list *node;
    while ((node = rb_list_pop(&pending))) {
        struct rb_account_watch *watch = RB_CONTAINER(node, struct rb_account_watch, node);
        rb_list_push(&accounts->watches, node);
        watch->changed(watch, account);
    }
    account_calls_go_on(account);
}

void account_tick_ended(struct rb_effect *effect, enum rb_status committed)
{
    struct rb_account *account = RB_CONTAINER(effect, struct rb_account, tick_ended);
    struct rb_accounts *accounts = account->accounts;
    bool announce = account->announce && committed == RB_OK;
    account->changed = account->announce = false;
    if (announce)
        notify(account);
    if (committed == RB_OK)
        account_kick(account);
    else if (accounts->started && !accounts->stopped)
        rb_timer_set_in(accounts->ports->clock, &account->pump, COMMIT_FAILED_WAIT_MS);
}

void account_publish(struct rb_account *account, struct rb_secret *access, int64_t expires_ms, int64_t lifetime_ms,
                     int64_t chain, int64_t generation)
{
    const struct rb_ports *ports = account->accounts->ports;
    account_forget_access(account);
    account->access = access;
    account->serial = ++account->accounts->serial;
    account->access_expires_ms = expires_ms;
    account->access_lifetime_ms = lifetime_ms;
    account->refresh_ms =
        rb_clock_now_ms(ports->clock) + rb_random_between(ports->random, lifetime_ms / 3, lifetime_ms / 2);
    account->access_chain = chain;
    account->access_generation = generation;
    account->used = account->wanted = false;
    notify(account);
    account_kick(account);
}

enum rb_status rb_account_access(struct rb_account *account, struct rb_span *ret_token, uint64_t *ret_serial)
{
    if (!visible(account) || account->state != RB_ACCOUNT_ACTIVE)
        return RB_DENIED;
    if (account->access && account_access_left_ms(account) >= account_least_left_ms(account)) {
        if (!account->used)
            account_kick(account);
        account->used = true;
        *ret_token = rb_secret_span(account->access);
        *ret_serial = account->serial;
        return RB_OK;
    }
    if (!account->wanted)
        account_kick(account);
    account->wanted = account->used = true;
    return RB_UNAVAILABLE;
}

void rb_account_access_refused(struct rb_account *account, uint64_t serial)
{
    enum { YOUNG_MS = 10 * 1000 };
    const struct rb_ports *ports = account->accounts->ports;
    if (!account->access || account->serial != serial)
        return;
    /* A relay that refuses what it has just given is not asked again at once. */
    int64_t age = account->access_lifetime_ms - account_access_left_ms(account);
    if (age < YOUNG_MS)
        account_back_off(account, ports->config->backoff_min_ms);
    rb_tick_lead(ports->tick);
    if (!account->access || account->serial != serial)
        return;
    account_wipe_access(account);
    account->wanted = account->used = true;
}

void rb_account_watch(struct rb_accounts *accounts, struct rb_account_watch *watch)
{
    rb_list_push(&accounts->watches, &watch->node);
}

void rb_account_unwatch(struct rb_account_watch *watch)
{
    rb_list_remove(&watch->node);
}

/* --- who the account is --- */

/* The user name is in what the sealed rows are bound to. */
static void reseal_chains(struct rb_account *account, const char *username)
{
    struct rb_accounts *accounts = account->accounts;
    RB_LIST_EACH (&account->chains, node) {
        struct rb_chain *chain = RB_CONTAINER(node, struct rb_chain, node);
        struct rb_secret *token = NULL;
        if (!chain->present || chain_token(chain, &token) != RB_OK)
            continue;
        RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
        struct rb_seal seal = account_seal(account, chain, chain->generation, "refresh_token");
        seal.username = username;
        if (rb_vault_seal(accounts->ports->vault, &seal, rb_secret_span(token), &sealed) == RB_OK)
            rb_chain_rows_set_token(accounts->chain_rows, chain->id, rb_str_span(&sealed));
        rb_secret_free(token);
    }
}

static void learn_sub(struct rb_account *account, const char *sub)
{
    if (!sub || rb_span_is(rb_span_of(sub), account->sub))
        return;
    char *copy = rb_span_dup(rb_span_of(sub));
    if (!copy)
        return;
    if (account->sub[0]) {
        account->incarnation++;
        account->announce = true;
        rb_event(account->accounts->events, account->id, "relay_wiped",
                 "%s: the relay knows %s under a new id: it was set up anew, and its old messages are gone.",
                 account->name, account->username);
    }
    free(account->sub);
    account->sub = copy;
}

void account_learn(struct rb_account *account, const struct rb_claims *claims, bool may_name)
{
    if (may_name && claims->username && !account->username[0]) {
        const struct rb_account *other = account_by_identity(account->accounts, account->relay_url, claims->username);
        char *copy = other ? NULL : rb_span_dup(rb_span_of(claims->username));
        if (other)
            rb_event(account->accounts->events, account->id, "same_user",
                     "The token imported into %s belongs to %s, which is the account %s already.", account->name,
                     claims->username, other->name);
        if (copy) {
            reseal_chains(account, copy);
            free(account->username);
            account->username = copy;
        }
    }
    learn_sub(account, claims->sub);
    account_save(account);
}

/* --- status --- */

void rb_account_status(struct rb_account *account, struct rb_account_status *ret)
{
    const struct rb_chain *use = NULL;
    *ret = (struct rb_account_status){
        .state = rb_account_state_text(rb_account_state(account)),
        .chain_state = "none",
        .access_expires_in_ms = account->access ? account_access_left_ms(account) : -1,
        .refreshes = account->refreshes,
        .refreshes_failed = account->refreshes_failed,
    };
    snprintf(ret->last_problem, sizeof ret->last_problem, "%s", account->last_problem);
    snprintf(ret->trouble, sizeof ret->trouble, "%s",
             rb_relay_trouble(account->accounts->ports->relay, account->relay_url));
    RB_LIST_EACH (&account->chains, node) {
        const struct rb_chain *chain = RB_CONTAINER(node, struct rb_chain, node);
        if (!chain->present)
            continue;
        ret->chains += chain_is_living(chain);
        ret->chains_revoking += chain->state == RB_CHAIN_REVOKING;
        if (!use || chain_is_living(chain) || !chain_is_living(use))
            use = chain;
    }
    if (use) {
        ret->chain_state = rb_chain_state_text(use->state);
        ret->generation = use->generation;
    }
}
