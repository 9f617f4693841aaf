#include <stdlib.h>

#include "base_test.h"
#include "list.h"
#include "map.h"

enum { NODES = 1000 };

struct item {
    struct rb_map_node node;
    int64_t id;
};

static struct item items[NODES];
static struct rb_map map;

static void add(int64_t from, int64_t until)
{
    for (int64_t id = from; id < until; id++) {
        items[id].id = id;
        rb_map_add(&map, &items[id].node, rb_hash_i64(id));
    }
}

static bool is_there(int64_t id)
{
    struct rb_map_node *node = rb_map_find(&map, rb_hash_i64(id));
    while (node && RB_CONTAINER(node, struct item, node)->id != id)
        node = rb_map_again(node);
    return node;
}

static void teardown(void)
{
    rb_map_clear(&map, NULL);
}

START_TEST(what_was_added_is_found_until_it_is_removed)
{
    ck_assert(!is_there(1));
    add(0, NODES);
    ck_assert_uint_eq(map.count, NODES);
    for (int64_t id = 0; id < NODES; id += 2)
        rb_map_remove(&map, &items[id].node);
    for (int64_t id = 0; id < NODES; id++)
        ck_assert_int_eq(is_there(id), id % 2 != 0);
    ck_assert_uint_eq(map.count, NODES / 2);
}
END_TEST

START_TEST(nodes_of_one_hash_are_found_one_after_the_other)
{
    for (int i = 0; i < 3; i++)
        rb_map_add(&map, &items[i].node, 7);
    struct rb_map_node *node = rb_map_find(&map, 7);
    int count = 0;
    for (; node; node = rb_map_again(node))
        count++;
    ck_assert_int_eq(count, 3);
}
END_TEST

START_TEST(what_is_expected_has_its_room_at_once_and_keeps_what_is_there)
{
    add(0, 20);
    rb_map_expect(&map, NODES);
    size_t slots = map.slot_count;
    ck_assert_uint_ge(slots, NODES);
    rb_map_expect(&map, 10);
    add(20, NODES);
    ck_assert_uint_eq(map.slot_count, slots);
    for (int64_t id = 0; id < NODES; id++)
        ck_assert(is_there(id));
}
END_TEST

Suite *map_suite(void)
{
    Suite *suite = suite_create("map");
    TCase *tcase = tcase_create("map");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, what_was_added_is_found_until_it_is_removed);
    tcase_add_test(tcase, nodes_of_one_hash_are_found_one_after_the_other);
    tcase_add_test(tcase, what_is_expected_has_its_room_at_once_and_keeps_what_is_there);
    suite_add_tcase(suite, tcase);
    return suite;
}
