#include "model_map.h"

#include "list.h"

static struct map_node *named(struct rb_map_node *node)
{
    return node ? RB_CONTAINER(node, struct map_node, node) : NULL;
}

/* No secret seed: the relay is for tests, whose runs are to be repeatable. */
static uint64_t hash_of(struct rb_span key)
{
    static const unsigned char seed[RB_MAP_SEED_BYTES] = "fake relay";
    return rb_hash_bytes(seed, key);
}

struct map_node *map_find(const struct rb_map *map, struct rb_span key)
{
    struct rb_map_node *node = rb_map_find(map, hash_of(key));
    while (node && !rb_span_equal(named(node)->key, key))
        node = rb_map_again(node);
    return named(node);
}

void map_add(struct rb_map *map, struct map_node *node, struct rb_span key)
{
    node->key = key;
    rb_map_add(map, &node->node, hash_of(key));
}

void map_remove(struct rb_map *map, struct map_node *node)
{
    rb_map_remove(map, &node->node);
}
