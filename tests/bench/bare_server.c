/* bare-server PORT: what the broker is measured against: libmicrohttpd and jansson, the same epoll set-up, one thread.
 * It takes a post, parses it, builds an answer, and keeps nothing. */
#include <arpa/inet.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONNECTIONS = 12000, MEMORY_BYTES = 9216 };

struct post {
    size_t len, room;
    char *body;
};

static enum MHD_Result collect(struct post *post, const char *data, size_t *data_len)
{
    if (post->len + *data_len > post->room) {
        post->room = (post->len + *data_len) * 2;
        char *longer = realloc(post->body, post->room);
        if (!longer)
            return MHD_NO;
        post->body = longer;
    }
    memcpy(post->body + post->len, data, *data_len);
    post->len += *data_len;
    *data_len = 0;
    return MHD_YES;
}

/* The body of an answer 202, or NULL when the post is none. */
static char *answer_to(const struct post *post)
{
    static unsigned long long last;
    char id[32], at[32];
    json_t *tree = json_loadb(post->body ? post->body : "", post->len, JSON_ALLOW_NUL, NULL);
    const char *topic = json_string_value(json_object_get(tree, "topic"));
    char *text = NULL;
    if (topic && json_is_object(json_object_get(tree, "payload"))) {
        time_t now = time(NULL);
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &tm);
        snprintf(id, sizeof id, "bare-%llu", ++last);
        json_t *answer = json_pack("{s:s,s:s,s:s}", "message_id", id, "topic", topic, "timestamp", at);
        text = json_dumps(answer, JSON_COMPACT);
        json_decref(answer);
    }
    json_decref(tree);
    return text;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_len, void **context)
{
    struct post *post = *context;
    if (!post) {
        *context = calloc(1, sizeof *post);
        return *context ? MHD_YES : MHD_NO;
    }
    if (*data_len)
        return collect(post, data, data_len);
    char *text = answer_to(post);
    struct MHD_Response *response = text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE)
                                         : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "Content-Type", "application/json");
    enum MHD_Result queued = MHD_queue_response(connection, text ? 202 : 200, response);
    MHD_destroy_response(response);
    return queued;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct post *post = *context;
    if (post)
        free(post->body);
    free(post);
    *context = NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (argc != 2) {
        fprintf(stderr, "usage: bare-server PORT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, (void *)&address,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)MEMORY_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "bare-server: it cannot listen on port %s\n", argv[1]);
        return 1;
    }
    struct pollfd wait = {.fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN};
    for (;;) {
        MHD_UNSIGNED_LONG_LONG ms = 0;
        int has = MHD_get_timeout(daemon, &ms) == MHD_YES;
        poll(&wait, 1, has ? (int)ms : -1);
        MHD_run(daemon);
    }
}
