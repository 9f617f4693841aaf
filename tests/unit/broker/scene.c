#include "scene.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json_span.h"

static const char user[] = "galaxy";

static struct rb_model_answer ask(struct scene *scene, const char *method, const char *path, const char *type,
                                  const char *body, const char *bearer)
{
    struct rb_model_request request = {
        .method = method,
        .path = path,
        .content_type = rb_span_of(type),
        .bearer = rb_span_of(bearer),
        .body = rb_span_of(body),
        .address = "10.0.0.9",
    };
    struct rb_model_answer answer = {0};
    ck_assert(rb_model_request(scene->world->model, &request, &answer, NULL, NULL, NULL));
    return answer;
}

static void member(struct rb_span json, const char *name, char *ret, size_t room)
{
    struct rb_json_value object, value;
    ck_assert_int_eq(rb_json_check(json, 300, &object, NULL), RB_JSON_FINE);
    ck_assert(rb_json_member(object, name, &value));
    struct rb_str text = RB_STR_INIT;
    ck_assert_int_eq(rb_json_string(value, &text), RB_OK);
    snprintf(ret, room, "%.*s", (int)text.len, text.at);
    rb_str_free(&text);
}

void scene_login_again(struct scene *scene)
{
    ck_assert_int_eq(rb_model_user(scene->world->model, user, "correct horse", ""), RB_OK);
    struct rb_model_answer answer = ask(scene, "POST", "/auth/login", "application/x-www-form-urlencoded",
                                        "grant_type=password&username=galaxy&password=correct+horse", NULL);
    ck_assert_int_eq(answer.status, 200);
    member(rb_str_span(&answer.body), "access_token", scene->bearer, sizeof scene->bearer);
    rb_str_free(&answer.body);
}

struct world_config scene_config(enum rb_flavour flavour)
{
    struct world_config config = world_config_default(7);
    config.flavour = flavour;
    config.rate_limits = false;
    config.access_token_s = 7200;
    if (getenv("SCENE_TRACE"))
        config.trace = stderr;
    return config;
}

void scene_open(struct scene *scene, const struct world_config *config)
{
    *scene = (struct scene){.world = world_new(config)};
    world_boot(scene->world);
    struct rb_account *account = world_login(scene->world, "main", user, true);
    ck_assert_ptr_nonnull(account);
    scene->account = rb_account_id(account);
    scene_login_again(scene);
}

void scene_open_flavour(struct scene *scene, enum rb_flavour flavour)
{
    struct world_config config = scene_config(flavour);
    scene_open(scene, &config);
}

void scene_close(struct scene *scene)
{
    ck_assert_msg(!scene->world->fault.set, "%s", scene->world->fault.text);
    world_free(scene->world);
}

struct rb_account *scene_account(struct scene *scene)
{
    return rb_account_by_id(scene->world->broker->accounts, scene->account);
}

struct rb_topic *scene_topic(struct scene *scene, const char *name)
{
    struct rb_topic *topic;
    struct rb_error err;
    ck_assert_int_eq(rb_topic_get(scene->world->broker->topics, scene->account, rb_span_of(name), 1000, &topic, &err),
                     RB_OK);
    return topic;
}

void scene_reboot(struct scene *scene)
{
    world_crash(scene->world);
    world_boot(scene->world);
    ck_assert(scene->world->up);
}

struct condition {
    struct scene *scene;
    const char *topic;
    int64_t head;
};

static bool anchored(struct world *world, void *arg)
{
    struct condition *condition = arg;
    return rb_inbox_anchored(world->broker->inbox, scene_topic(condition->scene, condition->topic));
}

static bool head_reached(struct world *world, void *arg)
{
    struct condition *condition = arg;
    return world->up && scene_topic(condition->scene, condition->topic)->head >= condition->head;
}

void scene_follow(struct scene *scene, const char *topic, bool earliest)
{
    rb_inbox_want(scene->world->broker->inbox, scene_topic(scene, topic), earliest);
    world_end_tick(scene->world);
    struct condition condition = {scene, topic, 0};
    ck_assert(world_run_until(scene->world, anchored, &condition, 60 * 1000));
    world_run(scene->world, 500);
}

bool scene_head_is(struct scene *scene, const char *topic, int64_t head, int64_t max_ms)
{
    struct condition condition = {scene, topic, head};
    return world_run_until(scene->world, head_reached, &condition, max_ms) && scene_topic(scene, topic)->head == head;
}

void scene_publish_text(struct scene *scene, const char *topic, const char *payload, const char *metadata,
                        char ret_id[SCENE_ID_MAX])
{
    struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"topic\":\"%s\",\"payload\":%s%s%s}", topic, payload, metadata ? ",\"metadata\":" : "",
                metadata ? metadata : "");
    struct rb_model_answer answer = ask(scene, "POST", "/api/v1/messages", "application/json", body.at, scene->bearer);
    ck_assert_int_eq(answer.status, 201);
    char id[SCENE_ID_MAX];
    member(rb_str_span(&answer.body), "message_id", id, sizeof id);
    if (ret_id)
        memcpy(ret_id, id, sizeof id);
    rb_str_free(&answer.body);
    rb_str_free(&body);
}

void scene_publish(struct scene *scene, const char *topic, int number, const char *metadata, char ret_id[SCENE_ID_MAX])
{
    char payload[32];
    snprintf(payload, sizeof payload, "{\"n\":%d}", number);
    scene_publish_text(scene, topic, payload, metadata, ret_id);
}

void scene_delete_topic(struct scene *scene, const char *topic)
{
    char path[300];
    snprintf(path, sizeof path, "/api/v1/topics/%s", topic);
    struct rb_model_answer answer = ask(scene, "DELETE", path, NULL, NULL, scene->bearer);
    ck_assert_int_eq(answer.status, 204);
    rb_str_free(&answer.body);
}

static int number_of(struct rb_span payload)
{
    struct rb_json_value object, value;
    int64_t number;
    if (rb_json_check(payload, 300, &object, NULL) != RB_JSON_FINE || !rb_json_member(object, "n", &value) ||
        rb_json_integer(value, 0, INT32_MAX, &number) != RB_OK)
        return -1;
    return (int)number;
}

struct collected {
    int *numbers;
    size_t count;
};

static bool collect(void *arg, const struct rb_inbox_message *message)
{
    struct collected *collected = arg;
    ck_assert_uint_lt(collected->count, SCENE_NUMBERS_MAX);
    collected->numbers[collected->count++] = number_of(message->payload);
    return true;
}

size_t scene_stored(struct scene *scene, const char *topic, int *numbers)
{
    struct collected collected = {numbers, 0};
    rb_inbox_read(scene->world->broker->inbox, scene_topic(scene, topic), 0, collect, &collected);
    return collected.count;
}

int64_t scene_gaps(struct scene *scene)
{
    struct rb_inbox_stats stats;
    rb_inbox_stats(scene->world->broker->inbox, &stats);
    return stats.gaps;
}

/* --- readers --- */

struct rb_session *scene_session(struct scene *scene)
{
    struct rb_session *session;
    struct rb_error err;
    ck_assert_int_eq(rb_session_open(scene->world->broker->sessions, scene_account(scene), "door", 1000,
                                     rb_span_of(user), &session, &err),
                     RB_OK);
    world_end_tick(scene->world);
    return session;
}

static void answered(struct rb_poll *poll, enum rb_status status, const struct rb_error *err,
                     const struct rb_poll_item *items, size_t count, bool has_more)
{
    struct reader *reader = poll->arg;
    ck_assert(!reader->ended);
    ck_assert(reader->started);
    reader->ended = true;
    reader->status = status;
    reader->has_more = has_more;
    reader->count = count;
    if (err)
        snprintf(reader->error, sizeof reader->error, "%s", err->text);
    for (size_t i = 0; i < count; i++) {
        reader->numbers[i] = number_of(items[i].payload);
        snprintf(reader->ids[i], SCENE_ID_MAX, "%.*s", (int)items[i].message_id.len, items[i].message_id.at);
        snprintf(reader->topic, sizeof reader->topic, "%.*s", (int)items[i].topic.len, items[i].topic.at);
        snprintf(reader->metadata, sizeof reader->metadata, "%.*s", (int)items[i].metadata.len,
                 items[i].metadata.len ? items[i].metadata.at : "");
        reader->from_catch_up = items[i].from_catch_up;
    }
}

void reader_topic(struct reader *reader, const char *topic, const char *since)
{
    reader->topics[reader->poll.topic_count++] =
        (struct rb_poll_topic){.name = rb_span_of(topic), .has_since = since, .since = rb_span_of(since)};
}

void reader_start(struct reader *reader, struct scene *scene, struct rb_session *session, uint64_t connection,
                  int64_t timeout_ms)
{
    reader->scene = scene;
    reader->poll.session = session;
    reader->poll.account = scene_account(scene);
    reader->poll.topics = reader->topics;
    reader->poll.timeout_ms = timeout_ms;
    reader->poll.connection = connection;
    if (!reader->poll.max_bytes)
        reader->poll.max_bytes = 1024 * 1024;
    reader->poll.done = answered;
    reader->poll.arg = reader;
    struct rb_error err = {0};
    enum rb_status status = rb_poll_start(scene->world->broker->sessions, &reader->poll, &err);
    ck_assert_msg(status == RB_OK, "%s", err.text);
    reader->started = true;
    world_end_tick(scene->world);
}

void reader_poll(struct reader *reader, struct scene *scene, struct rb_session *session, uint64_t connection,
                 const char *topic, const char *since, int64_t timeout_ms)
{
    memset(reader, 0, sizeof *reader);
    reader_topic(reader, topic, since);
    reader_start(reader, scene, session, connection, timeout_ms);
}

static bool ended(struct world *world, void *arg)
{
    return ((struct reader *)arg)->ended;
}

void reader_wait(struct reader *reader, int64_t max_ms)
{
    ck_assert_msg(world_run_until(reader->scene->world, ended, reader, max_ms), "the poll was not answered");
}
