#include "peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "web.h"

enum { STRANGER = 65534 };

static int netlink_fd;

static void open_netlink(void)
{
    netlink_fd = rb_peer_open();
    ck_assert_int_ge(netlink_fd, 0);
}

static void close_netlink(void)
{
    close(netlink_fd);
}

/* Accepts one connection to a listening socket that does not block. */
static int accept_one(int listening)
{
    struct pollfd wait = {.fd = listening, .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, 10000), 1);
    int fd = accept(listening, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static int connect_to(const struct sockaddr *to, socklen_t len)
{
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, to, len) != 0)
        _exit(EXIT_FAILURE);
    return fd;
}

/* The child connects as STRANGER, and lives until told to go. */
struct caller {
    pid_t pid;
    int pipe;
};

static struct caller call_as_stranger(const struct sockaddr *to, socklen_t len)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char byte;
        close(ends[1]);
        if (setgid(STRANGER) != 0 || setuid(STRANGER) != 0)
            _exit(EXIT_FAILURE);
        int fd = connect_to(to, len);
        while (read(ends[0], &byte, 1) > 0)
            ;
        close(fd);
        _exit(EXIT_SUCCESS);
    }
    close(ends[0]);
    return (struct caller){pid, ends[1]};
}

static void let_go(struct caller caller)
{
    int status;
    close(caller.pipe);
    ck_assert_int_eq(waitpid(caller.pid, &status, 0), caller.pid);
    ck_assert_int_eq(status, 0);
}

static void finds_strangers_uid(int listening, const struct sockaddr *to, socklen_t len)
{
    uid_t uid = 0;
    gid_t gid = 0;
    if (geteuid() != 0) {
        fprintf(stderr, "SKIPPED the_uid_of_a_tcp_caller_is_found, of a stranger: not root\n");
        return;
    }
    struct caller caller = call_as_stranger(to, len);
    int fd = accept_one(listening);
    ck_assert(rb_peer_of(netlink_fd, fd, &uid, &gid));
    ck_assert_uint_eq(uid, STRANGER);
    ck_assert_uint_eq(gid, (gid_t)-1);
    let_go(caller);
    close(fd);
}

static struct sockaddr_in v4(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return to;
}

START_TEST(the_uid_of_a_tcp_caller_is_found)
{
    int listening, port;
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 0, &listening, &port, NULL), RB_OK);
    struct sockaddr_in to = v4(port);
    finds_strangers_uid(listening, (const struct sockaddr *)&to, sizeof to);
    uid_t uid = STRANGER;
    gid_t gid = 0;
    int caller = connect_to((const struct sockaddr *)&to, sizeof to), fd = accept_one(listening);
    ck_assert(rb_peer_of(netlink_fd, fd, &uid, &gid));
    ck_assert_uint_eq(uid, geteuid());
    close(caller);
    close(fd);
    close(listening);
}
END_TEST

START_TEST(the_uid_of_a_tcp_caller_over_v6_is_found)
{
    int listening, port;
    enum rb_status bound = rb_http_bind("::1", 0, &listening, &port, NULL);
    if (bound == RB_NOT_FOUND) {
        fprintf(stderr, "SKIPPED the_uid_of_a_tcp_caller_over_v6_is_found: no IPv6 here\n");
        return;
    }
    ck_assert_int_eq(bound, RB_OK);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    to.sin6_addr = in6addr_loopback;
    finds_strangers_uid(listening, (const struct sockaddr *)&to, sizeof to);
    close(listening);
}
END_TEST

START_TEST(the_uid_of_a_mapped_caller_is_found)
{
    /* A v6 socket that also takes v4, as systemd hands it in; and a v6 caller of a v4 address. */
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    int off = 0, listening = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listening < 0) {
        fprintf(stderr, "SKIPPED the_uid_of_a_mapped_caller_is_found: no IPv6 here\n");
        return;
    }
    socklen_t len = sizeof any;
    ck_assert_int_eq(setsockopt(listening, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), 0);
    ck_assert_int_eq(bind(listening, (const struct sockaddr *)&any, sizeof any), 0);
    ck_assert_int_eq(listen(listening, 4), 0);
    ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&any, &len), 0);
    struct sockaddr_in to = v4(ntohs(any.sin6_port));
    finds_strangers_uid(listening, (const struct sockaddr *)&to, sizeof to);
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = any.sin6_port};
    ck_assert_int_eq(inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr), 1);
    finds_strangers_uid(listening, (const struct sockaddr *)&mapped, sizeof mapped);
    close(listening);
    int port;
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 0, &listening, &port, NULL), RB_OK);
    mapped.sin6_port = htons((uint16_t)port);
    finds_strangers_uid(listening, (const struct sockaddr *)&mapped, sizeof mapped);
    close(listening);
}
END_TEST

START_TEST(a_caller_that_has_exited_is_unknown)
{
    int listening, port;
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 0, &listening, &port, NULL), RB_OK);
    struct sockaddr_in to = v4(port);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int fd = connect_to((const struct sockaddr *)&to, sizeof to);
        _exit(write(fd, "GET", 3) == 3 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    uid_t uid = STRANGER;
    gid_t gid = STRANGER;
    int fd = accept_one(listening);
    ck_assert(!rb_peer_of(netlink_fd, fd, &uid, &gid));
    ck_assert_uint_eq(uid, STRANGER);
    close(fd);
    close(listening);
}
END_TEST

/* The lookup of a connection that is no more falls back to a listener on the caller's port. */
START_TEST(a_listener_on_the_callers_port_is_not_the_caller)
{
    int listening, port, on = 1;
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 0, &listening, &port, NULL), RB_OK);
    struct sockaddr_in to = v4(port), from = v4(0);
    socklen_t len = sizeof from;
    int caller = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), decoy = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(setsockopt(caller, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    ck_assert_int_eq(setsockopt(decoy, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    ck_assert_int_eq(bind(caller, (const struct sockaddr *)&from, sizeof from), 0);
    ck_assert_int_eq(getsockname(caller, (struct sockaddr *)&from, &len), 0);
    ck_assert_int_eq(bind(decoy, (const struct sockaddr *)&from, sizeof from), 0);
    ck_assert_int_eq(listen(decoy, 1), 0);
    ck_assert_int_eq(connect(caller, (const struct sockaddr *)&to, sizeof to), 0);
    int fd = accept_one(listening);
    /* A reset takes the caller's end away at once. */
    struct linger reset = {1, 0};
    ck_assert_int_eq(setsockopt(caller, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    close(caller);
    uid_t uid;
    gid_t gid;
    ck_assert(!rb_peer_of(netlink_fd, fd, &uid, &gid));
    close(fd);
    close(decoy);
    close(listening);
}
END_TEST

START_TEST(a_unix_socket_tells_uid_and_gid)
{
    char folder[] = "/tmp/relay-broker-peer-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/door", folder);
    int listening;
    ck_assert_int_eq(rb_http_bind_unix(path, 0600, &listening, NULL), RB_OK);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path, strlen(path));
    int caller = connect_to((const struct sockaddr *)&to, sizeof to), fd = accept_one(listening);
    uid_t uid = STRANGER;
    gid_t gid = STRANGER;
    ck_assert(rb_peer_of(netlink_fd, fd, &uid, &gid));
    ck_assert_uint_eq(uid, geteuid());
    ck_assert_uint_eq(gid, getegid());
    close(caller);
    close(fd);
    close(listening);
    unlink(path);
    rmdir(folder);
}
END_TEST

START_TEST(a_unix_door_takes_any_host_and_tells_the_gid)
{
    char folder[] = "/tmp/relay-broker-peer-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/door", folder);
    web_start();
    struct rb_http_listener listener = {.faces = web_faces, .face_count = 1};
    ck_assert_int_eq(rb_http_bind_unix(path, 0600, &listener.fd, NULL), RB_OK);
    ck_assert_int_eq(rb_http_server_listen(web.server, &listener, NULL), RB_OK);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path, strlen(path));
    int fd = connect_to((const struct sockaddr *)&to, sizeof to);
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    web_say(fd, "GET /hello HTTP/1.1\r\nHost: any.thing\r\n\r\n");
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, 200);
    web_forget(&answer);
    ck_assert_uint_eq(web.peer.uid, geteuid());
    ck_assert_uint_eq(web.peer.gid, getegid());
    close(fd);
    web_stop();
    unlink(path);
    rmdir(folder);
}
END_TEST

static bool one_is_refused(void)
{
    struct rb_http_stats stats;
    rb_http_server_stats(web.server, &stats);
    return stats.refused == 1;
}

START_TEST(a_request_of_a_caller_that_has_exited_reaches_nobody)
{
    web_start();
    int fd = web_connect();
    /* Sent and shut: its end is no longer established when the server accepts. */
    ck_assert_int_gt(write(fd, "DELETE /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 43), 0);
    close(fd);
    web_until(one_is_refused);
    ck_assert_uint_eq(web.handled, 0);
    web_stop();
}
END_TEST

START_TEST(a_handler_is_told_who_calls)
{
    web_start();
    ck_assert_int_eq(web_status("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
    ck_assert_uint_eq(web.peer.uid, geteuid());
    uint64_t first = web.peer.connection;
    ck_assert_uint_gt(first, 0);
    ck_assert_int_eq(web_status("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
    ck_assert_uint_gt(web.peer.connection, first);
    web_stop();
}
END_TEST

static bool admits_nobody(void *door, uid_t uid)
{
    ck_assert_uint_eq(uid, geteuid());
    ++*(unsigned *)door;
    return false;
}

START_TEST(a_door_that_does_not_admit_the_caller_is_403)
{
    static const struct rb_face nothing = {.prefix = "", .problem = rb_http_answer_problem};
    static const struct rb_face *const faces[] = {&nothing};
    unsigned asked = 0;
    int listening;
    web_start();
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 0, &listening, &web.port, NULL), RB_OK);
    struct rb_http_listener listener = {
        .fd = listening, .faces = faces, .face_count = 1, .door = &asked, .admits = admits_nobody};
    ck_assert_int_eq(rb_http_server_listen(web.server, &listener, NULL), RB_OK);
    int fd = web_connect();
    web_say(fd, "GET /hello HTTP/1.1\r\nHost: any.thing\r\n\r\n");
    struct web_answer answer = web_read(fd);
    ck_assert_int_eq(answer.status, 403);
    ck_assert_ptr_nonnull(strstr(answer.body, "not open to your user"));
    web_forget(&answer);
    ck_assert(web_is_closed(fd));
    ck_assert_uint_eq(asked, 1);
    close(fd);
    web_stop();
}
END_TEST

Suite *peer_suite(void)
{
    Suite *suite = suite_create("peer");
    TCase *tests = tcase_create("peer");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, open_netlink, close_netlink);
    tcase_add_test(tests, the_uid_of_a_tcp_caller_is_found);
    tcase_add_test(tests, the_uid_of_a_tcp_caller_over_v6_is_found);
    tcase_add_test(tests, the_uid_of_a_mapped_caller_is_found);
    tcase_add_test(tests, a_caller_that_has_exited_is_unknown);
    tcase_add_test(tests, a_listener_on_the_callers_port_is_not_the_caller);
    tcase_add_test(tests, a_unix_socket_tells_uid_and_gid);
    tcase_add_test(tests, a_unix_door_takes_any_host_and_tells_the_gid);
    tcase_add_test(tests, a_request_of_a_caller_that_has_exited_reaches_nobody);
    tcase_add_test(tests, a_handler_is_told_who_calls);
    tcase_add_test(tests, a_door_that_does_not_admit_the_caller_is_403);
    suite_add_tcase(suite, tests);
    return suite;
}
