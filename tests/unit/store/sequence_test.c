#include "store_test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "store_inside.h"

static void setup(void)
{
    setup_folder();
    open_store(NULL, 0);
}

START_TEST(ids_count_up_from_one_each_sequence_for_itself)
{
    for (int64_t id = 1; id <= 2500; id++)
        ck_assert_int_eq(rb_store_next_id(store, "post"), id);
    ck_assert_int_eq(rb_store_next_id(store, "message"), 1);
    ck_assert_int_eq(rb_store_next_id(store, "post"), 2501);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
}
END_TEST

START_TEST(an_id_is_not_given_again_after_a_crash_or_in_an_emptied_table)
{
    int64_t last = 0;
    int told[2], pid;
    close_store();
    ck_assert_int_eq(pipe(told), 0);
    ck_assert_int_ge(pid = fork(), 0);
    if (pid == 0) {
        open_store(NULL, 0);
        add_event(rb_store_next_id(store, "event"), 10);
        ck_assert_int_eq(rb_store_commit(store), RB_OK);
        delete_events();
        ck_assert_int_eq(rb_store_commit(store), RB_OK);
        for (int i = 0; i < 5; i++)
            last = rb_store_next_id(store, "event");
        _exit(write(told[1], &last, sizeof last) == sizeof last ? 0 : 1);
    }
    ck_assert_int_eq(read(told[0], &last, sizeof last), sizeof last);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(last, 6);
    open_store(NULL, 0);
    ck_assert_int_gt(rb_store_next_id(store, "event"), last);
    close(told[0]);
    close(told[1]);
}
END_TEST

START_TEST(a_block_reserved_in_a_transaction_that_was_rolled_back_is_reserved_again)
{
    ck_assert_int_eq(rb_store_next_id(store, "event"), 1);
    rb_store_rollback(store);
    ck_assert_int_eq(number("SELECT count(*) FROM counter"), 0);
    int64_t id = rb_store_next_id(store, "event");
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    ck_assert_int_ge(number("SELECT value FROM counter WHERE name = 'event'"), id);
}
END_TEST

START_TEST(an_id_of_a_committed_block_is_not_given_again_after_a_rollback)
{
    int64_t first = rb_store_next_id(store, "event");
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    int64_t second = rb_store_next_id(store, "event");
    add_event(second, 1);
    rb_store_rollback(store);
    ck_assert_int_gt(rb_store_next_id(store, "event"), second);
    ck_assert_int_gt(second, first);
}
END_TEST

START_TEST(ids_in_a_failed_transaction_are_unique_and_negative)
{
    add_event(1, 1);
    add_event(1, 1);
    ck_assert_int_eq(rb_store_failed(store), RB_CORRUPT);
    int64_t a = rb_store_next_id(store, "event"), b = rb_store_next_id(store, "post");
    ck_assert_int_lt(a, 0);
    ck_assert_int_lt(b, 0);
    ck_assert_int_ne(a, b);
    rb_store_rollback(store);
    ck_assert_int_eq(rb_store_next_id(store, "event"), 1);
}
END_TEST

static void no_room_for(const char *name, const char *sentence)
{
    add_event(rb_store_next_id(store, "event"), 1);
    int64_t first = rb_store_next_id(store, name), second = rb_store_next_id(store, name);
    ck_assert(was_logged(sentence));
    ck_assert_int_lt(first, 0);
    ck_assert_int_lt(second, 0);
    ck_assert_int_ne(first, second);
    ck_assert_int_eq(rb_store_failed(store), RB_CORRUPT);
    ck_assert_int_eq(rb_store_commit(store), RB_CORRUPT);
    ck_assert_int_eq(number("SELECT count(*) FROM event"), 0);
    /* The sequences that there are go on. */
    add_event(rb_store_next_id(store, "event"), 1);
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
}

START_TEST(a_sequence_too_many_is_a_defect_that_fails_the_whole_transaction)
{
    static char names[RB_SEQUENCES_MAX][8];
    ck_assert_int_eq(rb_store_next_id(store, "event"), 1);
    for (int i = 1; i < RB_SEQUENCES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        ck_assert_int_eq(rb_store_next_id(store, names[i]), 1);
    }
    ck_assert_int_eq(rb_store_commit(store), RB_OK);
    no_room_for("one-more", "defect: no room for a sequence named one-more");
}
END_TEST

START_TEST(a_sequence_whose_name_is_too_long_is_a_defect_that_fails_the_whole_transaction)
{
    ck_assert_int_eq(rb_store_next_id(store, "a-name-of-thirty-one-characters"), 1);
    no_room_for("a-name-of-thirty-two-characters-", "defect: no room for a sequence named "
                                                    "a-name-of-thirty-two-characters-");
}
END_TEST

Suite *sequence_suite(void)
{
    Suite *suite = suite_create("sequence");
    TCase *tests = tcase_create("sequence");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, ids_count_up_from_one_each_sequence_for_itself);
    tcase_add_test(tests, an_id_is_not_given_again_after_a_crash_or_in_an_emptied_table);
    tcase_add_test(tests, a_block_reserved_in_a_transaction_that_was_rolled_back_is_reserved_again);
    tcase_add_test(tests, an_id_of_a_committed_block_is_not_given_again_after_a_rollback);
    tcase_add_test(tests, ids_in_a_failed_transaction_are_unique_and_negative);
    tcase_add_test(tests, a_sequence_too_many_is_a_defect_that_fails_the_whole_transaction);
    tcase_add_test(tests, a_sequence_whose_name_is_too_long_is_a_defect_that_fails_the_whole_transaction);
    suite_add_tcase(suite, tests);
    return suite;
}
