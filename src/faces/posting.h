/* Posting: one caller's post on its way through the outbox, from the handler to the answer: shared by the wire face and
 * /v1. */
#ifndef RB_POSTING_H
#define RB_POSTING_H

#include "face.h"
#include "message_body.h"
#include "outbox.h"

enum { RB_POSTING_KEY_MAX = 255 }; /* bytes of an Idempotency-Key */

/* How long the caller wants to wait (RFC 7240 Prefer: wait=N, respond-async), in milliseconds: default 10 s, at most 60
 * s. */
int64_t rb_posting_wait_ms(const struct rb_http_request *request);

/* The message as this caller posts it, under the request's Idempotency-Key. Spans are the message's and the request's. */
struct rb_post rb_posting_post(const struct rb_http_request *request, struct rb_account *account,
                               const struct rb_message_body *message);

/* Adds the message and answers through `answer` once its end is known or the wait is over; `committed` not RB_OK:
 * nothing is stored. When the outbox refuses the row, `refuse` answers at once. The request belongs to this module
 * until then. */
struct rb_posting_answers {
    void (*answer)(struct rb_http_request *request, enum rb_status committed, const struct rb_post_view *view);
    void (*refuse)(struct rb_http_request *request, enum rb_status status, const char *sentence);
};
void rb_posting_start(struct rb_face_context *context, struct rb_http_request *request, struct rb_account *account,
                      const struct rb_message_body *message, int64_t expires_wall_ms,
                      const struct rb_posting_answers *answers);

#endif
