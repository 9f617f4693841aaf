/* Fake relay: the model (model.h) served over HTTP on a loopback address, with faults on demand. For the program's
 * own tests and for whoever tests a program that speaks to a relay: `relay-broker fake-relay --help` prints
 * rb_fake_relay_help.
 *
 * Everybody on the machine is let in, and whoever is may break it through /fake/…: never use it for real messages. */
#ifndef RB_FAKE_RELAY_H
#define RB_FAKE_RELAY_H

#include "loop.h"
#include "model.h"
#include "status.h"

struct rb_fake_relay;

struct rb_fake_user {
    const char *name, *password;
    const char *permissions; /* as for rb_model_user; NULL: "" */
};

struct rb_fake_relay_config {
    struct rb_model_config model;
    const char *host; /* numeric; NULL: 127.0.0.1 */
    int port;         /* 0 picks one */
    const struct rb_fake_user *users;
    size_t user_count;
};

/* Listens when it returns. The loop is borrowed; its end of tick must call rb_fake_relay_flush. libsodium is
 * initialised. */
enum rb_status rb_fake_relay_new(struct rb_loop *loop, const struct rb_fake_relay_config *config,
                                 struct rb_fake_relay **ret, struct rb_error *err);
int rb_fake_relay_port(const struct rb_fake_relay *relay);
/* At each end of tick: lets answers leave. True when there is more to do. */
bool rb_fake_relay_flush(struct rb_fake_relay *relay);
/* Closes all connections. NULL is allowed. */
void rb_fake_relay_free(struct rb_fake_relay *relay);

/* What it speaks and how faults are ordered, with examples. */
const char *rb_fake_relay_help(void);

#endif
