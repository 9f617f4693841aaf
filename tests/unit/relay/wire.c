#include "wire.h"

#include <check.h>
#include <stdio.h>

static int64_t now_ms(struct rb_clock *clock)
{
    struct wire *wire = (struct wire *)(void *)clock;
    return rb_clock_now_ms(&wire->kernel) + wire->ahead_ms;
}

static int64_t wall_ms(struct rb_clock *clock)
{
    struct wire *wire = (struct wire *)(void *)clock;
    return rb_clock_wall_ms(&wire->kernel) + wire->ahead_ms;
}

static bool nothing_to_commit(void *arg)
{
    return false;
}

void wire_start(struct wire *wire, const char *scheme, const char *host, int port)
{
    *wire = (struct wire){.clock = {.now_ms = now_ms, .wall_ms = wall_ms}};
    rb_clock_init_system(&wire->kernel);
    snprintf(wire->url, sizeof wire->url, "%s://%s:%d", scheme, host, port);
    wire->peer.url = wire->url;
    ck_assert_int_eq(rb_loop_new(&wire->clock, nothing_to_commit, NULL, &wire->loop), RB_OK);
    ck_assert_int_eq(rb_http_carrier_new(wire->loop, &wire->carrier, NULL), RB_OK);
    ck_assert_int_eq(rb_relay_new(rb_http_carrier_port(wire->carrier), &wire->relay), RB_OK);
}

void wire_stop(struct wire *wire)
{
    rb_relay_free(wire->relay);
    rb_http_carrier_free(wire->carrier);
    rb_loop_free(wire->loop);
}

void wire_wait(struct wire *wire)
{
    int ended = wire->ended;
    while (wire->ended == ended)
        rb_loop_run(wire->loop);
}

static void keep(struct wire *wire, const struct rb_answer *answer, struct rb_span text)
{
    wire->ended++;
    wire->answer = *answer;
    wire->answer.body = (struct rb_span){0};
    snprintf(wire->text, sizeof wire->text, "%.*s", (int)text.len, text.len ? text.at : "");
    rb_loop_stop(wire->loop);
}

static void on_post(void *arg, const struct rb_answer *answer, const struct rb_stored *stored)
{
    keep(arg, answer, stored ? stored->message_id : (struct rb_span){0});
}

static void on_tokens(void *arg, const struct rb_answer *answer, const struct rb_tokens *tokens)
{
    keep(arg, answer, tokens ? tokens->refresh_token : (struct rb_span){0});
}

static void on_me(void *arg, const struct rb_answer *answer, const struct rb_me *me)
{
    keep(arg, answer, me ? me->username : (struct rb_span){0});
}

static void on_plain(void *arg, const struct rb_answer *answer)
{
    keep(arg, answer, (struct rb_span){0});
}

static void on_exchange(struct rb_exchange *exchange)
{
    struct wire *wire = exchange->arg;
    wire->ended++;
    rb_loop_stop(wire->loop);
}

/* Of a start: it went well, and its end did not come within it (T8). */
#define DO(wire, start)                          \
    do {                                         \
        int before = (wire)->ended;              \
        ck_assert_int_eq(start, RB_OK);          \
        ck_assert_int_eq((wire)->ended, before); \
        wire_wait(wire);                         \
    } while (0)

void wire_post(struct wire *wire, const char *key)
{
    struct rb_outgoing message = {.topic = RB_SPAN("t"), .payload = RB_SPAN("{\"n\":1}")};
    DO(wire, rb_relay_post(wire->relay, &wire->peer, RB_SPAN("acc"), &message, key, on_post, wire, NULL));
}

void wire_refresh(struct wire *wire, const char *token)
{
    DO(wire, rb_relay_refresh(wire->relay, &wire->peer, rb_span_of(token), on_tokens, wire, NULL));
}

void wire_me(struct wire *wire)
{
    DO(wire, rb_relay_me(wire->relay, &wire->peer, RB_SPAN("acc"), on_me, wire, NULL));
}

void wire_health(struct wire *wire)
{
    DO(wire, rb_relay_health(wire->relay, &wire->peer, on_plain, wire, NULL));
}

void wire_get(struct wire *wire, int64_t deadline_ms, size_t answer_max_bytes)
{
    struct rb_carrier *port = rb_http_carrier_port(wire->carrier);
    wire->exchange = (struct rb_exchange){.url = wire->url,
                                          .method = "GET",
                                          .path = "/x/../%2e%2e/y?a=b",
                                          .bearer = "acc",
                                          .deadline_ms = deadline_ms,
                                          .answer_max_bytes = answer_max_bytes,
                                          .done = on_exchange,
                                          .arg = wire};
    DO(wire, port->start(port, &wire->exchange));
}
