/* Slots: rotated tokens, sealed, that the database may not have yet (T4). The record is written when a token arrives,
 * before its commit; an entry that the database has is dropped with the next write. */
#ifndef RB_SLOT_H
#define RB_SLOT_H

#include <stdint.h>

#include "disk.h"

struct rb_slots;

/* Reads the record; an unreadable one counts as empty, since the database is complete but for it. RB_NO_MEMORY, RB_IO.
 */
enum rb_status rb_slots_new(struct rb_disk *disk, struct rb_slots **ret, struct rb_error *err);
void rb_slots_free(struct rb_slots *slots);
/* The newest entry of a chain: false without one. `*ret_sealed` lives until the slots change. */
bool rb_slots_find(const struct rb_slots *slots, const unsigned char *uid, int64_t *ret_generation,
                   struct rb_span *ret_sealed);
/* Memory for a later rb_slots_write of up to so many bytes: what has come must find it. */
enum rb_status rb_slots_reserve(struct rb_slots *slots, const unsigned char *uid, size_t sealed_max);
/* On return RB_OK it is on disk. */
enum rb_status rb_slots_write(struct rb_slots *slots, const unsigned char *uid, int64_t generation,
                              struct rb_span sealed);
/* Not in the next write any more. */
void rb_slots_drop(struct rb_slots *slots, const unsigned char *uid);
/* Writes the record now, so that dropped entries are gone from it. */
void rb_slots_flush(struct rb_slots *slots);

#endif
