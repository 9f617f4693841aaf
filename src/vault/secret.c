#include "secret.h"

#include <sodium.h>
#include <stdlib.h>

struct rb_secret {
    char *bytes; /* from sodium_malloc: between guard pages, never swapped, wiped by sodium_free */
    size_t len;
};

enum rb_status rb_secret_new(struct rb_span bytes, struct rb_secret **ret, struct rb_error *err)
{
    struct rb_secret *secret = bytes.len < SIZE_MAX / 2 ? calloc(1, sizeof *secret) : NULL;
    if (!secret)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    secret->len = bytes.len;
    secret->bytes = sodium_malloc(bytes.len + 1);
    if (!secret->bytes) {
        free(secret);
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    }
    /* sodium_malloc locks too, and says nothing when it could not. */
    if (sodium_mlock(secret->bytes, bytes.len + 1) != 0) {
        rb_secret_free(secret);
        return rb_fail(err, RB_NO_MEMORY,
                       "Memory for a secret cannot be locked; raise the memlock limit (ulimit -l, LimitMEMLOCK=).");
    }
    if (bytes.len)
        memcpy(secret->bytes, bytes.at, bytes.len);
    secret->bytes[bytes.len] = 0;
    sodium_mprotect_readonly(secret->bytes);
    *ret = secret;
    return RB_OK;
}

void rb_secret_free(struct rb_secret *secret)
{
    if (!secret)
        return;
    sodium_free(secret->bytes);
    free(secret);
}

struct rb_span rb_secret_span(const struct rb_secret *secret)
{
    return (struct rb_span){secret->bytes, secret->len};
}

bool rb_secret_equal(const struct rb_secret *secret, struct rb_span other)
{
    return secret->len == other.len && (other.len == 0 || sodium_memcmp(secret->bytes, other.at, other.len) == 0);
}
