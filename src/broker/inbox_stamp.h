/* Inbox stamp: the id of our own that a broker's outbox puts into a message's metadata (O2), as the receiving side
 * sees it: taken off before handing out, and remembered, so that a second copy of the same post is dropped. */
#ifndef RB_INBOX_STAMP_H
#define RB_INBOX_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "message_rows.h"
#include "str.h"

/* Appends the metadata without its stamp: the relay's bytes, with the one member cut out. Nothing is appended for
 * metadata that is empty then, or was ("{}"). `*ret_found`: there was a stamp, now in `ret_stamp`. Metadata that is
 * no JSON object is appended as it is. RB_NO_MEMORY when `out` has failed. */
enum rb_status rb_stamp_take_off(struct rb_span metadata, struct rb_str *out, unsigned char ret_stamp[RB_STAMP_BYTES],
                                 bool *ret_found);

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

#endif
