/* Paths: where the daemon keeps what is its own, from options and environment. */
#ifndef RB_PATHS_H
#define RB_PATHS_H

#include <sys/types.h>

#include "status.h"

/* Absolute, without a trailing slash; owned. */
struct rb_paths {
    char *state;        /* the state folder */
    char *keys;         /* the key folder, apart from it (R3) */
    char *admin_socket; /* state/admin.sock */
};

/* `state`: else $RELAY_BROKER_STATE, else /var/lib/relay-broker for root, $XDG_STATE_HOME/relay-broker or
 * ~/.local/state/relay-broker for others. `keys`: else the state folder's name with "-keys". Both may be NULL. Nothing
 * is made. RB_INVALID: an empty name, "/", one inside the other, or no home to look in. */
enum rb_status rb_paths_find(const char *state, const char *keys, uid_t uid, struct rb_paths *ret,
                             struct rb_error *err);
void rb_paths_free(struct rb_paths *paths);

/* The path made absolute by the current folder, without a trailing slash; to be freed. NULL with a sentence. */
char *rb_path_absolute(const char *path, struct rb_error *err);

#endif
