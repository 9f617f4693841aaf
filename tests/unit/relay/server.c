#include "server.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_MAX = 4 * 1024 * 1024 };

struct connection {
    struct server *server;
    size_t number;
    int socket;
};

static struct step next_step(struct server *server, bool at_accept)
{
    struct step step = {ACT_ANSWER, NULL};
    pthread_mutex_lock(&server->lock);
    if (server->step < server->step_count) {
        struct step next = server->steps[server->step];
        if (at_accept == (next.act == ACT_CUT_AT_ACCEPT)) {
            step = next;
            server->step++;
        }
    }
    pthread_mutex_unlock(&server->lock);
    return step;
}

static enum act coming_act(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    enum act act = server->step < server->step_count ? server->steps[server->step].act : ACT_ANSWER;
    pthread_mutex_unlock(&server->lock);
    return act;
}

static bool send_all(int socket, const char *text, size_t len)
{
    while (len) {
        ssize_t sent = send(socket, text, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        text += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* Reads up to the end of the head or, with `whole`, of the body. False: the peer closed. */
static bool read_request(int socket, char *text, size_t *len, bool whole)
{
    for (;;) {
        char *end = strstr(text, "\r\n\r\n");
        if (end) {
            const char *length = strcasestr(text, "\r\ncontent-length:");
            size_t want = (size_t)(end - text) + 4;
            if (whole && length)
                want += strtoul(length + 17, NULL, 10);
            if (!whole || *len >= want)
                return true;
        }
        if (*len == REQUEST_MAX)
            return false;
        ssize_t got = recv(socket, text + *len, REQUEST_MAX - *len, 0);
        if (got <= 0)
            return false;
        *len += (size_t)got;
        text[*len] = 0;
    }
}

static size_t remember(struct server *server, size_t connection, const char *text)
{
    pthread_mutex_lock(&server->lock);
    size_t number = server->requests++;
    if (number >= SERVER_REQUESTS)
        abort();
    server->request[number].text = strdup(text);
    server->request[number].connection = connection;
    pthread_mutex_unlock(&server->lock);
    return number;
}

static void remember_whole(struct server *server, size_t number, const char *text)
{
    pthread_mutex_lock(&server->lock);
    free(server->request[number].text);
    server->request[number].text = strdup(text);
    server->request[number].whole = true;
    pthread_mutex_unlock(&server->lock);
}

/* True: the connection goes on. */
static bool perform(struct server *server, int socket, struct step step)
{
    const char *answer = step.answer ? step.answer : server->usual;
    switch (step.act) {
    case ACT_CUT_AT_ACCEPT:
    case ACT_CUT_AFTER_HEADERS:
    case ACT_CUT_AFTER_BODY:
        return false;
    case ACT_HOLD:
    case ACT_HOLD_AND_RESET:
        server->on_hold(server);
        sem_wait(&server->release);
        send_all(socket, answer, strlen(answer));
        if (step.act == ACT_HOLD_AND_RESET)
            connect(socket, &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr));
        sem_post(&server->sent);
        return step.act == ACT_HOLD;
    case ACT_ANSWER:
        return send_all(socket, answer, strlen(answer));
    case ACT_ANSWER_AND_CLOSE:
        send_all(socket, answer, strlen(answer));
        return false;
    case ACT_DRIP:
        for (bool open = send_all(socket, answer, strlen(answer)); open; usleep(3000))
            open = send_all(socket, " ", 1);
        return false;
    case ACT_FLOOD:
        while (send_all(socket, answer, strlen(answer)))
            ;
        return false;
    }
    return false;
}

static void *serve(void *arg)
{
    struct connection connection = *(struct connection *)arg;
    struct server *server = connection.server;
    char *text = malloc(REQUEST_MAX + 1);
    free(arg);
    bool open = next_step(server, true).act != ACT_CUT_AT_ACCEPT;
    while (open) {
        size_t len = 0;
        text[0] = 0;
        if (!read_request(connection.socket, text, &len, false))
            break;
        size_t number = remember(server, connection.number, text);
        if (coming_act(server) == ACT_CUT_AFTER_HEADERS) {
            next_step(server, false);
            break;
        }
        if (!read_request(connection.socket, text, &len, true))
            break;
        remember_whole(server, number, text);
        open = perform(server, connection.socket, next_step(server, false));
    }
    shutdown(connection.socket, SHUT_RDWR);
    pthread_mutex_lock(&server->lock);
    server->sockets[connection.number] = -1;
    close(connection.socket);
    pthread_mutex_unlock(&server->lock);
    free(text);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct server *server = arg;
    for (;;) {
        int socket = accept(server->listener, NULL, NULL);
        if (socket < 0)
            return NULL;
        pthread_mutex_lock(&server->lock);
        if (server->stopping || server->connections == SERVER_CONNECTIONS) {
            close(socket);
        } else {
            struct connection *connection = malloc(sizeof *connection);
            *connection = (struct connection){server, server->connections, socket};
            server->sockets[server->connections] = socket;
            pthread_create(&server->threads[server->connections++], NULL, serve, connection);
        }
        pthread_mutex_unlock(&server->lock);
    }
}

void server_start(struct server *server, const char *usual, const struct step *steps, size_t count)
{
    *server = (struct server){.usual = usual, .steps = steps, .step_count = count};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(server->listener, 0);
    ck_assert_int_eq(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(server->listener, 16), 0);
    ck_assert_int_eq(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
    server->port = ntohs(address.sin_port);
    pthread_mutex_init(&server->lock, NULL);
    sem_init(&server->release, 0, 0);
    sem_init(&server->sent, 0, 0);
    ck_assert_int_eq(pthread_create(&server->acceptor, NULL, accept_all, server), 0);
}

void server_stop(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    shutdown(server->listener, SHUT_RDWR);
    for (size_t i = 0; i < server->connections; i++)
        if (server->sockets[i] >= 0)
            shutdown(server->sockets[i], SHUT_RDWR);
    pthread_mutex_unlock(&server->lock);
    sem_post(&server->release);
    pthread_join(server->acceptor, NULL);
    for (size_t i = 0; i < server->connections; i++)
        pthread_join(server->threads[i], NULL);
    close(server->listener);
}

void server_free(struct server *server)
{
    for (size_t i = 0; i < server->requests; i++)
        free(server->request[i].text);
    pthread_mutex_destroy(&server->lock);
    sem_destroy(&server->release);
    sem_destroy(&server->sent);
}

void server_release(struct server *server)
{
    sem_post(&server->release);
    sem_wait(&server->sent);
}

size_t server_count(struct server *server, const char *text)
{
    size_t count = 0;
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->requests; i++)
        count += strstr(server->request[i].text, text) != NULL;
    pthread_mutex_unlock(&server->lock);
    return count;
}
