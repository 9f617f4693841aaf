#include "model_private.h"

static bool topic_key(const struct user *user, struct rb_span name, struct rb_str *out)
{
    rb_str_addf(out, "%s/", user->id);
    rb_str_add_span(out, name);
    return !rb_str_failed(out);
}

struct topic *topic_find(const struct rb_model *model, const struct user *user, struct rb_span name)
{
    RB_CLEANUP_STR struct rb_str key = RB_STR_INIT;
    if (!topic_key(user, name, &key))
        return NULL;
    struct map_node *node = map_find(&model->topics, rb_str_span(&key));
    return node ? RB_CONTAINER(node, struct topic, node) : NULL;
}

struct topic *topic_get(struct rb_model *model, const struct user *user, struct rb_span name)
{
    struct topic *topic = topic_find(model, user, name);
    if (topic)
        return topic;
    RB_CLEANUP_STR struct rb_str key = RB_STR_INIT;
    topic = topic_key(user, name, &key) ? calloc(1, sizeof *topic) : NULL;
    if (!topic)
        return NULL;
    topic->key = rb_str_steal(&key);
    if (!topic->key) {
        free(topic);
        return NULL;
    }
    map_add(&model->topics, &topic->node, rb_span_of(topic->key));
    topic->name = strchr(topic->key, '/') + 1;
    snprintf(topic->user_id, sizeof topic->user_id, "%s", user->id);
    rb_list_init(&topic->link);
    rb_list_push(&model->topic_order, &topic->link);
    return topic;
}

bool topic_create(struct rb_model *model, struct topic *topic, const char *description)
{
    char *copy = NULL;
    if (description && !(copy = rb_span_dup(rb_span_of(description))))
        return false;
    free(topic->description);
    topic->description = copy;
    topic->exists = true;
    uuid_new(model->random, topic->id);
    time_text(rb_clock_wall_ms(model->clock), true, topic->created_at);
    return true;
}

void topics_free(struct rb_model *model)
{
    RB_LIST_EACH_SAFE (&model->topic_order, node) {
        struct topic *topic = RB_CONTAINER(node, struct topic, link);
        rb_list_remove(&topic->link);
        map_remove(&model->topics, &topic->node);
        stream_clear(topic);
        free(topic->key);
        free(topic->description);
        free(topic);
    }
    rb_map_clear(&model->topics, NULL);
}

static void topic_print(struct rb_str *out, const struct topic *topic, enum rb_flavour flavour)
{
    rb_str_addf(out, "{\"topic_id\":\"%s\",\"topic_name\":", topic->id);
    quote(out, topic->name);
    rb_str_addf(out, ",\"owner_id\":\"%s\",\"created_at\":\"%s\",\"description\":", topic->user_id, topic->created_at);
    /* Valkey keeps an empty description like none. */
    bool none = topic->description && !*topic->description && flavour == RB_FLAVOUR_VALKEY;
    quote(out, none ? NULL : topic->description);
    rb_str_add(out, "}");
}

static void answer_topic(struct call *call, int status, const struct topic *topic)
{
    struct rb_str body = RB_STR_INIT;
    topic_print(&body, topic, call->model->config.flavour);
    answer_json(call, status, &body);
}

/* The description, of 500 characters at most; false: none. */
static bool read_description(struct call *call, struct problems *problems, struct rb_str *out)
{
    if (!field_text(problems, call->body, "[\"body\"", "description", false, out))
        return false;
    rb_str_append(out, "", 0);
    size_t characters = 0;
    for (size_t i = 0; i < out->len; i++)
        characters += ((unsigned char)out->at[i] & 0xc0) != 0x80;
    struct rb_json_value value;
    if (characters > 500 && rb_json_member(call->body, "description", &value))
        problem_add(problems, "string_too_long", "[\"body\",\"description\"]",
                    "String should have at most 500 characters", &value, "{\"max_length\":500}");
    return true;
}

void handle_topic_create(struct call *call)
{
    struct problems problems = {0};
    RB_CLEANUP_STR struct rb_str name = RB_STR_INIT, description = RB_STR_INIT;
    field_topic(&problems, call->body, "[\"body\"", "topic_name", &name);
    bool described = read_description(call, &problems, &description);
    if (problems_answer(call, &problems))
        return;
    struct topic *topic = topic_get(call->model, call->user, rb_str_span(&name));
    if (topic && topic->exists) {
        answer_detail(call, 400, "Topic '%s' already exists for owner %s", name.at, call->user->id);
        return;
    }
    if (!topic || !topic_create(call->model, topic, described ? description.at : NULL)) {
        answer_internal(call);
        return;
    }
    struct rb_str body = RB_STR_INIT;
    topic_print(&body, topic, RB_FLAVOUR_MEMORY); /* the answer shows what was sent */
    answer_json(call, 201, &body);
}

void handle_topics(struct call *call)
{
    struct rb_str body = RB_STR_INIT;
    const char *comma = "";
    rb_str_add(&body, "[");
    RB_LIST_EACH (&call->model->topic_order, node) {
        const struct topic *topic = RB_CONTAINER(node, struct topic, link);
        if (!topic->exists || strcmp(topic->user_id, call->user->id) != 0)
            continue;
        rb_str_add(&body, comma);
        topic_print(&body, topic, call->model->config.flavour);
        comma = ",";
    }
    rb_str_add(&body, "]");
    answer_json(call, 200, &body);
}

void handle_topic_stats(struct call *call)
{
    struct rb_str body = RB_STR_INIT;
    size_t count = 0;
    RB_LIST_EACH (&call->model->topic_order, node)
        count += RB_CONTAINER(node, struct topic, link)->exists;
    if (call->model->config.flavour == RB_FLAVOUR_MEMORY)
        rb_str_addf(&body, "{\"total_topics\":%zu}", count);
    else
        rb_str_add(&body, "{\"storage_type\":\"valkey\",\"message\":\"Not counted\"}");
    answer_json(call, 200, &body);
}

/* The topic of the path; NULL: answered with 404. */
static struct topic *named(struct call *call)
{
    struct topic *topic = topic_find(call->model, call->user, rb_str_span(&call->param));
    if (topic && topic->exists)
        return topic;
    answer_detail(call, 404, "Topic '%s' not found", call->param.len ? call->param.at : "");
    return NULL;
}

void handle_topic(struct call *call)
{
    const struct topic *topic = named(call);
    if (topic)
        answer_topic(call, 200, topic);
}

void handle_topic_update(struct call *call)
{
    struct problems problems = {0};
    RB_CLEANUP_STR struct rb_str description = RB_STR_INIT;
    bool described = read_description(call, &problems, &description);
    if (problems_answer(call, &problems))
        return;
    struct topic *topic = named(call);
    if (!topic)
        return;
    if (described) {
        char *copy = call->model->config.flavour == RB_FLAVOUR_MEMORY ? rb_str_steal(&description) : NULL;
        if (!copy) {
            answer_internal(call);
            return;
        }
        free(topic->description);
        topic->description = copy;
    }
    answer_topic(call, 200, topic);
}

void handle_topic_delete(struct call *call)
{
    struct topic *topic = named(call);
    if (!topic)
        return;
    topic->exists = false;
    answer_nothing(call);
}

bool rb_model_topic_at(const struct rb_model *model, size_t index, const char **ret_username, const char **ret_topic)
{
    RB_LIST_EACH (&model->topic_order, node) {
        const struct topic *topic = RB_CONTAINER(node, struct topic, link);
        if (index-- > 0)
            continue;
        const struct user *user = user_by_id(model, rb_span_of(topic->user_id));
        *ret_username = user ? user->username : NULL;
        *ret_topic = topic->name;
        return true;
    }
    return false;
}

static const struct topic *of_user(const struct rb_model *model, const char *username, const char *name)
{
    const struct user *user = user_by_name(model, rb_span_of(username));
    return user ? topic_find(model, user, rb_span_of(name)) : NULL;
}

size_t rb_model_topic_length(const struct rb_model *model, const char *username, const char *topic)
{
    const struct topic *found = of_user(model, username, topic);
    return found ? found->count : 0;
}

bool rb_model_topic_message(const struct rb_model *model, const char *username, const char *topic, size_t index,
                            struct rb_model_message *ret)
{
    const struct topic *found = of_user(model, username, topic);
    if (!found || index >= found->count)
        return false;
    const struct message *message = stream_at(found, index);
    *ret = (struct rb_model_message){
        .message_id = rb_span_of(message->id),
        .payload = {message->payload, message->payload_len},
        .metadata = {message->metadata, message->metadata_len},
    };
    return true;
}
