#include "logins.h"

#include <stdlib.h>
#include <string.h>

#include "account_private.h"
#include "codec.h"

static const char username[] = "user";

static int living_chains(const struct logins *logins)
{
    int count = 0;
    RB_LIST_EACH (&logins->account->chains, node)
        count += chain_is_living(RB_CONTAINER(node, struct rb_chain, node));
    return count;
}

bool logins_begin(struct logins *logins, struct world *world, bool keep_password)
{
    logins->world = world;
    snprintf(logins->password, sizeof logins->password, "correct horse");
    logins->account = world_login(world, "main", username, keep_password);
    if (!logins->account)
        return false;
    logins->epoch = logins->account->epoch;
    logins->keeps_password = keep_password;
    logins->chains = world->config.pairs ? 2 : 1;
    logins->lost_before = world->lost_refreshes;
    return true;
}

static void login_begins(struct logins *logins)
{
    struct world *world = logins->world;
    world_trace(world, "another login is on disk");
    if (logins->next.import && !logins->next.stranger)
        world->orphan_chains--;
    logins->keeps_password = logins->next.keep;
    logins->may_end = logins->next.stranger || (logins->next.revoked && !logins->next.keep);
    logins->may_be_foreign = logins->next.revoked;
    logins->chains = logins->next.import || !world->config.pairs ? 1 : 2;
    logins->lost_before = world->lost_refreshes;
    logins->next.asked = false;
}

static bool is_on_disk(const struct world *world)
{
    struct rb_tick *tick = rb_engine_tick(world->engine);
    return !rb_store_dirty(rb_tick_store(tick)) && !rb_tick_has_waiting_facts(tick);
}

void logins_look(struct logins *logins)
{
    struct world *world = logins->world;
    if (!world->up || !logins->account || !is_on_disk(world))
        return;
    enum rb_account_state state = rb_account_state(logins->account);
    if (logins->account->epoch != logins->epoch && !logins->restored) {
        if (state != RB_ACCOUNT_LOGGED_OUT && !logins->next.asked)
            world_fail(world, "P5: a login has come that nobody asked for");
        logins->epoch = logins->account->epoch;
        if (state != RB_ACCOUNT_LOGGED_OUT)
            login_begins(logins);
        else
            logins->next.asked &= logins->next.epoch >= logins->epoch;
    }
    logins->logged_out = state == RB_ACCOUNT_LOGGED_OUT;
    if (logins->logout_answered && !logins->logged_out && !logins->restored)
        world_fail(world, "P5: the logout was answered, and the account is %s", rb_account_state_text(state));
    if (logins->logged_out) {
        struct rb_span token;
        uint64_t serial;
        if (rb_account_access(logins->account, &token, &serial) != RB_DENIED)
            world_fail(world, "P5: an access token was handed out after the logout");
    }
}

static void on_logged_out(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    struct logins *logins = arg;
    if (status == RB_OK && world_leaves(logins->world)) {
        world_trace(logins->world, "logged out");
        logins->logout_answered = !(logins->next.asked && logins->next.epoch >= account->epoch);
    }
}

void logins_log_out(struct logins *logins)
{
    struct rb_error err;
    world_trace(logins->world, "the administrator logs out");
    rb_account_logout(logins->account, on_logged_out, logins, &err);
    logins->logouts++;
}

static void on_logged_in(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    struct logins *logins = arg;
    world_trace(logins->world, "the administrator's login ended: %s", status == RB_OK ? "good" : err->text);
}

static bool start_login(struct logins *logins, const struct rb_login *login, bool stranger)
{
    struct rb_error err = {0};
    /* What came of the last one has not been looked at: a commit with an unknown outcome may have kept it. */
    if (logins->account->epoch != logins->epoch)
        return false;
    world_trace(logins->world, "the administrator %s", login->username ? "logs in again" : "imports a token");
    if (rb_account_login(logins->world->broker->accounts, login, on_logged_in, logins, &err) != RB_OK) {
        world_trace(logins->world, "it does not start: %s", err.text);
        return false;
    }
    logins->next.asked = true;
    logins->next.epoch = logins->account->epoch;
    logins->next.keep = login->keep_password;
    logins->next.import = !login->username;
    logins->next.stranger = stranger;
    logins->next.revoked = false;
    logins->logout_answered = false;
    logins->logins++;
    logins->imports += logins->next.import;
    return true;
}

/* R6: a logout while the login is under way, or just begun. */
static void change_mind(struct logins *logins, int in_a_thousand)
{
    struct world *world = logins->world;
    if (!world_chance(world, in_a_thousand))
        return;
    world_end_tick(world);
    world_run(world, world_between(world, 0, 1000));
    if (world->up)
        logins_log_out(logins);
}

void logins_log_in_again(struct logins *logins)
{
    struct world *world = logins->world;
    struct rb_login login = {
        .name = "main",
        .relay_url = world_url,
        .username = username,
        .password = rb_span_of(logins->password),
        .keep_password = world_between(world, 0, 1),
    };
    if (start_login(logins, &login, false))
        change_mind(logins, 200);
}

void logins_import(struct logins *logins)
{
    struct world *world = logins->world;
    struct rb_error err;
    if (rb_account_release(logins->account, (struct rb_span){0}, &err) == RB_OK)
        return;
    if (logins->next.asked)
        return;
    bool stranger = world_chance(world, 150);
    if (stranger && rb_model_user(world->model, "stranger", logins->password, "") != RB_OK)
        abort();
    RB_CLEANUP_STR struct rb_str form = RB_STR_INIT;
    rb_encode_login(&form, stranger ? "stranger" : username, rb_span_of(logins->password));
    RB_CLEANUP_FREE char *token = world_foreign_login(world, rb_str_span(&form));
    struct rb_login login = {
        .name = "main",
        .relay_url = world_url,
        .refresh_token = rb_span_of(token),
        .hold = world_chance(world, 700),
    };
    /* Nobody's until it is on disk. */
    world->orphan_chains += !stranger;
    if (start_login(logins, &login, stranger))
        change_mind(logins, 100);
}

void logins_revoke_upstream(struct logins *logins)
{
    world_trace(logins->world, "an administrator revokes every chain");
    rb_model_revoke_all(logins->world->model, username);
    logins->may_be_foreign = logins->next.revoked = true;
    logins->may_end |= !logins->keeps_password;
    logins->revoked_upstream++;
}

void logins_change_password(struct logins *logins)
{
    snprintf(logins->password, sizeof logins->password, "changed %lld",
             (long long)world_between(logins->world, 1, 999));
    if (rb_model_user(logins->world->model, username, logins->password, "") != RB_OK)
        abort();
    world_trace(logins->world, "the password is changed");
    /* A login that is under way may still keep the old one. */
    logins->keeps_password = false;
    logins->next.keep = false;
    logins->may_end = true;
}

bool logins_settled(struct logins *logins)
{
    size_t tokens, chains;
    rb_model_live_tokens(logins->world->model, username, &tokens, &chains);
    return chains <= logins->world->orphan_chains + (size_t)living_chains(logins);
}

static size_t dead_chains(const struct logins *logins)
{
    size_t count = 0;
    RB_LIST_EACH (&logins->account->chains, node)
        count += RB_CONTAINER(node, struct rb_chain, node)->state == RB_CHAIN_DEAD;
    return count;
}

void logins_check(struct logins *logins)
{
    struct world *world = logins->world;
    if (!logins->revoked_upstream && dead_chains(logins) > world->lost_refreshes)
        world_fail(world, "P2: %zu lost answers cost %zu chains", world->lost_refreshes, dead_chains(logins));
    size_t lost = world->lost_refreshes - logins->lost_before;
    if (rb_account_state(logins->account) != RB_ACCOUNT_LOGIN_REQUIRED)
        return;
    if (logins->keeps_password)
        world_fail(world, "P2: the login is lost although the password is kept");
    else if (!logins->may_end && lost < (size_t)logins->chains)
        world_fail(world, "P2: a login of %d chains is lost, but %zu answers were", logins->chains, lost);
}

void logins_chain_moves(struct logins *logins, long long chain, const char *to)
{
    enum { ENOUGH_LEFT_MS = 60 * 1000 };
    bool rotates = strcmp(to, "rotating") == 0, uncertain = strcmp(to, "uncertain") == 0;
    if (!rotates && !uncertain)
        return;
    struct world *world = logins->world;
    struct rb_account *account =
        world && world->up ? rb_account_by_name(world->broker->accounts, RB_SPAN("main")) : NULL;
    if (!account || account_access_left_ms(account) < ENOUGH_LEFT_MS)
        return;
    RB_LIST_EACH (&account->chains, node) {
        const struct rb_chain *other = RB_CONTAINER(node, struct rb_chain, node);
        if (other->id == chain || !other->present)
            continue;
        logins->spare_rests += uncertain && other->state == RB_CHAIN_ACTIVE;
        if (rotates && (other->state == RB_CHAIN_ROTATING || other->state == RB_CHAIN_UNCERTAIN))
            world_fail(world, "R5: a chain begins to rotate while the other is %s, with %lld ms left",
                       rb_chain_state_text(other->state), (long long)account_access_left_ms(account));
    }
}

/* A login that is granted and not on disk: it is neither before the copy nor after it. */
static bool login_is_under_way(const struct logins *logins)
{
    const struct world *world = logins->world;
    return world->up && logins->account && (!rb_list_empty(&logins->account->accounts->logins) || !is_on_disk(world));
}

void logins_copy(struct logins *logins)
{
    struct world *world = logins->world;
    if (world->backup || login_is_under_way(logins))
        return;
    world_trace(world, "a copy of the disk is made");
    world->backup = sim_vfs_copy(world->vfs);
    logins->copied_logins = world->logins_granted + logins->imports;
}

void logins_restore(struct logins *logins)
{
    struct world *world = logins->world;
    world_trace(world, "the copy is put back");
    sim_vfs_restore(world->vfs, world->backup);
    world->backup = NULL;
    logins->restored++;
    logins->account = NULL;
}

void logins_check_restored(struct logins *logins)
{
    struct world *world = logins->world;
    struct rb_account *account = logins->account;
    /* A login that came after the copy is not in it: nobody can revoke it from here. */
    if (world->logins_granted + logins->imports == logins->copied_logins && !logins_settled(logins))
        world_fail(world, "R3: a restored copy left a chain alive at the relay");
    if (rb_account_state(account) == RB_ACCOUNT_ACTIVE && living_chains(logins) == 0)
        world_fail(world, "R3: a restored copy with a stored password did not log in again");
}
