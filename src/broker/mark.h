/* Marks: the counter file's shadow of each chain's mark (R3), in the key folder. A database whose mark is below the one
 * here was restored from a copy. */
#ifndef RB_MARK_H
#define RB_MARK_H

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"

enum { RB_UID_BYTES = 16 };

struct rb_marks;

/* Reads the file; RB_CORRUPT or RB_IO with a sentence. A missing file has no marks. */
enum rb_status rb_marks_new(struct rb_disk *disk, struct rb_marks **ret, struct rb_error *err);
void rb_marks_free(struct rb_marks *marks);
bool rb_marks_find(const struct rb_marks *marks, const unsigned char *uid, int64_t *ret);
/* On return RB_OK the mark is on disk. Not above the chain's committed mark, unless the chain has no row yet. */
enum rb_status rb_marks_write(struct rb_marks *marks, const unsigned char *uid, int64_t mark);
/* The chain has ended, or never had a row: it is not in the next write. */
void rb_marks_forget(struct rb_marks *marks, const unsigned char *uid);
/* Forgets all for which `keep` is false. */
void rb_marks_prune(struct rb_marks *marks, bool (*keep)(void *arg, const unsigned char *uid), void *arg);

#endif
