/* Web: a server with one face in a loop of the test's own thread, and raw sockets that call it. */
#ifndef RB_TEST_WEB_H
#define RB_TEST_WEB_H

#include <check.h>

#include "fake.h"
#include "problem.h"
#include "server.h"

enum { WEB_PARKED_MAX = 2100, WEB_ANSWER_MAX = 1100000 };

struct web {
    struct rb_fake_clock clock;
    struct rb_loop *loop;
    struct rb_http_server *server;
    int port;
    unsigned handled;
    /* GET /park waits here. */
    struct rb_http_request *parked[WEB_PARKED_MAX];
    unsigned parked_count;
    unsigned gone;
    bool answer_when_gone;
    struct rb_http_peer peer; /* of the last request */
};

struct web_answer {
    int status; /* 0: the connection ended without one */
    char *head, *body;
    size_t body_len;
};

extern struct web web;

/* What every listener of the tests serves. */
extern const struct rb_face *const web_faces[1];

void web_start(void);
void web_start_with(const struct rb_http_limits *limits);
void web_stop(void);

/* Runs the loop until condition() holds; fails the test after a while. */
void web_until(bool (*condition)(void));
/* Runs every phase of the loop that has something to do now. */
void web_turn(void);

int web_connect(void);
void web_send(int fd, const void *bytes, size_t len);
void web_say(int fd, const char *text);
/* The next answer on that connection. */
struct web_answer web_read(int fd);
bool web_is_closed(int fd);
/* All until the connection ends. */
void web_read_all(int fd, struct rb_str *out);
void web_forget(struct web_answer *answer);

/* One request on a connection of its own. */
struct web_answer web_ask(const char *request);
/* The status of it; and whether the connection was closed after it. */
int web_status(const char *request);
int web_status_and_close(const char *request);

Suite *guard_suite(void);
Suite *router_suite(void);
Suite *server_suite(void);
Suite *deadline_suite(void);
Suite *peer_suite(void);
Suite *bind_suite(void);

#endif
