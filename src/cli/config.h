/* Config: the daemon's configuration file, read with libConfuse. Every key is a row of a table (config_keys.c) with its
 * kind and range, so that an unknown key or a bad value is refused with file, line, key and what is allowed. */
#ifndef RB_CONFIG_H
#define RB_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "broker.h"
#include "door.h"
#include "server.h"

/* A door section, and where it listens. */
struct rb_config_door {
    struct rb_door door;
    char **listen;        /* NULL-terminated; of the door "default": NULL, its addresses are the top level's */
    unsigned socket_mode; /* of its unix sockets */
};

/* What the file says, in the file's units. All is owned. */
struct rb_config {
    char *state, *keys; /* NULL: not said */
    char **listen;      /* NULL-terminated, of the default door; empty: no default door; NULL: not said */
    int64_t log_level;  /* enum rb_log_level */
    int64_t connections, parked_polls, sessions, topics, user_percent, body_bytes, header_bytes, arrive_seconds;
    int64_t outbox_rows, outbox_bytes, outbox_keys, key_hours;
    int64_t retention_hours, inbox_bytes;
    int64_t retry_after_end_seconds, unknown_wait_seconds, posts_per_minute, refreshes_per_minute, logins_per_minute,
        poll_timeout_seconds;
    struct rb_config_door *doors;
    size_t door_count;
};

enum rb_config_kind {
    RB_CONFIG_INTEGER, /* int64_t in [min, max] */
    RB_CONFIG_TEXT,    /* char *, not empty */
    RB_CONFIG_LIST,    /* char ** */
    RB_CONFIG_CHOICE,  /* int64_t: the place in `words` */
};

struct rb_config_key {
    const char *section; /* NULL: top level */
    const char *name;
    enum rb_config_kind kind;
    size_t offset; /* in struct rb_config */
    int64_t min, max;
    const char *const *words; /* NULL-terminated */
};
/* All keys but those of door sections; ended by a row without a name. */
extern const struct rb_config_key rb_config_keys[];
/* The names of a door section's keys, NULL-terminated. */
extern const char *const rb_config_door_keys[];
/* The addresses that the default door listens on where nothing else is said, NULL-terminated. */
extern const char *const rb_config_default_listen[];

/* The defaults; no door sections. */
void rb_config_init(struct rb_config *config);
void rb_config_free(struct rb_config *config);

/* Reads the file into an initialised config. RB_DENIED: not readable, or writable by others than root and the caller;
 * RB_INVALID: not a regular file, or a rule is broken. What was read before the failure stays in the config. */
enum rb_status rb_config_read(struct rb_config *config, const char *path, struct rb_error *err);

/* The same in the units of those who use it. */
struct rb_http_limits rb_config_http_limits(const struct rb_config *config);
struct rb_broker_config rb_config_broker(const struct rb_config *config);

#endif
