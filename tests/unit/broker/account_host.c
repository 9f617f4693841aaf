#include "account_host.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "json_span.h"
#include "log.h"

struct world *world;

static const char password[] = "correct horse";

void host_start_with(int64_t access_token_s, const struct rb_broker_config *config)
{
    struct world_config world_config = world_config_default(7);
    rb_log_set_level(getenv("TRACE") ? RB_LOG_DEBUG : RB_LOG_ERROR);
    ck_assert_int_ge(sodium_init(), 0);
    world_config.access_token_s = access_token_s;
    world_config.broker = *config;
    world_config.trace = getenv("TRACE") ? stderr : NULL;
    world = world_new(&world_config);
    world_boot(world);
    ck_assert(world->up);
}

void host_start(int64_t access_token_s)
{
    host_start_with(access_token_s, &rb_broker_config_default);
}

void host_end(void)
{
    if (!world)
        return;
    struct world_fault fault = world->fault;
    world_free(world);
    world = NULL;
    ck_assert_msg(!fault.set, "%s", fault.text);
}

void host_restart(void)
{
    world_crash(world);
    world_boot(world);
    ck_assert(world->up);
}

struct rb_account *host_account(void)
{
    struct rb_account *account = rb_account_by_name(world->broker->accounts, RB_SPAN("main"));
    ck_assert_ptr_nonnull(account);
    return account;
}

struct rb_account *host_login(bool keep_password)
{
    struct rb_account *account = world_login(world, "main", "user", keep_password);
    ck_assert_ptr_nonnull(account);
    return account;
}

static int ask_relay(const char *path, const char *content_type, struct rb_span body, struct rb_str *answer_body)
{
    struct rb_model_request request = {
        .method = "POST", .path = path, .content_type = rb_span_of(content_type), .body = body, .address = "192.0.2.1"};
    struct rb_model_answer answer = {0};
    struct rb_model_poll *poll = NULL;
    ck_assert(rb_model_request(world->model, &request, &answer, NULL, NULL, &poll));
    rb_str_add_span(answer_body, rb_str_span(&answer.body));
    rb_str_free(&answer.body);
    return answer.status;
}

static char *refresh_token_of(struct rb_span body)
{
    struct rb_json_value json, token;
    struct rb_str text = RB_STR_INIT;
    ck_assert_int_eq(rb_json_check(body, 16, &json, NULL), RB_JSON_FINE);
    ck_assert(rb_json_member(json, "refresh_token", &token));
    ck_assert_int_eq(rb_json_string(token, &text), RB_OK);
    return rb_str_steal(&text);
}

char *host_foreign_token(const char *username)
{
    ck_assert_int_eq(rb_model_user(world->model, username, password, ""), RB_OK);
    RB_CLEANUP_STR struct rb_str form = RB_STR_INIT;
    rb_str_addf(&form, "grant_type=password&username=%s&password=correct+horse", username);
    return world_foreign_login(world, rb_str_span(&form));
}

int host_foreign_refresh(const char *token, char **ret_next)
{
    RB_CLEANUP_STR struct rb_str json = RB_STR_INIT, body = RB_STR_INIT;
    rb_str_addf(&json, "{\"refresh_token\": \"%s\"}", token);
    int status = ask_relay("/auth/token/refresh", "application/json", rb_str_span(&json), &body);
    if (ret_next && status == 200)
        *ret_next = refresh_token_of(rb_str_span(&body));
    return status;
}

enum rb_status host_access(void)
{
    struct rb_span token;
    uint64_t serial;
    enum rb_status status = rb_account_access(host_account(), &token, &serial);
    world_end_tick(world);
    return status;
}

static bool access_there(struct world *of, void *arg)
{
    return !of->up || host_access() == RB_OK;
}

bool host_get_access(int64_t max_ms)
{
    return world_run_until(world, access_there, NULL, max_ms) && world->up;
}

void host_drop_access(void)
{
    struct rb_span token;
    uint64_t serial;
    ck_assert_int_eq(rb_account_access(host_account(), &token, &serial), RB_OK);
    rb_account_access_refused(host_account(), serial);
    world_end_tick(world);
}

const char *host_chain(void)
{
    struct rb_account_status status;
    rb_account_status(host_account(), &status);
    return status.chain_state;
}

static bool chain_is(struct world *of, void *arg)
{
    return !of->up || strcmp(host_chain(), arg) == 0;
}

bool host_chain_becomes(const char *state, int64_t max_ms)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "%s", state);
    return world_run_until(world, chain_is, wanted, max_ms) && world->up;
}

struct rb_model_counts host_counts(void)
{
    struct rb_model_counts counts;
    rb_model_counts(world->model, &counts);
    return counts;
}

size_t host_live_tokens(const char *username)
{
    size_t tokens, chains;
    rb_model_live_tokens(world->model, username, &tokens, &chains);
    return tokens;
}

struct counting {
    const char *kind;
    int count;
};

static void count_event(void *arg, int64_t wall_ms, int64_t account, struct rb_span kind, struct rb_span text)
{
    struct counting *counting = arg;
    counting->count += rb_span_is(kind, counting->kind);
}

int host_events(const char *kind)
{
    struct counting counting = {.kind = kind};
    rb_events_each(world->broker->events, 1000, count_event, &counting);
    return counting.count;
}
