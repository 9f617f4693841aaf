/* The rotation of chains: R1–R6, T4, T5 of the hard cases, on a simulated host. */
#include <stdlib.h>
#include <string.h>

#include "account_host.h"
#include "account_private.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND };

static void setup(void)
{
    host_start(600);
}

static void teardown(void)
{
    host_end();
}

/* --- what the disk does to the record files --- */

static enum rb_status (*disk_write)(struct rb_disk *disk, enum rb_record record, struct rb_span bytes);
static bool counter_fails, counter_kills, slot_fails, slot_was_lost;
static int counter_writes, slot_writes;

static enum rb_status watched_write(struct rb_disk *disk, enum rb_record record, struct rb_span bytes)
{
    if (record == RB_RECORD_COUNTER) {
        counter_writes++;
        if (counter_fails)
            return RB_IO;
        if (counter_kills)
            world->crash_in = 1;
    }
    if (record == RB_RECORD_SLOT && slot_fails) {
        slot_writes++;
        return RB_IO;
    }
    enum rb_status status = disk_write(disk, record, bytes);
    if (record == RB_RECORD_SLOT && world->dead)
        slot_was_lost = true;
    return status;
}

static void watch_disk(void)
{
    disk_write = world->disk.write;
    world->disk.write = watched_write;
    counter_fails = counter_kills = slot_fails = slot_was_lost = false;
    counter_writes = slot_writes = 0;
}

/* --- R1 --- */

START_TEST(R1_a_refresh_that_never_arrived_is_sent_again_after_the_wait_and_succeeds)
{
    host_login(false);
    host_drop_access();
    world->weather.lose_request = 1000;
    ck_assert(host_chain_becomes("uncertain", 10 * SECOND));
    world->weather.lose_request = 0;
    ck_assert_int_eq((int)host_counts().refreshes, 0);
    world_run(world, 74 * SECOND);
    ck_assert_int_eq((int)host_counts().refreshes, 0);
    ck_assert_str_eq(host_chain(), "uncertain");
    ck_assert(host_get_access(2 * SECOND));
    ck_assert_int_eq((int)host_counts().refreshes_ok, 1);
    ck_assert_str_eq(host_chain(), "active");
}
END_TEST

START_TEST(R1_a_refresh_whose_answer_was_lost_costs_the_chain_and_is_not_called_theft)
{
    host_login(false);
    host_drop_access();
    world->weather.lose_answer = 1000;
    ck_assert(host_chain_becomes("uncertain", 10 * SECOND));
    world->weather.lose_answer = 0;
    world_run(world, 74 * SECOND);
    ck_assert_int_eq((int)host_counts().refreshes, 1);
    ck_assert(host_chain_becomes("dead", 2 * SECOND));
    ck_assert_int_eq(host_access(), RB_DENIED);
    ck_assert_int_eq(host_events("chain_lost"), 1);
    ck_assert_int_eq(host_events("foreign_use"), 0);
    ck_assert_int_eq(host_events("login_required"), 1);
    ck_assert_str_eq(rb_account_state_text(rb_account_state(host_account())), "login_required");
    ck_assert_uint_eq(host_live_tokens("user"), 0);
}
END_TEST

START_TEST(R1_a_token_is_never_under_way_twice_however_late_the_first_arrives)
{
    /* The world breaks the test when a token leaves before its earlier sending is surely dead. */
    host_login(true);
    for (int round = 0; round < 20; round++) {
        ck_assert(host_get_access(10 * MINUTE));
        host_drop_access();
        world->weather.late = 500;
        world_run(world, 3 * MINUTE);
        world->weather.late = 0;
        world_run(world, 3 * MINUTE);
    }
    ck_assert(host_get_access(10 * MINUTE));
}
END_TEST

START_TEST(R1_a_graceful_stop_waits_for_a_refresh_and_keeps_its_token)
{
    host_login(false);
    host_drop_access();
    world->weather.latency_max_ms = 30 * SECOND;
    ck_assert(host_chain_becomes("rotating", SECOND));
    ck_assert(!rb_broker_quiet(world->broker));
    world_stop(world);
    world->weather.latency_max_ms = 20;
    world_boot(world);
    ck_assert(host_get_access(SECOND));
    ck_assert_int_eq((int)host_counts().refreshes, 1);
    ck_assert_int_eq((int)host_counts().replays, 0);
}
END_TEST

/* --- R3 and T5 --- */

START_TEST(R3_a_restored_copy_is_never_replayed_and_revokes_its_login)
{
    host_login(false);
    struct sim_vfs_copy *copy = sim_vfs_copy(world->vfs);
    host_drop_access();
    ck_assert(host_get_access(10 * SECOND));
    world_crash(world);
    sim_vfs_restore(world->vfs, copy);
    world_boot(world);
    ck_assert_int_eq(host_access(), RB_DENIED);
    world_run(world, 3 * MINUTE);
    ck_assert_int_eq((int)host_counts().replays, 0);
    ck_assert_int_eq((int)host_counts().refreshes, 1);
    ck_assert_uint_eq(host_live_tokens("user"), 0);
    ck_assert_str_eq(host_chain(), "revoked");
    ck_assert_int_eq(host_events("restored_copy"), 1);
}
END_TEST

START_TEST(R3_a_copy_from_before_a_logout_never_uses_its_login)
{
    host_login(false);
    struct sim_vfs_copy *copy = sim_vfs_copy(world->vfs);
    world->weather.down = _i == 0;
    ck_assert_int_eq(rb_account_logout(host_account(), NULL, NULL, NULL), RB_OK);
    world_run(world, MINUTE);
    ck_assert_str_eq(host_chain(), _i == 0 ? "revoking" : "revoked");
    world_crash(world);
    sim_vfs_restore(world->vfs, copy);
    world->weather.down = false;
    world_boot(world);
    ck_assert_int_eq(host_access(), RB_DENIED);
    world_run(world, 3 * MINUTE);
    ck_assert_int_eq((int)host_counts().refreshes, 0);
    ck_assert_uint_eq(host_live_tokens("user"), 0);
    ck_assert_str_eq(host_chain(), "revoked");
}
END_TEST

START_TEST(R3_without_the_counter_file_a_login_is_not_used)
{
    host_login(false);
    world_crash(world);
    world->record_written[RB_RECORD_COUNTER] = false;
    world_boot(world);
    world_run(world, 3 * MINUTE);
    ck_assert_int_eq((int)host_counts().refreshes, 0);
    ck_assert_uint_eq(host_live_tokens("user"), 0);
    ck_assert_int_eq(host_events("restored_copy"), 1);
}
END_TEST

START_TEST(R3_a_copy_with_a_stored_password_logs_in_anew_on_a_chain_of_its_own)
{
    host_login(true);
    struct sim_vfs_copy *copy = sim_vfs_copy(world->vfs);
    host_drop_access();
    ck_assert(host_get_access(10 * SECOND));
    world_crash(world);
    sim_vfs_restore(world->vfs, copy);
    world_boot(world);
    world_run(world, 10 * SECOND);
    ck_assert_int_eq(host_access(), RB_OK);
    host_drop_access();
    ck_assert(host_get_access(3 * MINUTE));
    ck_assert_int_eq((int)host_counts().replays, 0);
    ck_assert_int_eq((int)host_counts().logins, 2);
}
END_TEST

START_TEST(R3_a_crash_between_intent_and_counter_sent_nothing_and_costs_no_wait)
{
    host_login(false);
    watch_disk();
    host_drop_access();
    counter_kills = true;
    world_run(world, 10 * SECOND);
    ck_assert(!world->up);
    counter_kills = false;
    world_boot(world);
    ck_assert_str_eq(host_chain(), "active");
    ck_assert(host_get_access(SECOND));
    ck_assert_int_eq((int)host_counts().refreshes, 1);
}
END_TEST

START_TEST(R3_a_counter_that_cannot_be_written_sends_nothing)
{
    host_login(false);
    watch_disk();
    host_drop_access();
    counter_fails = true;
    world_run(world, 2 * MINUTE);
    ck_assert_int_eq((int)host_counts().refreshes, 0);
    ck_assert_int_ge(counter_writes, 2);
    ck_assert_str_eq(host_chain(), "active");
    counter_fails = false;
    ck_assert(host_get_access(40 * SECOND));
}
END_TEST

START_TEST(R3_a_new_chain_is_in_the_counter_file_before_it_has_a_row)
{
    rb_model_user(world->model, "user", "correct horse", "");
    watch_disk();
    counter_fails = true;
    ck_assert_ptr_null(world_login(world, "main", "user", false));
    ck_assert_ptr_null(rb_account_by_name(world->broker->accounts, RB_SPAN("main")));
    world_run(world, MINUTE);
    ck_assert_uint_eq(host_live_tokens("user"), 0);
}
END_TEST

START_TEST(T5_a_chain_that_was_rotating_starts_as_uncertain_and_waits_from_the_start)
{
    host_login(false);
    host_drop_access();
    world->weather.latency_max_ms = 30 * SECOND;
    ck_assert(host_chain_becomes("rotating", SECOND));
    world_run(world, 1);
    world->weather.latency_max_ms = 20;
    world->weather.lose_request = 1000;
    host_restart();
    world->weather.lose_request = 0;
    ck_assert_str_eq(host_chain(), "uncertain");
    ck_assert_int_eq(host_access(), RB_UNAVAILABLE);
    world_run(world, 74 * SECOND);
    ck_assert_str_eq(host_chain(), "uncertain");
    world_run(world, 3 * SECOND);
    ck_assert_str_ne(host_chain(), "uncertain");
}
END_TEST

/* --- R4 --- */

struct r4_case {
    const char *what;
    size_t weather;    /* offset of the chance */
    const char *state; /* after it */
};

static const struct r4_case r4_cases[] = {
    {"a proxy's 502 in HTML", offsetof(struct weather, html), "uncertain"},
    {"a 500 in JSON", offsetof(struct weather, error), "uncertain"},
    {"a lost answer", offsetof(struct weather, lose_answer), "uncertain"},
    {"never connected", offsetof(struct weather, refuse), "active"},
    {"429", offsetof(struct weather, limited), "active"},
};

static bool a_refresh_failed(struct world *of, void *arg)
{
    struct rb_account_status status;
    rb_account_status(host_account(), &status);
    return status.refreshes_failed > 0 && strcmp(status.chain_state, "rotating") != 0;
}

START_TEST(R4_only_the_relays_own_refusal_is_the_end_of_a_chain)
{
    const struct r4_case *now = &r4_cases[_i];
    host_login(false);
    host_drop_access();
    *(int *)(void *)((char *)&world->weather + now->weather) = 1000;
    ck_assert(world_run_until(world, a_refresh_failed, NULL, 10 * SECOND));
    world_end_tick(world);
    ck_assert_msg(strcmp(host_chain(), now->state) == 0, "%s: %s", now->what, host_chain());
    ck_assert_int_eq(host_events("chain_lost") + host_events("foreign_use"), 0);
}
END_TEST

START_TEST(R4_a_401_on_a_chain_that_was_not_uncertain_is_a_loud_event)
{
    host_login(false);
    rb_model_revoke_all(world->model, "user");
    host_drop_access();
    ck_assert(host_chain_becomes("dead", 10 * SECOND));
    ck_assert_int_eq(host_events("foreign_use"), 1);
    ck_assert_int_eq(host_access(), RB_DENIED);
    /* Nothing is sent with it any more. */
    world_run(world, 10 * MINUTE);
    ck_assert_int_eq((int)host_counts().refreshes, 1);
}
END_TEST

START_TEST(a_429_on_a_refresh_waits_for_the_window)
{
    host_login(false);
    host_drop_access();
    world->weather.limited = 1000;
    ck_assert(world_run_until(world, a_refresh_failed, NULL, 10 * SECOND));
    uint64_t requests = world->requests;
    world->weather.limited = 0;
    world_run(world, 50 * SECOND);
    ck_assert_uint_eq(world->requests, requests);
    ck_assert(host_get_access(15 * SECOND));
}
END_TEST

/* --- R5 --- */

/* A second chain, as a login with a pair of tokens would leave it. */
static void add_spare(void)
{
    char *token = host_foreign_token("user");
    struct rb_account *account = host_account();
    struct rb_chain *chain = chain_new(account);
    struct rb_str sealed = RB_STR_INIT;
    rb_random_fill(&world->host_random.random, chain->uid, sizeof chain->uid);
    struct rb_seal seal = account_seal(account, chain, 0, "refresh_token");
    ck_assert_int_eq(rb_vault_seal(world->broker->ports.vault, &seal, rb_span_of(token), &sealed), RB_OK);
    ck_assert_int_eq(rb_marks_write(account->accounts->marks, chain->uid, 1), RB_OK);
    chain_add(chain, RB_CHAIN_ACTIVE, rb_clock_wall_ms(&world->host.clock), rb_str_span(&sealed));
    world_end_tick(world);
    rb_str_free(&sealed);
    free(token);
}

static int chains_in(enum rb_chain_state state)
{
    int count = 0;
    RB_LIST_EACH (&host_account()->chains, node)
        count += RB_CONTAINER(node, struct rb_chain, node)->state == state;
    return count;
}

START_TEST(R5_chains_are_used_in_turn)
{
    host_login(false);
    add_spare();
    for (int i = 0; i < 4; i++) {
        host_drop_access();
        world_run(world, 15 * SECOND);
        ck_assert(host_get_access(10 * SECOND));
        world_run(world, 10 * SECOND);
    }
    RB_LIST_EACH (&host_account()->chains, node)
        ck_assert_int_eq((int)RB_CONTAINER(node, struct rb_chain, node)->generation, 2);
}
END_TEST

START_TEST(R5_the_spare_rests_while_the_other_is_uncertain_until_a_minute_is_left)
{
    host_login(false);
    add_spare();
    world_run(world, 10 * SECOND);
    ck_assert_int_eq(host_access(), RB_OK);
    /* Refreshed ahead between a third and half of 600 s. */
    world->weather.lose_request = 1000;
    int64_t login = world->now_ms;
    while (chains_in(RB_CHAIN_UNCERTAIN) == 0) {
        ck_assert(world_step(world, login + 310 * SECOND));
        if (world->up)
            world_end_tick(world);
    }
    ck_assert_int_ge(world->now_ms, login + 180 * SECOND);
    /* The retries of the first are lost too: only one is ever at risk. */
    while (world->now_ms < login + 500 * SECOND) {
        world_step(world, login + 500 * SECOND);
        ck_assert_int_le(chains_in(RB_CHAIN_UNCERTAIN) + chains_in(RB_CHAIN_ROTATING), 1);
        ck_assert_int_eq(host_access(), RB_OK);
    }
    world->weather.lose_request = 0;
    ck_assert(host_get_access(10 * SECOND));
    world_run(world, 100 * SECOND);
    ck_assert_int_eq(host_access(), RB_OK);
}
END_TEST

START_TEST(R5_a_lost_chain_is_replaced_by_the_spare)
{
    host_login(false);
    add_spare();
    host_drop_access();
    world->weather.lose_answer = 1000;
    while (chains_in(RB_CHAIN_ROTATING) == 0)
        world_step(world, world->now_ms + SECOND);
    world->weather.lose_answer = 0;
    while (chains_in(RB_CHAIN_UNCERTAIN) == 0)
        world_step(world, world->now_ms + SECOND);
    /* No access token is left: the spare need not wait. */
    ck_assert(host_get_access(5 * SECOND));
    world_run(world, 2 * MINUTE);
    ck_assert_int_eq(chains_in(RB_CHAIN_DEAD), 1);
    ck_assert_int_eq(host_access(), RB_OK);
    ck_assert_int_eq(host_events("login_required"), 0);
}
END_TEST

START_TEST(R5_a_chain_that_nobody_uses_is_rotated_every_30_days)
{
    host_login(false);
    for (int day = 0; day < 28; day++)
        world_run(world, DAY_MS);
    ck_assert_int_eq((int)host_counts().refreshes, 0);
    world_run(world, 2 * DAY_MS);
    ck_assert_int_eq((int)host_counts().refreshes_ok, 1);
}
END_TEST

/* --- R6 --- */

static void logged_out(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    *(int *)arg = (int)status;
}

static void log_out(void)
{
    int status = -1;
    ck_assert_int_eq(rb_account_logout(host_account(), logged_out, &status, NULL), RB_OK);
    ck_assert_int_eq(status, -1);
    world_end_tick(world);
    ck_assert_int_eq(status, RB_OK);
    ck_assert_int_eq(host_access(), RB_DENIED);
}

START_TEST(R6_a_logout_revokes_and_confirms)
{
    host_login(true);
    log_out();
    ck_assert(host_chain_becomes("revoked", 10 * SECOND));
    ck_assert_uint_eq(host_live_tokens("user"), 0);
    host_restart();
    ck_assert_str_eq(host_chain(), "revoked");
    ck_assert_int_eq(host_access(), RB_DENIED);
    ck_assert(!host_account()->has_password);
}
END_TEST

START_TEST(R6_a_logout_at_any_moment_of_a_rotation_leaves_nothing_alive)
{
    host_login(true);
    world->weather.latency_max_ms = 1000;
    host_drop_access();
    world_run(world, _i * 100);
    log_out();
    world_run(world, 10 * SECOND);
    ck_assert_uint_eq(host_live_tokens("user"), 0);
    ck_assert_str_eq(host_chain(), "revoked");
    ck_assert_int_eq(host_access(), RB_DENIED);
}
END_TEST

START_TEST(R6_a_logout_with_a_late_rotation_on_its_way_is_confirmed_only_when_it_cannot_arrive)
{
    host_login(false);
    host_drop_access();
    world->weather.late = 1000;
    ck_assert(host_chain_becomes("uncertain", 10 * SECOND));
    world->weather.late = 0;
    log_out();
    world_run(world, 70 * SECOND);
    ck_assert_str_eq(host_chain(), "revoking");
    world_run(world, 10 * SECOND);
    ck_assert_str_eq(host_chain(), "revoked");
    ck_assert_uint_eq(host_live_tokens("user"), 0);
}
END_TEST

START_TEST(R6_a_revocation_is_retried_across_restarts_until_the_relay_has_confirmed_it)
{
    host_login(false);
    world->weather.down = true;
    log_out();
    world_run(world, 10 * MINUTE);
    ck_assert_str_eq(host_chain(), "revoking");
    host_restart();
    world_run(world, 10 * MINUTE);
    ck_assert_uint_eq(host_live_tokens("user"), 1);
    world->weather.down = false;
    ck_assert(host_chain_becomes("revoked", 10 * MINUTE));
    ck_assert_uint_eq(host_live_tokens("user"), 0);
}
END_TEST

START_TEST(R6_a_logout_that_is_not_committed_did_not_happen)
{
    host_login(true);
    int status = -1;
    sim_vfs_set_full(world->vfs, true);
    ck_assert_int_eq(rb_account_logout(host_account(), logged_out, &status, NULL), RB_OK);
    world_end_tick(world);
    ck_assert_int_ne(status, RB_OK);
    ck_assert_int_eq(host_access(), RB_OK);
    ck_assert_str_eq(host_chain(), "active");
    sim_vfs_set_full(world->vfs, false);
    world_run(world, 2 * MINUTE);
    ck_assert_uint_eq(host_live_tokens("user"), 1);
}
END_TEST

/* --- T4 --- */

static bool relay_rotated(struct world *of, void *arg)
{
    return host_counts().refreshes_ok > 0;
}

/* The relay has rotated, the answer is on its way, and the disk is full. */
static void answer_meets_a_full_disk(void)
{
    host_login(false);
    host_drop_access();
    ck_assert(world_run_until(world, relay_rotated, NULL, 10 * SECOND));
    sim_vfs_set_full(world->vfs, true);
    world_run(world, 5 * SECOND);
    ck_assert(world->up);
    ck_assert_int_ne(host_access(), RB_OK);
}

START_TEST(T4_a_rotated_token_outlives_a_full_disk)
{
    answer_meets_a_full_disk();
    sim_vfs_set_full(world->vfs, false);
    ck_assert(host_get_access(5 * SECOND));
    ck_assert_int_eq((int)host_counts().refreshes, 1);
    host_restart();
    host_drop_access();
    ck_assert(host_get_access(5 * SECOND));
    ck_assert_int_eq((int)host_counts().replays, 0);
}
END_TEST

START_TEST(T4_a_rotated_token_that_was_never_committed_is_taken_from_the_slot_file)
{
    answer_meets_a_full_disk();
    sim_vfs_set_full(world->vfs, false);
    host_restart();
    ck_assert_str_eq(host_chain(), "active");
    ck_assert(host_get_access(5 * SECOND));
    ck_assert_int_eq((int)host_counts().refreshes_ok, 2);
    ck_assert_int_eq((int)host_counts().replays, 0);
    host_restart();
    ck_assert(host_get_access(5 * SECOND));
    ck_assert_int_eq((int)host_counts().replays, 0);
}
END_TEST

START_TEST(T4_a_slot_that_cannot_be_emptied_after_a_logout_brings_no_login_back)
{
    answer_meets_a_full_disk();
    sim_vfs_set_full(world->vfs, false);
    watch_disk();
    log_out();
    slot_fails = true;
    ck_assert(host_chain_becomes("revoked", 2 * MINUTE));
    ck_assert_int_ge(slot_writes, 1);
    host_restart();
    ck_assert_str_eq(host_chain(), "revoked");
    ck_assert_int_eq(host_access(), RB_DENIED);
    ck_assert_uint_eq(host_live_tokens("user"), 0);
}
END_TEST

START_TEST(T4_an_answer_that_meets_an_uncommitted_logout_is_kept_when_that_fails)
{
    host_login(false);
    host_drop_access();
    ck_assert(world_run_until(world, relay_rotated, NULL, 10 * SECOND));
    sim_vfs_set_full(world->vfs, true);
    world_run(world, SECOND);
    int status = -1;
    ck_assert_int_eq(rb_account_logout(host_account(), logged_out, &status, NULL), RB_OK);
    world_end_tick(world);
    ck_assert_int_ne(status, RB_OK);
    sim_vfs_set_full(world->vfs, false);
    ck_assert(host_get_access(5 * SECOND));
    ck_assert_int_eq((int)host_counts().replays, 0);
}
END_TEST

START_TEST(P2_a_crash_on_any_operation_of_a_rotation_keeps_the_login)
{
    host_login(false);
    watch_disk();
    host_drop_access();
    world->crash_in = _i + 1;
    world_run(world, 5 * SECOND);
    bool died = !world->up;
    world->crash_in = 0;
    if (died)
        world_boot(world);
    ck_assert(world->up);
    /* Only an answer that never reached us, or whose very first write killed the host, may cost the chain. */
    if (!host_get_access(3 * MINUTE)) {
        ck_assert(world->lost_rotation || slot_was_lost);
        ck_assert_int_eq(host_access(), RB_DENIED);
    } else {
        ck_assert_int_eq((int)host_counts().replays, 0);
    }
}
END_TEST

START_TEST(P2_with_a_password_every_crash_is_recovered_from)
{
    host_login(true);
    for (int i = 1; i <= 40; i++) {
        ck_assert(host_get_access(20 * MINUTE));
        host_drop_access();
        world->crash_in = i;
        world_run(world, 5 * SECOND);
        world->crash_in = 0;
        if (!world->up)
            world_boot(world);
        ck_assert(world->up);
    }
    ck_assert(host_get_access(20 * MINUTE));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chain");
    TCase *tests = tcase_create("chain");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, R1_a_refresh_that_never_arrived_is_sent_again_after_the_wait_and_succeeds);
    tcase_add_test(tests, R1_a_refresh_whose_answer_was_lost_costs_the_chain_and_is_not_called_theft);
    tcase_add_test(tests, R1_a_token_is_never_under_way_twice_however_late_the_first_arrives);
    tcase_add_test(tests, R1_a_graceful_stop_waits_for_a_refresh_and_keeps_its_token);
    tcase_add_test(tests, R3_a_restored_copy_is_never_replayed_and_revokes_its_login);
    tcase_add_loop_test(tests, R3_a_copy_from_before_a_logout_never_uses_its_login, 0, 2);
    tcase_add_test(tests, R3_without_the_counter_file_a_login_is_not_used);
    tcase_add_test(tests, R3_a_copy_with_a_stored_password_logs_in_anew_on_a_chain_of_its_own);
    tcase_add_test(tests, R3_a_crash_between_intent_and_counter_sent_nothing_and_costs_no_wait);
    tcase_add_test(tests, R3_a_counter_that_cannot_be_written_sends_nothing);
    tcase_add_test(tests, R3_a_new_chain_is_in_the_counter_file_before_it_has_a_row);
    tcase_add_test(tests, T5_a_chain_that_was_rotating_starts_as_uncertain_and_waits_from_the_start);
    tcase_add_loop_test(tests, R4_only_the_relays_own_refusal_is_the_end_of_a_chain, 0,
                        (int)(sizeof r4_cases / sizeof *r4_cases));
    tcase_add_test(tests, R4_a_401_on_a_chain_that_was_not_uncertain_is_a_loud_event);
    tcase_add_test(tests, a_429_on_a_refresh_waits_for_the_window);
    tcase_add_test(tests, R5_chains_are_used_in_turn);
    tcase_add_test(tests, R5_the_spare_rests_while_the_other_is_uncertain_until_a_minute_is_left);
    tcase_add_test(tests, R5_a_lost_chain_is_replaced_by_the_spare);
    tcase_add_test(tests, R5_a_chain_that_nobody_uses_is_rotated_every_30_days);
    tcase_add_test(tests, R6_a_logout_revokes_and_confirms);
    tcase_add_loop_test(tests, R6_a_logout_at_any_moment_of_a_rotation_leaves_nothing_alive, 0, 25);
    tcase_add_test(tests, R6_a_logout_with_a_late_rotation_on_its_way_is_confirmed_only_when_it_cannot_arrive);
    tcase_add_test(tests, R6_a_revocation_is_retried_across_restarts_until_the_relay_has_confirmed_it);
    tcase_add_test(tests, R6_a_logout_that_is_not_committed_did_not_happen);
    tcase_add_test(tests, T4_a_rotated_token_outlives_a_full_disk);
    tcase_add_test(tests, T4_a_rotated_token_that_was_never_committed_is_taken_from_the_slot_file);
    tcase_add_test(tests, T4_a_slot_that_cannot_be_emptied_after_a_logout_brings_no_login_back);
    tcase_add_test(tests, T4_an_answer_that_meets_an_uncommitted_logout_is_kept_when_that_fails);
    tcase_add_loop_test(tests, P2_a_crash_on_any_operation_of_a_rotation_keeps_the_login, 0, 60);
    tcase_add_test(tests, P2_with_a_password_every_crash_is_recovered_from);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
