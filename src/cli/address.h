/* Address: where a door listens: HOST:PORT on a loopback address, or unix:/PATH. Never another interface. */
#ifndef RB_ADDRESS_H
#define RB_ADDRESS_H

#include <stdbool.h>

#include "status.h"
#include "str.h"

enum { RB_ADDRESS_HOST_MAX = 48 };

struct rb_address {
    const char *path;               /* of a unix socket, inside the text that was read; NULL: HOST:PORT */
    char host[RB_ADDRESS_HOST_MAX]; /* "127.0.0.1", "[::1]" */
    int port;                       /* 0: chosen by the kernel */
};

/* RB_INVALID with a sentence: no address, or none of this host alone. "localhost" is 127.0.0.1. */
enum rb_status rb_address_read(const char *text, struct rb_address *ret, struct rb_error *err);
/* Appends "http://127.0.0.1:7420" or "unix:/path"; `port` is the one really listened on. */
void rb_address_print(const struct rb_address *address, int port, struct rb_str *out);

#endif
