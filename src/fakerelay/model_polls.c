#include "model_private.h"

enum { CATCH_UP_MAX = 100, POLL_TOPICS_MAX = 20 };

/* --- waiters --- */

static void poll_free(struct rb_model_poll *poll)
{
    struct rb_model *model = poll->model;
    rb_timer_stop(model->clock, &poll->timer);
    rb_list_remove(&poll->link);
    model->waiting--;
    struct user *user = user_by_id(model, rb_span_of(poll->user_id));
    if (user && user->waiting > 0)
        user->waiting--;
    for (size_t i = 0; i < poll->topics.count; i++)
        free(poll->topics.keys[i]);
    rb_str_free(&poll->items);
    free(poll);
}

/* Answers with what was gathered; the poll is gone. */
static void poll_end(struct rb_model_poll *poll)
{
    void (*ready)(void *arg, struct rb_model_answer *answer) = poll->ready;
    void *arg = poll->arg;
    struct rb_model_answer answer = {0};
    if (poll->poisoned) {
        fill_internal(&answer);
    } else {
        struct rb_str body = RB_STR_INIT;
        rb_str_add(&body, "{\"messages\":[");
        rb_str_add_span(&body, rb_str_span(&poll->items));
        rb_str_add(&body, "],\"has_more\":false}");
        body.failed = body.failed || poll->items.failed;
        fill_json(&answer, 200, &body);
    }
    poll_free(poll);
    if (ready)
        ready(arg, &answer);
    else
        rb_str_free(&answer.body);
}

static void poll_timed_out(struct rb_timer *timer)
{
    poll_end(RB_CONTAINER(timer, struct rb_model_poll, timer));
}

void rb_model_poll_forget(struct rb_model *model, struct rb_model_poll *poll)
{
    poll->ready = NULL;
}

size_t rb_model_waiting_polls(const struct rb_model *model)
{
    return model->waiting;
}

/* --- messages on their way --- */

/* A message as waiters see it. */
struct delivery {
    struct rb_list link; /* model.late, when it is late */
    struct rb_timer timer;
    struct rb_model *model;
    char *key;
    struct rb_str item;
    bool poisoned;
    int64_t published_ms;
};

static void delivery_free(struct delivery *delivery)
{
    rb_list_remove(&delivery->link);
    rb_timer_stop(delivery->model->clock, &delivery->timer);
    free(delivery->key);
    rb_str_free(&delivery->item);
    free(delivery);
}

static bool hears(const struct rb_model_poll *poll, const char *key)
{
    for (size_t i = 0; i < poll->topics.count; i++)
        if (strcmp(poll->topics.keys[i], key) == 0)
            return true;
    return false;
}

static void deliver(const struct delivery *delivery)
{
    struct rb_model *model = delivery->model;
    RB_LIST_EACH (&model->polls, node) {
        struct rb_model_poll *poll = RB_CONTAINER(node, struct rb_model_poll, link);
        if (!hears(poll, delivery->key) || (model->gap && poll->began_ms == delivery->published_ms))
            continue;
        if (poll->items.len)
            rb_str_add(&poll->items, ",");
        rb_str_add_span(&poll->items, rb_str_span(&delivery->item));
        poll->items.failed = poll->items.failed || delivery->item.failed;
        poll->poisoned = poll->poisoned || delivery->poisoned;
    }
}

static void delivery_due(struct rb_timer *timer)
{
    struct delivery *delivery = RB_CONTAINER(timer, struct delivery, timer);
    struct rb_model *model = delivery->model;
    deliver(delivery);
    delivery_free(delivery);
    polls_answer(model);
}

static void print_heard(struct rb_str *out, const struct topic *topic, const struct message *message)
{
    char time[TIME_MAX];
    time_text(message->wall_ms, true, time);
    rb_str_addf(out, "{\"type\":\"message\",\"message_id\":\"%s\",\"topic\":", message->id);
    quote(out, topic->name);
    rb_str_add(out, ",\"payload\":");
    rb_str_append(out, message->payload, message->payload_len);
    rb_str_addf(out, ",\"timestamp\":\"%s\",\"metadata\":", time);
    rb_str_add_span(out,
                    message->metadata ? (struct rb_span){message->metadata, message->metadata_len} : RB_SPAN("null"));
    rb_str_add(out, "}");
}

void polls_publish(struct rb_model *model, const struct topic *topic, const struct message *message)
{
    struct delivery *delivery =
        rb_list_empty(&model->polls) && model->shuffle_ms == 0 ? NULL : calloc(1, sizeof *delivery);
    if (!delivery)
        return;
    *delivery = (struct delivery){.timer = RB_TIMER_INIT(delivery_due), .model = model};
    rb_list_init(&delivery->link);
    delivery->key = rb_span_dup(rb_span_of(topic->key));
    delivery->published_ms = rb_clock_now_ms(model->clock);
    /* What waiters are sent was printed once before, when the post was answered: bad keys have become replacement
     * characters by then. */
    delivery->poisoned = message->unreadable_value || message->levels >= READ_LEVELS;
    print_heard(&delivery->item, topic, message);
    if (!delivery->key) {
        delivery_free(delivery);
        return;
    }
    if (model->shuffle_ms == 0) {
        deliver(delivery);
        delivery_free(delivery);
        return;
    }
    rb_list_push(&model->late, &delivery->link);
    rb_timer_set_in(model->clock, &delivery->timer, rb_random_between(model->random, 0, model->shuffle_ms));
}

void polls_answer(struct rb_model *model)
{
    /* An answer may start a new request, which may end other polls: look again from the start after each. */
    for (struct rb_list *node = model->polls.next; node != &model->polls;) {
        struct rb_model_poll *poll = RB_CONTAINER(node, struct rb_model_poll, link);
        node = node->next;
        if (poll->items.len == 0 && !poll->items.failed)
            continue;
        poll_end(poll);
        node = model->polls.next;
    }
}

void polls_end(struct rb_model *model, bool tell)
{
    RB_LIST_EACH_SAFE (&model->late, node)
        delivery_free(RB_CONTAINER(node, struct delivery, link));
    struct rb_list ending = RB_LIST_INIT(ending);
    rb_list_append_all(&ending, &model->polls);
    for (struct rb_list *node = rb_list_pop(&ending); node; node = rb_list_pop(&ending)) {
        struct rb_model_poll *poll = RB_CONTAINER(node, struct rb_model_poll, link);
        void (*ready)(void *arg, struct rb_model_answer *answer) = tell ? poll->ready : NULL;
        void *arg = poll->arg;
        poll_free(poll);
        struct rb_model_answer answer = {.close = true};
        if (ready)
            ready(arg, &answer);
    }
}

/* --- the request --- */

struct ask {
    struct rb_str topics[POLL_TOPICS_MAX];
    size_t count;
    struct rb_json_value since; /* an object, or kind null */
    int64_t timeout_s;
};

static void read_topics(struct problems *problems, struct rb_json_value object, struct ask *ask)
{
    struct rb_json_value list, item;
    if (field_list(problems, object, "[\"body\"", "topics", POLL_TOPICS_MAX, &list) == 0)
        return;
    char where[48];
    struct rb_json_walk walk = rb_json_walk(list);
    while (ask->count < POLL_TOPICS_MAX && rb_json_next(&walk, NULL, &item)) {
        snprintf(where, sizeof where, "[\"body\",\"topics\",%zu]", ask->count);
        struct rb_str *topic = &ask->topics[ask->count++];
        if (item.kind == RB_JSON_STRING)
            check_topic(problems, item, where, topic);
        else
            problem_add(problems, "string_type", where, "Input should be a valid string", &item, NULL);
    }
}

static void print_caught(struct rb_str *out, const struct rb_model *model, const struct topic *topic,
                         const struct message *message)
{
    char time[TIME_MAX];
    time_text(message->wall_ms, false, time);
    rb_str_add(out, "{\"topic\":");
    quote(out, topic->name);
    rb_str_addf(out, ",\"message_id\":\"%s\",\"payload\":", message->id);
    rb_str_append(out, message->payload, message->payload_len);
    rb_str_addf(out, ",\"timestamp\":\"%s\",\"metadata\":", time);
    rb_str_add_span(out,
                    message->metadata ? (struct rb_span){message->metadata, message->metadata_len} : RB_SPAN("{}"));
    rb_str_add(out, ",\"stream_id\":");
    quote(out, model->config.flavour == RB_FLAVOUR_VALKEY ? message->id : NULL);
    rb_str_add(out, "}");
}

/* What follows since[topic], up to 100 messages; false: the read fails. */
static bool catch_up_topic(struct call *call, const struct ask *ask, struct rb_span name, struct rb_str *out,
                           size_t *count)
{
    RB_CLEANUP_FREE char *field = rb_span_dup(name);
    RB_CLEANUP_STR struct rb_str cursor = RB_STR_INIT;
    struct rb_json_value since;
    if (!field)
        return false;
    if (rb_json_member(ask->since, field, &since) && rb_json_string(since, &cursor) != RB_OK)
        return false;
    const struct topic *topic = topic_find(call->model, call->user, name);
    size_t at = 0;
    if (!stream_seek(call->model, topic, rb_str_span(&cursor), true, &at))
        return false;
    for (size_t taken = 0; topic && taken < CATCH_UP_MAX && at < topic->count; taken++, at++) {
        const struct message *message = stream_at(topic, at);
        if (message->unreadable_value || message->unreadable_key || message->levels >= READ_LEVELS)
            return false;
        if ((*count)++)
            rb_str_add(out, ",");
        print_caught(out, call->model, topic, message);
    }
    return true;
}

/* True when the request has been answered. */
static bool catch_up(struct call *call, const struct ask *ask)
{
    struct rb_json_walk walk = rb_json_walk(ask->since);
    if (ask->since.kind != RB_JSON_OBJECT || !rb_json_next(&walk, NULL, NULL))
        return false;
    struct rb_str body = RB_STR_INIT;
    size_t count = 0;
    rb_str_add(&body, "{\"messages\":[");
    for (size_t i = 0; i < ask->count; i++) {
        if (!catch_up_topic(call, ask, rb_str_span(&ask->topics[i]), &body, &count)) {
            rb_str_free(&body);
            answer_internal(call);
            return true;
        }
    }
    if (count == 0) {
        rb_str_free(&body);
        return false;
    }
    rb_str_addf(&body, "],\"has_more\":%s}", count >= CATCH_UP_MAX ? "true" : "false");
    answer_json(call, 200, &body);
    return true;
}

static void add_key(struct rb_model_poll *poll, const struct user *user, struct rb_span topic, bool *good)
{
    struct rb_str key = RB_STR_INIT;
    rb_str_addf(&key, "%s/", user->id);
    rb_str_add_span(&key, topic);
    char *text = rb_str_steal(&key);
    *good = *good && text;
    if (text)
        poll->topics.keys[poll->topics.count++] = text;
}

static void wait(struct call *call, const struct ask *ask)
{
    struct rb_model *model = call->model;
    if (call->user->waiting >= WAITING_MAX) {
        answer_detail(call, 429, "Too many concurrent poll connections");
        return;
    }
    struct rb_model_poll *poll = calloc(1, sizeof *poll);
    if (!poll) {
        answer_internal(call);
        return;
    }
    *poll = (struct rb_model_poll){.model = model, .timer = RB_TIMER_INIT(poll_timed_out)};
    snprintf(poll->user_id, sizeof poll->user_id, "%s", call->user->id);
    poll->ready = call->ready;
    poll->arg = call->arg;
    poll->began_ms = rb_clock_now_ms(model->clock);
    rb_list_init(&poll->link);
    rb_list_push(&model->polls, &poll->link);
    model->waiting++;
    call->user->waiting++;
    bool good = true;
    for (size_t i = 0; i < ask->count; i++)
        add_key(poll, call->user, rb_str_span(&ask->topics[i]), &good);
    if (!good) {
        poll_free(poll);
        answer_internal(call);
        return;
    }
    rb_timer_set_in(model->clock, &poll->timer, ask->timeout_s * 1000);
    call->poll = poll;
}

void handle_poll(struct call *call)
{
    struct problems problems = {0};
    struct ask ask = {.timeout_s = 30};
    read_topics(&problems, call->body, &ask);
    field_strings(&problems, call->body, "[\"body\"", "since", &ask.since);
    field_integer(&problems, call->body, "timeout", "[\"body\"", false, 1, false, 60, &ask.timeout_s);
    if (!problems_answer(call, &problems)) {
        call->model->counts.polls++;
        if (!catch_up(call, &ask))
            wait(call, &ask);
    }
    for (size_t i = 0; i < POLL_TOPICS_MAX; i++)
        rb_str_free(&ask.topics[i]);
}

void handle_poll_stats(struct call *call)
{
    struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"active_waiters\":%zu}", call->model->waiting);
    answer_json(call, 200, &body);
}
