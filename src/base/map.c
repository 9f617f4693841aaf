#include "map.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

enum { FIRST_SLOTS = 16 };

uint64_t rb_hash_i64(int64_t value)
{
    uint64_t z = (uint64_t)value * 0x9e3779b97f4a7c15u;
    return z ^ z >> 32;
}

uint64_t rb_hash_bytes(const unsigned char seed[RB_MAP_SEED_BYTES], struct rb_span bytes)
{
    static_assert(crypto_shorthash_KEYBYTES == RB_MAP_SEED_BYTES && crypto_shorthash_BYTES == sizeof(uint64_t), "");
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)bytes.at, bytes.len, seed);
    return hash;
}

static struct rb_map_node **slot_of(struct rb_map *map, uint64_t hash)
{
    return map->slots ? &map->slots[hash & (map->slot_count - 1)] : &map->only;
}

static void grow(struct rb_map *map, size_t count)
{
    struct rb_map_node **slots = calloc(count, sizeof(struct rb_map_node *));
    if (!slots)
        return;
    struct rb_map old = *map;
    *map = (struct rb_map){.slots = slots, .slot_count = count};
    for (size_t i = 0; i < (old.slots ? old.slot_count : 1); i++) {
        struct rb_map_node *node = old.slots ? old.slots[i] : old.only;
        while (node) {
            struct rb_map_node *next = node->next;
            rb_map_add(map, node, node->hash);
            node = next;
        }
    }
    free(old.slots);
}

void rb_map_expect(struct rb_map *map, size_t nodes)
{
    size_t count = FIRST_SLOTS;
    while (count < nodes && count < SIZE_MAX / 2)
        count *= 2;
    if (count > map->slot_count)
        grow(map, count);
}

void rb_map_add(struct rb_map *map, struct rb_map_node *node, uint64_t hash)
{
    if (map->count >= map->slot_count)
        grow(map, map->slot_count ? map->slot_count * 2 : FIRST_SLOTS);
    struct rb_map_node **slot = slot_of(map, hash);
    node->hash = hash;
    node->next = *slot;
    *slot = node;
    map->count++;
}

static struct rb_map_node *same(struct rb_map_node *node, uint64_t hash)
{
    while (node && node->hash != hash)
        node = node->next;
    return node;
}

struct rb_map_node *rb_map_find(const struct rb_map *map, uint64_t hash)
{
    return same(map->slots ? map->slots[hash & (map->slot_count - 1)] : map->only, hash);
}

struct rb_map_node *rb_map_again(const struct rb_map_node *node)
{
    return same(node->next, node->hash);
}

void rb_map_remove(struct rb_map *map, struct rb_map_node *node)
{
    struct rb_map_node **at = slot_of(map, node->hash);
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    node->next = NULL;
    map->count--;
}

void rb_map_clear(struct rb_map *map, void (*release)(struct rb_map_node *node))
{
    struct rb_map old = *map;
    *map = (struct rb_map){0};
    for (size_t i = 0; release && i < (old.slots ? old.slot_count : 1); i++) {
        struct rb_map_node *node = old.slots ? old.slots[i] : old.only;
        while (node) {
            struct rb_map_node *next = node->next;
            release(node);
            node = next;
        }
    }
    free(old.slots);
}
