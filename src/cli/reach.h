/* Reach: which daemon a subcommand talks to, from its options. */
#ifndef RB_REACH_H
#define RB_REACH_H

#include "admin_client.h"

struct rb_reach {
    const char *state, *keys; /* options, or NULL */
    const char *url;          /* of a door, or NULL */
};

#define RB_DEFAULT_URL "http://127.0.0.1:7420"

/* The daemon's admin socket. */
enum rb_status rb_reach_admin(const struct rb_reach *reach, struct rb_client **ret, struct rb_error *err);
/* The door at `url` where it is given; else the admin socket where this user may open it; else the default door. */
enum rb_status rb_reach_any(const struct rb_reach *reach, struct rb_client **ret, struct rb_error *err);

#endif
