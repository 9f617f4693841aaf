/* Problem: error bodies of our own faces (RFC 9457). */
#ifndef RB_PROBLEM_H
#define RB_PROBLEM_H

#include "http.h"

/* application/problem+json {type: "about:blank"|"urn:relay-broker:<word>", title, status, detail}. */
void rb_http_answer_problem(struct rb_http_request *request, int status, const char *word, const char *sentence);

#endif
