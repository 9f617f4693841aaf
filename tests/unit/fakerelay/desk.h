/* Desk: a model with a clock that stands still, and short words for asking it things. */
#ifndef DESK_H
#define DESK_H

#include <check.h>

#include "fake.h"
#include "json.h"
#include "model.h"

struct desk {
    struct rb_fake_clock clock;
    struct rb_fake_random random;
    struct rb_model *model;
    const char *bearer, *key;
};

/* The answer asked for last. */
struct said {
    int status;
    bool close;
    char *text;
    json_t *json; /* NULL: none */
    char header[512];
};

void desk_open(struct desk *desk, enum rb_flavour flavour);
void desk_open_with(struct desk *desk, struct rb_model_config config);
void desk_close(struct desk *desk);

/* The answer is valid until the next one. Fails the test when the request has to wait. */
const struct said *ask(struct desk *desk, const char *method, const char *path, const char *body);
const struct said *ask_bytes(struct desk *desk, const char *method, const char *path, const char *type,
                             struct rb_span body, bool chunked);
const struct said *post(struct desk *desk, const char *topic, const char *payload);
const char *text_of(const struct said *said, const char *field);

/* Logs in as "alice" and uses the access token from then on. Returns the refresh token (free it). */
char *sign_in(struct desk *desk);
char *refresh(struct desk *desk, const char *token, int status);

/* A poll that waits; what it was answered lies in it. */
struct waiter {
    struct rb_model_poll *poll;
    int status; /* -1: not yet */
    bool heard;
    char *text;
};
void wait_for(struct desk *desk, struct waiter *waiter, const char *body);
void waiter_free(struct waiter *waiter);

Suite *tokens_suite(void);
Suite *limits_suite(void);
Suite *messages_suite(void);
Suite *polls_suite(void);
Suite *topics_suite(void);
Suite *normal_suite(void);

#endif
