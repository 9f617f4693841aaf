#include "cli_test.h"

#include <stdlib.h>
#include <unistd.h>

#include "address.h"
#include "paths.h"

static struct rb_paths paths;
static struct rb_error err;

static void clear_environment(void)
{
    unsetenv("RELAY_BROKER_STATE");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    err = (struct rb_error){0};
}

static void finds(const char *state, const char *keys, uid_t uid, const char *want_state, const char *want_keys)
{
    ck_assert_int_eq(rb_paths_find(state, keys, uid, &paths, &err), RB_OK);
    ck_assert_str_eq(paths.state, want_state);
    ck_assert_str_eq(paths.keys, want_keys);
    ck_assert(strncmp(paths.admin_socket, want_state, strlen(want_state)) == 0);
    ck_assert_str_eq(paths.admin_socket + strlen(want_state), "/admin.sock");
    rb_paths_free(&paths);
}

START_TEST(the_option_goes_before_the_environment)
{
    setenv("RELAY_BROKER_STATE", "/env/state", 1);
    finds("/opt/state/", NULL, 1000, "/opt/state", "/opt/state-keys");
    finds("/opt/state", "/opt/keys//", 0, "/opt/state", "/opt/keys");
    finds(NULL, NULL, 0, "/env/state", "/env/state-keys");
}
END_TEST

START_TEST(root_and_users_have_folders_of_their_own)
{
    setenv("HOME", "/home/x", 1);
    finds(NULL, NULL, 0, "/var/lib/relay-broker", "/var/lib/relay-broker-keys");
    finds(NULL, NULL, 1000, "/home/x/.local/state/relay-broker", "/home/x/.local/state/relay-broker-keys");
    setenv("XDG_STATE_HOME", "/xdg", 1);
    finds(NULL, NULL, 1000, "/xdg/relay-broker", "/xdg/relay-broker-keys");
    setenv("XDG_STATE_HOME", "not/absolute", 1);
    finds(NULL, NULL, 1000, "/home/x/.local/state/relay-broker", "/home/x/.local/state/relay-broker-keys");
}
END_TEST

START_TEST(a_relative_folder_becomes_absolute)
{
    ck_assert_int_eq(chdir("/tmp"), 0);
    finds("here", NULL, 0, "/tmp/here", "/tmp/here-keys");
}
END_TEST

START_TEST(keys_never_lie_in_the_state_folder)
{
    ck_assert_int_eq(rb_paths_find("/a", "/a/keys", 0, &paths, &err), RB_INVALID);
    ck_assert_int_eq(rb_paths_find("/a/state", "/a", 0, &paths, &err), RB_INVALID);
    ck_assert_int_eq(rb_paths_find("/a", "/a", 0, &paths, &err), RB_INVALID);
    finds("/a", "/a-b", 0, "/a", "/a-b");
}
END_TEST

START_TEST(no_folder_is_a_sentence)
{
    ck_assert_int_eq(rb_paths_find(NULL, NULL, 1000, &paths, &err), RB_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "--state"));
    ck_assert_int_eq(rb_paths_find("", NULL, 0, &paths, &err), RB_INVALID);
    ck_assert_int_eq(rb_paths_find("///", NULL, 0, &paths, &err), RB_INVALID);
    ck_assert_int_eq(rb_paths_find("/a", "", 0, &paths, NULL), RB_INVALID);
}
END_TEST

Suite *paths_suite(void)
{
    Suite *suite = suite_create("paths");
    TCase *tests = tcase_create("paths");
    tcase_add_checked_fixture(tests, clear_environment, NULL);
    tcase_add_test(tests, the_option_goes_before_the_environment);
    tcase_add_test(tests, root_and_users_have_folders_of_their_own);
    tcase_add_test(tests, a_relative_folder_becomes_absolute);
    tcase_add_test(tests, keys_never_lie_in_the_state_folder);
    tcase_add_test(tests, no_folder_is_a_sentence);
    suite_add_tcase(suite, tests);
    return suite;
}

static const struct {
    const char *text, *printed; /* NULL: refused */
} addresses[] = {
    {"127.0.0.1:7420", "http://127.0.0.1:7420"},
    {"127.0.0.2:0", "http://127.0.0.2:0"},
    {"localhost:80", "http://127.0.0.1:80"},
    {"[::1]:65535", "http://[::1]:65535"},
    {"[0:0:0:0:0:0:0:1]:1", "http://[::1]:1"},
    {"unix:/run/a b.sock", "unix:/run/a b.sock"},
    {"0.0.0.0:7420", NULL},
    {"192.168.0.1:7420", NULL},
    {"[::]:7420", NULL},
    {"[::ffff:127.0.0.1]:7420", NULL},
    {"::1:7420", NULL},
    {"example.org:7420", NULL},
    {"127.1:7420", NULL},
    {"127.0.0.1:65536", NULL},
    {"127.0.0.1:", NULL},
    {"127.0.0.1:+1", NULL},
    {"127.0.0.1", NULL},
    {":7420", NULL},
    {"", NULL},
    {"unix:relative", NULL},
};

START_TEST(only_loopback_addresses_and_sockets_are_listened_on)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    struct rb_address address;
    enum rb_status status = rb_address_read(addresses[_i].text, &address, &err);
    ck_assert_int_eq(status, addresses[_i].printed ? RB_OK : RB_INVALID);
    if (status != RB_OK) {
        ck_assert(strlen(err.text) > 0);
        return;
    }
    rb_address_print(&address, address.port, &out);
    ck_assert_str_eq(out.at, addresses[_i].printed);
}
END_TEST

Suite *address_suite(void)
{
    Suite *suite = suite_create("address");
    TCase *tests = tcase_create("address");
    tcase_add_loop_test(tests, only_loopback_addresses_and_sockets_are_listened_on, 0,
                        (int)(sizeof addresses / sizeof addresses[0]));
    suite_add_tcase(suite, tests);
    return suite;
}
