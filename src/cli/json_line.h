/* JSON line: checked JSON text as one line that is fit for terminals and programs alike. */
#ifndef RB_JSON_LINE_H
#define RB_JSON_LINE_H

#include "json_span.h"

/* Appends the value's own bytes without the white space between tokens; DEL, C1 and bidi controls inside strings are
 * written as \u escapes, which mean the same (D8). */
void rb_json_line(struct rb_str *out, struct rb_json_value value);

#endif
