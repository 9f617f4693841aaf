/* Message body: a message as callers send it, on the wire face and on /v1 alike: {topic, payload, ttl?, metadata?},
 * checked by the relay's rules (wire contract §4) and by O8, cut into spans, never parsed and printed again. */
#ifndef RB_MESSAGE_BODY_H
#define RB_MESSAGE_BODY_H

#include "json_span.h"
#include "wire_error.h"

struct rb_message_body {
    struct rb_str topic;     /* unescaped; freed with rb_message_body_free */
    struct rb_span payload;  /* in the request's body */
    struct rb_span metadata; /* in the request's body, or empty */
    int64_t ttl_s;           /* 0: none */
};

/* Of the deepest value, scalars counted: one more, and every poll that reads the message is a 500 at the relay. */
enum { RB_PAYLOAD_LEVELS = 255 };

/* Reads one; what is wrong is added to `issues` under `loc` ("body" or "body/messages/3"). False: something was. */
bool rb_message_body_read(struct rb_json_value value, const char *loc, struct rb_wire_issues *issues,
                          struct rb_message_body *ret);
void rb_message_body_free(struct rb_message_body *message);

/* Checks a topic name in a string value and unescapes it; adds an issue under `loc` when it is not one. */
bool rb_topic_value_read(struct rb_json_value value, const char *loc, struct rb_wire_issues *issues,
                         struct rb_str *ret);

#endif
