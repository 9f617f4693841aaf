#include "base_test.h"

#include "share.h"

START_TEST(one_user_leaves_room_for_others)
{
    struct rb_share share;
    rb_share_init(&share, 10, 70);
    ck_assert_int_eq(rb_share_left(&share, 1), 7);
    ck_assert_int_eq(rb_share_take(&share, 1, 7), RB_OK);
    ck_assert_int_eq(rb_share_left(&share, 1), 0);
    ck_assert_int_eq(rb_share_left(&share, 2), 7);
    ck_assert_int_eq(rb_share_room(&share, 1, 1, 100), RB_NO_ROOM_FOR_USER);
    ck_assert_int_eq(rb_share_room(&share, 2, 3, 100), RB_ROOM);
    ck_assert_int_eq(rb_share_room(&share, 2, 4, 100), RB_NO_ROOM);
    ck_assert_int_eq(rb_share_take(&share, 2, 3), RB_OK);
    ck_assert_int_eq(rb_share_room(&share, 2, 1, 100), RB_NO_ROOM);
    rb_share_give(&share, 1, 1);
    ck_assert_int_eq(rb_share_room(&share, 1, 1, 100), RB_ROOM);
    ck_assert_int_eq(share.held, 9);
    rb_share_free(&share);
}
END_TEST

START_TEST(a_part_of_the_bounds_is_a_part_of_both)
{
    struct rb_share share;
    rb_share_init(&share, 100, 50);
    ck_assert_int_eq(rb_share_room(&share, 1, 45, 90), RB_ROOM);
    ck_assert_int_eq(rb_share_room(&share, 1, 46, 90), RB_NO_ROOM_FOR_USER);
    ck_assert_int_eq(rb_share_take(&share, 1, 50), RB_OK);
    ck_assert_int_eq(rb_share_room(&share, 2, 40, 90), RB_ROOM);
    ck_assert_int_eq(rb_share_room(&share, 2, 41, 90), RB_NO_ROOM);
    rb_share_free(&share);
}
END_TEST

START_TEST(the_whole_may_be_one_users_and_a_small_bound_is_no_wall)
{
    struct rb_share share;
    rb_share_init(&share, INT64_MAX / 2, 100);
    ck_assert_int_eq(rb_share_room(&share, 1, INT64_MAX / 2, 100), RB_ROOM);
    rb_share_init(&share, 1, 1);
    ck_assert_int_eq(rb_share_room(&share, 1, 1, 90), RB_ROOM);
    ck_assert_int_eq(rb_share_room(&share, 1, 2, 90), RB_NO_ROOM_FOR_USER);
    rb_share_free(&share);
}
END_TEST

START_TEST(who_has_given_all_back_is_forgotten)
{
    struct rb_share share;
    rb_share_init(&share, 100, 50);
    for (int64_t uid = 0; uid < 50; uid++)
        ck_assert_int_eq(rb_share_take(&share, uid, 2), RB_OK);
    for (int64_t uid = 0; uid < 50; uid++)
        rb_share_give(&share, uid, 2);
    rb_share_give(&share, 7, 1);
    ck_assert_uint_eq(share.users.count, 0);
    ck_assert_int_eq(share.held, 0);
    rb_share_free(&share);
}
END_TEST

Suite *share_suite(void)
{
    Suite *suite = suite_create("share");
    TCase *tcase = tcase_create("share");
    tcase_add_test(tcase, one_user_leaves_room_for_others);
    tcase_add_test(tcase, a_part_of_the_bounds_is_a_part_of_both);
    tcase_add_test(tcase, the_whole_may_be_one_users_and_a_small_bound_is_no_wall);
    tcase_add_test(tcase, who_has_given_all_back_is_forgotten);
    suite_add_tcase(suite, tcase);
    return suite;
}
