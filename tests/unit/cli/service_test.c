#include "cli_test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "service.h"

static struct rb_service_socket *sockets;
static size_t count;

/* Descriptors 3 and 4, as a service manager hands them over. */
static void hand_over(int pid, const char *how_many, const char *names)
{
    char text[16];
    for (int fd = 3; fd < 5; fd++) {
        int made = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert_int_ge(made, 0);
        if (made != fd) {
            ck_assert_int_eq(dup2(made, fd), fd);
            close(made);
        }
    }
    snprintf(text, sizeof text, "%d", pid);
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", how_many, 1);
    if (names)
        setenv("LISTEN_FDNAMES", names, 1);
}

START_TEST(sockets_come_with_their_names_and_are_closed_on_exec)
{
    hand_over(getpid(), "2", "tools:admin");
    ck_assert_int_eq(rb_service_sockets(&sockets, &count), RB_OK);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(sockets[0].name, "tools");
    ck_assert_str_eq(sockets[1].name, "admin");
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(sockets[i].fd, 3 + i);
        ck_assert(fcntl(3 + i, F_GETFD) & FD_CLOEXEC);
    }
    rb_service_sockets_free(sockets, count);
    ck_assert_ptr_null(getenv("LISTEN_PID"));
    ck_assert_ptr_null(getenv("LISTEN_FDS"));
    ck_assert_ptr_null(getenv("LISTEN_FDNAMES"));
}
END_TEST

START_TEST(names_may_be_missing)
{
    hand_over(getpid(), "2", "tools");
    ck_assert_int_eq(rb_service_sockets(&sockets, &count), RB_OK);
    ck_assert_str_eq(sockets[0].name, "tools");
    ck_assert_ptr_null(sockets[1].name);
    rb_service_sockets_free(sockets, count);
}
END_TEST

START_TEST(what_was_meant_for_another_process_is_left_alone)
{
    hand_over(getppid(), "2", NULL);
    ck_assert_int_eq(rb_service_sockets(&sockets, &count), RB_OK);
    ck_assert_uint_eq(count, 0);
    rb_service_sockets_free(sockets, count);
}
END_TEST

START_TEST(without_a_service_manager_there_are_none)
{
    static const char *const nonsense[] = {NULL, "", "0", "-1", "two", "99999999999999999999"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        hand_over(getpid(), "0", NULL);
        if (nonsense[i])
            setenv("LISTEN_FDS", nonsense[i], 1);
        else
            unsetenv("LISTEN_FDS");
        ck_assert_int_eq(rb_service_sockets(&sockets, &count), RB_OK);
        ck_assert_uint_eq(count, 0);
    }
}
END_TEST

START_TEST(a_descriptor_that_is_not_open_is_refused)
{
    hand_over(getpid(), "2", NULL);
    close(4);
    ck_assert_int_eq(rb_service_sockets(&sockets, &count), RB_INVALID);
    hand_over(getpid(), "5000", NULL);
    ck_assert_int_eq(rb_service_sockets(&sockets, &count), RB_INVALID);
}
END_TEST

static void hears(const struct sockaddr_un *address, socklen_t len, const char *name)
{
    char heard[64];
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)address, len), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    rb_service_tell("READY=1");
    ssize_t got = recv(fd, heard, sizeof heard, MSG_DONTWAIT);
    ck_assert_int_eq(got, 7);
    ck_assert_mem_eq(heard, "READY=1", 7);
    close(fd);
}

START_TEST(it_is_told_at_a_path_and_at_an_abstract_name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    snprintf(name, sizeof name, "@relay-broker-test-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    hears(&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)), name);
    struct rb_test_folder folder;
    rb_test_folder_make(&folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", rb_test_path(&folder, "notify"));
    hears(&address, sizeof address, address.sun_path);
    rb_test_folder_remove(&folder);
}
END_TEST

START_TEST(nobody_listens)
{
    static const char *const nowhere[] = {NULL, "", "@", "relative", "/nowhere/at/all"};
    for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
        if (nowhere[i])
            setenv("NOTIFY_SOCKET", nowhere[i], 1);
        else
            unsetenv("NOTIFY_SOCKET");
        rb_service_tell("READY=1");
    }
}
END_TEST

Suite *service_suite(void)
{
    Suite *suite = suite_create("service");
    TCase *tcase = tcase_create("service");
    tcase_add_test(tcase, sockets_come_with_their_names_and_are_closed_on_exec);
    tcase_add_test(tcase, names_may_be_missing);
    tcase_add_test(tcase, what_was_meant_for_another_process_is_left_alone);
    tcase_add_test(tcase, without_a_service_manager_there_are_none);
    tcase_add_test(tcase, a_descriptor_that_is_not_open_is_refused);
    tcase_add_test(tcase, it_is_told_at_a_path_and_at_an_abstract_name);
    tcase_add_test(tcase, nobody_listens);
    suite_add_tcase(suite, tcase);
    return suite;
}
