#include "codec.h"

#include <string.h>

#include "json_span.h"

static const struct {
    int status;
    unsigned bit;
    enum rb_problem problem;
} refusals[] = {
    {400, RB_400, RB_PROBLEM_INVALID},   {401, RB_401, RB_PROBLEM_UNAUTHORIZED}, {403, RB_403, RB_PROBLEM_FORBIDDEN},
    {404, RB_404, RB_PROBLEM_NOT_FOUND}, {409, RB_409, RB_PROBLEM_EXISTS},       {413, RB_413, RB_PROBLEM_TOO_LARGE},
    {422, RB_422, RB_PROBLEM_INVALID},   {429, RB_429, RB_PROBLEM_RATE},
};

const char *rb_problem_text(enum rb_problem problem)
{
    switch (problem) {
    case RB_PROBLEM_NONE:
        return "none";
    case RB_PROBLEM_UNREACHABLE:
        return "the relay cannot be reached";
    case RB_PROBLEM_LOST:
        return "no whole answer of the relay";
    case RB_PROBLEM_TOO_LONG:
        return "the relay's answer is too long";
    case RB_PROBLEM_SERVER:
        return "the relay failed";
    case RB_PROBLEM_RATE:
        return "the relay's rate limit is reached";
    case RB_PROBLEM_UNAUTHORIZED:
        return "the relay does not accept the credentials";
    case RB_PROBLEM_TOKEN_REFUSED:
        return "the relay refuses the refresh token for good";
    case RB_PROBLEM_FORBIDDEN:
        return "the relay does not permit it";
    case RB_PROBLEM_NOT_FOUND:
        return "the relay does not know it";
    case RB_PROBLEM_EXISTS:
        return "the relay has it already";
    case RB_PROBLEM_INVALID:
        return "the relay calls the request invalid";
    case RB_PROBLEM_TOO_LARGE:
        return "the request is too large for the relay";
    }
    return "unknown problem";
}

/* Copies foreign text into the answer, printable, cut between characters. */
static void say(struct rb_answer *answer, struct rb_span text)
{
    RB_CLEANUP_STR struct rb_str printable = RB_STR_INIT;
    /* Escaping only grows: no byte beyond the room can matter. */
    if (text.len > sizeof answer->detail)
        text.len = sizeof answer->detail;
    rb_str_add_printable(&printable, text);
    size_t len = printable.len;
    if (rb_str_failed(&printable))
        len = 0;
    if (len >= sizeof answer->detail) {
        len = sizeof answer->detail - 1;
        while (len && (printable.at[len] & 0xc0) == 0x80)
            len--;
    }
    if (len)
        memcpy(answer->detail, printable.at, len);
    answer->detail[len] = 0;
}

static void add_location(struct rb_str *out, struct rb_json_value location)
{
    struct rb_json_walk walk = rb_json_walk(location);
    struct rb_json_value part;
    for (bool first = true; rb_json_next(&walk, NULL, &part); first = false) {
        rb_str_add(out, first ? "" : ".");
        if (rb_json_string(part, out) != RB_OK)
            rb_str_add_span(out, part.text);
    }
}

/* The faults of a 422 as "body.topic: what; …": never its `input`, which is what was sent. */
static void add_faults(struct rb_str *out, struct rb_json_value list)
{
    enum { FAULTS_SAID = 3 };
    struct rb_json_walk walk = rb_json_walk(list);
    struct rb_json_value fault, value;
    for (int said = 0; said < FAULTS_SAID && rb_json_next(&walk, NULL, &fault); said++) {
        rb_str_add(out, said ? "; " : "");
        if (rb_json_member(fault, "loc", &value)) {
            add_location(out, value);
            rb_str_add(out, ": ");
        }
        if (rb_json_member(fault, "msg", &value))
            (void)rb_json_string(value, out);
    }
}

static void say_refusal(struct rb_answer *answer, struct rb_json_value body)
{
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
    struct rb_json_value value;
    if (rb_json_member(body, "detail", &value)) {
        if (value.kind == RB_JSON_ARRAY)
            add_faults(&text, value);
        else
            (void)rb_json_string(value, &text);
    } else if (rb_json_member(body, "error", &value)) {
        (void)rb_json_string(value, &text);
        if (rb_json_member(body, "message", &value) && value.kind == RB_JSON_STRING) {
            rb_str_add(&text, ": ");
            (void)rb_json_string(value, &text);
        }
    }
    if (!rb_str_failed(&text))
        say(answer, rb_str_span(&text));
}

/* Whether the answer is an error in the relay's own JSON. */
static bool is_relay_error(const struct rb_exchange *exchange, struct rb_json_value *ret)
{
    struct rb_json_value body, value;
    if (!exchange->answer_is_json || rb_json_check(exchange->answer, RB_JSON_LEVELS, &body, NULL) != RB_JSON_FINE)
        return false;
    bool relays = rb_json_member(body, "detail", &value)
                      ? value.kind == RB_JSON_STRING || value.kind == RB_JSON_ARRAY
                      : rb_json_member(body, "error", &value) && value.kind == RB_JSON_STRING;
    if (relays)
        *ret = body;
    return relays;
}

static void end_with(struct rb_answer *answer, enum rb_end end, enum rb_problem problem)
{
    answer->end = end;
    answer->problem = problem;
}

static void end_not_the_relays(struct rb_answer *answer)
{
    char text[96];
    end_with(answer, RB_END_UNKNOWN, RB_PROBLEM_LOST);
    snprintf(text, sizeof text, "an answer with status %d that is not what the relay says to this call",
             answer->status);
    say(answer, rb_span_of(text));
}

static void end_refused(enum rb_call_kind kind, const struct rb_exchange *exchange, struct rb_json_value body,
                        struct rb_answer *answer)
{
    const struct rb_call_rule *rule = rb_call_rule(kind);
    struct rb_json_value detail;
    if (kind == RB_CALL_REFRESH && exchange->status == 401 && rb_json_member(body, "detail", &detail) &&
        (rb_json_is(detail, "invalid refresh token") || rb_json_is(detail, "user not found"))) {
        end_with(answer, RB_END_NOT_EXECUTED, RB_PROBLEM_TOKEN_REFUSED);
        say_refusal(answer, body);
        return;
    }
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (refusals[i].status != exchange->status || !(refusals[i].bit & rule->refusals))
            continue;
        end_with(answer, RB_END_NOT_EXECUTED, refusals[i].problem);
        if (kind == RB_CALL_TOPIC_CREATE && exchange->status == 400)
            answer->problem = RB_PROBLEM_EXISTS;
        if (!rule->auth) {
            answer->body = body.text;
            say_refusal(answer, body);
        }
        return;
    }
    end_not_the_relays(answer);
}

static void end_server_error(const struct rb_call_rule *rule, const struct rb_exchange *exchange,
                             struct rb_answer *answer)
{
    struct rb_json_value body;
    char text[32];
    end_with(answer, RB_END_UNKNOWN, RB_PROBLEM_SERVER);
    if (!rule->auth && is_relay_error(exchange, &body)) {
        answer->body = body.text;
        say_refusal(answer, body);
        return;
    }
    snprintf(text, sizeof text, "status %d", exchange->status);
    say(answer, rb_span_of(text));
}

static void end_success(enum rb_call_kind kind, const struct rb_exchange *exchange, struct rb_answer *answer,
                        struct rb_decoded *decoded)
{
    const struct rb_call_rule *rule = rb_call_rule(kind);
    if (rule->success == 204) {
        end_with(answer, RB_END_EXECUTED, RB_PROBLEM_NONE);
        return;
    }
    struct rb_json_value body;
    if (!exchange->answer_is_json || rb_json_check(exchange->answer, RB_JSON_LEVELS, &body, NULL) != RB_JSON_FINE ||
        !rb_decode_shape(kind, decoded, exchange, body)) {
        rb_decoded_free(decoded);
        end_not_the_relays(answer);
        return;
    }
    end_with(answer, RB_END_EXECUTED, RB_PROBLEM_NONE);
    if (!rule->secret)
        answer->body = body.text;
}

void rb_decode(enum rb_call_kind kind, const struct rb_exchange *exchange, struct rb_answer *ret_answer,
               struct rb_decoded *ret_decoded)
{
    const struct rb_call_rule *rule = rb_call_rule(kind);
    struct rb_json_value body;
    *ret_decoded = (struct rb_decoded){0};
    *ret_answer = (struct rb_answer){.retry_after_ms = -1, .relay_wall_ms = -1};
    if (exchange->delivery != RB_DELIVERY_ANSWER) {
        bool none = exchange->delivery == RB_DELIVERY_NONE;
        enum rb_problem lost = exchange->too_long ? RB_PROBLEM_TOO_LONG : RB_PROBLEM_LOST;
        end_with(ret_answer, none ? RB_END_NOT_EXECUTED : RB_END_UNKNOWN, none ? RB_PROBLEM_UNREACHABLE : lost);
        say(ret_answer, rb_span_of(exchange->cause));
        return;
    }
    ret_answer->status = exchange->status;
    ret_answer->retry_after_ms = exchange->retry_after_ms;
    ret_answer->relay_wall_ms = exchange->relay_wall_ms;
    if (exchange->status == rule->success)
        end_success(kind, exchange, ret_answer, ret_decoded);
    else if (exchange->status >= 500 && exchange->status <= 599)
        end_server_error(rule, exchange, ret_answer);
    else if (exchange->status >= 400 && exchange->status <= 499 && is_relay_error(exchange, &body))
        end_refused(kind, exchange, body, ret_answer);
    else
        end_not_the_relays(ret_answer);
}
