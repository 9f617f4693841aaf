/* Server: a raw HTTP server in threads of its own that misbehaves to order and remembers what reached it. */
#ifndef RB_TEST_SERVER_H
#define RB_TEST_SERVER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

/* What the server does to one request. */
enum act {
    ACT_ANSWER,           /* sends `answer` and keeps the connection */
    ACT_ANSWER_AND_CLOSE, /* sends `answer` and closes */
    ACT_CUT_AT_ACCEPT,    /* closes the connection before reading from it */
    ACT_CUT_AFTER_HEADERS,
    ACT_CUT_AFTER_BODY,
    ACT_HOLD_AND_RESET, /* as ACT_HOLD, then resets the connection */
    ACT_HOLD,           /* calls `on_hold`, waits for server_release, then as ACT_ANSWER */
    ACT_DRIP,           /* sends `answer`, then a byte now and then, for ever */
    ACT_FLOOD,          /* sends `answer` again and again until the peer closes */
};

struct step {
    enum act act;
    const char *answer; /* whole, with its head; NULL: `usual` */
};

enum { SERVER_REQUESTS = 32, SERVER_CONNECTIONS = 32 };

struct server {
    int port;
    const char *usual;        /* the answer where the steps have none, and after their end */
    const struct step *steps; /* one a request; ACT_CUT_AT_ACCEPT: one a connection */
    size_t step_count;
    void (*on_hold)(struct server *server);
    void *arg;

    /* Read after server_stop, or while nothing is under way. */
    size_t connections;
    size_t requests; /* whose head arrived */
    struct {
        char *text;        /* head and what arrived of the body */
        size_t connection; /* its number, from 0 */
        bool whole;
    } request[SERVER_REQUESTS];

    /* private */
    int listener;
    bool stopping;
    size_t step;
    pthread_mutex_t lock;
    pthread_t acceptor;
    pthread_t threads[SERVER_CONNECTIONS];
    int sockets[SERVER_CONNECTIONS];
    sem_t release, sent;
};

void server_start(struct server *server, const char *usual, const struct step *steps, size_t count);
/* Closes everything and waits for the threads; the requests stay readable until server_free. */
void server_stop(struct server *server);
void server_free(struct server *server);
/* Lets a held answer go; returns when it has been handed to the kernel. */
void server_release(struct server *server);
/* How many requests whose head arrived hold this text. */
size_t server_count(struct server *server, const char *text);

#endif
