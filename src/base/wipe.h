/* Wipe: giving memory back without leaving in it what it held (P6). For what a secret may pass through on its way to
 * and from locked memory: strs, libcurl's buffers, answers. */
#ifndef RB_WIPE_H
#define RB_WIPE_H

#include <stddef.h>

/* Like free() and realloc(); nothing stays in the block that is given back. */
void rb_wipe_free(void *block);
void *rb_wipe_realloc(void *block, size_t size); /* size is not 0 */

#endif
