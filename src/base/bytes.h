/* Bytes: numbers of 64 bits in files and in what is signed or sealed. */
#ifndef RB_BYTES_H
#define RB_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

enum { RB_NUMBER_BYTES = 8 };

static inline void rb_put_le64(void *at, uint64_t number)
{
    number = htole64(number);
    memcpy(at, &number, RB_NUMBER_BYTES);
}

static inline uint64_t rb_get_le64(const void *at)
{
    uint64_t number;
    memcpy(&number, at, RB_NUMBER_BYTES);
    return le64toh(number);
}

static inline void rb_put_be64(void *at, uint64_t number)
{
    number = htobe64(number);
    memcpy(at, &number, RB_NUMBER_BYTES);
}

static inline uint64_t rb_get_be64(const void *at)
{
    uint64_t number;
    memcpy(&number, at, RB_NUMBER_BYTES);
    return be64toh(number);
}

#endif
