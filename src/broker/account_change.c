/* What is written when a login begins or ends: accounts and chains come, go and change hands. */
#include <stdlib.h>

#include "account_login.h"

void chain_add(struct rb_chain *chain, enum rb_chain_state state, int64_t rotated, struct rb_span sealed)
{
    struct rb_account *account = chain->account;
    struct rb_accounts *accounts = account->accounts;
    chain->id = rb_store_next_id(accounts->ports->store, "chain");
    chain->epoch = account->epoch;
    chain->generation = 0;
    chain->mark = 1;
    chain->rotated = rotated;
    chain->doubt = false;
    chain_set_state(chain, state);
    chain->present = true;
    chain_save(chain);
    rb_chain_rows_set_token(accounts->chain_rows, chain->id, sealed);
}

void account_end_login(struct rb_account *account, enum rb_account_state state)
{
    account->epoch++;
    RB_LIST_EACH (&account->chains, node)
        chain_begin_revoke(RB_CONTAINER(node, struct rb_chain, node));
    account_set_state(account, state);
    account_save(account);
    account_wipe_access(account);
    account_wipe_password(account);
    account->announce = true;
}

void account_add(struct rb_account *account, bool retired)
{
    account->id = rb_store_next_id(account->accounts->ports->store, "account");
    account->created = rb_clock_wall_ms(account->accounts->ports->clock);
    account_set_state(account, retired ? RB_ACCOUNT_LOGGED_OUT : RB_ACCOUNT_ACTIVE);
    account->present = true;
    account->retired = retired;
    account->epoch = 1;
    account_save(account);
}

void account_retire(struct rb_account *account)
{
    account->retired = true;
    account_end_login(account, RB_ACCOUNT_LOGGED_OUT);
}

bool account_take_ca_file(struct rb_account *account, const char *ca_file)
{
    char *copy = ca_file ? rb_span_dup(rb_span_of(ca_file)) : NULL;
    if (ca_file && !copy)
        return false;
    free(account->ca_file);
    account->ca_file = copy;
    return true;
}

/* One that was prepared before and whose commit failed. */
static struct rb_account *absent(struct rb_accounts *accounts, const char *name, const char *relay_url,
                                 const char *username)
{
    RB_LIST_EACH (&accounts->accounts, node) {
        struct rb_account *account = RB_CONTAINER(node, struct rb_account, node);
        if (!account->present && account->name && account->username && account->relay_url &&
            rb_span_is(rb_span_of(name), account->name) && rb_span_is(rb_span_of(relay_url), account->relay_url) &&
            rb_span_is(rb_span_of(username), account->username))
            return account;
    }
    return NULL;
}

struct rb_account *account_prepare(struct rb_accounts *accounts, const char *name, const char *relay_url,
                                   const char *username, const char *ca_file)
{
    struct rb_account *account = absent(accounts, name, relay_url, username);
    if (account)
        return account_take_ca_file(account, ca_file) ? account : NULL;
    account = account_new(accounts);
    if (!account)
        return NULL;
    rb_random_fill(accounts->ports->random, account->uid, sizeof account->uid);
    account->name = rb_span_dup(rb_span_of(name));
    account->relay_url = rb_span_dup(rb_span_of(relay_url));
    account->username = rb_span_dup(rb_span_of(username));
    account->sub = rb_span_dup(RB_SPAN(""));
    if (!account->name || !account->relay_url || !account->username || !account->sub ||
        !account_take_ca_file(account, ca_file)) {
        account_free(account);
        return NULL;
    }
    return account;
}
