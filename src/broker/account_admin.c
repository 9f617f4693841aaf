/* What a person asks for: a look at a relay, login, import and its release, logout. */
#include <stdlib.h>
#include <string.h>

#include "account_login.h"
#include "log.h"
#include "url.h"

enum { PASSWORD_MAX = 4096, TOKEN_MAX = 4096, PATH_MAX_BYTES = 4096 };

/* Tells the caller after the commit. */
struct told {
    struct rb_effect effect;
    struct rb_account *account;
    struct rb_chain *chain;   /* import: pinned until then */
    struct rb_secret *access; /* logout: denied at the relay after it */
    rb_account_done done;
    void *arg;
};

static void tell(struct rb_effect *effect, enum rb_status committed)
{
    struct told *told = RB_CONTAINER(effect, struct told, effect);
    struct rb_account *account = told->account;
    struct rb_error err;
    rb_fail(&err, committed, "The database could not be written: %s.", rb_status_text(committed));
    if (told->chain) {
        told->chain->pinned = false;
        if (!told->chain->present)
            chain_free(told->chain);
    }
    if (told->access && committed == RB_OK)
        account_deny_access(account, told->access);
    rb_secret_free(told->access);
    if (told->done)
        told->done(told->arg, committed, committed == RB_OK ? NULL : &err, committed == RB_OK ? account : NULL);
    free(told);
}

static struct told *tell_later(struct rb_account *account, rb_account_done done, void *arg)
{
    struct told *told = calloc(1, sizeof *told);
    if (!told)
        return NULL;
    told->effect.run = tell;
    told->account = account;
    told->done = done;
    told->arg = arg;
    rb_tick_after(account->accounts->ports->tick, &told->effect);
    return told;
}

static enum rb_status check_ca_file(const char *ca_file, struct rb_error *err)
{
    if (ca_file && (ca_file[0] != '/' || strlen(ca_file) > PATH_MAX_BYTES))
        return rb_fail(err, RB_INVALID, "The certificate file has to be given with its whole path.");
    return RB_OK;
}

/* --- a look at a relay --- */

struct probe {
    struct rb_list node; /* rb_accounts.probes */
    char *relay_url;
    rb_account_done done;
    void *arg;
};

static void probe_free(struct probe *probe)
{
    rb_list_remove(&probe->node);
    free(probe->relay_url);
    free(probe);
}

void account_probes_free(struct rb_accounts *accounts)
{
    RB_LIST_EACH_SAFE (&accounts->probes, node)
        probe_free(RB_CONTAINER(node, struct probe, node));
}

static void probed(void *arg, const struct rb_answer *answer)
{
    struct probe *probe = arg;
    struct rb_error err = {0};
    enum rb_status status = RB_OK;
    if (answer->end != RB_END_EXECUTED || answer->problem != RB_PROBLEM_NONE)
        status = rb_fail(&err, RB_UNAVAILABLE, "The check of %.200s failed: %s%s%.160s.", probe->relay_url,
                         rb_problem_text(answer->problem), answer->detail[0] ? ": " : "", answer->detail);
    probe->done(probe->arg, status, status == RB_OK ? NULL : &err, NULL);
    probe_free(probe);
}

enum rb_status rb_account_probe(struct rb_accounts *accounts, const char *relay_url, const char *ca_file,
                                rb_account_done done, void *arg, struct rb_error *err)
{
    char *url = NULL;
    enum rb_status status = check_ca_file(ca_file, err);
    if (status != RB_OK || (status = rb_url_normalise(relay_url, rb_url_insecure_allowed(), &url, err)) != RB_OK)
        return status;
    struct probe *probe = accounts->stopped ? NULL : calloc(1, sizeof *probe);
    if (!probe) {
        free(url);
        return accounts->stopped ? rb_fail(err, RB_UNAVAILABLE, "The daemon is stopping.")
                                 : rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    }
    *probe = (struct probe){.relay_url = url, .done = done, .arg = arg};
    rb_list_push(&accounts->probes, &probe->node);
    struct rb_relay_peer peer = {.url = url, .ca_file = ca_file};
    status = rb_relay_health(accounts->ports->relay, &peer, probed, probe, NULL);
    if (status != RB_OK) {
        probe_free(probe);
        return rb_fail(err, status, "The relay could not be asked: %s.", rb_status_text(status));
    }
    return RB_OK;
}

/* --- import --- */

static bool visible_ascii(struct rb_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < 0x21 || text.at[i] > 0x7e)
            return false;
    return text.len > 0;
}

static enum rb_status check_token(struct rb_span token, struct rb_error *err)
{
    if (!visible_ascii(token) || token.len > TOKEN_MAX)
        return rb_fail(err, RB_INVALID, "The refresh token is empty, too long or holds characters that no token has.");
    return RB_OK;
}

/* The chain of the account that holds this token already: an import that was interrupted and begins again. */
static struct rb_chain *chain_with_token(struct rb_account *account, struct rb_span token)
{
    RB_LIST_EACH (&account->chains, node) {
        struct rb_chain *chain = RB_CONTAINER(node, struct rb_chain, node);
        struct rb_secret *own = NULL;
        if (!chain_is_living(chain) || chain_token(chain, &own) != RB_OK)
            continue;
        bool same = rb_secret_equal(own, token);
        rb_secret_free(own);
        if (same)
            return chain;
    }
    return NULL;
}

static enum rb_status import_again(struct rb_chain *chain, const struct rb_login *login, rb_account_done done,
                                   void *arg, struct rb_error *err)
{
    struct rb_account *account = chain->account;
    if (chain->state != RB_CHAIN_HELD)
        return rb_fail(err, RB_BUSY, "The account %s holds this very token already and uses it.", account->name);
    if (!account_take_ca_file(account, login->ca_file) || !tell_later(account, done, arg))
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    account_save(account);
    if (login->hold) {
        chain->hold_until_ms = rb_clock_now_ms(account->accounts->ports->clock) + HOLD_MS;
        return RB_OK;
    }
    chain_set_state(chain, RB_CHAIN_ACTIVE);
    chain_save(chain);
    return RB_OK;
}

static struct rb_chain *import_chain(struct rb_account *account, struct rb_span token, struct rb_str *sealed)
{
    struct rb_accounts *accounts = account->accounts;
    struct rb_chain *chain = chain_new(account);
    if (!chain)
        return NULL;
    rb_random_fill(accounts->ports->random, chain->uid, sizeof chain->uid);
    struct rb_seal seal = account_seal(account, chain, 0, "refresh_token");
    /* R3: a chain is in the counter file before it has a row. */
    if (rb_vault_seal(accounts->ports->vault, &seal, token, sealed) == RB_OK &&
        rb_marks_write(accounts->marks, chain->uid, 1) == RB_OK)
        return chain;
    chain_free(chain);
    return NULL;
}

/* `account` NULL: a new one under that name; with `old` it takes the name of that one. */
static enum rb_status import(struct rb_accounts *accounts, struct rb_account *account, struct rb_account *old,
                             const char *relay_url, const struct rb_login *login, rb_account_done done, void *arg,
                             struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    bool made = !account;
    if (made)
        account = account_prepare(accounts, login->name, relay_url, "", login->ca_file);
    struct rb_chain *chain = account ? import_chain(account, login->refresh_token, &sealed) : NULL;
    bool good = chain && (made || account_take_ca_file(account, login->ca_file));
    struct told *told = good ? tell_later(account, done, arg) : NULL;
    if (!told) {
        if (chain)
            chain_free(chain);
        return rb_fail(err, RB_IO,
                       "The token could not be kept: the counter file in the key folder could not be written, or "
                       "memory is short.");
    }
    told->chain = chain;
    chain->pinned = true;
    if (old)
        account_retire(old);
    if (made)
        account_add(account, false);
    else
        account_end_login(account, RB_ACCOUNT_ACTIVE);
    chain->hold_until_ms = rb_clock_now_ms(accounts->ports->clock) + HOLD_MS;
    chain_add(chain, login->hold ? RB_CHAIN_HELD : RB_CHAIN_ACTIVE, 0, rb_str_span(&sealed));
    account->announce = true;
    return RB_OK;
}

static enum rb_status release(struct rb_account *account, struct rb_chain *chain, struct rb_span token,
                              struct rb_error *err)
{
    struct rb_accounts *accounts = account->accounts;
    if (token.len) {
        RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
        struct rb_seal seal = account_seal(account, chain, chain->generation, "refresh_token");
        enum rb_status status = rb_vault_seal(accounts->ports->vault, &seal, token, &sealed);
        if (status != RB_OK)
            return rb_fail(err, status, "The newer token could not be sealed: %s.", rb_status_text(status));
        rb_chain_rows_set_token(accounts->chain_rows, chain->id, rb_str_span(&sealed));
    }
    /* Failures of the login before it are not its own, and do not delay it. */
    account->failures = 0;
    account->not_before_ms = 0;
    account->last_problem[0] = 0;
    /* Its `rotated` is 0: it is rotated at once, before anything uses it. */
    chain_set_state(chain, RB_CHAIN_ACTIVE);
    chain_save(chain);
    return RB_OK;
}

enum rb_status rb_account_release(struct rb_account *account, struct rb_span refresh_token, struct rb_error *err)
{
    enum rb_status status = refresh_token.len ? check_token(refresh_token, err) : RB_OK;
    if (status != RB_OK)
        return status;
    rb_tick_lead(account->accounts->ports->tick);
    RB_LIST_EACH (&account->chains, node) {
        struct rb_chain *chain = RB_CONTAINER(node, struct rb_chain, node);
        if (chain->present && chain->state == RB_CHAIN_HELD)
            return release(account, chain, refresh_token, err);
    }
    return rb_fail(err, RB_NOT_FOUND, "No imported token of %s waits for its release.", account->name);
}

/* --- login --- */

static enum rb_status check_login(const struct rb_login *login, struct rb_error *err)
{
    if (!login->name || !rb_claims_is_name(rb_span_of(login->name)))
        return rb_fail(err, RB_INVALID, "An account's name is 1 to 255 printable characters.");
    if (!login->relay_url)
        return rb_fail(err, RB_INVALID, "The relay's URL is missing.");
    if (check_ca_file(login->ca_file, err) != RB_OK)
        return RB_INVALID;
    if (login->refresh_token.len)
        return login->username || login->password.len
                   ? rb_fail(err, RB_INVALID, "An import has a refresh token instead of user name and password.")
                   : check_token(login->refresh_token, err);
    if (!login->username || !rb_claims_is_name(rb_span_of(login->username)))
        return rb_fail(err, RB_INVALID, "A user name is 1 to 255 printable characters.");
    if (login->password.len == 0 || login->password.len > PASSWORD_MAX)
        return rb_fail(err, RB_INVALID, "The password is empty or too long.");
    return RB_OK;
}

/* R7. `*ret_old`: the account that has the name now under another identity. */
static enum rb_status check_identity(struct rb_accounts *accounts, const struct rb_login *login, const char *relay_url,
                                     struct rb_account **ret_same, struct rb_account **ret_old, struct rb_error *err)
{
    struct rb_account *named = rb_account_by_name(accounts, rb_span_of(login->name));
    const char *username = login->username ? login->username : "";
    bool same = named && rb_span_is(rb_span_of(relay_url), named->relay_url) &&
                (!login->username || rb_span_is(rb_span_of(username), named->username));
    /* Who an imported token belongs to is not known yet; with `replace` it may be anybody. */
    if (same && !login->username && login->replace && named->username[0])
        same = false;
    if (named && !same && !login->replace)
        return rb_fail(
            err, RB_EXISTS,
            "The account %s is %s at %s; posts that wait for it would go to somebody else. Use another name, or "
            "--replace.",
            named->name, named->username[0] ? named->username : "a user not known yet", named->relay_url);
    const struct rb_account *other = account_by_identity(accounts, relay_url, username);
    if (other && other != named)
        return rb_fail(err, RB_EXISTS, "%s at %s is the account %s already.", username, relay_url, other->name);
    *ret_same = same ? named : NULL;
    *ret_old = same ? NULL : named;
    return RB_OK;
}

enum rb_status rb_account_login(struct rb_accounts *accounts, const struct rb_login *login, rb_account_done done,
                                void *arg, struct rb_error *err)
{
    RB_CLEANUP_FREE char *relay_url = NULL;
    struct rb_account *same = NULL, *old = NULL;
    enum rb_status status;
    if ((status = check_login(login, err)) != RB_OK ||
        (status = rb_url_normalise(login->relay_url, rb_url_insecure_allowed(), &relay_url, err)) != RB_OK)
        return status;
    if (accounts->stopped)
        return rb_fail(err, RB_UNAVAILABLE, "The daemon is stopping.");
    if (account_login_is_under_way(accounts, login->name, relay_url, login->username ? login->username : ""))
        return rb_fail(err, RB_BUSY, "Another login of this account has not ended yet.");
    rb_tick_lead(accounts->ports->tick);
    status = check_identity(accounts, login, relay_url, &same, &old, err);
    if (status != RB_OK)
        return status;
    if (!login->refresh_token.len)
        return account_login_password(accounts, same ? same : old, relay_url, login, done, arg, err);
    struct rb_chain *chain = same ? chain_with_token(same, login->refresh_token) : NULL;
    if (chain)
        return import_again(chain, login, done, arg, err);
    return import(accounts, same, old, relay_url, login, done, arg, err);
}

/* --- logout --- */

enum rb_status rb_account_logout(struct rb_account *account, rb_account_done done, void *arg, struct rb_error *err)
{
    struct rb_accounts *accounts = account->accounts;
    struct rb_secret *access = NULL;
    rb_tick_lead(accounts->ports->tick);
    if (account->access && rb_secret_new(rb_secret_span(account->access), &access, err) != RB_OK)
        access = NULL;
    struct told *told = tell_later(account, done, arg);
    if (!told) {
        rb_secret_free(access);
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    }
    told->access = access;
    account_end_login(account, RB_ACCOUNT_LOGGED_OUT);
    return RB_OK;
}
