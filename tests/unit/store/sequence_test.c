#include "store_test.h"

#include <sys/wait.h>
#include <unistd.h>

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
    suite_add_tcase(suite, tests);
    return suite;
}
