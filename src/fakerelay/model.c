#include "model_private.h"

#include "model_normal.h"

enum rb_status rb_model_new(struct rb_clock *clock, struct rb_random *random, const struct rb_model_config *config,
                            struct rb_model **ret)
{
    struct rb_model *model = calloc(1, sizeof *model);
    if (!model)
        return RB_NO_MEMORY;
    model->clock = clock;
    model->random = random;
    model->config = *config;
    if (model->config.kept_messages == 0)
        model->config.kept_messages = config->flavour == RB_FLAVOUR_MEMORY ? 10000 : 1000000;
    rb_random_fill(random, model->secret, sizeof model->secret);
    rb_list_init(&model->users);
    rb_list_init(&model->token_order);
    rb_list_init(&model->topic_order);
    rb_list_init(&model->answer_order);
    rb_list_init(&model->polls);
    rb_list_init(&model->late);
    *ret = model;
    return RB_OK;
}

struct rejected {
    struct map_node node;
    char *name;
};

static void rejected_free(struct rb_map_node *node)
{
    struct rejected *rejected = RB_CONTAINER(node, struct rejected, node.node);
    free(rejected->name);
    free(rejected);
}

void rb_model_free(struct rb_model *model)
{
    if (!model)
        return;
    polls_end(model, false);
    tokens_free(model);
    topics_free(model);
    memory_free(model);
    limits_free(model);
    denied_free(model);
    users_free(model);
    rb_map_clear(&model->rejected, rejected_free);
    free(model);
}

void rb_model_restart(struct rb_model *model)
{
    limits_free(model);
    if (model->config.flavour == RB_FLAVOUR_MEMORY) {
        tokens_free(model);
        topics_free(model);
        memory_free(model);
        denied_free(model);
        users_renew_ids(model);
    }
    RB_LIST_EACH (&model->users, node)
        RB_CONTAINER(node, struct user, link)->waiting = 0;
    polls_end(model, true);
}

void rb_model_wipe(struct rb_model *model)
{
    topics_free(model);
}

void rb_model_storage_dead(struct rb_model *model, bool dead)
{
    model->storage_dead = dead;
}

void rb_model_rate_limits(struct rb_model *model, bool on)
{
    model->config.rate_limits = on;
}

void rb_model_waiter_gap(struct rb_model *model, bool gap)
{
    model->gap = gap;
}

void rb_model_waiter_shuffle(struct rb_model *model, int64_t delay_ms)
{
    model->shuffle_ms = delay_ms;
}

void rb_model_reject_topic(struct rb_model *model, const char *topic, bool reject)
{
    struct map_node *node = map_find(&model->rejected, rb_span_of(topic));
    if (node && !reject) {
        map_remove(&model->rejected, node);
        rejected_free(&node->node);
    }
    if (node || !reject)
        return;
    struct rejected *rejected = calloc(1, sizeof *rejected);
    if (!rejected)
        return;
    rejected->name = rb_span_dup(rb_span_of(topic));
    if (rejected->name)
        map_add(&model->rejected, &rejected->node, rb_span_of(rejected->name));
    else
        free(rejected);
}

void rb_model_counts(const struct rb_model *model, struct rb_model_counts *ret)
{
    *ret = model->counts;
}

/* --- requests --- */

enum need {
    NEED_BODY = 1, /* a JSON object */
    NEED_BEARER = 2,
    NEED_USER = 4, /* the bearer's user, active */
    NEED_READ = 8, /* and that permission */
    NEED_WRITE = 16,
    NEED_ADMIN = 32,
};
#define USER (NEED_BEARER | NEED_USER)

struct route {
    const char *method, *template; /* "{}" takes one segment */
    unsigned needs;
    void (*handle)(struct call *call);
};

static void handle_health(struct call *call)
{
    char time[TIME_MAX];
    time_text(rb_clock_wall_ms(call->model->clock), true, time);
    struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"status\":\"healthy\",\"timestamp\":\"%s\",\"version\":\"0.1.0\"}", time);
    answer_json(call, 200, &body);
}

static void handle_ready(struct call *call)
{
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"ready\":true,\"checks\":{\"storage\":\"ok\"}}");
    answer_json(call, 200, &body);
}

static void handle_device_code(struct call *call)
{
    if (!limit_take(call, "device code", 10))
        return;
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body,
               "{\"error\":\"device_authorization_unavailable\",\"error_description\":\"This relay has no identity "
               "provider.\"}");
    answer_json(call, 400, &body);
}

static void handle_device_token(struct call *call)
{
    if (!limit_take(call, "device token", 30))
        return;
    RB_CLEANUP_STR struct rb_str grant = RB_STR_INIT;
    login_field(call, "grant_type", &grant);
    bool right = rb_span_is(rb_str_span(&grant), "urn:ietf:params:oauth:grant-type:device_code");
    struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"error\":\"%s\"}", right ? "expired_token" : "unsupported_grant_type");
    answer_json(call, 400, &body);
}

/* The first row that fits wins: "stats" shadows a topic of that name. */
static const struct route routes[] = {
    {"GET", "/health", 0, handle_health},
    {"GET", "/ready", 0, handle_ready},
    {"POST", "/auth/login", 0, handle_login},
    {"POST", "/auth/register", USER | NEED_ADMIN | NEED_BODY, handle_register},
    {"POST", "/auth/logout", NEED_BEARER, handle_logout},
    {"GET", "/auth/me", USER, handle_me},
    {"GET", "/auth/users", USER | NEED_ADMIN, handle_users},
    {"PATCH", "/auth/users/{}", USER | NEED_ADMIN | NEED_BODY, handle_user_update},
    {"DELETE", "/auth/users/{}", USER | NEED_ADMIN, handle_user_delete},
    {"POST", "/auth/token/refresh", NEED_BODY, handle_refresh},
    {"POST", "/auth/token/revoke", NEED_BODY, handle_revoke},
    {"GET", "/auth/sessions", USER, handle_sessions},
    {"DELETE", "/auth/sessions/{}", USER, handle_session_delete},
    {"POST", "/auth/device/code", 0, handle_device_code},
    {"POST", "/auth/device/token", 0, handle_device_token},
    {"POST", "/api/v1/topics", USER | NEED_WRITE | NEED_BODY, handle_topic_create},
    {"GET", "/api/v1/topics", USER, handle_topics},
    {"GET", "/api/v1/topics/stats", USER | NEED_ADMIN, handle_topic_stats},
    {"GET", "/api/v1/topics/{}", USER, handle_topic},
    {"PUT", "/api/v1/topics/{}", USER | NEED_BODY, handle_topic_update},
    {"DELETE", "/api/v1/topics/{}", USER, handle_topic_delete},
    {"GET", "/api/v1/topics/{}/messages", USER, handle_page},
    {"POST", "/api/v1/messages", USER | NEED_WRITE | NEED_BODY, handle_post},
    {"POST", "/api/v1/messages/bulk", USER | NEED_WRITE | NEED_BODY, handle_bulk},
    {"POST", "/messages/poll", USER | NEED_READ | NEED_BODY, handle_poll},
    {"GET", "/messages/poll/stats", USER, handle_poll_stats},
};
enum { ROUTE_COUNT = sizeof routes / sizeof routes[0] };

static bool path_fits(const char *template, struct rb_span path, struct rb_span *ret_param)
{
    const char *at = path.at, *end = at + path.len;
    for (; *template; template ++) {
        if (*template == '{') {
            const char *start = at;
            while (at < end && *at != '/')
                at++;
            *ret_param = (struct rb_span){start, (size_t)(at - start)};
            if (ret_param->len == 0)
                return false;
            template ++;
        } else if (at == end || *at++ != *template) {
            return false;
        }
    }
    return at == end;
}

/* The route, or NULL with an answer. */
static const struct route *find_route(struct call *call)
{
    const struct route *other = NULL;
    struct rb_span param = {0};
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!path_fits(routes[i].template, call->path, &param))
            continue;
        if (strcmp(routes[i].method, call->request->method) == 0) {
            decode_percent(&call->param, param, false);
            return &routes[i];
        }
        other = other ? other : &routes[i];
    }
    if (other) {
        answer_detail(call, 405, "Method Not Allowed");
        answer_header(call->answer, "Allow", other->method);
        return NULL;
    }
    struct rb_span shorter = {call->path.at, call->path.len - 1};
    for (size_t i = 0; call->path.at[shorter.len] == '/' && i < ROUTE_COUNT; i++) {
        if (!path_fits(routes[i].template, shorter, &param))
            continue;
        char location[500];
        struct rb_span host = call->request->host.len ? call->request->host : RB_SPAN("127.0.0.1");
        snprintf(location, sizeof location, "http://%.*s%.*s%s%.*s", (int)host.len, host.at, (int)shorter.len,
                 shorter.at, call->query.len ? "?" : "", (int)call->query.len, call->query.len ? call->query.at : "");
        call->answer->status = 307;
        answer_header(call->answer, "Location", location);
        return NULL;
    }
    answer_detail(call, 404, "Not Found");
    return NULL;
}

/* The relay's own names, with or without a port. */
static bool host_trusted(struct rb_span host)
{
    static const char *const own[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        struct rb_span name = {host.at, strlen(own[i])};
        bool fits = host.len == name.len || (host.len > name.len && host.at[name.len] == ':');
        if (fits && rb_span_is_nocase(name, own[i]))
            return true;
    }
    return host.len == 0;
}

/* Host and Content-Length; false: answered. */
static bool check_envelope(struct call *call)
{
    if (!host_trusted(call->request->host)) {
        rb_str_add(&call->answer->body, "Invalid host header");
        call->answer->status = 400;
        call->answer->content_type = "text/plain; charset=utf-8";
        return false;
    }
    if (call->request->body.len > BODY_MAX && !call->request->chunked) {
        struct rb_str body = RB_STR_INIT;
        rb_str_add(&body, "{\"error\":\"PAYLOAD_TOO_LARGE\",\"message\":\"request body exceeds configured limit\"}");
        answer_json(call, 413, &body);
        return false;
    }
    return true;
}

/* application/json and application/…+json, with parameters. */
static bool is_json(struct rb_span type)
{
    static const char begin[] = "application/";
    enum { BEGIN = sizeof begin - 1, END = 5 };
    if (type.len < BEGIN)
        return false;
    const char *semicolon = memchr(type.at, ';', type.len);
    if (semicolon)
        type.len = (size_t)(semicolon - type.at);
    while (type.len && type.at[type.len - 1] == ' ')
        type.len--;
    if (rb_span_is_nocase(type, "application/json"))
        return true;
    return type.len >= BEGIN + END && rb_span_is_nocase((struct rb_span){type.at, BEGIN}, begin) &&
           rb_span_is_nocase((struct rb_span){type.at + type.len - END, END}, "+json");
}

/* Syntax, which comes before the bearer; false: answered. */
static bool parse_body(struct call *call)
{
    struct rb_span body = call->request->body;
    if (body.len == 0 || !is_json(call->request->content_type))
        return true;
    size_t at = 0;
    switch (normal_check(body, &call->body, &at)) {
    case RB_JSON_FINE:
    case RB_JSON_SURROGATE:
        return true;
    case RB_JSON_UTF8:
    case RB_JSON_DEPTH:
        answer_detail(call, 400, "There was an error parsing the body");
        return false;
    case RB_JSON_SYNTAX:
        break;
    }
    struct rb_str text = RB_STR_INIT;
    rb_str_addf(&text,
                "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",%zu],\"msg\":\"JSON decode error\","
                "\"input\":{},\"ctx\":{\"error\":\"Expecting value\"}}]}",
                at);
    answer_json(call, 422, &text);
    return false;
}

/* What the body is instead of an object; false: answered. */
static bool check_body(struct call *call)
{
    static const char message[] = "Input should be a valid dictionary or object to extract fields from";
    struct problems problems = {0};
    if (call->request->body.len == 0)
        problem_add(&problems, "missing", "[\"body\"]", "Field required", NULL, NULL);
    else if (!call->body.text.at)
        problem_add_text(&problems, "model_attributes_type", "[\"body\"]", message, call->request->body, NULL);
    else if (call->body.kind != RB_JSON_OBJECT)
        problem_add(&problems, "model_attributes_type", "[\"body\"]", message, &call->body, NULL);
    return !problems_answer(call, &problems);
}

static bool check_permission(struct call *call, unsigned needs)
{
    const char *missing = needs & NEED_ADMIN && !call->user->admin    ? "admin"
                          : needs & NEED_WRITE && !call->user->writes ? "write"
                          : needs & NEED_READ && !call->user->reads   ? "read"
                                                                      : NULL;
    if (missing)
        answer_detail(call, 403, "Permission '%s' required", missing);
    return !missing;
}

static void execute(struct call *call)
{
    if (!check_envelope(call))
        return;
    const struct route *route = find_route(call);
    if (!route)
        return;
    if (route->needs & NEED_BODY && !parse_body(call))
        return;
    if (route->needs & NEED_BEARER && !access_token_check(call, route->needs & NEED_USER))
        return;
    if (route->needs & NEED_USER && !check_permission(call, route->needs))
        return;
    if (route->needs & NEED_BODY && !check_body(call))
        return;
    route->handle(call);
}

bool rb_model_request(struct rb_model *model, const struct rb_model_request *request, struct rb_model_answer *answer,
                      void (*ready)(void *arg, struct rb_model_answer *answer), void *arg,
                      struct rb_model_poll **ret_poll)
{
    *answer = (struct rb_model_answer){0};
    struct call call = {.model = model, .request = request, .answer = answer, .ready = ready, .arg = arg};
    const char *question = strchr(request->path, '?');
    call.path = (struct rb_span){request->path, question ? (size_t)(question - request->path) : strlen(request->path)};
    call.query = question ? rb_span_of(question + 1) : (struct rb_span){0};
    model->counts.requests++;
    if (call.path.len == 0)
        answer_detail(&call, 404, "Not Found");
    else
        execute(&call);
    rb_str_free(&call.param);
    rb_str_free(&call.token_id);
    if (!call.poll)
        return true;
    *ret_poll = call.poll;
    return false;
}
