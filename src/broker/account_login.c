/* Logging in with a password: asked for by a person, or by ourselves with the stored one when every chain is dead.
 *
 *     start ──▶ the relay's login ──200──▶ counter written ──▶ fact: account and chain rows ──commit──▶ done
 *
 * An answer that belongs to an older epoch of its account (R6) becomes a chain that is revoked. */
#include <stdlib.h>
#include <string.h>

#include "account_login.h"
#include "log.h"

struct login_op {
    struct rb_list node; /* rb_accounts.logins */
    struct rb_fact fact;
    struct rb_effect begin, committed;
    int holders;
    struct rb_accounts *accounts;
    struct rb_account *account; /* NULL: a new one */
    int64_t epoch;              /* the account's at the start */
    bool recovery, keep;
    char *name, *relay_url, *ca_file, *username;
    struct rb_secret *password;
    rb_account_done done;
    void *arg;
    /* the answer */
    bool password_refused;
    struct rb_account *made;   /* prepared for a new account */
    struct rb_chain *chain[2]; /* prepared; the second for a secondary token */
    struct rb_str sealed_token[2], sealed_access, sealed_password;
    struct rb_secret *access;
    struct rb_claims claims;
    int64_t expires_ms, lifetime_ms, expires_wall_ms;
};

static void op_free(struct login_op *op)
{
    for (int i = 0; i < 2; i++) {
        rb_str_free(&op->sealed_token[i]);
        if (!op->chain[i])
            continue;
        op->chain[i]->pinned = false;
        if (!op->chain[i]->present)
            chain_free(op->chain[i]);
    }
    if (op->account && op->account->recovery == op)
        op->account->recovery = NULL;
    rb_list_remove(&op->node);
    rb_tick_cancel(&op->begin);
    rb_tick_cancel(&op->committed);
    rb_str_free(&op->sealed_access);
    rb_str_free(&op->sealed_password);
    rb_secret_free(op->access);
    rb_secret_free(op->password);
    rb_claims_free(&op->claims);
    free(op->name);
    free(op->relay_url);
    free(op->ca_file);
    free(op->username);
    free(op);
}

void account_logins_free(struct rb_accounts *accounts)
{
    RB_LIST_EACH_SAFE (&accounts->logins, node)
        op_free(RB_CONTAINER(node, struct login_op, node));
}

static void op_fail(struct login_op *op, enum rb_status status, const char *text)
{
    struct rb_error err;
    rb_fail(&err, status, "%s", text);
    if (op->done)
        op->done(op->arg, status, &err, NULL);
    op_free(op);
}

/* --- the answer, as a fact --- */

static void write_login(struct login_op *op, struct rb_account *account)
{
    struct rb_accounts *accounts = op->accounts;
    int64_t wall = rb_clock_wall_ms(accounts->ports->clock);
    for (int i = 0; i < 2 && op->chain[i]; i++)
        chain_add(op->chain[i], RB_CHAIN_ACTIVE, wall, rb_str_span(&op->sealed_token[i]));
    account_learn(account, &op->claims, false);
    struct rb_account_row row = {
        .id = account->id,
        .access_token = rb_str_span(&op->sealed_access),
        .access_expires = op->expires_wall_ms,
        .access_lifetime = op->lifetime_ms,
        .access_chain = op->chain[0]->id,
        .access_generation = 0,
    };
    rb_account_rows_set_access(accounts->account_rows, &row);
    if (op->sealed_password.len) {
        account->has_password = true;
        rb_account_rows_set_password(accounts->account_rows, account->id, rb_str_span(&op->sealed_password));
    }
    account->announce = true;
}

/* R6: a logout or another login came between. */
static bool came_too_late(const struct login_op *op)
{
    if (op->account && (op->account->epoch != op->epoch || op->account->retired || !op->account->present))
        return true;
    const struct rb_account *named = rb_account_by_name(op->accounts, rb_span_of(op->name));
    const struct rb_account *same = account_by_identity(op->accounts, op->relay_url, op->username);
    return op->made && ((named && named != op->account) || (same && same != op->account));
}

static void apply_tokens(struct login_op *op)
{
    struct rb_account *account = op->made ? op->made : op->account;
    if (came_too_late(op)) {
        if (op->made)
            account_add(account, true);
        for (int i = 0; i < 2 && op->chain[i]; i++)
            chain_add(op->chain[i], RB_CHAIN_REVOKING, rb_clock_wall_ms(op->accounts->ports->clock),
                      rb_str_span(&op->sealed_token[i]));
        return;
    }
    if (op->made) {
        if (op->account)
            account_retire(op->account);
        account_add(account, false);
    } else if (!op->recovery) {
        account_end_login(account, RB_ACCOUNT_ACTIVE);
        rb_free_pointer(&account->ca_file);
        account->ca_file = op->ca_file ? rb_span_dup(rb_span_of(op->ca_file)) : NULL;
    }
    write_login(op, account);
}

static void op_apply(struct rb_fact *fact)
{
    struct login_op *op = RB_CONTAINER(fact, struct login_op, fact);
    struct rb_account *account = op->account;
    op->holders++;
    rb_tick_after(op->accounts->ports->tick, &op->committed);
    if (!op->password_refused) {
        apply_tokens(op);
        return;
    }
    if (!account->present || account->epoch != op->epoch || !account->has_password)
        return;
    rb_event(op->accounts->events, account->id, "password_refused",
             "%s: the relay refuses the stored password; it is forgotten.", account->name);
    account_wipe_password(account);
    account_settle(account);
}

static void op_let_go(struct login_op *op)
{
    if (--op->holders == 0)
        op_free(op);
}

static void op_release(struct rb_fact *fact)
{
    op_let_go(RB_CONTAINER(fact, struct login_op, fact));
}

static void finish(struct login_op *op)
{
    struct rb_chain *chain = op->chain[0];
    struct rb_account *account = chain->account;
    if (chain->state != RB_CHAIN_ACTIVE || account->state != RB_ACCOUNT_ACTIVE || account->retired) {
        if (op->access)
            account_deny_access(account, op->access);
        struct rb_error err;
        rb_fail(&err, RB_DENIED, "The account was logged out meanwhile; this login is revoked.");
        if (op->done)
            op->done(op->arg, RB_DENIED, &err, NULL);
        return;
    }
    account->failures = 0;
    account->last_problem[0] = 0;
    if (op->access) {
        struct rb_secret *access = op->access;
        op->access = NULL;
        account_publish(account, access, op->expires_ms, op->lifetime_ms, chain->id, 0);
    }
    if (op->done)
        op->done(op->arg, RB_OK, NULL, account);
}

static void op_committed(struct rb_effect *effect, enum rb_status committed)
{
    struct login_op *op = RB_CONTAINER(effect, struct login_op, committed);
    if (committed == RB_OK && !op->password_refused)
        finish(op);
    op_let_go(op);
}

/* --- the relay's answer --- */

static bool prepare_chain(struct login_op *op, struct rb_account *account, int i, struct rb_span token)
{
    struct rb_accounts *accounts = op->accounts;
    struct rb_chain *chain = chain_new(account);
    if (!chain)
        return false;
    chain->pinned = true;
    op->chain[i] = chain;
    rb_random_fill(accounts->ports->random, chain->uid, sizeof chain->uid);
    struct rb_seal seal = account_seal(account, chain, 0, "refresh_token");
    /* R3: a chain is in the counter file before it has a row. */
    return rb_vault_seal(accounts->ports->vault, &seal, token, &op->sealed_token[i]) == RB_OK &&
           rb_marks_write(accounts->marks, chain->uid, 1) == RB_OK;
}

static bool identity_differs(const struct rb_account *account, const char *relay_url, const char *username)
{
    return !rb_span_is(rb_span_of(relay_url), account->relay_url) ||
           !rb_span_is(rb_span_of(username), account->username);
}

static bool prepare(struct login_op *op, const struct rb_answer *answer, const struct rb_tokens *tokens)
{
    const struct rb_ports *ports = op->accounts->ports;
    struct rb_account *account = op->account;
    if (!account || identity_differs(account, op->relay_url, op->username)) {
        account = op->made = account_prepare(op->accounts, op->name, op->relay_url, op->username, op->ca_file);
        if (!account)
            return false;
    }
    if (!prepare_chain(op, account, 0, tokens->refresh_token) ||
        (tokens->refresh_token_secondary.len && !prepare_chain(op, account, 1, tokens->refresh_token_secondary)))
        return false;
    if (op->keep) {
        struct rb_seal seal = account_seal(account, NULL, 0, "password");
        if (rb_vault_seal(ports->vault, &seal, rb_secret_span(op->password), &op->sealed_password) != RB_OK)
            return false;
    }
    int64_t now = rb_clock_now_ms(ports->clock), wall = rb_clock_wall_ms(ports->clock);
    op->lifetime_ms = tokens->expires_in_s * 1000;
    op->expires_ms = now + op->lifetime_ms;
    op->expires_wall_ms = wall + op->lifetime_ms;
    rb_claims_read(tokens->access_token, &op->claims);
    if (rb_secret_new(tokens->access_token, &op->access, NULL) != RB_OK)
        op->access = NULL;
    struct rb_seal seal = account_seal(account, op->chain[0], 0, "access_token");
    int64_t skew = answer->relay_wall_ms < 0 ? 0 : answer->relay_wall_ms - wall;
    if (skew < -CLOCKS_AGREE_MS || skew > CLOCKS_AGREE_MS ||
        rb_vault_seal(ports->vault, &seal, tokens->access_token, &op->sealed_access) != RB_OK)
        rb_str_reset(&op->sealed_access);
    return true;
}

static void abandoned(void *arg, const struct rb_answer *answer)
{
    struct rb_accounts *accounts = arg;
    accounts->token_calls--;
}

static void give_up(struct login_op *op, struct rb_span refresh_token)
{
    struct rb_accounts *accounts = op->accounts;
    struct rb_relay_peer peer = {.url = op->relay_url, .ca_file = op->ca_file};
    if (refresh_token.len &&
        rb_relay_revoke_chain(accounts->ports->relay, &peer, refresh_token, abandoned, accounts, NULL) == RB_OK)
        accounts->token_calls++;
}

/* What cannot be kept is given back; best effort. */
static void give_up_tokens(struct login_op *op, const struct rb_tokens *tokens)
{
    give_up(op, tokens->refresh_token);
    give_up(op, tokens->refresh_token_secondary);
}

static void submit(struct login_op *op)
{
    op->holders = 1;
    rb_tick_fact(op->accounts->ports->tick, &op->fact);
}

static void recovery_failed(struct login_op *op, const struct rb_answer *answer)
{
    enum { INACTIVE_REST_MS = 60 * 1000 }; /* somebody has to let the user in again */
    struct rb_account *account = op->account;
    account_tell_problem(account, answer);
    account_back_off(account, answer->problem == RB_PROBLEM_FORBIDDEN ? INACTIVE_REST_MS : answer->retry_after_ms);
    if (answer->problem == RB_PROBLEM_UNAUTHORIZED) {
        op->password_refused = true;
        submit(op);
        return;
    }
    op_free(op);
    account_kick(account);
}

static void person_failed(struct login_op *op, const struct rb_answer *answer)
{
    char text[RB_ERROR_MAX];
    enum rb_status status = RB_UNAVAILABLE;
    if (answer->problem == RB_PROBLEM_UNAUTHORIZED || answer->problem == RB_PROBLEM_FORBIDDEN ||
        answer->problem == RB_PROBLEM_INVALID)
        status = RB_DENIED;
    if (answer->problem == RB_PROBLEM_UNAUTHORIZED)
        snprintf(text, sizeof text, "The relay does not accept this user name and password.");
    else if (answer->problem == RB_PROBLEM_FORBIDDEN)
        snprintf(text, sizeof text, "The relay says that this user is not active.");
    else if (answer->problem == RB_PROBLEM_RATE)
        snprintf(text, sizeof text, "The relay allows no more logins from here for now; try again in a minute.");
    else
        snprintf(text, sizeof text, "The login at %.200s failed: %s%s%.160s.", op->relay_url,
                 rb_problem_text(answer->problem), answer->detail[0] ? ": " : "", answer->detail);
    op_fail(op, status, text);
}

static void logged_in(void *arg, const struct rb_answer *answer, const struct rb_tokens *tokens)
{
    struct login_op *op = arg;
    struct rb_accounts *accounts = op->accounts;
    accounts->token_calls--;
    if (answer->end == RB_END_EXECUTED && answer->problem == RB_PROBLEM_NONE && tokens) {
        if (prepare(op, answer, tokens)) {
            submit(op);
            return;
        }
        give_up_tokens(op, tokens);
        if (op->recovery) {
            account_back_off(op->account, -1);
            account_kick(op->account);
            op_free(op);
        } else {
            op_fail(op, RB_IO,
                    "The login could not be kept: the counter file in the key folder could not be written, or "
                    "memory is short.");
        }
        return;
    }
    if (answer->problem == RB_PROBLEM_RATE)
        rb_budget_refused(accounts->budgets, op->relay_url, RB_BUDGET_LOGIN, answer->retry_after_ms);
    else if (answer->problem == RB_PROBLEM_UNREACHABLE)
        rb_budget_give_back(accounts->budgets, op->relay_url, RB_BUDGET_LOGIN);
    if (op->recovery)
        recovery_failed(op, answer);
    else
        person_failed(op, answer);
}

static enum rb_status ask(struct login_op *op)
{
    struct rb_accounts *accounts = op->accounts;
    struct rb_relay_peer peer = {.url = op->relay_url, .ca_file = op->ca_file};
    enum rb_status status =
        rb_relay_login(accounts->ports->relay, &peer, op->username, rb_secret_span(op->password), logged_in, op, NULL);
    if (status == RB_OK)
        accounts->token_calls++;
    else
        rb_budget_give_back(accounts->budgets, op->relay_url, RB_BUDGET_LOGIN);
    return status;
}

static void begin(struct rb_effect *effect, enum rb_status committed)
{
    struct login_op *op = RB_CONTAINER(effect, struct login_op, begin);
    enum rb_status status = committed != RB_OK ? committed : op->accounts->stopped ? RB_UNAVAILABLE : ask(op);
    if (status == RB_OK)
        return;
    char text[80];
    snprintf(text, sizeof text, "The login could not be started: %s.", rb_status_text(status));
    op_fail(op, status, text);
}

/* --- starting --- */

static struct login_op *op_new(struct rb_accounts *accounts, struct rb_account *account, const char *name,
                               const char *relay_url, const char *ca_file, const char *username)
{
    struct login_op *op = calloc(1, sizeof *op);
    if (!op)
        return NULL;
    op->accounts = accounts;
    op->account = account;
    op->epoch = account ? account->epoch : 0;
    op->fact = (struct rb_fact){.apply = op_apply, .release = op_release};
    op->begin.run = begin;
    op->committed.run = op_committed;
    rb_list_push(&accounts->logins, &op->node);
    op->name = rb_span_dup(rb_span_of(name));
    op->relay_url = rb_span_dup(rb_span_of(relay_url));
    op->ca_file = ca_file ? rb_span_dup(rb_span_of(ca_file)) : NULL;
    op->username = rb_span_dup(rb_span_of(username));
    if (op->name && op->relay_url && op->username && (!ca_file || op->ca_file))
        return op;
    op_free(op);
    return NULL;
}

void account_recover(struct rb_account *account)
{
    struct rb_accounts *accounts = account->accounts;
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT;
    struct rb_seal seal = account_seal(account, NULL, 0, "password");
    struct rb_secret *password = NULL;
    struct login_op *op = NULL;
    enum rb_status status = rb_account_rows_password(accounts->account_rows, account->id, &sealed);
    if (status == RB_OK)
        status = rb_vault_unseal(accounts->ports->vault, &seal, rb_str_span(&sealed), &password);
    if (status == RB_OK) {
        op = op_new(accounts, account, account->name, account->relay_url, account->ca_file, account->username);
        status = op ? RB_OK : RB_NO_MEMORY;
    }
    if (!op) {
        rb_secret_free(password);
        rb_budget_give_back(accounts->budgets, account->relay_url, RB_BUDGET_LOGIN);
        if (status == RB_CORRUPT) {
            rb_event(accounts->events, account->id, "password_refused",
                     "%s: the sealed password does not open; it is "
                     "forgotten.",
                     account->name);
            account_wipe_password(account);
            account_settle(account);
        } else {
            account_back_off(account, COMMIT_FAILED_WAIT_MS);
            account_kick(account);
        }
        return;
    }
    op->recovery = true;
    op->password = password;
    account->recovery = op;
    if (ask(op) != RB_OK) {
        account_back_off(account, COMMIT_FAILED_WAIT_MS);
        account_kick(account);
        op_free(op);
    }
}

bool account_login_is_under_way(const struct rb_accounts *accounts, const char *name, const char *relay_url,
                                const char *username)
{
    RB_LIST_EACH (&accounts->logins, node) {
        const struct login_op *op = RB_CONTAINER(node, struct login_op, node);
        if (!op->recovery &&
            (rb_span_is(rb_span_of(name), op->name) ||
             (rb_span_is(rb_span_of(relay_url), op->relay_url) && rb_span_is(rb_span_of(username), op->username))))
            return true;
    }
    return false;
}

enum rb_status account_login_password(struct rb_accounts *accounts, struct rb_account *account, const char *relay_url,
                                      const struct rb_login *login, rb_account_done done, void *arg,
                                      struct rb_error *err)
{
    int64_t wait_ms = rb_budget_take(accounts->budgets, relay_url, RB_BUDGET_LOGIN);
    if (wait_ms > 0)
        return rb_fail(err, RB_UNAVAILABLE, "The relay allows no more logins from here for now; try again in %lld s.",
                       (long long)(wait_ms + 999) / 1000);
    struct login_op *op = op_new(accounts, account, login->name, relay_url, login->ca_file, login->username);
    enum rb_status status = op ? rb_secret_new(login->password, &op->password, err) : RB_NO_MEMORY;
    if (status != RB_OK) {
        rb_budget_give_back(accounts->budgets, relay_url, RB_BUDGET_LOGIN);
        if (op)
            op_free(op);
        return op ? status : rb_fail(err, status, "There is not enough memory.");
    }
    op->keep = login->keep_password;
    op->done = done;
    op->arg = arg;
    rb_tick_after(accounts->ports->tick, &op->begin);
    return RB_OK;
}
