#include "upstream.h"

#include <string.h>

struct upstream upstream;

/* --- the records --- */

static enum rb_status disk_read(struct rb_disk *disk, enum rb_record record, struct rb_str *out, struct rb_error *err)
{
    if (!upstream.records[record].len)
        return rb_fail(err, RB_NOT_FOUND, "never written");
    rb_str_add_span(out, rb_str_span(&upstream.records[record]));
    return RB_OK;
}

static enum rb_status disk_write(struct rb_disk *disk, enum rb_record record, struct rb_span bytes)
{
    rb_str_reset(&upstream.records[record]);
    rb_str_add_span(&upstream.records[record], bytes);
    return RB_OK;
}

void upstream_forget_records(void)
{
    for (int i = 0; i < 2; i++)
        rb_str_free(&upstream.records[i]);
}

/* --- the relay --- */

bool upstream_is(const struct rb_exchange *exchange, const char *method, const char *path)
{
    return strcmp(exchange->method, method) == 0 && strcmp(exchange->path, path) == 0;
}

static enum rb_status start(struct rb_carrier *carrier, struct rb_exchange *exchange)
{
    /* What goes up has the relay's token, never a local placeholder (R9). */
    FUZZ_CHECK(!exchange->bearer || strstr(exchange->bearer, UPSTREAM_SECRET));
    for (const char *at = exchange->path; *at; at++)
        FUZZ_CHECK(*at > ' ' && *at < 0x7f && *at != '#');
    if (upstream.sees)
        upstream.sees(exchange);
    for (size_t i = 0; i < UPSTREAM_PENDING_MAX; i++)
        if (!upstream.pending[i]) {
            upstream.pending[i] = exchange;
            return RB_OK;
        }
    return RB_NO_MEMORY;
}

static void abandon(struct rb_carrier *carrier, struct rb_exchange *exchange)
{
    for (size_t i = 0; i < UPSTREAM_PENDING_MAX; i++)
        if (upstream.pending[i] == exchange)
            upstream.pending[i] = NULL;
}

static void give(struct rb_exchange *exchange, int status, const char *answer)
{
    exchange->delivery = status ? RB_DELIVERY_ANSWER : RB_DELIVERY_LOST;
    exchange->status = status;
    exchange->answer = rb_span_of(answer);
    exchange->answer_is_json = true;
    exchange->retry_after_ms = exchange->relay_wall_ms = -1;
    exchange->done(exchange);
}

static void give_success(struct rb_exchange *exchange)
{
    if (upstream_is(exchange, "POST", "/api/v1/messages"))
        give(exchange, 201, "{\"message_id\":\"5-0\",\"topic\":\"t\",\"timestamp\":\"2026-01-01T00:00:00+00:00\"}");
    else if (strstr(exchange->path, "/messages?"))
        give(exchange, 200, "{\"messages\":[],\"next_cursor\":null,\"total\":0}");
    else if (strcmp(exchange->method, "DELETE") == 0)
        give(exchange, 204, "");
    else if (upstream_is(exchange, "GET", "/api/v1/topics") || upstream_is(exchange, "GET", "/auth/sessions"))
        give(exchange, 200, "[]");
    else if (upstream_is(exchange, "GET", "/health"))
        give(exchange, 200, "{\"status\":\"healthy\",\"version\":\"1\"}");
    else
        give(exchange, strcmp(exchange->method, "POST") == 0 ? 201 : 200,
             "{\"topic_name\":\"t\",\"owner_id\":\"o\",\"description\":null}");
}

static void give_by_mode(struct rb_exchange *exchange)
{
    enum upstream_mode mode = upstream.mode;
    upstream.mode = UPSTREAM_SUCCESS;
    if (mode == UPSTREAM_SUCCESS)
        give_success(exchange);
    else if (mode == UPSTREAM_REFUSAL)
        give(exchange, 422, "{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"no\\u001b\",\"input\":\"x\"}]}");
    else
        give(exchange, mode == UPSTREAM_LOST ? 0 : 500, "{\"error\":\"E\",\"message\":\"m\"}");
}

static void give_messages(struct rb_exchange *exchange)
{
    bool first = !upstream.delivered;
    upstream.delivered = true;
    give(exchange, 200,
         first ? "{\"messages\":[{\"message_id\":\"6-0\",\"topic\":\"t\",\"payload\":{\"n\":NaN},"
                 "\"timestamp\":\"2026-01-01T00:00:00+00:00\",\"metadata\":null}],\"has_more\":false}"
               : "{\"messages\":[],\"has_more\":false}");
}

static void answer_one(struct rb_exchange *exchange, bool polls_too)
{
    bool poll = upstream_is(exchange, "POST", "/messages/poll");
    if (poll && upstream.delivered && !polls_too)
        return;
    abandon(NULL, exchange);
    if (poll)
        give_messages(exchange);
    else if (upstream_is(exchange, "POST", "/auth/login") || upstream_is(exchange, "POST", "/auth/token/refresh"))
        give(exchange, 200,
             "{\"access_token\":\"access-" UPSTREAM_SECRET "\",\"token_type\":\"bearer\",\"refresh_token\":"
             "\"refresh-" UPSTREAM_SECRET "\",\"expires_in\":3600}");
    else if (upstream_is(exchange, "GET", "/auth/me"))
        give(exchange, 200, "{\"user_id\":\"u-1\",\"username\":\"me\"}");
    else if (strncmp(exchange->path, "/auth/", 6) == 0 && strcmp(exchange->method, "POST") == 0)
        give(exchange, 204, "");
    else
        give_by_mode(exchange);
}

void upstream_answer(bool polls_too)
{
    for (size_t i = 0; i < UPSTREAM_PENDING_MAX; i++)
        if (upstream.pending[i])
            answer_one(upstream.pending[i], polls_too);
}

/* --- the engine --- */

enum rb_status upstream_open(const char *dir, struct rb_error *err)
{
    static const char key[32] = {7};
    struct rb_engine_config config = {.store = {.dir = dir}, .key32 = {key, sizeof key}};
    config.broker = rb_broker_config_default;
    config.broker.posts_per_minute = config.broker.refreshes_per_minute = config.broker.logins_per_minute = 0;
    rb_fake_clock_init(&upstream.clock);
    rb_fake_random_init(&upstream.random, 1);
    upstream.disk = (struct rb_disk){.read = disk_read, .write = disk_write};
    upstream.carrier = (struct rb_carrier){.start = start, .abandon = abandon};
    return rb_engine_open(&upstream.clock.clock, &upstream.random.random, &upstream.disk, &upstream.carrier, &config,
                          &upstream.engine, err);
}

void upstream_close(void)
{
    rb_engine_close(upstream.engine);
    upstream.engine = NULL;
    memset(upstream.pending, 0, sizeof upstream.pending);
}

void upstream_go_on(int round, void (*turn)(void))
{
    bool time_goes_on = round % 10 == 9;
    turn();
    upstream_answer(time_goes_on);
    if (time_goes_on) {
        upstream.clock.now += 7000;
        upstream.clock.wall += 7000;
    }
}

static void on_login(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    *(enum rb_status *)arg = status;
    if (err && status != RB_OK)
        fprintf(stderr, "%s\n", err->text);
}

void upstream_log_in(void (*turn)(void))
{
    enum rb_status ended = RB_BUSY;
    struct rb_error err = {0};
    const struct rb_login login = {.name = UPSTREAM_ACCOUNT,
                                   .relay_url = UPSTREAM_URL,
                                   .username = "me",
                                   .password = RB_SPAN("password-" UPSTREAM_SECRET),
                                   .keep_password = true,
                                   .replace = true};
    struct rb_accounts *accounts = rb_engine_broker(upstream.engine)->accounts;
    bool begun = false;
    for (int round = 0; round < UPSTREAM_ROUNDS_MAX && ended == RB_BUSY; round++) {
        /* Another one may be under way. */
        begun = begun || rb_account_login(accounts, &login, on_login, &ended, &err) == RB_OK;
        upstream_go_on(round, turn);
    }
    if (ended != RB_OK)
        fprintf(stderr, "%s\n", err.text);
    FUZZ_CHECK(ended == RB_OK);
}
