#include <check.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "seen.h"
#include "stamp.h"
#include "relay_id.h"
#include "scene.h"

static const enum rb_flavour flavours[] = {RB_FLAVOUR_MEMORY, RB_FLAVOUR_VALKEY};

static struct rb_inbox_stats stats_of(struct scene *scene)
{
    struct rb_inbox_stats stats;
    rb_inbox_stats(scene->world->broker->inbox, &stats);
    return stats;
}

/* The topic holds exactly first, first + 1, …, last. */
static void check_numbers(struct scene *scene, const char *topic, int first, int last)
{
    static int numbers[SCENE_NUMBERS_MAX];
    size_t count = scene_stored(scene, topic, numbers);
    ck_assert_int_eq((int)count, last - first + 1);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(numbers[i], first + (int)i);
}

static void publish_many(struct scene *scene, const char *topic, int first, int last)
{
    for (int i = first; i <= last; i++)
        scene_publish(scene, topic, i, NULL, NULL);
}

START_TEST(latest_begins_after_what_was_there_and_misses_nothing_that_follows)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    publish_many(&scene, "jobs", 1, 3);
    scene_follow(&scene, "jobs", false);
    publish_many(&scene, "jobs", 4, 250);
    ck_assert(scene_head_is(&scene, "jobs", 247, 5000));
    check_numbers(&scene, "jobs", 4, 250);
    scene_close(&scene);
}
END_TEST

START_TEST(earliest_begins_at_the_beginning)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    publish_many(&scene, "jobs", 1, 150);
    scene_follow(&scene, "jobs", true);
    ck_assert(scene_head_is(&scene, "jobs", 150, 5000));
    check_numbers(&scene, "jobs", 1, 150);
    scene_close(&scene);
}
END_TEST

START_TEST(i2_a_topic_that_does_not_exist_yet_begins_at_its_first_message)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", false);
    publish_many(&scene, "jobs", 1, 2);
    ck_assert(scene_head_is(&scene, "jobs", 2, 5000));
    check_numbers(&scene, "jobs", 1, 2);
    scene_close(&scene);
}
END_TEST

START_TEST(i2_the_messages_of_a_deleted_topic_are_discarded_and_what_follows_is_not)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    publish_many(&scene, "jobs", 1, 230);
    scene_delete_topic(&scene, "jobs");
    scene_follow(&scene, "jobs", false);
    publish_many(&scene, "jobs", 231, 240);
    ck_assert(scene_head_is(&scene, "jobs", 10, 5000));
    check_numbers(&scene, "jobs", 231, 240);
    scene_close(&scene);
}
END_TEST

/* What the waiter answers is replaced: it names a later message than the one that woke it, as with Valkey (contract
 * §5). */
struct trap {
    struct rb_carrier real;
    void (*done)(struct rb_exchange *exchange);
    void *arg;
    char newest[SCENE_ID_MAX];
    int sprung;
};
static struct trap trap;

static void trap_done(struct rb_exchange *exchange)
{
    char body[512];
    exchange->done = trap.done;
    exchange->arg = trap.arg;
    if (trap.newest[0] && exchange->answer.len && memmem(exchange->answer.at, exchange->answer.len, "\"type\"", 6)) {
        snprintf(body, sizeof body,
                 "{\"messages\":[{\"type\":\"message\",\"topic\":\"jobs\",\"message_id\":\"%s\",\"payload\":{\"n\":3},"
                 "\"timestamp\":\"2026-01-01T00:00:00Z\",\"metadata\":null}],\"has_more\":false}",
                 trap.newest);
        exchange->answer = rb_span_of(body);
        trap.sprung++;
    }
    trap.done(exchange);
}

static enum rb_status trap_start(struct rb_carrier *carrier, struct rb_exchange *exchange)
{
    if (strcmp(exchange->path, "/messages/poll") == 0) {
        trap.done = exchange->done;
        trap.arg = exchange->arg;
        exchange->done = trap_done;
    }
    return trap.real.start(carrier, exchange);
}

START_TEST(a_message_that_the_waiter_leaves_out_is_never_stepped_over)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    publish_many(&scene, "jobs", 0, 0);
    trap = (struct trap){.real = scene.world->carrier};
    scene.world->carrier.start = trap_start;
    scene_follow(&scene, "jobs", false);
    publish_many(&scene, "jobs", 1, 2);
    scene_publish(&scene, "jobs", 3, NULL, trap.newest);
    ck_assert(scene_head_is(&scene, "jobs", 3, 5000));
    ck_assert_int_ge(trap.sprung, 1);
    check_numbers(&scene, "jobs", 1, 3);
    scene_close(&scene);
}
END_TEST

START_TEST(what_is_published_at_any_instant_between_reading_and_waiting_arrives_in_order)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene.world->weather.latency_max_ms = 300;
    scene_follow(&scene, "jobs", false);
    for (int i = 1; i <= 300; i++) {
        scene_publish(&scene, "jobs", i, NULL, NULL);
        world_run(scene.world, world_between(scene.world, 0, 150));
    }
    ck_assert(scene_head_is(&scene, "jobs", 300, 10000));
    check_numbers(&scene, "jobs", 1, 300);
    scene_close(&scene);
}
END_TEST

START_TEST(i1_an_id_of_one_topic_is_not_found_in_another)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "one", true);
    scene_follow(&scene, "two", true);
    char id[SCENE_ID_MAX];
    scene_publish(&scene, "one", 1, NULL, id);
    scene_publish(&scene, "two", 2, NULL, NULL);
    ck_assert(scene_head_is(&scene, "one", 1, 5000));
    ck_assert(scene_head_is(&scene, "two", 1, 5000));
    int64_t n;
    struct rb_inbox *inbox = scene.world->broker->inbox;
    ck_assert_int_eq(rb_inbox_find(inbox, scene_topic(&scene, "one"), rb_span_of(id), &n), RB_OK);
    ck_assert_int_eq(n, 1);
    if (flavours[_i] == RB_FLAVOUR_MEMORY)
        ck_assert_int_eq(rb_inbox_find(inbox, scene_topic(&scene, "two"), rb_span_of(id), &n), RB_NOT_FOUND);
    scene_close(&scene);
}
END_TEST

START_TEST(every_stored_id_is_found_and_no_other)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    static char ids[700][SCENE_ID_MAX];
    for (int i = 0; i < 700; i++) {
        scene_publish(&scene, "jobs", i, NULL, ids[i]);
        if (i % 100 == 0)
            world_run(scene.world, 50);
    }
    ck_assert(scene_head_is(&scene, "jobs", 700, 10000));
    struct rb_inbox *inbox = scene.world->broker->inbox;
    int64_t n;
    for (int i = 0; i < 700; i++) {
        ck_assert_int_eq(rb_inbox_find(inbox, scene_topic(&scene, "jobs"), rb_span_of(ids[i]), &n), RB_OK);
        ck_assert_int_eq(n, i + 1);
    }
    ck_assert_int_eq(rb_inbox_find(inbox, scene_topic(&scene, "jobs"), RB_SPAN("1-1"), &n), RB_NOT_FOUND);
    ck_assert_int_eq(rb_inbox_find(inbox, scene_topic(&scene, "jobs"), RB_SPAN("msg_nothing"), &n), RB_NOT_FOUND);
    ck_assert_int_eq(rb_inbox_find(inbox, scene_topic(&scene, "jobs"), RB_SPAN("0-0"), &n), RB_OK);
    ck_assert_int_eq(n, 0);
    scene_close(&scene);
}
END_TEST

/* The newest database, to count how often a statement runs. */
static sqlite3 *opened;

static int note_database(sqlite3 *db, char **ret_error, const struct sqlite3_api_routines *routines)
{
    opened = db;
    return SQLITE_OK;
}

/* Since the last time that it was asked. */
static int walks_over_ids(void)
{
    for (sqlite3_stmt *at = NULL; (at = sqlite3_next_stmt(opened, at));)
        if (strstr(sqlite3_sql(at), "message_id = ?3"))
            return sqlite3_stmt_status(at, SQLITE_STMTSTATUS_RUN, 1);
    ck_abort_msg("there is no such statement");
}

static void check_nothing_is_walked_for_unknown_ids(struct scene *scene, const char *topic)
{
    struct rb_inbox *inbox = scene->world->broker->inbox;
    char id[SCENE_ID_MAX];
    int64_t n;
    walks_over_ids();
    for (int i = 0; i < 1000; i++) {
        snprintf(id, sizeof id, i % 3 == 0 ? "msg_%012d" : i % 3 == 1 ? "1767225600000-%d" : "x%d", i);
        ck_assert_int_eq(rb_inbox_find(inbox, scene_topic(scene, topic), rb_span_of(id), &n), RB_NOT_FOUND);
    }
    ck_assert_int_le(walks_over_ids(), 20);
}

START_TEST(d6_an_id_that_is_not_here_costs_no_walk_over_those_that_are)
{
    struct scene scene;
    ck_assert_int_eq(sqlite3_auto_extension((void (*)(void))note_database), SQLITE_OK);
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_inbox *inbox = scene.world->broker->inbox;
    scene_follow(&scene, "jobs", true);
    static char ids[1500][SCENE_ID_MAX];
    int64_t n;
    for (int i = 0; i < 1500; i++) {
        scene_publish(&scene, "jobs", i, NULL, ids[i]);
        if (i % 100 != 99)
            continue;
        ck_assert(scene_head_is(&scene, "jobs", i + 1, 5000));
        if (i > 500)
            check_nothing_is_walked_for_unknown_ids(&scene, "jobs");
    }
    for (int i = 0; i < 1500; i++) {
        ck_assert_int_eq(rb_inbox_find(inbox, scene_topic(&scene, "jobs"), rb_span_of(ids[i]), &n), RB_OK);
        ck_assert_int_eq(n, i + 1);
    }
    /* Another relay's, behind them. */
    rb_model_restart(scene.world->model);
    rb_model_wipe(scene.world->model);
    scene_login_again(&scene);
    scene_publish(&scene, "jobs", 1500, NULL, NULL);
    ck_assert(scene_head_is(&scene, "jobs", 1501, 15 * 60 * 1000));
    check_nothing_is_walked_for_unknown_ids(&scene, "jobs");
    ck_assert_int_eq(rb_inbox_find(inbox, scene_topic(&scene, "jobs"), rb_span_of(ids[3]), &n), RB_OK);
    ck_assert_int_eq(n, 4);
    scene_close(&scene);
    sqlite3_reset_auto_extension();
}
END_TEST

START_TEST(i7_a_new_topic_gets_a_poll_of_its_own_and_shares_one_later)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "one", false);
    world_run(scene.world, 7000);
    uint64_t polls = stats_of(&scene).polls;
    ck_assert_int_eq(stats_of(&scene).polling, 1);
    scene_follow(&scene, "two", false);
    ck_assert_int_eq(stats_of(&scene).polling, 2);
    ck_assert_uint_eq(stats_of(&scene).polls, polls + 1);
    world_run(scene.world, 70 * 1000);
    ck_assert_int_eq(stats_of(&scene).polling, 1);
    scene_publish(&scene, "one", 1, NULL, NULL);
    scene_publish(&scene, "two", 1, NULL, NULL);
    ck_assert(scene_head_is(&scene, "one", 1, 1000));
    ck_assert(scene_head_is(&scene, "two", 1, 1000));
    scene_close(&scene);
}
END_TEST

START_TEST(forty_one_topics_need_three_polls)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    char name[32];
    for (int i = 0; i < 41; i++) {
        snprintf(name, sizeof name, "topic-%d", i);
        rb_inbox_want(scene.world->broker->inbox, scene_topic(&scene, name), true);
    }
    world_end_tick(scene.world);
    world_run(scene.world, 1000);
    ck_assert_int_eq(stats_of(&scene).polling, 3);
    scene_publish(&scene, "topic-40", 1, NULL, NULL);
    ck_assert(scene_head_is(&scene, "topic-40", 1, 1000));
    scene_close(&scene);
}
END_TEST

/* A topic that this user is the first to name. */
static struct rb_topic *topic_of(struct scene *scene, const char *name, int64_t uid)
{
    struct rb_topic *topic;
    struct rb_error err;
    ck_assert_int_eq(rb_topic_get(scene->world->broker->topics, scene->account, rb_span_of(name), uid, &topic, &err),
                     RB_OK);
    return topic;
}

static void follow_many(struct scene *scene, const char *prefix, int count, bool earliest)
{
    char name[32];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s-%d", prefix, i);
        rb_inbox_want(scene->world->broker->inbox, scene_topic(scene, name), earliest);
    }
    world_end_tick(scene->world);
}

START_TEST(d6_of_thousands_of_topics_each_is_read_within_seconds)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    follow_many(&scene, "topic", 2500, true);
    world_run(scene.world, 60 * 1000);
    static const char *const some[] = {"topic-2499", "topic-1200", "topic-799", "topic-0"};
    for (int round = 1; round <= 3; round++)
        for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
            world_run(scene.world, 33 * 1000);
            scene_publish(&scene, some[i], round, NULL, NULL);
            ck_assert_msg(scene_head_is(&scene, some[i], round, 6000), "%s, %d", some[i], round);
        }
    ck_assert_uint_eq(stats_of(&scene).polls_failed, 0);
    scene_close(&scene);
}
END_TEST

START_TEST(d6_a_newcomer_is_read_within_seconds_while_the_places_are_taken)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    follow_many(&scene, "topic", 640, true);
    world_run(scene.world, 5 * 1000);
    rb_inbox_want(scene.world->broker->inbox, scene_topic(&scene, "late"), true);
    world_end_tick(scene.world);
    scene_publish(&scene, "late", 1, NULL, NULL);
    ck_assert(scene_head_is(&scene, "late", 1, 5 * 1000));
    scene_close(&scene);
}
END_TEST

START_TEST(a_topic_that_woke_its_poll_does_not_wait_for_its_turn)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    follow_many(&scene, "topic", 2500, true);
    world_run(scene.world, 500);
    scene_publish(&scene, "topic-0", 1, NULL, NULL);
    ck_assert(scene_head_is(&scene, "topic-0", 1, 500));
    scene_close(&scene);
}
END_TEST

START_TEST(polls_leave_places_for_who_else_uses_the_account)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    follow_many(&scene, "topic", 1500, true);
    follow_many(&scene, "missing", 100, false);
    for (int i = 0; i < 100; i++) {
        world_run(scene.world, 100);
        ck_assert_uint_le(rb_model_waiting_polls(scene.world->model), 40);
    }
    scene_close(&scene);
}
END_TEST

START_TEST(d6_another_users_new_topic_begins_soon_although_thousands_of_names_wait)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    follow_many(&scene, "missing", 2000, false);
    world_run(scene.world, 3000);
    struct rb_topic *topic = topic_of(&scene, "other", 1001);
    rb_inbox_want(scene.world->broker->inbox, topic, false);
    world_end_tick(scene.world);
    world_run(scene.world, 5000);
    ck_assert(rb_inbox_anchored(scene.world->broker->inbox, topic));
    scene_publish(&scene, "other", 1, NULL, NULL);
    ck_assert(scene_head_is(&scene, "other", 1, 5000));
    ck_assert(!rb_inbox_anchored(scene.world->broker->inbox, scene_topic(&scene, "missing-1999")));
    scene_close(&scene);
}
END_TEST

START_TEST(a_silent_hour_costs_two_polls_a_minute_and_a_look_every_five)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    uint64_t polls = stats_of(&scene).polls, requests = scene.world->requests;
    world_run(scene.world, 3600 * 1000);
    ck_assert_uint_le(stats_of(&scene).polls - polls, 130);
    ck_assert_uint_le(scene.world->requests - requests, 170);
    scene_close(&scene);
}
END_TEST

START_TEST(an_outage_of_the_relay_loses_nothing)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", false);
    scene.world->weather.down = true;
    world_run(scene.world, 40 * 1000);
    publish_many(&scene, "jobs", 1, 150);
    world_run(scene.world, 90 * 1000);
    scene.world->weather.down = false;
    ck_assert(scene_head_is(&scene, "jobs", 150, 60 * 1000));
    check_numbers(&scene, "jobs", 1, 150);
    ck_assert_int_eq(scene_gaps(&scene), 0);
    scene_close(&scene);
}
END_TEST

START_TEST(dead_storage_of_the_relay_is_an_outage_and_no_poison)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "one", false);
    scene_follow(&scene, "two", false);
    publish_many(&scene, "one", 1, 50);
    rb_model_storage_dead(scene.world->model, true);
    world_run(scene.world, 300 * 1000);
    rb_model_storage_dead(scene.world->model, false);
    publish_many(&scene, "one", 51, 60);
    publish_many(&scene, "two", 1, 10);
    ck_assert(scene_head_is(&scene, "one", 60, 120 * 1000));
    ck_assert(scene_head_is(&scene, "two", 10, 120 * 1000));
    check_numbers(&scene, "one", 1, 60);
    check_numbers(&scene, "two", 1, 10);
    ck_assert_int_eq(scene_gaps(&scene), 0);
    scene_close(&scene);
}
END_TEST

START_TEST(bad_weather_loses_and_doubles_nothing)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", false);
    struct weather *weather = &scene.world->weather;
    weather->refuse = weather->lose_request = weather->lose_answer = weather->html = weather->error = weather->limited =
        60;
    for (int i = 1; i <= 400; i++) {
        scene_publish(&scene, "jobs", i, NULL, NULL);
        world_run(scene.world, world_between(scene.world, 0, 800));
    }
    *weather = (struct weather){.latency_max_ms = 20};
    ck_assert(scene_head_is(&scene, "jobs", 400, 200 * 1000));
    check_numbers(&scene, "jobs", 1, 400);
    ck_assert_int_eq(scene_gaps(&scene), 0);
    scene_close(&scene);
}
END_TEST

START_TEST(i3_a_wiped_relay_is_noticed_and_read_from_its_beginning)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    publish_many(&scene, "jobs", 1, 10);
    ck_assert(scene_head_is(&scene, "jobs", 10, 5000));
    rb_model_restart(scene.world->model);
    rb_model_wipe(scene.world->model);
    scene_login_again(&scene);
    publish_many(&scene, "jobs", 11, 30);
    ck_assert(scene_head_is(&scene, "jobs", 30, 15 * 60 * 1000));
    check_numbers(&scene, "jobs", 1, 30);
    if (flavours[_i] == RB_FLAVOUR_MEMORY) {
        ck_assert_int_ge(scene_gaps(&scene), 1);
        ck_assert_uint_ge(stats_of(&scene).reanchored, 1);
    }
    scene_close(&scene);
}
END_TEST

START_TEST(i3_a_cursor_beyond_the_newest_id_reads_again_and_drops_what_is_held)
{
    struct scene scene;
    scene_open_flavour(&scene, RB_FLAVOUR_VALKEY);
    scene_follow(&scene, "jobs", true);
    publish_many(&scene, "jobs", 1, 220);
    ck_assert(scene_head_is(&scene, "jobs", 220, 5000));
    struct rb_topic *topic = scene_topic(&scene, "jobs");
    ck_assert_int_eq(rb_topic_set_cursor(topic, RB_SPAN("9999999999999-0")), RB_OK);
    rb_topic_save(scene.world->broker->topics, topic);
    world_end_tick(scene.world);
    scene_reboot(&scene);
    publish_many(&scene, "jobs", 221, 230);
    ck_assert(scene_head_is(&scene, "jobs", 230, 60 * 1000));
    check_numbers(&scene, "jobs", 1, 230);
    ck_assert_int_eq(scene_gaps(&scene), 1);
    ck_assert_uint_eq(stats_of(&scene).duplicates_dropped, 220);
    scene_close(&scene);
}
END_TEST

START_TEST(i3_a_restored_relay_is_noticed_by_a_silent_inbox_within_minutes)
{
    struct scene scene;
    scene_open_flavour(&scene, RB_FLAVOUR_VALKEY);
    scene_follow(&scene, "jobs", true);
    publish_many(&scene, "jobs", 1, 5);
    ck_assert(scene_head_is(&scene, "jobs", 5, 5000));
    rb_model_wipe(scene.world->model);
    scene.world->net.wall_offset_ms = -3600 * 1000;
    publish_many(&scene, "jobs", 6, 8);
    ck_assert(scene_head_is(&scene, "jobs", 8, 6 * 60 * 1000));
    check_numbers(&scene, "jobs", 1, 8);
    ck_assert_int_eq(scene_gaps(&scene), 1);
    scene_close(&scene);
}
END_TEST

static const char poison[] = "{\"n\":\"\\ud800\"}";

START_TEST(i4_one_bad_message_is_named_and_everything_else_flows)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "good", true);
    scene_follow(&scene, "bad", true);
    world_run(scene.world, 40 * 1000);
    publish_many(&scene, "bad", 1, 120);
    scene_publish_text(&scene, "bad", poison, NULL, NULL);
    publish_many(&scene, "bad", 121, 270);
    publish_many(&scene, "good", 1, 50);
    ck_assert(scene_head_is(&scene, "good", 50, 30 * 1000));
    ck_assert(scene_head_is(&scene, "bad", 270, 300 * 1000));
    check_numbers(&scene, "bad", 1, 270);
    ck_assert_int_eq(scene_gaps(&scene), 1);
    publish_many(&scene, "bad", 271, 275);
    ck_assert(scene_head_is(&scene, "bad", 275, 5 * 1000));
    publish_many(&scene, "good", 51, 60);
    ck_assert(scene_head_is(&scene, "good", 60, 5 * 1000));
    scene_close(&scene);
}
END_TEST

START_TEST(i4_bad_messages_apart_and_side_by_side_are_passed_one_by_one)
{
    struct scene scene;
    scene_open_flavour(&scene, RB_FLAVOUR_VALKEY);
    scene_follow(&scene, "bad", true);
    int next = 1;
    for (int i = 0; i < 4; i++) {
        publish_many(&scene, "bad", next, next + 4);
        next += 5;
        world_run(scene.world, 3);
        scene_publish_text(&scene, "bad", poison, NULL, NULL);
        if (i == 2)
            scene_publish_text(&scene, "bad", poison, NULL, NULL);
    }
    publish_many(&scene, "bad", next, next + 4);
    ck_assert(scene_head_is(&scene, "bad", next + 4, 1200 * 1000));
    check_numbers(&scene, "bad", 1, next + 4);
    ck_assert_int_eq(scene_gaps(&scene), 5);
    scene_close(&scene);
}
END_TEST

START_TEST(i4_a_bad_newest_message_waits_and_is_passed_when_another_follows)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "bad", true);
    publish_many(&scene, "bad", 1, 5);
    scene_publish_text(&scene, "bad", poison, NULL, NULL);
    world_run(scene.world, 120 * 1000);
    publish_many(&scene, "bad", 6, 8);
    ck_assert(scene_head_is(&scene, "bad", 8, 300 * 1000));
    check_numbers(&scene, "bad", 1, 8);
    scene_close(&scene);
}
END_TEST

START_TEST(i4_a_cursor_of_a_foreign_shape_is_anchored_again)
{
    struct scene scene;
    scene_open_flavour(&scene, RB_FLAVOUR_VALKEY);
    scene_follow(&scene, "jobs", true);
    publish_many(&scene, "jobs", 1, 5);
    ck_assert(scene_head_is(&scene, "jobs", 5, 5000));
    struct rb_topic *topic = scene_topic(&scene, "jobs");
    ck_assert_int_eq(rb_topic_set_cursor(topic, RB_SPAN("msg_0123456789ab")), RB_OK);
    rb_topic_save(scene.world->broker->topics, topic);
    world_end_tick(scene.world);
    publish_many(&scene, "jobs", 6, 9);
    ck_assert(scene_head_is(&scene, "jobs", 9, 300 * 1000));
    check_numbers(&scene, "jobs", 1, 9);
    scene_close(&scene);
}
END_TEST

static void publish_fat(struct scene *scene, const char *topic, int number, size_t bytes)
{
    struct rb_str payload = RB_STR_INIT;
    rb_str_addf(&payload, "{\"n\":%d,\"fat\":\"", number);
    for (size_t i = 0; i < bytes; i++)
        rb_str_add(&payload, "x");
    rb_str_add(&payload, "\"}");
    scene_publish_text(scene, topic, payload.at, NULL, NULL);
    rb_str_free(&payload);
}

START_TEST(i5_more_than_fits_one_answer_is_read_in_smaller_pages)
{
    struct world_config config = scene_config(flavours[_i]);
    config.broker.answer_max_bytes = 64 * 1024;
    struct scene scene;
    scene_open(&scene, &config);
    scene_follow(&scene, "jobs", true);
    scene.world->weather.down = true;
    world_run(scene.world, 40 * 1000);
    for (int i = 1; i <= 60; i++)
        publish_fat(&scene, "jobs", i, i % 7 == 0 ? 50000 : 5000);
    scene.world->weather.down = false;
    ck_assert(scene_head_is(&scene, "jobs", 60, 120 * 1000));
    check_numbers(&scene, "jobs", 1, 60);
    ck_assert_int_eq(scene_gaps(&scene), 0);
    scene_close(&scene);
}
END_TEST

START_TEST(i5_a_lone_message_above_the_cap_is_a_gap)
{
    struct world_config config = scene_config(flavours[_i]);
    config.broker.answer_max_bytes = 64 * 1024;
    struct scene scene;
    scene_open(&scene, &config);
    scene_follow(&scene, "jobs", true);
    publish_many(&scene, "jobs", 1, 10);
    publish_fat(&scene, "jobs", 999, 100 * 1000);
    publish_many(&scene, "jobs", 11, 20);
    ck_assert(scene_head_is(&scene, "jobs", 20, 300 * 1000));
    check_numbers(&scene, "jobs", 1, 20);
    ck_assert_int_eq(scene_gaps(&scene), 1);
    scene_close(&scene);
}
END_TEST

static int64_t fixed_floor(void *arg, int64_t topic_id)
{
    return *(int64_t *)arg;
}

START_TEST(i6_a_full_inbox_stops_reading_drops_nothing_and_goes_on)
{
    struct world_config config = scene_config(flavours[_i]);
    config.broker.inbox_bytes = 50 * 1024;
    struct scene scene;
    scene_open(&scene, &config);
    int64_t floor = 0;
    rb_inbox_set_floor(scene.world->broker->inbox, fixed_floor, &floor);
    scene_follow(&scene, "jobs", true);
    for (int i = 1; i <= 300; i++) {
        publish_fat(&scene, "jobs", i, 1000);
        world_run(scene.world, 100);
    }
    world_run(scene.world, 60 * 1000);
    int64_t head = scene_topic(&scene, "jobs")->head;
    ck_assert(stats_of(&scene).full);
    ck_assert_int_lt(head, 100);
    ck_assert_int_eq(scene_topic(&scene, "jobs")->rows, head);
    floor = 5;
    ck_assert(!scene_head_is(&scene, "jobs", 300, 60 * 1000));
    ck_assert_int_gt(scene_topic(&scene, "jobs")->head, head);
    ck_assert_int_le(scene_topic(&scene, "jobs")->tail, 5);
    floor = INT64_MAX;
    ck_assert(scene_head_is(&scene, "jobs", 300, 60 * 1000));
    world_run(scene.world, 60 * 1000);
    ck_assert(!stats_of(&scene).full);
    int tail = (int)scene_topic(&scene, "jobs")->tail;
    check_numbers(&scene, "jobs", tail + 1, 300);
    ck_assert_int_eq(scene_gaps(&scene), 0);
    rb_inbox_set_floor(scene.world->broker->inbox, NULL, NULL);
    scene_close(&scene);
}
END_TEST

/* Of one topic nobody confirms anything, of all others everybody everything. */
static int64_t floor_but_for(void *arg, int64_t topic_id)
{
    return topic_id == *(int64_t *)arg ? 0 : INT64_MAX;
}

/* Of one topic everybody confirms everything, of all others nobody anything. */
static int64_t floor_of_one(void *arg, int64_t topic_id)
{
    return topic_id == *(int64_t *)arg ? INT64_MAX : 0;
}

static void publish_slowly(struct scene *scene, const char *topic, int first, int last)
{
    for (int i = first; i <= last; i++) {
        publish_fat(scene, topic, i, 1000);
        world_run(scene->world, 100);
    }
}

static void count_full(void *arg, int64_t wall_ms, int64_t account, struct rb_span kind, struct rb_span text)
{
    *(int *)arg += rb_span_is(kind, "inbox_full");
}

static int full_events(struct scene *scene)
{
    int count = 0;
    rb_events_each(scene->world->broker->events, 1000, count_full, &count);
    return count;
}

static void open_shared(struct scene *scene, enum rb_flavour flavour)
{
    struct world_config config = scene_config(flavour);
    config.broker.inbox_bytes = 50 * 1024;
    config.broker.user_percent = 50;
    scene_open(scene, &config);
}

START_TEST(d6_i6_who_confirms_nothing_stops_the_reading_of_the_own_topics_alone)
{
    struct scene scene;
    open_shared(&scene, flavours[_i]);
    int64_t held = scene_topic(&scene, "held")->id;
    rb_inbox_set_floor(scene.world->broker->inbox, floor_but_for, &held);
    topic_of(&scene, "other", 1001);
    scene_follow(&scene, "held", true);
    scene_follow(&scene, "other", true);
    publish_slowly(&scene, "held", 1, 100);
    world_run(scene.world, 20 * 1000);
    int64_t head = scene_topic(&scene, "held")->head;
    ck_assert_int_lt(head, 35);
    ck_assert_int_eq(scene_topic(&scene, "held")->rows, head);
    ck_assert(stats_of(&scene).full);
    ck_assert_int_eq(full_events(&scene), 1);
    publish_slowly(&scene, "other", 1, 100);
    ck_assert(scene_head_is(&scene, "other", 100, 5000));
    ck_assert_int_gt(scene_topic(&scene, "other")->rows, 10);
    scene_follow(&scene, "new", false);
    /* The share is known again after a start. */
    scene_reboot(&scene);
    held = scene_topic(&scene, "held")->id;
    rb_inbox_set_floor(scene.world->broker->inbox, floor_but_for, &held);
    publish_slowly(&scene, "other", 101, 150);
    ck_assert(scene_head_is(&scene, "other", 150, 60 * 1000));
    ck_assert_int_eq(scene_topic(&scene, "held")->head, head);
    ck_assert_int_eq(scene_topic(&scene, "held")->rows, head);
    held = 0;
    ck_assert(scene_head_is(&scene, "held", 100, 60 * 1000));
    world_run(scene.world, 30 * 1000);
    ck_assert(!stats_of(&scene).full);
    ck_assert_int_eq(scene_gaps(&scene), 0);
    scene_close(&scene);
}
END_TEST

/* What came while nothing was read comes at once, more than the user's part has room for. */
START_TEST(d6_i6_what_comes_at_once_to_one_user_leaves_the_others_their_room)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    const size_t count = sizeof names / sizeof names[0];
    struct scene scene;
    open_shared(&scene, flavours[_i]);
    int64_t other = topic_of(&scene, "other", 1001)->id, none = 0;
    rb_inbox_set_floor(scene.world->broker->inbox, floor_of_one, &other);
    scene_follow(&scene, "other", true);
    for (size_t i = 0; i < count; i++)
        scene_follow(&scene, names[i], true);
    world_run(scene.world, 5 * 1000);
    scene.world->weather.down = true;
    world_run(scene.world, 40 * 1000);
    for (int number = 1; number <= 20; number++)
        for (size_t i = 0; i < count; i++)
            publish_fat(&scene, names[i], number, 1000);
    scene.world->weather.down = false;
    world_run(scene.world, 60 * 1000);
    publish_slowly(&scene, "other", 1, 5);
    ck_assert(scene_head_is(&scene, "other", 5, 10 * 1000));
    ck_assert_int_lt(stats_of(&scene).bytes, 50 * 1024);
    /* And nothing was stepped over. */
    rb_inbox_set_floor(scene.world->broker->inbox, floor_but_for, &none);
    for (size_t i = 0; i < count; i++)
        ck_assert(scene_head_is(&scene, names[i], 20, 120 * 1000));
    ck_assert_int_eq(scene_gaps(&scene), 0);
    scene_close(&scene);
}
END_TEST

START_TEST(d6_at_a_users_bound_the_own_messages_go_and_not_those_of_others)
{
    struct scene scene;
    open_shared(&scene, flavours[_i]);
    int64_t held = scene_topic(&scene, "held")->id;
    rb_inbox_set_floor(scene.world->broker->inbox, floor_but_for, &held);
    scene_topic(&scene, "confirmed");
    topic_of(&scene, "other", 1001);
    scene_follow(&scene, "other", true);
    scene_follow(&scene, "held", true);
    scene_follow(&scene, "confirmed", true);
    publish_slowly(&scene, "other", 1, 22);
    publish_slowly(&scene, "held", 1, 15);
    publish_slowly(&scene, "confirmed", 1, 90);
    /* At once, and with them the whole inbox is full, too. */
    for (int i = 91; i <= 100; i++)
        publish_fat(&scene, "confirmed", i, 1000);
    ck_assert(scene_head_is(&scene, "confirmed", 100, 30 * 1000));
    world_run(scene.world, 30 * 1000);
    check_numbers(&scene, "other", 1, 22);
    check_numbers(&scene, "held", 1, 15);
    int64_t tail = scene_topic(&scene, "confirmed")->tail;
    ck_assert_int_gt(tail, 85);
    ck_assert_int_lt(tail, 100);
    check_numbers(&scene, "confirmed", (int)tail + 1, 100);
    ck_assert(!stats_of(&scene).full);
    scene_close(&scene);
}
END_TEST

START_TEST(retention_takes_confirmed_prefixes_of_old_messages_only)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    int64_t floor = 900;
    rb_inbox_set_floor(scene.world->broker->inbox, fixed_floor, &floor);
    scene_follow(&scene, "jobs", true);
    publish_many(&scene, "jobs", 1, 1300);
    ck_assert(scene_head_is(&scene, "jobs", 1300, 20 * 1000));
    world_run(scene.world, 23 * 3600 * 1000);
    check_numbers(&scene, "jobs", 1, 1300);
    scene_login_again(&scene);
    publish_many(&scene, "jobs", 1301, 1302);
    world_run(scene.world, 2 * 3600 * 1000);
    check_numbers(&scene, "jobs", 901, 1302);
    floor = INT64_MAX;
    world_run(scene.world, 60 * 1000);
    check_numbers(&scene, "jobs", 1301, 1302);
    struct rb_topic *topic = scene_topic(&scene, "jobs");
    ck_assert_int_eq(topic->rows, 2);
    ck_assert_int_eq(topic->tail, 1300);
    ck_assert_int_eq(stats_of(&scene).bytes, topic->bytes);
    scene_reboot(&scene);
    check_numbers(&scene, "jobs", 1301, 1302);
    ck_assert_int_eq(stats_of(&scene).rows, 2);
    scene_close(&scene);
}
END_TEST

START_TEST(a_topic_that_nobody_wants_is_followed_no_more_and_begins_anew)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    publish_many(&scene, "jobs", 1, 5);
    ck_assert(scene_head_is(&scene, "jobs", 5, 5000));
    world_run(scene.world, 25 * 3600 * 1000);
    ck_assert(!scene_topic(&scene, "jobs")->following);
    ck_assert_int_eq(stats_of(&scene).polling, 0);
    scene_login_again(&scene);
    publish_many(&scene, "jobs", 6, 9);
    scene_follow(&scene, "jobs", false);
    publish_many(&scene, "jobs", 10, 12);
    ck_assert(scene_head_is(&scene, "jobs", 8, 5000));
    check_numbers(&scene, "jobs", 10, 12);
    scene_close(&scene);
}
END_TEST

START_TEST(t4_messages_of_a_failed_commit_are_stored_once_when_there_is_room)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    sim_vfs_set_copies(scene.world->vfs);
    sim_vfs_set_full(scene.world->vfs, true);
    publish_many(&scene, "jobs", 1, 100);
    world_run(scene.world, (_i + 1) * 1000);
    check_numbers(&scene, "jobs", 1, 0);
    world_run(scene.world, 120 * 1000);
    sim_vfs_set_full(scene.world->vfs, false);
    ck_assert(scene_head_is(&scene, "jobs", 100, 120 * 1000));
    publish_many(&scene, "jobs", 101, 110);
    ck_assert(scene_head_is(&scene, "jobs", 110, 5 * 1000));
    check_numbers(&scene, "jobs", 1, 110);
    scene_close(&scene);
}
END_TEST

START_TEST(a_crash_on_any_operation_loses_and_doubles_nothing)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    int crashes = 0;
    for (int i = 1; i <= 300; i++) {
        scene_publish(&scene, "jobs", i, NULL, NULL);
        if (i % 5 == 0)
            scene.world->crash_in = 1 + i / 5 % 17;
        world_run(scene.world, 100);
        for (int tries = 0; !scene.world->up && tries < 5; tries++) {
            crashes++;
            world_boot(scene.world);
        }
        ck_assert(scene.world->up);
    }
    scene.world->crash_in = 0;
    ck_assert_int_gt(crashes, 20);
    ck_assert(scene_head_is(&scene, "jobs", 300, 120 * 1000));
    check_numbers(&scene, "jobs", 1, 300);
    scene_close(&scene);
}
END_TEST

/* --- stamps --- */

#define STAMP_A "\"relay-broker-id\":\"00112233445566778899aabbccddeeff\""
#define STAMP_B "\"relay-broker-id\":\"00112233445566778899aabbccddee00\""

static void check_taken_off(const char *metadata, const char *left, bool found)
{
    struct rb_str out = RB_STR_INIT;
    unsigned char stamp[RB_STAMP_BYTES];
    bool was_found;
    ck_assert_int_eq(rb_stamp_take_off(rb_span_of(metadata), &out, stamp, &was_found), RB_OK);
    ck_assert_str_eq(out.at ? out.at : "", left);
    ck_assert_int_eq(was_found, found);
    if (found)
        ck_assert_int_eq(stamp[1], 0x11);
    rb_str_free(&out);
}

START_TEST(a_stamp_is_cut_out_of_the_metadata_and_nothing_else)
{
    check_taken_off("{" STAMP_A "}", "", true);
    check_taken_off("{ " STAMP_A " }", "", true);
    check_taken_off("{" STAMP_A ", \"a\": \"1\"}", "{ \"a\": \"1\"}", true);
    check_taken_off("{\"a\": \"1\" , " STAMP_A "}", "{\"a\": \"1\"}", true);
    check_taken_off("{\"a\":\"1\"," STAMP_A ",\"b\":\"2\"}", "{\"a\":\"1\",\"b\":\"2\"}", true);
    check_taken_off("{\"a\":\""
                    "x"
                    "\"}",
                    "{\"a\":\"x\"}", false);
    check_taken_off("{\"relay-broker-id\":\"not ours\"}", "{\"relay-broker-id\":\"not ours\"}", false);
    check_taken_off("{}", "", false);
    check_taken_off("", "", false);
}
END_TEST

START_TEST(o2_a_second_copy_of_a_post_is_dropped_also_after_a_restart)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    scene_publish(&scene, "jobs", 1, "{" STAMP_A "}", NULL);
    scene_publish(&scene, "jobs", 2, "{" STAMP_B ",\"a\":\"b\"}", NULL);
    scene_publish(&scene, "jobs", 1, "{" STAMP_A "}", NULL);
    scene_publish(&scene, "jobs", 3, NULL, NULL);
    ck_assert(scene_head_is(&scene, "jobs", 3, 5000));
    check_numbers(&scene, "jobs", 1, 3);
    scene_reboot(&scene);
    scene_publish(&scene, "jobs", 2, "{" STAMP_B ",\"a\":\"b\"}", NULL);
    scene_publish(&scene, "jobs", 4, NULL, NULL);
    ck_assert(scene_head_is(&scene, "jobs", 4, 5000));
    check_numbers(&scene, "jobs", 1, 4);
    /* The same stamp in another topic is another message. */
    scene_follow(&scene, "other", true);
    scene_publish(&scene, "other", 1, "{" STAMP_A "}", NULL);
    ck_assert(scene_head_is(&scene, "other", 1, 5000));
    scene_close(&scene);
}
END_TEST

START_TEST(the_newest_few_thousand_stamps_are_remembered)
{
    struct rb_stamp_set *set = rb_stamp_set_new();
    ck_assert_ptr_nonnull(set);
    unsigned char stamp[RB_STAMP_BYTES] = {0};
    for (unsigned i = 0; i < 10000; i++) {
        memcpy(stamp, &i, sizeof i);
        ck_assert(!rb_stamp_set_has(set, stamp));
        ck_assert(rb_stamp_set_add(set, stamp));
    }
    for (unsigned i = 0; i < 10000; i++) {
        memcpy(stamp, &i, sizeof i);
        ck_assert_int_eq(rb_stamp_set_has(set, stamp), i >= 10000 - RB_STAMPS_KEPT);
    }
    rb_stamp_set_free(set);
}
END_TEST

START_TEST(a_filter_of_ids_knows_all_that_were_added_and_few_others)
{
    struct rb_id_filter filter = {.key = 7};
    ck_assert(rb_id_filter_make(&filter, 10000));
    char id[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(id, sizeof id, "msg_%d", i);
        rb_id_filter_add(&filter, rb_span_of(id));
    }
    ck_assert(!rb_id_filter_is_crowded(&filter));
    int others = 0;
    for (int i = 0; i < 20000; i++) {
        snprintf(id, sizeof id, "msg_%d", i);
        ck_assert(i >= 10000 || rb_id_filter_may_have(&filter, rb_span_of(id)));
        others += i >= 10000 && rb_id_filter_may_have(&filter, rb_span_of(id));
    }
    ck_assert_int_le(others, 100);
    rb_id_filter_add(&filter, RB_SPAN("one more"));
    ck_assert(rb_id_filter_is_crowded(&filter));
    rb_id_filter_clear(&filter);
}
END_TEST

START_TEST(ids_with_an_order_are_told_from_others)
{
    struct rb_stream_id id;
    ck_assert_int_eq(rb_relay_id_shape(RB_SPAN("1767225600000-12"), &id), RB_ID_STREAM);
    ck_assert_uint_eq(id.ms, 1767225600000U);
    ck_assert_uint_eq(id.seq, 12);
    ck_assert_int_eq(rb_relay_id_shape(RB_SPAN("msg_0123456789ab"), &id), RB_ID_MEMORY);
    static const char *const others[] = {"",    "-", "1-", "-1", "1", "1-2-3", "a-1", "1-2 ", "99999999999999999999-1",
                                         "msg_"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ck_assert_int_eq(rb_relay_id_shape(rb_span_of(others[i]), &id), RB_ID_OTHER);
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return EXIT_FAILURE;
    Suite *suite = suite_create("inbox");
    TCase *starts = tcase_create("starts and reading");
    const int both = (int)(sizeof flavours / sizeof flavours[0]);
    tcase_add_loop_test(starts, latest_begins_after_what_was_there_and_misses_nothing_that_follows, 0, both);
    tcase_add_loop_test(starts, earliest_begins_at_the_beginning, 0, both);
    tcase_add_loop_test(starts, i2_a_topic_that_does_not_exist_yet_begins_at_its_first_message, 0, both);
    tcase_add_loop_test(starts, i2_the_messages_of_a_deleted_topic_are_discarded_and_what_follows_is_not, 0, both);
    tcase_add_loop_test(starts, a_message_that_the_waiter_leaves_out_is_never_stepped_over, 0, both);
    tcase_add_loop_test(starts, what_is_published_at_any_instant_between_reading_and_waiting_arrives_in_order, 0, both);
    tcase_add_loop_test(starts, i1_an_id_of_one_topic_is_not_found_in_another, 0, both);
    tcase_add_loop_test(starts, every_stored_id_is_found_and_no_other, 0, both);
    tcase_add_loop_test(starts, d6_an_id_that_is_not_here_costs_no_walk_over_those_that_are, 0, both);
    tcase_add_loop_test(starts, i7_a_new_topic_gets_a_poll_of_its_own_and_shares_one_later, 0, both);
    tcase_add_loop_test(starts, forty_one_topics_need_three_polls, 0, both);
    tcase_add_loop_test(starts, a_silent_hour_costs_two_polls_a_minute_and_a_look_every_five, 0, both);
    suite_add_tcase(suite, starts);
    TCase *many = tcase_create("many topics");
    tcase_set_timeout(many, 120);
    tcase_add_loop_test(many, d6_of_thousands_of_topics_each_is_read_within_seconds, 0, both);
    tcase_add_loop_test(many, d6_a_newcomer_is_read_within_seconds_while_the_places_are_taken, 0, both);
    tcase_add_loop_test(many, a_topic_that_woke_its_poll_does_not_wait_for_its_turn, 0, both);
    tcase_add_loop_test(many, polls_leave_places_for_who_else_uses_the_account, 0, both);
    tcase_add_loop_test(many, d6_another_users_new_topic_begins_soon_although_thousands_of_names_wait, 0, both);
    suite_add_tcase(suite, many);
    TCase *trouble = tcase_create("trouble upstream");
    tcase_set_timeout(trouble, 60);
    tcase_add_loop_test(trouble, an_outage_of_the_relay_loses_nothing, 0, both);
    tcase_add_loop_test(trouble, dead_storage_of_the_relay_is_an_outage_and_no_poison, 0, both);
    tcase_add_loop_test(trouble, bad_weather_loses_and_doubles_nothing, 0, both);
    tcase_add_loop_test(trouble, i3_a_wiped_relay_is_noticed_and_read_from_its_beginning, 0, both);
    tcase_add_test(trouble, i3_a_cursor_beyond_the_newest_id_reads_again_and_drops_what_is_held);
    tcase_add_test(trouble, i3_a_restored_relay_is_noticed_by_a_silent_inbox_within_minutes);
    tcase_add_loop_test(trouble, i4_one_bad_message_is_named_and_everything_else_flows, 0, both);
    tcase_add_test(trouble, i4_bad_messages_apart_and_side_by_side_are_passed_one_by_one);
    tcase_add_loop_test(trouble, i4_a_bad_newest_message_waits_and_is_passed_when_another_follows, 0, both);
    tcase_add_test(trouble, i4_a_cursor_of_a_foreign_shape_is_anchored_again);
    tcase_add_loop_test(trouble, i5_more_than_fits_one_answer_is_read_in_smaller_pages, 0, both);
    tcase_add_loop_test(trouble, i5_a_lone_message_above_the_cap_is_a_gap, 0, both);
    suite_add_tcase(suite, trouble);
    TCase *keeping = tcase_create("keeping");
    tcase_set_timeout(keeping, 60);
    tcase_add_loop_test(keeping, i6_a_full_inbox_stops_reading_drops_nothing_and_goes_on, 0, both);
    tcase_add_loop_test(keeping, d6_i6_who_confirms_nothing_stops_the_reading_of_the_own_topics_alone, 0, both);
    tcase_add_loop_test(keeping, d6_at_a_users_bound_the_own_messages_go_and_not_those_of_others, 0, both);
    tcase_add_loop_test(keeping, d6_i6_what_comes_at_once_to_one_user_leaves_the_others_their_room, 0, both);
    tcase_add_loop_test(keeping, retention_takes_confirmed_prefixes_of_old_messages_only, 0, both);
    tcase_add_loop_test(keeping, a_topic_that_nobody_wants_is_followed_no_more_and_begins_anew, 0, both);
    tcase_add_loop_test(keeping, t4_messages_of_a_failed_commit_are_stored_once_when_there_is_room, 0, both);
    tcase_add_loop_test(keeping, a_crash_on_any_operation_loses_and_doubles_nothing, 0, both);
    suite_add_tcase(suite, keeping);
    TCase *stamps = tcase_create("stamps and ids");
    tcase_add_test(stamps, a_stamp_is_cut_out_of_the_metadata_and_nothing_else);
    tcase_add_loop_test(stamps, o2_a_second_copy_of_a_post_is_dropped_also_after_a_restart, 0, both);
    tcase_add_test(stamps, the_newest_few_thousand_stamps_are_remembered);
    tcase_add_test(stamps, a_filter_of_ids_knows_all_that_were_added_and_few_others);
    tcase_add_test(stamps, ids_with_an_order_are_told_from_others);
    suite_add_tcase(suite, stamps);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
