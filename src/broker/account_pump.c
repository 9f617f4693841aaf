/* What an account does next: decided here alone, from committed rows, by a timer. */
#include "account_private.h"
#include "log.h"

static void sooner(int64_t *next, int64_t at_ms)
{
    if (at_ms < *next)
        *next = at_ms;
}

/* R5: a chain that rests for a month is rotated, so that it does not expire; an imported one at once, since its file
 * holds the same token (R8). */
static bool rests_too_long(const struct rb_chain *chain, int64_t now, int64_t *next)
{
    int64_t wall = rb_clock_wall_ms(chain->account->accounts->ports->clock);
    if (chain->rotated == 0 || chain->rotated - wall > DAY_MS || wall - chain->rotated >= 29 * DAY_MS)
        return true;
    int64_t in_ms = chain->rotated + 29 * DAY_MS - wall;
    sooner(next, now + (in_ms < CHAIN_CHECK_MS ? in_ms : CHAIN_CHECK_MS));
    return false;
}

/* R5: one chain at risk at a time, unless the access token is about to end. */
static bool may_risk(const struct rb_account *account, const struct rb_chain *chain, int64_t now, int64_t *next)
{
    int64_t left = account_access_left_ms(account);
    RB_LIST_EACH (&account->chains, node) {
        const struct rb_chain *other = RB_CONTAINER(node, struct rb_chain, node);
        if (other == chain || !other->present ||
            (other->state != RB_CHAIN_ROTATING && other->state != RB_CHAIN_UNCERTAIN))
            continue;
        if (left >= RISK_LEFT_MS) {
            sooner(next, now + left - RISK_LEFT_MS + 1);
            return false;
        }
        if (other->state == RB_CHAIN_ROTATING && (!other->in_flight || now - other->sent_ms < RISK_ROTATING_MS)) {
            sooner(next, now + RISK_ROTATING_MS);
            return false;
        }
    }
    return true;
}

static bool needs_refresh(struct rb_account *account, int64_t now, int64_t *next)
{
    bool usable = account->access && account_access_left_ms(account) >= account_least_left_ms(account);
    if (account->wanted && !usable)
        return true;
    if (!account->access || !account->used)
        return false;
    if (now >= account->refresh_ms)
        return true;
    sooner(next, account->refresh_ms);
    return false;
}

static struct rb_chain *choose(struct rb_account *account, int64_t now, int64_t *next)
{
    bool needed = needs_refresh(account, now, next);
    struct rb_chain *best = NULL;
    RB_LIST_EACH (&account->chains, node) {
        struct rb_chain *chain = RB_CONTAINER(node, struct rb_chain, node);
        bool due = false;
        if (!chain->present || chain->sending || chain->rotation)
            continue;
        if (chain->state == RB_CHAIN_ACTIVE) {
            due = needed || rests_too_long(chain, now, next);
        } else if (chain->state == RB_CHAIN_UNCERTAIN) {
            due = now >= chain->quiet_ms;
            if (!due)
                sooner(next, chain->quiet_ms);
        }
        if (!due || !may_risk(account, chain, now, next))
            continue;
        bool better = !best || (chain->state != best->state ? (chain->state == RB_CHAIN_ACTIVE) == needed
                                                            : chain->rotated < best->rotated);
        if (better)
            best = chain;
    }
    return best;
}

static void release_held(struct rb_account *account, int64_t now, int64_t *next)
{
    RB_LIST_EACH (&account->chains, node) {
        struct rb_chain *chain = RB_CONTAINER(node, struct rb_chain, node);
        if (!chain->present || chain->state != RB_CHAIN_HELD)
            continue;
        if (now < chain->hold_until_ms) {
            sooner(next, chain->hold_until_ms);
            continue;
        }
        rb_event(account->accounts->events, account->id, "import_not_released",
                 "%s: the import was not finished; its token is used from now on. Make sure that nothing else uses the "
                 "file it came from.",
                 account->name);
        chain_set_state(chain, RB_CHAIN_ACTIVE);
        chain_save(chain);
    }
}

/* A stored password that does not help is tried again and again: the last login of a minute is left to people, unless
 * it is the only one. */
static int64_t take_login(struct rb_account *account)
{
    enum { LOOK_AGAIN_MS = 5000 };
    struct rb_budgets *budgets = account->accounts->budgets;
    int64_t window = 0;
    int64_t left = rb_budget_left(budgets, account->relay_url, RB_BUDGET_LOGIN, &window);
    if (left <= 1 && window >= 0)
        return LOOK_AGAIN_MS;
    return rb_budget_take(budgets, account->relay_url, RB_BUDGET_LOGIN);
}

static void refresh(struct rb_account *account, int64_t now, int64_t *next)
{
    struct rb_accounts *accounts = account->accounts;
    bool recover = !account_has_living_chain(account) && account->has_password && !account->recovery;
    struct rb_chain *chain = recover ? NULL : choose(account, now, next);
    if (!chain && !recover)
        return;
    if (now < account->not_before_ms) {
        sooner(next, account->not_before_ms);
        return;
    }
    int64_t wait_ms =
        recover ? take_login(account) : rb_budget_take(accounts->budgets, account->relay_url, RB_BUDGET_REFRESH);
    if (wait_ms > 0) {
        sooner(next, now + wait_ms);
        return;
    }
    if (recover) {
        account_recover(account);
    } else if (!chain_rotate(chain)) {
        rb_budget_give_back(accounts->budgets, account->relay_url, RB_BUDGET_REFRESH);
        account_back_off(account, -1);
        sooner(next, account->not_before_ms);
    }
}

static void told_me(void *arg, const struct rb_answer *answer, const struct rb_me *me)
{
    struct rb_account *account = arg;
    struct rb_accounts *accounts = account->accounts;
    if (answer->end != RB_END_EXECUTED || !me)
        return;
    rb_tick_lead(accounts->ports->tick);
    struct rb_claims claims = {.sub = rb_claims_name(me->user_id), .username = rb_claims_name(me->username)};
    if (account->present)
        account_learn(account, &claims, true);
    rb_claims_free(&claims);
}

/* An access token that cannot be read does not say whose it is: the relay is asked, once. */
static void ask_who(struct rb_account *account)
{
    if (account->asked_me || !account->access || (account->username[0] && account->sub[0]))
        return;
    account->asked_me = true;
    if (rb_account_me(account, OWN_UID, 0, told_me, account) != RB_OK)
        account->asked_me = false;
}

void account_pump(struct rb_timer *timer)
{
    struct rb_account *account = RB_CONTAINER(timer, struct rb_account, pump);
    struct rb_accounts *accounts = account->accounts;
    rb_secret_free(account->access_before);
    account->access_before = NULL;
    if (!accounts->started || accounts->stopped || !accounts->settled || !account->present)
        return;
    rb_tick_lead(accounts->ports->tick);
    /* The end of the tick comes back here. */
    if (account->changed)
        return;
    int64_t now = rb_clock_now_ms(accounts->ports->clock), next = INT64_MAX;
    RB_LIST_EACH (&account->chains, node) {
        struct rb_chain *chain = RB_CONTAINER(node, struct rb_chain, node);
        if (chain->present && chain->state == RB_CHAIN_REVOKING)
            chain_revoke_pump(chain, now, &next);
    }
    if (account->state == RB_ACCOUNT_ACTIVE && !account->retired) {
        release_held(account, now, &next);
        ask_who(account);
        if (!account->changed)
            refresh(account, now, &next);
    }
    if (next != INT64_MAX && !rb_timer_is_set(timer))
        rb_timer_set(accounts->ports->clock, timer, next);
}
