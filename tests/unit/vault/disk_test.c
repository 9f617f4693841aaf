#include "vault_test.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk.h"
#include "file.h"

/* The layout of a record file, as src/vault/disk.c draws it. */
enum { BLOCK = 4096, HALF = BLOCK + RB_RECORD_MAX };

static struct rb_file_disk *disk;
static struct rb_error err;

static enum rb_status open_at(const char *state, struct rb_file_disk **ret)
{
    enum rb_status status = rb_file_disk_new(rb_test_path(&folder, state), rb_test_path(&folder, "keys"), ret, &err);
    ck_assert_int_eq(status, RB_OK);
    struct rb_disk *port = rb_file_disk_port(*ret);
    return port->open(port, &err);
}

static void open_disk(void)
{
    ck_assert_msg(open_at("state", &disk) == RB_OK, "%s", err.text);
}

static void close_disk(void)
{
    rb_file_disk_free(disk);
    disk = NULL;
}

static void setup(void)
{
    setup_folder();
    open_disk();
}

static void finish(void)
{
    close_disk();
    teardown_folder();
}

static enum rb_status write_record(enum rb_record record, const char *text)
{
    struct rb_disk *port = rb_file_disk_port(disk);
    return port->write(port, record, rb_span_of(text));
}

static void reads(enum rb_record record, const char *expected)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    struct rb_disk *port = rb_file_disk_port(disk);
    enum rb_status status = port->read(port, record, &out, &err);
    ck_assert_msg(status == RB_OK, "%s", err.text);
    ck_assert_msg(rb_span_is(rb_str_span(&out), expected), "%s instead of %s", out.at, expected);
}

static void reading_fails(enum rb_record record, enum rb_status expected)
{
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    struct rb_disk *port = rb_file_disk_port(disk);
    ck_assert_int_eq(port->read(port, record, &out, &err), expected);
    ck_assert_int_eq(out.len, 0);
}

START_TEST(a_record_is_not_found_until_it_is_written_and_then_replaced_as_a_whole)
{
    reading_fails(RB_RECORD_SLOT, RB_NOT_FOUND);
    reading_fails(RB_RECORD_COUNTER, RB_NOT_FOUND);
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, "a long first record"), RB_OK);
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, "second"), RB_OK);
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, "third"), RB_OK);
    reads(RB_RECORD_SLOT, "third");
    reading_fails(RB_RECORD_COUNTER, RB_NOT_FOUND);
    close_disk();
    open_disk();
    reads(RB_RECORD_SLOT, "third");
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, ""), RB_OK);
    close_disk();
    open_disk();
    reads(RB_RECORD_SLOT, "");
}
END_TEST

START_TEST(the_files_are_private_and_lie_apart)
{
    struct stat found;
    ck_assert_int_eq(stat(rb_test_path(&folder, "state/slot"), &found), 0);
    ck_assert_int_eq(found.st_mode & 0777, 0600);
    ck_assert_int_eq(found.st_size, 2 * HALF);
    ck_assert_int_ge(found.st_blocks * 512, 2 * HALF);
    ck_assert_int_eq(stat(rb_test_path(&folder, "keys/counter"), &found), 0);
    ck_assert_int_eq(found.st_mode & 0777, 0600);
    ck_assert_int_eq(stat(rb_test_path(&folder, "keys"), &found), 0);
    ck_assert_int_eq(found.st_mode & 0777, 0700);
    ck_assert_int_ne(access(rb_test_path(&folder, "state/slot.new"), F_OK), 0);
}
END_TEST

START_TEST(a_record_has_a_bound)
{
    RB_CLEANUP_STR struct rb_str big = RB_STR_INIT;
    for (int i = 0; i < RB_RECORD_MAX; i++)
        rb_str_add(&big, "x");
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, big.at), RB_OK);
    rb_str_add(&big, "x");
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, big.at), RB_FULL);
    big.at[RB_RECORD_MAX] = 0;
    reads(RB_RECORD_SLOT, big.at);
}
END_TEST

static void change_byte(const char *path, off_t at)
{
    char byte;
    RB_CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
}

START_TEST(when_the_newest_half_is_damaged_anywhere_the_other_is_the_record)
{
    const char *path = rb_test_path(&folder, "keys/counter");
    static const char text[] = "newer record";
    ck_assert_int_eq(write_record(RB_RECORD_COUNTER, "older record"), RB_OK);
    ck_assert_int_eq(write_record(RB_RECORD_COUNTER, text), RB_OK);
    off_t newest = HALF; /* which half it is: found out, not assumed */
    change_byte(path, newest);
    RB_CLEANUP_STR struct rb_str out = RB_STR_INIT;
    struct rb_disk *port = rb_file_disk_port(disk);
    ck_assert_int_eq(port->read(port, RB_RECORD_COUNTER, &out, NULL), RB_OK);
    change_byte(path, newest);
    newest = rb_span_is(rb_str_span(&out), text) ? 0 : HALF;
    for (off_t at = 0; at < BLOCK + (off_t)sizeof text - 1; at = at == 55 ? BLOCK : at + 1) {
        change_byte(path, newest + at);
        reads(RB_RECORD_COUNTER, "older record");
        change_byte(path, newest + at);
        change_byte(path, (HALF - newest) + at);
        reads(RB_RECORD_COUNTER, text);
        change_byte(path, (HALF - newest) + at);
    }
    change_byte(path, newest);
    change_byte(path, HALF - newest);
    reading_fails(RB_RECORD_COUNTER, RB_CORRUPT);
    ck_assert_int_eq(write_record(RB_RECORD_COUNTER, "anew"), RB_OK);
    reads(RB_RECORD_COUNTER, "anew");
}
END_TEST

/* Every prefix of a write at the crash: the new bytes up to there, the old ones after it. */
START_TEST(a_torn_write_leaves_the_old_record)
{
    const char *path = rb_test_path(&folder, "state/slot");
    RB_CLEANUP_STR struct rb_str before = RB_STR_INIT, after = RB_STR_INIT;
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, "one"), RB_OK);
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, "old"), RB_OK);
    rb_test_read(path, &before);
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, "new!"), RB_OK);
    rb_test_read(path, &after);
    ck_assert_int_eq(before.len, after.len);
    size_t first = 0, last = after.len;
    while (before.at[first] == after.at[first])
        first++;
    while (before.at[last - 1] == after.at[last - 1])
        last--;
    ck_assert_int_lt(last - first, HALF);
    for (size_t cut = first; cut <= last; cut = cut == first + 64 ? last - 8 : cut + 1) {
        close_disk();
        RB_CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC);
        ck_assert_int_eq(rb_file_write_at(fd, rb_str_span(&before), 0), RB_OK);
        ck_assert_int_eq(rb_file_write_at(fd, (struct rb_span){after.at, cut}, 0), RB_OK);
        open_disk();
        reads(RB_RECORD_SLOT, cut == last ? "new!" : "old");
        ck_assert_int_eq(write_record(RB_RECORD_SLOT, "next"), RB_OK);
        reads(RB_RECORD_SLOT, "next");
    }
}
END_TEST

START_TEST(a_torn_first_write_is_no_record_and_no_damage)
{
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, "first"), RB_OK);
    RB_CLEANUP_STR struct rb_str bytes = RB_STR_INIT;
    const char *path = rb_test_path(&folder, "state/slot");
    rb_test_read(path, &bytes);
    char *at = memmem(bytes.at, bytes.len, "first", 5);
    ck_assert_ptr_nonnull(at);
    change_byte(path, at - bytes.at);
    reading_fails(RB_RECORD_SLOT, RB_NOT_FOUND);
}
END_TEST

START_TEST(the_files_are_not_each_others)
{
    RB_CLEANUP_STR struct rb_str bytes = RB_STR_INIT;
    ck_assert_int_eq(write_record(RB_RECORD_SLOT, "slot"), RB_OK);
    rb_test_read(rb_test_path(&folder, "state/slot"), &bytes);
    close_disk();
    rb_test_write(rb_test_path(&folder, "keys/counter"), rb_str_span(&bytes));
    open_disk();
    reading_fails(RB_RECORD_COUNTER, RB_CORRUPT);
}
END_TEST

START_TEST(a_file_cut_short_is_damage_unless_a_whole_half_is_left)
{
    ck_assert_int_eq(write_record(RB_RECORD_COUNTER, "one"), RB_OK);
    ck_assert_int_eq(write_record(RB_RECORD_COUNTER, "two"), RB_OK);
    close_disk();
    ck_assert_int_eq(truncate(rb_test_path(&folder, "keys/counter"), 0), 0);
    open_disk();
    reading_fails(RB_RECORD_COUNTER, RB_CORRUPT);
}
END_TEST

START_TEST(a_key_folder_in_use_is_busy)
{
    struct rb_file_disk *other = NULL;
    ck_assert_int_eq(open_at("state2", &other), RB_BUSY);
    rb_file_disk_free(other);
}
END_TEST

START_TEST(a_link_in_the_place_of_a_file_is_refused)
{
    close_disk();
    ck_assert_int_eq(rename(rb_test_path(&folder, "state/slot"), rb_test_path(&folder, "slot")), 0);
    ck_assert_int_eq(symlink(rb_test_path(&folder, "slot"), rb_test_path(&folder, "state/slot")), 0);
    ck_assert_int_eq(open_at("state", &disk), RB_DENIED);
}
END_TEST

START_TEST(T4_a_full_disk_does_not_keep_a_record_from_being_written)
{
    const char *state = rb_test_path(&folder, "state");
    close_disk();
    ck_assert_int_eq(unlink(rb_test_path(&folder, "state/slot")), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", state, "tmpfs", 0, "size=1m") != 0) {
        fprintf(stderr, "SKIPPED T4_a_full_disk_does_not_keep_a_record_from_being_written: no mounts here\n");
        return;
    }
    open_disk();
    static char filler[4096];
    RB_CLEANUP_FD int fd = open(rb_test_path(&folder, "state/filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int64_t at = 0;
    while (rb_file_write_at(fd, (struct rb_span){filler, sizeof filler}, at) == RB_OK)
        at += (int64_t)sizeof filler;
    ck_assert_int_gt(at, 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(write_record(RB_RECORD_SLOT, "a token, sealed"), RB_OK);
        reads(RB_RECORD_SLOT, "a token, sealed");
    }
    rb_close_fd(&fd);
    close_disk();
    ck_assert_int_eq(umount(state), 0);
}
END_TEST

Suite *disk_suite(void)
{
    Suite *suite = suite_create("disk");
    TCase *tests = tcase_create("disk");
    tcase_add_checked_fixture(tests, setup, finish);
    tcase_set_timeout(tests, 30);
    tcase_add_test(tests, a_record_is_not_found_until_it_is_written_and_then_replaced_as_a_whole);
    tcase_add_test(tests, the_files_are_private_and_lie_apart);
    tcase_add_test(tests, a_record_has_a_bound);
    tcase_add_test(tests, when_the_newest_half_is_damaged_anywhere_the_other_is_the_record);
    tcase_add_test(tests, a_torn_write_leaves_the_old_record);
    tcase_add_test(tests, a_torn_first_write_is_no_record_and_no_damage);
    tcase_add_test(tests, the_files_are_not_each_others);
    tcase_add_test(tests, a_file_cut_short_is_damage_unless_a_whole_half_is_left);
    tcase_add_test(tests, a_key_folder_in_use_is_busy);
    tcase_add_test(tests, a_link_in_the_place_of_a_file_is_refused);
    tcase_add_test(tests, T4_a_full_disk_does_not_keep_a_record_from_being_written);
    suite_add_tcase(suite, tests);
    return suite;
}
