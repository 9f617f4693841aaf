/* The registry of topics, on a simulated host. */
#include <check.h>
#include <sodium.h>
#include <stdlib.h>

#include "log.h"
#include "topic.h"
#include "world.h"

static struct world *world;
static struct rb_topics *topics;

static void start_with(int64_t most)
{
    rb_log_set_level(RB_LOG_ERROR);
    ck_assert_int_ge(sodium_init(), 0);
    struct world_config config = world_config_default(3);
    config.broker.topics = most;
    config.broker.user_percent = 50;
    world = world_new(&config);
    world_boot(world);
    ck_assert(world->up);
    topics = world->broker->topics;
}

static void start(void)
{
    start_with(10000);
}

static void restart(void)
{
    world_crash(world);
    world_boot(world);
    ck_assert(world->up);
    topics = world->broker->topics;
}

static void finish(void)
{
    struct world_fault fault = world->fault;
    world_free(world);
    ck_assert_msg(!fault.set, "%s", fault.text);
}

static struct rb_topic *get(int64_t account, const char *name)
{
    struct rb_topic *topic;
    struct rb_error err;
    ck_assert_int_eq(rb_topic_get(topics, account, rb_span_of(name), 1000, &topic, &err), RB_OK);
    return topic;
}

static void set(struct rb_topic *topic, const char *cursor, const char *newest)
{
    ck_assert_int_eq(rb_topic_set_cursor(topic, rb_span_of(cursor)), RB_OK);
    ck_assert_int_eq(rb_topic_set_newest(topic, rb_span_of(newest)), RB_OK);
    rb_topic_save(topics, topic);
}

START_TEST(a_topic_is_found_by_account_and_name_and_by_id)
{
    start();
    struct rb_topic *a = get(1, "a"), *b = get(1, "b"), *other = get(2, "a");
    ck_assert(a != b && a != other);
    ck_assert_ptr_eq(get(1, "a"), a);
    ck_assert_ptr_eq(rb_topic_find(topics, 2, RB_SPAN("a")), other);
    ck_assert_ptr_null(rb_topic_find(topics, 3, RB_SPAN("a")));
    ck_assert_ptr_eq(rb_topic_by_id(topics, b->id), b);
    ck_assert_ptr_null(rb_topic_by_id(topics, 0));
    ck_assert_ptr_eq(rb_topic_next(topics, NULL), a);
    ck_assert_ptr_eq(rb_topic_next(topics, a), b);
    ck_assert_ptr_null(rb_topic_next(topics, other));
    world_end_tick(world);
    finish();
}
END_TEST

START_TEST(what_was_saved_is_there_after_a_crash)
{
    start();
    struct rb_topic *topic = get(1, "a");
    int64_t id = topic->id;
    topic->posted = topic->following = true;
    topic->head = 9;
    topic->tail = 4;
    topic->rows = 5;
    topic->bytes = 77;
    topic->wanted = 123;
    set(topic, "1-0", "");
    get(1, "plain");
    world_end_tick(world);
    restart();
    topic = rb_topic_find(topics, 1, RB_SPAN("a"));
    ck_assert_ptr_nonnull(topic);
    ck_assert_int_eq(topic->id, id);
    ck_assert(topic->posted && topic->following);
    ck_assert_int_eq(topic->head, 9);
    ck_assert_int_eq(topic->tail, 4);
    ck_assert_int_eq(topic->rows, 5);
    ck_assert_int_eq(topic->bytes, 77);
    ck_assert_int_eq(topic->wanted, 123);
    ck_assert_str_eq(topic->cursor, "1-0");
    ck_assert_str_eq(topic->newest, "");
    ck_assert_ptr_null(get(1, "plain")->cursor);
    ck_assert(get(1, "plain")->id != id);
    finish();
}
END_TEST

/* Commits fail until the disk has room again. */
static void fail_tick(void)
{
    sim_vfs_set_full(world->vfs, true);
    struct rb_store_stats before, after;
    rb_store_stats(world->broker->ports.store, &before);
    world_end_tick(world);
    rb_store_stats(world->broker->ports.store, &after);
    ck_assert_uint_gt(after.failed_commits, before.failed_commits);
    sim_vfs_set_full(world->vfs, false);
}

START_TEST(after_a_failed_commit_a_topic_is_as_its_row_says)
{
    start();
    struct rb_topic *topic = get(1, "a");
    set(topic, "1-0", NULL);
    world_end_tick(world);
    topic->head = 5;
    set(topic, "2-0", "3-0");
    fail_tick();
    ck_assert_ptr_eq(get(1, "a"), topic);
    ck_assert_int_eq(topic->head, 0);
    ck_assert_str_eq(topic->cursor, "1-0");
    ck_assert_ptr_null(topic->newest);
    finish();
}
END_TEST

START_TEST(a_topic_made_in_a_failed_tick_is_made_again_when_asked_for)
{
    start();
    struct rb_topic *topic = get(1, "a");
    topic->following = true;
    set(topic, "1-0", NULL);
    fail_tick();
    ck_assert_ptr_null(rb_topic_find(topics, 1, RB_SPAN("a")));
    ck_assert_ptr_null(rb_topic_next(topics, NULL));
    ck_assert_int_eq(topic->id, 0);
    struct rb_topic *other = get(1, "b");
    ck_assert_ptr_eq(get(1, "a"), topic);
    ck_assert(topic->id != 0 && topic->id != other->id);
    ck_assert(!topic->following);
    ck_assert_ptr_null(topic->cursor);
    ck_assert_ptr_eq(rb_topic_by_id(topics, topic->id), topic);
    world_end_tick(world);
    restart();
    ck_assert_ptr_nonnull(rb_topic_find(topics, 1, RB_SPAN("a")));
    ck_assert_ptr_nonnull(rb_topic_find(topics, 1, RB_SPAN("b")));
    finish();
}
END_TEST

START_TEST(thousands_of_topics_are_told_apart)
{
    start();
    char name[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "t%d", i);
        get(1 + i % 2, name)->wanted = i;
    }
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "t%d", i);
        ck_assert_int_eq(rb_topic_find(topics, 1 + i % 2, rb_span_of(name))->wanted, i);
        ck_assert_ptr_null(rb_topic_find(topics, 2 - i % 2, rb_span_of(name)));
    }
    world_end_tick(world);
    finish();
}
END_TEST

static enum rb_status try_get(const char *name, int64_t uid)
{
    struct rb_topic *topic;
    struct rb_error err;
    return rb_topic_get(topics, 1, rb_span_of(name), uid, &topic, &err);
}

START_TEST(D6_a_user_names_his_part_of_the_topics_and_others_the_rest)
{
    start_with(4);
    ck_assert_int_eq(try_get("a", 1000), RB_OK);
    ck_assert_int_eq(try_get("b", 1000), RB_OK);
    ck_assert_int_eq(try_get("c", 1000), RB_FULL);
    ck_assert_int_eq(try_get("a", 1000), RB_OK);
    ck_assert_int_eq(try_get("c", 1001), RB_OK);
    ck_assert_int_eq(try_get("c", 1000), RB_OK);
    ck_assert_int_eq(try_get("d", 1002), RB_OK);
    ck_assert_int_eq(try_get("e", 1003), RB_FULL);
    world_end_tick(world);
    restart();
    finish();
}
END_TEST

START_TEST(D6_topics_of_a_failed_tick_do_not_count)
{
    start_with(4);
    ck_assert_int_eq(try_get("a", 1000), RB_OK);
    ck_assert_int_eq(try_get("b", 1000), RB_OK);
    fail_tick();
    ck_assert_int_eq(try_get("c", 1000), RB_OK);
    ck_assert_int_eq(try_get("a", 1000), RB_OK);
    ck_assert_int_eq(try_get("b", 1000), RB_FULL);
    world_end_tick(world);
    finish();
}
END_TEST

START_TEST(a_topic_that_nobody_uses_for_a_day_is_forgotten_at_the_next_start)
{
    start();
    get(2, "unused");
    get(1, "used");
    world_end_tick(world);
    restart();
    ck_assert_ptr_nonnull(rb_topic_find(topics, 2, RB_SPAN("unused")));
    world_run(world, 25 * 3600 * 1000);
    struct rb_topic *used = get(1, "used");
    used->wanted = rb_clock_wall_ms(&world->host.clock);
    rb_topic_save(topics, used);
    get(1, "new");
    world_end_tick(world);
    restart();
    ck_assert_ptr_nonnull(rb_topic_find(topics, 1, RB_SPAN("used")));
    ck_assert_ptr_nonnull(rb_topic_find(topics, 1, RB_SPAN("new")));
    ck_assert_ptr_null(rb_topic_find(topics, 2, RB_SPAN("unused")));
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("topic");
    TCase *tests = tcase_create("topic");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_topic_is_found_by_account_and_name_and_by_id);
    tcase_add_test(tests, what_was_saved_is_there_after_a_crash);
    tcase_add_test(tests, after_a_failed_commit_a_topic_is_as_its_row_says);
    tcase_add_test(tests, a_topic_made_in_a_failed_tick_is_made_again_when_asked_for);
    tcase_add_test(tests, thousands_of_topics_are_told_apart);
    tcase_add_test(tests, D6_a_user_names_his_part_of_the_topics_and_others_the_rest);
    tcase_add_test(tests, D6_topics_of_a_failed_tick_do_not_count);
    tcase_add_test(tests, a_topic_that_nobody_uses_for_a_day_is_forgotten_at_the_next_start);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
