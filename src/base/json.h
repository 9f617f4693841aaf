/* JSON: small helpers over jansson for what is built and read as a tree. Payloads never pass through here: see
 * json_span. */
#ifndef RB_JSON_H
#define RB_JSON_H

#include <jansson.h>

#include "str.h"

/* Appends the tree's compact text. RB_NO_MEMORY when `tree` is NULL (a failed json_pack) or it cannot be printed. The
 * tree is released in any case. */
enum rb_status rb_json_print(struct rb_str *out, json_t *tree);

void rb_json_release(json_t **tree);
#define RB_CLEANUP_JSON __attribute__((cleanup(rb_json_release)))

#endif
