#include <errno.h>
#include <time.h>

#include "command.h"
#include "json_line.h"
#include "options.h"
#include "reach.h"

enum { TOPICS_MAX = 20, POLL_MAX_S = 60, MORE_MS = 15000, JSON_DEPTH = RB_JSON_LEVELS, RETRY_S = 2 };

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    stopped = 1;
}

struct poll {
    struct rb_client *client;
    const struct rb_texts *topics;
    char *since[TOPICS_MAX]; /* newest id seen; NULL: none yet */
    const char *account;
    struct rb_str bearer; /* of the session that remembers our place; empty without one */
    bool follow, as_json;
    bool found, more; /* by the last answer */
};

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
}

static int topic_index(const struct poll *poll, struct rb_span name)
{
    for (size_t i = 0; i < poll->topics->count; i++)
        if (rb_span_is(name, poll->topics->at[i]))
            return (int)i;
    return -1;
}

/* "TOPIC=ID" from the command line. */
static enum rb_status take_since(struct poll *poll, const char *text, struct rb_error *err)
{
    const char *equals = strchr(text, '=');
    int i = equals ? topic_index(poll, (struct rb_span){text, (size_t)(equals - text)}) : -1;
    if (i < 0)
        return rb_fail(err, RB_INVALID, "--since takes TOPIC=ID with one of the topics that are polled, not \"%s\".",
                       text);
    free(poll->since[i]);
    poll->since[i] = strdup(equals + 1);
    return poll->since[i] ? RB_OK : no_memory(err);
}

static enum rb_status build_body(const struct poll *poll, int timeout_s, struct rb_str *out)
{
    json_t *topics = json_array(), *since = json_object();
    bool good = true;
    for (size_t i = 0; i < poll->topics->count; i++) {
        good &= json_array_append_new(topics, json_string(poll->topics->at[i])) == 0;
        if (poll->since[i])
            good &= json_object_set_new(since, poll->topics->at[i], json_string(poll->since[i])) == 0;
    }
    if (!good) {
        json_decref(topics);
        json_decref(since);
        return RB_NO_MEMORY;
    }
    return rb_json_print(out, json_pack("{so so si}", "topics", topics, "since", since, "timeout", timeout_s));
}

/* --- messages --- */

static void add_member(struct rb_str *out, struct rb_json_value message, const char *name)
{
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
    struct rb_json_value value;
    if (rb_json_member(message, name, &value) && rb_json_string(value, &text) == RB_OK)
        rb_str_add_printable(out, rb_str_span(&text));
    else
        rb_str_add(out, "-");
}

static void add_message(const struct poll *poll, struct rb_json_value message, struct rb_str *out)
{
    struct rb_json_value payload;
    if (poll->as_json) {
        rb_json_line(out, message);
    } else {
        add_member(out, message, "timestamp");
        rb_str_add(out, " ");
        add_member(out, message, "topic");
        rb_str_add(out, " ");
        add_member(out, message, "message_id");
        rb_str_add(out, " ");
        if (rb_json_member(message, "payload", &payload))
            rb_json_line(out, payload);
    }
    rb_str_add(out, "\n");
}

static enum rb_status move_on(struct poll *poll, struct rb_json_value message, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str topic = RB_STR_INIT, id = RB_STR_INIT;
    struct rb_json_value name, message_id;
    if (!rb_json_member(message, "topic", &name) || !rb_json_member(message, "message_id", &message_id) ||
        rb_json_string(name, &topic) != RB_OK || rb_json_string(message_id, &id) != RB_OK)
        return rb_str_failed(&topic) || rb_str_failed(&id)
                   ? no_memory(err)
                   : rb_fail(err, RB_CORRUPT, "A message came without topic or id.");
    int i = topic_index(poll, rb_str_span(&topic));
    char *since = rb_span_dup(rb_str_span(&id));
    if (i < 0 || !since) {
        free(since);
        return i < 0 ? RB_OK : no_memory(err);
    }
    free(poll->since[i]);
    poll->since[i] = since;
    return RB_OK;
}

static enum rb_status print_messages(struct poll *poll, struct rb_span text, struct rb_error *err)
{
    struct rb_json_value body, messages, message, more;
    struct rb_str out = RB_STR_INIT;
    if (rb_json_check(text, JSON_DEPTH, &body, NULL) != RB_JSON_FINE || !rb_json_member(body, "messages", &messages))
        return rb_fail(err, RB_CORRUPT, "The daemon's answer to the poll cannot be understood.");
    poll->found = false;
    poll->more = rb_json_member(body, "has_more", &more) && more.kind == RB_JSON_TRUE;
    struct rb_json_walk walk = rb_json_walk(messages);
    enum rb_status status = RB_OK;
    while (status == RB_OK && rb_json_next(&walk, NULL, &message)) {
        poll->found = true;
        add_message(poll, message, &out);
        status = move_on(poll, message, err);
    }
    if (rb_print(&out) != RB_EXIT_DONE)
        return rb_fail(err, RB_FULL, "The messages could not be printed.");
    return status;
}

/* --- polls --- */

static enum rb_status sign_in(struct poll *poll, struct rb_error *err)
{
    rb_str_reset(&poll->bearer);
    if (!poll->follow && !poll->account)
        return RB_OK;
    enum rb_status status = poll->account ? rb_client_check_account(poll->client, poll->account, err) : RB_OK;
    if (status != RB_OK)
        return status;
    return rb_client_sign_in(poll->client, poll->account ? poll->account : "relay-broker-poll", false, &poll->bearer,
                             err);
}

static enum rb_status poll_once(struct poll *poll, int timeout_s, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT;
    RB_CLEANUP_REPLY struct rb_reply reply = {0};
    if (build_body(poll, timeout_s, &body) != RB_OK)
        return rb_fail(err, RB_NO_MEMORY, "A topic or an id is not UTF-8, or there is not enough memory.");
    const struct rb_call call = {.method = "POST",
                                 .path = "/messages/poll",
                                 .content_type = "application/json",
                                 .body = rb_str_span(&body),
                                 .bearer = rb_str_span(&poll->bearer),
                                 .wait_ms = (int64_t)timeout_s * 1000 + MORE_MS};
    enum rb_status status = rb_client_call(poll->client, &call, &reply, err);
    if (status != RB_OK)
        return status;
    if (reply.status != 200)
        return rb_reply_refused(&reply, err);
    return print_messages(poll, rb_str_span(&reply.body), err);
}

/* Until something came, or the time is over. What is known to follow at once is waited for only a second. */
static enum rb_status poll_for(struct poll *poll, int64_t timeout_s, struct rb_error *err)
{
    int64_t end = rb_now_ms() + timeout_s * 1000;
    bool any = false;
    for (;;) {
        int64_t left_s = (end - rb_now_ms() + 999) / 1000;
        int wait_s = any || left_s < 1 ? 1 : left_s > POLL_MAX_S ? POLL_MAX_S : (int)left_s;
        enum rb_status status = poll_once(poll, wait_s, err);
        if (status != RB_OK)
            return status;
        any |= poll->found;
        if (any ? !poll->more || !poll->found : rb_now_ms() >= end)
            return RB_OK;
    }
}

/* Goes on after a daemon's restart: ids seen are told again, so nothing is left out. What is refused at the first time
 * ends it. */
static enum rb_status follow(struct poll *poll, struct rb_error *err)
{
    bool worked = false, told = false;
    while (!stopped) {
        struct rb_error why = {0};
        enum rb_status status = poll->bearer.len ? RB_OK : sign_in(poll, &why);
        if (status == RB_OK)
            status = poll_once(poll, POLL_MAX_S / 2, &why);
        if (status == RB_OK) {
            worked = true;
            told = false;
            continue;
        }
        if (stopped)
            break;
        /* What could not be printed would be left out by the next poll. */
        if ((!worked && status == RB_DENIED) || status == RB_NO_MEMORY || status == RB_FULL) {
            *err = why;
            return status;
        }
        if (!told)
            rb_complain("%s Trying again every %d seconds.", why.text, RETRY_S);
        told = true;
        if (status == RB_DENIED)
            rb_str_reset(&poll->bearer);
        nanosleep(&(struct timespec){.tv_sec = RETRY_S}, NULL);
    }
    return RB_OK;
}

static int run(struct poll *poll, const struct rb_reach *reach, int64_t timeout_s)
{
    struct rb_error err = {0};
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    enum rb_status status = rb_reach_any(reach, &poll->client, &err);
    if (status == RB_OK) {
        rb_client_stop_at(poll->client, &stopped);
        status = sign_in(poll, &err);
    }
    if (status == RB_OK)
        status = poll->follow ? follow(poll, &err) : poll_for(poll, timeout_s, &err);
    if (poll->bearer.len) {
        rb_client_stop_at(poll->client, NULL);
        rb_client_sign_out(poll->client, rb_str_span(&poll->bearer));
    }
    rb_client_free(poll->client);
    rb_str_free(&poll->bearer);
    if (status == RB_OK || stopped)
        return RB_EXIT_DONE;
    return rb_complain_of(&err);
}

int rb_command_poll(int argc, char **argv)
{
    struct rb_reach reach = {0};
    struct poll poll = {0};
    struct rb_texts topics, since = {.count = 0};
    int64_t timeout_s = 30;
    const struct rb_option options[] = {
        {"since", "TOPIC=ID", RB_OPTION_TEXTS, &since, 0, 0,
         "begin after this message; 0-0 is the topic's beginning (default: what\ncomes from now on)"},
        {"timeout", "SECONDS", RB_OPTION_INTEGER, &timeout_s, 1, 86400, "how long to wait for a message (default 30)"},
        {"follow", NULL, RB_OPTION_FLAG, &poll.follow, 0, 0, "print messages as they come, until interrupted"},
        {"account", "ACCOUNT", RB_OPTION_TEXT, &poll.account, 0, 0, "which account, where there are several"},
        {"json", NULL, RB_OPTION_FLAG, &poll.as_json, 0, 0, "each message as one JSON object a line"},
        {"url", "URL", RB_OPTION_TEXT, &reach.url, 0, 0,
         "a door of the daemon (default: the admin socket where it may be opened,\nelse " RB_DEFAULT_URL ")"},
        RB_OPTION_STATE(&reach.state),
        RB_OPTION_KEYS(&reach.keys),
    };
    const struct rb_usage usage = {
        "poll",
        "TOPIC… [--since TOPIC=ID]… [--timeout SECONDS] [--follow] [--json]",
        "Prints messages of up to 20 topics, one a line: time, topic, id, payload. It ends once some have come\n"
        "or the time is over; the exit status is 0 in both cases.",
        options,
        sizeof options / sizeof options[0],
        1,
        TOPICS_MAX};
    int ends = RB_EXIT_DONE;
    if (!rb_options_parse(&usage, argc, argv, &topics, &ends))
        return ends;
    poll.topics = &topics;
    struct rb_error err = {0};
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < since.count && status == RB_OK; i++)
        status = take_since(&poll, since.at[i], &err);
    ends = status == RB_OK ? run(&poll, &reach, timeout_s) : rb_complain_of_usage("poll", &err);
    for (size_t i = 0; i < TOPICS_MAX; i++)
        free(poll.since[i]);
    return ends;
}
