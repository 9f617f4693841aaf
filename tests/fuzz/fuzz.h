/* Fuzz: what the fuzzers share. Each is one file with LLVMFuzzerTestOneInput, linked with the shipped objects; besides
 * what the sanitizers see, it checks what must hold of every input. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "str.h"

/* libFuzzer calls these. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                              \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

/* --- an input as a row of values; what is missing at its end is zero or empty --- */

static inline uint8_t fuzz_byte(struct rb_span *input)
{
    if (!input->len)
        return 0;
    input->len--;
    return (uint8_t)*input->at++;
}

static inline struct rb_span fuzz_take(struct rb_span *input, size_t len)
{
    struct rb_span part = {input->at, len < input->len ? len : input->len};
    if (part.len)
        input->at += part.len;
    input->len -= part.len;
    return part;
}

/* Up to a byte `end`, which is dropped. */
static inline struct rb_span fuzz_until(struct rb_span *input, char end)
{
    const char *at = input->len ? memchr(input->at, end, input->len) : NULL;
    struct rb_span part = fuzz_take(input, at ? (size_t)(at - input->at) : input->len);
    fuzz_take(input, at ? 1 : 0);
    return part;
}

/* --- oracles --- */

static inline bool fuzz_is_utf8(struct rb_span text)
{
    while (text.len) {
        uint32_t character;
        size_t len = rb_utf8_next(text, &character);
        if (!len)
            return false;
        text.at += len;
        text.len -= len;
    }
    return true;
}

static inline bool fuzz_inside(struct rb_span part, struct rb_span whole)
{
    return part.len == 0 ||
           (part.at >= whole.at && part.len <= whole.len && (size_t)(part.at - whole.at) <= whole.len - part.len);
}

static inline bool fuzz_has(struct rb_span text, struct rb_span needle)
{
    return needle.len == 0 || (text.len && memmem(text.at, text.len, needle.at, needle.len));
}

#endif
