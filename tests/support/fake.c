#include "fake.h"

#include <stdio.h>
#include <stdlib.h>

#include "list.h"

/* More runs than this without time moving are a timer that never lets go. */
enum { RUNS_AT_ONE_TIME = 100000 };

static int64_t fake_now_ms(struct rb_clock *clock)
{
    return RB_CONTAINER(clock, struct rb_fake_clock, clock)->now;
}

static int64_t fake_wall_ms(struct rb_clock *clock)
{
    return RB_CONTAINER(clock, struct rb_fake_clock, clock)->wall;
}

void rb_fake_clock_init(struct rb_fake_clock *fake)
{
    *fake = (struct rb_fake_clock){
        .clock = {.now_ms = fake_now_ms, .wall_ms = fake_wall_ms}, .now = RB_FAKE_NOW_MS, .wall = RB_FAKE_WALL_MS};
}

static void step_to(struct rb_fake_clock *fake, int64_t now)
{
    if (now > fake->now) {
        fake->wall += now - fake->now;
        fake->now = now;
    }
}

void rb_fake_clock_advance(struct rb_fake_clock *fake, int64_t ms)
{
    int64_t end = fake->now + ms;
    int runs = 0;
    int64_t next;
    while ((next = rb_clock_next_ms(&fake->clock)) <= end) {
        runs = next > fake->now ? 0 : runs + 1;
        if (runs > RUNS_AT_ONE_TIME) {
            fprintf(stderr, "fake clock: timers keep setting themselves for %lld\n", (long long)fake->now);
            abort();
        }
        step_to(fake, next);
        rb_clock_run(&fake->clock);
    }
    step_to(fake, end);
}

/* SplitMix64. */
static uint64_t next_word(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void fake_fill(struct rb_random *random, void *bytes, size_t len)
{
    struct rb_fake_random *fake = RB_CONTAINER(random, struct rb_fake_random, random);
    unsigned char *at = bytes;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = next_word(&fake->state);
        for (size_t k = 0; k < 8 && i + k < len; k++)
            at[i + k] = (unsigned char)(word >> 8 * k);
    }
}

void rb_fake_random_init(struct rb_fake_random *fake, uint64_t seed)
{
    *fake = (struct rb_fake_random){.random = {.fill = fake_fill}, .state = seed};
}
