#include "wipe.h"

#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void rb_wipe_free(void *block)
{
    if (!block)
        return;
    sodium_memzero(block, malloc_usable_size(block));
    free(block);
}

/* realloc() itself would move the bytes and leave a copy. */
void *rb_wipe_realloc(void *block, size_t size)
{
    void *fresh = malloc(size);
    if (!fresh || !block)
        return fresh;
    size_t had = malloc_usable_size(block);
    memcpy(fresh, block, had < size ? had : size);
    rb_wipe_free(block);
    return fresh;
}
