/* Simulated network: carries exchanges to the model relay through the world's weather, and watches P1: no refresh token
 * and no post is ever sent while an earlier sending of it may still arrive. */
#include <stdlib.h>
#include <string.h>

#include "json_span.h"
#include "world.h"

/* What the network does with one request. */
enum fate {
    FATE_PASS,
    FATE_REFUSED,
    FATE_REQUEST_LOST,
    FATE_ANSWER_LOST,
    FATE_LATE,
    FATE_TWICE,
    FATE_HTML,
    FATE_ERROR_BEFORE,
    FATE_ERROR_AFTER,
    FATE_LIMITED
};
static const char *const fate_name[] = {
    "passes",      "refused",    "request lost", "answer lost", "arrives late", "repeated on the way",
    "502 in HTML", "500 before", "500 after",    "429"};

enum stage { STAGE_GOING, STAGE_AT_RELAY, STAGE_COMING, STAGE_CUT };

/* One sending of a refresh token or of a stamped post. */
struct sending {
    struct rb_list node;
    struct rb_str what;
    struct rb_str path; /* of the look that has to come before it is sent again */
    bool in_flight, unknown, looked;
    int64_t ended_ms;
};

struct flight {
    struct rb_list node;
    struct world *world;
    struct rb_exchange *exchange; /* NULL: nobody waits for its end any more */
    struct rb_timer timer, deadline;
    enum fate fate;
    enum stage stage;
    bool executed;
    char method[8];
    struct rb_str path, content_type, body, bearer, key;
    struct rb_model_poll *poll;
    struct rb_model_answer answer;
    struct sending *sending;
    bool is_refresh, is_post;
};

static void *must(void *pointer)
{
    if (!pointer)
        abort();
    return pointer;
}

static struct sending *sending_find(struct rb_list *list, struct rb_span what)
{
    RB_LIST_EACH (list, node) {
        struct sending *sending = RB_CONTAINER(node, struct sending, node);
        if (rb_span_equal(rb_str_span(&sending->what), what))
            return sending;
    }
    struct sending *sending = must(calloc(1, sizeof *sending));
    rb_str_add_span(&sending->what, what);
    rb_list_push(list, &sending->node);
    return sending;
}

static void sending_list_free(struct rb_list *list)
{
    for (struct rb_list *node; (node = rb_list_pop(list));) {
        struct sending *sending = RB_CONTAINER(node, struct sending, node);
        rb_str_free(&sending->what);
        rb_str_free(&sending->path);
        free(sending);
    }
}

/* The end that the broker saw (or its death) closes the sending. */
static void sending_ended(struct flight *flight, bool unknown)
{
    struct sending *sending = flight->sending;
    if (!sending)
        return;
    sending->in_flight = false;
    sending->unknown = unknown;
    sending->looked = false;
    sending->ended_ms = flight->world->now_ms;
    flight->sending = NULL;
}

static void watch_refresh(struct world *world, struct flight *flight)
{
    struct rb_json_value body, token;
    if (rb_json_check(rb_str_span(&flight->body), 16, &body, NULL) != RB_JSON_FINE ||
        !rb_json_member(body, "refresh_token", &token))
        return;
    struct sending *sending = sending_find(&world->refreshes, token.text);
    int64_t since = sending->ended_ms > world->booted_ms ? sending->ended_ms : world->booted_ms;
    if (sending->in_flight)
        world_fail(world, "P1: a refresh token was sent while its first sending was under way");
    else if (sending->unknown && world->now_ms - since < rb_broker_config_default.retry_after_end_ms)
        world_fail(world, "P1: a refresh token was sent again %lld ms after an unknown end",
                   (long long)(world->now_ms - since));
    sending->in_flight = true;
    flight->sending = sending;
    flight->is_refresh = true;
}

static void watch_post(struct world *world, struct flight *flight)
{
    struct rb_json_value body, metadata, stamp, topic;
    if (rb_json_check(rb_str_span(&flight->body), 300, &body, NULL) != RB_JSON_FINE)
        return;
    flight->is_post = true;
    if (!rb_json_member(body, "metadata", &metadata) || !rb_json_member(metadata, "relay-broker-id", &stamp) ||
        !rb_json_member(body, "topic", &topic))
        return;
    struct sending *sending = sending_find(&world->attempts, stamp.text);
    rb_str_reset(&sending->path);
    rb_str_addf(&sending->path, "/api/v1/topics/%.*s/", (int)topic.text.len - 2, topic.text.at + 1);
    if (sending->in_flight)
        world_fail(world, "P3: a post was sent while its first attempt was under way");
    else if (sending->unknown && world->now_ms - sending->ended_ms < rb_broker_config_default.unknown_wait_ms)
        world_fail(world, "P3: a post was sent again %lld ms after an unknown end",
                   (long long)(world->now_ms - sending->ended_ms));
    else if (sending->unknown && !sending->looked)
        world_fail(world, "P3: a post was sent again after an unknown end without a look at the topic");
    sending->in_flight = true;
    flight->sending = sending;
}

static bool path_begins(const struct flight *flight, const char *prefix)
{
    return strncmp(flight->path.at, prefix, strlen(prefix)) == 0;
}

static void watch(struct world *world, struct flight *flight)
{
    if (path_begins(flight, "/auth/token/refresh"))
        watch_refresh(world, flight);
    else if (strcmp(flight->method, "POST") == 0 && path_begins(flight, "/api/v1/messages"))
        watch_post(world, flight);
    else if (path_begins(flight, "/api/v1/topics/"))
        RB_LIST_EACH (&world->attempts, node) {
            struct sending *sending = RB_CONTAINER(node, struct sending, node);
            sending->looked |= path_begins(flight, sending->path.at);
        }
}

static void flight_free(struct flight *flight)
{
    struct world *world = flight->world;
    rb_timer_stop(&world->net.clock, &flight->timer);
    rb_timer_stop(&world->net.clock, &flight->deadline);
    if (flight->poll)
        rb_model_poll_forget(world->model, flight->poll);
    rb_list_remove(&flight->node);
    rb_str_free(&flight->path);
    rb_str_free(&flight->content_type);
    rb_str_free(&flight->body);
    rb_str_free(&flight->bearer);
    rb_str_free(&flight->key);
    rb_str_free(&flight->answer.body);
    free(flight);
}

static enum fate choose_fate(struct world *world, const struct flight *flight)
{
    const struct weather *weather = &world->weather;
    if (weather->down || world_chance(world, weather->refuse))
        return FATE_REFUSED;
    if (world_chance(world, weather->lose_request))
        return FATE_REQUEST_LOST;
    if (world_chance(world, weather->lose_answer))
        return FATE_ANSWER_LOST;
    if (world_chance(world, weather->late))
        return FATE_LATE;
    if (flight->is_post && world_chance(world, weather->twice))
        return FATE_TWICE;
    if (world_chance(world, weather->html))
        return FATE_HTML;
    if (world_chance(world, weather->error))
        return world_between(world, 0, 1) ? FATE_ERROR_BEFORE : FATE_ERROR_AFTER;
    if (world_chance(world, weather->limited))
        return FATE_LIMITED;
    return FATE_PASS;
}

/* A late request arrives after its connection ended, but within what R1 and O2 allow for: a refresh within 60 s; a post
 * within 8 s, mostly. */
static int64_t late_by(struct world *world, const struct flight *flight)
{
    return world_between(world, 1, flight->is_refresh ? 60 * 1000 : 8 * 1000);
}

static void answer_set(struct flight *flight, int status, const char *content_type, const char *body)
{
    flight->answer = (struct rb_model_answer){.status = status, .content_type = content_type};
    rb_str_add(&flight->answer.body, body);
}

static void come_back(struct flight *flight)
{
    flight->stage = STAGE_COMING;
    rb_timer_set_in(&flight->world->net.clock, &flight->timer,
                    world_between(flight->world, 1, flight->world->weather.latency_max_ms));
}

static void on_poll_ready(void *arg, struct rb_model_answer *answer)
{
    struct flight *flight = arg;
    flight->poll = NULL;
    flight->answer = *answer;
    answer->body = RB_STR_INIT;
    come_back(flight);
}

static void note_rotation(struct flight *flight)
{
    if (flight->answer.status != 200)
        return;
    struct world *world = flight->world;
    bool login = path_begins(flight, "/auth/login");
    if (flight->is_refresh || login)
        world->lost_rotation = true;
    world->lost_refreshes += flight->is_refresh;
    if (login)
        world->orphan_chains += world->config.pairs ? 2 : 1;
}

/* What a relay answers that was asked for two chains. */
static void add_second_chain(struct flight *flight)
{
    static const char none[] = "\"refresh_token_secondary\":null";
    struct world *world = flight->world;
    const char *found = memmem(flight->answer.body.at, flight->answer.body.len, none, sizeof none - 1);
    if (!found)
        abort();
    RB_CLEANUP_FREE char *token = world_foreign_login(world, rb_str_span(&flight->body));
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT;
    size_t before = (size_t)(found - flight->answer.body.at);
    rb_str_add_span(&body, (struct rb_span){flight->answer.body.at, before});
    rb_str_addf(&body, "\"refresh_token_secondary\":\"%s\"", token);
    rb_str_add_span(&body,
                    (struct rb_span){found + sizeof none - 1, flight->answer.body.len - before - sizeof none + 1});
    rb_str_free(&flight->answer.body);
    flight->answer.body = body;
    body = RB_STR_INIT;
}

/* The relay gets the request. True: its answer is in flight->answer. */
static bool execute(struct flight *flight)
{
    struct world *world = flight->world;
    struct rb_model_request request = {
        .method = flight->method,
        .path = flight->path.at,
        .content_type = rb_str_span(&flight->content_type),
        .bearer = rb_str_span(&flight->bearer),
        .idempotency_key = rb_str_span(&flight->key),
        .body = rb_str_span(&flight->body),
        .address = "127.0.0.1",
    };
    flight->executed = true;
    rb_str_free(&flight->answer.body);
    flight->answer = (struct rb_model_answer){0};
    bool answered = rb_model_request(world->model, &request, &flight->answer, on_poll_ready, flight, &flight->poll);
    if (answered && flight->answer.status == 200 && path_begins(flight, "/auth/login")) {
        world->logins_granted++;
        if (world->config.pairs)
            add_second_chain(flight);
    }
    return answered;
}

/* The broker hears how its exchange ended. */
static void end_exchange(struct flight *flight, enum rb_delivery delivery)
{
    struct world *world = flight->world;
    struct rb_exchange *exchange = flight->exchange;
    bool refused_for_good = flight->answer.status >= 400 && flight->answer.status < 500;
    sending_ended(flight, delivery == RB_DELIVERY_LOST || (delivery == RB_DELIVERY_ANSWER && !refused_for_good &&
                                                           flight->answer.status / 100 != 2));
    flight->exchange = NULL;
    if (exchange)
        exchange->carrier_data = NULL;
    if (!exchange || world->dead)
        return;
    exchange->delivery = delivery;
    exchange->status = 0;
    exchange->answer = (struct rb_span){0};
    exchange->retry_after_ms = exchange->relay_wall_ms = -1;
    exchange->too_long = false;
    if (delivery == RB_DELIVERY_ANSWER && flight->answer.body.len > exchange->answer_max_bytes) {
        exchange->delivery = RB_DELIVERY_LOST;
        exchange->too_long = true;
    } else if (delivery == RB_DELIVERY_ANSWER) {
        exchange->status = flight->answer.status;
        exchange->answer = rb_str_span(&flight->answer.body);
        exchange->answer_is_json =
            flight->answer.content_type && strncmp(flight->answer.content_type, "application/json", 16) == 0;
        exchange->relay_wall_ms = rb_clock_wall_ms(&world->net.clock);
    }
    snprintf(exchange->cause, sizeof exchange->cause, "%s", fate_name[flight->fate]);
    exchange->done(exchange);
}

static void on_arrival(struct flight *flight)
{
    struct world *world = flight->world;
    switch (flight->fate) {
    case FATE_REFUSED:
        end_exchange(flight, RB_DELIVERY_NONE);
        flight_free(flight);
        return;
    case FATE_REQUEST_LOST:
        end_exchange(flight, RB_DELIVERY_LOST);
        flight_free(flight);
        return;
    case FATE_HTML:
        answer_set(flight, 502, "text/html", "<html>Bad Gateway</html>");
        come_back(flight);
        return;
    case FATE_ERROR_BEFORE:
        answer_set(flight, 500, "application/json", "{\"error\":\"INTERNAL_ERROR\",\"message\":\"no\"}");
        come_back(flight);
        return;
    case FATE_LIMITED:
        answer_set(flight, 429, "application/json", "{\"error\":\"Rate limit exceeded: 10 per 1 minute\"}");
        come_back(flight);
        return;
    case FATE_LATE:
        end_exchange(flight, RB_DELIVERY_LOST);
        flight->stage = STAGE_CUT;
        rb_timer_stop(&world->net.clock, &flight->deadline);
        rb_timer_set_in(&world->net.clock, &flight->timer, late_by(world, flight));
        return;
    case FATE_TWICE:
        if (execute(flight))
            rb_str_free(&flight->answer.body);
        break;
    case FATE_PASS:
    case FATE_ANSWER_LOST:
    case FATE_ERROR_AFTER:
        break;
    }
    flight->stage = STAGE_AT_RELAY;
    if (!execute(flight))
        return;
    if (flight->fate == FATE_ERROR_AFTER) {
        note_rotation(flight);
        rb_str_free(&flight->answer.body);
        answer_set(flight, 500, "application/json", "{\"error\":\"INTERNAL_ERROR\",\"message\":\"no\"}");
    }
    come_back(flight);
}

static void on_flight_timer(struct rb_timer *timer)
{
    struct flight *flight = RB_CONTAINER(timer, struct flight, timer);
    struct world *world = flight->world;
    if (flight->stage == STAGE_CUT) {
        /* Nobody waits for it: a late request, or one whose sender died. */
        if (!flight->executed && execute(flight))
            note_rotation(flight);
        flight_free(flight);
        return;
    }
    if (flight->stage == STAGE_GOING) {
        on_arrival(flight);
        return;
    }
    if (!flight->exchange || flight->fate == FATE_ANSWER_LOST) {
        note_rotation(flight);
        end_exchange(flight, RB_DELIVERY_LOST);
    } else {
        world_trace(world, "  %s %s -> %d%s%.*s", flight->method, flight->path.at, flight->answer.status,
                    path_begins(flight, "/messages/") ? " " : "",
                    path_begins(flight, "/messages/") ? (int)flight->answer.body.len : 0, flight->answer.body.at);
        uint64_t slots = world->slot_writes;
        world->login_granted |= path_begins(flight, "/auth/login") && flight->answer.status == 200;
        end_exchange(flight, RB_DELIVERY_ANSWER);
        /* Died with the answer in its hands, before the slot was written. */
        if (world->dead && world->slot_writes == slots)
            note_rotation(flight);
    }
    flight_free(flight);
}

/* Its own deadline: the connection is cut, the request goes its way. */
static void on_deadline(struct rb_timer *timer)
{
    struct flight *flight = RB_CONTAINER(timer, struct flight, deadline);
    bool going = flight->stage == STAGE_GOING;
    end_exchange(flight, RB_DELIVERY_LOST);
    if (!going)
        note_rotation(flight);
    flight_free(flight);
}

static enum rb_status carrier_start(struct rb_carrier *carrier, struct rb_exchange *exchange)
{
    struct world *world = RB_CONTAINER(carrier, struct world, carrier);
    struct flight *flight = must(calloc(1, sizeof *flight));
    rb_list_init(&flight->node);
    flight->world = world;
    flight->exchange = exchange;
    flight->timer = RB_TIMER_INIT(on_flight_timer);
    flight->deadline = RB_TIMER_INIT(on_deadline);
    snprintf(flight->method, sizeof flight->method, "%s", exchange->method);
    rb_str_add(&flight->path, exchange->path);
    rb_str_add(&flight->content_type, exchange->content_type ? exchange->content_type : "");
    rb_str_add_span(&flight->body, exchange->body);
    rb_str_add(&flight->bearer, exchange->bearer ? exchange->bearer : "");
    rb_str_add(&flight->key, exchange->idempotency_key ? exchange->idempotency_key : "");
    exchange->carrier_data = flight;
    rb_list_push(&world->flights, &flight->node);
    if (!world_leaves(world)) {
        /* The host is dead: the request does not leave, and nobody will hear of it. */
        return RB_OK;
    }
    world->requests++;
    watch(world, flight);
    flight->fate = choose_fate(world, flight);
    world_trace(world, "%s %s (%s)%s%.*s", flight->method, flight->path.at, fate_name[flight->fate],
                path_begins(flight, "/messages/") ? " " : "",
                path_begins(flight, "/messages/") ? (int)flight->body.len : 0, flight->body.at);
    rb_timer_set_in(&world->net.clock, &flight->timer, world_between(world, 0, world->weather.latency_max_ms));
    rb_timer_set_in(&world->net.clock, &flight->deadline, exchange->deadline_ms);
    return RB_OK;
}

static void cut(struct flight *flight)
{
    struct world *world = flight->world;
    sending_ended(flight, true);
    if (flight->exchange)
        flight->exchange->carrier_data = NULL;
    flight->exchange = NULL;
    rb_timer_stop(&world->net.clock, &flight->deadline);
    bool arrives = flight->stage == STAGE_GOING && rb_timer_is_set(&flight->timer) && flight->fate != FATE_REFUSED &&
                   flight->fate != FATE_REQUEST_LOST && world_between(world, 0, 1);
    if (arrives) {
        flight->stage = STAGE_CUT;
        rb_timer_set_in(&world->net.clock, &flight->timer, late_by(world, flight));
        return;
    }
    if (flight->stage == STAGE_COMING)
        note_rotation(flight);
    if (flight->stage != STAGE_CUT || !rb_timer_is_set(&flight->timer))
        flight_free(flight);
}

static void carrier_abandon(struct rb_carrier *carrier, struct rb_exchange *exchange)
{
    struct flight *flight = exchange->carrier_data;
    if (flight)
        cut(flight);
}

void sim_carrier_init(struct world *world)
{
    rb_list_init(&world->flights);
    rb_list_init(&world->refreshes);
    rb_list_init(&world->attempts);
    world->carrier = (struct rb_carrier){.start = carrier_start, .abandon = carrier_abandon};
}

void sim_carrier_host_died(struct world *world)
{
    RB_LIST_EACH_SAFE (&world->flights, node)
        cut(RB_CONTAINER(node, struct flight, node));
}

void sim_carrier_free(struct world *world)
{
    RB_LIST_EACH_SAFE (&world->flights, node)
        flight_free(RB_CONTAINER(node, struct flight, node));
    sending_list_free(&world->refreshes);
    sending_list_free(&world->attempts);
}
