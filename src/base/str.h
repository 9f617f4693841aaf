/* Str: bytes with a length. A span looks at somebody else's bytes; a str owns and grows its own.
 *
 * A str remembers a failed allocation: appending to a failed str does nothing, so a chain of appends needs one check,
 * `rb_str_failed`, at its end. The bytes are always followed by a NUL that `len` does not count. */
#ifndef RB_STR_H
#define RB_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

struct rb_span {
    const char *at; /* not NUL-terminated; may be NULL when len is 0 */
    size_t len;
};

struct rb_str {
    char *at; /* NULL until something was appended */
    size_t len;
    size_t room;
    bool failed;
};

#define RB_STR_INIT ((struct rb_str){0})
#define RB_SPAN(literal) ((struct rb_span){(literal), sizeof(literal) - 1})
/* clang-format off */
/* The same in a static table, where RB_SPAN is no constant. */
#define RB_SPAN_INIT(literal) {(literal), sizeof(literal) - 1}
/* clang-format on */

struct rb_span rb_span_of(const char *text); /* NULL gives an empty span */
struct rb_span rb_str_span(const struct rb_str *str);
bool rb_span_equal(struct rb_span a, struct rb_span b);
bool rb_span_is(struct rb_span span, const char *text);
bool rb_span_is_nocase(struct rb_span span, const char *text); /* ASCII only */
/* A NUL-terminated copy, to be freed with free(); NULL when out of memory or when the span holds a NUL. */
char *rb_span_dup(struct rb_span span);

/* Strict decimal: the whole span, digits only (an optional leading '-' for the signed form), no overflow, no leading
 * zeros but "0" itself. `*ret` is set only on RB_OK, otherwise RB_INVALID. */
enum rb_status rb_span_to_i64(struct rb_span span, int64_t min, int64_t max, int64_t *ret);

/* The value of a hex digit of either case, -1 for another character. */
int rb_hex_digit(char c);

/* The bytes of the character that a non-empty span begins with, and in `*ret` the character; 0, and `*ret` untouched,
 * if they are no valid UTF-8 (overlong forms, surrogates and what lies above U+10FFFF are not). */
size_t rb_utf8_next(struct rb_span text, uint32_t *ret);

/* So many more bytes can be appended without memory. False: there is none, the str has failed. */
bool rb_str_reserve(struct rb_str *str, size_t more);
void rb_str_append(struct rb_str *str, const void *bytes, size_t len);
void rb_str_add(struct rb_str *str, const char *text);
void rb_str_add_span(struct rb_str *str, struct rb_span span);
void rb_str_addf(struct rb_str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* C0, C1 and bidi controls, DEL and the byte order mark. */
bool rb_drives_terminal(uint32_t character);
/* Foreign text made fit for terminals and logs (hard case D8): C0, C1 and bidi controls and bytes that are no UTF-8 are
 * written as \\xNN or \\u{NNNN}. */
void rb_str_add_printable(struct rb_str *str, struct rb_span text);
/* Foreign text that is fit for them as it is. */
bool rb_span_is_printable(struct rb_span text);
bool rb_str_failed(const struct rb_str *str);
/* Empties it, keeps the memory and forgets a failure. */
void rb_str_reset(struct rb_str *str);
/* Hands the bytes to the caller (free()), leaving the str empty; NULL when it had failed or out of memory. */
char *rb_str_steal(struct rb_str *str);
void rb_str_free(struct rb_str *str);

#define RB_CLEANUP_STR __attribute__((cleanup(rb_str_free)))
/* For `RB_CLEANUP_FREE char *p`. */
void rb_free_pointer(void *pointer_to_pointer);
#define RB_CLEANUP_FREE __attribute__((cleanup(rb_free_pointer)))

#endif
