/* The outbox on a simulated host, with the model relay behind a network whose weather each test sets. */
#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "json_span.h"
#include "log.h"
#include "topic.h"
#include "world.h"

static struct world *world;
static struct rb_account *account;

/* A caller that waits for its post, and what it heard. */
struct caller {
    struct rb_post_wait wait;
    int64_t id;
    bool heard;
    enum rb_status committed;
    enum rb_post_state state;
    char message_id[64];
    int status;
    char detail[256];
};

static void on_done(struct rb_post_wait *wait, enum rb_status committed, const struct rb_post_view *view)
{
    struct caller *caller = RB_CONTAINER(wait, struct caller, wait);
    ck_assert(!caller->heard);
    caller->heard = true;
    caller->committed = committed;
    if (committed != RB_OK)
        return;
    caller->state = view->state;
    caller->status = view->status;
    snprintf(caller->message_id, sizeof caller->message_id, "%.*s", (int)view->message_id.len,
             view->message_id.len ? view->message_id.at : "");
    snprintf(caller->detail, sizeof caller->detail, "%.*s", (int)view->detail.len,
             view->detail.len ? view->detail.at : "");
}

static void log_in(void)
{
    account = world_login(world, "main", "user", false);
    ck_assert_ptr_nonnull(account);
}

static void start_with(uint64_t seed, enum rb_flavour flavour, const struct rb_broker_config *config, bool rate_limits)
{
    rb_log_set_level(getenv("TRACE") ? RB_LOG_DEBUG : RB_LOG_ERROR);
    ck_assert_int_ge(sodium_init(), 0);
    struct world_config setup = world_config_default(seed);
    setup.flavour = flavour;
    setup.rate_limits = rate_limits;
    setup.broker = *config;
    setup.trace = getenv("TRACE") ? stderr : NULL;
    world = world_new(&setup);
    world_boot(world);
    ck_assert(world->up);
    log_in();
}

static void start(void)
{
    start_with(7, RB_FLAVOUR_MEMORY, &rb_broker_config_default, true);
}

static void finish(void)
{
    struct world_fault fault = world->fault;
    world_free(world);
    world = NULL;
    ck_assert_msg(!fault.set, "%s", fault.text);
}

static void restart(void)
{
    world_crash(world);
    world_boot(world);
    ck_assert(world->up);
    account = rb_account_by_name(world->broker->accounts, RB_SPAN("main"));
    ck_assert_ptr_nonnull(account);
}

static struct rb_post message(const char *topic, const char *payload)
{
    return (struct rb_post){
        .account = account, .topic = rb_span_of(topic), .payload = rb_span_of(payload), .door = "default", .uid = 1000};
}

static enum rb_status try_add(const struct rb_post *post, int64_t *ret_id, bool *ret_repeated)
{
    struct rb_error err;
    return rb_outbox_add(world->broker->outbox, post, ret_id, ret_repeated, &err);
}

static int64_t add_post(const struct rb_post *post)
{
    int64_t id = 0;
    bool repeated = true;
    ck_assert_int_eq(try_add(post, &id, &repeated), RB_OK);
    ck_assert(!repeated);
    return id;
}

static int64_t add(const char *topic, const char *payload)
{
    struct rb_post post = message(topic, payload);
    return add_post(&post);
}

static void await_id(struct caller *caller, int64_t id, int64_t wait_ms)
{
    *caller = (struct caller){.id = id, .wait = {.done = on_done}};
    rb_outbox_wait(world->broker->outbox, id, wait_ms, &caller->wait);
}

static void post_and_wait(struct caller *caller, const char *topic, const char *payload, int64_t wait_ms)
{
    await_id(caller, add(topic, payload), wait_ms);
    ck_assert(!caller->heard);
    world_end_tick(world);
}

static bool has_heard(struct world *unused, void *arg)
{
    return ((struct caller *)arg)->heard;
}

static void hear(struct caller *caller, int64_t max_ms)
{
    ck_assert_msg(world_run_until(world, has_heard, caller, max_ms), "the caller heard nothing");
}

static struct rb_post_view view(int64_t id)
{
    struct rb_post_view ret;
    ck_assert_int_eq(rb_outbox_view(world->broker->outbox, id, &ret), RB_OK);
    return ret;
}

static enum rb_post_state state(int64_t id)
{
    return view(id).state;
}

struct goal {
    int64_t id;
    enum rb_post_state state;
};

static bool is_there(struct world *unused, void *arg)
{
    struct goal *goal = arg;
    return state(goal->id) == goal->state;
}

static void becomes(int64_t id, enum rb_post_state wanted, int64_t max_ms)
{
    struct goal goal = {id, wanted};
    ck_assert_msg(world_run_until(world, is_there, &goal, max_ms), "post %lld is %s, not %s", (long long)id,
                  rb_post_state_text(state(id)), rb_post_state_text(wanted));
}

static struct rb_outbox_stats stats(void)
{
    struct rb_outbox_stats ret;
    rb_outbox_stats(world->broker->outbox, &ret);
    return ret;
}

static bool all_ended(struct world *unused, void *arg)
{
    struct rb_outbox_stats now = stats();
    return now.queued + now.sending + now.unknown == 0;
}

static void all_end(int64_t max_ms)
{
    ck_assert_msg(world_run_until(world, all_ended, NULL, max_ms), "rows stay open");
    ck_assert_int_eq(stats().open_bytes, 0);
}

static size_t stored(const char *topic)
{
    return rb_model_topic_length(world->model, "user", topic);
}

static void stored_is(const char *topic, size_t index, const char *payload)
{
    struct rb_model_message found;
    ck_assert(rb_model_topic_message(world->model, "user", topic, index, &found));
    ck_assert_msg(rb_span_is(found.payload, payload), "%s: %zu is %.*s, not %s", topic, index, (int)found.payload.len,
                  found.payload.at, payload);
}

static uint64_t posts_at_relay(void)
{
    struct rb_model_counts counts;
    rb_model_counts(world->model, &counts);
    return counts.posts;
}

/* A topic that was posted to: later posts need not ask for its newest id. */
static void warm(const char *topic)
{
    struct caller caller;
    post_and_wait(&caller, topic, "{\"warm\":1}", 10000);
    hear(&caller, 10000);
    ck_assert_int_eq(caller.state, RB_POST_ACCEPTED);
}

static const struct weather fair = {.latency_max_ms = 20};

START_TEST(a_post_is_accepted_and_its_caller_hears_the_relays_id)
{
    start();
    struct caller caller;
    post_and_wait(&caller, "jobs", "{\"n\":1}", 10000);
    hear(&caller, 10000);
    ck_assert_int_eq(caller.committed, RB_OK);
    ck_assert_int_eq(caller.state, RB_POST_ACCEPTED);
    struct rb_model_message found;
    ck_assert(rb_model_topic_message(world->model, "user", "jobs", 0, &found));
    ck_assert(rb_span_is(found.message_id, caller.message_id));
    stored_is("jobs", 0, "{\"n\":1}");
    ck_assert_int_eq(view(caller.id).attempts, 1);
    ck_assert_int_gt((int64_t)view(caller.id).timestamp.len, 0);
    ck_assert_uint_eq(stats().accepted, 1);
    finish();
}
END_TEST

START_TEST(one_commit_comes_before_the_sending)
{
    start();
    warm("jobs");
    struct rb_store_stats before, after;
    rb_store_stats(world->broker->ports.store, &before);
    uint64_t requests = world->requests;
    add("jobs", "{}");
    ck_assert_uint_eq(world->requests, requests);
    world_end_tick(world);
    rb_store_stats(world->broker->ports.store, &after);
    ck_assert_uint_eq(world->requests, requests + 1);
    ck_assert_uint_eq(after.commits, before.commits + 1);
    all_end(10000);
    finish();
}
END_TEST

START_TEST(payload_and_metadata_arrive_byte_for_byte)
{
    start_with(7, RB_FLAVOUR_VALKEY, &rb_broker_config_default, true);
    struct rb_post post = message("jobs", "{ \"b\":123456789012345678901234567890,\"a\" : [1,2] }");
    post.metadata = RB_SPAN("{\"k\":\"v\"}");
    becomes(add_post(&post), RB_POST_ACCEPTED, 10000);
    struct rb_model_message found;
    ck_assert(rb_model_topic_message(world->model, "user", "jobs", 0, &found));
    ck_assert(memmem(found.payload.at, found.payload.len, "123456789012345678901234567890", 30));
    ck_assert(memmem(found.metadata.at, found.metadata.len, "\"k\"", 3));
    ck_assert(memmem(found.metadata.at, found.metadata.len, "relay-broker-id", 15));
    finish();
}
END_TEST

/* --- O1 --- */

START_TEST(O1_a_post_that_never_connected_is_sent_later_and_is_no_duplicate)
{
    start();
    world->weather.down = true;
    struct caller caller;
    post_and_wait(&caller, "jobs", "{}", 10000);
    hear(&caller, 1000);
    ck_assert_int_eq(caller.state, RB_POST_QUEUED);
    world_run(world, 5 * 60 * 1000);
    ck_assert_int_eq(state(caller.id), RB_POST_QUEUED);
    world->weather = fair;
    becomes(caller.id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert(!view(caller.id).maybe_duplicate);
    ck_assert_uint_eq(stored("jobs"), 1);
    finish();
}
END_TEST

START_TEST(O1_while_the_relay_is_down_one_work_at_a_time_probes_it)
{
    start();
    for (int i = 0; i < 10; i++)
        warm((const char *[]){"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"}[i]);
    world->weather.down = true;
    for (int i = 0; i < 10; i++)
        add((const char *[]){"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"}[i], "{}");
    world_end_tick(world);
    world_run(world, 60 * 1000);
    uint64_t before = world->requests;
    world_run(world, 10 * 60 * 1000);
    /* Half of the longest backoff, on average: some 40 probes, not 400. */
    ck_assert_uint_lt(world->requests - before, 100);
    ck_assert_uint_gt(world->requests - before, 15);
    world->weather = fair;
    all_end(60 * 1000);
    finish();
}
END_TEST

START_TEST(posts_that_are_cut_off_together_are_one_failure_and_one_short_rest)
{
    static const char *const topics[] = {"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"};
    enum { TOPICS = sizeof topics / sizeof *topics };
    start_with(1 + (uint64_t)_i, RB_FLAVOUR_MEMORY, &rb_broker_config_default, true);
    for (int i = 0; i < TOPICS; i++)
        warm(topics[i]);
    world->weather = (struct weather){.lose_request = 1000, .latency_max_ms = 20};
    for (int i = 0; i < TOPICS; i++)
        add(topics[i], "{}");
    world_end_tick(world);
    world_run(world, 100);
    ck_assert_uint_gt(stats().unknown, 1);
    world->weather = fair;
    all_end(rb_broker_config_default.unknown_wait_ms + 2000);
    finish();
}
END_TEST

START_TEST(O1_a_429_is_waited_out_and_the_limit_is_learned)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.posts_per_minute = 1000;
    start_with(7, RB_FLAVOUR_MEMORY, &config, true);
    for (int i = 0; i < 300; i++)
        add("jobs", "{}");
    world_end_tick(world);
    all_end(10 * 60 * 1000);
    ck_assert_uint_eq(stored("jobs"), 300);
    ck_assert_uint_eq(stats().refused, 0);
    struct rb_model_counts counts;
    rb_model_counts(world->model, &counts);
    ck_assert_uint_ge(counts.rate_limited, 1);
    ck_assert_uint_lt(counts.rate_limited, 10);
    finish();
}
END_TEST

START_TEST(O1_what_the_relay_refuses_is_refused_in_its_words_and_the_rest_goes)
{
    start();
    struct caller bad, good;
    post_and_wait(&bad, "jobs", "[1]", 10000);
    hear(&bad, 10000);
    ck_assert_int_eq(bad.state, RB_POST_REFUSED);
    ck_assert_int_eq(bad.status, 422);
    post_and_wait(&good, "jobs", "{}", 10000);
    hear(&good, 10000);
    ck_assert_int_eq(good.state, RB_POST_ACCEPTED);
    ck_assert_uint_eq(stats().refused, 1);
    finish();
}
END_TEST

START_TEST(O1_a_foreign_servers_page_and_a_500_are_unknown_ends)
{
    start();
    warm("jobs");
    world->weather.html = 1000;
    int64_t first = add("jobs", "{}");
    world_end_tick(world);
    becomes(first, RB_POST_UNKNOWN, 1000);
    world->weather = fair;
    becomes(first, RB_POST_ACCEPTED, 60 * 1000);
    world->weather.error = 1000;
    int64_t second = add("jobs", "{}");
    world_end_tick(world);
    becomes(second, RB_POST_UNKNOWN, 1000);
    world->weather = fair;
    becomes(second, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_uint_eq(stored("jobs"), 3);
    finish();
}
END_TEST

START_TEST(O1_a_refused_token_is_renewed_and_the_post_goes_out)
{
    start();
    warm("jobs");
    rb_model_restart(world->model); /* memory flavour: old access tokens die */
    ck_assert_int_eq(rb_model_user(world->model, "user", "correct horse", ""), RB_OK);
    int64_t id = add("jobs", "{}");
    world_end_tick(world);
    world_run(world, 60 * 1000);
    /* Its chain is gone with the relay's memory: the row waits for a login, and is not lost. */
    ck_assert_int_eq(state(id), RB_POST_QUEUED);
    log_in();
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    finish();
}
END_TEST

/* --- O2, O3 --- */

static void lose_and_find(enum rb_flavour flavour)
{
    start_with(7, flavour, &rb_broker_config_default, true);
    world->weather.lose_answer = 0;
    warm("jobs");
    world->weather.lose_answer = 1000;
    int64_t id = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    becomes(id, RB_POST_UNKNOWN, 60 * 1000);
    world->weather = fair;
    int64_t since = world->now_ms;
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_int_ge(world->now_ms - since, rb_broker_config_default.unknown_wait_ms);
    ck_assert(!view(id).maybe_duplicate);
    ck_assert_uint_eq(stored("jobs"), 2);
    struct rb_model_message found;
    ck_assert(rb_model_topic_message(world->model, "user", "jobs", 1, &found));
    ck_assert(rb_span_equal(found.message_id, view(id).message_id));
    finish();
}

START_TEST(O2_a_lost_answer_is_found_at_the_topic)
{
    lose_and_find(RB_FLAVOUR_MEMORY);
    lose_and_find(RB_FLAVOUR_VALKEY);
}
END_TEST

START_TEST(O2_a_lost_request_is_sent_again_after_a_look_and_marked)
{
    start();
    world->weather.lose_request = 1000;
    struct rb_post post = message("jobs", "{\"n\":1}");
    int64_t id = add_post(&post);
    world_end_tick(world);
    becomes(id, RB_POST_UNKNOWN, 60 * 1000);
    world->weather = fair;
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert(view(id).maybe_duplicate);
    ck_assert_int_eq(view(id).attempts, 2);
    ck_assert_uint_eq(stored("jobs"), 1);
    ck_assert_uint_eq(stats().maybe_duplicates, 1);
    finish();
}
END_TEST

START_TEST(O2_equal_messages_of_others_are_not_taken_for_ours)
{
    start();
    warm("jobs");
    world->weather.lose_request = 1000;
    int64_t id = add("jobs", "{\"warm\":1}");
    world_end_tick(world);
    becomes(id, RB_POST_UNKNOWN, 60 * 1000);
    world->weather = fair;
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_uint_eq(stored("jobs"), 2);
    finish();
}
END_TEST

START_TEST(O2_a_caller_with_a_stamp_of_its_own_keeps_it)
{
    start();
    struct rb_post post = message("jobs", "{}");
    post.metadata = RB_SPAN("{\"relay-broker-id\":\"mine\"}");
    becomes(add_post(&post), RB_POST_ACCEPTED, 10000);
    struct rb_model_message found;
    ck_assert(rb_model_topic_message(world->model, "user", "jobs", 0, &found));
    ck_assert(rb_span_is(found.metadata, "{\"relay-broker-id\":\"mine\"}"));
    finish();
}
END_TEST

static char *filled(size_t bytes)
{
    char *payload = malloc(bytes + 1);
    ck_assert_ptr_nonnull(payload);
    memset(payload, 'x', bytes);
    memcpy(payload, "{\"x\":\"", 6);
    memcpy(payload + bytes - 2, "\"}", 3);
    return payload;
}

START_TEST(O2_a_body_without_room_for_the_stamp_goes_without_and_a_larger_one_not_at_all)
{
    start();
    struct rb_outgoing empty = {RB_SPAN("jobs"), RB_SPAN(""), {0}, 0};
    size_t room = 1048576 - rb_relay_post_bytes(&empty);
    char *payload = filled(room);
    struct rb_post post = message("jobs", payload);
    int64_t id = add_post(&post);
    world_end_tick(world);
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    struct rb_model_message found;
    ck_assert(rb_model_topic_message(world->model, "user", "jobs", 0, &found));
    ck_assert(!found.metadata.len || !memmem(found.metadata.at, found.metadata.len, "relay-broker-id", 15));
    /* After an unknown end there is nothing to look for: it is sent again, and marked. */
    world->weather.lose_answer = 1000;
    id = add_post(&post);
    world_end_tick(world);
    becomes(id, RB_POST_UNKNOWN, 60 * 1000);
    world->weather = fair;
    int64_t since = world->now_ms;
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_int_ge(world->now_ms - since, rb_broker_config_default.unknown_wait_ms);
    ck_assert(view(id).maybe_duplicate);
    free(payload);
    payload = filled(room + 1);
    post.payload = rb_span_of(payload);
    bool repeated;
    ck_assert_int_eq(try_add(&post, &id, &repeated), RB_INVALID);
    free(payload);
    finish();
}
END_TEST

/* Another host of the same user, straight at the relay. */
static void foreign(struct rb_str *token, const char *method, const char *path, const char *type, const char *body,
                    struct rb_str *answer_body)
{
    struct rb_model_request request = {.method = method,
                                       .path = path,
                                       .content_type = rb_span_of(type),
                                       .bearer = rb_str_span(token),
                                       .body = rb_span_of(body),
                                       .address = "192.0.2.1"};
    struct rb_model_answer answer = {0};
    struct rb_model_poll *poll = NULL;
    ck_assert(rb_model_request(world->model, &request, &answer, NULL, NULL, &poll));
    ck_assert_int_eq(answer.status / 100, 2);
    if (answer_body)
        rb_str_add_span(answer_body, rb_str_span(&answer.body));
    rb_str_free(&answer.body);
}

static void foreign_posts(const char *body, int count)
{
    RB_CLEANUP_STR struct rb_str token = RB_STR_INIT, answer = RB_STR_INIT;
    foreign(&token, "POST", "/auth/login", "application/x-www-form-urlencoded",
            "username=user&password=correct+horse&grant_type=password", &answer);
    struct rb_json_value json, value;
    ck_assert_int_eq(rb_json_check(rb_str_span(&answer), 16, &json, NULL), RB_JSON_FINE);
    ck_assert(rb_json_member(json, "access_token", &value));
    ck_assert_int_eq(rb_json_string(value, &token), RB_OK);
    for (int i = 0; i < count; i++)
        foreign(&token, "POST", "/api/v1/messages", "application/json", body, NULL);
}

static void look_over_pages(enum rb_flavour flavour)
{
    start_with(7, flavour, &rb_broker_config_default, false);
    warm("jobs");
    foreign_posts("{\"topic\":\"jobs\",\"payload\":{}}", 250);
    world->weather.lose_answer = 1000;
    int64_t id = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    becomes(id, RB_POST_UNKNOWN, 60 * 1000);
    world->weather = fair;
    uint64_t requests = world->requests;
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_uint_eq(world->requests, requests + 3);
    ck_assert(!view(id).maybe_duplicate);
    ck_assert_uint_eq(stored("jobs"), 252);
    finish();
}

START_TEST(O3_a_look_up_reads_on_over_many_pages_from_the_id_known_before)
{
    look_over_pages(RB_FLAVOUR_MEMORY);
    look_over_pages(RB_FLAVOUR_VALKEY);
}
END_TEST

START_TEST(O3_the_newest_id_of_a_topic_new_to_us_is_asked_for_once)
{
    start_with(7, RB_FLAVOUR_VALKEY, &rb_broker_config_default, false);
    foreign_posts("{\"topic\":\"jobs\",\"payload\":{}}", 250);
    uint64_t requests = world->requests;
    warm("jobs");
    ck_assert_uint_eq(world->requests, requests + 2);
    warm("jobs");
    ck_assert_uint_eq(world->requests, requests + 3);
    restart();
    world_run(world, 1000);
    requests = world->requests;
    warm("jobs");
    ck_assert_uint_eq(world->requests, requests + 1);
    finish();
}
END_TEST

START_TEST(O3_a_topic_whose_newest_message_cannot_be_read_is_posted_to_all_the_same)
{
    start_with(7, RB_FLAVOUR_VALKEY, &rb_broker_config_default, false);
    foreign_posts("{\"topic\":\"jobs\",\"payload\":{\"x\":\"\\ud800\"}}", 1);
    warm("jobs");
    ck_assert_uint_eq(stored("jobs"), 2);
    finish();
}
END_TEST

START_TEST(O3_without_a_known_id_the_look_up_reads_from_the_newest_back)
{
    start_with(7, RB_FLAVOUR_VALKEY, &rb_broker_config_default, false);
    foreign_posts("{\"topic\":\"jobs\",\"payload\":{}}", 250);
    world->weather.lose_answer = 1000; /* of the question for the newest id, too */
    int64_t id = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    becomes(id, RB_POST_UNKNOWN, 60 * 1000);
    world->weather = fair;
    uint64_t requests = world->requests;
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_uint_eq(world->requests, requests + 1);
    ck_assert(!view(id).maybe_duplicate);
    ck_assert_uint_eq(stored("jobs"), 251);
    finish();
}
END_TEST

START_TEST(O3_a_look_up_that_fails_for_a_minute_ends_as_not_found)
{
    start();
    warm("jobs");
    world->weather.lose_answer = 1000;
    int64_t id = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    becomes(id, RB_POST_UNKNOWN, 60 * 1000);
    rb_model_storage_dead(world->model, true);
    world->weather = fair;
    world_run(world, 50 * 1000);
    ck_assert_int_eq(state(id), RB_POST_UNKNOWN);
    world_run(world, 60 * 1000);
    ck_assert(view(id).maybe_duplicate);
    rb_model_storage_dead(world->model, false);
    becomes(id, RB_POST_ACCEPTED, 5 * 60 * 1000);
    finish();
}
END_TEST

/* A relay that answers nobody for `ms`, after it has stored a post whose answer is lost. */
static void look_up_outlasts(struct weather bad, int64_t ms)
{
    start();
    warm("jobs");
    world->weather.lose_answer = 1000;
    int64_t id = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    becomes(id, RB_POST_UNKNOWN, 60 * 1000);
    world->weather = bad;
    world_run(world, ms);
    ck_assert_int_eq(state(id), RB_POST_UNKNOWN);
    world->weather = fair;
    becomes(id, RB_POST_ACCEPTED, 2 * 60 * 1000);
    ck_assert(!view(id).maybe_duplicate);
    ck_assert_uint_eq(stored("jobs"), 2);
    finish();
}

START_TEST(O3_a_look_up_waits_for_a_relay_that_cannot_be_reached_and_sends_no_second_copy)
{
    struct weather bad = fair;
    bad.down = true;
    look_up_outlasts(bad, 3600 * 1000);
}
END_TEST

START_TEST(O3_a_look_up_waits_out_some_minutes_without_any_answer_and_sends_no_second_copy)
{
    struct weather bad = fair;
    bad.lose_request = 1000;
    look_up_outlasts(bad, 5 * 60 * 1000);
}
END_TEST

START_TEST(O3_a_look_up_whose_answers_are_lost_for_ever_ends_as_not_found)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.look_up_give_up_ms = 10 * 1000;
    start_with(7, RB_FLAVOUR_VALKEY, &config, false);
    warm("jobs");
    world->weather.lose_answer = 1000;
    int64_t id = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    becomes(id, RB_POST_UNKNOWN, 60 * 1000);
    world_run(world, 60 * 1000);
    ck_assert(!view(id).maybe_duplicate);
    world_run(world, 3 * 60 * 1000);
    ck_assert(view(id).maybe_duplicate);
    world->weather = fair;
    becomes(id, RB_POST_ACCEPTED, 2 * 60 * 1000);
    finish();
}
END_TEST

/* --- O5 --- */

static struct rb_post keyed(const char *payload, const char *key)
{
    struct rb_post post = message("jobs", payload);
    post.key = rb_span_of(key);
    return post;
}

START_TEST(O5_the_same_key_again_gives_the_first_row_and_another_body_is_refused)
{
    start();
    struct rb_post post = keyed("{\"n\":1}", "k");
    int64_t first = add_post(&post), again;
    bool repeated;
    ck_assert_int_eq(try_add(&post, &again, &repeated), RB_OK);
    ck_assert(repeated);
    ck_assert_int_eq(again, first);
    world_end_tick(world);
    becomes(first, RB_POST_ACCEPTED, 10000);
    restart();
    post = keyed("{\"n\":1}", "k");
    ck_assert_int_eq(try_add(&post, &again, &repeated), RB_OK);
    ck_assert(repeated);
    ck_assert_int_eq(again, first);
    struct caller caller;
    await_id(&caller, again, 10000);
    world_end_tick(world);
    ck_assert(caller.heard);
    ck_assert_int_eq(caller.state, RB_POST_ACCEPTED);
    post = keyed("{\"n\":2}", "k");
    ck_assert_int_eq(try_add(&post, &again, &repeated), RB_EXISTS);
    post.uid = 1001;
    ck_assert_int_eq(try_add(&post, &again, &repeated), RB_OK);
    ck_assert(!repeated);
    post.door = "other";
    ck_assert_int_eq(try_add(&post, &again, &repeated), RB_OK);
    ck_assert(!repeated);
    world_end_tick(world);
    all_end(60 * 1000);
    ck_assert_uint_eq(stored("jobs"), 3);
    finish();
}
END_TEST

START_TEST(O5_a_key_lives_a_day_from_its_rows_end_and_then_the_row_is_forgotten)
{
    start();
    world_run(world, 10000); /* so that forgetting does not come in the same instant */
    struct rb_post post = keyed("{\"n\":1}", "k");
    int64_t first = add_post(&post), again;
    bool repeated;
    world_end_tick(world);
    becomes(first, RB_POST_ACCEPTED, 10000);
    int64_t plain = add("jobs", "{}");
    world_end_tick(world);
    becomes(plain, RB_POST_ACCEPTED, 10000);
    world_run(world, rb_broker_config_default.key_ms - 60 * 1000);
    ck_assert_int_eq(try_add(&post, &again, &repeated), RB_OK);
    ck_assert(repeated);
    ck_assert_int_eq(state(plain), RB_POST_ACCEPTED);
    /* The day is over: the key is free, whether its row is still there or not. */
    world_run(world, 61 * 1000);
    post = keyed("{\"n\":3}", "k");
    ck_assert_int_eq(try_add(&post, &again, &repeated), RB_OK);
    ck_assert(!repeated);
    world_end_tick(world);
    world_run(world, 60 * 60 * 1000);
    struct rb_post_view ret;
    ck_assert_int_eq(rb_outbox_view(world->broker->outbox, first, &ret), RB_NOT_FOUND);
    ck_assert_int_eq(rb_outbox_view(world->broker->outbox, plain, &ret), RB_NOT_FOUND);
    ck_assert_int_eq(state(again), RB_POST_ACCEPTED);
    int64_t third = again;
    ck_assert_int_eq(try_add(&post, &again, &repeated), RB_OK);
    ck_assert(repeated);
    ck_assert_int_eq(again, third);
    finish();
}
END_TEST

/* --- O6, O7, budgets --- */

static void number(char *ret, size_t room, int n)
{
    snprintf(ret, room, "{\"n\":%d}", n);
}

/* First copies arrive in order; a later copy comes after the first one. */
static void in_order(const char *topic, int count)
{
    int64_t next = 0;
    for (size_t i = 0; i < stored(topic); i++) {
        static const char before[] = "{\"n\":";
        struct rb_model_message found;
        ck_assert(rb_model_topic_message(world->model, "user", topic, i, &found));
        if (found.payload.len < sizeof before || memcmp(found.payload.at, before, sizeof before - 1) != 0)
            continue; /* of warm() */
        struct rb_span digits = {found.payload.at + sizeof before - 1, found.payload.len - sizeof before};
        int64_t n;
        ck_assert_int_eq(rb_span_to_i64(digits, 0, next, &n), RB_OK);
        next += n == next;
    }
    ck_assert_int_eq(next, count);
}

START_TEST(O6_posts_arrive_in_order_through_bad_weather)
{
    start_with(11, RB_FLAVOUR_VALKEY, &rb_broker_config_default, false);
    world->weather = (struct weather){.refuse = 100,
                                      .lose_request = 100,
                                      .lose_answer = 100,
                                      .late = 50,
                                      .html = 50,
                                      .error = 100,
                                      .limited = 50,
                                      .latency_max_ms = 50};
    for (int i = 0; i < 60; i++) {
        char payload[32];
        number(payload, sizeof payload, i);
        add("a", payload);
        add("b", payload);
        world_end_tick(world);
    }
    all_end(24 * 3600 * 1000);
    in_order("a", 60);
    in_order("b", 60);
    ck_assert_uint_eq(stats().accepted, 120);
    finish();
}
END_TEST

static bool has_open(struct world *unused, void *arg)
{
    return stats().queued == 0;
}

START_TEST(O7_the_first_post_to_a_new_topic_goes_alone)
{
    start();
    add("jobs", "{\"n\":0}");
    add("jobs", "{\"n\":1}");
    world_end_tick(world);
    while (stored("jobs") < 1) {
        ck_assert_int_le(stats().sending, 1);
        ck_assert_uint_eq(posts_at_relay(), 0);
        ck_assert(world_step(world, world->now_ms + 10000));
    }
    ck_assert(world_run_until(world, has_open, NULL, 10000));
    all_end(10000);
    in_order("jobs", 2);
    finish();
}
END_TEST

START_TEST(a_burst_of_600_posts_arrives_whole_and_in_order)
{
    start();
    for (int i = 0; i < 600; i++) {
        char payload[32];
        number(payload, sizeof payload, i);
        add("jobs", payload);
    }
    world_end_tick(world);
    int64_t since = world->now_ms;
    all_end(15 * 60 * 1000);
    ck_assert_int_le(world->now_ms - since, 7 * 60 * 1000);
    ck_assert_uint_eq(stored("jobs"), 600);
    in_order("jobs", 600);
    ck_assert_uint_eq(stats().refused, 0);
    struct rb_model_counts counts;
    rb_model_counts(world->model, &counts);
    ck_assert_uint_le(counts.rate_limited, 6);
    finish();
}
END_TEST

START_TEST(a_topic_with_one_post_does_not_stand_behind_anothers_burst)
{
    start();
    warm("quiet");
    for (int i = 0; i < 500; i++)
        add("busy", "{}");
    world_end_tick(world);
    world_run(world, 30 * 1000);
    int64_t id = add("quiet", "{}");
    world_end_tick(world);
    becomes(id, RB_POST_ACCEPTED, 70 * 1000);
    ck_assert_int_gt(stats().queued, 100);
    finish();
}
END_TEST

/* --- O9, waits --- */

START_TEST(O9_an_answer_in_the_same_tick_as_the_timeout_wins)
{
    /* The same seed gives the same answer at the same instant: first find it, then let the wait end there, with its
     * timer before the answer. */
    int64_t takes_ms = 0;
    for (int round = 0; round < 2; round++) {
        start();
        warm("jobs");
        struct caller caller;
        int64_t since = world->now_ms;
        post_and_wait(&caller, "jobs", "{}", round ? takes_ms : 10000);
        if (!round) {
            hear(&caller, 10000);
            takes_ms = world->now_ms - since;
        } else {
            world_run(world, takes_ms - 1);
            ck_assert(!caller.heard);
            world->now_ms++;
            rb_clock_run(&world->host.clock);
            rb_clock_run(&world->net.clock);
            ck_assert(!caller.heard);
            world_end_tick(world);
            ck_assert(caller.heard);
        }
        ck_assert_int_eq(caller.state, RB_POST_ACCEPTED);
        finish();
    }
}
END_TEST

START_TEST(a_wait_that_is_over_leaves_the_row_to_be_sent)
{
    start();
    warm("jobs");
    world->weather.latency_max_ms = 5000;
    struct caller caller;
    post_and_wait(&caller, "jobs", "{}", 10);
    hear(&caller, 11);
    ck_assert_int_eq(caller.state, RB_POST_SENDING);
    becomes(caller.id, RB_POST_ACCEPTED, 20000);
    finish();
}
END_TEST

START_TEST(who_stands_behind_another_post_hears_at_once)
{
    start();
    struct caller first, second;
    post_and_wait(&first, "jobs", "{\"n\":0}", 10000);
    post_and_wait(&second, "jobs", "{\"n\":1}", 10000);
    ck_assert(second.heard);
    ck_assert_int_eq(second.state, RB_POST_QUEUED);
    ck_assert(!first.heard);
    hear(&first, 10000);
    all_end(10000);
    finish();
}
END_TEST

START_TEST(with_the_budget_spent_the_caller_hears_at_once)
{
    start();
    for (int i = 0; i < 120; i++)
        warm("jobs");
    struct caller caller;
    post_and_wait(&caller, "jobs", "{}", 10000);
    ck_assert(caller.heard);
    ck_assert_int_eq(caller.state, RB_POST_QUEUED);
    becomes(caller.id, RB_POST_ACCEPTED, 61 * 1000);
    finish();
}
END_TEST

static void on_logout(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *unused)
{
    *(bool *)arg = true;
}

START_TEST(without_a_login_the_caller_hears_at_once_and_a_login_sends_the_row)
{
    start();
    bool out = false;
    struct rb_error err;
    ck_assert_int_eq(rb_account_logout(account, on_logout, &out, &err), RB_OK);
    world_end_tick(world);
    ck_assert(out);
    struct caller caller;
    post_and_wait(&caller, "jobs", "{}", 10000);
    ck_assert(caller.heard);
    ck_assert_int_eq(caller.state, RB_POST_QUEUED);
    world_run(world, 60 * 1000);
    ck_assert_int_eq(state(caller.id), RB_POST_QUEUED);
    log_in();
    becomes(caller.id, RB_POST_ACCEPTED, 10000);
    finish();
}
END_TEST

START_TEST(a_cancelled_wait_hears_nothing)
{
    start();
    struct caller caller;
    await_id(&caller, add("jobs", "{}"), 10000);
    rb_outbox_wait_cancel(&caller.wait);
    world_end_tick(world);
    becomes(caller.id, RB_POST_ACCEPTED, 10000);
    world_run(world, 20000);
    ck_assert(!caller.heard);
    finish();
}
END_TEST

/* --- O10 --- */

START_TEST(O10_an_outbox_id_is_printed_and_read_back)
{
    char text[RB_OUTBOX_ID_MAX];
    int64_t id = 0;
    rb_outbox_id_print(INT64_MAX, text);
    ck_assert_str_eq(text, "outbox-9223372036854775807");
    ck_assert(rb_outbox_id_parse(rb_span_of(text), &id));
    ck_assert_int_eq(id, INT64_MAX);
    static const char *const others[] = {"",          "outbox-",   "outbox-0",
                                         "outbox--1", "outbox-01", "outbox-1 ",
                                         "msg_1",     "1-0",       "outbox-9223372036854775808",
                                         "Outbox-1"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ck_assert_msg(!rb_outbox_id_parse(rb_span_of(others[i]), &id), "%s", others[i]);
    ck_assert_int_eq(id, INT64_MAX);
}
END_TEST

/* --- T4, T5 --- */

static uint64_t failed_commits(void)
{
    struct rb_store_stats now;
    rb_store_stats(world->broker->ports.store, &now);
    return now.failed_commits;
}

START_TEST(T4_the_result_of_a_post_is_kept_over_a_failed_commit)
{
    start();
    warm("jobs");
    struct caller caller;
    post_and_wait(&caller, "jobs", "{\"n\":1}", 60 * 1000);
    sim_vfs_set_copies(world->vfs);
    sim_vfs_set_full(world->vfs, true);
    world_run(world, 5000);
    ck_assert_uint_gt(failed_commits(), 0);
    ck_assert_uint_eq(stored("jobs"), 2);
    ck_assert(!caller.heard);
    ck_assert_int_eq(state(caller.id), RB_POST_SENDING);
    sim_vfs_set_full(world->vfs, false);
    hear(&caller, 5000);
    ck_assert_int_eq(caller.state, RB_POST_ACCEPTED);
    ck_assert_int_eq(view(caller.id).attempts, 1);
    ck_assert_uint_eq(stored("jobs"), 2);
    ck_assert_uint_eq(stats().accepted, 2);
    finish();
}
END_TEST

START_TEST(T4_an_unknown_end_is_kept_over_a_failed_commit)
{
    start();
    warm("jobs");
    world->weather.lose_answer = 1000;
    int64_t id = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    sim_vfs_set_full(world->vfs, true);
    world_run(world, 60 * 1000);
    ck_assert_uint_gt(failed_commits(), 0);
    sim_vfs_set_full(world->vfs, false);
    world->weather = fair;
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_uint_eq(stored("jobs"), 2);
    finish();
}
END_TEST

START_TEST(T4_what_a_look_up_found_after_a_crash_is_kept_over_a_failed_commit)
{
    start();
    warm("jobs");
    int64_t id = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    restart();
    ck_assert_int_eq(state(id), RB_POST_UNKNOWN);
    world_run(world, 5000);
    sim_vfs_set_full(world->vfs, true);
    world_run(world, 60 * 1000);
    ck_assert_uint_gt(failed_commits(), 0);
    sim_vfs_set_full(world->vfs, false);
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_uint_eq(stored("jobs"), 2);
    finish();
}
END_TEST

START_TEST(T4_a_post_whose_commit_failed_was_never_there)
{
    start();
    warm("jobs");
    sim_vfs_set_full(world->vfs, true);
    struct caller caller;
    struct rb_post post = keyed("{\"n\":1}", "k");
    await_id(&caller, add_post(&post), 10000);
    world_end_tick(world);
    ck_assert(caller.heard);
    ck_assert_int_eq(caller.committed, RB_FULL);
    struct rb_post_view gone;
    ck_assert_int_eq(rb_outbox_view(world->broker->outbox, caller.id, &gone), RB_NOT_FOUND);
    ck_assert_int_eq(stats().queued + stats().sending, 0);
    sim_vfs_set_full(world->vfs, false);
    world_run(world, 60 * 1000);
    ck_assert_uint_eq(stored("jobs"), 1);
    post_and_wait(&caller, "new", "{}", 10000);
    hear(&caller, 10000);
    ck_assert_int_eq(caller.state, RB_POST_ACCEPTED);
    int64_t id = add_post(&post);
    world_end_tick(world);
    becomes(id, RB_POST_ACCEPTED, 10000);
    finish();
}
END_TEST

START_TEST(T4_nothing_spins_while_the_disk_is_full)
{
    start();
    warm("a");
    world->weather.down = true;
    struct rb_post post = message("a", "{}");
    post.expires_wall_ms = rb_clock_wall_ms(&world->host.clock) + 1000;
    add_post(&post);
    for (int i = 0; i < 5; i++)
        add("b", "{}");
    world_end_tick(world);
    sim_vfs_set_full(world->vfs, true);
    world->weather = fair;
    uint64_t before = failed_commits();
    world_run(world, 60 * 1000);
    ck_assert_uint_lt(failed_commits() - before, 600);
    sim_vfs_set_full(world->vfs, false);
    all_end(60 * 1000);
    finish();
}
END_TEST

START_TEST(T5_a_post_in_flight_at_a_crash_is_looked_for_before_it_is_sent_again)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        start_with(seed, seed % 2 ? RB_FLAVOUR_MEMORY : RB_FLAVOUR_VALKEY, &rb_broker_config_default, true);
        warm("jobs");
        struct caller caller;
        post_and_wait(&caller, "jobs", "{\"n\":1}", 10000);
        world_run(world, (int64_t)seed * 2);
        bool ended = state(caller.id) == RB_POST_ACCEPTED;
        restart();
        if (!ended) {
            ck_assert_int_eq(state(caller.id), RB_POST_UNKNOWN);
            uint64_t posts = posts_at_relay();
            world_run(world, rb_broker_config_default.unknown_wait_ms - 1000);
            ck_assert_int_eq(state(caller.id), RB_POST_UNKNOWN);
            ck_assert_uint_le(posts_at_relay(), posts + 1); /* the one that was on its way */
        }
        becomes(caller.id, RB_POST_ACCEPTED, 60 * 1000);
        ck_assert_uint_eq(stored("jobs"), 2);
        finish();
    }
}
END_TEST

START_TEST(a_post_answered_202_survives_kill_9)
{
    start();
    world->weather.down = true;
    struct caller caller;
    post_and_wait(&caller, "jobs", "{\"n\":1}", 10000);
    hear(&caller, 1000);
    ck_assert_int_eq(caller.state, RB_POST_QUEUED);
    restart();
    world->weather = fair;
    becomes(caller.id, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert(!view(caller.id).maybe_duplicate);
    finish();
}
END_TEST

/* As after a repair by hand. */
static void lose_topic(const char *name)
{
    struct rb_store *store = world->broker->ports.store;
    struct topic_loss {
        struct rb_store *store;
        sqlite3_stmt *lose;
    } * loss;
    const struct rb_statement statements[] = {{RB_ROWS_AT(&loss, lose), "DELETE FROM topic WHERE name = ?1"}};
    ck_assert_int_eq(RB_ROWS_NEW(store, statements, &loss, NULL), RB_OK);
    rb_bind_text(loss->lose, 1, rb_span_of(name));
    ck_assert_int_eq(rb_store_write(store, loss->lose), 1);
    world_end_tick(world);
    free(loss);
}

START_TEST(a_post_whose_topic_was_lost_does_not_keep_the_others_from_starting)
{
    start();
    world->weather.down = true;
    add("lost", "{\"n\":1}");
    int64_t other = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    lose_topic("lost");
    restart();
    world->weather = fair;
    becomes(other, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_uint_eq(stored("lost"), 0);
    finish();
}
END_TEST

START_TEST(after_a_stop_nothing_new_is_sent)
{
    start();
    warm("jobs");
    add("jobs", "{\"n\":0}");
    add("jobs", "{\"n\":1}");
    world_end_tick(world);
    world_stop(world);
    size_t there = stored("jobs");
    ck_assert_uint_le(there, 2);
    world_run(world, 60 * 1000);
    world_boot(world);
    account = rb_account_by_name(world->broker->accounts, RB_SPAN("main"));
    all_end(60 * 1000);
    in_order("jobs", 2);
    finish();
}
END_TEST

/* --- bounds and expiry --- */

START_TEST(a_full_outbox_refuses_by_rows_and_by_bytes)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.outbox_rows = 3;
    config.outbox_bytes = 1000;
    start_with(7, RB_FLAVOUR_MEMORY, &config, true);
    world->weather.down = true;
    struct rb_post post = message("jobs", "{}");
    int64_t id;
    bool repeated;
    for (int i = 0; i < 3; i++)
        add("jobs", "{}");
    ck_assert_int_eq(try_add(&post, &id, &repeated), RB_FULL);
    ck_assert_int_eq(rb_outbox_open_of(world->broker->outbox, rb_account_id(account)), 3);
    world_end_tick(world);
    world->weather = fair;
    all_end(60 * 1000);
    char *payload = filled(1000);
    post.payload = rb_span_of(payload);
    ck_assert_int_eq(try_add(&post, &id, &repeated), RB_FULL);
    free(payload);
    add("jobs", "{}");
    world_end_tick(world);
    all_end(60 * 1000);
    finish();
}
END_TEST

static struct rb_post message_of(int64_t uid, const char *topic)
{
    struct rb_post post = message(topic, "{}");
    post.uid = uid;
    return post;
}

START_TEST(D6_a_user_fills_his_part_of_the_outbox_and_others_post_on)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.outbox_rows = 10;
    config.user_percent = 50;
    start_with(7, RB_FLAVOUR_MEMORY, &config, true);
    world->weather.down = true;
    struct rb_post mine = message_of(1000, "jobs"), others = message_of(1001, "jobs");
    int64_t id;
    bool repeated;
    for (int i = 0; i < 5; i++)
        add_post(&mine);
    ck_assert_int_eq(try_add(&mine, &id, &repeated), RB_FULL);
    for (int i = 0; i < 5; i++)
        add_post(&others);
    world_end_tick(world);
    restart();
    mine.account = others.account = account;
    ck_assert_int_eq(try_add(&mine, &id, &repeated), RB_FULL);
    world->weather = fair;
    all_end(60 * 1000);
    add_post(&mine);
    world_end_tick(world);
    all_end(60 * 1000);
    finish();
}
END_TEST

/* It expires at once and gives its room back: nothing else bounds how many such rows a user leaves behind. */
static enum rb_status try_expiring(struct rb_post *post, int64_t *ret_id)
{
    bool repeated;
    post->expires_wall_ms = rb_clock_wall_ms(&world->host.clock) + 5;
    enum rb_status status = try_add(post, ret_id, &repeated);
    world_end_tick(world);
    return status;
}

START_TEST(D6_ended_posts_without_a_key_make_room_and_those_with_one_stay)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.keys = 20;
    config.user_percent = 50;
    start_with(7, RB_FLAVOUR_MEMORY, &config, true);
    world->weather.down = true;
    struct rb_post mine = message_of(1000, "jobs"), others = message_of(1001, "jobs");
    struct rb_post_view gone;
    int64_t keyed, first, id;
    bool repeated;
    mine.key = RB_SPAN("key");
    ck_assert_int_eq(try_expiring(&mine, &keyed), RB_OK);
    int64_t key_expires = mine.expires_wall_ms;
    mine.key = (struct rb_span){0};
    ck_assert_int_eq(try_expiring(&mine, &first), RB_OK);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(try_expiring(&mine, &id), RB_OK);
        world_run(world, 200);
    }
    ck_assert_int_eq(rb_outbox_view(world->broker->outbox, first, &gone), RB_NOT_FOUND);
    ck_assert_int_eq(state(id), RB_POST_EXPIRED);
    /* All at once: there is no time to make room, but soon there is some. */
    for (int i = 0; i < 10; i++)
        try_expiring(&mine, &id);
    ck_assert_int_eq(try_expiring(&mine, &id), RB_FULL);
    add_post(&others);
    world_end_tick(world);
    restart();
    mine.account = account;
    ck_assert_int_eq(try_expiring(&mine, &id), RB_FULL);
    world_run(world, 1000);
    ck_assert_int_eq(try_expiring(&mine, &id), RB_OK);
    mine.key = RB_SPAN("key");
    mine.expires_wall_ms = key_expires;
    ck_assert_int_eq(try_add(&mine, &id, &repeated), RB_OK);
    ck_assert(repeated && id == keyed);
    world->weather = fair;
    all_end(60 * 1000);
    finish();
}
END_TEST

static const char *const swept_payloads[] = {"[1]", "{}"};

/* One iteration of a loop that was busy for a moment: the relay's answer is read, then what is due fires, and the sweep
 * is, since what is remembered has nearly reached its bound. Then comes the commit. */
START_TEST(P3_a_post_that_ends_in_the_tick_of_a_sweep_is_told_as_what_it_is)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.keys = 10;
    config.user_percent = 100;
    int64_t takes_ms = 0;
    for (int round = 0; round < 2; round++) {
        start_with(7, RB_FLAVOUR_MEMORY, &config, true);
        warm("jobs");
        world->weather.down = true;
        struct rb_post post = message("jobs", "{}");
        for (int i = 0; i < 8; i++) {
            const char key[] = {(char)('a' + i), 0};
            int64_t id;
            post.key = rb_span_of(key);
            ck_assert_int_eq(try_expiring(&post, &id), RB_OK);
            world_run(world, 200);
        }
        world->weather = fair;
        world_run(world, 60 * 1000);
        struct caller caller;
        int64_t since = world->now_ms;
        post_and_wait(&caller, "jobs", swept_payloads[_i], 10000);
        if (!round) {
            hear(&caller, 10000);
            takes_ms = world->now_ms - since;
        } else {
            world_run(world, takes_ms - 1);
            world->now_ms += 60;
            rb_clock_run(&world->net.clock);
            rb_clock_run(&world->host.clock);
            ck_assert(!caller.heard);
            world_end_tick(world);
            ck_assert(caller.heard);
        }
        ck_assert_int_eq(caller.state, _i ? RB_POST_ACCEPTED : RB_POST_REFUSED);
        finish();
    }
}
END_TEST

START_TEST(T4_a_post_without_a_key_whose_commit_failed_does_not_count)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.keys = 3;
    config.user_percent = 100;
    start_with(7, RB_FLAVOUR_MEMORY, &config, true);
    world->weather.down = true;
    struct rb_post post = message("jobs", "{}");
    int64_t id;
    bool repeated;
    sim_vfs_set_full(world->vfs, true);
    for (int i = 0; i < 3; i++)
        add_post(&post);
    ck_assert_int_eq(try_add(&post, &id, &repeated), RB_FULL);
    world_end_tick(world);
    ck_assert_uint_eq(failed_commits(), 1);
    sim_vfs_set_full(world->vfs, false);
    for (int i = 0; i < 3; i++)
        add_post(&post);
    ck_assert_int_eq(try_add(&post, &id, &repeated), RB_FULL);
    world_end_tick(world);
    restart();
    post.account = account;
    ck_assert_int_eq(try_add(&post, &id, &repeated), RB_FULL);
    finish();
}
END_TEST

START_TEST(D6_a_user_has_his_part_of_the_keys_and_the_same_key_is_still_known)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.keys = 6;
    config.user_percent = 50;
    start_with(7, RB_FLAVOUR_MEMORY, &config, true);
    struct rb_post mine = message_of(1000, "jobs"), others = message_of(1001, "jobs");
    int64_t first, id;
    bool repeated;
    mine.key = others.key = RB_SPAN("one");
    first = add_post(&mine);
    mine.key = RB_SPAN("two");
    add_post(&mine);
    mine.key = RB_SPAN("");
    add_post(&mine);
    mine.key = RB_SPAN("three");
    ck_assert_int_eq(try_add(&mine, &id, &repeated), RB_FULL);
    mine.key = RB_SPAN("one");
    ck_assert_int_eq(try_add(&mine, &id, &repeated), RB_OK);
    ck_assert(repeated && id == first);
    add_post(&others);
    world_end_tick(world);
    all_end(60 * 1000);
    restart();
    mine.account = account;
    mine.key = RB_SPAN("three");
    ck_assert_int_eq(try_add(&mine, &id, &repeated), RB_FULL);
    world_run(world, 25 * 3600 * 1000);
    add_post(&mine);
    world_end_tick(world);
    all_end(60 * 1000);
    finish();
}
END_TEST

static const int sending_max[] = {1, 16};

/* The first minute's budget shows who was let through. */
START_TEST(D6_the_budget_goes_round_over_users_and_over_their_topics)
{
    struct rb_broker_config config = rb_broker_config_default;
    config.posts_per_minute = 12;
    config.sending_max = sending_max[_i];
    start_with(7, RB_FLAVOUR_MEMORY, &config, false);
    struct rb_post flood[] = {message_of(1000, "a"), message_of(1000, "b"), message_of(1000, "c")};
    struct rb_post quiet = message_of(1001, "q");
    world->weather.down = true;
    for (int i = 0; i < 10; i++)
        for (int k = 0; k < 3; k++)
            add_post(&flood[k]);
    for (int i = 0; i < 10; i++)
        add_post(&quiet);
    world_end_tick(world);
    world->weather = fair;
    world_run(world, 45 * 1000);
    ck_assert_uint_eq(stored("a") + stored("b") + stored("c") + stored("q"), 12);
    ck_assert(stored("q") >= 5 && stored("q") <= 7);
    ck_assert(stored("a") && stored("b") && stored("c"));
    all_end(10 * 60 * 1000);
    finish();
}
END_TEST

START_TEST(a_row_that_expires_is_not_sent_and_does_not_hold_up_the_next)
{
    start();
    world->weather.down = true;
    struct rb_post post = message("jobs", "{\"n\":7}");
    post.expires_wall_ms = rb_clock_wall_ms(&world->host.clock) + 30 * 1000;
    int64_t first = add_post(&post), next = add("jobs", "{\"n\":0}");
    world_end_tick(world);
    world_run(world, 29 * 1000);
    ck_assert_int_eq(state(first), RB_POST_QUEUED);
    becomes(first, RB_POST_EXPIRED, 3 * 1000);
    world->weather = fair;
    becomes(next, RB_POST_ACCEPTED, 60 * 1000);
    ck_assert_uint_eq(stored("jobs"), 1);
    ck_assert_uint_eq(stats().expired, 1);
    finish();
}
END_TEST

START_TEST(a_row_in_flight_does_not_expire)
{
    start();
    warm("jobs");
    world->weather.lose_answer = 1000;
    struct rb_post post = message("jobs", "{\"n\":1}");
    post.expires_wall_ms = rb_clock_wall_ms(&world->host.clock) + 1000;
    int64_t id = add_post(&post);
    world_end_tick(world);
    world_run(world, 5000);
    ck_assert_int_eq(state(id), RB_POST_UNKNOWN);
    world->weather = fair;
    becomes(id, RB_POST_ACCEPTED, 60 * 1000);
    finish();
}
END_TEST

START_TEST(an_invalid_topic_is_refused_here)
{
    start();
    struct rb_post post = message("a b", "{}");
    int64_t id;
    bool repeated;
    ck_assert_int_eq(try_add(&post, &id, &repeated), RB_INVALID);
    finish();
}
END_TEST

/* --- another account takes the name (R7) --- */

static void on_replaced(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *now)
{
    ck_assert_int_eq(status, RB_OK);
    *(bool *)arg = true;
    account = now;
}

/* An import, which asks the relay nothing for now. */
static void replace_account(void)
{
    bool replaced = false;
    struct rb_login login = {.name = "main",
                             .relay_url = world_url,
                             .refresh_token = RB_SPAN("of-another-user"),
                             .hold = true,
                             .replace = true};
    ck_assert(!rb_account_is_retired(account));
    const struct rb_account *old = account;
    ck_assert_int_eq(rb_account_login(world->broker->accounts, &login, on_replaced, &replaced, NULL), RB_OK);
    world_end_tick(world);
    ck_assert(replaced && rb_account_is_retired(old) && !rb_account_is_retired(account));
}

START_TEST(R7_the_posts_of_a_replaced_account_expire_a_few_at_a_time_and_leave_their_room)
{
    enum { ROWS = 1000, SLICE_MOST = 300 };
    struct rb_broker_config config = rb_broker_config_default;
    config.outbox_rows = ROWS;
    config.user_percent = 100;
    start_with(7, RB_FLAVOUR_MEMORY, &config, true);
    world->weather.down = true;
    int64_t id, first = add("jobs", "{}"), last = 0;
    bool repeated;
    for (int i = 1; i < ROWS; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "jobs%d", i % 20);
        last = add(topic, "{}");
    }
    struct rb_post post = message("jobs", "{}");
    ck_assert_int_eq(try_add(&post, &id, &repeated), RB_FULL);
    world_end_tick(world);
    world_run(world, 5000);
    replace_account();
    int64_t until = world->now_ms + 10 * 1000;
    while (world->now_ms < until) {
        uint64_t before = stats().expired;
        world_step(world, until);
        ck_assert_uint_le(stats().expired - before, SLICE_MOST);
    }
    ck_assert_uint_eq(stats().expired, ROWS);
    all_end(0);
    ck_assert_int_eq(state(first), RB_POST_EXPIRED);
    ck_assert_int_eq(state(last), RB_POST_EXPIRED);
    ck_assert(!view(first).maybe_duplicate);
    add("jobs", "{}");
    world_end_tick(world);
    restart();
    ck_assert_int_eq(rb_outbox_open_of(world->broker->outbox, rb_account_id(account)), 1);
    ck_assert_int_eq(stats().queued, 1);
    finish();
}
END_TEST

START_TEST(R7_a_start_goes_on_with_the_posts_of_a_replaced_account)
{
    start();
    world->weather.down = true;
    int64_t ids[600];
    for (int i = 0; i < 600; i++)
        ids[i] = add("jobs", "{}");
    world_end_tick(world);
    replace_account();
    restart();
    ck_assert_int_eq(stats().queued, 600);
    world_run(world, 10);
    ck_assert_int_gt(stats().queued, 0);
    restart();
    all_end(10 * 1000);
    for (int i = 0; i < 600; i++)
        ck_assert_int_eq(state(ids[i]), RB_POST_EXPIRED);
    finish();
}
END_TEST

/* What becomes of the attempt that is under way, and then of its row. */
static const struct replaced_in_flight {
    struct weather weather;
    enum rb_post_state state;
    bool maybe_duplicate;
} replaced_in_flight[] = {
    {{.latency_max_ms = 20}, RB_POST_ACCEPTED, false},
    {{.limited = 1000, .latency_max_ms = 20}, RB_POST_EXPIRED, false},
    {{.refuse = 1000, .latency_max_ms = 20}, RB_POST_EXPIRED, false},
    {{.lose_answer = 1000, .latency_max_ms = 20}, RB_POST_EXPIRED, true},
};

START_TEST(R7_the_post_in_flight_of_a_replaced_account_ends_by_its_own_result)
{
    const struct replaced_in_flight *expected = &replaced_in_flight[_i];
    start();
    warm("jobs");
    world->weather = expected->weather;
    struct caller caller;
    post_and_wait(&caller, "jobs", "{\"n\":1}", 60 * 1000);
    int64_t next = add("jobs", "{\"n\":2}");
    world_end_tick(world);
    ck_assert_int_eq(state(caller.id), RB_POST_SENDING);
    replace_account();
    hear(&caller, 30 * 1000);
    ck_assert_int_eq(caller.state, expected->state);
    ck_assert_int_eq(view(caller.id).maybe_duplicate, expected->maybe_duplicate);
    ck_assert_int_eq(view(caller.id).attempts, 1);
    world->weather = fair;
    all_end(10 * 1000);
    ck_assert_int_eq(state(next), RB_POST_EXPIRED);
    ck_assert_int_eq(view(next).attempts, 0);
    ck_assert_uint_le(stored("jobs"), 2);
    finish();
}
END_TEST

START_TEST(R7_a_post_in_flight_at_a_crash_of_a_replaced_account_expires_as_a_possible_duplicate)
{
    start();
    warm("jobs");
    world->weather.lose_answer = 1000;
    int64_t id = add("jobs", "{\"n\":1}");
    world_end_tick(world);
    ck_assert_int_eq(state(id), RB_POST_SENDING);
    replace_account();
    restart();
    becomes(id, RB_POST_EXPIRED, 10 * 1000);
    ck_assert(view(id).maybe_duplicate);
    ck_assert_int_eq(stats().open_bytes, 0);
    finish();
}
END_TEST

START_TEST(R7_who_waits_for_a_post_of_a_replaced_account_hears_that_it_expired)
{
    start();
    warm("jobs");
    struct caller caller;
    /* Its topic is new: what is there is asked for first. */
    post_and_wait(&caller, "new", "{}", 60 * 1000);
    ck_assert_int_eq(state(caller.id), RB_POST_QUEUED);
    replace_account();
    hear(&caller, 10 * 1000);
    ck_assert_int_eq(caller.state, RB_POST_EXPIRED);
    ck_assert_uint_eq(stored("new"), 0);
    finish();
}
END_TEST

START_TEST(T4_the_posts_of_a_replaced_account_expire_once_the_disk_has_room)
{
    start();
    world->weather.down = true;
    for (int i = 0; i < 600; i++)
        add("jobs", "{}");
    world_end_tick(world);
    replace_account();
    sim_vfs_set_full(world->vfs, true);
    uint64_t before = failed_commits();
    world_run(world, 60 * 1000);
    ck_assert_uint_lt(failed_commits() - before, 600);
    ck_assert_int_eq(stats().queued, 600);
    sim_vfs_set_full(world->vfs, false);
    all_end(60 * 1000);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("outbox");
    TCase *tests = tcase_create("outbox");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_post_is_accepted_and_its_caller_hears_the_relays_id);
    tcase_add_test(tests, one_commit_comes_before_the_sending);
    tcase_add_test(tests, payload_and_metadata_arrive_byte_for_byte);
    tcase_add_test(tests, O1_a_post_that_never_connected_is_sent_later_and_is_no_duplicate);
    tcase_add_test(tests, O1_while_the_relay_is_down_one_work_at_a_time_probes_it);
    tcase_add_loop_test(tests, posts_that_are_cut_off_together_are_one_failure_and_one_short_rest, 0, 8);
    tcase_add_test(tests, O1_a_429_is_waited_out_and_the_limit_is_learned);
    tcase_add_test(tests, O1_what_the_relay_refuses_is_refused_in_its_words_and_the_rest_goes);
    tcase_add_test(tests, O1_a_foreign_servers_page_and_a_500_are_unknown_ends);
    tcase_add_test(tests, O1_a_refused_token_is_renewed_and_the_post_goes_out);
    tcase_add_test(tests, O2_a_lost_answer_is_found_at_the_topic);
    tcase_add_test(tests, O2_a_lost_request_is_sent_again_after_a_look_and_marked);
    tcase_add_test(tests, O2_equal_messages_of_others_are_not_taken_for_ours);
    tcase_add_test(tests, O2_a_caller_with_a_stamp_of_its_own_keeps_it);
    tcase_add_test(tests, O2_a_body_without_room_for_the_stamp_goes_without_and_a_larger_one_not_at_all);
    tcase_add_test(tests, O3_a_look_up_reads_on_over_many_pages_from_the_id_known_before);
    tcase_add_test(tests, O3_the_newest_id_of_a_topic_new_to_us_is_asked_for_once);
    tcase_add_test(tests, O3_a_topic_whose_newest_message_cannot_be_read_is_posted_to_all_the_same);
    tcase_add_test(tests, O3_without_a_known_id_the_look_up_reads_from_the_newest_back);
    tcase_add_test(tests, O3_a_look_up_that_fails_for_a_minute_ends_as_not_found);
    tcase_add_test(tests, O3_a_look_up_waits_for_a_relay_that_cannot_be_reached_and_sends_no_second_copy);
    tcase_add_test(tests, O3_a_look_up_waits_out_some_minutes_without_any_answer_and_sends_no_second_copy);
    tcase_add_test(tests, O3_a_look_up_whose_answers_are_lost_for_ever_ends_as_not_found);
    tcase_add_test(tests, O5_the_same_key_again_gives_the_first_row_and_another_body_is_refused);
    tcase_add_test(tests, O5_a_key_lives_a_day_from_its_rows_end_and_then_the_row_is_forgotten);
    tcase_add_test(tests, O6_posts_arrive_in_order_through_bad_weather);
    tcase_add_test(tests, O7_the_first_post_to_a_new_topic_goes_alone);
    tcase_add_test(tests, a_burst_of_600_posts_arrives_whole_and_in_order);
    tcase_add_test(tests, a_topic_with_one_post_does_not_stand_behind_anothers_burst);
    tcase_add_test(tests, O9_an_answer_in_the_same_tick_as_the_timeout_wins);
    tcase_add_test(tests, a_wait_that_is_over_leaves_the_row_to_be_sent);
    tcase_add_test(tests, who_stands_behind_another_post_hears_at_once);
    tcase_add_test(tests, with_the_budget_spent_the_caller_hears_at_once);
    tcase_add_test(tests, without_a_login_the_caller_hears_at_once_and_a_login_sends_the_row);
    tcase_add_test(tests, a_cancelled_wait_hears_nothing);
    tcase_add_test(tests, O10_an_outbox_id_is_printed_and_read_back);
    tcase_add_test(tests, T4_the_result_of_a_post_is_kept_over_a_failed_commit);
    tcase_add_test(tests, T4_an_unknown_end_is_kept_over_a_failed_commit);
    tcase_add_test(tests, T4_what_a_look_up_found_after_a_crash_is_kept_over_a_failed_commit);
    tcase_add_test(tests, T4_a_post_whose_commit_failed_was_never_there);
    tcase_add_test(tests, T4_nothing_spins_while_the_disk_is_full);
    tcase_add_test(tests, T5_a_post_in_flight_at_a_crash_is_looked_for_before_it_is_sent_again);
    tcase_add_test(tests, a_post_answered_202_survives_kill_9);
    tcase_add_test(tests, a_post_whose_topic_was_lost_does_not_keep_the_others_from_starting);
    tcase_add_test(tests, after_a_stop_nothing_new_is_sent);
    tcase_add_test(tests, a_full_outbox_refuses_by_rows_and_by_bytes);
    tcase_add_test(tests, D6_a_user_fills_his_part_of_the_outbox_and_others_post_on);
    tcase_add_test(tests, D6_ended_posts_without_a_key_make_room_and_those_with_one_stay);
    tcase_add_loop_test(tests, P3_a_post_that_ends_in_the_tick_of_a_sweep_is_told_as_what_it_is, 0, 2);
    tcase_add_test(tests, T4_a_post_without_a_key_whose_commit_failed_does_not_count);
    tcase_add_test(tests, D6_a_user_has_his_part_of_the_keys_and_the_same_key_is_still_known);
    tcase_add_loop_test(tests, D6_the_budget_goes_round_over_users_and_over_their_topics, 0, 2);
    tcase_add_test(tests, a_row_that_expires_is_not_sent_and_does_not_hold_up_the_next);
    tcase_add_test(tests, a_row_in_flight_does_not_expire);
    tcase_add_test(tests, an_invalid_topic_is_refused_here);
    tcase_add_test(tests, R7_the_posts_of_a_replaced_account_expire_a_few_at_a_time_and_leave_their_room);
    tcase_add_test(tests, R7_a_start_goes_on_with_the_posts_of_a_replaced_account);
    tcase_add_loop_test(tests, R7_the_post_in_flight_of_a_replaced_account_ends_by_its_own_result, 0, 4);
    tcase_add_test(tests, R7_a_post_in_flight_at_a_crash_of_a_replaced_account_expires_as_a_possible_duplicate);
    tcase_add_test(tests, R7_who_waits_for_a_post_of_a_replaced_account_hears_that_it_expired);
    tcase_add_test(tests, T4_the_posts_of_a_replaced_account_expire_once_the_disk_has_room);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
