#include "fake_relay_private.h"

/* The model answers bodies beyond its own limit itself; this one only bounds memory. */
enum { BODY_BYTES = 64 << 20, IDLE_MS = 5000, HEADER_BYTES = 32768 };

static void exchange_free(struct exchange *exchange)
{
    rb_list_remove(&exchange->link);
    rb_timer_stop(exchange->relay->clock, &exchange->timer);
    free(exchange);
}

static void exchange_drop(struct exchange *exchange)
{
    struct rb_http_request *request = exchange->request;
    exchange_free(exchange);
    rb_http_drop(request);
}

static void add_headers(struct rb_http_request *request, const struct rb_model_answer *answer)
{
    for (size_t i = 0; i < sizeof answer->header / sizeof answer->header[0]; i++) {
        char name[64];
        const char *colon = strchr(answer->header[i], ':');
        if (!colon || (size_t)(colon - answer->header[i]) >= sizeof name)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(colon - answer->header[i]), answer->header[i]);
        rb_http_add_header(request, name, colon + 2);
    }
    if (answer->close)
        rb_http_add_header(request, "Connection", "close");
}

static void answer_fault(struct exchange *exchange, const struct fault *fault)
{
    struct rb_http_request *request = exchange->request;
    int status = fault->status;
    exchange_free(exchange);
    if (*fault->retry_after)
        rb_http_add_header(request, "Retry-After", fault->retry_after);
    struct rb_str body = RB_STR_INIT;
    if (fault->kind == FAULT_HTML) {
        rb_str_add(&body, "<!DOCTYPE html><html><title>Welcome</title><p>Please sign in to this network.</html>");
        rb_http_answer_str(request, 200, "text/html; charset=utf-8", &body);
    } else if (status == 500) {
        rb_str_add(&body, "{\"error\":\"INTERNAL_ERROR\",\"message\":\"An internal error occurred\"}");
        rb_http_answer_str(request, status, "application/json", &body);
    } else if (status == 429) {
        rb_str_add(&body, "{\"error\":\"Rate limit exceeded: 120 per 1 minute\"}");
        rb_http_answer_str(request, status, "application/json", &body);
    } else if (status > 500) {
        rb_str_addf(&body, "<html><head><title>%d</title></head><body>%d from a proxy</body></html>", status, status);
        rb_http_answer_str(request, status, "text/html", &body);
    } else {
        rb_str_add(&body, "{\"detail\":\"A fault that was asked for.\"}");
        rb_http_answer_str(request, status, "application/json", &body);
    }
}

/* Takes the answer's memory; the exchange is over. */
static void finish(struct exchange *exchange, struct rb_model_answer *answer)
{
    struct rb_http_request *request = exchange->request;
    if (exchange->spoiled && exchange->last.kind == FAULT_STATUS) {
        struct fault fault = exchange->last;
        rb_str_free(&answer->body);
        answer_fault(exchange, &fault);
        return;
    }
    if (answer->status == 0 || exchange->spoiled) {
        rb_str_free(&answer->body);
        exchange_drop(exchange);
        return;
    }
    exchange_free(exchange);
    add_headers(request, answer);
    rb_http_answer_str(request, answer->status, answer->content_type, &answer->body);
}

static void on_poll_ready(void *arg, struct rb_model_answer *answer)
{
    finish(arg, answer);
}

/* Behind a proxy on this machine the address is what it says. */
static void address_of(struct rb_http_request *request, char *ret, size_t room)
{
    struct rb_span forwarded = rb_http_header(request, "X-Forwarded-For");
    const char *comma = forwarded.len ? memrchr(forwarded.at, ',', forwarded.len) : NULL;
    size_t skip = comma ? (size_t)(comma - forwarded.at) + 1 : 0;
    while (skip < forwarded.len && forwarded.at[skip] == ' ')
        skip++;
    if (forwarded.len > skip)
        snprintf(ret, room, "%.*s", (int)(forwarded.len - skip), forwarded.at + skip);
    else
        snprintf(ret, room, "127.0.0.1");
}

static void execute(struct exchange *exchange)
{
    struct rb_http_request *http = exchange->request;
    RB_CLEANUP_STR struct rb_str method = RB_STR_INIT, path = RB_STR_INIT;
    char address[64];
    rb_str_add_span(&method, rb_http_method_name(http));
    rb_str_add_span(&path, rb_http_path(http));
    struct rb_span query = rb_http_raw_query(http);
    if (query.len) {
        rb_str_add(&path, "?");
        rb_str_add_span(&path, query);
    }
    if (rb_str_failed(&method) || rb_str_failed(&path) || !method.len || !path.len) {
        exchange_drop(exchange);
        return;
    }
    address_of(http, address, sizeof address);
    struct rb_model_request request = {
        .method = method.at,
        .path = path.at,
        .content_type = rb_http_header(http, "Content-Type"),
        .bearer = rb_http_bearer(http),
        .idempotency_key = rb_http_header(http, "Idempotency-Key"),
        .body = rb_http_body(http),
        .chunked = rb_http_chunked(http),
        .address = address,
        .host = rb_http_header(http, "Host"),
    };
    struct rb_model_answer answer;
    exchange->state = EXCHANGE_POLLING;
    if (rb_model_request(exchange->relay->model, &request, &answer, on_poll_ready, exchange, &exchange->poll))
        finish(exchange, &answer);
}

void exchange_go_on(struct exchange *exchange)
{
    struct fault fault;
    struct rb_http_request *request = exchange->request;
    exchange->state = EXCHANGE_NEW;
    if (!fault_take(exchange->relay, rb_http_method_name(request), rb_http_path(request), exchange->was_held,
                    exchange->was_delayed, &fault)) {
        execute(exchange);
        return;
    }
    switch (fault.kind) {
    case FAULT_HOLD:
        exchange->state = EXCHANGE_HELD;
        exchange->was_held = true;
        break;
    case FAULT_DELAY:
        exchange->state = EXCHANGE_DELAYED;
        exchange->was_delayed = true;
        rb_timer_set_in(exchange->relay->clock, &exchange->timer, fault.ms);
        break;
    case FAULT_CUT:
        exchange_drop(exchange);
        break;
    case FAULT_STATUS:
    case FAULT_DROP:
        exchange->last = fault;
        exchange->spoiled = fault.kind == FAULT_DROP || fault.done;
        if (exchange->spoiled)
            execute(exchange);
        else
            answer_fault(exchange, &fault);
        break;
    case FAULT_HTML:
        answer_fault(exchange, &fault);
        break;
    }
}

static void delay_over(struct rb_timer *timer)
{
    exchange_go_on(RB_CONTAINER(timer, struct exchange, timer));
}

static void on_gone(struct rb_http_request *request, void *arg)
{
    struct exchange *exchange = arg;
    if (exchange->state == EXCHANGE_POLLING) {
        rb_model_poll_forget(exchange->relay->model, exchange->poll);
        exchange_drop(exchange);
    }
    /* What is held or delayed will still be done, as by a relay that has read it. */
}

void exchanges_cut(struct rb_fake_relay *relay)
{
    RB_LIST_EACH_SAFE (&relay->exchanges, node) {
        struct exchange *exchange = RB_CONTAINER(node, struct exchange, link);
        if (exchange->state != EXCHANGE_POLLING)
            exchange_drop(exchange);
    }
}

static void on_request(struct rb_http_request *request, void *arg)
{
    struct rb_fake_relay *relay = arg;
    struct rb_span path = rb_http_path(request);
    if (path.len >= 6 && memcmp(path.at, "/fake/", 6) == 0) {
        handle_control(relay, request);
        return;
    }
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange) {
        rb_http_drop(request);
        return;
    }
    *exchange = (struct exchange){.relay = relay, .request = request, .timer = RB_TIMER_INIT(delay_over)};
    rb_list_init(&exchange->link);
    rb_list_push(&relay->exchanges, &exchange->link);
    rb_http_on_gone(request, on_gone, exchange);
    exchange_go_on(exchange);
}

static void on_problem(struct rb_http_request *request, int status, const char *word, const char *sentence)
{
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"detail\":");
    rb_json_quote(&body, rb_span_of(sentence));
    rb_str_add(&body, "}");
    rb_http_answer_str(request, status, "application/json", &body);
}

static const struct rb_route routes[] = {
    {.method = RB_OTHER_METHOD, .template = "/*", .body = RB_BODY_ANY, .handler = on_request}};

static enum rb_status listen_on(struct rb_fake_relay *relay, const struct rb_fake_relay_config *config,
                                struct rb_error *err)
{
    int fd = -1;
    struct rb_error why = {0};
    enum rb_status status =
        rb_http_bind(config->host ? config->host : "127.0.0.1", config->port, &fd, &relay->port, &why);
    if (status != RB_OK)
        return rb_fail(err, status, "The fake relay cannot open: %s.", why.text);
    relay->face = (struct rb_face){.routes = routes, .count = 1, .prefix = "", .problem = on_problem, .arg = relay};
    relay->faces[0] = &relay->face;
    struct rb_http_listener listener = {.fd = fd, .faces = relay->faces, .face_count = 1, .door = relay};
    return rb_http_server_listen(relay->http, &listener, err);
}

static enum rb_status add_users(struct rb_fake_relay *relay, const struct rb_fake_relay_config *config)
{
    for (size_t i = 0; i < config->user_count; i++) {
        const struct rb_fake_user *user = &config->users[i];
        enum rb_status status =
            rb_model_user(relay->model, user->name, user->password, user->permissions ? user->permissions : "");
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

enum rb_status rb_fake_relay_new(struct rb_loop *loop, const struct rb_fake_relay_config *config,
                                 struct rb_fake_relay **ret, struct rb_error *err)
{
    struct rb_fake_relay *relay = calloc(1, sizeof *relay);
    if (!relay)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    relay->clock = rb_loop_clock(loop);
    rb_random_init_system(&relay->random);
    rb_list_init(&relay->faults);
    rb_list_init(&relay->exchanges);
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    limits.body_bytes = BODY_BYTES;
    limits.header_bytes = HEADER_BYTES;
    limits.idle_ms = IDLE_MS;
    enum rb_status status = rb_model_new(relay->clock, &relay->random, &config->model, &relay->model);
    if (status == RB_OK)
        status = add_users(relay, config);
    if (status != RB_OK)
        rb_fail(err, status, "There is not enough memory.");
    if (status == RB_OK)
        status = rb_http_server_new(loop, &limits, &relay->http, err);
    if (status == RB_OK)
        status = listen_on(relay, config, err);
    if (status != RB_OK) {
        rb_fake_relay_free(relay);
        return status;
    }
    *ret = relay;
    return RB_OK;
}

int rb_fake_relay_port(const struct rb_fake_relay *relay)
{
    return relay->port;
}

bool rb_fake_relay_flush(struct rb_fake_relay *relay)
{
    return rb_http_flush(relay->http);
}

void rb_fake_relay_free(struct rb_fake_relay *relay)
{
    if (!relay)
        return;
    RB_LIST_EACH_SAFE (&relay->exchanges, node)
        exchange_drop(RB_CONTAINER(node, struct exchange, link));
    faults_clear(relay, false);
    rb_model_free(relay->model);
    if (relay->http)
        rb_http_server_free(relay->http);
    free(relay);
}
