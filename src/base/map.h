/* Map: an intrusive hash table. Nodes and what they are found by are the caller's; several nodes may have one hash.
 * Adding never fails: when the table cannot grow its chains get longer. All zero is an empty map. */
#ifndef RB_MAP_H
#define RB_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "str.h"

struct rb_map_node {
    struct rb_map_node *next;
    uint64_t hash;
};

struct rb_map {
    struct rb_map_node **slots;
    struct rb_map_node *only; /* the one chain of a map without slots */
    size_t slot_count, count;
};

enum { RB_MAP_SEED_BYTES = 16 };

/* Spreads ids that count up. */
uint64_t rb_hash_i64(int64_t value);
/* For keys that a caller chooses: with a secret seed nobody can aim at one chain. */
uint64_t rb_hash_bytes(const unsigned char seed[RB_MAP_SEED_BYTES], struct rb_span bytes);

/* Makes room for so many nodes at once, if there is memory: a table that grows with them moves each of them again and
 * again. */
void rb_map_expect(struct rb_map *map, size_t nodes);
/* Adds a node that is in no map. */
void rb_map_add(struct rb_map *map, struct rb_map_node *node, uint64_t hash);
/* A node with this hash, and the next one after it with the same; NULL: none. */
struct rb_map_node *rb_map_find(const struct rb_map *map, uint64_t hash);
struct rb_map_node *rb_map_again(const struct rb_map_node *node);
/* The node is in the map. */
void rb_map_remove(struct rb_map *map, struct rb_map_node *node);
/* Empties it, handing each node to `release` (or NULL), and frees the table. */
void rb_map_clear(struct rb_map *map, void (*release)(struct rb_map_node *node));

#endif
