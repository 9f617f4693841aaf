/* Seen: what a topic has given already, so that a second copy is dropped: the stamps of our own posts (O2), and the
 * message ids held when a topic is read again from its beginning (I3). And which ids it cannot hold. */
#ifndef RB_SEEN_H
#define RB_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "message_rows.h"
#include "str.h"

/* The newest few thousand stamps of a topic. */
enum { RB_STAMPS_KEPT = 4096 };
struct rb_stamp_set;
struct rb_stamp_set *rb_stamp_set_new(void); /* NULL: out of memory */
void rb_stamp_set_free(struct rb_stamp_set *set);
bool rb_stamp_set_has(const struct rb_stamp_set *set, const unsigned char stamp[RB_STAMP_BYTES]);
/* Forgets the oldest when full. False: out of memory, and the stamp is not remembered. */
bool rb_stamp_set_add(struct rb_stamp_set *set, const unsigned char stamp[RB_STAMP_BYTES]);

/* A set of message ids, by a keyed 64-bit hash of each: what is held already when a topic is read again from its
 * beginning (I3). */
struct rb_id_set {
    uint64_t *slots; /* 0: empty */
    size_t room, count;
    uint64_t key;
};
uint64_t rb_id_hash(uint64_t key, struct rb_span id);         /* never 0 */
bool rb_id_set_add(struct rb_id_set *set, struct rb_span id); /* false: out of memory */
bool rb_id_set_has(const struct rb_id_set *set, struct rb_span id);
void rb_id_set_clear(struct rb_id_set *set);

/* Tells of most message ids that are not held that they are not, in 12 bits of memory for each that is (a Bloom
 * filter). Of an id that was added it never says so. */
struct rb_id_filter {
    uint64_t *words; /* NULL: not made */
    size_t word_count, room, count;
    uint64_t key;
};
bool rb_id_filter_make(struct rb_id_filter *filter, size_t room); /* false: out of memory */
void rb_id_filter_add(struct rb_id_filter *filter, struct rb_span id);
/* With more ids than there is room for it tells less. */
bool rb_id_filter_is_crowded(const struct rb_id_filter *filter);
bool rb_id_filter_may_have(const struct rb_id_filter *filter, struct rb_span id);
void rb_id_filter_clear(struct rb_id_filter *filter);

#endif
