/* Admin client: the subcommands' way to the daemon: HTTP over its admin socket, or over a door's URL. Calls block. */
#ifndef RB_ADMIN_CLIENT_H
#define RB_ADMIN_CLIENT_H

#include <signal.h>

#include "json.h"
#include "status.h"
#include "str.h"

struct rb_client;

/* RB_NO_MEMORY only: nothing is connected yet. */
enum rb_status rb_client_of_socket(const char *path, struct rb_client **ret, struct rb_error *err);
/* RB_INVALID: no URL of a door (http on a loopback address, or https). */
enum rb_status rb_client_of_url(const char *url, struct rb_client **ret, struct rb_error *err);
void rb_client_free(struct rb_client *client);
/* Calls end early with RB_BUSY once `*stop` is not 0. */
void rb_client_stop_at(struct rb_client *client, const volatile sig_atomic_t *stop);

/* Whether the socket can be connected to now. */
bool rb_client_socket_open(const char *path);

struct rb_call {
    const char *method, *path; /* path with query, already encoded */
    const char *content_type;  /* NULL: no body */
    struct rb_span body;
    struct rb_span bearer; /* or empty */
    const char *header[3]; /* further ones, NULL: none */
    int64_t wait_ms;       /* for the answer; 0: 40 s, which is longer than the daemon waits for a relay */
};

struct rb_reply {
    int status;
    struct rb_str body; /* may hold a secret: wiped by rb_reply_free */
};
void rb_reply_free(struct rb_reply *reply);
#define RB_CLEANUP_REPLY __attribute__((cleanup(rb_reply_free)))

/* RB_OK with whatever was answered. RB_UNAVAILABLE: it can't be reached; RB_IO: the answer did not come. */
enum rb_status rb_client_call(struct rb_client *client, const struct rb_call *call, struct rb_reply *ret,
                              struct rb_error *err);

/* A call that is done when it is answered 2xx; else as rb_reply_refused says. The body is JSON, printed from the
 * tree (released in any case, wiped after use; NULL: none). `ret` may be NULL. */
enum rb_status rb_client_json(struct rb_client *client, const char *method, const char *path, json_t *body,
                              json_t **ret, struct rb_error *err);

/* The sentence in an error's body: RFC 9457, or the relay's own shapes; else one about the status. RB_BUSY: it may work
 * later (5xx); else RB_DENIED. */
enum rb_status rb_reply_refused(const struct rb_reply *reply, struct rb_error *err);

/* Opens a session on the wire face for that user name and appends its access placeholder, or with `refresh` the refresh
 * one. */
enum rb_status rb_client_sign_in(struct rb_client *client, const char *username, bool refresh, struct rb_str *out,
                                 struct rb_error *err);
/* Ends it. */
void rb_client_sign_out(struct rb_client *client, struct rb_span bearer);
/* Whether the daemon has an account of that name, for a caller who named it: RB_NOT_FOUND with a sentence. */
enum rb_status rb_client_check_account(struct rb_client *client, const char *name, struct rb_error *err);

/* The admin call "/admin/accounts/NAME/<action>". */
enum rb_status rb_client_account(struct rb_client *client, const char *account, const char *action, json_t *body,
                                 json_t **ret, struct rb_error *err);

#endif
