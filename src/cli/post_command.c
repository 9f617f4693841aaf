#include <sodium.h>
#include <unistd.h>

#include "command.h"
#include "file.h"
#include "json_line.h"
#include "options.h"
#include "reach.h"

enum { PAYLOAD_MAX_BYTES = 1 << 20, KEY_MAX = 200, MORE_MS = 20000, KEY_BYTES = 16, JSON_DEPTH = 1000 };

struct post {
    const char *topic, *payload, *key, *account;
    int64_t ttl, wait;
    bool as_json;
};

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
}

/* Standard input may be no file: rb_file_read reads by offset. */
static enum rb_status read_stdin(struct rb_str *out, struct rb_error *err)
{
    char part[8192];
    ssize_t got;
    while ((got = read(STDIN_FILENO, part, sizeof part)) > 0) {
        if (out->len + (size_t)got > PAYLOAD_MAX_BYTES)
            return rb_fail(err, RB_INVALID, "The payload on standard input is larger than 1 MiB.");
        rb_str_append(out, part, (size_t)got);
    }
    if (got < 0)
        return rb_fail(err, RB_IO, "Standard input cannot be read.");
    return rb_str_failed(out) ? no_memory(err) : RB_OK;
}

/* The payload's own bytes go out (O8). */
static enum rb_status build_body(const struct post *post, struct rb_str *body, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str input = RB_STR_INIT;
    struct rb_span text = rb_span_of(post->payload);
    if (strcmp(post->payload, "-") == 0) {
        enum rb_status status = read_stdin(&input, err);
        if (status != RB_OK)
            return status;
        text = rb_str_span(&input);
    }
    struct rb_json_value value;
    size_t at = 0;
    if (rb_json_check(text, JSON_DEPTH, &value, &at) != RB_JSON_FINE)
        return rb_fail(err, RB_INVALID, "The payload is no JSON: something is wrong at byte %zu.", at + 1);
    if (value.kind != RB_JSON_OBJECT)
        return rb_fail(err, RB_INVALID, "The payload must be a JSON object, like {\"job\": 1}.");
    rb_str_add(body, "{\"topic\":");
    rb_json_quote(body, rb_span_of(post->topic));
    rb_str_add(body, ",\"payload\":");
    rb_str_add_span(body, value.text);
    if (post->ttl)
        rb_str_addf(body, ",\"ttl\":%lld", (long long)post->ttl);
    rb_str_add(body, "}");
    return rb_str_failed(body) ? no_memory(err) : RB_OK;
}

/* Without a key of the user's one for this run: the daemon then knows a repeated request as one. */
static enum rb_status key_header(const char *key, struct rb_str *out, struct rb_error *err)
{
    size_t len = key ? strlen(key) : 0;
    for (size_t i = 0; i < len; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return rb_fail(err, RB_INVALID, "--key takes visible ASCII characters only.");
    if (key && (len == 0 || len > KEY_MAX))
        return rb_fail(err, RB_INVALID, "--key takes 1 to %d characters.", KEY_MAX);
    unsigned char bytes[KEY_BYTES];
    char hex[2 * KEY_BYTES + 1];
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(hex, sizeof hex, bytes, sizeof bytes);
    rb_str_addf(out, "Idempotency-Key: %s", key ? key : hex);
    return rb_str_failed(out) ? no_memory(err) : RB_OK;
}

static int print_result(const struct post *post, const struct rb_reply *reply)
{
    struct rb_str out = RB_STR_INIT;
    struct rb_json_value body, id;
    if (rb_json_check(rb_str_span(&reply->body), JSON_DEPTH, &body, NULL) != RB_JSON_FINE ||
        !rb_json_member(body, "message_id", &id)) {
        rb_complain("The daemon's answer to the post cannot be understood.");
        return RB_EXIT_FAILED;
    }
    if (post->as_json) {
        rb_json_line(&out, body);
    } else {
        RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
        rb_json_string(id, &text);
        rb_str_add(&out, reply->status == 202 ? "queued " : "accepted ");
        rb_str_add_printable(&out, rb_str_span(&text));
    }
    rb_str_add(&out, "\n");
    return rb_print(&out);
}

static enum rb_status send_post(struct rb_client *client, const struct post *post, const struct rb_call *call,
                                struct rb_reply *reply, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str bearer = RB_STR_INIT;
    struct rb_call full = *call;
    enum rb_status status = RB_OK;
    if (post->account)
        status = rb_client_check_account(client, post->account, err);
    if (post->account && status == RB_OK)
        status = rb_client_sign_in(client, post->account, false, &bearer, err);
    full.bearer = rb_str_span(&bearer);
    if (status == RB_OK)
        status = rb_client_call(client, &full, reply, err);
    if (bearer.len)
        rb_client_sign_out(client, full.bearer);
    if (status == RB_OK && reply->status != 201 && reply->status != 202)
        status = rb_reply_refused(reply, err);
    return status;
}

static int run(const struct rb_usage *usage, const struct rb_reach *reach, const struct post *post)
{
    struct rb_error err = {0};
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT, key = RB_STR_INIT;
    RB_CLEANUP_REPLY struct rb_reply reply = {0};
    char prefer[40];
    if (key_header(post->key, &key, &err) != RB_OK)
        return rb_complain_of_usage(usage->command, &err);
    if (build_body(post, &body, &err) != RB_OK)
        return rb_complain_of(&err);
    snprintf(prefer, sizeof prefer, "Prefer: wait=%lld", (long long)post->wait);
    const struct rb_call call = {.method = "POST",
                                 .path = "/api/v1/messages",
                                 .content_type = "application/json",
                                 .body = rb_str_span(&body),
                                 .header = {key.at, prefer},
                                 .wait_ms = post->wait * 1000 + MORE_MS};
    struct rb_client *client = NULL;
    enum rb_status status = rb_reach_any(reach, &client, &err);
    if (status == RB_OK)
        status = send_post(client, post, &call, &reply, &err);
    rb_client_free(client);
    return status == RB_OK ? print_result(post, &reply) : rb_complain_of(&err);
}

int rb_command_post(int argc, char **argv)
{
    struct rb_reach reach = {0};
    struct post post = {.payload = "-", .wait = 10};
    const struct rb_option options[] = {
        {"payload", "JSON", RB_OPTION_TEXT, &post.payload, 0, 0,
         "a JSON object; - (the default) reads it from standard input"},
        {"key", "KEY", RB_OPTION_TEXT, &post.key, 0, 0,
         "idempotency key: the same post under the same key is one message,\nalso a day later"},
        {"ttl", "SECONDS", RB_OPTION_INTEGER, &post.ttl, 1, INT32_MAX, "passed on to the relay"},
        {"wait", "SECONDS", RB_OPTION_INTEGER, &post.wait, 0, 60,
         "how long to wait for the relay's answer (default 10)"},
        {"account", "ACCOUNT", RB_OPTION_TEXT, &post.account, 0, 0, "which account, where there are several"},
        {"json", NULL, RB_OPTION_FLAG, &post.as_json, 0, 0, "the answer as one JSON object"},
        {"url", "URL", RB_OPTION_TEXT, &reach.url, 0, 0,
         "a door of the daemon (default: the admin socket where it may be opened,\nelse " RB_DEFAULT_URL ")"},
        RB_OPTION_STATE(&reach.state),
        RB_OPTION_KEYS(&reach.keys),
    };
    const struct rb_usage usage = {
        "post",
        "TOPIC [--payload JSON|-] [--key KEY] [--ttl SECONDS] [--wait SECONDS]",
        "Posts one message. It prints \"accepted ID\" once the relay has stored it, or \"queued ID\" when it is\n"
        "safe here and will be sent as soon as the relay takes it. In both cases the exit status is 0.",
        options,
        sizeof options / sizeof options[0],
        1,
        1};
    struct rb_texts topic;
    int ends;
    if (!rb_options_parse(&usage, argc, argv, &topic, &ends))
        return ends;
    if (strcmp(post.payload, "-") == 0 && isatty(STDIN_FILENO)) {
        struct rb_error err = {.text = "Give the message with --payload, or on standard input."};
        return rb_complain_of_usage("post", &err);
    }
    post.topic = topic.at[0];
    return run(&usage, &reach, &post);
}
