#include "fake_relay_private.h"

static void answer_error(struct rb_http_request *request, int status, const char *sentence)
{
    rb_http_answer_json(request, status, json_pack("{s:s}", "error", sentence));
}

static void answer_ok(struct rb_http_request *request)
{
    rb_http_answer_json(request, 200, json_pack("{s:b}", "ok", 1));
}

/* --- what can be ordered; `order` is the body's object, empty without a body --- */

typedef const char *order_handler(struct rb_fake_relay *relay, json_t *order);

static const char *order_fault(struct rb_fake_relay *relay, json_t *order)
{
    struct fault fault;
    const char *wrong = fault_read(order, &fault);
    if (wrong)
        return wrong;
    return fault_add(relay, &fault) ? NULL : "There is not enough memory.";
}

/* Going on with one request may end others: look again from the start after each. */
static void release_held(struct rb_fake_relay *relay)
{
    for (struct rb_list *node = relay->exchanges.next; node != &relay->exchanges;) {
        struct exchange *exchange = RB_CONTAINER(node, struct exchange, link);
        node = node->next;
        if (exchange->state != EXCHANGE_HELD)
            continue;
        exchange_go_on(exchange);
        node = relay->exchanges.next;
    }
}

static const char *order_release(struct rb_fake_relay *relay, json_t *order)
{
    faults_clear(relay, true);
    release_held(relay);
    return NULL;
}

static const char *order_clear(struct rb_fake_relay *relay, json_t *order)
{
    faults_clear(relay, false);
    rb_model_storage_dead(relay->model, false);
    rb_model_waiter_gap(relay->model, false);
    rb_model_waiter_shuffle(relay->model, 0);
    release_held(relay);
    return NULL;
}

static const char *order_restart(struct rb_fake_relay *relay, json_t *order)
{
    exchanges_cut(relay);
    rb_model_restart(relay->model);
    return NULL;
}

static const char *order_wipe(struct rb_fake_relay *relay, json_t *order)
{
    rb_model_wipe(relay->model);
    return NULL;
}

static const char *order_revoke(struct rb_fake_relay *relay, json_t *order)
{
    const char *user = json_string_value(json_object_get(order, "username"));
    if (!user)
        return "\"username\" is missing.";
    rb_model_revoke_all(relay->model, user);
    return NULL;
}

static const char *read_bool(json_t *order, const char *name, bool *ret)
{
    json_t *value = json_object_get(order, name);
    *ret = json_is_true(value);
    return json_is_boolean(value) ? NULL : "\"on\" is true or false.";
}

static const char *order_switch(struct rb_fake_relay *relay, json_t *order, void (*set)(struct rb_model *, bool))
{
    bool on;
    const char *wrong = read_bool(order, "on", &on);
    if (!wrong)
        set(relay->model, on);
    return wrong;
}

static void set_storage(struct rb_model *model, bool on)
{
    rb_model_storage_dead(model, !on);
}

static const char *order_shuffle(struct rb_fake_relay *relay, json_t *order)
{
    json_t *ms = json_object_get(order, "ms");
    if (!json_is_integer(ms) || json_integer_value(ms) < 0 || json_integer_value(ms) > 60000)
        return "\"ms\" is 0 to 60000.";
    rb_model_waiter_shuffle(relay->model, json_integer_value(ms));
    return NULL;
}

static const char *order_reject(struct rb_fake_relay *relay, json_t *order)
{
    const char *topic = json_string_value(json_object_get(order, "topic"));
    bool on;
    const char *wrong = topic ? read_bool(order, "on", &on) : "\"topic\" is missing.";
    if (!wrong)
        rb_model_reject_topic(relay->model, topic, on);
    return wrong;
}

static const char *order_user(struct rb_fake_relay *relay, json_t *order)
{
    const char *name = NULL, *password = NULL, *permissions = "";
    int active = 1, removed = 0;
    if (json_unpack(order, "{s:s, s?s, s?s, s?b, s?b}", "username", &name, "password", &password, "permissions",
                    &permissions, "active", &active, "removed", &removed) != 0)
        return "A user is {\"username\", \"password\"?, \"permissions\"?, \"active\"?, \"removed\"?}.";
    if (password && rb_model_user(relay->model, name, password, permissions) != RB_OK)
        return "There is not enough memory.";
    rb_model_user_active(relay->model, name, active);
    if (removed)
        rb_model_user_remove(relay->model, name);
    return NULL;
}

static const struct order_rule {
    const char *path;
    order_handler *handle;
    void (*set)(struct rb_model *model, bool on); /* of one that only switches */
} orders[] = {
    {"/fake/faults", order_fault},        {"/fake/release", order_release},
    {"/fake/clear", order_clear},         {"/fake/restart", order_restart},
    {"/fake/wipe", order_wipe},           {"/fake/revoke", order_revoke},
    {"/fake/storage", NULL, set_storage}, {"/fake/gap", NULL, rb_model_waiter_gap},
    {"/fake/shuffle", order_shuffle},     {"/fake/limits", NULL, rb_model_rate_limits},
    {"/fake/reject", order_reject},       {"/fake/user", order_user},
};

/* --- what can be seen --- */

static json_t *counts_of(const struct rb_fake_relay *relay)
{
    struct rb_model_counts c;
    rb_model_counts(relay->model, &c);
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "requests", (json_int_t)c.requests, "logins",
                     (json_int_t)c.logins, "refreshes", (json_int_t)c.refreshes, "refreshes_ok",
                     (json_int_t)c.refreshes_ok, "replays", (json_int_t)c.replays, "chains_revoked",
                     (json_int_t)c.chains_revoked, "revokes", (json_int_t)c.revokes, "posts", (json_int_t)c.posts,
                     "bulks", (json_int_t)c.bulks, "polls", (json_int_t)c.polls, "rate_limited",
                     (json_int_t)c.rate_limited, "refused_401", (json_int_t)c.refused_401);
}

static json_t *users_of(const struct rb_fake_relay *relay)
{
    json_t *users = json_array();
    const char *name;
    for (size_t i = 0; (name = rb_model_user_at(relay->model, i)); i++) {
        size_t tokens, chains;
        rb_model_live_tokens(relay->model, name, &tokens, &chains);
        json_array_append_new(users, json_pack("{s:s,s:I,s:I}", "username", name, "live_tokens", (json_int_t)tokens,
                                               "chains", (json_int_t)chains));
    }
    return users;
}

static json_t *ids_of(const struct rb_fake_relay *relay, const char *user, const char *topic, size_t length,
                      size_t most)
{
    json_t *ids = json_array();
    struct rb_model_message message;
    for (size_t i = length > most ? length - most : 0; i < length; i++)
        if (rb_model_topic_message(relay->model, user, topic, i, &message))
            json_array_append_new(ids, json_stringn(message.message_id.at, message.message_id.len));
    return ids;
}

static json_t *topics_of(const struct rb_fake_relay *relay, size_t most)
{
    json_t *topics = json_array();
    const char *user, *topic;
    for (size_t i = 0; rb_model_topic_at(relay->model, i, &user, &topic); i++) {
        if (!user)
            continue;
        size_t length = rb_model_topic_length(relay->model, user, topic);
        json_array_append_new(topics,
                              json_pack("{s:s,s:s,s:I,s:o}", "username", user, "topic", topic, "length",
                                        (json_int_t)length, "message_ids", ids_of(relay, user, topic, length, most)));
    }
    return topics;
}

static void answer_state(struct rb_fake_relay *relay, struct rb_http_request *request)
{
    struct rb_span text;
    int64_t most = 100;
    if (rb_http_query(request, "messages", &text) && rb_span_to_i64(text, 0, 1000000, &most) != RB_OK) {
        answer_error(request, 400, "\"messages\" is a number.");
        return;
    }
    size_t held = 0, faults = 0;
    RB_LIST_EACH (&relay->exchanges, node)
        held += RB_CONTAINER(node, struct exchange, link)->state == EXCHANGE_HELD;
    RB_LIST_EACH (&relay->faults, node)
        faults++;
    rb_http_answer_json(request, 200,
                        json_pack("{s:o,s:I,s:I,s:I,s:o,s:o}", "counts", counts_of(relay), "waiting_polls",
                                  (json_int_t)rb_model_waiting_polls(relay->model), "held", (json_int_t)held, "faults",
                                  (json_int_t)faults, "users", users_of(relay), "topics",
                                  topics_of(relay, (size_t)most)));
}

void handle_control(struct rb_fake_relay *relay, struct rb_http_request *request)
{
    struct rb_span path = rb_http_path(request), body = rb_http_body(request);
    if (rb_http_method(request) == RB_GET) {
        if (rb_span_is(path, "/fake/state"))
            answer_state(relay, request);
        else if (rb_span_is(path, "/fake/help"))
            rb_http_answer(request, 200, "text/plain; charset=utf-8", rb_span_of(rb_fake_relay_help()));
        else
            answer_error(request, 404, "Try /fake/help.");
        return;
    }
    const struct order_rule *rule = NULL;
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++)
        if (rb_span_is(path, orders[i].path))
            rule = &orders[i];
    if (!rule || rb_http_method(request) != RB_POST) {
        answer_error(request, 404, "Try GET /fake/help.");
        return;
    }
    RB_CLEANUP_JSON json_t *order = body.len ? json_loadb(body.at, body.len, 0, NULL) : json_object();
    if (!json_is_object(order)) {
        answer_error(request, 400, "The body is a JSON object.");
        return;
    }
    const char *wrong = rule->set ? order_switch(relay, order, rule->set) : rule->handle(relay, order);
    if (wrong)
        answer_error(request, 400, wrong);
    else
        answer_ok(request);
}
