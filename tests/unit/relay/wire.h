/* Wire: the real carrier and relay on a loop of their own, on a clock that goes with the kernel's and can be moved on.
 */
#ifndef RB_TEST_WIRE_H
#define RB_TEST_WIRE_H

#include "http_carrier.h"
#include "relay.h"

struct wire {
    struct rb_clock clock;
    struct rb_clock kernel;
    int64_t ahead_ms; /* add to it: the process was stopped that long */
    struct rb_loop *loop;
    struct rb_http_carrier *carrier;
    struct rb_relay *relay;
    char url[64];
    struct rb_relay_peer peer;

    /* Of the last call or exchange that ended. */
    int ended;
    struct rb_answer answer;
    char text[64];               /* the refresh token or message id */
    struct rb_exchange exchange; /* answer's bytes are gone */
};

void wire_start(struct wire *wire, const char *scheme, const char *host, int port);
void wire_stop(struct wire *wire);
/* Runs the loop until one more call or exchange has ended. */
void wire_wait(struct wire *wire);

/* Start a call, which does not end within its start (T8); wait for its end. */
void wire_post(struct wire *wire, const char *key);
void wire_refresh(struct wire *wire, const char *token);
void wire_me(struct wire *wire);
void wire_health(struct wire *wire);
/* A bare GET of the carrier. */
void wire_get(struct wire *wire, int64_t deadline_ms, size_t answer_max_bytes);

#endif
