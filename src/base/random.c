#include "random.h"

#include <sodium.h>

static void system_fill(struct rb_random *random, void *bytes, size_t len)
{
    randombytes_buf(bytes, len);
}

void rb_random_init_system(struct rb_random *random)
{
    random->fill = system_fill;
}

void rb_random_fill(struct rb_random *random, void *bytes, size_t len)
{
    random->fill(random, bytes, len);
}

int64_t rb_random_between(struct rb_random *random, int64_t low, int64_t high)
{
    uint64_t range = (uint64_t)high - (uint64_t)low + 1;
    uint64_t value;
    rb_random_fill(random, &value, sizeof value);
    /* The bias of a 64-bit modulus is below 2^-20 for any range of milliseconds or indexes. */
    return (int64_t)((uint64_t)low + (range ? value % range : value));
}

void rb_random_hex(struct rb_random *random, size_t bytes, char *ret)
{
    static const char digit[] = "0123456789abcdef";
    /* The bytes wait in the far half: digits never overtake the byte that is next. */
    rb_random_fill(random, ret + bytes, bytes);
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)ret[bytes + i];
        ret[2 * i] = digit[byte >> 4];
        ret[2 * i + 1] = digit[byte & 15];
    }
    ret[2 * bytes] = 0;
}
