/* Secret: bytes in locked, guarded memory (libsodium), wiped when freed. For as short as possible. */
#ifndef RB_SECRET_H
#define RB_SECRET_H

#include "status.h"
#include "str.h"

struct rb_secret; /* immutable once made */

/* Copies; a failed mlock is RB_NO_MEMORY with a sentence that names the memlock limit (D9), never ignored. */
enum rb_status rb_secret_new(struct rb_span bytes, struct rb_secret **ret, struct rb_error *err);
void rb_secret_free(struct rb_secret *secret); /* NULL allowed */
/* The bytes, followed by a NUL that len does not count; valid until freed. */
struct rb_span rb_secret_span(const struct rb_secret *secret);
bool rb_secret_equal(const struct rb_secret *secret, struct rb_span other); /* constant time in the content */

#endif
