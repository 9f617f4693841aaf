#include "fake_relay_private.h"

static bool fits(const struct fault *fault, struct rb_span method, struct rb_span path)
{
    size_t len = strlen(fault->path);
    return (!*fault->method || rb_span_is_nocase(method, fault->method)) && path.len >= len &&
           memcmp(path.at, fault->path, len) == 0;
}

static void fault_free(struct fault *fault)
{
    rb_list_remove(&fault->link);
    free(fault);
}

bool fault_take(struct rb_fake_relay *relay, struct rb_span method, struct rb_span path, bool no_hold, bool no_delay,
                struct fault *ret)
{
    RB_LIST_EACH (&relay->faults, node) {
        struct fault *fault = RB_CONTAINER(node, struct fault, link);
        if ((fault->kind == FAULT_HOLD && no_hold) || (fault->kind == FAULT_DELAY && no_delay) ||
            !fits(fault, method, path))
            continue;
        *ret = *fault;
        if (!fault->forever && --fault->left == 0)
            fault_free(fault);
        return true;
    }
    return false;
}

bool fault_add(struct rb_fake_relay *relay, const struct fault *fault)
{
    struct fault *made = malloc(sizeof *made);
    if (!made)
        return false;
    *made = *fault;
    rb_list_init(&made->link);
    rb_list_push(&relay->faults, &made->link);
    return true;
}

void faults_clear(struct rb_fake_relay *relay, bool holds_only)
{
    RB_LIST_EACH_SAFE (&relay->faults, node) {
        struct fault *fault = RB_CONTAINER(node, struct fault, link);
        if (!holds_only || fault->kind == FAULT_HOLD)
            fault_free(fault);
    }
}

static bool take_text(json_t *order, const char *name, char *ret, size_t room)
{
    json_t *value = json_object_get(order, name);
    if (!value)
        return true;
    if (json_is_integer(value))
        snprintf(ret, room, "%lld", (long long)json_integer_value(value));
    else if (json_is_string(value) && json_string_length(value) < room)
        snprintf(ret, room, "%s", json_string_value(value));
    else
        return false;
    return true;
}

static bool take_number(json_t *order, const char *name, json_int_t least, json_int_t most, json_int_t *ret)
{
    json_t *value = json_object_get(order, name);
    if (!value)
        return true;
    *ret = json_integer_value(value);
    return json_is_integer(value) && *ret >= least && *ret <= most;
}

const char *fault_read(json_t *order, struct fault *ret)
{
    static const char *const words[] = {"hold", "delay", "cut", "drop", "status", "html"};
    const char *word = json_string_value(json_object_get(order, "do"));
    const char *when = json_string_value(json_object_get(order, "when"));
    json_int_t count = 1, status = 503, ms = 1000;
    size_t kind = 0;
    while (kind < 6 && (!word || strcmp(word, words[kind]) != 0))
        kind++;
    if (kind == 6)
        return "\"do\" is hold, delay, cut, drop, status or html.";
    *ret = (struct fault){.kind = (enum fault_kind)kind};
    if (!take_text(order, "method", ret->method, sizeof ret->method) ||
        !take_text(order, "path", ret->path, sizeof ret->path) ||
        !take_text(order, "retry_after", ret->retry_after, sizeof ret->retry_after))
        return "\"method\", \"path\" and \"retry_after\" are short strings.";
    if (!take_number(order, "count", 0, INT32_MAX, &count) || !take_number(order, "status", 200, 599, &status) ||
        !take_number(order, "ms", 0, 3600000, &ms))
        return "\"count\" is 0 or more, \"status\" 200 to 599, \"ms\" up to an hour.";
    if (when && strcmp(when, "before") != 0 && strcmp(when, "after") != 0)
        return "\"when\" is before or after.";
    ret->left = (uint64_t)count;
    ret->forever = count == 0;
    ret->status = (int)status;
    ret->ms = ms;
    ret->done = when && strcmp(when, "after") == 0;
    return NULL;
}
