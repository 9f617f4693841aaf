/* What the fake relay's files share. */
#ifndef RB_FAKE_RELAY_PRIVATE_H
#define RB_FAKE_RELAY_PRIVATE_H

#include "fake_relay.h"
#include "json.h"
#include "json_span.h"
#include "list.h"
#include "server.h"

enum fault_kind {
    FAULT_HOLD,   /* waits until it is released, then goes on to the next fault that fits */
    FAULT_DELAY,  /* waits `ms`, then goes on to the next fault that fits */
    FAULT_CUT,    /* the connection is closed and nothing is done */
    FAULT_DROP,   /* it is done, and the connection closed without an answer */
    FAULT_STATUS, /* another answer, with it done or not */
    FAULT_HTML,   /* 200 with a page, and nothing is done */
};

struct fault {
    struct rb_list link;
    enum fault_kind kind;
    char method[16], path[256]; /* empty: any; the path is a prefix */
    uint64_t left;              /* 0: until it is cleared */
    bool forever;
    int status;
    int64_t ms;
    bool done;            /* the work is done before the other answer */
    char retry_after[32]; /* empty: none */
};

struct rb_fake_relay {
    struct rb_clock *clock;
    struct rb_random random;
    struct rb_model *model;
    struct rb_http_server *http;
    struct rb_face face;
    const struct rb_face *faces[1];
    int port;
    struct rb_list faults;    /* in the order in which they were given */
    struct rb_list exchanges; /* unanswered requests */
};

/* A request on its way through faults and model. */
struct exchange {
    struct rb_list link;
    struct rb_fake_relay *relay;
    struct rb_http_request *request;
    struct rb_timer timer;
    enum { EXCHANGE_NEW, EXCHANGE_HELD, EXCHANGE_DELAYED, EXCHANGE_POLLING } state;
    bool was_held, was_delayed;
    struct rb_model_poll *poll;
    struct fault last; /* the fault that changes the answer, kind FAULT_DROP or FAULT_STATUS, when `spoiled` */
    bool spoiled;
};

/* --- fake_relay.c --- */
/* Goes on with a request that was held or delayed. It may be gone afterwards. */
void exchange_go_on(struct exchange *exchange);
/* Closes the connections of requests that wait (not of polls that wait in the model). */
void exchanges_cut(struct rb_fake_relay *relay);

/* --- fault.c --- */
/* Takes the first that fits, skipping holds and delays where told. False: none. */
bool fault_take(struct rb_fake_relay *relay, struct rb_span method, struct rb_span path, bool no_hold, bool no_delay,
                struct fault *ret);
/* Reads {"do": …}; the sentence of what is wrong, or NULL. */
const char *fault_read(json_t *order, struct fault *ret);
bool fault_add(struct rb_fake_relay *relay, const struct fault *fault);
void faults_clear(struct rb_fake_relay *relay, bool holds_only);

/* --- control.c --- */
void handle_control(struct rb_fake_relay *relay, struct rb_http_request *request);

#endif
