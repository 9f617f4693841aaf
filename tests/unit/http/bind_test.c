#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "web.h"

START_TEST(port_0_picks_one)
{
    int fd, port = 0;
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 0, &fd, &port, NULL), RB_OK);
    ck_assert_int_gt(port, 0);
    close(fd);
}
END_TEST

START_TEST(a_taken_port_is_busy_and_names_its_owner)
{
    int fd, other = -1, port, another;
    struct rb_error err = {0};
    char owner[64];
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 0, &fd, &port, NULL), RB_OK);
    ck_assert_int_eq(rb_http_bind("127.0.0.1", port, &other, &another, &err), RB_BUSY);
    ck_assert_int_eq(other, -1);
    snprintf(owner, sizeof owner, "process %d of uid %u", getpid(), geteuid());
    ck_assert_msg(strstr(err.text, owner) != NULL, "%s", err.text);
    close(fd);
    /* Free again at once, whatever lingers of it. */
    ck_assert_int_eq(rb_http_bind("127.0.0.1", port, &fd, &port, NULL), RB_OK);
    close(fd);
}
END_TEST

START_TEST(a_port_taken_by_a_listener_on_all_addresses_is_busy)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    socklen_t len = sizeof any;
    struct rb_error err = {0};
    int fd = socket(AF_INET, SOCK_STREAM, 0), other, port;
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&any, sizeof any), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&any, &len), 0);
    ck_assert_int_eq(rb_http_bind("127.0.0.1", ntohs(any.sin_port), &other, &port, &err), RB_BUSY);
    ck_assert_ptr_nonnull(strstr(err.text, "uid"));
    close(fd);
}
END_TEST

START_TEST(v4_and_v6_can_have_the_same_port)
{
    int v6, v4, port, same;
    enum rb_status bound = rb_http_bind("[::1]", 0, &v6, &port, NULL);
    if (bound == RB_NOT_FOUND) {
        fprintf(stderr, "SKIPPED v4_and_v6_can_have_the_same_port: no IPv6 here\n");
        return;
    }
    ck_assert_int_eq(bound, RB_OK);
    ck_assert_int_eq(rb_http_bind("127.0.0.1", port, &v4, &same, NULL), RB_OK);
    ck_assert_int_eq(same, port);
    close(v4);
    close(v6);
}
END_TEST

START_TEST(what_is_no_numeric_address_is_invalid)
{
    static const char *const hosts[] = {
        "localhost", "",     "127.0.0.1.1", "[127.0.0.1]",
        "[::1",      "::1]", "127.1",       "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111"};
    int fd, port;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        ck_assert_int_eq(rb_http_bind(hosts[i], 0, &fd, &port, NULL), RB_INVALID);
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 65536, &fd, &port, NULL), RB_INVALID);
    ck_assert_int_eq(rb_http_bind("127.0.0.1", -1, &fd, &port, NULL), RB_INVALID);
    ck_assert_int_eq(rb_http_bind("192.0.2.1", 0, &fd, &port, NULL), RB_NOT_FOUND);
}
END_TEST

START_TEST(what_is_no_numeric_address_is_named_with_its_port)
{
    struct rb_error err = {0};
    int fd = -1, port = -1;
    ck_assert_int_eq(rb_http_bind("relay.example", 8080, &fd, &port, &err), RB_INVALID);
    ck_assert_str_eq(err.text, "\"relay.example\" port 8080 is no numeric address to listen on");
    ck_assert_int_eq(rb_http_bind("127.0.0.1", 70000, &fd, &port, &err), RB_INVALID);
    ck_assert_str_eq(err.text, "\"127.0.0.1\" port 70000 is no numeric address to listen on");
    ck_assert_int_eq(err.status, RB_INVALID);
    ck_assert_int_eq(fd, -1);
}
END_TEST

static char folder[64], path[96];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/relay-broker-bind-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/door", folder);
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

START_TEST(a_unix_socket_has_the_mode_that_was_asked_for)
{
    struct stat there;
    int fd;
    ck_assert_int_eq(rb_http_bind_unix(path, 0660, &fd, NULL), RB_OK);
    ck_assert_int_eq(stat(path, &there), 0);
    ck_assert_uint_eq(there.st_mode & 07777, 0660);
    close(fd);
}
END_TEST

START_TEST(a_stale_socket_is_replaced_and_a_live_one_is_busy)
{
    int fd, other;
    ck_assert_int_eq(rb_http_bind_unix(path, 0600, &fd, NULL), RB_OK);
    ck_assert_int_eq(rb_http_bind_unix(path, 0600, &other, NULL), RB_BUSY);
    close(fd);
    ck_assert_int_eq(rb_http_bind_unix(path, 0600, &fd, NULL), RB_OK);
    close(fd);
}
END_TEST

START_TEST(a_file_that_is_no_socket_stays)
{
    struct stat there;
    int fd;
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fclose(file);
    ck_assert_int_eq(rb_http_bind_unix(path, 0600, &fd, NULL), RB_EXISTS);
    ck_assert_int_eq(stat(path, &there), 0);
    ck_assert(S_ISREG(there.st_mode));
}
END_TEST

START_TEST(a_path_that_is_too_long_is_invalid)
{
    char longer[200];
    int fd;
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    ck_assert_int_eq(rb_http_bind_unix(longer, 0600, &fd, NULL), RB_INVALID);
    ck_assert_int_eq(rb_http_bind_unix("", 0600, &fd, NULL), RB_INVALID);
}
END_TEST

START_TEST(only_a_listening_socket_is_taken)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct rb_http_listener listener = {.fd = fd};
    web_start();
    ck_assert_int_eq(rb_http_server_listen(web.server, &listener, NULL), RB_INVALID);
    listener.fd = -1;
    ck_assert_int_eq(rb_http_server_listen(web.server, &listener, NULL), RB_INVALID);
    web_stop();
    close(fd);
}
END_TEST

Suite *bind_suite(void)
{
    Suite *suite = suite_create("bind");
    TCase *tcp = tcase_create("tcp");
    tcase_add_test(tcp, port_0_picks_one);
    tcase_add_test(tcp, a_taken_port_is_busy_and_names_its_owner);
    tcase_add_test(tcp, a_port_taken_by_a_listener_on_all_addresses_is_busy);
    tcase_add_test(tcp, v4_and_v6_can_have_the_same_port);
    tcase_add_test(tcp, what_is_no_numeric_address_is_invalid);
    tcase_add_test(tcp, what_is_no_numeric_address_is_named_with_its_port);
    tcase_add_test(tcp, only_a_listening_socket_is_taken);
    suite_add_tcase(suite, tcp);
    TCase *local = tcase_create("unix");
    tcase_add_checked_fixture(local, make_folder, remove_folder);
    tcase_add_test(local, a_unix_socket_has_the_mode_that_was_asked_for);
    tcase_add_test(local, a_stale_socket_is_replaced_and_a_live_one_is_busy);
    tcase_add_test(local, a_file_that_is_no_socket_stays);
    tcase_add_test(local, a_path_that_is_too_long_is_invalid);
    suite_add_tcase(suite, local);
    return suite;
}
