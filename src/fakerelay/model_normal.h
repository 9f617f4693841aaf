/* Normal: JSON as it comes back from the relay, which parses every text into numbers, strings and dictionaries and
 * prints it anew: `1e2` becomes `100.0`, NaN null, escapes characters, of duplicate keys the last value stands in
 * the first's place. */
#ifndef RB_MODEL_NORMAL_H
#define RB_MODEL_NORMAL_H

#include "json_span.h"

/* The relay's parser gives up beyond so many levels of containers, and beyond so many digits of an integer. */
enum { NORMAL_PARSE_LEVELS = 956, NORMAL_INTEGER_DIGITS = 4300 };

/* What the relay cannot print any more. */
struct normal {
    bool surrogate_value; /* a lone surrogate in a string */
    bool surrogate_key;   /* in a key */
    unsigned levels;      /* the deepest value's level: the outermost value is 1, and a scalar inside counts as well */
};

/* Appends `value`, part of checked text (lone surrogates may be in it), and adds to `*found` what was seen. */
void normal_value(struct rb_str *out, struct rb_json_value value, struct normal *found);

/* Checks a request's body. RB_JSON_FINE also with lone surrogates; RB_JSON_DEPTH also for an integer of too many
 * digits. */
enum rb_json_fault normal_check(struct rb_span body, struct rb_json_value *ret, size_t *ret_at);

#endif
