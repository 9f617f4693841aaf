#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "scene.h"

static const enum rb_flavour flavours[] = {RB_FLAVOUR_MEMORY, RB_FLAVOUR_VALKEY};

static void publish_many(struct scene *scene, const char *topic, int first, int last)
{
    for (int i = first; i <= last; i++)
        scene_publish(scene, topic, i, NULL, NULL);
}

static void check_numbers(const struct reader *reader, int first, int last)
{
    ck_assert_msg(reader->ended, "the poll was not answered");
    ck_assert_int_eq(reader->status, RB_OK);
    ck_assert_int_eq((int)reader->count, last - first + 1);
    for (size_t i = 0; i < reader->count; i++)
        ck_assert_int_eq(reader->numbers[i], first + (int)i);
}

/* A poll that is answered at once or after its timeout. */
static void read_once(struct reader *reader, struct scene *scene, struct rb_session *session, uint64_t connection,
                      const char *topic, const char *since)
{
    reader_poll(reader, scene, session, connection, topic, since, 1000);
    reader_wait(reader, 5000);
}

static struct rb_session *find_again(struct scene *scene, const unsigned char *id)
{
    return rb_session_find(scene->world->broker->sessions, id, "door", 1000);
}

static void use(struct scene *scene, const unsigned char *id)
{
    struct rb_session *session = find_again(scene, id);
    ck_assert_ptr_nonnull(session);
    rb_session_touch(scene->world->broker->sessions, session);
    world_end_tick(scene->world);
}

static unsigned open_sessions(struct scene *scene)
{
    struct rb_session_stats stats;
    rb_session_stats(scene->world->broker->sessions, &stats);
    return stats.sessions;
}

static struct reader reader, other;

START_TEST(a_parked_poll_is_answered_when_a_message_comes_and_empty_when_none_does)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    reader_poll(&reader, &scene, session, 1, "jobs", NULL, 30 * 1000);
    world_run(scene.world, 10 * 1000);
    ck_assert(!reader.ended);
    scene_publish(&scene, "jobs", 1, NULL, NULL);
    reader_wait(&reader, 500);
    check_numbers(&reader, 1, 1);
    ck_assert(!reader.from_catch_up);
    ck_assert(!reader.has_more);
    reader_poll(&reader, &scene, session, 1, "jobs", NULL, 3 * 1000);
    world_run(scene.world, 2900);
    ck_assert(!reader.ended);
    world_run(scene.world, 200);
    check_numbers(&reader, 1, 0);
    scene_close(&scene);
}
END_TEST

START_TEST(a_first_poll_waits_for_what_comes_after_it_also_before_the_start_was_found)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    publish_many(&scene, "jobs", 1, 5);
    struct rb_session *session = scene_session(&scene);
    scene.world->weather.down = true;
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    ck_assert_int_eq((int)reader.count, 0);
    scene.world->weather.down = false;
    world_run(scene.world, 60 * 1000);
    publish_many(&scene, "jobs", 6, 8);
    world_run(scene.world, 1000);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    check_numbers(&reader, 6, 8);
    scene_close(&scene);
}
END_TEST

START_TEST(i8_what_is_published_between_two_polls_without_since_arrives)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    int next = 1;
    for (int i = 0; i < 20; i++) {
        publish_many(&scene, "jobs", next, next + 2);
        world_run(scene.world, 200);
        read_once(&reader, &scene, session, 1, "jobs", NULL);
        check_numbers(&reader, next, next + 2);
        next += 3;
    }
    scene_close(&scene);
}
END_TEST

START_TEST(i8_handing_out_moves_nothing_and_a_killed_poller_gets_the_same_again)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    publish_many(&scene, "jobs", 1, 3);
    world_run(scene.world, 500);
    for (uint64_t connection = 2; connection < 12; connection++) {
        read_once(&reader, &scene, session, connection, "jobs", NULL);
        check_numbers(&reader, 1, 3);
    }
    unsigned char id[RB_SESSION_ID_BYTES];
    memcpy(id, rb_session_id(session), sizeof id);
    scene_reboot(&scene);
    session = find_again(&scene, id);
    ck_assert_ptr_nonnull(session);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    check_numbers(&reader, 1, 3);
    /* The next request on that connection confirms. */
    publish_many(&scene, "jobs", 4, 4);
    world_run(scene.world, 500);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    check_numbers(&reader, 4, 4);
    read_once(&reader, &scene, session, 2, "jobs", NULL);
    check_numbers(&reader, 4, 4);
    scene_close(&scene);
}
END_TEST

START_TEST(i8_a_since_confirms_and_a_poll_without_it_continues_there)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    char ids[10][SCENE_ID_MAX];
    for (int i = 0; i < 10; i++)
        scene_publish(&scene, "jobs", i, NULL, ids[i]);
    world_run(scene.world, 500);
    read_once(&reader, &scene, session, 1, "jobs", ids[3]);
    check_numbers(&reader, 4, 9);
    ck_assert(reader.from_catch_up);
    /* Who says where it is, says it always: the same connection confirms nothing. */
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    check_numbers(&reader, 4, 9);
    read_once(&reader, &scene, session, 2, "jobs", ids[7]);
    check_numbers(&reader, 8, 9);
    /* Back to an earlier one. */
    read_once(&reader, &scene, session, 2, "jobs", ids[0]);
    check_numbers(&reader, 1, 9);
    unsigned char id[RB_SESSION_ID_BYTES];
    memcpy(id, rb_session_id(session), sizeof id);
    scene_reboot(&scene);
    read_once(&reader, &scene, find_again(&scene, id), 9, "jobs", NULL);
    check_numbers(&reader, 1, 9);
    scene_close(&scene);
}
END_TEST

START_TEST(i8_two_pollers_of_one_session_do_not_take_each_others_messages)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    reader_poll(&reader, &scene, session, 1, "jobs", NULL, 30 * 1000);
    reader_poll(&other, &scene, session, 2, "jobs", NULL, 30 * 1000);
    world_run(scene.world, 1000);
    publish_many(&scene, "jobs", 1, 1);
    world_run(scene.world, 1000);
    check_numbers(&reader, 1, 1);
    check_numbers(&other, 1, 1);
    /* One goes on, the other is slower: each sees everything. */
    publish_many(&scene, "jobs", 2, 2);
    world_run(scene.world, 500);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    check_numbers(&reader, 2, 2);
    publish_many(&scene, "jobs", 3, 3);
    world_run(scene.world, 500);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    check_numbers(&reader, 3, 3);
    read_once(&other, &scene, session, 2, "jobs", NULL);
    check_numbers(&other, 2, 3);
    scene_close(&scene);
}
END_TEST

START_TEST(sixteen_sessions_each_see_everything)
{
    enum { READERS = 16 };
    static struct reader readers[READERS];
    struct rb_session *sessions[READERS];
    int next[READERS];
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    for (int i = 0; i < READERS; i++) {
        sessions[i] = scene_session(&scene);
        reader_poll(&readers[i], &scene, sessions[i], (uint64_t)i + 1, "jobs", NULL, 1000);
        next[i] = 1;
    }
    world_run(scene.world, 2000);
    for (int n = 1; n <= 120; n++) {
        scene_publish(&scene, "jobs", n, NULL, NULL);
        for (int i = 0; i < READERS; i++) {
            if (!readers[i].ended)
                continue;
            for (size_t at = 0; at < readers[i].count; at++)
                ck_assert_int_eq(readers[i].numbers[at], next[i]++);
            if (world_chance(scene.world, 400))
                reader_poll(&readers[i], &scene, sessions[i], (uint64_t)i + 1, "jobs", NULL, 20 * 1000);
            else
                readers[i].count = 0;
        }
        world_run(scene.world, world_between(scene.world, 0, 200));
    }
    for (int round = 0; round < 4; round++) {
        world_run(scene.world, 30 * 1000);
        for (int i = 0; i < READERS; i++) {
            ck_assert(readers[i].ended);
            for (size_t at = 0; at < readers[i].count; at++)
                ck_assert_int_eq(readers[i].numbers[at], next[i]++);
            reader_poll(&readers[i], &scene, sessions[i], (uint64_t)i + 1, "jobs", NULL, 1000);
        }
    }
    for (int i = 0; i < READERS; i++)
        ck_assert_int_eq(next[i], 121);
    scene_close(&scene);
}
END_TEST

START_TEST(a_since_older_than_what_is_kept_is_read_from_the_relay_and_leads_into_the_inbox)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    static char ids[SCENE_NUMBERS_MAX][SCENE_ID_MAX];
    for (int i = 0; i < 250; i++)
        scene_publish(&scene, "jobs", i,
                      i == 20 ? "{\"relay-broker-id\":\"00112233445566778899aabbccddeeff\",\"a\":\"b\"}" : NULL,
                      ids[i]);
    scene_follow(&scene, "jobs", false);
    for (int i = 250; i < 300; i++)
        scene_publish(&scene, "jobs", i, NULL, ids[i]);
    ck_assert(scene_head_is(&scene, "jobs", 50, 5000));
    struct rb_session *session = scene_session(&scene);
    char since[SCENE_ID_MAX];
    int next = 20;
    snprintf(since, sizeof since, "%s", ids[19]);
    while (next < 300) {
        read_once(&reader, &scene, session, 1, "jobs", since);
        ck_assert_int_eq(reader.status, RB_OK);
        ck_assert(reader.from_catch_up);
        ck_assert_uint_gt(reader.count, 0);
        for (size_t i = 0; i < reader.count; i++)
            ck_assert_int_eq(reader.numbers[i], next++);
        snprintf(since, sizeof since, "%s", reader.ids[reader.count - 1]);
    }
    ck_assert_int_eq(next, 300);
    reader_poll(&reader, &scene, session, 1, "jobs", since, 10 * 1000);
    world_run(scene.world, 500);
    ck_assert(!reader.ended);
    scene_publish(&scene, "jobs", 300, NULL, NULL);
    reader_wait(&reader, 1000);
    check_numbers(&reader, 300, 300);
    ck_assert(!reader.from_catch_up);
    scene_close(&scene);
}
END_TEST

START_TEST(P4_a_since_of_a_deleted_topic_is_read_to_its_end)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    static char ids[SCENE_NUMBERS_MAX][SCENE_ID_MAX];
    for (int i = 0; i < 130; i++)
        scene_publish(&scene, "jobs", i, NULL, ids[i]);
    scene_follow(&scene, "jobs", false);
    for (int i = 130; i < 140; i++)
        scene_publish(&scene, "jobs", i, NULL, ids[i]);
    ck_assert(scene_head_is(&scene, "jobs", 10, 5000));
    scene_delete_topic(&scene, "jobs");
    char since[SCENE_ID_MAX];
    int next = 11;
    snprintf(since, sizeof since, "%s", ids[10]);
    reader_poll(&reader, &scene, NULL, 1, "jobs", since, 10 * 1000);
    world_run(scene.world, 500);
    /* Made anew. */
    scene_publish(&scene, "jobs", 140, NULL, NULL);
    while (next <= 140) {
        reader_wait(&reader, 15 * 1000);
        ck_assert_int_eq(reader.status, RB_OK);
        ck_assert_uint_gt(reader.count, 0);
        for (size_t i = 0; i < reader.count; i++)
            ck_assert_int_eq(reader.numbers[i], next++);
        snprintf(since, sizeof since, "%s", reader.ids[reader.count - 1]);
        reader_poll(&reader, &scene, NULL, 1, "jobs", since, 10 * 1000);
    }
    rb_poll_cancel(&reader.poll);
    scene_close(&scene);
}
END_TEST

/* One message comes to the topic whose page has no room in the answer, at any moment of the reading. */
START_TEST(P4_a_page_without_room_in_the_answer_is_asked_for_again)
{
    for (int64_t moment = 0; moment < 60; moment += 2) {
        struct scene scene;
        struct world_config config = scene_config(flavours[_i]);
        config.seed = (uint64_t)moment + 1;
        scene_open(&scene, &config);
        char first_a[SCENE_ID_MAX], first_b[SCENE_ID_MAX];
        scene_publish(&scene, "a", 101, NULL, first_a);
        scene_publish(&scene, "a", 102, NULL, NULL);
        scene_publish(&scene, "b", 1, NULL, first_b);
        scene_publish_text(&scene, "b", "{\"n\":2,\"text\":\"as long as the whole answer may be\"}", NULL, NULL);
        scene_publish(&scene, "b", 3, NULL, NULL);
        scene_follow(&scene, "a", false);
        scene_follow(&scene, "b", false);
        memset(&reader, 0, sizeof reader);
        reader.poll.max_bytes = 30;
        reader_topic(&reader, "a", first_a);
        reader_topic(&reader, "b", first_b);
        reader_start(&reader, &scene, NULL, 1, 10 * 1000);
        world_run(scene.world, moment);
        scene_publish(&scene, "b", 4, NULL, NULL);
        reader_wait(&reader, 10 * 1000);
        int next = 2;
        for (size_t i = 0; i < reader.count; i++)
            if (reader.numbers[i] < 100)
                ck_assert_int_eq(reader.numbers[i], next++);
        ck_assert_uint_gt(reader.count, 0);
        scene_close(&scene);
    }
}
END_TEST

START_TEST(from_the_beginning_is_the_relays_beginning)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    publish_many(&scene, "jobs", 1, 5);
    scene_follow(&scene, "jobs", false);
    publish_many(&scene, "jobs", 6, 8);
    ck_assert(scene_head_is(&scene, "jobs", 3, 5000));
    read_once(&reader, &scene, NULL, 1, "jobs", "0-0");
    check_numbers(&reader, 1, 8);
    read_once(&reader, &scene, NULL, 1, "jobs", "");
    check_numbers(&reader, 1, 8);
    /* All of it is here: the relay is not asked. */
    scene_follow(&scene, "all", true);
    publish_many(&scene, "all", 1, 3);
    ck_assert(scene_head_is(&scene, "all", 3, 5000));
    scene.world->weather.down = true;
    read_once(&reader, &scene, NULL, 1, "all", "0-0");
    check_numbers(&reader, 1, 3);
    scene_close(&scene);
}
END_TEST

START_TEST(a_since_that_nothing_follows_waits_and_steps_over_nothing)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    char last[SCENE_ID_MAX];
    scene.world->weather.latency_max_ms = 400;
    for (int round = 0; round < 30; round++) {
        char topic[32];
        snprintf(topic, sizeof topic, "jobs-%d", round);
        publish_many(&scene, topic, 1, 4);
        scene_publish(&scene, topic, 5, NULL, last);
        reader_poll(&reader, &scene, NULL, 1, topic, last, 20 * 1000);
        world_run(scene.world, world_between(scene.world, 0, 1500));
        ck_assert(!reader.ended);
        scene_publish(&scene, topic, 6, NULL, NULL);
        reader_wait(&reader, 8000);
        check_numbers(&reader, 6, 6);
    }
    scene_close(&scene);
}
END_TEST

START_TEST(a_since_that_is_not_here_is_read_once_the_relay_can_be_asked_while_the_caller_waits)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    char id[SCENE_ID_MAX];
    scene_publish(&scene, "jobs", 1, NULL, id);
    scene_publish(&scene, "jobs", 2, NULL, NULL);
    scene_follow(&scene, "jobs", false);
    scene.world->weather.down = true;
    read_once(&reader, &scene, NULL, 1, "jobs", id);
    check_numbers(&reader, 1, 0);
    reader_poll(&reader, &scene, NULL, 1, "jobs", id, 10 * 1000);
    world_run(scene.world, 4000);
    ck_assert(!reader.ended);
    scene.world->weather.down = false;
    reader_wait(&reader, 5000);
    check_numbers(&reader, 2, 2);
    scene_close(&scene);
}
END_TEST

START_TEST(a_relay_that_is_slower_than_the_caller_waits_is_given_a_little_longer)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    char id[SCENE_ID_MAX];
    scene_publish(&scene, "jobs", 1, NULL, id);
    scene_publish(&scene, "jobs", 2, NULL, NULL);
    scene_follow(&scene, "jobs", false);
    scene.world->weather.latency_max_ms = 1500;
    for (int i = 0; i < 10; i++) {
        reader_poll(&reader, &scene, NULL, 1, "jobs", id, 10);
        reader_wait(&reader, 4000);
        check_numbers(&reader, 2, 2);
    }
    scene.world->weather.latency_max_ms = 60 * 1000;
    reader_poll(&reader, &scene, NULL, 1, "jobs", id, 10);
    reader_wait(&reader, 4000);
    scene_close(&scene);
}
END_TEST

START_TEST(a_message_is_never_given_again_to_a_caller_who_names_a_later_one)
{
    struct scene scene;
    scene_open_flavour(&scene, RB_FLAVOUR_VALKEY);
    char since[SCENE_ID_MAX];
    int next = 1, published = 2;
    scene_publish(&scene, "jobs", 0, NULL, since);
    scene_publish(&scene, "jobs", 1, NULL, NULL);
    scene_follow(&scene, "jobs", false);
    scene.world->weather.latency_max_ms = 1500;
    while (next < 150) {
        if (published < 150 && world_chance(scene.world, 600))
            scene_publish(&scene, "jobs", published++, NULL, NULL);
        reader_poll(&reader, &scene, NULL, 1, "jobs", since, world_between(scene.world, 10, 1000));
        reader_wait(&reader, 5000);
        for (size_t i = 0; i < reader.count; i++)
            ck_assert_int_eq(reader.numbers[i], next++);
        if (reader.count)
            snprintf(since, sizeof since, "%s", reader.ids[reader.count - 1]);
    }
    scene_close(&scene);
}
END_TEST

START_TEST(o10_a_since_of_the_outbox_means_the_relays_id_of_that_post)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    scene_follow(&scene, "jobs", true);
    publish_many(&scene, "jobs", 1, 2);
    ck_assert(scene_head_is(&scene, "jobs", 2, 5000));
    struct rb_post post = {.account = scene_account(&scene),
                           .topic = RB_SPAN("jobs"),
                           .payload = RB_SPAN("{\"n\":3}"),
                           .door = "door",
                           .uid = 1000};
    int64_t id;
    bool repeated;
    struct rb_error err = {0};
    ck_assert_msg(rb_outbox_add(scene.world->broker->outbox, &post, &id, &repeated, &err) == RB_OK, "%s", err.text);
    world_end_tick(scene.world);
    ck_assert(scene_head_is(&scene, "jobs", 3, 30 * 1000));
    publish_many(&scene, "jobs", 4, 5);
    ck_assert(scene_head_is(&scene, "jobs", 5, 5000));
    char since[RB_OUTBOX_ID_MAX];
    rb_outbox_id_print(id, since);
    read_once(&reader, &scene, session, 1, "jobs", since);
    check_numbers(&reader, 4, 5);
    /* One that is not known reads from the beginning, as an unknown id does at a relay: never a step over something. */
    read_once(&reader, &scene, session, 2, "jobs", "outbox-999999");
    check_numbers(&reader, 1, 5);
    scene_close(&scene);
}
END_TEST

START_TEST(a_since_of_a_message_that_is_not_stored_yet_continues_after_it)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    char id[SCENE_ID_MAX];
    for (int i = 0; i < 200; i++) {
        scene.world->weather.latency_max_ms = i % 2 ? 20 : 600;
        scene_publish(&scene, "jobs", 10 * i, NULL, id);
        reader_poll(&reader, &scene, NULL, 1, "jobs", id, 5000);
        scene.world->weather.latency_max_ms = i % 2 ? 600 : 20;
        world_run(scene.world, world_between(scene.world, 0, 700));
        ck_assert(!reader.ended);
        scene_publish(&scene, "jobs", 10 * i + 1, NULL, NULL);
        reader_wait(&reader, 4000);
        check_numbers(&reader, 10 * i + 1, 10 * i + 1);
        world_run(scene.world, 3000);
    }
    scene_close(&scene);
}
END_TEST

START_TEST(i11_answers_are_capped_in_messages_and_bytes_and_say_that_there_is_more)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    publish_many(&scene, "jobs", 1, 250);
    ck_assert(scene_head_is(&scene, "jobs", 250, 10 * 1000));
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    check_numbers(&reader, 1, 100);
    ck_assert(reader.has_more);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    check_numbers(&reader, 101, 200);
    ck_assert(reader.has_more);
    memset(&reader, 0, sizeof reader);
    reader.poll.max_bytes = 100;
    reader_topic(&reader, "jobs", NULL);
    reader_start(&reader, &scene, session, 1, 1000);
    reader_wait(&reader, 1000);
    ck_assert(reader.has_more);
    ck_assert_uint_lt(reader.count, 13);
    ck_assert_int_eq(reader.numbers[0], 201);
    memset(&reader, 0, sizeof reader);
    reader.poll.max_bytes = 1;
    reader_topic(&reader, "jobs", NULL);
    reader_start(&reader, &scene, session, 2, 1000);
    reader_wait(&reader, 1000);
    check_numbers(&reader, 201, 201);
    ck_assert(reader.has_more);
    scene_close(&scene);
}
END_TEST

START_TEST(a_busy_topic_does_not_keep_a_quiet_one_from_its_reader)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    for (int round = 0; round < 2; round++) {
        memset(&reader, 0, sizeof reader);
        reader_topic(&reader, "busy", NULL);
        reader_topic(&reader, "quiet", NULL);
        reader_start(&reader, &scene, session, 1, 1000);
        reader_wait(&reader, 2000);
        if (round == 0) {
            publish_many(&scene, "busy", 1, 300);
            publish_many(&scene, "quiet", 1, 1);
            ck_assert(scene_head_is(&scene, "busy", 300, 10 * 1000));
            ck_assert(scene_head_is(&scene, "quiet", 1, 10 * 1000));
        }
    }
    int quiet = 0;
    for (size_t i = 0; i < reader.count; i++)
        quiet += reader.numbers[i] == 1;
    ck_assert_int_eq((int)reader.count, 100);
    ck_assert_int_eq(quiet, 2);
    ck_assert(reader.has_more);
    scene_close(&scene);
}
END_TEST

START_TEST(stamps_are_taken_off_what_is_handed_out)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    reader_poll(&reader, &scene, NULL, 1, "jobs", NULL, 30 * 1000);
    world_run(scene.world, 2000);
    scene_publish(&scene, "jobs", 1, "{\"relay-broker-id\":\"00112233445566778899aabbccddeeff\",\"a\":\"b\"}", NULL);
    reader_wait(&reader, 1000);
    ck_assert_ptr_null(strstr(reader.metadata, "relay-broker-id"));
    ck_assert_ptr_nonnull(strstr(reader.metadata, "\"a\""));
    scene_close(&scene);
}
END_TEST

START_TEST(t4_a_poll_whose_place_could_not_be_written_hears_it_and_no_session_is_left)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    struct rb_session *session;
    struct rb_error err;
    sim_vfs_set_full(scene.world->vfs, true);
    int opened = 0;
    for (int i = 0; i < 500 && !(i > 0 && opened < i); i++) {
        ck_assert_int_eq(rb_session_open(scene.world->broker->sessions, scene_account(&scene), "door", 1000,
                                         RB_SPAN("galaxy"), &session, &err),
                         RB_OK);
        unsigned char id[RB_SESSION_ID_BYTES];
        memcpy(id, rb_session_id(session), sizeof id);
        reader_poll(&reader, &scene, session, 1, "jobs", NULL, 100);
        if (!reader.ended)
            reader_wait(&reader, 1000);
        ck_assert_int_eq(find_again(&scene, id) != NULL, reader.status == RB_OK);
        opened += reader.status == RB_OK;
    }
    ck_assert_int_eq(reader.status, RB_UNAVAILABLE);
    sim_vfs_set_full(scene.world->vfs, false);
    read_once(&reader, &scene, scene_session(&scene), 1, "jobs", NULL);
    ck_assert_int_eq(reader.status, RB_OK);
    scene_close(&scene);
}
END_TEST

START_TEST(r9_a_session_belongs_to_its_door_and_uid)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    struct rb_sessions *sessions = scene.world->broker->sessions;
    unsigned char id[RB_SESSION_ID_BYTES];
    memcpy(id, rb_session_id(session), sizeof id);
    ck_assert_ptr_eq(rb_session_find(sessions, id, "door", 1000), session);
    ck_assert_ptr_null(rb_session_find(sessions, id, "door", 1001));
    ck_assert_ptr_null(rb_session_find(sessions, id, "other", 1000));
    rb_session_end(sessions, session);
    world_end_tick(scene.world);
    ck_assert_ptr_null(rb_session_find(sessions, id, "door", 1000));
    scene_reboot(&scene);
    ck_assert_ptr_null(find_again(&scene, id));
    scene_close(&scene);
}
END_TEST

START_TEST(at_the_bound_the_longest_unused_session_that_never_polled_makes_room)
{
    struct world_config config = scene_config(flavours[_i]);
    config.broker.sessions = 3;
    struct scene scene;
    scene_open(&scene, &config);
    struct rb_session *reads = scene_session(&scene);
    read_once(&reader, &scene, reads, 1, "jobs", NULL);
    unsigned char reading_id[RB_SESSION_ID_BYTES], older_id[RB_SESSION_ID_BYTES], newer_id[RB_SESSION_ID_BYTES];
    memcpy(reading_id, rb_session_id(reads), sizeof reading_id);
    memcpy(older_id, rb_session_id(scene_session(&scene)), sizeof older_id);
    world_run(scene.world, 1000);
    memcpy(newer_id, rb_session_id(scene_session(&scene)), sizeof newer_id);
    world_run(scene.world, 1000);
    struct rb_session *fourth = scene_session(&scene);
    ck_assert_ptr_nonnull(find_again(&scene, reading_id));
    ck_assert_ptr_null(find_again(&scene, older_id));
    ck_assert_ptr_nonnull(find_again(&scene, newer_id));
    read_once(&reader, &scene, find_again(&scene, newer_id), 2, "jobs", NULL);
    read_once(&reader, &scene, fourth, 3, "jobs", NULL);
    struct rb_session *fifth;
    struct rb_error err;
    ck_assert_int_eq(rb_session_open(scene.world->broker->sessions, scene_account(&scene), "door", 1000,
                                     RB_SPAN("galaxy"), &fifth, &err),
                     RB_FULL);
    scene_close(&scene);
}
END_TEST

static enum rb_status open_as(struct scene *scene, int64_t uid, struct rb_session **ret)
{
    struct rb_error err;
    enum rb_status status = rb_session_open(scene->world->broker->sessions, scene_account(scene), "door", uid,
                                            RB_SPAN("galaxy"), ret, &err);
    world_end_tick(scene->world);
    return status;
}

START_TEST(d6_at_a_users_own_bound_his_sessions_make_room_and_nobody_elses)
{
    struct world_config config = scene_config(flavours[_i]);
    config.broker.sessions = 4;
    config.broker.user_percent = 50;
    struct scene scene;
    scene_open(&scene, &config);
    struct rb_session *theirs, *mine;
    unsigned char their_id[RB_SESSION_ID_BYTES], first_id[RB_SESSION_ID_BYTES];
    ck_assert_int_eq(open_as(&scene, 1001, &theirs), RB_OK);
    memcpy(their_id, rb_session_id(theirs), sizeof their_id);
    for (int i = 0; i < 3; i++) {
        world_run(scene.world, 1000);
        ck_assert_int_eq(open_as(&scene, 1000, &mine), RB_OK);
        if (i == 0)
            memcpy(first_id, rb_session_id(mine), sizeof first_id);
    }
    struct rb_sessions *sessions = scene.world->broker->sessions;
    ck_assert_ptr_nonnull(rb_session_find(sessions, their_id, "door", 1001));
    ck_assert_ptr_null(rb_session_find(sessions, first_id, "door", 1000));
    /* Those that read make no room, but for others there is some. */
    read_once(&reader, &scene, mine, 1, "jobs", NULL);
    ck_assert_int_eq(open_as(&scene, 1000, &mine), RB_OK);
    read_once(&reader, &scene, mine, 2, "jobs", NULL);
    ck_assert_int_eq(open_as(&scene, 1000, &mine), RB_FULL);
    ck_assert_int_eq(open_as(&scene, 1001, &theirs), RB_OK);
    scene_close(&scene);
}
END_TEST

START_TEST(d6_a_poll_of_more_topics_than_the_user_may_name_is_refused)
{
    struct world_config config = scene_config(flavours[_i]);
    config.broker.topics = 4;
    config.broker.user_percent = 50;
    struct scene scene;
    scene_open(&scene, &config);
    read_once(&reader, &scene, scene_session(&scene), 1, "a", NULL);
    read_once(&reader, &scene, scene_session(&scene), 1, "b", NULL);
    struct rb_poll_topic topic = {.name = RB_SPAN("c")};
    struct rb_poll poll = {.account = scene_account(&scene), .uid = 0, .topics = &topic, .topic_count = 1};
    struct rb_error err;
    ck_assert_int_eq(rb_poll_start(scene.world->broker->sessions, &poll, &err), RB_FULL);
    ck_assert_ptr_nonnull(strstr(err.text, "This user has named too many topics"));
    world_end_tick(scene.world);
    scene_close(&scene);
}
END_TEST

static enum rb_status poll_topic(struct scene *scene, struct rb_session *session, int number, struct rb_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "topic_%d", number);
    struct rb_poll_topic topic = {.name = rb_span_of(name)};
    struct rb_poll poll = {.session = session, .account = scene_account(scene), .topics = &topic, .topic_count = 1};
    enum rb_status status = rb_poll_start(scene->world->broker->sessions, &poll, err);
    if (status == RB_OK)
        rb_poll_cancel(&poll);
    world_end_tick(scene->world);
    return status;
}

START_TEST(d6_a_user_has_his_part_of_the_places_also_after_a_restart)
{
    struct world_config config = scene_config(flavours[_i]);
    config.broker.sessions = 2;
    config.broker.user_percent = 50;
    struct scene scene;
    scene_open(&scene, &config);
    struct rb_session *mine, *theirs;
    unsigned char my_id[RB_SESSION_ID_BYTES];
    struct rb_error err;
    ck_assert_int_eq(open_as(&scene, 1000, &mine), RB_OK);
    ck_assert_int_eq(open_as(&scene, 1001, &theirs), RB_OK);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(poll_topic(&scene, mine, i, &err), RB_OK);
    ck_assert_int_eq(poll_topic(&scene, mine, 20, &err), RB_FULL);
    ck_assert_ptr_nonnull(strstr(err.text, "read too many topics here"));
    ck_assert_int_eq(poll_topic(&scene, mine, 19, &err), RB_OK);
    ck_assert_int_eq(poll_topic(&scene, theirs, 20, &err), RB_OK);
    memcpy(my_id, rb_session_id(mine), sizeof my_id);
    scene_reboot(&scene);
    mine = rb_session_find(scene.world->broker->sessions, my_id, "door", 1000);
    ck_assert_ptr_nonnull(mine);
    ck_assert_int_eq(poll_topic(&scene, mine, 20, &err), RB_FULL);
    rb_session_end(scene.world->broker->sessions, mine);
    ck_assert_int_eq(open_as(&scene, 1000, &mine), RB_OK);
    ck_assert_int_eq(poll_topic(&scene, mine, 20, &err), RB_OK);
    scene_close(&scene);
}
END_TEST

START_TEST(a_poll_of_no_topic_or_of_too_many_is_refused)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_poll poll = {.account = scene_account(&scene), .session = scene_session(&scene)};
    struct rb_error err;
    ck_assert_int_eq(rb_poll_start(scene.world->broker->sessions, &poll, &err), RB_INVALID);
    poll.topic_count = RB_POLL_TOPICS_MAX + 1;
    ck_assert_int_eq(rb_poll_start(scene.world->broker->sessions, &poll, &err), RB_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "A poll is over 1 to "));
    scene_close(&scene);
}
END_TEST

START_TEST(i2_a_poll_that_ends_before_the_topics_start_is_known_is_told_so)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    scene.world->weather.down = true;
    reader_poll(&reader, &scene, session, 1, "jobs", NULL, 1000);
    reader_wait(&reader, 5000);
    ck_assert_int_eq(reader.status, RB_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(reader.error, "Try again."));
    scene.world->weather.down = false;
    reader_poll(&reader, &scene, session, 1, "jobs", NULL, 30 * 1000);
    reader_wait(&reader, 40 * 1000);
    ck_assert_int_eq(reader.status, RB_OK);
    /* Once it is known, an empty answer is true also without the relay. */
    scene.world->weather.down = true;
    reader_poll(&reader, &scene, session, 1, "jobs", NULL, 1000);
    reader_wait(&reader, 5000);
    ck_assert_int_eq(reader.status, RB_OK);
    ck_assert_uint_eq(reader.count, 0);
    scene_close(&scene);
}
END_TEST

START_TEST(an_unused_session_ends_and_holds_nothing_back)
{
    struct world_config config = scene_config(flavours[_i]);
    config.broker.sessions = 2;
    struct scene scene;
    scene_open(&scene, &config);
    struct rb_session *session = scene_session(&scene);
    struct rb_session *used = scene_session(&scene);
    unsigned char id[RB_SESSION_ID_BYTES], used_id[RB_SESSION_ID_BYTES];
    memcpy(id, rb_session_id(session), sizeof id);
    memcpy(used_id, rb_session_id(used), sizeof used_id);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    publish_many(&scene, "jobs", 1, 10);
    for (int hour = 0; hour < 23; hour++) {
        world_run(scene.world, 3600 * 1000);
        use(&scene, used_id);
    }
    ck_assert_int_eq((int)scene_topic(&scene, "jobs")->rows, 10);
    world_run(scene.world, 3 * 3600 * 1000);
    ck_assert_uint_eq(open_sessions(&scene), 1);
    ck_assert_ptr_null(find_again(&scene, id));
    ck_assert_ptr_nonnull(find_again(&scene, used_id));
    ck_assert_int_eq((int)scene_topic(&scene, "jobs")->rows, 0);
    scene_close(&scene);
}
END_TEST

START_TEST(a_living_sessions_place_outlasts_the_retention)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    unsigned char id[RB_SESSION_ID_BYTES];
    memcpy(id, rb_session_id(session), sizeof id);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    publish_many(&scene, "jobs", 1, 10);
    for (int hour = 0; hour < 40; hour++) {
        world_run(scene.world, 3600 * 1000);
        use(&scene, id);
    }
    read_once(&reader, &scene, session, 2, "jobs", NULL);
    check_numbers(&reader, 1, 10);
    scene_close(&scene);
}
END_TEST

START_TEST(d6_a_session_that_is_looked_for_but_not_used_ends)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    unsigned char id[RB_SESSION_ID_BYTES];
    memcpy(id, rb_session_id(scene_session(&scene)), sizeof id);
    for (int hour = 0; hour < 26; hour++) {
        world_run(scene.world, 3600 * 1000);
        find_again(&scene, id);
        world_end_tick(scene.world);
    }
    ck_assert_uint_eq(open_sessions(&scene), 0);
    scene_close(&scene);
}
END_TEST

static void logged_in(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    ck_assert_msg(status == RB_OK, "%s", err->text);
    *(bool *)arg = true;
}

static void replace_login(struct scene *scene, const char *username)
{
    struct rb_login login = {
        .name = "main",
        .relay_url = world_url,
        .username = username,
        .password = RB_SPAN("correct horse"),
        .replace = true,
    };
    struct rb_error err = {0};
    bool ended = false;
    ck_assert_int_eq(rb_model_user(scene->world->model, username, "correct horse", ""), RB_OK);
    ck_assert_int_eq(rb_account_login(scene->world->broker->accounts, &login, logged_in, &ended, &err), RB_OK);
    world_run(scene->world, 10 * 1000);
    ck_assert(ended);
}

START_TEST(r7_a_session_of_a_replaced_account_is_none_and_ends)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    unsigned char id[RB_SESSION_ID_BYTES];
    memcpy(id, rb_session_id(session), sizeof id);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    replace_login(&scene, "another");
    ck_assert(rb_account_is_retired(scene_account(&scene)));
    for (int hour = 0; hour < 26; hour++) {
        ck_assert_ptr_null(find_again(&scene, id));
        world_run(scene.world, 3600 * 1000);
        if (hour == 2)
            scene_reboot(&scene);
    }
    ck_assert_uint_eq(open_sessions(&scene), 0);
    scene_close(&scene);
}
END_TEST

START_TEST(a_cancelled_poll_is_never_answered_and_confirms_nothing)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    reader_poll(&reader, &scene, session, 1, "jobs", NULL, 30 * 1000);
    world_run(scene.world, 1000);
    struct rb_session_stats stats;
    rb_session_stats(scene.world->broker->sessions, &stats);
    ck_assert_uint_eq(stats.parked, 1);
    rb_poll_cancel(&reader.poll);
    rb_session_stats(scene.world->broker->sessions, &stats);
    ck_assert_uint_eq(stats.parked, 0);
    publish_many(&scene, "jobs", 1, 3);
    world_run(scene.world, 40 * 1000);
    ck_assert(!reader.ended);
    /* Also while the relay is asked. */
    publish_many(&scene, "old", 1, 3);
    scene_follow(&scene, "old", false);
    reader_poll(&reader, &scene, session, 1, "old", "0-0", 30 * 1000);
    ck_assert(!reader.ended);
    rb_poll_cancel(&reader.poll);
    world_run(scene.world, 1000);
    ck_assert(!reader.ended);
    read_once(&reader, &scene, session, 2, "jobs", NULL);
    check_numbers(&reader, 1, 3);
    scene_close(&scene);
}
END_TEST

static void logged_out(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
}

START_TEST(p5_parked_polls_end_with_the_login)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    reader_poll(&reader, &scene, scene_session(&scene), 1, "jobs", NULL, 60 * 1000);
    world_run(scene.world, 1000);
    struct rb_error err = {0};
    ck_assert_int_eq(rb_account_logout(scene_account(&scene), logged_out, NULL, &err), RB_OK);
    world_end_tick(scene.world);
    reader_wait(&reader, 1000);
    ck_assert_int_eq(reader.status, RB_UNAVAILABLE);
    reader.started = reader.ended = false;
    ck_assert_int_eq(rb_poll_start(scene.world->broker->sessions, &reader.poll, &err), RB_UNAVAILABLE);
    scene_close(&scene);
}
END_TEST

/* Counts answers only: thousands of readers would not fit into struct reader. */
struct waiter {
    struct rb_poll poll;
    struct rb_poll_topic topic;
    int answers;
};

static void waiter_done(struct rb_poll *poll, enum rb_status status, const struct rb_error *err,
                        const struct rb_poll_item *items, size_t count, bool has_more)
{
    struct waiter *waiter = poll->arg;
    ck_assert_int_eq(status, RB_OK);
    ck_assert_uint_eq(count, 1);
    waiter->answers++;
}

START_TEST(thousands_of_parked_polls_are_all_answered_by_one_message)
{
    enum { WAITERS = 3000 };
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_follow(&scene, "jobs", true);
    struct waiter *waiters = calloc(WAITERS, sizeof *waiters);
    ck_assert_ptr_nonnull(waiters);
    struct rb_error err = {0};
    for (int i = 0; i < WAITERS; i++) {
        struct waiter *waiter = &waiters[i];
        waiter->topic = (struct rb_poll_topic){.name = RB_SPAN("jobs")};
        waiter->poll = (struct rb_poll){.account = scene_account(&scene),
                                        .topics = &waiter->topic,
                                        .topic_count = 1,
                                        .timeout_ms = 60 * 1000,
                                        .max_bytes = 1000,
                                        .done = waiter_done,
                                        .arg = waiter};
        ck_assert_int_eq(rb_poll_start(scene.world->broker->sessions, &waiter->poll, &err), RB_OK);
    }
    world_end_tick(scene.world);
    struct rb_session_stats stats;
    rb_session_stats(scene.world->broker->sessions, &stats);
    ck_assert_uint_eq(stats.parked, WAITERS);
    scene_publish(&scene, "jobs", 1, NULL, NULL);
    world_run(scene.world, 1000);
    for (int i = 0; i < WAITERS; i++)
        ck_assert_int_eq(waiters[i].answers, 1);
    free(waiters);
    scene_close(&scene);
}
END_TEST

START_TEST(p4_a_reader_over_crashes_and_bad_weather_sees_every_message_in_order)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    struct rb_session *session = scene_session(&scene);
    unsigned char id[RB_SESSION_ID_BYTES];
    memcpy(id, rb_session_id(session), sizeof id);
    read_once(&reader, &scene, session, 1, "jobs", NULL);
    world_run(scene.world, 2000);
    int published = 0, seen = 0;
    uint64_t connection = 1;
    char since[SCENE_ID_MAX] = "";
    struct weather *weather = &scene.world->weather;
    for (int round = 0; round < 250 || seen < published; round++) {
        ck_assert_int_lt(round, 2000);
        bool calm = round >= 250;
        *weather = (struct weather){.latency_max_ms = 20};
        if (!calm)
            weather->refuse = weather->lose_answer = weather->html = weather->error = 50;
        if (!calm && world_chance(scene.world, 700))
            scene_publish(&scene, "jobs", ++published, NULL, NULL);
        scene.world->crash_in = !calm && world_chance(scene.world, 150) ? world_between(scene.world, 1, 20) : 0;
        reader_poll(&reader, &scene, find_again(&scene, id), connection, "jobs", *since ? since : NULL, 500);
        world_run(scene.world, world_between(scene.world, 0, 900));
        while (!scene.world->up) {
            reader.poll.state = NULL;
            world_boot(scene.world);
        }
        if (reader.poll.state)
            rb_poll_cancel(&reader.poll);
        connection++;
        /* What was not answered comes again; what comes again is not doubled within one answer. */
        for (size_t i = 0; reader.ended && reader.status == RB_OK && i < reader.count; i++) {
            ck_assert_int_le(reader.numbers[i], seen + 1);
            if (reader.numbers[i] == seen + 1)
                seen++;
            snprintf(since, sizeof since, "%s", reader.ids[i]);
        }
    }
    ck_assert_int_eq(seen, published);
    ck_assert_int_eq(scene_gaps(&scene), 0);
    scene_close(&scene);
}
END_TEST

static struct reader crowd[200];

/* One user asks again and again for what follows an id that nobody knows, in a topic that does not exist. */
START_TEST(d6_who_reads_a_topic_that_does_not_exist_leaves_places_at_the_relay_for_others)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    const char *unknown = flavours[_i] == RB_FLAVOUR_VALKEY ? "5-0" : "msg_0123456789ab";
    struct rb_session *session = scene_session(&scene);
    scene_publish(&scene, "jobs", 0, NULL, NULL);
    scene_follow(&scene, "jobs", false);
    scene_follow(&scene, "missing", false);
    for (size_t i = 0; i < sizeof crowd / sizeof crowd[0]; i++)
        crowd[i] = (struct reader){.ended = true};
    size_t most = 0;
    for (int number = 1; number <= 20; number++) {
        reader_poll(&reader, &scene, session, 1, "jobs", NULL, 30 * 1000);
        for (int moment = 0; moment < 300; moment++) {
            for (size_t i = 0; i < sizeof crowd / sizeof crowd[0]; i++) {
                if (!crowd[i].ended)
                    continue;
                memset(&crowd[i], 0, sizeof crowd[i]);
                crowd[i].poll.uid = 1001;
                reader_topic(&crowd[i], "missing", unknown);
                reader_start(&crowd[i], &scene, NULL, 1, world_between(scene.world, 1000, 2000));
            }
            world_run(scene.world, 10);
            if (rb_model_waiting_polls(scene.world->model) > most)
                most = rb_model_waiting_polls(scene.world->model);
        }
        scene_publish(&scene, "jobs", number, NULL, NULL);
        reader_wait(&reader, 3000);
        check_numbers(&reader, number, number);
    }
    struct rb_inbox_stats stats;
    rb_inbox_stats(scene.world->broker->inbox, &stats);
    ck_assert_uint_eq(stats.polls_failed, 0);
    ck_assert_uint_lt(most, 50);
    for (size_t i = 0; i < sizeof crowd / sizeof crowd[0]; i++)
        if (!crowd[i].ended)
            rb_poll_cancel(&crowd[i].poll);
    scene_close(&scene);
}
END_TEST

/* The process was stopped: the relay's answer lies in the socket, and the caller's time is over. */
START_TEST(i2_an_empty_answer_waits_for_the_commit_of_the_topics_start)
{
    struct scene scene;
    scene_open_flavour(&scene, flavours[_i]);
    scene_publish(&scene, "jobs", 1, NULL, NULL);
    struct rb_session *session = scene_session(&scene);
    unsigned char id[RB_SESSION_ID_BYTES];
    memcpy(id, rb_session_id(session), sizeof id);
    reader_poll(&reader, &scene, session, 1, "jobs", NULL, 1000);
    struct world *world = scene.world;
    struct rb_topic *topic = scene_topic(&scene, "jobs");
    ck_assert(!topic->cursor);
    /* The request arrives; its answer, after the stop. */
    rb_clock_run(&world->net.clock);
    world->now_ms += 1500;
    for (int i = 0; i < 10 && !topic->cursor; i++)
        rb_clock_run(&world->net.clock);
    ck_assert_ptr_nonnull(topic->cursor);
    rb_clock_run(&world->host.clock);
    bool promised = reader.ended && reader.status == RB_OK;
    world->crash_in = 1;
    world_end_tick(world);
    if (world->up)
        world_crash(world);
    world_boot(world);
    ck_assert(!rb_inbox_anchored(world->broker->inbox, scene_topic(&scene, "jobs")));
    scene_publish(&scene, "jobs", 2, NULL, NULL);
    world_run(world, 2000);
    ck_assert(rb_inbox_anchored(world->broker->inbox, scene_topic(&scene, "jobs")));
    if (promised) {
        read_once(&reader, &scene, find_again(&scene, id), 2, "jobs", NULL);
        check_numbers(&reader, 2, 2);
    }
    scene_close(&scene);
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return EXIT_FAILURE;
    Suite *suite = suite_create("session");
    TCase *polls = tcase_create("polls");
    tcase_set_timeout(polls, 60);
    const int both = (int)(sizeof flavours / sizeof flavours[0]);
    tcase_add_loop_test(polls, a_parked_poll_is_answered_when_a_message_comes_and_empty_when_none_does, 0, both);
    tcase_add_loop_test(polls, a_first_poll_waits_for_what_comes_after_it_also_before_the_start_was_found, 0, both);
    tcase_add_loop_test(polls, i8_what_is_published_between_two_polls_without_since_arrives, 0, both);
    tcase_add_loop_test(polls, i8_handing_out_moves_nothing_and_a_killed_poller_gets_the_same_again, 0, both);
    tcase_add_loop_test(polls, i8_a_since_confirms_and_a_poll_without_it_continues_there, 0, both);
    tcase_add_loop_test(polls, i8_two_pollers_of_one_session_do_not_take_each_others_messages, 0, both);
    tcase_add_loop_test(polls, sixteen_sessions_each_see_everything, 0, both);
    tcase_add_loop_test(polls, a_since_older_than_what_is_kept_is_read_from_the_relay_and_leads_into_the_inbox, 0,
                        both);
    tcase_add_loop_test(polls, P4_a_since_of_a_deleted_topic_is_read_to_its_end, 0, both);
    tcase_add_loop_test(polls, P4_a_page_without_room_in_the_answer_is_asked_for_again, 0, both);
    tcase_add_loop_test(polls, from_the_beginning_is_the_relays_beginning, 0, both);
    tcase_add_loop_test(polls, a_since_that_nothing_follows_waits_and_steps_over_nothing, 0, both);
    tcase_add_loop_test(polls, a_since_that_is_not_here_is_read_once_the_relay_can_be_asked_while_the_caller_waits, 0,
                        both);
    tcase_add_loop_test(polls, a_relay_that_is_slower_than_the_caller_waits_is_given_a_little_longer, 0, both);
    tcase_add_test(polls, a_message_is_never_given_again_to_a_caller_who_names_a_later_one);
    tcase_add_loop_test(polls, o10_a_since_of_the_outbox_means_the_relays_id_of_that_post, 0, both);
    tcase_add_loop_test(polls, a_since_of_a_message_that_is_not_stored_yet_continues_after_it, 0, both);
    tcase_add_loop_test(polls, i11_answers_are_capped_in_messages_and_bytes_and_say_that_there_is_more, 0, both);
    tcase_add_loop_test(polls, a_busy_topic_does_not_keep_a_quiet_one_from_its_reader, 0, both);
    tcase_add_loop_test(polls, stamps_are_taken_off_what_is_handed_out, 0, both);
    tcase_add_loop_test(polls, a_cancelled_poll_is_never_answered_and_confirms_nothing, 0, both);
    tcase_add_loop_test(polls, thousands_of_parked_polls_are_all_answered_by_one_message, 0, both);
    tcase_add_loop_test(polls, p4_a_reader_over_crashes_and_bad_weather_sees_every_message_in_order, 0, both);
    tcase_add_loop_test(polls, d6_who_reads_a_topic_that_does_not_exist_leaves_places_at_the_relay_for_others, 0, both);
    tcase_add_loop_test(polls, i2_an_empty_answer_waits_for_the_commit_of_the_topics_start, 0, both);
    suite_add_tcase(suite, polls);
    TCase *lives = tcase_create("sessions");
    tcase_set_timeout(lives, 60);
    tcase_add_loop_test(lives, t4_a_poll_whose_place_could_not_be_written_hears_it_and_no_session_is_left, 0, both);
    tcase_add_loop_test(lives, r9_a_session_belongs_to_its_door_and_uid, 0, both);
    tcase_add_loop_test(lives, at_the_bound_the_longest_unused_session_that_never_polled_makes_room, 0, both);
    tcase_add_loop_test(lives, d6_at_a_users_own_bound_his_sessions_make_room_and_nobody_elses, 0, both);
    tcase_add_loop_test(lives, d6_a_poll_of_more_topics_than_the_user_may_name_is_refused, 0, both);
    tcase_add_loop_test(lives, d6_a_user_has_his_part_of_the_places_also_after_a_restart, 0, both);
    tcase_add_loop_test(lives, a_poll_of_no_topic_or_of_too_many_is_refused, 0, both);
    tcase_add_loop_test(lives, i2_a_poll_that_ends_before_the_topics_start_is_known_is_told_so, 0, both);
    tcase_add_loop_test(lives, an_unused_session_ends_and_holds_nothing_back, 0, both);
    tcase_add_loop_test(lives, a_living_sessions_place_outlasts_the_retention, 0, both);
    tcase_add_loop_test(lives, d6_a_session_that_is_looked_for_but_not_used_ends, 0, both);
    tcase_add_loop_test(lives, r7_a_session_of_a_replaced_account_is_none_and_ends, 0, both);
    tcase_add_loop_test(lives, p5_parked_polls_end_with_the_login, 0, both);
    suite_add_tcase(suite, lives);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
