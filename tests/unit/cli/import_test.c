#include "cli_test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "import_file.h"
#include "import_outcome.h"

#define TOKEN "01234567-89ab-cdef-0123-456789abcdef.the-secret-part"
#define NEWER "11234567-89ab-cdef-0123-456789abcdef.the-newer-part"
#define CONTENT(token) \
    "{\"relay_url\": \"https://relay.example.org\", \"refresh_token\": \"" token "\", \"issued_at\": \"2026-01-01\"}"

static struct rb_test_folder folder;
static struct rb_import_file *file;
static struct rb_error err;
static char path[200], aside[200];

static void begin(void)
{
    rb_test_folder_make(&folder);
    snprintf(path, sizeof path, "%s", rb_test_path(&folder, "relay.json"));
    snprintf(aside, sizeof aside, "%s", rb_test_path(&folder, "relay.json.imported"));
    file = NULL;
    err = (struct rb_error){0};
}

static void end(void)
{
    rb_import_free(file);
    rb_test_folder_remove(&folder);
}

static void open_good_file(void)
{
    rb_test_write(path, RB_SPAN(CONTENT(TOKEN)));
    ck_assert_msg(rb_import_open(path, &file, &err) == RB_OK, "%s", err.text);
}

static void refuses(const char *content)
{
    rb_test_write(path, rb_span_of(content));
    ck_assert_int_eq(rb_import_open(path, &file, &err), RB_INVALID);
    ck_assert_ptr_null(strstr(err.text, "secret"));
}

START_TEST(a_credentials_file_is_read)
{
    open_good_file();
    ck_assert_str_eq(rb_import_relay_url(file), "https://relay.example.org");
    ck_assert(rb_span_is(rb_import_token(file), TOKEN));
    ck_assert_uint_eq(rb_import_owner(file), geteuid());
}
END_TEST

START_TEST(symbolic_links_are_refused)
{
    rb_test_write(rb_test_path(&folder, "real"), RB_SPAN(CONTENT(TOKEN)));
    ck_assert_int_eq(symlink("real", path), 0);
    ck_assert_int_eq(rb_import_open(path, &file, &err), RB_DENIED);
    ck_assert_ptr_nonnull(strstr(err.text, "symbolic link"));
}
END_TEST

START_TEST(a_file_with_a_second_name_is_refused)
{
    rb_test_write(path, RB_SPAN(CONTENT(TOKEN)));
    ck_assert_int_eq(link(path, rb_test_path(&folder, "second")), 0);
    ck_assert_int_eq(rb_import_open(path, &file, &err), RB_DENIED);
}
END_TEST

START_TEST(folders_and_files_that_others_may_write_are_refused)
{
    static const mode_t modes[] = {0770, 0707, 01777};
    rb_test_write(path, RB_SPAN(CONTENT(TOKEN)));
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(chmod(folder.path, modes[i]), 0);
        ck_assert_int_eq(rb_import_open(path, &file, &err), RB_DENIED);
    }
    ck_assert_int_eq(chmod(folder.path, 0755), 0);
    ck_assert_int_eq(chmod(path, 0620), 0);
    ck_assert_int_eq(rb_import_open(path, &file, &err), RB_DENIED);
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(rb_import_open(path, &file, &err), RB_OK);
}
END_TEST

START_TEST(other_things_are_no_credentials_file)
{
    ck_assert_int_eq(rb_import_open(path, &file, &err), RB_NOT_FOUND);
    ck_assert_int_eq(rb_import_open(folder.path, &file, &err), RB_DENIED);
    refuses("");
    refuses("{\"relay_url\": \"https://r\"}");
    refuses("{\"relay_url\": \"https://r\", \"refresh_token\": \"secret\"}");
    refuses("{\"relay_url\": \"https://r\", \"refresh_token\": 5}");
    refuses("{\"relay_url\": \"\", \"refresh_token\": \"" TOKEN "\"}");
    refuses("{\"relay_url\": \"https://r\", \"refresh_token\": \"" TOKEN "\\n\"}");
    refuses("[\"" TOKEN "\"]");
}
END_TEST

START_TEST(a_placeholder_is_never_imported)
{
    rb_test_write(
        path,
        RB_SPAN(CONTENT("01234567-89ab-cdef-0123-456789abcdef.local-placeholder-of-relay-broker-worthless-elsewhere")));
    ck_assert_int_eq(rb_import_open(path, &file, &err), RB_EXISTS);
}
END_TEST

START_TEST(an_earlier_import_is_not_written_over)
{
    rb_test_write(path, RB_SPAN(CONTENT(TOKEN)));
    rb_test_write(aside, RB_SPAN("x"));
    ck_assert_int_eq(rb_import_open(path, &file, &err), RB_EXISTS);
}
END_TEST

START_TEST(the_file_is_moved_aside_and_a_placeholder_takes_its_place)
{
    open_good_file();
    ck_assert_int_eq(rb_import_move_aside(file, &err), RB_OK);
    ck_assert(access(path, F_OK) != 0 && access(aside, F_OK) == 0);
    ck_assert_int_eq(rb_import_read(file, &err), RB_NOT_FOUND);
    ck_assert(rb_span_is(rb_import_token(file), TOKEN));
    ck_assert_int_eq(rb_import_put(file, "http://127.0.0.1:7420", RB_SPAN(NEWER), &err), RB_OK);
    ck_assert(rb_test_file_has(path, RB_SPAN("\"relay_url\":\"http://127.0.0.1:7420\"")));
    ck_assert(rb_test_file_has(path, RB_SPAN("\"refresh_token\":\"" NEWER "\"")));
    ck_assert(rb_test_file_has(path, RB_SPAN("\"issued_at\":\"2")));
    struct stat found;
    ck_assert_int_eq(stat(path, &found), 0);
    ck_assert_uint_eq(found.st_mode & 0777, 0600);
    ck_assert_int_eq(rb_import_forget(file, &err), RB_OK);
    ck_assert(access(aside, F_OK) != 0);
}
END_TEST

START_TEST(a_file_that_reappears_wins_over_the_placeholder)
{
    open_good_file();
    ck_assert_int_eq(rb_import_move_aside(file, &err), RB_OK);
    rb_test_write(path, RB_SPAN(CONTENT(NEWER)));
    ck_assert_int_eq(rb_import_put(file, "http://127.0.0.1:7420", RB_SPAN(TOKEN), &err), RB_EXISTS);
    ck_assert(rb_test_file_has(path, RB_SPAN(NEWER)));
    ck_assert_int_eq(rb_import_read(file, &err), RB_OK);
    ck_assert(rb_span_is(rb_import_token(file), NEWER));
    ck_assert_int_eq(rb_import_move_aside(file, &err), RB_OK);
    ck_assert(rb_test_file_has(aside, RB_SPAN(NEWER)));
}
END_TEST

START_TEST(the_owner_of_the_file_keeps_it)
{
    if (geteuid() != 0) {
        fprintf(stderr, "SKIPPED the_owner_of_the_file_keeps_it: not root\n");
        return;
    }
    rb_test_write(path, RB_SPAN(CONTENT(TOKEN)));
    ck_assert_int_eq(chown(path, 12345, 12346), 0);
    ck_assert_int_eq(rb_import_open(path, &file, &err), RB_OK);
    ck_assert_int_eq(rb_import_move_aside(file, &err), RB_OK);
    ck_assert_int_eq(rb_import_put(file, "http://127.0.0.1:7420", RB_SPAN(NEWER), &err), RB_OK);
    struct stat found;
    ck_assert_int_eq(stat(path, &found), 0);
    ck_assert_uint_eq(found.st_uid, 12345);
    ck_assert_uint_eq(found.st_gid, 12346);
}
END_TEST

/* --- what came of it --- */

#define ACCOUNT(state, chain, generation, expires, problem)                                                           \
    "{\"state\":\"" state "\",\"chain\":\"" chain "\",\"generation\":" generation ",\"access_expires_in_s\":" expires \
    ",\"last_problem\":\"" problem "\"}"

static const struct {
    const char *account;
    enum rb_outcome outcome;
    const char *words[2];
} outcomes[] = {
    {ACCOUNT("active", "active", "1", "599", ""), RB_OUTCOME_DONE, {NULL}},
    {ACCOUNT("active", "rotating", "2", "0", ""), RB_OUTCOME_DONE, {NULL}},
    {ACCOUNT("active", "active", "0", "null", "the relay cannot be reached"),
     RB_OUTCOME_OPEN,
     {"the relay cannot be reached", "was not used"}},
    {ACCOUNT("active", "held", "0", "null", ""), RB_OUTCOME_OPEN, {"was not used", "FILE.imported"}},
    {ACCOUNT("active", "uncertain", "0", "null", "no whole answer"), RB_OUTCOME_OPEN, {"not known", "no whole answer"}},
    {ACCOUNT("active", "rotating", "0", "null", ""), RB_OUTCOME_OPEN, {"not known", "FILE.imported"}},
    {ACCOUNT("active", "active", "1", "null", ""), RB_OUTCOME_OPEN, {"relay-broker status", "FILE.imported"}},
    {ACCOUNT("login_required", "dead", "0", "null", ""), RB_OUTCOME_LOST, {"not valid any more", "login main"}},
    {ACCOUNT("login_required", "revoking", "0", "null", ""), RB_OUTCOME_LOST, {"another user", "main"}},
    {ACCOUNT("logged_out", "revoked", "0", "null", ""), RB_OUTCOME_LOST, {"logged out", "FILE.imported"}},
    {"{}", RB_OUTCOME_OPEN, {"not known", "FILE.imported"}},
    {"[]", RB_OUTCOME_OPEN, {"not known", "FILE.imported"}},
};

START_TEST(an_import_has_succeeded_only_when_the_relay_gave_a_token)
{
    RB_CLEANUP_JSON json_t *account = json_loads(outcomes[_i].account, 0, NULL);
    ck_assert_ptr_nonnull(account);
    ck_assert_int_eq(rb_outcome_of(account), outcomes[_i].outcome);
    if (outcomes[_i].outcome == RB_OUTCOME_DONE)
        return;
    err = (struct rb_error){0};
    enum rb_status status = outcomes[_i].outcome == RB_OUTCOME_LOST ? RB_DENIED : RB_BUSY;
    ck_assert_int_eq(rb_outcome_fail(account, "main", "FILE", &err), status);
    for (size_t i = 0; i < 2; i++)
        ck_assert_msg(strstr(err.text, outcomes[_i].words[i]) != NULL, "%s", err.text);
}
END_TEST

START_TEST(an_outcome_with_long_names_keeps_the_files_name)
{
    char name[256], long_path[161], whole[300];
    memset(name, 'n', sizeof name - 1);
    memset(long_path, 'p', sizeof long_path - 1);
    name[sizeof name - 1] = long_path[sizeof long_path - 1] = 0;
    snprintf(whole, sizeof whole, "%s.imported", long_path);
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        RB_CLEANUP_JSON json_t *account = json_loads(outcomes[i].account, 0, NULL);
        if (rb_outcome_of(account) != RB_OUTCOME_OPEN)
            continue;
        json_object_set_new(account, "last_problem", json_string(name));
        err = (struct rb_error){0};
        rb_outcome_fail(account, name, long_path, &err);
        ck_assert_msg(strstr(err.text, whole) != NULL && err.text[strlen(err.text) - 1] == '.', "%s", err.text);
    }
    ck_assert_int_eq(rb_outcome_of(NULL), RB_OUTCOME_OPEN);
}
END_TEST

Suite *import_suite(void)
{
    Suite *suite = suite_create("import");
    TCase *tests = tcase_create("import");
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, a_credentials_file_is_read);
    tcase_add_test(tests, symbolic_links_are_refused);
    tcase_add_test(tests, a_file_with_a_second_name_is_refused);
    tcase_add_test(tests, folders_and_files_that_others_may_write_are_refused);
    tcase_add_test(tests, other_things_are_no_credentials_file);
    tcase_add_test(tests, a_placeholder_is_never_imported);
    tcase_add_test(tests, an_earlier_import_is_not_written_over);
    tcase_add_test(tests, the_file_is_moved_aside_and_a_placeholder_takes_its_place);
    tcase_add_test(tests, a_file_that_reappears_wins_over_the_placeholder);
    tcase_add_test(tests, the_owner_of_the_file_keeps_it);
    tcase_add_loop_test(tests, an_import_has_succeeded_only_when_the_relay_gave_a_token, 0,
                        (int)(sizeof outcomes / sizeof outcomes[0]));
    tcase_add_test(tests, an_outcome_with_long_names_keeps_the_files_name);
    suite_add_tcase(suite, tests);
    return suite;
}
