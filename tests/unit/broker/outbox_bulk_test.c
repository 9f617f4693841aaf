/* Posts that are one for their caller, on a simulated host: all of them become rows, or none does. */
#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "world.h"

enum { COUNT = 3 };

static struct world *world;
static struct rb_post posts[COUNT];
static int64_t ids[COUNT];
static bool repeated;
static struct rb_error err;

static void start_with(const struct rb_broker_config *config)
{
    rb_log_set_level(RB_LOG_ERROR);
    ck_assert_int_ge(sodium_init(), 0);
    struct world_config setup = world_config_default(7);
    setup.rate_limits = false;
    setup.broker = *config;
    world = world_new(&setup);
    world_boot(world);
    struct rb_account *account = world_login(world, "main", "user", false);
    ck_assert_ptr_nonnull(account);
    world->weather.down = true;
    for (int i = 0; i < COUNT; i++)
        posts[i] = (struct rb_post){
            .account = account, .topic = RB_SPAN("jobs"), .payload = RB_SPAN("{}"), .door = "default", .uid = 1000};
}

static void finish(void)
{
    world_end_tick(world);
    world->weather.down = false;
    world_run(world, 60 * 1000);
    struct world_fault fault = world->fault;
    world_free(world);
    world = NULL;
    ck_assert_msg(!fault.set, "%s", fault.text);
}

static enum rb_status add_all(void)
{
    enum rb_status status = rb_outbox_add_all(world->broker->outbox, posts, COUNT, ids, &repeated, &err);
    world_end_tick(world);
    return status;
}

static int64_t open_rows(void)
{
    return rb_outbox_open_of(world->broker->outbox, rb_account_id(posts[0].account));
}

static int64_t open_bytes(void)
{
    struct rb_outbox_stats stats;
    rb_outbox_stats(world->broker->outbox, &stats);
    return stats.open_bytes;
}

/* Open and expired. */
static int64_t rows_ever(void)
{
    struct rb_outbox_stats stats;
    rb_outbox_stats(world->broker->outbox, &stats);
    return open_rows() + (int64_t)stats.expired;
}

static void set_keys(void)
{
    posts[0].key = RB_SPAN("k\n0");
    posts[1].key = RB_SPAN("k\n1");
    posts[2].key = RB_SPAN("k\n2");
}

static void set_whole(const char *whole)
{
    for (int i = 0; i < COUNT; i++)
        posts[i].whole = rb_span_of(whole);
}

START_TEST(the_bounds_count_what_the_rows_count)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.user_percent = 100;
    start_with(&config);
    posts[2].payload = RB_SPAN("{\"longer\": 1}");
    ck_assert_int_eq(add_all(), RB_OK);
    ck_assert(!repeated);
    config.outbox_bytes = open_bytes() - 1;
    finish();
    for (int spare = -1; spare <= 0; spare++) {
        start_with(&config);
        posts[2].payload = RB_SPAN("{\"longer\": 1}");
        ck_assert_int_eq(add_all(), spare < 0 ? RB_FULL : RB_OK);
        ck_assert_int_eq(open_rows(), spare < 0 ? 0 : COUNT);
        ck_assert_int_eq(open_bytes(), spare < 0 ? 0 : config.outbox_bytes);
        finish();
        config.outbox_bytes++;
    }
}
END_TEST

START_TEST(with_one_that_the_relay_could_not_take_none_is_stored)
{
    start_with(&rb_broker_config_default);
    struct rb_str payload = RB_STR_INIT;
    rb_str_add(&payload, "{\"x\":\"");
    for (int i = 0; i < 1048576; i++)
        rb_str_add(&payload, "x");
    rb_str_add(&payload, "\"}");
    posts[_i].payload = rb_str_span(&payload);
    ck_assert_int_eq(add_all(), RB_INVALID);
    ck_assert_int_eq(open_rows(), 0);
    posts[_i].payload = RB_SPAN("{}");
    posts[_i].topic = RB_SPAN("not/valid");
    ck_assert_int_eq(add_all(), RB_INVALID);
    ck_assert_int_eq(open_rows(), 0);
    rb_str_free(&payload);
    finish();
}
END_TEST

START_TEST(O5_in_a_full_outbox_the_same_keys_give_the_first_rows)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.outbox_rows = config.keys = COUNT;
    config.user_percent = 100;
    start_with(&config);
    set_keys();
    set_whole("one");
    ck_assert_int_eq(add_all(), RB_OK);
    int64_t first[COUNT];
    memcpy(first, ids, sizeof first);
    ck_assert_int_eq(add_all(), RB_OK);
    ck_assert(repeated);
    ck_assert_mem_eq(ids, first, sizeof ids);
    set_whole("another");
    ck_assert_int_eq(add_all(), RB_EXISTS);
    ck_assert_int_eq(open_rows(), COUNT);
    finish();
}
END_TEST

/* While the relay is down the rows end by their expiry, each at a time of its own. */
START_TEST(O5_near_the_end_of_the_keys_lives_nothing_is_stored_in_part)
{
    start_with(&rb_broker_config_default);
    int64_t begin = rb_clock_wall_ms(&world->host.clock);
    set_keys();
    set_whole("one");
    for (int i = 0; i < COUNT; i++)
        posts[i].expires_wall_ms = begin + (i + 1) * 60 * 1000;
    ck_assert_int_eq(add_all(), RB_OK);
    int64_t first[COUNT];
    memcpy(first, ids, sizeof first);
    world_run(world, rb_broker_config_default.key_ms + 30 * 1000);
    ck_assert_int_eq(add_all(), RB_OK);
    ck_assert(repeated);
    ck_assert_mem_eq(ids, first, sizeof ids);
    for (int i = 0; i < COUNT - 1; i++) {
        world_run(world, 60 * 1000);
        set_whole("another");
        ck_assert_int_eq(add_all(), RB_EXISTS);
        ck_assert_int_eq(rows_ever(), COUNT);
        set_whole("one");
        ck_assert_int_eq(add_all(), RB_EXISTS);
        ck_assert_ptr_nonnull(strstr(err.text, "some of its messages are forgotten"));
        ck_assert_int_eq(rows_ever(), COUNT);
    }
    world_run(world, 60 * 1000);
    for (int i = 0; i < COUNT; i++)
        posts[i].expires_wall_ms = 0;
    ck_assert_int_eq(add_all(), RB_OK);
    ck_assert(!repeated);
    ck_assert_int_eq(open_rows(), COUNT);
    finish();
}
END_TEST

START_TEST(T4_posts_whose_commit_failed_were_never_there_and_their_keys_are_free)
{
    start_with(&rb_broker_config_default);
    set_keys();
    sim_vfs_set_full(world->vfs, true);
    ck_assert_int_eq(add_all(), RB_OK);
    ck_assert_int_eq(open_rows(), 0);
    sim_vfs_set_full(world->vfs, false);
    ck_assert_int_eq(add_all(), RB_OK);
    ck_assert(!repeated);
    ck_assert_int_eq(open_rows(), COUNT);
    finish();
}
END_TEST

/* Ended rows without a key give way to a bulk, too: one post would still fit, the bulk does not. */
START_TEST(D6_ended_posts_without_a_key_make_room_for_all_of_a_bulk)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.keys = 17;
    config.user_percent = 100;
    start_with(&config);
    for (int i = 0; i < 6; i++) {
        int64_t wall = rb_clock_wall_ms(&world->host.clock);
        for (int j = 0; j < COUNT; j++)
            posts[j].expires_wall_ms = wall + 5;
        enum rb_status status = add_all();
        for (int tries = 0; tries < 10 && status == RB_FULL; tries++) {
            world_run(world, 60 * 1000);
            wall = rb_clock_wall_ms(&world->host.clock);
            for (int j = 0; j < COUNT; j++)
                posts[j].expires_wall_ms = wall + 5;
            status = add_all();
        }
        ck_assert_int_eq(status, RB_OK);
        world_run(world, 1000);
    }
    finish();
}
END_TEST

START_TEST(D6_a_bulk_to_one_new_topic_needs_room_for_one_topic)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.topics = 1;
    config.user_percent = 100;
    start_with(&config);
    posts[COUNT - 1].topic = RB_SPAN("others");
    ck_assert_int_eq(add_all(), RB_FULL);
    ck_assert_int_eq(open_rows(), 0);
    posts[COUNT - 1].topic = RB_SPAN("jobs");
    ck_assert_int_eq(add_all(), RB_OK);
    ck_assert_int_eq(open_rows(), COUNT);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("outbox_bulk");
    TCase *tests = tcase_create("outbox_bulk");
    tcase_add_test(tests, the_bounds_count_what_the_rows_count);
    tcase_add_loop_test(tests, with_one_that_the_relay_could_not_take_none_is_stored, 0, COUNT);
    tcase_add_test(tests, O5_in_a_full_outbox_the_same_keys_give_the_first_rows);
    tcase_add_test(tests, O5_near_the_end_of_the_keys_lives_nothing_is_stored_in_part);
    tcase_add_test(tests, T4_posts_whose_commit_failed_were_never_there_and_their_keys_are_free);
    tcase_add_test(tests, D6_ended_posts_without_a_key_make_room_for_all_of_a_bulk);
    tcase_add_test(tests, D6_a_bulk_to_one_new_topic_needs_room_for_one_topic);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
