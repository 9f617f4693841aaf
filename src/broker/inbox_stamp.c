#include "inbox_stamp.h"

#include "json_span.h"

#define STAMP_MEMBER "relay-broker-id"
enum { METADATA_LEVELS = 256 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_stamp(struct rb_json_value value, unsigned char *ret)
{
    if (value.kind != RB_JSON_STRING || value.text.len != 2 + 2 * RB_STAMP_BYTES)
        return false;
    unsigned char stamp[RB_STAMP_BYTES];
    for (size_t i = 0; i < RB_STAMP_BYTES; i++) {
        int high = hex_digit(value.text.at[1 + 2 * i]), low = hex_digit(value.text.at[2 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        stamp[i] = (unsigned char)(high << 4 | low);
    }
    memcpy(ret, stamp, sizeof stamp);
    return true;
}

enum rb_status rb_stamp_take_off(struct rb_span metadata, struct rb_str *out, unsigned char ret_stamp[RB_STAMP_BYTES],
                                 bool *ret_found)
{
    *ret_found = false;
    struct rb_json_value object, key, value;
    if (metadata.len == 0)
        return RB_OK;
    if (rb_json_check(metadata, METADATA_LEVELS, &object, NULL) != RB_JSON_FINE || object.kind != RB_JSON_OBJECT) {
        rb_str_add_span(out, metadata);
        return rb_str_failed(out) ? RB_NO_MEMORY : RB_OK;
    }
    struct rb_span before = {object.text.at, 1}, after = {0};
    const char *previous_end = NULL;
    size_t members = 0;
    struct rb_json_walk walk = rb_json_walk(object);
    const char *end = object.text.at + object.text.len;
    while (rb_json_next(&walk, &key, &value)) {
        const char *value_end = value.text.at + value.text.len;
        members++;
        if (!*ret_found && rb_json_is(key, STAMP_MEMBER) && read_stamp(value, ret_stamp)) {
            *ret_found = true;
            /* With a member before it the cut begins at that one's end and takes the comma along, else it ends
             * behind the comma. */
            before.len = (size_t)((previous_end ? previous_end : object.text.at + 1) - object.text.at);
            const char *rest = value_end;
            if (!previous_end) {
                while (*rest != ',' && *rest != '}')
                    rest++;
                rest += *rest == ',';
            }
            after = (struct rb_span){rest, (size_t)(end - rest)};
        }
        previous_end = value_end;
    }
    if (members == (*ret_found ? 1U : 0U))
        return RB_OK;
    if (*ret_found) {
        rb_str_add_span(out, before);
        rb_str_add_span(out, after);
    } else {
        rb_str_add_span(out, object.text);
    }
    return rb_str_failed(out) ? RB_NO_MEMORY : RB_OK;
}

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
