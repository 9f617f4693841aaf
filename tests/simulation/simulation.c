/* Simulation: callers and readers on one host, foreign publishers, a relay, a disk and a network that fail, all decided
 * by a seed; after every step the promises P1–P5 are checked against what the model relay knows.
 *
 *     simulation [--seeds N] [--first N] [--jobs N] [--seed N]
 *
 * `--seed N` replays one with a trace. Prints faults, crashes per state and every transition (coverage.h); a state never
 * hit fails a run of 500 seeds or more, a transition never made one of 2,000 or more. */
#include <getopt.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "coverage.h"
#include "log.h"
#include "logins.h"
#include "plants.h"
#include "world.h"

enum { TOPICS = 3, READERS = 3, POSTS_MAX = 160, MESSAGES_MAX = 2000, ACTIONS = 120 };

static const char *const topic_name[TOPICS] = {"job_setup", "job_status_update", "job_kill"};

enum answer { ANSWER_NONE, ANSWER_201, ANSWER_202, ANSWER_REFUSED, ANSWER_FAILED };

/* A post as its caller remembers it. */
struct post {
    int topic;
    int64_t outbox_id;
    enum answer answer;
    bool committed; /* an answer said so */
    bool expires;
    char message_id[64];
};

struct run;

struct post_call {
    struct rb_list node;
    struct rb_post_wait wait;
    struct run *run;
    int post;
};

/* What a reader has seen of a topic, by the index of the message in the model. */
struct reading {
    bool begun;
    int64_t start, next; /* subscribed from; every index in [start, next) was handed out */
    char since[64];
};

struct reader {
    struct run *run;
    struct rb_poll poll;
    unsigned char session[RB_SESSION_ID_BYTES];
    bool has_session, polling, lose_answer, uses_since;
    uint64_t connection;
    struct reading topics[TOPICS];
};

struct run {
    struct world *world;
    struct logins logins;
    bool disk_full, was_read_only;
    struct coverage_watch watch;
    struct post posts[POSTS_MAX];
    int post_count;
    struct rb_list calls;
    struct reader readers[READERS];
    char *ids[TOPICS][MESSAGES_MAX]; /* the model's message ids, in stored order */
    int id_count[TOPICS];
    int foreign;
    uint64_t connections;
};

/* Where the crashes and faults fell, over all seeds. */
static struct hits {
    uint64_t chain[7], queued, sending, unknown, polling, parked, disk_full, io_error, graceful, relay_restarts,
        revoked_upstream, logins, logouts, imports, restored, read_only, spare_rests, posts, messages, requests, boots,
        crashes, lost_logins;
} hits;
static const char *const chain_states[] = {"active", "rotating", "uncertain", "dead", "revoking", "revoked", "held"};

static void note_crash(struct world *world, void *arg)
{
    struct rb_account *account = world->up ? rb_account_by_name(world->broker->accounts, RB_SPAN("main")) : NULL;
    if (!account)
        return;
    struct rb_account_status status;
    rb_account_status(account, &status);
    for (size_t i = 0; i < sizeof chain_states / sizeof *chain_states; i++)
        if (strcmp(status.chain_state, chain_states[i]) == 0)
            hits.chain[i]++;
    struct rb_outbox_stats outbox;
    rb_outbox_stats(world->broker->outbox, &outbox);
    hits.queued += outbox.queued > 0;
    hits.sending += outbox.sending > 0;
    hits.unknown += outbox.unknown > 0;
    struct rb_inbox_stats inbox;
    rb_inbox_stats(world->broker->inbox, &inbox);
    hits.polling += inbox.polling > 0;
    struct rb_session_stats sessions;
    rb_session_stats(world->broker->sessions, &sessions);
    hits.parked += sessions.parked > 0;
}

/* --- what the model has --- */

static void learn_ids(struct run *run)
{
    for (int t = 0; t < TOPICS; t++) {
        struct rb_model_message message;
        while (run->id_count[t] < MESSAGES_MAX &&
               rb_model_topic_message(run->world->model, "user", topic_name[t], (size_t)run->id_count[t], &message))
            run->ids[t][run->id_count[t]++] = rb_span_dup(message.message_id);
    }
}

static int index_of(struct run *run, int topic, struct rb_span id)
{
    learn_ids(run);
    for (int i = run->id_count[topic] - 1; i >= 0; i--)
        if (rb_span_is(id, run->ids[topic][i]))
            return i;
    return -1;
}

/* The number of the post in a model payload {"p":N}, -1 for a foreign message. */
static int post_of(struct run *run, int topic, int index)
{
    struct rb_model_message message;
    if (!rb_model_topic_message(run->world->model, "user", topic_name[topic], (size_t)index, &message))
        return -1;
    int64_t number;
    struct rb_span payload = message.payload;
    if (payload.len < 7 || memcmp(payload.at, "{\"p\":", 5) != 0)
        return -1;
    return rb_span_to_i64((struct rb_span){payload.at + 5, payload.len - 6}, 0, POSTS_MAX, &number) == RB_OK
               ? (int)number
               : -1;
}

/* --- posting --- */

static bool may_end_unsent(const struct run *run, const struct post *post, const struct rb_post_view *view)
{
    return view->state == RB_POST_EXPIRED ? post->expires
                                          : view->state == RB_POST_REFUSED && view->status == 403 && run->was_read_only;
}

static void on_post_done(struct rb_post_wait *wait, enum rb_status committed, const struct rb_post_view *view)
{
    struct post_call *call = RB_CONTAINER(wait, struct post_call, wait);
    struct run *run = call->run;
    struct post *post = &run->posts[call->post];
    if (world_leaves(run->world)) {
        if (committed != RB_OK) {
            post->answer = ANSWER_FAILED;
        } else if (view->state == RB_POST_ACCEPTED) {
            post->answer = ANSWER_201;
            post->committed = true;
            snprintf(post->message_id, sizeof post->message_id, "%.*s", (int)view->message_id.len, view->message_id.at);
            int index = index_of(run, post->topic, view->message_id);
            if (index < 0)
                world_fail(run->world, "P3: post %d was answered 201, but the relay has no such message", call->post);
            else if (post_of(run, post->topic, index) != call->post)
                world_fail(run->world, "P3: post %d was answered with another message's id", call->post);
        } else if (view->state == RB_POST_REFUSED || view->state == RB_POST_EXPIRED) {
            post->answer = ANSWER_REFUSED;
            if (!may_end_unsent(run, post, view))
                world_fail(run->world, "P3: post %d ended as %s (%d)", call->post, rb_post_state_text(view->state),
                           view->status);
        } else {
            post->answer = ANSWER_202;
            post->committed = true;
        }
        world_trace(run->world, "post %d answered %d", call->post, (int)post->answer);
    }
    rb_list_remove(&call->node);
    free(call);
}

static void act_post(struct run *run)
{
    if (run->post_count == POSTS_MAX || !run->world->up || run->logins.logged_out)
        return;
    int number = run->post_count++;
    struct post *post = &run->posts[number];
    post->topic = (int)world_between(run->world, 0, TOPICS - 1);
    char payload[32];
    snprintf(payload, sizeof payload, "{\"p\":%d}", number);
    struct rb_post request = {
        .account = run->logins.account,
        .topic = rb_span_of(topic_name[post->topic]),
        .payload = rb_span_of(payload),
        .door = "default",
    };
    post->expires = world_chance(run->world, 60);
    if (post->expires)
        request.expires_wall_ms = rb_clock_wall_ms(&run->world->host.clock) + world_between(run->world, 1, 60 * 1000);
    struct rb_error err = {0};
    bool repeated;
    enum rb_status status = rb_outbox_add(run->world->broker->outbox, &request, &post->outbox_id, &repeated, &err);
    if (status != RB_OK) {
        post->answer = ANSWER_FAILED;
        return;
    }
    struct post_call *call = calloc(1, sizeof *call);
    if (!call)
        abort();
    call->run = run;
    call->post = number;
    call->wait.done = on_post_done;
    rb_list_push(&run->calls, &call->node);
    world_trace(run->world, "post %d to %s", number, topic_name[post->topic]);
    rb_outbox_wait(run->world->broker->outbox, post->outbox_id, world_between(run->world, 0, 12000), &call->wait);
}

/* A publisher that is not behind this broker. */
static void act_foreign(struct run *run)
{
    char payload[32];
    const char *topic = topic_name[world_between(run->world, 0, TOPICS - 1)];
    snprintf(payload, sizeof payload, "{\"foreign\":%d}", run->foreign++);
    world_trace(run->world, "foreign message %s to %s", payload, topic);
    if (rb_model_publish(run->world->model, "user", rb_span_of(topic), rb_span_of(payload)) != RB_OK)
        abort();
}

/* --- reading --- */

static void new_connection(struct reader *reader)
{
    if (!planted_same_connection() || reader->connection == 0)
        reader->connection = ++reader->run->connections;
}

static void forget_calls(struct run *run)
{
    for (struct rb_list *node; (node = rb_list_pop(&run->calls));)
        free(RB_CONTAINER(node, struct post_call, node));
    for (int r = 0; r < READERS; r++) {
        run->readers[r].polling = false;
        new_connection(&run->readers[r]);
    }
}

/* The broker drops a second copy of a stamped post on reading (O2): nobody has to see it. */
static void skip_second_copies(struct run *run, int topic, struct reading *reading)
{
    for (; reading->next < run->id_count[topic]; reading->next++) {
        int number = post_of(run, topic, (int)reading->next);
        bool second = false;
        for (int i = 0; number >= 0 && i < reading->next && !second; i++)
            second = post_of(run, topic, i) == number;
        if (!second)
            return;
    }
}

static void reader_got(struct reader *reader, int topic, struct rb_span id)
{
    struct run *run = reader->run;
    struct reading *reading = &reader->topics[topic];
    int index = index_of(run, topic, id);
    if (index < 0) {
        world_fail(run->world, "P4: a message was handed out that the relay does not have");
        return;
    }
    if (!reading->begun) {
        reading->begun = true;
        reading->start = reading->next = index;
    }
    skip_second_copies(run, topic, reading);
    if (index > reading->next) {
        struct rb_model_message missed = {0};
        rb_model_topic_message(run->world->model, "user", topic_name[topic], (size_t)reading->next, &missed);
        world_fail(run->world, "P4: reader %d got message %d of %s, but not yet %lld, which is %.*s",
                   (int)(reader - run->readers), index, topic_name[topic], (long long)reading->next,
                   (int)missed.payload.len, missed.payload.at);
    }
    world_trace(run->world, "reader %d: message %d of %s", (int)(reader - run->readers), index, topic_name[topic]);
    if (index == reading->next)
        reading->next++;
    snprintf(reading->since, sizeof reading->since, "%.*s", (int)id.len, id.at);
}

static void on_poll_done(struct rb_poll *poll, enum rb_status status, const struct rb_error *err,
                         const struct rb_poll_item *items, size_t count, bool has_more)
{
    struct reader *reader = poll->arg;
    struct run *run = reader->run;
    reader->polling = false;
    bool lost = reader->lose_answer || !world_leaves(run->world);
    world_trace(run->world, "reader %d: %zu messages%s", (int)(reader - run->readers), count, lost ? ", lost" : "");
    if (lost)
        new_connection(reader);
    if (lost || status != RB_OK)
        return;
    for (size_t i = 0; i < count; i++)
        for (int t = 0; t < TOPICS; t++)
            if (rb_span_is(items[i].topic, topic_name[t]))
                reader_got(reader, t, items[i].message_id);
}

static void act_poll(struct run *run, struct reader *reader)
{
    struct world *world = run->world;
    if (!world->up || reader->polling || run->logins.logged_out)
        return;
    struct rb_session *session = NULL;
    struct rb_error err = {0};
    if (reader->has_session)
        session = rb_session_find(world->broker->sessions, reader->session, "default", 1000);
    if (!session) {
        if (reader->has_session)
            world_fail(world, "a committed session is gone");
        if (rb_session_open(world->broker->sessions, run->logins.account, "default", 1000, RB_SPAN("user"), &session,
                            &err) != RB_OK)
            return;
        memcpy(reader->session, rb_session_id(session), sizeof reader->session);
        world_end_tick(world);
        if (!world->up || !rb_session_find(world->broker->sessions, reader->session, "default", 1000))
            return;
        reader->has_session = true;
    }
    struct rb_poll_topic topics[TOPICS];
    for (int t = 0; t < TOPICS; t++) {
        topics[t] = (struct rb_poll_topic){.name = rb_span_of(topic_name[t])};
        if (reader->uses_since && reader->topics[t].since[0]) {
            topics[t].has_since = true;
            topics[t].since = rb_span_of(reader->topics[t].since);
        }
    }
    reader->lose_answer = world_chance(world, 150);
    reader->poll = (struct rb_poll){
        .session = session,
        .account = run->logins.account,
        .topics = topics,
        .topic_count = TOPICS,
        .timeout_ms = world_between(world, 1, 60) * 1000,
        .connection = reader->connection,
        .max_bytes = 1 << 20,
        .done = on_poll_done,
        .arg = reader,
    };
    if (rb_poll_start(world->broker->sessions, &reader->poll, &err) == RB_OK)
        reader->polling = true;
    world_trace(world, "reader %d polls on connection %llu%s", (int)(reader - run->readers),
                (unsigned long long)reader->connection, reader->lose_answer ? ", to lose the answer" : "");
}

/* A subscription has begun once its topic's start was found while the reader's poll is under way. */
static void note_subscriptions(struct run *run)
{
    struct world *world = run->world;
    if (!world->up || rb_store_dirty(rb_tick_store(rb_engine_tick(world->engine))))
        return;
    for (int r = 0; r < READERS; r++)
        for (int t = 0; t < TOPICS; t++) {
            struct reading *reading = &run->readers[r].topics[t];
            struct rb_topic *topic =
                rb_topic_find(world->broker->topics, rb_account_id(run->logins.account), rb_span_of(topic_name[t]));
            if (reading->begun || !run->readers[r].polling || !topic || !rb_inbox_anchored(world->broker->inbox, topic))
                continue;
            learn_ids(run);
            reading->begun = true;
            reading->start = reading->next = run->id_count[t];
        }
}

/* --- checks after every step --- */

static void check(struct run *run)
{
    struct world *world = run->world;
    if (world->fault.set || !world->up)
        return;
    note_subscriptions(run);
    logins_look(&run->logins);
}

static void step_for(struct run *run, int64_t ms)
{
    int64_t until = run->world->now_ms + ms;
    bool more = true;
    while (more && !run->world->fault.set) {
        bool was_up = run->world->up;
        more = world_step(run->world, until);
        if (was_up && !run->world->up)
            forget_calls(run);
        check(run);
    }
}

/* --- the host --- */

static void act_crash(struct run *run)
{
    world_crash(run->world);
    forget_calls(run);
}

static void boot(struct run *run)
{
    struct world *world = run->world;
    if (!world->up)
        forget_calls(run);
    for (int i = 0; i < 20 && !world->up && !world->fault.set; i++)
        world_boot(world);
    if (!world->up)
        return;
    run->logins.account = rb_account_by_name(world->broker->accounts, RB_SPAN("main"));
    if (!run->logins.account) {
        world_fail(world, "P2: the account is gone after a restart");
        return;
    }
}

static void act_weather(struct run *run)
{
    struct world *world = run->world;
    struct weather *weather = &world->weather;
    *weather = (struct weather){.latency_max_ms = world_between(world, 1, 2000)};
    int badness = (int)world_between(world, 0, 3);
    if (badness == 0)
        return;
    int *chances[] = {&weather->refuse, &weather->lose_request, &weather->lose_answer, &weather->late,
                      &weather->twice,  &weather->html,         &weather->error,       &weather->limited};
    for (size_t i = 0; i < sizeof chances / sizeof *chances; i++)
        if (world_chance(world, 400))
            *chances[i] = (int)world_between(world, 0, badness == 3 ? 400 : 60);
    weather->down = world_chance(world, 60);
    if (world->config.flavour == RB_FLAVOUR_VALKEY && world_chance(world, 150)) {
        world_trace(world, "the relay restarts");
        rb_model_restart(world->model);
        hits.relay_restarts++;
    }
    if (run->logins.keeps_password && world_chance(world, 80)) {
        if (run->logins.busy_administrator && world_chance(world, 300))
            logins_change_password(&run->logins);
        logins_revoke_upstream(&run->logins);
    }
    bool read_only = world_chance(world, 30);
    if (read_only || run->was_read_only)
        rb_model_user(world->model, "user", run->logins.password, read_only ? "read" : "");
    run->was_read_only |= read_only;
    hits.read_only += read_only;
    rb_model_waiter_gap(world->model, world_chance(world, 500));
    rb_model_waiter_shuffle(world->model, world_chance(world, 500) ? 200 : 0);
}

static void act_login(struct run *run, int64_t choice)
{
    struct world *world = run->world;
    struct logins *logins = &run->logins;
    bool none = rb_account_state(logins->account) != RB_ACCOUNT_ACTIVE;
    if (choice < 98 && (!none || logins->busy_administrator) &&
        world_chance(world, logins->busy_administrator ? 150 : 60))
        logins_log_out(logins);
    else if (choice == 98 && logins->busy_administrator && world_chance(world, none ? 600 : 250))
        logins_log_in_again(logins);
    else if (choice == 99 && logins->busy_administrator && world_chance(world, 300))
        logins_import(logins);
}

static void act(struct run *run)
{
    struct world *world = run->world;
    int64_t choice = world_between(world, 0, 99);
    if (choice < 35) {
        act_post(run);
    } else if (choice < 50) {
        for (int64_t burst = world_between(world, 1, 4); burst > 0; burst--)
            act_foreign(run);
    } else if (choice < 72) {
        act_poll(run, &run->readers[world_between(world, 0, READERS - 1)]);
    } else if (choice < 80) {
        act_weather(run);
    } else if (choice < 84) {
        act_crash(run);
    } else if (choice < 89) {
        if (world->up)
            world->crash_in = world_between(world, 1, 40);
    } else if (choice < 92) {
        run->disk_full = !run->disk_full && world->up;
        hits.disk_full += run->disk_full;
        sim_vfs_set_full(world->vfs, run->disk_full);
    } else if (choice < 94) {
        world->host.wall_offset_ms += world_between(world, -400, 400) * 1000;
    } else if (choice < 95) {
        if (world->up) {
            hits.io_error++;
            sim_vfs_fail_sync(world->vfs);
        }
    } else if (choice < 97) {
        if (world->up) {
            hits.graceful++;
            world_stop(world);
            forget_calls(run);
        }
    } else if (world->up) {
        act_login(run, choice);
    }
    if (world->up) {
        world_end_tick(world);
        if (!world->up)
            forget_calls(run);
    }
}

/* --- the end: calm weather, everything settles, everything is compared --- */

static bool settled(struct run *run)
{
    struct world *world = run->world;
    if (!world->up || !logins_settled(&run->logins))
        return false;
    if (run->logins.logged_out)
        return true;
    struct rb_outbox_stats outbox;
    rb_outbox_stats(world->broker->outbox, &outbox);
    if (outbox.queued + outbox.sending + outbox.unknown > 0)
        return false;
    learn_ids(run);
    for (int r = 0; r < READERS; r++)
        for (int t = 0; t < TOPICS; t++) {
            struct reading *reading = &run->readers[r].topics[t];
            if (reading->begun)
                skip_second_copies(run, t, reading);
            if (run->readers[r].has_session && (!reading->begun || reading->next < run->id_count[t]))
                return false;
        }
    return true;
}

static void settle(struct run *run)
{
    struct world *world = run->world;
    world->weather = (struct weather){.latency_max_ms = 50};
    rb_model_waiter_gap(world->model, false);
    rb_model_waiter_shuffle(world->model, 0);
    run->disk_full = false;
    sim_vfs_set_full(world->vfs, false);
    world->crash_in = 0;
    for (int minute = 0; minute < 60 * 20 && !world->fault.set; minute++) {
        boot(run);
        if (world->fault.set || settled(run))
            return;
        if (!run->logins.logged_out && rb_account_state(run->logins.account) == RB_ACCOUNT_LOGIN_REQUIRED &&
            logins_settled(&run->logins))
            return;
        for (int r = 0; r < READERS; r++)
            if (run->readers[r].has_session)
                act_poll(run, &run->readers[r]);
        world_end_tick(world);
        step_for(run, 3 * 1000);
    }
    if (!world->fault.set && !settled(run)) {
        struct rb_outbox_stats outbox;
        rb_outbox_stats(world->broker->outbox, &outbox);
        world_fail(world,
                   "%s: an hour of calm did not settle everything (outbox %lld queued, %lld sending, %lld unknown)",
                   logins_settled(&run->logins) ? "P3/P4" : "P5", (long long)outbox.queued, (long long)outbox.sending,
                   (long long)outbox.unknown);
    }
}

static void check_posts(struct run *run)
{
    struct world *world = run->world;
    bool lost_login = rb_account_state(run->logins.account) != RB_ACCOUNT_ACTIVE;
    hits.lost_logins += lost_login;
    int last[TOPICS] = {-1, -1, -1};
    int copies[POSTS_MAX] = {0};
    learn_ids(run);
    for (int t = 0; t < TOPICS; t++)
        for (int i = 0; i < run->id_count[t]; i++) {
            int number = post_of(run, t, i);
            if (number < 0)
                continue;
            if (copies[number]++ == 0) {
                if (number < last[t])
                    world_fail(world, "P3: post %d came before %d in %s", last[t], number, topic_name[t]);
                last[t] = number;
            }
        }
    for (int number = 0; number < run->post_count; number++) {
        const struct post *post = &run->posts[number];
        struct rb_post_view view;
        bool known = rb_outbox_view(world->broker->outbox, post->outbox_id, &view) == RB_OK;
        if (post->committed && copies[number] == 0 && !lost_login && !(known && may_end_unsent(run, post, &view)))
            world_fail(world, "P3: post %d was answered %s and is nowhere", number,
                       post->answer == ANSWER_201 ? "201" : "202");
        if (post->answer == ANSWER_FAILED && copies[number] > 0)
            world_fail(world, "post %d was answered as failed, but it was sent", number);
        if (copies[number] > 1 && known && !view.maybe_duplicate)
            world_fail(world, "post %d is stored %d times and not marked", number, copies[number]);
    }
}

static void run_free(struct run *run)
{
    for (int t = 0; t < TOPICS; t++)
        for (int i = 0; i < run->id_count[t]; i++)
            free(run->ids[t][i]);
    struct world *world = run->world;
    hits.requests += world->requests;
    hits.boots += world->boots;
    hits.crashes += world->crashes;
    hits.posts += (uint64_t)run->post_count;
    for (int t = 0; t < TOPICS; t++)
        hits.messages += (uint64_t)run->id_count[t];
    hits.logins += run->logins.logins;
    hits.logouts += run->logins.logouts;
    hits.imports += run->logins.imports;
    hits.revoked_upstream += run->logins.revoked_upstream;
    hits.restored += run->logins.restored;
    hits.spare_rests += run->logins.spare_rests;
    coverage_watch(NULL);
    if (world->up)
        world_crash(world);
    forget_calls(run);
    world_free(world);
    free(run);
}

/* R3, when all else has been checked: posts and places go back with the copy. */
static void restore(struct run *run)
{
    struct world *world = run->world;
    if (world->up)
        act_crash(run);
    logins_restore(&run->logins);
    boot(run);
    for (int minute = 0; minute < 20 && !world->fault.set; minute++) {
        step_for(run, 60 * 1000);
        boot(run);
        if (!world->fault.set) {
            struct rb_span token;
            uint64_t serial;
            rb_account_access(run->logins.account, &token, &serial);
            world_end_tick(world);
        }
    }
    if (!world->fault.set)
        logins_check_restored(&run->logins);
}

/* --- what the coverage hears --- */

static void on_chain_moves(void *arg, long long chain, const char *from, const char *to)
{
    struct run *run = arg;
    logins_chain_moves(&run->logins, chain, to);
}

static void on_event(void *arg, const char *kind)
{
    struct run *run = arg;
    if (strcmp(kind, "foreign_use") == 0 && !run->logins.may_be_foreign)
        world_fail(run->world, "R4: nobody else used the token, and the broker says so");
}

static void on_illegal(void *arg, const char *text)
{
    struct run *run = arg;
    world_fail(run->world, "%s", text);
}

/* One seed; true when every promise held. */
static bool run_seed(uint64_t seed, FILE *trace, char *ret_fault, size_t room)
{
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        abort();
    struct world_config config = world_config_default(seed);
    config.trace = trace;
    config.flavour = seed % 2 ? RB_FLAVOUR_VALKEY : RB_FLAVOUR_MEMORY;
    config.access_token_s = seed % 3 ? 600 : 60;
    config.rate_limits = seed % 5 != 0;
    config.pairs = seed % 7 < 3;
    plant_into(&config);
    struct world *world = run->world = world_new(&config);
    world->on_death = note_crash;
    world->on_death_arg = run;
    run->watch = (struct coverage_watch){on_chain_moves, on_event, on_illegal, run};
    coverage_watch(&run->watch);
    rb_list_init(&run->calls);
    run->logins.busy_administrator = seed % 11 < 4;
    for (int r = 0; r < READERS; r++) {
        run->readers[r].run = run;
        run->readers[r].uses_since = r == 1;
        new_connection(&run->readers[r]);
    }
    world_boot(world);
    if (!logins_begin(&run->logins, world, seed % 4 < 2))
        world_fail(world, "the first login failed");
    int64_t copy_at = seed % 9 == 0 ? world_between(world, 0, ACTIONS - 1) : -1;
    for (int i = 0; i < ACTIONS && !world->fault.set; i++) {
        if (i == copy_at)
            logins_copy(&run->logins);
        act(run);
        check(run);
        /* A commit that finds no room is tried again twice a second, and a thousand times shows no more than ten do. */
        int64_t longest = run->disk_full ? 20 * 1000 : 900 * 1000;
        int64_t pause = world_chance(world, 30) ? world_between(world, 0, longest) : world_between(world, 0, 8000);
        if (run->logins.account)
            step_for(run, pause);
        if (!world->up && !world->fault.set) {
            step_for(run, world_between(world, 0, 5000));
            boot(run);
        }
    }
    if (!world->fault.set)
        settle(run);
    if (!world->fault.set)
        logins_check(&run->logins);
    if (!world->fault.set && !run->logins.logged_out)
        check_posts(run);
    if (!world->fault.set && world->backup)
        restore(run);
    bool held = !world->fault.set;
    snprintf(ret_fault, room, "%s", world->fault.text);
    run_free(run);
    return held;
}

static bool print_hits(uint64_t seeds)
{
    printf("seeds %llu: %llu boots, %llu crashes, %llu requests, %llu posts, %llu messages, %llu logins lost as they "
           "had to be\n",
           (unsigned long long)seeds, (unsigned long long)hits.boots, (unsigned long long)hits.crashes,
           (unsigned long long)hits.requests, (unsigned long long)hits.posts, (unsigned long long)hits.messages,
           (unsigned long long)hits.lost_logins);
    bool complete = true;
    struct {
        const char *name;
        uint64_t count;
    } rows[] = {
        {"crash with a chain active", hits.chain[0]},
        {"crash with a chain rotating", hits.chain[1]},
        {"crash with a chain uncertain", hits.chain[2]},
        {"crash with rows queued", hits.queued},
        {"crash with rows sending", hits.sending},
        {"crash with rows unknown", hits.unknown},
        {"crash with an upstream poll under way", hits.polling},
        {"crash with callers parked", hits.parked},
        {"disk full", hits.disk_full},
        {"sync failed", hits.io_error},
        {"graceful stop", hits.graceful},
        {"a chain uncertain beside its spare", hits.spare_rests},
        {"another login", hits.logins - hits.imports},
        {"import", hits.imports},
        {"logout", hits.logouts},
        {"a copy of the disk put back", hits.restored},
        {"posting forbidden for a while", hits.read_only},
        {"crash with a chain revoking", hits.chain[4]},
        {"relay restarted", hits.relay_restarts},
        {"chains revoked by an administrator", hits.revoked_upstream},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        printf("  %-40s %llu\n", rows[i].name, (unsigned long long)rows[i].count);
        complete = complete && rows[i].count > 0;
    }
    complete = (complete || seeds < 500) & coverage_print(seeds);
    if (!complete)
        printf("something was never hit: the run proves less than it says\n");
    return complete;
}

struct seeds {
    int64_t first, count;
};

/* How many failed. */
static uint64_t run_seeds(void *arg, int nth, int jobs)
{
    const struct seeds *seeds = arg;
    uint64_t failed = 0;
    for (int64_t i = nth; i < seeds->count && !(planted() && failed); i += jobs) {
        char fault[400];
        if (run_seed((uint64_t)(seeds->first + i), NULL, fault, sizeof fault))
            continue;
        printf("seed %lld: %s\n", (long long)(seeds->first + i), fault);
        failed++;
    }
    return failed;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'n'}, {"first", required_argument, NULL, 'f'},
        {"jobs", required_argument, NULL, 'j'},  {"seed", required_argument, NULL, 's'},
        {"plant", required_argument, NULL, 'p'}, {NULL, 0, NULL, 0}};
    struct seeds seeds = {.first = 1, .count = 200};
    int64_t jobs = 1, only = -1;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int64_t *number = option == 'n'   ? &seeds.count
                          : option == 'f' ? &seeds.first
                          : option == 'j' ? &jobs
                          : option == 's' ? &only
                                          : NULL;
        int64_t least = option == 'j', most = option == 'j' ? 64 : INT64_MAX / 8;
        bool good = number ? rb_span_to_i64(rb_span_of(optarg), least, most, number) == RB_OK
                           : option == 'p' && plant_choose(optarg);
        if (!good) {
            fprintf(stderr, "usage: simulation [--seeds N] [--first N] [--jobs N] [--seed N] [--plant NAME]\n");
            return 2;
        }
    }
    if (sodium_init() < 0)
        return 1;
    rb_log_set_level(only >= 0 ? RB_LOG_DEBUG : RB_LOG_OFF);
    coverage_show_log(only >= 0);
    if (only >= 0) {
        char fault[400];
        bool held = run_seed((uint64_t)only, stdout, fault, sizeof fault);
        printf("seed %lld: %s\n", (long long)only, held ? "every promise held" : fault);
        return held ? 0 : 1;
    }
    const struct crew_counters counters[] = {{(uint64_t *)&hits, sizeof hits / sizeof(uint64_t)}, coverage_counters()};
    int64_t failed = (int64_t)crew_run((int)jobs, run_seeds, &seeds, counters, sizeof counters / sizeof *counters);
    if (planted() && failed)
        return 1;
    bool complete = print_hits((uint64_t)seeds.count);
    printf("%lld passed, %lld failed\n", (long long)(seeds.count - failed), (long long)failed);
    return failed || !complete ? 1 : 0;
}
