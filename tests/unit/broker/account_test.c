/* Accounts: access tokens for everybody (P1, R2, R10), logging in and out (R6, R7), import (R8), a wiped relay, and
 * typed calls. */
#include <stdlib.h>
#include <string.h>

#include "account_host.h"
#include "account_private.h"
#include "event_rows.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND };

static void setup(void)
{
    host_start(600);
}

static void setup_short(void)
{
    host_start(60);
}

static void teardown(void)
{
    host_end();
}

/* --- P1, R2 --- */

static int me_ends, me_ok;

static void on_me(void *arg, const struct rb_answer *answer, const struct rb_me *me)
{
    me_ends++;
    if (answer->end == RB_END_EXECUTED && me && rb_span_is(me->username, "user"))
        me_ok++;
}

static bool all_me_ended(struct world *of, void *arg)
{
    return me_ends == *(int *)arg;
}

START_TEST(P1_a_hundred_callers_at_expiry_cause_one_refresh)
{
    host_login(false);
    /* Nobody used it: it is not refreshed ahead. */
    world_run(world, 11 * MINUTE);
    ck_assert_int_eq((int)host_counts().refreshes, 0);
    int calls = 100;
    me_ends = me_ok = 0;
    for (int i = 0; i < calls; i++)
        ck_assert_int_eq(rb_account_me(host_account(), 1000, 10 * SECOND, on_me, NULL), RB_OK);
    ck_assert_int_eq(me_ends, 0);
    ck_assert(world_run_until(world, all_me_ended, &calls, 20 * SECOND));
    ck_assert_int_eq(me_ok, 100);
    ck_assert_int_eq((int)host_counts().refreshes, 1);
}
END_TEST

/* More than may be under way at once. */
START_TEST(P1_a_thousand_callers_at_expiry_take_turns_and_cause_one_refresh)
{
    host_login(false);
    world_run(world, 11 * MINUTE);
    int calls = 1000;
    me_ends = me_ok = 0;
    for (int i = 0; i < calls; i++)
        ck_assert_int_eq(rb_account_me(host_account(), 1000, 10 * SECOND, on_me, NULL), RB_OK);
    ck_assert(world_run_until(world, all_me_ended, &calls, 30 * SECOND));
    ck_assert_int_eq(me_ok, 1000);
    ck_assert_int_eq((int)host_counts().refreshes, 1);
}
END_TEST

START_TEST(P1_a_hundred_callers_with_a_refused_token_cause_one_refresh)
{
    host_login(false);
    /* The relay forgets access tokens' user: a revoked jti looks the same to us. */
    struct rb_span token;
    uint64_t serial;
    ck_assert_int_eq(rb_account_access(host_account(), &token, &serial), RB_OK);
    for (int i = 0; i < 100; i++)
        rb_account_access_refused(host_account(), serial);
    world_end_tick(world);
    ck_assert(host_get_access(10 * SECOND));
    for (int i = 0; i < 100; i++)
        rb_account_access_refused(host_account(), serial);
    world_run(world, MINUTE);
    ck_assert_int_eq((int)host_counts().refreshes, 1);
}
END_TEST

START_TEST(R2_one_minute_tokens_under_steady_use_are_refreshed_every_20_to_30_seconds)
{
    host_login(false);
    int64_t until = world->now_ms + 3 * MINUTE;
    int denied = 0;
    while (world->now_ms < until) {
        for (int poller = 0; poller < 16; poller++)
            denied += host_access() != RB_OK;
        world_run(world, 100);
    }
    int all = (int)host_counts().refreshes + 1;
    ck_assert_int_ge(all, 6);
    ck_assert_int_le(all, 10);
    ck_assert_int_eq(denied, 0);
}
END_TEST

START_TEST(R2_a_token_with_less_than_five_seconds_left_is_not_handed_out)
{
    host_login(false);
    world->weather.down = true;
    world_run(world, 54 * SECOND);
    ck_assert_int_eq(host_access(), RB_OK);
    world_run(world, 2 * SECOND);
    ck_assert_int_eq(host_access(), RB_UNAVAILABLE);
    world->weather.down = false;
    ck_assert(host_get_access(MINUTE));
}
END_TEST

START_TEST(R2_a_used_token_is_refreshed_between_a_third_and_half_of_its_life_and_an_unused_one_is_not)
{
    host_login(false);
    ck_assert_int_eq(host_access(), RB_OK);
    world_run(world, 195 * SECOND);
    ck_assert_int_eq((int)host_counts().refreshes, 0);
    world_run(world, 110 * SECOND);
    ck_assert_int_eq((int)host_counts().refreshes, 1);
    ck_assert_int_eq(host_account()->used, false);
    world_run(world, 60 * MINUTE);
    ck_assert_int_eq((int)host_counts().refreshes, 1);
    ck_assert_int_eq(host_access(), RB_UNAVAILABLE);
    ck_assert(host_get_access(SECOND));
}
END_TEST

START_TEST(R2_a_relay_that_is_down_leaves_the_old_token_in_use_and_is_asked_with_patience)
{
    host_login(false);
    ck_assert_int_eq(host_access(), RB_OK);
    world_run(world, 150 * SECOND);
    uint64_t before = world->requests;
    world->weather.down = true;
    world_run(world, 400 * SECOND);
    ck_assert_int_eq(host_access(), RB_OK);
    ck_assert_uint_le(world->requests - before, 60);
    world->weather.down = false;
    ck_assert(host_get_access(2 * MINUTE));
    ck_assert_str_eq(host_chain(), "active");
}
END_TEST

START_TEST(R10_a_restart_costs_no_refresh)
{
    host_login(false);
    host_restart();
    ck_assert_int_eq(host_access(), RB_OK);
    ck_assert_int_eq((int)host_counts().refreshes, 0);
}
END_TEST

START_TEST(R10_an_expiry_that_the_wall_clock_makes_implausible_is_not_believed)
{
    host_login(false);
    world_crash(world);
    world->host.wall_offset_ms = -20 * MINUTE;
    world_boot(world);
    ck_assert_int_eq(host_access(), RB_UNAVAILABLE);
    ck_assert(host_get_access(10 * SECOND));
}
END_TEST

START_TEST(R10_with_clocks_apart_a_token_is_not_kept_over_a_restart)
{
    world->host.wall_offset_ms = 6 * MINUTE;
    host_login(false);
    ck_assert_int_eq(host_access(), RB_OK);
    host_restart();
    ck_assert_int_eq(host_access(), RB_UNAVAILABLE);
}
END_TEST

/* --- passwords --- */

START_TEST(a_dead_chain_is_replaced_by_the_stored_password)
{
    host_login(true);
    host_restart();
    rb_model_revoke_all(world->model, "user");
    host_drop_access();
    ck_assert(host_get_access(30 * SECOND));
    ck_assert_int_eq((int)host_counts().logins, 2);
    ck_assert_str_eq(host_chain(), "active");
    ck_assert_int_eq(host_events("login_required"), 0);
}
END_TEST

static int64_t logins_left(void)
{
    int64_t window;
    return rb_budget_left(world->broker->budgets, world_url, RB_BUDGET_LOGIN, &window);
}

START_TEST(stored_passwords_that_do_not_help_leave_a_login_of_each_minute_to_people)
{
    static const struct weather failing[] = {
        {.latency_max_ms = 20}, {.error = 1000, .latency_max_ms = 20}, {.lose_answer = 1000, .latency_max_ms = 20}};
    static const char *const users[] = {"user", "another"};
    host_login(true);
    struct rb_account *second = world_login(world, "second", "another", true);
    for (int i = 0; i < 2; i++) {
        rb_model_user_active(world->model, users[i], false);
        rb_model_revoke_all(world->model, users[i]);
    }
    struct rb_span token;
    uint64_t serial;
    ck_assert_int_eq(rb_account_access(second, &token, &serial), RB_OK);
    rb_account_access_refused(second, serial);
    host_drop_access();
    world_run(world, SECOND);
    ck_assert_str_eq(host_chain(), "dead");
    world->weather = failing[_i];
    uint64_t before = world->requests;
    for (int i = 0; i < 600; i++) {
        world_run(world, SECOND);
        ck_assert_int_ge(logins_left(), 1);
    }
    ck_assert_uint_ge(world->requests - before, 15);
    world->weather = failing[0];
    for (int i = 0; i < 2; i++)
        rb_model_user_active(world->model, users[i], true);
    ck_assert(host_get_access(3 * MINUTE));
}
END_TEST

START_TEST(the_only_login_of_a_minute_is_not_kept_from_a_stored_password)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.logins_per_minute = 1;
    host_end();
    host_start_with(600, &config);
    host_login(true);
    rb_model_revoke_all(world->model, "user");
    host_drop_access();
    ck_assert(host_get_access(2 * MINUTE));
}
END_TEST

START_TEST(a_password_that_the_relay_refuses_is_final)
{
    host_login(true);
    rb_model_user(world->model, "user", "another one", "");
    rb_model_revoke_all(world->model, "user");
    host_drop_access();
    world_run(world, 10 * MINUTE);
    ck_assert_int_eq(host_access(), RB_DENIED);
    ck_assert_int_eq(host_events("password_refused"), 1);
    ck_assert_int_eq(host_events("login_required"), 1);
    /* The login, the refresh, the login that was refused. */
    ck_assert_uint_eq(world->requests, 3);
    host_restart();
    world_run(world, 10 * MINUTE);
    ck_assert_uint_eq(world->requests, 3);
}
END_TEST

START_TEST(a_login_after_login_required_makes_the_account_active_again)
{
    host_login(false);
    int64_t id = rb_account_id(host_account());
    rb_model_revoke_all(world->model, "user");
    host_drop_access();
    world_run(world, MINUTE);
    ck_assert_int_eq(host_access(), RB_DENIED);
    host_login(false);
    ck_assert_int_eq(host_access(), RB_OK);
    ck_assert_int_eq((int)rb_account_id(host_account()), (int)id);
}
END_TEST

START_TEST(a_second_login_replaces_the_chain_and_revokes_the_first)
{
    host_login(false);
    host_login(false);
    world_run(world, MINUTE);
    ck_assert_int_eq(host_access(), RB_OK);
    ck_assert_uint_eq(host_live_tokens("user"), 1);
}
END_TEST

START_TEST(a_wiped_relay_shows_in_the_incarnation)
{
    host_login(true);
    ck_assert_uint_eq(rb_account_relay_incarnation(host_account()), 0);
    char *sub = rb_span_dup(rb_span_of(rb_account_sub(host_account())));
    ck_assert_uint_gt(strlen(sub), 0);
    rb_model_restart(world->model);
    host_drop_access();
    ck_assert(host_get_access(MINUTE));
    ck_assert_str_ne(rb_account_sub(host_account()), sub);
    ck_assert_uint_eq(rb_account_relay_incarnation(host_account()), 1);
    ck_assert_int_eq(host_events("relay_wiped"), 1);
    host_restart();
    ck_assert_uint_eq(rb_account_relay_incarnation(host_account()), 1);
    free(sub);
}
END_TEST

/* --- R7 --- */

struct ending {
    int status; /* -1: not ended */
    struct rb_account *account;
    char text[RB_ERROR_MAX];
};

static void on_end(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    struct ending *ending = arg;
    ck_assert_int_eq(ending->status, -1);
    ending->status = (int)status;
    ending->account = account;
    snprintf(ending->text, sizeof ending->text, "%s", err ? err->text : "");
}

static bool has_ended(struct world *of, void *arg)
{
    return ((struct ending *)arg)->status != -1;
}

static enum rb_status login(const struct rb_login *asked, struct ending *ending)
{
    struct rb_error err = {0};
    *ending = (struct ending){.status = -1};
    enum rb_status status = rb_account_login(world->broker->accounts, asked, on_end, ending, &err);
    if (status != RB_OK) {
        snprintf(ending->text, sizeof ending->text, "%s", err.text);
        return status;
    }
    ck_assert_int_eq(ending->status, -1);
    world_end_tick(world);
    world_run_until(world, has_ended, ending, MINUTE);
    return (enum rb_status)ending->status;
}

static struct rb_login password_login(const char *name, const char *username)
{
    rb_model_user(world->model, username, "correct horse", "");
    return (struct rb_login){
        .name = name, .relay_url = world_url, .username = username, .password = RB_SPAN("correct horse")};
}

START_TEST(R7_another_user_under_the_same_name_is_refused_without_replace)
{
    struct ending ending;
    host_login(false);
    struct rb_login other = password_login("main", "stranger");
    ck_assert_int_eq(login(&other, &ending), RB_EXISTS);
    ck_assert_ptr_nonnull(strstr(ending.text, "--replace"));
    struct rb_login same_user = password_login("second", "user");
    ck_assert_int_eq(login(&same_user, &ending), RB_EXISTS);
    ck_assert_int_eq((int)host_counts().logins, 1);
}
END_TEST

START_TEST(a_login_that_cannot_be_right_is_not_sent_to_a_relay)
{
    struct ending ending;
    host_login(false);
    struct rb_login asked = password_login("second", "stranger");
    asked.relay_url = NULL;
    ck_assert_int_eq(login(&asked, &ending), RB_INVALID);
    ck_assert_str_eq(ending.text, "The relay's URL is missing.");
    asked = password_login("two\nlines", "stranger");
    ck_assert_int_eq(login(&asked, &ending), RB_INVALID);
    asked = password_login("second", "");
    ck_assert_int_eq(login(&asked, &ending), RB_INVALID);
    asked = password_login("second", "stranger");
    asked.password = (struct rb_span){0};
    ck_assert_int_eq(login(&asked, &ending), RB_INVALID);
    asked.refresh_token = RB_SPAN("token");
    ck_assert_int_eq(login(&asked, &ending), RB_INVALID);
    ck_assert_int_eq((int)host_counts().logins, 1);
}
END_TEST

START_TEST(a_login_or_a_probe_is_refused_while_the_daemon_stops)
{
    struct ending ending;
    struct rb_error err;
    rb_accounts_stop(world->broker->accounts);
    struct rb_login asked = password_login("main", "user");
    ck_assert_int_eq(login(&asked, &ending), RB_UNAVAILABLE);
    ck_assert_str_eq(ending.text, "The daemon is stopping.");
    ck_assert_int_eq(rb_account_probe(world->broker->accounts, world_url, NULL, on_end, &ending, &err), RB_UNAVAILABLE);
    ck_assert_str_eq(err.text, "The daemon is stopping.");
    ck_assert_int_eq((int)host_counts().logins, 0);
}
END_TEST

START_TEST(R7_replace_gives_the_name_to_another_account_and_revokes_the_old_one)
{
    struct ending ending;
    int64_t old = rb_account_id(host_login(true));
    struct rb_login other = password_login("main", "stranger");
    other.replace = true;
    ck_assert_int_eq(login(&other, &ending), RB_OK);
    world_run(world, MINUTE);
    ck_assert_str_eq(rb_account_username(host_account()), "stranger");
    ck_assert_int_ne((int)rb_account_id(host_account()), (int)old);
    ck_assert_ptr_eq(rb_account_next(world->broker->accounts, NULL), host_account());
    ck_assert_ptr_null(rb_account_next(world->broker->accounts, host_account()));
    ck_assert_int_eq(rb_account_state(rb_account_by_id(world->broker->accounts, old)), RB_ACCOUNT_LOGGED_OUT);
    ck_assert_uint_eq(host_live_tokens("user"), 0);
    ck_assert_uint_eq(host_live_tokens("stranger"), 1);
    host_restart();
    ck_assert_int_eq(host_access(), RB_OK);
    ck_assert_str_eq(rb_account_username(host_account()), "stranger");
}
END_TEST

START_TEST(R7_the_wrong_password_makes_no_account)
{
    struct ending ending;
    struct rb_login wrong = password_login("main", "user");
    wrong.password = RB_SPAN("incorrect");
    ck_assert_int_eq(login(&wrong, &ending), RB_DENIED);
    ck_assert_ptr_null(rb_account_by_name(world->broker->accounts, RB_SPAN("main")));
    ck_assert_ptr_null(ending.account);
}
END_TEST

START_TEST(a_login_whose_commit_fails_is_kept_until_there_is_room)
{
    struct ending ending = {.status = -1};
    struct rb_login asked = password_login("main", "user");
    ck_assert_int_eq(rb_account_login(world->broker->accounts, &asked, on_end, &ending, NULL), RB_OK);
    world_end_tick(world);
    sim_vfs_set_full(world->vfs, true);
    world_run(world, 10 * SECOND);
    ck_assert_int_eq(ending.status, -1);
    sim_vfs_set_full(world->vfs, false);
    world_run(world, 10 * SECOND);
    ck_assert_int_eq(ending.status, RB_OK);
    ck_assert_int_eq(host_access(), RB_OK);
    ck_assert_int_eq((int)host_counts().logins, 1);
}
END_TEST

START_TEST(R6_a_login_that_ends_after_a_logout_is_revoked)
{
    struct ending ending = {.status = -1}, out = {.status = -1};
    host_login(false);
    world->weather.latency_max_ms = 500;
    struct rb_login again = password_login("main", "user");
    ck_assert_int_eq(rb_account_login(world->broker->accounts, &again, on_end, &ending, NULL), RB_OK);
    world_end_tick(world);
    ck_assert_int_eq(rb_account_logout(host_account(), on_end, &out, NULL), RB_OK);
    world_end_tick(world);
    world_run(world, MINUTE);
    ck_assert_int_eq(ending.status, RB_DENIED);
    ck_assert_uint_eq(host_live_tokens("user"), 0);
    ck_assert_int_eq(host_access(), RB_DENIED);
}
END_TEST

/* --- R8 --- */

static void import(const char *name, const char *token, bool hold)
{
    struct ending ending;
    struct rb_login asked = {.name = name, .relay_url = world_url, .refresh_token = rb_span_of(token), .hold = hold};
    ck_assert_int_eq(login(&asked, &ending), RB_OK);
    ck_assert_ptr_eq(ending.account, rb_account_by_name(world->broker->accounts, rb_span_of(name)));
}

static enum rb_status probe(const char *relay_url, const char *ca_file, struct ending *ending)
{
    struct rb_error err = {0};
    *ending = (struct ending){.status = -1};
    enum rb_status status = rb_account_probe(world->broker->accounts, relay_url, ca_file, on_end, ending, &err);
    if (status != RB_OK) {
        ck_assert_uint_gt(strlen(err.text), 0);
        return status;
    }
    ck_assert_int_eq(ending->status, -1);
    world_end_tick(world);
    ck_assert(world_run_until(world, has_ended, ending, MINUTE));
    return (enum rb_status)ending->status;
}

START_TEST(R8_a_probe_says_whether_the_relay_answers_and_keeps_nothing)
{
    struct ending ending;
    ck_assert_int_eq(probe(world_url, NULL, &ending), RB_OK);
    world->weather.down = true;
    ck_assert_int_eq(probe(world_url, NULL, &ending), RB_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(ending.text, world_url));
    ck_assert_ptr_nonnull(strstr(ending.text, "cannot be reached"));
    world->weather = (struct weather){.html = 1000};
    ck_assert_int_eq(probe(world_url, NULL, &ending), RB_UNAVAILABLE);
    ck_assert_int_eq(probe("ftp://relay.example.org", NULL, &ending), RB_INVALID);
    ck_assert_int_eq(probe(world_url, "ca.pem", &ending), RB_INVALID);
    ck_assert_ptr_null(rb_account_next(world->broker->accounts, NULL));
}
END_TEST

START_TEST(R8_a_probe_under_way_does_not_outlive_the_broker)
{
    struct ending ending = {.status = -1};
    ck_assert_int_eq(rb_account_probe(world->broker->accounts, world_url, NULL, on_end, &ending, NULL), RB_OK);
    host_restart();
    world_run(world, MINUTE);
    ck_assert_int_eq(ending.status, -1);
}
END_TEST

START_TEST(R8_a_released_token_does_not_wait_for_the_failures_of_the_login_before_it)
{
    host_login(false);
    host_drop_access();
    world->weather.down = true;
    world_run(world, 10 * MINUTE);
    world->weather.down = false;
    char *token = host_foreign_token("user");
    import("main", token, true);
    ck_assert_int_gt((int)(host_account()->not_before_ms - world->now_ms), SECOND);
    ck_assert_int_eq(rb_account_release(host_account(), (struct rb_span){0}, NULL), RB_OK);
    world_end_tick(world);
    ck_assert_str_eq(host_account()->last_problem, "");
    ck_assert(host_get_access(SECOND));
    free(token);
}
END_TEST

START_TEST(R8_an_import_into_an_account_takes_its_certificates_along)
{
    struct ending ending;
    host_login(false);
    char *token = host_foreign_token("user");
    struct rb_login asked = {.name = "main", .relay_url = world_url, .refresh_token = rb_span_of(token), .hold = true};
    asked.ca_file = "/etc/first.pem";
    ck_assert_int_eq(login(&asked, &ending), RB_OK);
    ck_assert_str_eq(rb_account_peer(host_account()).ca_file, "/etc/first.pem");
    asked.ca_file = "/etc/second.pem";
    ck_assert_int_eq(login(&asked, &ending), RB_OK);
    host_restart();
    ck_assert_str_eq(rb_account_peer(host_account()).ca_file, "/etc/second.pem");
    free(token);
}
END_TEST

START_TEST(T4_the_certificates_of_an_import_whose_commit_failed_are_forgotten)
{
    struct ending ending;
    char *token = host_foreign_token("user");
    struct rb_login asked = {.name = "main", .relay_url = world_url, .refresh_token = rb_span_of(token), .hold = true};
    asked.ca_file = "/etc/first.pem";
    sim_vfs_set_full(world->vfs, true);
    ck_assert_int_eq(login(&asked, &ending), RB_FULL);
    sim_vfs_set_full(world->vfs, false);
    asked.ca_file = NULL;
    ck_assert_int_eq(login(&asked, &ending), RB_OK);
    ck_assert_ptr_null(rb_account_peer(host_account()).ca_file);
    asked.ca_file = "/etc/second.pem";
    sim_vfs_set_full(world->vfs, true);
    ck_assert_int_eq(login(&asked, &ending), RB_FULL);
    ck_assert_ptr_null(rb_account_peer(host_account()).ca_file);
    sim_vfs_set_full(world->vfs, false);
    free(token);
}
END_TEST

START_TEST(R8_an_imported_token_is_rotated_at_once_and_says_who_it_is)
{
    char *token = host_foreign_token("user");
    import("main", token, false);
    ck_assert(host_get_access(SECOND));
    ck_assert_int_eq((int)host_counts().refreshes_ok, 1);
    ck_assert_str_eq(rb_account_username(host_account()), "user");
    ck_assert_uint_gt(strlen(rb_account_sub(host_account())), 0);
    host_restart();
    ck_assert_int_eq(host_access(), RB_OK);
    host_drop_access();
    ck_assert(host_get_access(10 * SECOND));
    free(token);
}
END_TEST

START_TEST(R8_a_held_token_is_not_sent_before_its_release)
{
    char *token = host_foreign_token("user");
    import("main", token, true);
    ck_assert_str_eq(host_chain(), "held");
    ck_assert_int_eq(host_access(), RB_UNAVAILABLE);
    world_run(world, 50 * SECOND);
    ck_assert_int_eq((int)host_counts().refreshes, 0);
    ck_assert_int_eq(rb_account_release(host_account(), (struct rb_span){0}, NULL), RB_OK);
    world_end_tick(world);
    ck_assert(host_get_access(SECOND));
    ck_assert_int_eq(host_events("import_not_released"), 0);
    ck_assert_int_eq(rb_account_release(host_account(), (struct rb_span){0}, NULL), RB_NOT_FOUND);
    free(token);
}
END_TEST

START_TEST(R8_a_newer_token_that_reappeared_is_the_one_that_is_used)
{
    char *token = host_foreign_token("user"), *newer = NULL;
    import("main", token, true);
    ck_assert_int_eq(host_foreign_refresh(token, &newer), 200);
    ck_assert_int_eq(rb_account_release(host_account(), rb_span_of(newer), NULL), RB_OK);
    world_end_tick(world);
    ck_assert(host_get_access(SECOND));
    ck_assert_int_eq((int)host_counts().replays, 0);
    free(token);
    free(newer);
}
END_TEST

START_TEST(R8_a_token_that_is_never_released_is_used_after_a_minute_also_after_a_restart)
{
    char *token = host_foreign_token("user");
    import("main", token, true);
    world_run(world, 30 * SECOND);
    host_restart();
    world_run(world, 59 * SECOND);
    ck_assert_str_eq(host_chain(), "held");
    world_run(world, 2 * SECOND);
    ck_assert_str_eq(host_chain(), "active");
    ck_assert_int_eq(host_events("import_not_released"), 1);
    ck_assert_int_eq((int)host_counts().refreshes_ok, 1);
    free(token);
}
END_TEST

START_TEST(R8_an_import_that_begins_again_keeps_its_chain)
{
    char *token = host_foreign_token("user");
    import("main", token, true);
    host_restart();
    import("main", token, true);
    ck_assert_int_eq(rb_account_release(host_account(), (struct rb_span){0}, NULL), RB_OK);
    world_end_tick(world);
    ck_assert(host_get_access(SECOND));
    world_run(world, 2 * MINUTE);
    ck_assert_uint_eq(host_live_tokens("user"), 1);
    free(token);
}
END_TEST

START_TEST(R8_an_import_whose_commit_fails_left_nothing)
{
    struct ending ending;
    char *token = host_foreign_token("user");
    struct rb_login asked = {.name = "main", .relay_url = world_url, .refresh_token = rb_span_of(token), .hold = true};
    sim_vfs_set_full(world->vfs, true);
    ck_assert_int_ne(login(&asked, &ending), RB_OK);
    ck_assert_ptr_null(rb_account_by_name(world->broker->accounts, RB_SPAN("main")));
    sim_vfs_set_full(world->vfs, false);
    import("main", token, false);
    ck_assert(host_get_access(10 * SECOND));
    free(token);
}
END_TEST

START_TEST(R7_an_imported_token_of_somebody_else_is_not_used)
{
    host_login(false);
    char *token = host_foreign_token("stranger");
    import("main", token, false);
    world_run(world, MINUTE);
    ck_assert_int_eq(host_access(), RB_DENIED);
    ck_assert_int_eq(host_events("other_user"), 1);
    ck_assert_str_eq(rb_account_username(host_account()), "user");
    ck_assert_uint_eq(host_live_tokens("stranger"), 0);
    free(token);
}
END_TEST

static bool relay_rotated(struct world *of, void *arg)
{
    return host_counts().refreshes_ok > 0;
}

START_TEST(R7_nor_when_its_first_rotation_is_known_from_the_slot_file_only)
{
    host_login(false);
    char *token = host_foreign_token("stranger");
    import("main", token, false);
    ck_assert(world_run_until(world, relay_rotated, NULL, 10 * SECOND));
    sim_vfs_set_full(world->vfs, true);
    world_run(world, 5 * SECOND);
    sim_vfs_set_full(world->vfs, false);
    host_restart();
    world_run(world, MINUTE);
    ck_assert_int_eq(host_access(), RB_DENIED);
    ck_assert_int_eq(host_events("other_user"), 1);
    ck_assert_int_eq(host_events("relay_wiped"), 0);
    ck_assert_uint_eq(host_live_tokens("stranger"), 0);
    free(token);
}
END_TEST

/* --- budget --- */

START_TEST(accounts_at_one_relay_share_the_refresh_budget)
{
    struct rb_account *accounts[4];
    static const char *const names[4] = {"a", "b", "c", "d"};
    host_end();
    struct rb_broker_config config = rb_broker_config_default;
    config.refreshes_per_minute = 2;
    host_start_with(600, &config);
    for (int i = 0; i < 4; i++) {
        accounts[i] = world_login(world, names[i], names[i], false);
        ck_assert_ptr_nonnull(accounts[i]);
    }
    for (int i = 0; i < 4; i++) {
        struct rb_span token;
        uint64_t serial;
        ck_assert_int_eq(rb_account_access(accounts[i], &token, &serial), RB_OK);
        rb_account_access_refused(accounts[i], serial);
        world_end_tick(world);
    }
    world_run(world, 50 * SECOND);
    ck_assert_int_eq((int)host_counts().refreshes, 2);
    world_run(world, 50 * SECOND);
    ck_assert_int_eq((int)host_counts().refreshes, 4);
    ck_assert_int_eq((int)host_counts().rate_limited, 0);
}
END_TEST

/* --- watches and calls --- */

struct watcher {
    struct rb_account_watch watch;
    int told;
    enum rb_status access;
    bool leaves;
};

static void on_change(struct rb_account_watch *watch, struct rb_account *account)
{
    struct watcher *watcher = RB_CONTAINER(watch, struct watcher, watch);
    struct rb_span token;
    uint64_t serial;
    watcher->told++;
    watcher->access = rb_account_access(account, &token, &serial);
    if (watcher->leaves)
        rb_account_unwatch(watch);
}

START_TEST(watchers_hear_of_a_new_token_and_of_the_end_of_a_login)
{
    struct watcher stays = {.watch.changed = on_change}, leaves = {.watch.changed = on_change, .leaves = true};
    host_login(false);
    rb_account_watch(world->broker->accounts, &leaves.watch);
    rb_account_watch(world->broker->accounts, &stays.watch);
    host_drop_access();
    ck_assert(host_get_access(10 * SECOND));
    ck_assert_int_eq(stays.told, 1);
    ck_assert_int_eq(stays.access, RB_OK);
    struct ending out = {.status = -1};
    ck_assert_int_eq(rb_account_logout(host_account(), on_end, &out, NULL), RB_OK);
    ck_assert_int_eq(stays.told, 1);
    world_end_tick(world);
    ck_assert_int_eq(stays.told, 2);
    ck_assert_int_eq(stays.access, RB_DENIED);
    ck_assert_int_eq(leaves.told, 1);
    rb_account_unwatch(&stays.watch);
}
END_TEST

struct plain {
    int ends, status;
    enum rb_problem problem;
};

static void on_plain(void *arg, const struct rb_answer *answer)
{
    struct plain *plain = arg;
    plain->ends++;
    plain->status = answer->status;
    plain->problem = answer->problem;
}

START_TEST(D6_the_calls_of_one_user_leave_turns_for_another)
{
    host_login(false);
    me_ends = me_ok = 0;
    world->weather.latency_max_ms = 2000;
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(rb_account_me(host_account(), 1000, 60 * SECOND, on_me, NULL), RB_OK);
    struct plain plain = {0};
    ck_assert_int_eq(rb_account_sessions(host_account(), 1001, 60 * SECOND, on_plain, &plain), RB_OK);
    world_end_tick(world);
    world_run(world, 2500);
    ck_assert_int_eq(plain.ends, 1);
    ck_assert_int_eq(plain.status, 200);
    ck_assert_int_lt(me_ends, 900);
    int calls = 1000;
    ck_assert(world_run_until(world, all_me_ended, &calls, MINUTE));
    ck_assert_int_eq(me_ok, 1000);
}
END_TEST

START_TEST(a_call_whose_token_the_relay_no_longer_knows_is_sent_once_more)
{
    struct plain plain = {0};
    struct rb_topic_request list = {.call = RB_TOPIC_LIST};
    host_login(true);
    /* After a restart the relay knows none of its old tokens. */
    rb_model_restart(world->model);
    rb_model_user(world->model, "user", "correct horse", "");
    ck_assert_int_eq(rb_account_topic(host_account(), 1000, &list, 30 * SECOND, on_plain, &plain), RB_OK);
    ck_assert_int_eq(plain.ends, 0);
    world_run(world, 40 * SECOND);
    ck_assert_int_eq(plain.ends, 1);
    ck_assert_int_eq(plain.status, 200);
}
END_TEST

START_TEST(a_call_without_a_token_in_time_ends_with_503)
{
    struct plain plain = {0};
    host_login(false);
    host_drop_access();
    world->weather.down = true;
    ck_assert_int_eq(rb_account_sessions(host_account(), 1000, 5 * SECOND, on_plain, &plain), RB_OK);
    world_run(world, 4 * SECOND);
    ck_assert_int_eq(plain.ends, 0);
    world_run(world, 2 * SECOND);
    ck_assert_int_eq(plain.ends, 1);
    ck_assert_int_eq(plain.status, 503);
    ck_assert_int_eq(plain.problem, RB_PROBLEM_UNREACHABLE);
}
END_TEST

START_TEST(a_call_on_an_account_without_a_login_ends_at_once)
{
    struct plain plain = {0};
    struct ending out = {.status = -1};
    host_login(false);
    ck_assert_int_eq(rb_account_logout(host_account(), on_end, &out, NULL), RB_OK);
    world_end_tick(world);
    ck_assert_int_eq(rb_account_sessions(host_account(), 1000, 5 * SECOND, on_plain, &plain), RB_OK);
    ck_assert_int_eq(plain.ends, 0);
    world_run(world, 1);
    ck_assert_int_eq(plain.ends, 1);
    ck_assert_int_eq(plain.status, 503);
}
END_TEST

/* --- what a token says, and events --- */

static void claims_are(const char *token, const char *sub, const char *username)
{
    struct rb_claims claims;
    rb_claims_read(rb_span_of(token), &claims);
    ck_assert_pstr_eq(claims.sub, sub);
    ck_assert_pstr_eq(claims.username, username);
    rb_claims_free(&claims);
}

START_TEST(claims_are_read_from_a_jwt_and_from_nothing_else)
{
    /* {"sub":"u1","username":"ann"} */
    claims_are("e30.eyJzdWIiOiJ1MSIsInVzZXJuYW1lIjoiYW5uIn0.x", "u1", "ann");
    /* {"sub":17} */
    claims_are("e30.eyJzdWIiOjE3fQ.x", "17", NULL);
    /* {"sub":"a\u001bb","username":""} */
    claims_are("e30.eyJzdWIiOiJhXHUwMDFiYiIsInVzZXJuYW1lIjoiIn0.x", NULL, NULL);
    /* [1] */
    claims_are("e30.WzFd.x", NULL, NULL);
    static const char *const opaque[] = {"", ".", "..", "opaque", "a.b", "a.!!!.c", "a.e30=.c", "a.e3.c"};
    for (size_t i = 0; i < sizeof opaque / sizeof *opaque; i++)
        claims_are(opaque[i], NULL, NULL);
}
END_TEST

struct seen {
    int count;
    char newest[32], oldest[32];
};

static void see_event(void *arg, int64_t wall_ms, int64_t account, struct rb_span kind, struct rb_span text)
{
    struct seen *seen = arg;
    if (seen->count++ == 0)
        snprintf(seen->newest, sizeof seen->newest, "%.*s", (int)text.len, text.at);
    snprintf(seen->oldest, sizeof seen->oldest, "%.*s", (int)text.len, text.at);
}

START_TEST(the_newest_ten_thousand_events_are_kept)
{
    struct seen seen = {0};
    struct rb_event_rows *rows;
    for (int i = 1; i <= 10350; i++) {
        rb_event(world->broker->events, 0, "test", "event %d\x1b", i);
        if (i % 100 == 0)
            world_end_tick(world);
    }
    world_end_tick(world);
    rb_events_each(world->broker->events, 20000, see_event, &seen);
    ck_assert_int_eq(seen.count, 10000);
    ck_assert_str_eq(seen.newest, "event 10350\\x1b");
    ck_assert_str_eq(seen.oldest, "event 351\\x1b");
    ck_assert_int_eq(rb_event_rows_new(world->broker->ports.store, &rows, NULL), RB_OK);
    ck_assert_int_lt((int)rb_event_rows_count(rows), 10100);
    rb_event_rows_free(rows);
}
END_TEST

static void add_tests(Suite *suite)
{
    TCase *tests = tcase_create("account");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, P1_a_hundred_callers_at_expiry_cause_one_refresh);
    tcase_add_test(tests, P1_a_thousand_callers_at_expiry_take_turns_and_cause_one_refresh);
    tcase_add_test(tests, D6_the_calls_of_one_user_leave_turns_for_another);
    tcase_add_test(tests, P1_a_hundred_callers_with_a_refused_token_cause_one_refresh);
    tcase_add_test(tests, R2_a_used_token_is_refreshed_between_a_third_and_half_of_its_life_and_an_unused_one_is_not);
    tcase_add_test(tests, R2_a_relay_that_is_down_leaves_the_old_token_in_use_and_is_asked_with_patience);
    tcase_add_test(tests, R10_a_restart_costs_no_refresh);
    tcase_add_test(tests, R10_an_expiry_that_the_wall_clock_makes_implausible_is_not_believed);
    tcase_add_test(tests, R10_with_clocks_apart_a_token_is_not_kept_over_a_restart);
    tcase_add_test(tests, a_dead_chain_is_replaced_by_the_stored_password);
    tcase_add_loop_test(tests, stored_passwords_that_do_not_help_leave_a_login_of_each_minute_to_people, 0, 3);
    tcase_add_test(tests, the_only_login_of_a_minute_is_not_kept_from_a_stored_password);
    tcase_add_test(tests, a_password_that_the_relay_refuses_is_final);
    tcase_add_test(tests, a_login_after_login_required_makes_the_account_active_again);
    tcase_add_test(tests, a_second_login_replaces_the_chain_and_revokes_the_first);
    tcase_add_test(tests, a_wiped_relay_shows_in_the_incarnation);
    tcase_add_test(tests, R7_another_user_under_the_same_name_is_refused_without_replace);
    tcase_add_test(tests, a_login_that_cannot_be_right_is_not_sent_to_a_relay);
    tcase_add_test(tests, a_login_or_a_probe_is_refused_while_the_daemon_stops);
    tcase_add_test(tests, R7_replace_gives_the_name_to_another_account_and_revokes_the_old_one);
    tcase_add_test(tests, R7_the_wrong_password_makes_no_account);
    tcase_add_test(tests, a_login_whose_commit_fails_is_kept_until_there_is_room);
    tcase_add_test(tests, R6_a_login_that_ends_after_a_logout_is_revoked);
    tcase_add_test(tests, R8_a_probe_says_whether_the_relay_answers_and_keeps_nothing);
    tcase_add_test(tests, R8_a_probe_under_way_does_not_outlive_the_broker);
    tcase_add_test(tests, R8_a_released_token_does_not_wait_for_the_failures_of_the_login_before_it);
    tcase_add_test(tests, R8_an_import_into_an_account_takes_its_certificates_along);
    tcase_add_test(tests, T4_the_certificates_of_an_import_whose_commit_failed_are_forgotten);
    tcase_add_test(tests, R8_an_imported_token_is_rotated_at_once_and_says_who_it_is);
    tcase_add_test(tests, R8_a_held_token_is_not_sent_before_its_release);
    tcase_add_test(tests, R8_a_newer_token_that_reappeared_is_the_one_that_is_used);
    tcase_add_test(tests, R8_a_token_that_is_never_released_is_used_after_a_minute_also_after_a_restart);
    tcase_add_test(tests, R8_an_import_that_begins_again_keeps_its_chain);
    tcase_add_test(tests, R8_an_import_whose_commit_fails_left_nothing);
    tcase_add_test(tests, R7_an_imported_token_of_somebody_else_is_not_used);
    tcase_add_test(tests, R7_nor_when_its_first_rotation_is_known_from_the_slot_file_only);
    tcase_add_test(tests, accounts_at_one_relay_share_the_refresh_budget);
    tcase_add_test(tests, watchers_hear_of_a_new_token_and_of_the_end_of_a_login);
    tcase_add_test(tests, a_call_whose_token_the_relay_no_longer_knows_is_sent_once_more);
    tcase_add_test(tests, a_call_without_a_token_in_time_ends_with_503);
    tcase_add_test(tests, a_call_on_an_account_without_a_login_ends_at_once);
    tcase_add_test(tests, claims_are_read_from_a_jwt_and_from_nothing_else);
    tcase_add_test(tests, the_newest_ten_thousand_events_are_kept);
    suite_add_tcase(suite, tests);
}

int main(void)
{
    Suite *suite = suite_create("account");
    add_tests(suite);
    TCase *minute = tcase_create("one-minute tokens");
    tcase_add_checked_fixture(minute, setup_short, teardown);
    tcase_add_test(minute, R2_one_minute_tokens_under_steady_use_are_refreshed_every_20_to_30_seconds);
    tcase_add_test(minute, R2_a_token_with_less_than_five_seconds_left_is_not_handed_out);
    suite_add_tcase(suite, minute);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
