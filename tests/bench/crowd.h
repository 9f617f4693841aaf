/* A crowd of callers: keep-alive connections to one loopback port, in one epoll: what the load and the callers are made
 * of. A request is bytes that stand ready; an answer is its status and, when it has come whole, a call. */
#ifndef CROWD_H
#define CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crowd;

struct caller {
    struct crowd *crowd;
    int fd;
    size_t sent;            /* of the request under way */
    size_t held, body_left; /* bytes in `head`; what is still to come of the body */
    int status;
    bool in_body;
    char head[1024];
};

struct crowd {
    int epoll;
    struct caller *callers;
    unsigned count;
    const char *request;
    size_t request_len;
    void (*answered)(struct caller *caller, int status); /* it may send again */
    uint64_t lost;                                       /* connections that ended */
};

/* Connects them all, or ends the program with a sentence. */
void crowd_connect(struct crowd *crowd, unsigned count, int port);
/* Closes what is open. */
void crowd_end(struct crowd *crowd);
void caller_send(struct caller *caller);
/* Serves what has come, waiting up to `ms` for it. */
void crowd_run(struct crowd *crowd, int ms);

/* CLOCK_MONOTONIC, which all processes share. */
int64_t now_ns(void);
/* Ends the program. */
_Noreturn void fail(const char *what);

#endif
