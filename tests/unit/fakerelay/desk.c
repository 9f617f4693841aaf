#include "desk.h"

static struct said last;

static void forget_last(void)
{
    free(last.text);
    json_decref(last.json);
    last = (struct said){0};
}

void desk_open_with(struct desk *desk, struct rb_model_config config)
{
    *desk = (struct desk){0};
    rb_fake_clock_init(&desk->clock);
    rb_fake_random_init(&desk->random, 7);
    ck_assert_int_eq(rb_model_new(&desk->clock.clock, &desk->random.random, &config, &desk->model), RB_OK);
    ck_assert_int_eq(rb_model_user(desk->model, "alice", "secret-alice", ""), RB_OK);
}

void desk_open(struct desk *desk, enum rb_flavour flavour)
{
    struct rb_model_config config = RB_MODEL_CONFIG_DEFAULT;
    config.flavour = flavour;
    desk_open_with(desk, config);
}

void desk_close(struct desk *desk)
{
    forget_last();
    rb_model_free(desk->model);
}

static void unexpected(void *arg, struct rb_model_answer *answer)
{
    rb_str_free(&answer->body);
    ck_abort_msg("an answer came late");
}

const struct said *ask_bytes(struct desk *desk, const char *method, const char *path, const char *type,
                             struct rb_span body, bool chunked)
{
    struct rb_model_request request = {.method = method,
                                       .path = path,
                                       .content_type = rb_span_of(type),
                                       .bearer = rb_span_of(desk->bearer),
                                       .idempotency_key = rb_span_of(desk->key),
                                       .body = body,
                                       .chunked = chunked,
                                       .address = "127.0.0.1"};
    struct rb_model_answer answer;
    struct rb_model_poll *poll = NULL;
    ck_assert_msg(rb_model_request(desk->model, &request, &answer, unexpected, NULL, &poll), "%s has to wait", path);
    forget_last();
    last.status = answer.status;
    last.close = answer.close;
    snprintf(last.header, sizeof last.header, "%s", answer.header[0]);
    last.text = rb_str_steal(&answer.body);
    ck_assert_ptr_nonnull(last.text);
    last.json = json_loads(last.text, JSON_DECODE_ANY, NULL);
    return &last;
}

const struct said *ask(struct desk *desk, const char *method, const char *path, const char *body)
{
    return ask_bytes(desk, method, path, body ? "application/json" : NULL, rb_span_of(body), false);
}

const struct said *post(struct desk *desk, const char *topic, const char *payload)
{
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"topic\":\"%s\",\"payload\":%s}", topic, payload);
    return ask(desk, "POST", "/api/v1/messages", body.at);
}

const char *text_of(const struct said *said, const char *field)
{
    const char *text = json_string_value(json_object_get(said->json, field));
    ck_assert_msg(text != NULL, "no %s in %s", field, said->text);
    return text;
}

static char *copy(const char *text)
{
    char *made = rb_span_dup(rb_span_of(text));
    ck_assert_ptr_nonnull(made);
    return made;
}

char *sign_in(struct desk *desk)
{
    static char bearer[1024];
    const struct said *said = ask_bytes(desk, "POST", "/auth/login", "application/x-www-form-urlencoded",
                                        RB_SPAN("username=alice&password=secret%2Dalice&grant_type=password"), false);
    ck_assert_int_eq(said->status, 200);
    snprintf(bearer, sizeof bearer, "%s", text_of(said, "access_token"));
    desk->bearer = bearer;
    return copy(text_of(said, "refresh_token"));
}

char *refresh(struct desk *desk, const char *token, int status)
{
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"refresh_token\":\"%s\"}", token);
    const struct said *said = ask(desk, "POST", "/auth/token/refresh", body.at);
    ck_assert_int_eq(said->status, status);
    return status == 200 ? copy(text_of(said, "refresh_token")) : NULL;
}

static void hear(void *arg, struct rb_model_answer *answer)
{
    struct waiter *waiter = arg;
    ck_assert(!waiter->heard);
    waiter->heard = true;
    waiter->status = answer->status;
    waiter->text = rb_str_steal(&answer->body);
}

void wait_for(struct desk *desk, struct waiter *waiter, const char *body)
{
    *waiter = (struct waiter){.status = -1};
    struct rb_model_request request = {.method = "POST",
                                       .path = "/messages/poll",
                                       .content_type = RB_SPAN("application/json"),
                                       .bearer = rb_span_of(desk->bearer),
                                       .body = rb_span_of(body),
                                       .address = "127.0.0.1"};
    struct rb_model_answer answer;
    if (rb_model_request(desk->model, &request, &answer, hear, waiter, &waiter->poll))
        hear(waiter, &answer);
}

void waiter_free(struct waiter *waiter)
{
    free(waiter->text);
    waiter->text = NULL;
}
