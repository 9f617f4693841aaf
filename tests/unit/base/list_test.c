#include "base_test.h"

#include "list.h"

struct item {
    int number;
    struct rb_list node;
};

static struct rb_list head, other;
static struct item items[4];

static void setup(void)
{
    rb_list_init(&head);
    rb_list_init(&other);
    for (int i = 0; i < 4; i++) {
        items[i].number = i + 1;
        rb_list_init(&items[i].node);
    }
}

/* The numbers of the list as the digits of one, read both ways. */
static int digits_of(struct rb_list *list)
{
    int forward = 0, backward = 0, place = 1;
    RB_LIST_EACH (list, node)
        forward = 10 * forward + RB_CONTAINER(node, struct item, node)->number;
    for (struct rb_list *node = list->prev; node != list; node = node->prev, place *= 10)
        backward += place * RB_CONTAINER(node, struct item, node)->number;
    ck_assert_int_eq(forward, backward);
    return forward;
}

static void push_all(void)
{
    for (int i = 0; i < 4; i++)
        rb_list_push(&head, &items[i].node);
}

START_TEST(nodes_come_off_in_the_order_they_were_pushed)
{
    push_all();
    ck_assert_int_eq(digits_of(&head), 1234);
    for (int i = 0; i < 4; i++)
        ck_assert_ptr_eq(rb_list_pop(&head), &items[i].node);
    ck_assert(rb_list_empty(&head));
    ck_assert_ptr_null(rb_list_pop(&head));
    ck_assert(!rb_list_linked(&items[0].node));
}
END_TEST

START_TEST(a_removed_node_may_be_removed_again_and_pushed_elsewhere)
{
    push_all();
    rb_list_remove(&items[1].node);
    rb_list_remove(&items[1].node);
    ck_assert_int_eq(digits_of(&head), 134);
    ck_assert(!rb_list_linked(&items[1].node));
    rb_list_push(&other, &items[1].node);
    ck_assert(rb_list_linked(&items[1].node));
    ck_assert_int_eq(digits_of(&other), 2);
}
END_TEST

START_TEST(the_node_at_hand_may_be_unlinked_while_walking)
{
    push_all();
    RB_LIST_EACH_SAFE (&head, node)
        if (RB_CONTAINER(node, struct item, node)->number % 2 == 0)
            rb_list_remove(node);
    ck_assert_int_eq(digits_of(&head), 13);
    RB_LIST_EACH_SAFE (&head, node)
        rb_list_remove(node);
    ck_assert(rb_list_empty(&head));
}
END_TEST

START_TEST(appending_a_list_moves_its_nodes_and_empties_it)
{
    rb_list_push(&head, &items[0].node);
    rb_list_push(&other, &items[1].node);
    rb_list_push(&other, &items[2].node);
    rb_list_append_all(&head, &other);
    ck_assert_int_eq(digits_of(&head), 123);
    ck_assert(rb_list_empty(&other));
    rb_list_append_all(&head, &other);
    ck_assert_int_eq(digits_of(&head), 123);
    rb_list_append_all(&other, &head);
    ck_assert_int_eq(digits_of(&other), 123);
    ck_assert(rb_list_empty(&head));
}
END_TEST

Suite *list_suite(void)
{
    Suite *suite = suite_create("list");
    TCase *tcase = tcase_create("list");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, nodes_come_off_in_the_order_they_were_pushed);
    tcase_add_test(tcase, a_removed_node_may_be_removed_again_and_pushed_elsewhere);
    tcase_add_test(tcase, the_node_at_hand_may_be_unlinked_while_walking);
    tcase_add_test(tcase, appending_a_list_moves_its_nodes_and_empties_it);
    suite_add_tcase(suite, tcase);
    return suite;
}
