#include "seen.h"

#include <stdlib.h>
#include <string.h>

/* --- stamps: a ring of the newest, and chains from hash buckets into it --- */

enum { NONE = UINT16_MAX, FIRST_ROOM = 64 };

struct rb_stamp_set {
    unsigned char (*ring)[RB_STAMP_BYTES];
    uint16_t *next;    /* of a ring place: the next in its bucket */
    uint16_t *buckets; /* as many as the ring has places */
    size_t room, count, oldest;
};

struct rb_stamp_set *rb_stamp_set_new(void)
{
    return calloc(1, sizeof(struct rb_stamp_set));
}

void rb_stamp_set_free(struct rb_stamp_set *set)
{
    if (!set)
        return;
    free(set->ring);
    free(set->next);
    free(set->buckets);
    free(set);
}

/* Stamps are random: their own first bytes are the hash. */
static size_t bucket_of(const struct rb_stamp_set *set, const unsigned char *stamp)
{
    uint32_t hash;
    memcpy(&hash, stamp, sizeof hash);
    return hash & (set->room - 1);
}

bool rb_stamp_set_has(const struct rb_stamp_set *set, const unsigned char stamp[RB_STAMP_BYTES])
{
    if (set->room == 0)
        return false;
    for (uint16_t i = set->buckets[bucket_of(set, stamp)]; i != NONE; i = set->next[i])
        if (memcmp(set->ring[i], stamp, RB_STAMP_BYTES) == 0)
            return true;
    return false;
}

static void link_place(struct rb_stamp_set *set, size_t place)
{
    uint16_t *bucket = &set->buckets[bucket_of(set, set->ring[place])];
    set->next[place] = *bucket;
    *bucket = (uint16_t)place;
}

static void unlink_place(struct rb_stamp_set *set, size_t place)
{
    uint16_t *link = &set->buckets[bucket_of(set, set->ring[place])];
    while (*link != place)
        link = &set->next[*link];
    *link = set->next[place];
}

static bool grow(struct rb_stamp_set *set)
{
    size_t room = set->room ? set->room * 2 : FIRST_ROOM;
    unsigned char(*ring)[RB_STAMP_BYTES] = malloc(room * sizeof *ring);
    uint16_t *next = malloc(room * sizeof *next), *buckets = malloc(room * sizeof *buckets);
    if (!ring || !next || !buckets) {
        free(ring);
        free(next);
        free(buckets);
        return false;
    }
    if (set->count)
        memcpy(ring, set->ring, set->count * sizeof *ring);
    memset(buckets, 0xff, room * sizeof *buckets);
    free(set->ring);
    free(set->next);
    free(set->buckets);
    set->ring = ring;
    set->next = next;
    set->buckets = buckets;
    set->room = room;
    for (size_t i = 0; i < set->count; i++)
        link_place(set, i);
    return true;
}

bool rb_stamp_set_add(struct rb_stamp_set *set, const unsigned char stamp[RB_STAMP_BYTES])
{
    if (rb_stamp_set_has(set, stamp))
        return true;
    if (set->count == set->room && set->room < RB_STAMPS_KEPT && !grow(set))
        return false;
    size_t place = set->count;
    if (set->count < set->room) {
        set->count++;
    } else {
        place = set->oldest;
        set->oldest = (set->oldest + 1) % set->room;
        unlink_place(set, place);
    }
    memcpy(set->ring[place], stamp, RB_STAMP_BYTES);
    link_place(set, place);
    return true;
}

/* --- ids --- */

uint64_t rb_id_hash(uint64_t key, struct rb_span id)
{
    uint64_t hash = key ^ UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < id.len; i++) {
        hash = (hash ^ (unsigned char)id.at[i]) * UINT64_C(0x100000001b3);
        hash ^= hash >> 29;
    }
    hash = (hash ^ (hash >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 32;
    return hash ? hash : 1;
}

static void put(uint64_t *slots, size_t room, uint64_t hash)
{
    size_t i = (size_t)hash & (room - 1);
    while (slots[i] && slots[i] != hash)
        i = (i + 1) & (room - 1);
    slots[i] = hash;
}

bool rb_id_set_add(struct rb_id_set *set, struct rb_span id)
{
    if (2 * (set->count + 1) > set->room) {
        size_t room = set->room ? set->room * 2 : 256;
        uint64_t *slots = calloc(room, sizeof *slots);
        if (!slots)
            return false;
        for (size_t i = 0; i < set->room; i++)
            if (set->slots[i])
                put(slots, room, set->slots[i]);
        free(set->slots);
        set->slots = slots;
        set->room = room;
    }
    put(set->slots, set->room, rb_id_hash(set->key, id));
    set->count++;
    return true;
}

bool rb_id_set_has(const struct rb_id_set *set, struct rb_span id)
{
    if (set->room == 0)
        return false;
    uint64_t hash = rb_id_hash(set->key, id);
    for (size_t i = (size_t)hash & (set->room - 1); set->slots[i]; i = (i + 1) & (set->room - 1))
        if (set->slots[i] == hash)
            return true;
    return false;
}

void rb_id_set_clear(struct rb_id_set *set)
{
    free(set->slots);
    *set = (struct rb_id_set){.key = set->key};
}

/* --- ids that are not there --- */

enum { FILTER_BITS = 12, FILTER_PROBES = 6 };

bool rb_id_filter_make(struct rb_id_filter *filter, size_t room)
{
    rb_id_filter_clear(filter);
    size_t count = room / 64 * FILTER_BITS + FILTER_BITS;
    filter->words = calloc(count, sizeof *filter->words);
    if (!filter->words)
        return false;
    filter->word_count = count;
    filter->room = room;
    return true;
}

/* Both halves of one hash give all places. */
static uint64_t filter_bit(const struct rb_id_filter *filter, uint64_t hash, unsigned probe)
{
    uint64_t at = (hash + probe * (hash >> 32 | 1)) * UINT64_C(0x9e3779b97f4a7c15) >> 16;
    return at % (filter->word_count * 64);
}

void rb_id_filter_add(struct rb_id_filter *filter, struct rb_span id)
{
    uint64_t hash = rb_id_hash(filter->key, id);
    for (unsigned i = 0; filter->words && i < FILTER_PROBES; i++) {
        uint64_t bit = filter_bit(filter, hash, i);
        filter->words[bit / 64] |= UINT64_C(1) << bit % 64;
    }
    filter->count++;
}

bool rb_id_filter_is_crowded(const struct rb_id_filter *filter)
{
    return filter->count > filter->room;
}

bool rb_id_filter_may_have(const struct rb_id_filter *filter, struct rb_span id)
{
    uint64_t hash = rb_id_hash(filter->key, id);
    for (unsigned i = 0; filter->words && i < FILTER_PROBES; i++) {
        uint64_t bit = filter_bit(filter, hash, i);
        if (!(filter->words[bit / 64] >> bit % 64 & 1))
            return false;
    }
    return true;
}

void rb_id_filter_clear(struct rb_id_filter *filter)
{
    free(filter->words);
    *filter = (struct rb_id_filter){.key = filter->key};
}
