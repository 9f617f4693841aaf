/* Wire error: error bodies in the relay's shapes (wire contract, opening section): `{"detail": sentence}`, the 422 list
 * of {type, loc, msg, input}, and the 413 and 5xx objects. Status, keys, `type` and `loc` are the relay's, the
 * sentences ours. */
#ifndef RB_WIRE_ERROR_H
#define RB_WIRE_ERROR_H

#include "http.h"
#include "json_span.h"

void rb_wire_detail(struct rb_http_request *request, int status, const char *sentence);
/* 5xx: {"error": word, "message": sentence}, with Retry-After in seconds unless 0. */
void rb_wire_unavailable(struct rb_http_request *request, int status, const char *sentence, int retry_after_s);
/* 503: the caller may try again. */
void rb_wire_no_memory(struct rb_http_request *request);
/* For rb_face.problem. */
void rb_wire_problem(struct rb_http_request *request, int status, const char *word, const char *sentence);

/* A 422 in the making. */
struct rb_wire_issues {
    json_t *list;    /* NULL until the first */
    bool show_input; /* /auth/ never shows it: it may be a secret */
    bool no_memory;  /* nothing is known of the request: 503 */
};
/* `loc` is a "/"-separated path below "body" or "query"; parts of digits are indexes: "body/messages/3/topic". `input`
 * may be NULL. */
void rb_wire_issue(struct rb_wire_issues *issues, const char *type, const char *loc, const char *sentence,
                   const struct rb_json_value *input);
/* Answers 422 when there are issues, releasing them, or 503 where memory was short; false: neither. */
bool rb_wire_refuse(struct rb_http_request *request, struct rb_wire_issues *issues);

/* The request's body as checked JSON. False: it was answered (422 json_invalid; 400 for bad UTF-8 or very deep nesting;
 * 422 for a lone surrogate: O8). */
bool rb_wire_body(struct rb_http_request *request, bool show_input, struct rb_json_value *ret);

#endif
