/* Multi loop: a curl multi handle that the loop drives. It owns the multi handle and watches its sockets and its timer;
 * it knows nothing of HTTP.
 *
 * libcurl's timer is a timer of the clock, so it too fires after poll, never before it (T2). */
#ifndef RB_MULTI_LOOP_H
#define RB_MULTI_LOOP_H

#include <curl/curl.h>

#include "loop.h"

struct rb_multi_loop;

struct rb_multi_loop_users {
    /* A transfer has ended. It is still in the multi loop: remove it here. */
    void (*ended)(void *arg, CURL *easy, CURLcode result);
    /* Something came in on the socket of this transfer, which has not read it yet. */
    void (*arrived)(void *arg, CURL *easy);
    void *arg;
};

/* The loop is borrowed. */
enum rb_status rb_multi_loop_new(struct rb_loop *loop, struct rb_multi_loop_users users, struct rb_multi_loop **ret);
/* All transfers have been removed; not from inside `ended`. The loop closes the socket handles in its own time. */
void rb_multi_loop_free(struct rb_multi_loop *ml);

/* Nothing ends inside this. */
enum rb_status rb_multi_loop_add(struct rb_multi_loop *ml, CURL *easy);
void rb_multi_loop_remove(struct rb_multi_loop *ml, CURL *easy);

#endif
