/* JSON span: finds values in JSON text without taking the text apart, so that a payload's own bytes can be carried on
 * unchanged (hard case O8): numbers of any size, key order, duplicate keys and NaN survive because nothing is parsed
 * into anything.
 *
 * The grammar is the relay's (Python's json): RFC 8259, and also NaN, Infinity and -Infinity as values. Insignificant
 * white space is space, tab, CR, LF. Text must be valid UTF-8 without a byte order mark. A string may hold any escape
 * of RFC 8259; raw control characters below 0x20 inside strings are refused. A lone surrogate escape is refused, as
 * is nesting of more than `max_depth` levels (the outermost object or array is level 1). Text nested deeper than
 * RB_JSON_LEVELS is refused for its depth at that point, whatever follows; a larger `max_depth` means RB_JSON_LEVELS.
 *
 * Scanning is iterative or bounded by max_depth, allocates nothing, and reads each byte a bounded number of times. */
#ifndef RB_JSON_SPAN_H
#define RB_JSON_SPAN_H

#include <stdbool.h>
#include <stddef.h>

#include "str.h"

enum { RB_JSON_LEVELS = 1024 };

enum rb_json_kind {
    RB_JSON_NULL,
    RB_JSON_FALSE,
    RB_JSON_TRUE,
    RB_JSON_NUMBER, /* also NaN, Infinity, -Infinity */
    RB_JSON_STRING,
    RB_JSON_ARRAY,
    RB_JSON_OBJECT,
};

enum rb_json_fault {
    RB_JSON_FINE = 0,
    RB_JSON_SYNTAX,
    RB_JSON_UTF8,
    RB_JSON_SURROGATE, /* well-formed otherwise, but with a lone surrogate escape */
    RB_JSON_DEPTH,     /* nested deeper than max_depth */
};

/* A value inside checked text: its first byte to its last, without surrounding white space. */
struct rb_json_value {
    enum rb_json_kind kind;
    struct rb_span text;
};

/* Checks the whole text as one JSON value and returns its span. On a fault `*ret_at` (may be NULL) is the byte offset
 * where it was seen and `*ret` (may be NULL) is untouched. Syntax and UTF-8 faults win over surrogate and depth faults;
 * else the first in the text is told. */
enum rb_json_fault rb_json_check(struct rb_span text, unsigned max_depth, struct rb_json_value *ret, size_t *ret_at);

/* The level of the deepest value in checked text, scalars counted: {} is 1, {"a":1} is 2. */
unsigned rb_json_levels(struct rb_json_value value);

/* Walks the members of an object, or the elements of an array, of checked text:
 *     struct rb_json_walk walk = rb_json_walk(object);
 *     struct rb_json_value key, value;
 *     while (rb_json_next(&walk, &key, &value)) …
 * For an array `key` is untouched; either pointer may be NULL. A value that is neither gives no elements. */
struct rb_json_walk {
    enum rb_json_kind kind;
    const char *at, *end;
};
struct rb_json_walk rb_json_walk(struct rb_json_value container);
bool rb_json_next(struct rb_json_walk *walk, struct rb_json_value *ret_key, struct rb_json_value *ret_value);

/* The member of that name (compared after unescaping); of duplicates the last, as Python does. False: none, or no
 * object. */
bool rb_json_member(struct rb_json_value object, const char *name, struct rb_json_value *ret);

/* The string's characters, unescaped, appended to `out` as UTF-8 (U+0000 as a NUL byte). RB_INVALID if not a string,
 * RB_NO_MEMORY if `out` has failed. */
enum rb_status rb_json_string(struct rb_json_value string, struct rb_str *out);
/* True when the value is a string with exactly these characters. */
bool rb_json_is(struct rb_json_value value, const char *text);
/* An integer literal, or a float literal without fraction like 30.0 or 3e1 (Python's lax rule for int fields), in
 * [min, max]; else RB_INVALID. Exact: nothing is rounded. `*ret` is set only on RB_OK. */
enum rb_status rb_json_integer(struct rb_json_value value, int64_t min, int64_t max, int64_t *ret);

/* Appends `text` as a JSON string with its quotes; bytes that are no valid UTF-8 become U+FFFD. */
void rb_json_quote(struct rb_str *out, struct rb_span text);

#endif
