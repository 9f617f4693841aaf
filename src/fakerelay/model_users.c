#include "model_private.h"

struct user *user_by_name(const struct rb_model *model, struct rb_span username)
{
    RB_LIST_EACH (&model->users, node) {
        struct user *user = RB_CONTAINER(node, struct user, link);
        if (rb_span_is(username, user->username))
            return user;
    }
    return NULL;
}

struct user *user_by_id(const struct rb_model *model, struct rb_span id)
{
    RB_LIST_EACH (&model->users, node) {
        struct user *user = RB_CONTAINER(node, struct user, link);
        if (rb_span_is(id, user->id))
            return user;
    }
    return NULL;
}

static void user_free(struct user *user)
{
    rb_list_remove(&user->link);
    free(user->username);
    free(user->password);
    free(user->email);
    free(user);
}

void users_free(struct rb_model *model)
{
    RB_LIST_EACH_SAFE (&model->users, node)
        user_free(RB_CONTAINER(node, struct user, link));
}

void users_renew_ids(struct rb_model *model)
{
    RB_LIST_EACH (&model->users, node) {
        struct user *user = RB_CONTAINER(node, struct user, link);
        uuid_new(model->random, user->id);
        time_text(rb_clock_wall_ms(model->clock), true, user->created_at);
    }
}

static struct user *user_new(struct rb_model *model, struct rb_span username)
{
    struct user *user = calloc(1, sizeof *user);
    char *name = rb_span_dup(username);
    if (!user || !name) {
        free(user);
        free(name);
        return NULL;
    }
    user->username = name;
    user->active = true;
    uuid_new(model->random, user->id);
    time_text(rb_clock_wall_ms(model->clock), true, user->created_at);
    rb_list_init(&user->link);
    rb_list_push(&model->users, &user->link);
    return user;
}

static bool replace(char **text, struct rb_span with)
{
    char *copy = rb_span_dup(with);
    if (!copy)
        return false;
    free(*text);
    *text = copy;
    return true;
}

enum rb_status rb_model_user(struct rb_model *model, const char *username, const char *password,
                             const char *permissions)
{
    struct user *user = user_by_name(model, rb_span_of(username));
    bool fresh = user == NULL;
    if (fresh)
        user = user_new(model, rb_span_of(username));
    if (!user)
        return RB_NO_MEMORY;
    if (!replace(&user->password, rb_span_of(password))) {
        if (fresh)
            user_free(user);
        return RB_NO_MEMORY;
    }
    struct rb_span word = rb_span_of(permissions);
    user->admin = rb_span_is(word, "admin");
    user->reads = user->admin || word.len == 0 || rb_span_is(word, "read");
    user->writes = user->admin || word.len == 0 || rb_span_is(word, "write");
    return RB_OK;
}

void rb_model_user_active(struct rb_model *model, const char *username, bool active)
{
    struct user *user = user_by_name(model, rb_span_of(username));
    if (user)
        user->active = active;
}

void rb_model_user_remove(struct rb_model *model, const char *username)
{
    struct user *user = user_by_name(model, rb_span_of(username));
    if (user)
        user_free(user);
}

const char *rb_model_user_at(const struct rb_model *model, size_t index)
{
    RB_LIST_EACH (&model->users, node)
        if (index-- == 0)
            return RB_CONTAINER(node, struct user, link)->username;
    return NULL;
}

void user_print(struct rb_str *out, const struct rb_model *model, const struct user *user)
{
    rb_str_addf(out, "{\"user_id\":\"%s\",\"username\":", user->id);
    quote(out, user->username);
    rb_str_add(out, ",\"email\":");
    quote(out, user->email);
    rb_str_addf(out, ",\"is_active\":%s,\"created_at\":\"%s\",\"permissions\":[", user->active ? "true" : "false",
                user->created_at);
    rb_str_addf(out, "%s%s%s%s%s", user->admin ? "\"admin\"" : "", user->admin && user->reads ? "," : "",
                user->reads ? "\"read\"" : "", user->writes && (user->reads || user->admin) ? "," : "",
                user->writes ? "\"write\"" : "");
    rb_str_add(out, "],\"owned_topics\":[");
    const char *comma = "";
    RB_LIST_EACH (&model->topic_order, node) {
        const struct topic *topic = RB_CONTAINER(node, struct topic, link);
        if (!topic->exists || strcmp(topic->user_id, user->id) != 0)
            continue;
        rb_str_add(out, comma);
        quote(out, topic->name);
        comma = ",";
    }
    rb_str_add(out, "]}");
}

static void answer_user(struct call *call, int status, const struct user *user)
{
    struct rb_str body = RB_STR_INIT;
    user_print(&body, call->model, user);
    answer_json(call, status, &body);
}

void handle_me(struct call *call)
{
    answer_user(call, 200, call->user);
}

void handle_users(struct call *call)
{
    struct rb_str body = RB_STR_INIT;
    const char *comma = "[";
    RB_LIST_EACH (&call->model->users, node) {
        rb_str_add(&body, comma);
        user_print(&body, call->model, RB_CONTAINER(node, struct user, link));
        comma = ",";
    }
    rb_str_add(&body, "]");
    answer_json(call, 200, &body);
}

/* The field "permissions": false when it is missing. */
static bool read_permissions(struct rb_json_value object, struct problems *problems, bool ret[3])
{
    static const char *const words[] = {"admin", "read", "write"};
    struct rb_json_value list, item;
    if (!rb_json_member(object, "permissions", &list))
        return false;
    if (list.kind != RB_JSON_ARRAY) {
        problem_add(problems, "list_type", "[\"body\",\"permissions\"]", "Input should be a valid list", &list, NULL);
        return false;
    }
    struct rb_json_walk walk = rb_json_walk(list);
    ret[0] = ret[1] = ret[2] = false;
    for (size_t at = 0; rb_json_next(&walk, NULL, &item); at++) {
        bool known = false;
        for (size_t i = 0; i < 3; i++)
            if (rb_json_is(item, words[i]))
                ret[i] = known = true;
        char loc[64];
        snprintf(loc, sizeof loc, "[\"body\",\"permissions\",%zu]", at);
        if (!known)
            problem_add(problems, "literal_error", loc, "Input should be 'admin', 'read' or 'write'", &item, NULL);
    }
    return true;
}

static void check_length(struct problems *problems, struct rb_json_value object, const char *name, size_t len,
                         size_t least, size_t most)
{
    struct rb_json_value value;
    char loc[64], message[80];
    if (!rb_json_member(object, name, &value) || (len >= least && len <= most))
        return;
    bool shorter = len < least;
    snprintf(loc, sizeof loc, "[\"body\",\"%s\"]", name);
    snprintf(message, sizeof message, "String should have at %s %zu characters", shorter ? "least" : "most",
             shorter ? least : most);
    problem_add(problems, shorter ? "string_too_short" : "string_too_long", loc, message, &value, NULL);
}

void handle_register(struct call *call)
{
    struct problems problems = {0};
    RB_CLEANUP_STR struct rb_str name = RB_STR_INIT, password = RB_STR_INIT, email = RB_STR_INIT;
    bool may[3] = {false, false, false};
    if (field_text(&problems, call->body, "[\"body\"", "username", true, &name))
        check_length(&problems, call->body, "username", name.len, 3, 50);
    bool has_email = field_text(&problems, call->body, "[\"body\"", "email", false, &email);
    if (field_text(&problems, call->body, "[\"body\"", "password", true, &password))
        check_length(&problems, call->body, "password", password.len, 8, SIZE_MAX);
    read_permissions(call->body, &problems, may);
    if (problems_answer(call, &problems))
        return;
    if (user_by_name(call->model, rb_str_span(&name))) {
        answer_detail(call, 400, "Username '%s' already exists", name.at);
        return;
    }
    struct user *user = user_new(call->model, rb_str_span(&name));
    if (!user || !replace(&user->password, rb_str_span(&password)) ||
        (has_email && !replace(&user->email, rb_str_span(&email)))) {
        if (user)
            user_free(user);
        answer_internal(call);
        return;
    }
    user->admin = may[0];
    user->reads = may[1];
    user->writes = may[2];
    answer_user(call, 201, user);
}

void handle_user_update(struct call *call)
{
    struct problems problems = {0};
    bool may[3] = {false, false, false}, active = true;
    struct rb_json_value unused;
    RB_CLEANUP_STR struct rb_str password = RB_STR_INIT;
    bool has_active = rb_json_member(call->body, "is_active", &unused);
    bool has_permissions = read_permissions(call->body, &problems, may);
    bool has_password = field_text(&problems, call->body, "[\"body\"", "password", false, &password);
    if (has_password)
        check_length(&problems, call->body, "password", password.len, 8, SIZE_MAX);
    field_bool(&problems, call->body, "is_active", &active);
    if (problems_answer(call, &problems))
        return;
    struct user *user = user_by_id(call->model, rb_str_span(&call->param));
    if (!user) {
        answer_detail(call, 404, "User with ID '%s' not found", call->param.len ? call->param.at : "");
        return;
    }
    if (has_password && !replace(&user->password, rb_str_span(&password))) {
        answer_internal(call);
        return;
    }
    if (has_active)
        user->active = active;
    if (has_permissions) {
        user->admin = may[0];
        user->reads = may[1];
        user->writes = may[2];
    }
    answer_user(call, 200, user);
}

void handle_user_delete(struct call *call)
{
    struct user *user = user_by_id(call->model, rb_str_span(&call->param));
    if (user == call->user) {
        answer_detail(call, 400, "Cannot delete your own user account");
        return;
    }
    if (!user) {
        answer_detail(call, 404, "User with ID '%s' not found", call->param.len ? call->param.at : "");
        return;
    }
    user_free(user);
    answer_nothing(call);
}
