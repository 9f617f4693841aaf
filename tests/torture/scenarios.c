#include "run.h"

#include <stdlib.h>
#include <string.h>

#include "json_span.h"

static const char topic[] = "job_setup";
static const char password[] = "correct horse";

struct rb_account *run_account(struct run *run)
{
    return run->world->up ? rb_account_by_name(run->world->broker->accounts, RB_SPAN("main")) : NULL;
}

/* Nothing was wrong with what was asked: the answer must say so. A caller takes "invalid" or "not found" for the last
 * word and does not ask again. */
static bool blames_caller(enum rb_status status)
{
    return status == RB_INVALID || status == RB_NOT_FOUND || status == RB_EXISTS || status == RB_DENIED ||
           status == RB_CORRUPT;
}

static void tell(struct run *run, enum rb_status status)
{
    if (run->acting && blames_caller(status))
        world_fail(run->world, "a caller was told %s, for a call that failed", rb_status_text(status));
    run->told = status == RB_OK ? TOLD_DONE : TOLD_FAILED;
    world_trace(run->world, "the caller is told: %s", rb_status_text(status));
}

static void nothing(struct run *run)
{
}

/* --- start --- */

static void boot_act(struct run *run)
{
    world_boot(run->world);
    run->told = run->world->up ? TOLD_DONE : TOLD_FAILED;
}

static void model_user(struct run *run)
{
    failing_pause();
    if (rb_model_user(run->world->model, "user", password, "") != RB_OK)
        abort();
    failing_go_on();
}

static void log_in_first(struct run *run)
{
    world_boot(run->world);
    if (!world_login(run->world, "main", "user", false))
        world_fail(run->world, "the first login failed");
    run->has_login = true;
}

/* --- posts --- */

static void on_post_done(struct rb_post_wait *wait, enum rb_status committed, const struct rb_post_view *view)
{
    struct asked_post *post = RB_CONTAINER(wait, struct asked_post, wait);
    struct run *run = post->run;
    bool failed = committed != RB_OK || view->state == RB_POST_REFUSED || view->state == RB_POST_EXPIRED;
    if (committed == RB_OK && failed)
        world_fail(run->world, "P3: a good post ended as %s", rb_post_state_text(view->state));
    post->told = failed ? TOLD_FAILED : TOLD_DONE;
    tell(run, committed);
}

static void post_message(struct run *run, int number, size_t padding, int64_t wait_ms)
{
    static char payload[1024 * 1024];
    if (number == POSTS_MAX)
        abort();
    if (number >= run->post_count)
        run->post_count = number + 1;
    struct asked_post *post = &run->posts[number];
    *post = (struct asked_post){.run = run, .wait.done = on_post_done};
    char key[16];
    snprintf(key, sizeof key, "key %d", number);
    int len = snprintf(payload, sizeof payload, "{\"p\":%d,\"s\":\"%*s\"}", number, (int)padding, "");
    struct rb_post request = {
        .account = run_account(run),
        .topic = rb_span_of(topic),
        .payload = {payload, (size_t)len},
        .metadata = RB_SPAN("{\"a\":\"b\"}"),
        .expires_wall_ms = RB_FAKE_WALL_MS + INT64_C(48) * 3600 * 1000,
        .key = rb_span_of(key),
        .door = "default",
    };
    struct rb_error err = {0};
    bool repeated;
    enum rb_status status = rb_outbox_add(run->world->broker->outbox, &request, &post->id, &repeated, &err);
    if (status == RB_OK) {
        rb_outbox_wait(run->world->broker->outbox, post->id, wait_ms, &post->wait);
    } else {
        post->told = TOLD_FAILED;
        tell(run, status);
    }
}

/* What was not answered well is posted again, as a caller does it: the same message with the same key. */
static int next_number(const struct run *run)
{
    for (int i = 0; i < run->post_count; i++)
        if (run->posts[i].told != TOLD_DONE)
            return i;
    return run->post_count;
}

static void post_act(struct run *run)
{
    post_message(run, next_number(run), 16, 10 * 1000);
}

static void burst_act(struct run *run)
{
    int first = next_number(run);
    for (int i = first; i < first + 3 && run->world->up; i++)
        post_message(run, i, 16, 10 * 1000);
}

/* The first answer is lost: after a while the topic is looked at. */
static void lost_act(struct run *run)
{
    struct world *world = run->world;
    world->weather.lose_answer = 1000;
    post_message(run, next_number(run), 16, 60 * 1000);
    world_end_tick(world);
    world_run(world, 1000);
    world->weather.lose_answer = 0;
}

static int copies_of(struct run *run, int number)
{
    struct rb_model_message message;
    char begin[32];
    int copies = 0, len = snprintf(begin, sizeof begin, "{\"p\":%d,", number);
    for (size_t i = 0; rb_model_topic_message(run->world->model, "user", topic, i, &message); i++)
        copies += message.payload.len > (size_t)len && memcmp(message.payload.at, begin, (size_t)len) == 0;
    return copies;
}

static void posts_check(struct run *run)
{
    struct world *world = run->world;
    for (int i = 0; i < run->post_count; i++) {
        const struct asked_post *post = &run->posts[i];
        int copies = copies_of(run, i);
        struct rb_post_view view = {0};
        enum rb_status seen = post->id > 0 ? rb_outbox_view(world->broker->outbox, post->id, &view) : RB_NOT_FOUND;
        if (post->told == TOLD_DONE && copies == 0)
            world_fail(world, "P3: post %d was answered and is nowhere", i);
        if (post->told == TOLD_FAILED && copies > 0)
            world_fail(world, "post %d was answered as failed, but it was sent", i);
        if (copies > 1 && !(seen == RB_OK && view.maybe_duplicate))
            world_fail(world, "post %d is stored %d times and not marked", i, copies);
        if (post->told == TOLD_DONE && post->id > 0 && (seen != RB_OK || view.state != RB_POST_ACCEPTED))
            world_fail(world, "post %d arrived, and its row says %s", i,
                       seen == RB_OK ? rb_post_state_text(view.state) : "nothing");
    }
}

/* --- polls --- */

static void publish(struct run *run, int count, size_t padding)
{
    static char payload[1024 * 1024];
    failing_pause();
    for (int i = 0; i < count; i++) {
        int len =
            snprintf(payload, sizeof payload, "{\"foreign\":%d,\"s\":\"%*s\"}", run->published++, (int)padding, "");
        if (rb_model_publish(run->world->model, "user", rb_span_of(topic), (struct rb_span){payload, (size_t)len}) !=
            RB_OK)
            abort();
    }
    failing_go_on();
}

static void on_poll_done(struct rb_poll *poll, enum rb_status status, const struct rb_error *err,
                         const struct rb_poll_item *items, size_t count, bool has_more)
{
    struct run *run = poll->arg;
    run->polling = false;
    tell(run, status);
    for (size_t i = 0; i < count; i++) {
        if (run->seen_count == MESSAGES_MAX) {
            world_fail(run->world, "a reader got more messages than there are");
            return;
        }
        snprintf(run->seen[run->seen_count++], sizeof run->seen[0], "%.*s", (int)items[i].message_id.len,
                 items[i].message_id.at);
    }
}

static struct rb_session *session_of(struct run *run)
{
    return run->has_session ? rb_session_find(run->world->broker->sessions, run->session, "default", 1000) : NULL;
}

static void open_session(struct run *run)
{
    struct world *world = run->world;
    struct rb_session *session = NULL;
    struct rb_error err = {0};
    enum rb_status status =
        rb_session_open(world->broker->sessions, run_account(run), "default", 1000, RB_SPAN("user"), &session, &err);
    if (status == RB_OK) {
        memcpy(run->session, rb_session_id(session), sizeof run->session);
        run->has_session = true;
        world_end_tick(world);
        if (world->up && session_of(run))
            return;
    }
    run->has_session = false;
    tell(run, status == RB_OK ? RB_FULL : status);
}

static void poll(struct run *run, int64_t timeout_ms)
{
    struct world *world = run->world;
    struct rb_poll_topic asked = {
        .name = rb_span_of(topic), .has_since = run->since[0] != 0, .since = rb_span_of(run->since)};
    struct rb_session *session = session_of(run);
    if (run->has_session && !session) {
        world_fail(world, "a committed session is gone");
        return;
    }
    run->poll = (struct rb_poll){
        .session = session,
        .account = run_account(run),
        .topics = &asked,
        .topic_count = 1,
        .timeout_ms = timeout_ms,
        .connection = ++run->connections,
        .max_bytes = 1 << 20,
        .done = on_poll_done,
        .arg = run,
    };
    struct rb_error err = {0};
    enum rb_status status = rb_poll_start(world->broker->sessions, &run->poll, &err);
    run->polling = status == RB_OK;
    if (status != RB_OK)
        tell(run, status);
}

static bool poll_ended(struct world *world, void *arg)
{
    return !world->up || !((struct run *)arg)->polling;
}

/* A session with its start found, and nothing read yet. */
static void poll_prepare(struct run *run)
{
    log_in_first(run);
    open_session(run);
    poll(run, 1000);
    world_end_tick(run->world);
    world_run(run->world, 5 * 1000);
    run->first_expected = run->published;
    publish(run, 3, 16);
    run->told = TOLD_NOTHING;
}

static void poll_act(struct run *run)
{
    poll(run, 20 * 1000);
}

/* Nothing is there yet: it waits. */
static void parked_prepare(struct run *run)
{
    poll_prepare(run);
    world_run(run->world, 1000);
    poll(run, 5000);
    world_end_tick(run->world);
    world_run_until(run->world, poll_ended, run, 10 * 1000);
    snprintf(run->since, sizeof run->since, "%s", run->seen[run->seen_count - 1]);
    run->told = TOLD_NOTHING;
}

static void parked_act(struct run *run)
{
    poll(run, 20 * 1000);
    world_end_tick(run->world);
    world_run(run->world, 2000);
    publish(run, 2, 16);
}

/* The first poll of a session that is new, over a topic that is new: it starts at the newest. */
static void session_act(struct run *run)
{
    open_session(run);
    if (run->has_session && run->world->up)
        poll(run, 5 * 1000);
}

/* An id that is not here is read from the relay. */
static void since_prepare(struct run *run)
{
    log_in_first(run);
    publish(run, 3, 16);
    run->first_expected = 1;
    struct rb_model_message message;
    if (!rb_model_topic_message(run->world->model, "user", topic, 0, &message))
        abort();
    snprintf(run->since, sizeof run->since, "%.*s", (int)message.message_id.len, message.message_id.at);
    open_session(run);
    run->told = TOLD_NOTHING;
}

/* Too much at once: read in pages. */
static void pages_prepare(struct run *run)
{
    run->world->config.broker.answer_max_bytes = 3000;
    poll_prepare(run);
    publish(run, 4, 1200);
}

static bool was_seen(struct run *run, struct rb_span id)
{
    for (int i = 0; i < run->seen_count; i++)
        if (rb_span_is(id, run->seen[i]))
            return true;
    return false;
}

/* Reads on until nothing more comes: then each message since the beginning must have been seen. */
static void polls_check(struct run *run)
{
    struct world *world = run->world;
    if (!run->has_session)
        open_session(run);
    for (int i = 0; i < 8 && !world->fault.set; i++) {
        int before = run->seen_count;
        poll(run, 3000);
        world_end_tick(world);
        if (!world_run_until(world, poll_ended, run, 60 * 1000) || !world->up || run->told != TOLD_DONE)
            world_fail(world, "a poll without a failure failed");
        if (run->seen_count == before)
            break;
        snprintf(run->since, sizeof run->since, "%s", run->seen[run->seen_count - 1]);
    }
    struct rb_model_message message;
    for (size_t i = (size_t)run->first_expected;
         rb_model_topic_message(world->model, "user", topic, i, &message) && !world->fault.set; i++)
        if (!was_seen(run, message.message_id))
            world_fail(world, "P4: message %zu was never handed out", i);
}

/* Of a session that was opened while calls failed: from where it began is not known to the test. */
static void session_check(struct run *run)
{
    run->first_expected = run->published;
    if (!run->has_session)
        open_session(run);
    poll(run, 1000);
    world_end_tick(run->world);
    world_run_until(run->world, poll_ended, run, 60 * 1000);
    publish(run, 2, 16);
    polls_check(run);
}

/* --- logins --- */

static void on_account_done(void *arg, enum rb_status status, const struct rb_error *err, struct rb_account *account)
{
    struct run *run = arg;
    if (status == RB_OK)
        run->has_login = true;
    tell(run, status);
}

static void login_prepare(struct run *run)
{
    world_boot(run->world);
    model_user(run);
}

static void log_in(struct run *run, struct rb_span refresh_token, bool keep_password)
{
    struct rb_login login = {
        .name = "main",
        .relay_url = world_url,
        .username = refresh_token.len ? NULL : "user",
        .password = refresh_token.len ? (struct rb_span){0} : rb_span_of(password),
        .keep_password = keep_password,
        .refresh_token = refresh_token,
    };
    struct rb_error err = {0};
    enum rb_status status = rb_account_login(run->world->broker->accounts, &login, on_account_done, run, &err);
    if (status != RB_OK)
        tell(run, status);
}

static void login_act(struct run *run)
{
    log_in(run, (struct rb_span){0}, true);
}

static void logout_act(struct run *run)
{
    struct rb_error err = {0};
    run->logged_out = true;
    enum rb_status status = rb_account_logout(run_account(run), on_account_done, run, &err);
    if (status != RB_OK)
        tell(run, status);
}

static void logout_check(struct run *run)
{
    struct world *world = run->world;
    size_t tokens, chains;
    if (run->told != TOLD_DONE)
        return;
    if (rb_account_state(run_account(run)) != RB_ACCOUNT_LOGGED_OUT)
        world_fail(world, "P5: the logout was answered, and the account is %s",
                   rb_account_state_text(rb_account_state(run_account(run))));
    world_run(world, 20 * 60 * 1000);
    rb_model_live_tokens(world->model, "user", &tokens, &chains);
    if (chains > 0)
        world_fail(world, "P5: the relay was never asked to forget the login");
}

/* Another client of the relay logs in: its token is to be imported. */
static void foreign_token(struct run *run)
{
    struct rb_model_request request = {
        .method = "POST",
        .path = "/auth/login",
        .content_type = RB_SPAN("application/x-www-form-urlencoded"),
        .body = RB_SPAN("username=user&password=correct%20horse"),
        .address = "127.0.0.2",
    };
    struct rb_model_answer answer = {0};
    struct rb_json_value body, token;
    struct rb_model_poll *none;
    failing_pause();
    if (!rb_model_request(run->world->model, &request, &answer, NULL, NULL, &none) ||
        rb_json_check(rb_str_span(&answer.body), 16, &body, NULL) != RB_JSON_FINE ||
        !rb_json_member(body, "refresh_token", &token))
        abort();
    rb_str_reset(&run->token);
    (void)rb_json_string(token, &run->token);
    rb_str_free(&answer.body);
    failing_go_on();
}

static void import_prepare(struct run *run)
{
    login_prepare(run);
    foreign_token(run);
}

/* The same token again, unless it has been taken. */
static void import_act(struct run *run)
{
    if (run_account(run))
        foreign_token(run);
    log_in(run, rb_str_span(&run->token), false);
}

/* --- rotations --- */

static int64_t generation_of(struct run *run)
{
    struct rb_account_status status = {0};
    rb_account_status(run_account(run), &status);
    return status.generation;
}

static void rotation_prepare(struct run *run)
{
    log_in_first(run);
    world_run(run->world, 601 * 1000);
    if (!run->world->up)
        abort();
    run->generation = generation_of(run);
}

static enum rb_status take_token(struct run *run, int64_t patience_ms)
{
    struct world *world = run->world;
    struct rb_span token;
    uint64_t serial;
    for (int64_t until = world->now_ms + patience_ms;;) {
        struct rb_account *account = run_account(run);
        enum rb_status status = account ? rb_account_access(account, &token, &serial) : RB_NOT_FOUND;
        if (status != RB_UNAVAILABLE || world->now_ms >= until)
            return status;
        world_end_tick(world);
        world_run(world, 500);
    }
}

static void rotation_act(struct run *run)
{
    enum rb_status status = take_token(run, 20 * 1000);
    if (run->world->up)
        tell(run, status);
}

static void rotation_check(struct run *run)
{
    if (generation_of(run) == run->generation)
        world_fail(run->world, "the token was never rotated");
}

bool run_login_lives(struct run *run)
{
    return take_token(run, 5 * 60 * 1000) == RB_OK;
}

/* Every chain is dead: the stored password logs in again. */
static void recovery_prepare(struct run *run)
{
    world_boot(run->world);
    if (!world_login(run->world, "main", "user", true))
        world_fail(run->world, "the first login failed");
    run->has_login = true;
    rb_model_revoke_all(run->world->model, "user");
    world_run(run->world, 601 * 1000);
}

/* --- a call with the account's token --- */

static void on_topic_done(void *arg, const struct rb_answer *answer)
{
    tell(arg, answer->end == RB_END_EXECUTED && answer->problem == RB_PROBLEM_NONE ? RB_OK : RB_UNAVAILABLE);
}

static void call_act(struct run *run)
{
    struct rb_topic_request request = {.call = RB_TOPIC_LIST};
    enum rb_status status = rb_account_topic(run_account(run), 1000, &request, 5000, on_topic_done, run);
    if (status != RB_OK)
        tell(run, status);
}

/* --- what the daemon does by itself --- */

static void retention_prepare(struct run *run)
{
    run->world->config.broker.retention_ms = 60 * 1000;
    run->world->config.broker.key_ms = 60 * 1000;
    poll_prepare(run);
    publish(run, 5, 900 * 1000);
    for (int i = 0; i < 2; i++)
        post_message(run, i, 600 * 1000, 1000);
    world_end_tick(run->world);
    world_run(run->world, 5 * 1000);
    poll(run, 2000);
    world_end_tick(run->world);
    world_run(run->world, 5 * 1000);
    snprintf(run->since, sizeof run->since, "%s", run->seen[run->seen_count - 1]);
    run->told = TOLD_NOTHING;
}

static void retention_act(struct run *run)
{
    run->told = TOLD_DONE;
    poll(run, 2000);
}

/* --- starts --- */

/* The host died with a rotation under way, a post that is being sent, one queued, and messages read. */
static void restart_prepare(struct run *run)
{
    struct world *world = run->world;
    poll_prepare(run);
    world_run(world, 595 * 1000);
    world->weather.latency_max_ms = 1;
    world->weather.lose_request = 1000;
    for (int i = 0; i < 3; i++)
        post_message(run, i, 16, 0);
    world_end_tick(world);
    world_run(world, 1500);
    world->weather.lose_request = 0;
    world_crash(world);
    run->told = TOLD_NOTHING;
    run->polling = false;
}

static void restart_check(struct run *run)
{
    polls_check(run);
    posts_check(run);
}

const struct scenario scenarios[] = {
    {"first start", nothing, boot_act, 2000, nothing, true},
    {"restart", restart_prepare, boot_act, 20 * 1000, restart_check, true},
    {"login", login_prepare, login_act, 5000, nothing, false},
    {"import", import_prepare, import_act, 5000, nothing, false},
    {"logout", log_in_first, logout_act, 90 * 1000, logout_check, false},
    {"post", log_in_first, post_act, 15 * 1000, posts_check, false},
    {"posts in a row", log_in_first, burst_act, 15 * 1000, posts_check, false},
    {"lost answer", log_in_first, lost_act, 61 * 1000, posts_check, false},
    {"session", log_in_first, session_act, 7 * 1000, session_check, false},
    {"poll", poll_prepare, poll_act, 21 * 1000, polls_check, false},
    {"parked poll", parked_prepare, parked_act, 21 * 1000, polls_check, false},
    {"poll since", since_prepare, poll_act, 21 * 1000, polls_check, false},
    {"pages", pages_prepare, poll_act, 21 * 1000, polls_check, false},
    {"rotation", rotation_prepare, rotation_act, 1000, rotation_check, false},
    {"recovery", recovery_prepare, rotation_act, 1000, nothing, false},
    {"topic call", log_in_first, call_act, 7 * 1000, nothing, false},
    {"HTTP post", log_in_first, local_post_act, 1000, posts_check, false},
    {"HTTP bulk", log_in_first, local_bulk_act, 1000, local_bulk_check, false},
    {"HTTP poll", poll_prepare, local_poll_act, 1000, polls_check, false},
    {"HTTP poll since", since_prepare, local_poll_act, 1000, polls_check, false},
    {"HTTP login", log_in_first, local_login_act, 1000, nothing, false},
    {"HTTP topics", log_in_first, local_topics_act, 1000, nothing, false},
    {"HTTP status", log_in_first, local_status_act, 1000, nothing, false},
    {"housekeeping", retention_prepare, retention_act, 180 * 1000, nothing, false},
};
const size_t scenario_count = sizeof scenarios / sizeof *scenarios;
