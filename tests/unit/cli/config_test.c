#include "cli_test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "log.h"

static struct rb_test_folder folder;
static struct rb_config config;
static struct rb_error err;

static void begin(void)
{
    rb_test_folder_make(&folder);
    rb_config_init(&config);
    err = (struct rb_error){0};
}

static void end(void)
{
    rb_config_free(&config);
    rb_test_folder_remove(&folder);
}

static enum rb_status reads(const char *text)
{
    const char *path = rb_test_path(&folder, "conf");
    rb_test_write(path, rb_span_of(text));
    rb_config_free(&config);
    rb_config_init(&config);
    return rb_config_read(&config, path, &err);
}

/* The sentence after the path. */
static void refuses(const char *text, const char *sentence)
{
    ck_assert_int_eq(reads(text), RB_INVALID);
    const char *path = rb_test_path(&folder, "conf");
    ck_assert(strncmp(err.text, path, strlen(path)) == 0);
    ck_assert_str_eq(err.text + strlen(path), sentence);
}

static int64_t number_at(const struct rb_config_key *key)
{
    int64_t value;
    memcpy(&value, (const char *)&config + key->offset, sizeof value);
    return value;
}

START_TEST(every_number_has_a_default_in_its_range)
{
    for (const struct rb_config_key *key = rb_config_keys; key->name; key++)
        if (key->kind == RB_CONFIG_INTEGER) {
            ck_assert_msg(number_at(key) >= key->min && number_at(key) <= key->max, "%s", key->name);
        }
}
END_TEST

/* The bounds of each number, and what lies beyond them. */
START_TEST(every_number_is_held_to_its_range)
{
    for (const struct rb_config_key *key = rb_config_keys; key->name; key++) {
        char text[200];
        if (key->kind != RB_CONFIG_INTEGER)
            continue;
        for (int i = 0; i < 4; i++) {
            int64_t value = i < 2 ? key->min - i : key->max + i - 2;
            snprintf(text, sizeof text, "%s { %s = %lld }", key->section, key->name, (long long)value);
            ck_assert_msg(reads(text) == (i % 2 ? RB_INVALID : RB_OK), "%s: %s", text, err.text);
            if (i % 2 == 0)
                ck_assert_int_eq(number_at(key), value);
        }
    }
}
END_TEST

static void add_default(const struct rb_config_key *key, struct rb_str *out)
{
    rb_str_addf(out, "\n%s# %s = ", key->section ? "    " : "", key->name);
    switch (key->kind) {
    case RB_CONFIG_INTEGER:
        rb_str_addf(out, "%lld\n", (long long)number_at(key));
        break;
    case RB_CONFIG_CHOICE:
        rb_str_addf(out, "%s\n", key->words[number_at(key)]);
        break;
    case RB_CONFIG_LIST:
        for (size_t i = 0; rb_config_default_listen[i]; i++)
            rb_str_addf(out, "%s\"%s\"", i ? ", " : "{", rb_config_default_listen[i]);
        rb_str_add(out, "}\n");
        break;
    case RB_CONFIG_TEXT:
        rb_str_addf(out, "\"/var/lib/relay-broker%s\"\n", strcmp(key->name, "keys") == 0 ? "-keys" : "");
        break;
    }
}

START_TEST(the_shipped_file_documents_every_key_with_its_default)
{
    RB_CLEANUP_STR struct rb_str shipped = RB_STR_INIT;
    rb_test_read(SHIPPED_CONF, &shipped);
    ck_assert_uint_gt(shipped.len, 0);
    for (const struct rb_config_key *key = rb_config_keys; key->name; key++) {
        RB_CLEANUP_STR struct rb_str line = RB_STR_INIT, opening = RB_STR_INIT;
        rb_str_addf(&opening, "\n%s {\n", key->section ? key->section : "limits");
        add_default(key, &line);
        const char *section = strstr(shipped.at, opening.at),
                   *at = strstr(key->section ? section : shipped.at, line.at);
        ck_assert_msg(section && at, "not there: %s", line.at);
        const char *section_end = strstr(section, "\n}\n");
        ck_assert_msg(key->section ? at < section_end : at < section, "in the wrong section: %s", line.at);
    }
    for (const char *const *name = rb_config_door_keys; *name; name++) {
        RB_CLEANUP_STR struct rb_str line = RB_STR_INIT;
        rb_str_addf(&line, "\n#     %s = ", *name);
        ck_assert_msg(strstr(shipped.at, line.at) != NULL, "not there: %s", *name);
    }
}
END_TEST

START_TEST(the_shipped_file_is_read_and_changes_nothing)
{
    struct rb_config before = config;
    RB_CLEANUP_STR struct rb_str shipped = RB_STR_INIT;
    rb_test_read(SHIPPED_CONF, &shipped);
    ck_assert_msg(reads(shipped.at) == RB_OK, "%s", err.text);
    ck_assert_mem_eq(&before, &config, sizeof config);
}
END_TEST

/* Taking the comment signs away gives a file that is read too, with the door. */
START_TEST(the_shipped_examples_are_right)
{
    RB_CLEANUP_STR struct rb_str shipped = RB_STR_INIT, all = RB_STR_INIT;
    rb_test_read(SHIPPED_CONF, &shipped);
    for (char *line = shipped.at; *line;) {
        char *line_end = strchrnul(line, '\n'), *rest = *line_end ? line_end + 1 : line_end;
        *line_end = 0;
        char *sign = line + strspn(line, " ");
        bool key = *sign == '#' && (strstr(line, " = ") || strstr(line, "door tools {") || strcmp(line, "# }") == 0) &&
                   !strstr(line, "`");
        char *user = strstr(line, "galaxy, ");
        if (key)
            *sign = ' ';
        if (key && user)
            memcpy(user, "root  ,", 7);
        if (!key || !strstr(line, "group = "))
            rb_str_addf(&all, "%s\n", line);
        line = rest;
    }
    ck_assert_msg(reads(all.at) == RB_OK, "%s", err.text);
    ck_assert_uint_eq(config.door_count, 1);
    ck_assert_str_eq(config.doors[0].door.name, "tools");
}
END_TEST

START_TEST(values_reach_those_who_use_them)
{
    ck_assert_msg(reads("state = /s\nkeys = \"/k\"\nlisten = {\"127.0.0.1:1\"}\nlog_level = debug\n"
                        "limits { connections = 100 arrive_seconds = 3 sessions = 7 parked_polls = 5 }\n"
                        "outbox { rows = 11 key_hours = 2 }\n"
                        "inbox { retention_hours = 48 }\n"
                        "relay { posts_per_minute = 0 poll_timeout_seconds = 9 unknown_wait_seconds = 4 }\n") == RB_OK,
                  "%s", err.text);
    ck_assert_str_eq(config.state, "/s");
    ck_assert_str_eq(config.keys, "/k");
    ck_assert_str_eq(config.listen[0], "127.0.0.1:1");
    ck_assert_ptr_null(config.listen[1]);
    ck_assert_int_eq(config.log_level, RB_LOG_DEBUG);
    struct rb_http_limits limits = rb_config_http_limits(&config);
    ck_assert_uint_eq(limits.connections, 100);
    ck_assert_uint_eq(limits.parked, 5);
    ck_assert_int_eq(limits.arrive_ms, 3000);
    struct rb_broker_config broker = rb_config_broker(&config);
    ck_assert_uint_eq(broker.sessions, 7);
    ck_assert_int_eq(broker.outbox_rows, 11);
    ck_assert_int_eq(broker.key_ms, 7200000);
    ck_assert_int_eq(broker.retention_ms, 48 * INT64_C(3600000));
    ck_assert_int_eq(broker.posts_per_minute, 0);
    ck_assert_int_eq(broker.poll_timeout_s, 9);
    ck_assert_int_eq(broker.unknown_wait_ms, 4000);
    ck_assert_int_eq(broker.retry_after_end_ms, rb_broker_config_default.retry_after_end_ms);
}
END_TEST

START_TEST(without_a_word_the_defaults_are_those_of_the_rooms)
{
    const struct rb_broker_config broker = rb_config_broker(&config), *want = &rb_broker_config_default;
    ck_assert_int_eq(broker.retry_after_end_ms, want->retry_after_end_ms);
    ck_assert_int_eq(broker.unknown_wait_ms, want->unknown_wait_ms);
    ck_assert_int_eq(broker.outbox_rows, want->outbox_rows);
    ck_assert_int_eq(broker.outbox_bytes, want->outbox_bytes);
    ck_assert_int_eq(broker.key_ms, want->key_ms);
    ck_assert_int_eq(broker.posts_per_minute, want->posts_per_minute);
    ck_assert_int_eq(broker.refreshes_per_minute, want->refreshes_per_minute);
    ck_assert_int_eq(broker.logins_per_minute, want->logins_per_minute);
    ck_assert_int_eq(broker.poll_timeout_s, want->poll_timeout_s);
    ck_assert_int_eq(broker.retention_ms, want->retention_ms);
    ck_assert_int_eq(broker.inbox_bytes, want->inbox_bytes);
    ck_assert_uint_eq(broker.sessions, want->sessions);
    const struct rb_http_limits limits = rb_config_http_limits(&config), common = RB_HTTP_LIMITS_DEFAULT;
    ck_assert_uint_eq(limits.connections, common.connections);
    ck_assert_uint_eq(limits.parked, common.parked);
    ck_assert_uint_eq(limits.body_bytes, common.body_bytes);
    ck_assert_uint_eq(limits.header_bytes, common.header_bytes);
    ck_assert_int_eq(limits.arrive_ms, common.arrive_ms);
    ck_assert_int_eq(limits.idle_ms, common.idle_ms);
}
END_TEST

START_TEST(a_refusal_names_line_key_and_what_is_allowed)
{
    refuses("# one\noutbox {\n  rows = many\n}\n", ":3: rows is a whole number from 1 to 10000000, not \"many\".");
    refuses("\n\nlog_level = loud\n", ":3: log_level is one of error, warning, info, debug, not \"loud\".");
    refuses("listen = {\n\"127.0.0.1:1\",\n\"0.0.0.0:7420\"}\n",
            ":3: listen: \"0.0.0.0:7420\" is not a loopback address; doors open on 127.0.0.1, [::1] and unix sockets "
            "only.");
    refuses("outbox {\n  colour = red\n}\n",
            ":2: there is no key colour in section outbox; there is rows, bytes, keys, key_hours.");
    refuses("state = \"\"\n", ":1: state must not be empty.");
    refuses("outbux { rows = 1 }\n",
            ":1: there is no key outbux in the top level; there is state, keys, listen, log_level, "
            "limits, outbox, inbox, relay, door.");
}
END_TEST

START_TEST(comments_of_every_kind_are_left_out_and_counted)
{
    ck_assert_msg(reads("# \"{\n// {\n/* {\n\"*/ listen = {\"unix:/a//b#c\"} # x\nstate = /x//y\n") == RB_OK, "%s",
                  err.text);
    ck_assert_str_eq(config.listen[0], "unix:/a//b#c");
    ck_assert_str_eq(config.state, "/x//y");
    refuses("# 1\n// 2\n/* 3\n4 */\n\nstate = \"\"\n", ":6: state must not be empty.");
}
END_TEST

START_TEST(an_empty_list_of_addresses_closes_the_default_door)
{
    ck_assert_ptr_null(config.listen);
    ck_assert_msg(reads("listen = {}\n") == RB_OK, "%s", err.text);
    ck_assert_ptr_nonnull(config.listen);
    ck_assert_ptr_null(config.listen[0]);
}
END_TEST

START_TEST(bad_syntax_is_refused)
{
    refuses("# a\noutbox {\n rows = 1\n", ":2: the { of this line is not closed.");
    refuses("state = \"/a\"\n}\n", ":2: there is nothing for this } to close.");
    refuses("\nstate = \"abc\n\n", ":2: a quote is not closed.");
    refuses("/* a\n", ":1: a comment is not closed.");
    ck_assert_int_eq(reads("{{{{{{{{{{{{"), RB_INVALID);
    ck_assert_int_eq(reads("= = =\n"), RB_INVALID);
    const char *path = rb_test_path(&folder, "conf");
    rb_test_write(path, RB_SPAN("state = /a\n\0b"));
    ck_assert_int_eq(rb_config_read(&config, path, &err), RB_INVALID);
}
END_TEST

/* --- doors --- */

START_TEST(a_door_without_uids_is_for_root_the_daemon_and_its_group)
{
    struct rb_door standard;
    ck_assert_int_eq(rb_door_init_default(&standard), RB_OK);
    ck_assert_msg(reads("door tools {\n listen = \"127.0.0.1:7421\"\n}\n") == RB_OK, "%s", err.text);
    const struct rb_door *door = &config.doors[0].door;
    ck_assert(!door->any_uid && door->uid_count == 0 && door->group == standard.group);
    ck_assert(door->wire && door->broker && !door->topic_changes);
    ck_assert_ptr_null(door->accounts);
    ck_assert_ptr_null(door->post_topics);
    ck_assert_uint_eq(config.doors[0].socket_mode, 0666);
    rb_door_free(&standard);
}
END_TEST

static int64_t door_time_ms;

static int64_t door_now(struct rb_clock *clock)
{
    return door_time_ms;
}

/* The user and the group 1 are there on each Debian. */
START_TEST(what_the_group_database_said_of_a_user_is_believed_for_a_minute)
{
    struct rb_clock clock = {.now_ms = door_now};
    struct rb_door door = {.group = 1};
    ck_assert(rb_door_admits(&door, 1));
    ck_assert(!rb_door_admits(&door, 4242));
    door.group = 77;
    ck_assert(!rb_door_admits(&door, 1));
    door.group = 1;
    door.clock = &clock;
    door_time_ms = 1000;
    ck_assert(rb_door_admits(&door, 1));
    door.group = 77;
    door_time_ms += 59 * 1000;
    ck_assert(rb_door_admits(&door, 1));
    for (uid_t uid = 5000; uid < 5015; uid++)
        ck_assert(!rb_door_admits(&door, uid));
    ck_assert(rb_door_admits(&door, 1));
    door_time_ms += 1000;
    ck_assert(!rb_door_admits(&door, 1));
}
END_TEST

START_TEST(a_door_section_is_read_in_full)
{
    ck_assert_msg(reads("door tools {\n listen = {\"127.0.0.1:7421\", \"unix:/run/x\"}\n uids = {root, 12345}\n"
                        " accounts = {a, b}\n post_topics = {\"x*\"}\n poll_topics = {}\n faces = {wire}\n"
                        " topic_changes = true\n group = 77\n socket_mode = 0660\n}\n") == RB_OK,
                  "%s", err.text);
    const struct rb_config_door *read = &config.doors[0];
    ck_assert_str_eq(read->listen[1], "unix:/run/x");
    ck_assert_uint_eq(read->door.uid_count, 2);
    ck_assert_uint_eq(read->door.uids[0], 0);
    ck_assert_uint_eq(read->door.uids[1], 12345);
    ck_assert_uint_eq(read->door.group, 77);
    ck_assert_str_eq(read->door.accounts[1], "b");
    ck_assert_str_eq(read->door.post_topics[0], "x*");
    ck_assert_ptr_nonnull(read->door.poll_topics);
    ck_assert_ptr_null(read->door.poll_topics[0]);
    ck_assert(read->door.wire && !read->door.broker && read->door.topic_changes);
    ck_assert_uint_eq(read->socket_mode, 0660);
}
END_TEST

START_TEST(any_uid_is_a_word_of_its_own)
{
    ck_assert_msg(reads("door default { uids = any }\n") == RB_OK, "%s", err.text);
    ck_assert(config.doors[0].door.any_uid);
    ck_assert_msg(reads("door default { uids = {0} }\n") == RB_OK, "%s", err.text);
    ck_assert(!config.doors[0].door.any_uid);
    ck_assert_uint_eq(config.doors[0].door.group, (gid_t)-1);
}
END_TEST

START_TEST(a_bad_door_is_refused)
{
    refuses("door tools {\n faces = wire\n}\n", ":3: the door tools needs the key listen: where it opens.");
    refuses("door default {\n listen = \"127.0.0.1:1\"\n}\n",
            ":3: the door default listens where the key listen of the top level says.");
    refuses("door tools {\n uids = {nobody-of-this-name}\n}\n",
            ":2: uids has numbers and user names of this host, or is any; \"nobody-of-this-name\" is neither.");
    refuses("door tools {\n faces = {web}\n}\n", ":2: faces has wire and broker, not \"web\".");
    refuses("door tools {\n faces = {}\n}\n", ":3: faces needs wire, broker or both.");
    refuses("door tools {\n topic_changes = yes\n}\n", ":2: topic_changes is true or false, not \"yes\".");
    refuses("door tools {\n socket_mode = 999\n}\n", ":2: socket_mode is an octal number like 0660, not \"999\".");
    refuses("door admin {\n listen = \"127.0.0.1:1\"\n}\n",
            ":3: the name admin is kept for the admin socket: choose another for the door.");
    refuses(
        "door tools {\n listen = \"10.0.0.1:1\"\n}\n",
        ":2: listen: \"10.0.0.1:1\" is not a loopback address; doors open on 127.0.0.1, [::1] and unix sockets only.");
    ck_assert_int_eq(reads("door a { listen = \"127.0.0.1:1\" }\ndoor a { listen = \"127.0.0.1:2\" }\n"), RB_INVALID);
    ck_assert_int_eq(reads("door { listen = \"127.0.0.1:1\" }\n"), RB_INVALID);
}
END_TEST

/* --- the file --- */

START_TEST(a_missing_file_or_a_folder_is_no_configuration)
{
    ck_assert_int_eq(rb_config_read(&config, rb_test_path(&folder, "none"), &err), RB_NOT_FOUND);
    ck_assert_int_eq(rb_config_read(&config, folder.path, &err), RB_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "is a folder, not a file."));
}
END_TEST

START_TEST(a_file_that_others_may_write_is_refused)
{
    const char *path = rb_test_path(&folder, "conf");
    rb_test_write(path, RB_SPAN("log_level = debug\n"));
    ck_assert_int_eq(chmod(path, 0664), 0);
    ck_assert_int_eq(rb_config_read(&config, path, &err), RB_DENIED);
    ck_assert_int_eq(chmod(path, 0646), 0);
    ck_assert_int_eq(rb_config_read(&config, path, &err), RB_DENIED);
    ck_assert_ptr_nonnull(strstr(err.text, "chmod go-w"));
    ck_assert_int_eq(config.log_level, RB_LOG_INFO);
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(rb_config_read(&config, path, &err), RB_OK);
}
END_TEST

Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *tests = tcase_create("config");
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, every_number_has_a_default_in_its_range);
    tcase_add_test(tests, every_number_is_held_to_its_range);
    tcase_add_test(tests, the_shipped_file_documents_every_key_with_its_default);
    tcase_add_test(tests, the_shipped_file_is_read_and_changes_nothing);
    tcase_add_test(tests, the_shipped_examples_are_right);
    tcase_add_test(tests, values_reach_those_who_use_them);
    tcase_add_test(tests, without_a_word_the_defaults_are_those_of_the_rooms);
    tcase_add_test(tests, a_refusal_names_line_key_and_what_is_allowed);
    tcase_add_test(tests, comments_of_every_kind_are_left_out_and_counted);
    tcase_add_test(tests, an_empty_list_of_addresses_closes_the_default_door);
    tcase_add_test(tests, bad_syntax_is_refused);
    tcase_add_test(tests, a_door_without_uids_is_for_root_the_daemon_and_its_group);
    tcase_add_test(tests, what_the_group_database_said_of_a_user_is_believed_for_a_minute);
    tcase_add_test(tests, a_door_section_is_read_in_full);
    tcase_add_test(tests, any_uid_is_a_word_of_its_own);
    tcase_add_test(tests, a_bad_door_is_refused);
    tcase_add_test(tests, a_missing_file_or_a_folder_is_no_configuration);
    tcase_add_test(tests, a_file_that_others_may_write_is_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
