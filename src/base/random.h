/* Random: a port for random bytes. The daemon's are the kernel's (libsodium), the simulator's come from a seed. */
#ifndef RB_RANDOM_H
#define RB_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct rb_random {
    void (*fill)(struct rb_random *random, void *bytes, size_t len);
};

/* libsodium's generator; sodium_init() has been called. */
void rb_random_init_system(struct rb_random *random);

void rb_random_fill(struct rb_random *random, void *bytes, size_t len);
/* Uniform in [low, high]; low <= high. */
int64_t rb_random_between(struct rb_random *random, int64_t low, int64_t high);
/* 2 * bytes hex digits and a NUL. */
void rb_random_hex(struct rb_random *random, size_t bytes, char *ret);

#endif
