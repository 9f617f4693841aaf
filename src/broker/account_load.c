/* Accounts and chains between rows and memory: start, reload, end; and what is made at the start of rows that were in
 * the middle of something when the process ended. */
#include <stdlib.h>
#include <string.h>

#include "account_private.h"
#include "log.h"

struct rb_account *account_new(struct rb_accounts *accounts)
{
    struct rb_account *account = calloc(1, sizeof *account);
    if (!account)
        return NULL;
    account->accounts = accounts;
    account->stamp = true;
    rb_list_init(&account->chains);
    account->tick_ended.run = account_tick_ended;
    rb_list_init(&account->tick_ended.node);
    account->pump = RB_TIMER_INIT(account_pump);
    rb_list_push(&accounts->accounts, &account->node);
    return account;
}

void account_free(struct rb_account *account)
{
    RB_LIST_EACH_SAFE (&account->chains, node)
        chain_free(RB_CONTAINER(node, struct rb_chain, node));
    rb_tick_cancel(&account->tick_ended);
    rb_timer_stop(account->accounts->ports->clock, &account->pump);
    rb_secret_free(account->access);
    rb_secret_free(account->access_before);
    rb_str_free(&account->sealed_access);
    rb_list_remove(&account->node);
    free(account->name);
    free(account->relay_url);
    free(account->username);
    free(account->sub);
    free(account->ca_file);
    free(account);
}

/* --- rows to memory --- */

struct loading {
    struct rb_accounts *accounts;
    enum rb_status status;
};

/* Pointers that were given out stay valid while the text stays the same. */
static void take_text(struct loading *loading, char **field, struct rb_span text)
{
    if (*field && rb_span_is(text, *field))
        return;
    char *copy = rb_span_dup(text);
    if (!copy) {
        loading->status = RB_NO_MEMORY;
        return;
    }
    free(*field);
    *field = copy;
}

static struct rb_account *account_for(struct loading *loading, const struct rb_account_row *row)
{
    RB_LIST_EACH (&loading->accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        if (rb_span_equal(row->uid, (struct rb_span){(const char *)account->uid, sizeof account->uid}))
            return account;
    }
    struct rb_account *account = row->uid.len == RB_UID_BYTES ? account_new(loading->accounts) : NULL;
    if (account)
        memcpy(account->uid, row->uid.at, sizeof account->uid);
    else
        loading->status = row->uid.len == RB_UID_BYTES ? RB_NO_MEMORY : RB_CORRUPT;
    return account;
}

static void load_account(void *arg, const struct rb_account_row *row)
{
    struct loading *loading = arg;
    struct rb_account *account = account_for(loading, row);
    if (!account)
        return;
    account->id = row->id;
    take_text(loading, &account->name, row->name);
    take_text(loading, &account->relay_url, row->relay_url);
    take_text(loading, &account->username, row->username);
    take_text(loading, &account->sub, row->sub);
    if (row->ca_file.len)
        take_text(loading, &account->ca_file, row->ca_file);
    else
        rb_free_pointer(&account->ca_file);
    account->state = row->state >= RB_ACCOUNT_ACTIVE && row->state <= RB_ACCOUNT_LOGGED_OUT
                         ? (enum rb_account_state)row->state
                         : RB_ACCOUNT_LOGIN_REQUIRED;
    account->epoch = row->epoch;
    account->created = row->created;
    account->incarnation = row->incarnation;
    account->retired = row->retired;
    account->stamp = row->stamp;
    account->has_password = row->has_password;
    account->present = account->seen = account->name && account->relay_url && account->username && account->sub;
    rb_str_free(&account->sealed_access);
    if (account->access && account->access_chain == row->access_chain &&
        account->access_generation == row->access_generation)
        return;
    account_forget_access(account);
    rb_str_add_span(&account->sealed_access, row->access_token);
    account->sealed_expires = row->access_expires;
    account->access_lifetime_ms = row->access_lifetime;
    account->access_chain = row->access_chain;
    account->access_generation = row->access_generation;
}

static struct rb_chain *chain_for(struct loading *loading, struct rb_account *account, const struct rb_chain_row *row)
{
    RB_LIST_EACH (&account->chains, node) {
        struct rb_chain *chain = RB_CONTAINER(node, struct rb_chain, node);
        if (rb_span_equal(row->uid, (struct rb_span){(const char *)chain->uid, sizeof chain->uid}))
            return chain;
    }
    struct rb_chain *chain = row->uid.len == RB_UID_BYTES ? chain_new(account) : NULL;
    if (chain)
        memcpy(chain->uid, row->uid.at, sizeof chain->uid);
    else
        loading->status = row->uid.len == RB_UID_BYTES ? RB_NO_MEMORY : RB_CORRUPT;
    return chain;
}

static void load_chain(void *arg, const struct rb_chain_row *row)
{
    struct loading *loading = arg;
    struct rb_account *account = rb_account_by_id(loading->accounts, row->account);
    struct rb_chain *chain = account ? chain_for(loading, account, row) : NULL;
    if (!chain)
        return;
    chain->id = row->id;
    /* A state that is none of ours is treated as the one that can do no harm. */
    chain->state = row->state >= RB_CHAIN_ACTIVE && row->state <= RB_CHAIN_HELD ? (enum rb_chain_state)row->state
                                                                                : RB_CHAIN_REVOKING;
    chain->epoch = row->epoch;
    chain->generation = row->generation;
    chain->mark = row->mark;
    chain->rotated = row->rotated;
    chain->doubt = row->doubt;
    chain->present = chain->seen = true;
}

static void load_access(struct rb_account *account)
{
    struct rb_accounts *accounts = account->accounts;
    const struct rb_ports *ports = accounts->ports;
    struct rb_chain *chain = account->sealed_access.len ? chain_by_id(accounts, account->access_chain) : NULL;
    int64_t left = account->sealed_expires - rb_clock_wall_ms(ports->clock);
    int64_t lifetime = account->access_lifetime_ms;
    /* R10: the wall clock is believed only as far as that token can have lived. */
    if (chain && left > 0 && left <= lifetime) {
        struct rb_seal seal = account_seal(account, chain, account->access_generation, "access_token");
        struct rb_secret *access = NULL;
        if (rb_vault_unseal(ports->vault, &seal, rb_str_span(&account->sealed_access), &access) == RB_OK) {
            int64_t now = rb_clock_now_ms(ports->clock);
            account->access = access;
            account->serial = ++accounts->serial;
            account->access_expires_ms = now + left;
            account->refresh_ms =
                now - (lifetime - left) + rb_random_between(ports->random, lifetime / 3, lifetime / 2);
        }
    }
    rb_str_free(&account->sealed_access);
}

static void forget_unseen(struct rb_account *account)
{
    account->present = account->seen;
    RB_LIST_EACH_SAFE (&account->chains, node) {
        struct rb_chain *chain = RB_CONTAINER(node, struct rb_chain, node);
        bool used = chain->pinned || chain->rotation || chain->in_flight || chain->revoke_in_flight;
        if (!chain->seen && !used)
            chain_free(chain);
        else
            chain->present = chain->seen;
    }
    if (!account->present)
        account_forget_access(account);
}

static enum rb_status load(struct rb_accounts *accounts)
{
    struct loading loading = {.accounts = accounts, .status = RB_OK};
    RB_LIST_EACH (&accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        account->seen = false;
        RB_LIST_EACH (&account->chains, of)
            RB_CONTAINER(of, struct rb_chain, node)->seen = false;
    }
    rb_account_rows_each(accounts->account_rows, load_account, &loading);
    rb_chain_rows_each(accounts->chain_rows, load_chain, &loading);
    RB_LIST_EACH (&accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        forget_unseen(account);
        load_access(account);
    }
    return loading.status == RB_OK ? rb_store_failed(accounts->ports->store) : loading.status;
}

enum rb_status rb_accounts_reload(struct rb_accounts *accounts)
{
    return load(accounts);
}

/* --- the start: what was in flight (T5), what the slot file has (T4), what was restored from a copy (R3) --- */

static void adopt_slot(struct rb_chain *chain)
{
    struct rb_accounts *accounts = chain->account->accounts;
    int64_t generation;
    struct rb_span sealed;
    struct rb_secret *token = NULL;
    if (!rb_slots_find(accounts->slots, chain->uid, &generation, &sealed) || generation <= chain->generation)
        return;
    struct rb_seal seal = account_seal(chain->account, chain, generation, "refresh_token");
    if (rb_vault_unseal(accounts->ports->vault, &seal, sealed, &token) != RB_OK)
        return;
    rb_secret_free(token);
    rb_log(RB_LOG_INFO, "account", "%s: a refreshed token is taken from the slot file", chain->account->name);
    chain->generation = generation;
    chain->mark++;
    chain->doubt = false;
    /* R7: whose token an import is, only the answer said. It is rotated once more and asked again. */
    if (chain->rotated)
        chain->rotated = rb_clock_wall_ms(accounts->ports->clock);
    chain_set_state(chain, RB_CHAIN_ACTIVE);
    chain_save(chain);
    rb_chain_rows_set_token(accounts->chain_rows, chain->id, sealed);
}

static void judge_chain(struct rb_chain *chain)
{
    struct rb_account *account = chain->account;
    int64_t file = 0;
    if (!chain_is_living(chain))
        return;
    adopt_slot(chain);
    bool found = rb_marks_find(account->accounts->marks, chain->uid, &file);
    if (chain->mark > 0 && (!found || chain->mark < file)) {
        rb_event(
            account->accounts->events, account->id, "restored_copy",
            "%s: this state folder was restored from a copy, or the counter file is missing: its login may be in use "
            "elsewhere and is revoked.",
            account->name);
        chain_begin_revoke(chain);
        return;
    }
    if (chain->state != RB_CHAIN_ROTATING)
        return;
    /* With a mark above the file's the process ended between the two writes, and nothing was sent. */
    bool sent = chain->mark <= file;
    chain->doubt = chain->doubt || sent;
    chain_set_state(chain, chain->doubt ? RB_CHAIN_UNCERTAIN : RB_CHAIN_ACTIVE);
    chain_save(chain);
}

static void judged_apply(struct rb_fact *fact)
{
    struct rb_accounts *accounts = RB_CONTAINER(fact, struct rb_accounts, judged);
    rb_tick_after(accounts->ports->tick, &accounts->judged_committed);
    RB_LIST_EACH (&accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        RB_LIST_EACH (&account->chains, of)
            judge_chain(RB_CONTAINER(of, struct rb_chain, node));
        account_settle(account);
    }
}

static void judged_release(struct rb_fact *fact)
{
}

static bool mark_is_of_living(void *arg, const unsigned char *uid)
{
    struct rb_accounts *accounts = arg;
    RB_LIST_EACH (&accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        RB_LIST_EACH (&account->chains, of) {
            const struct rb_chain *chain = RB_CONTAINER(of, struct rb_chain, node);
            if (memcmp(chain->uid, uid, RB_UID_BYTES) == 0)
                return chain->state != RB_CHAIN_DEAD && chain->state != RB_CHAIN_REVOKED;
        }
    }
    return false;
}

static void judged_committed(struct rb_effect *effect, enum rb_status committed)
{
    struct rb_accounts *accounts = RB_CONTAINER(effect, struct rb_accounts, judged_committed);
    if (committed != RB_OK)
        return;
    accounts->settled = true;
    rb_marks_prune(accounts->marks, mark_is_of_living, accounts);
    RB_LIST_EACH (&accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        RB_LIST_EACH (&account->chains, of) {
            struct rb_chain *chain = RB_CONTAINER(of, struct rb_chain, node);
            int64_t file = 0;
            if (chain_is_living(chain) && rb_marks_find(accounts->marks, chain->uid, &file) && file < chain->mark &&
                rb_marks_write(accounts->marks, chain->uid, chain->mark) != RB_OK)
                rb_log(RB_LOG_WARNING, "account", "%s: the counter file could not be written", account->name);
            rb_slots_drop(accounts->slots, chain->uid);
        }
        account_kick(account);
    }
}

/* --- life --- */

static enum rb_status open_parts(struct rb_accounts *accounts, struct rb_error *err)
{
    const struct rb_ports *ports = accounts->ports;
    enum rb_status status;
    if ((status = rb_account_rows_new(ports->store, &accounts->account_rows, err)) != RB_OK ||
        (status = rb_chain_rows_new(ports->store, &accounts->chain_rows, err)) != RB_OK ||
        (status = rb_marks_new(ports->disk, &accounts->marks, err)) != RB_OK ||
        (status = rb_slots_new(ports->disk, &accounts->slots, err)) != RB_OK)
        return status;
    status = load(accounts);
    return status == RB_OK
               ? RB_OK
               : rb_fail(err, status, "The accounts cannot be read from the database: %s.", rb_status_text(status));
}

enum rb_status rb_accounts_new(const struct rb_ports *ports, struct rb_budgets *budgets, struct rb_events *events,
                               struct rb_accounts **ret, struct rb_error *err)
{
    struct rb_accounts *accounts = calloc(1, sizeof *accounts);
    if (!accounts)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    accounts->ports = ports;
    accounts->budgets = budgets;
    accounts->events = events;
    rb_list_init(&accounts->accounts);
    rb_list_init(&accounts->watches);
    rb_list_init(&accounts->calls);
    rb_share_init(&accounts->calls_sent, CALLS_MAX, ports->config->user_percent);
    rb_share_init(&accounts->polls_sent, CALL_POLLS_MAX, ports->config->user_percent);
    rb_list_init(&accounts->logins);
    rb_list_init(&accounts->probes);
    accounts->judged = (struct rb_fact){.apply = judged_apply, .release = judged_release};
    accounts->judged_committed.run = judged_committed;
    enum rb_status status = open_parts(accounts, err);
    if (status != RB_OK) {
        rb_accounts_free(accounts);
        return status;
    }
    rb_chain_rows_trim(accounts->chain_rows, rb_clock_wall_ms(ports->clock) - 30 * DAY_MS);
    rb_tick_fact(ports->tick, &accounts->judged);
    *ret = accounts;
    return RB_OK;
}

void rb_accounts_free(struct rb_accounts *accounts)
{
    if (!accounts)
        return;
    /* When the broker could not be made the tick outlives the accounts. */
    rb_tick_cancel(&accounts->judged_committed);
    if (accounts->judged.node.next)
        rb_list_remove(&accounts->judged.node);
    account_calls_free(accounts);
    rb_share_free(&accounts->calls_sent);
    rb_share_free(&accounts->polls_sent);
    account_logins_free(accounts);
    account_probes_free(accounts);
    RB_LIST_EACH_SAFE (&accounts->accounts, node)
        account_free(RB_CONTAINER(node, struct rb_account, node));
    rb_account_rows_free(accounts->account_rows);
    rb_chain_rows_free(accounts->chain_rows);
    rb_marks_free(accounts->marks);
    rb_slots_free(accounts->slots);
    free(accounts);
}

void rb_accounts_start(struct rb_accounts *accounts)
{
    const struct rb_ports *ports = accounts->ports;
    int64_t now = rb_clock_now_ms(ports->clock);
    accounts->started = true;
    RB_LIST_EACH (&accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        RB_LIST_EACH (&account->chains, of) {
            struct rb_chain *chain = RB_CONTAINER(of, struct rb_chain, node);
            bool surely_quiet = !chain->doubt && (chain->state == RB_CHAIN_ACTIVE || chain->state == RB_CHAIN_HELD);
            chain->quiet_ms = surely_quiet ? now : now + ports->config->retry_after_end_ms;
            chain->hold_until_ms = now + HOLD_MS;
        }
        account_kick(account);
    }
}

void rb_accounts_stop(struct rb_accounts *accounts)
{
    accounts->stopped = true;
    RB_LIST_EACH (&accounts->accounts, node)
        rb_timer_stop(accounts->ports->clock, &RB_CONTAINER(node, struct rb_account, node)->pump);
}

bool rb_accounts_quiet(struct rb_accounts *accounts)
{
    return accounts->token_calls == 0;
}
