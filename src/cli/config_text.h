/* Config text: what libConfuse 3.3 gets wrong, put right before it reads: it counts a comment line as three, and takes
 * a section that is never closed. */
#ifndef RB_CONFIG_TEXT_H
#define RB_CONFIG_TEXT_H

#include "str.h"

/* Overwrites comments with blanks, keeping line ends. RB_INVALID, with a sentence that begins with `path`: a zero byte,
 * or a comment, quote or section that is not closed. */
enum rb_status rb_config_text_clean(struct rb_str *text, const char *path, struct rb_error *err);

#endif
