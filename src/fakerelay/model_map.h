/* Named: base's map for the model's things that have names. Entries and names are the caller's. */
#ifndef RB_MODEL_MAP_H
#define RB_MODEL_MAP_H

#include "map.h"

struct map_node {
    struct rb_map_node node;
    struct rb_span key; /* lives as long as the node is in a map */
};

struct map_node *map_find(const struct rb_map *map, struct rb_span key);
/* The key must not be there yet. */
void map_add(struct rb_map *map, struct map_node *node, struct rb_span key);
void map_remove(struct rb_map *map, struct map_node *node);

#endif
