/* Door: a listening address with a policy: who may come in by it, which accounts and topics it serves, which faces it
 * shows (D1, D6). No caller has a credential: the kernel says who calls. */
#ifndef RB_DOOR_H
#define RB_DOOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "account.h"
#include "http.h"

/* What a look into the group database said of a user. */
struct rb_door_look {
    uid_t uid;
    bool is_member;
    int64_t until_ms; /* it is believed; 0: no look */
};

struct rb_door {
    char *name;    /* "default", or the configuration section's */
    char **listen; /* NULL-terminated addresses it opens at, as shown to people; NULL: none yet */
    bool any_uid;  /* `uids = any`: said in status */
    uid_t *uids;   /* besides the daemon's own and root; may be empty */
    size_t uid_count;
    gid_t group;                       /* its members may come in; (gid_t)-1: none */
    char **accounts;                   /* NULL-terminated names; NULL: all */
    char **post_topics, **poll_topics; /* NULL-terminated fnmatch patterns; NULL: all */
    bool wire, broker;                 /* the faces it shows */
    bool topic_changes;                /* PUT and DELETE of topics */
    struct rb_clock *clock;            /* borrowed; NULL: each caller is looked up anew */
    struct rb_door_look looks[16];
    unsigned next_look;
};

/* The default door: own uid, root and the group relay-broker where it exists; everything else allowed. */
enum rb_status rb_door_init_default(struct rb_door *door);
void rb_door_free(struct rb_door *door); /* frees what it holds, not the struct */

/* For rb_http_listener.admits. Group membership is looked up in the group database, which may take its time (LDAP): what
 * it said of a user is believed for a minute. */
bool rb_door_admits(void *door, uid_t uid);
/* The group of that name on this host. */
bool rb_door_find_group(const char *name, gid_t *ret);
bool rb_door_serves(const struct rb_door *door, const struct rb_account *account);
bool rb_door_may_post(const struct rb_door *door, struct rb_span topic);
bool rb_door_may_poll(const struct rb_door *door, struct rb_span topic);

/* The account that a name given by a caller selects among the door's: by account name, else by upstream user name, else
 * the only one; NULL: none can serve. */
struct rb_account *rb_door_account(const struct rb_door *door, struct rb_accounts *accounts, struct rb_span name);
/* The account for a caller without a placeholder: the door's only one, NULL when there are several or none. */
struct rb_account *rb_door_default_account(const struct rb_door *door, struct rb_accounts *accounts);

#endif
