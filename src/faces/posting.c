#include "posting.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "account.h"

enum { DEFAULT_WAIT_MS = 10000, MAX_WAIT_S = 60 };

struct posting {
    struct rb_post_wait wait;
    struct rb_face_context *context;
    struct rb_http_request *request;
    const struct rb_posting_answers *answers;
};

int64_t rb_posting_wait_ms(const struct rb_http_request *request)
{
    struct rb_span rest = rb_http_header(request, "Prefer");
    int64_t wait_ms = DEFAULT_WAIT_MS;
    while (rest.len) {
        const char *comma = memchr(rest.at, ',', rest.len);
        struct rb_span item = {rest.at, comma ? (size_t)(comma - rest.at) : rest.len};
        rest.at += item.len + (comma ? 1 : 0);
        rest.len -= item.len + (comma ? 1 : 0);
        item = rb_http_trim(item);
        int64_t seconds;
        if (rb_span_is_nocase(item, "respond-async"))
            wait_ms = 0;
        else if (item.len > 5 && strncasecmp(item.at, "wait=", 5) == 0 &&
                 rb_span_to_i64((struct rb_span){item.at + 5, item.len - 5}, 0, INT64_MAX, &seconds) == RB_OK)
            wait_ms = (seconds > MAX_WAIT_S ? MAX_WAIT_S : seconds) * 1000;
    }
    return wait_ms;
}

static void on_done(struct rb_post_wait *wait, enum rb_status committed, const struct rb_post_view *view)
{
    struct posting *posting = RB_CONTAINER(wait, struct posting, wait);
    posting->answers->answer(posting->request, committed, view);
    free(posting);
}

/* The caller has gone, or the server stops. A row on disk will be sent, so it is answered as what it is; one that is
 * not there yet gets no answer at all: nothing could be promised. */
static void on_gone(struct rb_http_request *request, void *arg)
{
    struct posting *posting = arg;
    struct rb_post_view view;
    struct rb_face_context *context = posting->context;
    rb_outbox_wait_cancel(&posting->wait);
    if (!rb_store_dirty(rb_tick_store(context->tick)) &&
        rb_outbox_view(context->broker->outbox, posting->wait.id, &view) == RB_OK)
        posting->answers->answer(request, RB_OK, &view);
    else
        rb_http_drop(request);
    free(posting);
}

struct rb_post rb_posting_post(const struct rb_http_request *request, struct rb_account *account,
                               const struct rb_message_body *message)
{
    const struct rb_door *door = rb_http_door(request);
    return (struct rb_post){
        .account = account,
        .topic = rb_str_span(&message->topic),
        .payload = message->payload,
        .metadata = message->metadata,
        .ttl_s = message->ttl_s,
        .key = rb_http_header(request, "Idempotency-Key"),
        .door = door->name,
        .uid = rb_http_peer(request)->uid,
    };
}

void rb_posting_start(struct rb_face_context *context, struct rb_http_request *request, struct rb_account *account,
                      const struct rb_message_body *message, int64_t expires_wall_ms,
                      const struct rb_posting_answers *answers)
{
    struct rb_post post = rb_posting_post(request, account, message);
    post.expires_wall_ms = expires_wall_ms;
    if (post.key.len > RB_POSTING_KEY_MAX) {
        answers->refuse(request, RB_INVALID, "An Idempotency-Key has at most 255 bytes.");
        return;
    }
    const struct rb_door *door = rb_http_door(request);
    if (!rb_door_may_post(door, post.topic)) {
        answers->refuse(request, RB_DENIED, "This door does not allow posts to that topic.");
        return;
    }
    struct posting *posting = calloc(1, sizeof *posting);
    struct rb_error err = {.text = RB_MEMORY_IS_SHORT};
    enum rb_status status = RB_NO_MEMORY;
    int64_t id = 0;
    bool repeated;
    if (posting) {
        rb_tick_lead(context->tick);
        status = rb_outbox_add(context->broker->outbox, &post, &id, &repeated, &err);
    }
    if (status != RB_OK) {
        free(posting);
        answers->refuse(request, status, err.text);
        return;
    }
    posting->context = context;
    posting->request = request;
    posting->answers = answers;
    posting->wait.done = on_done;
    rb_http_on_gone(request, on_gone, posting);
    rb_outbox_wait(context->broker->outbox, id, rb_posting_wait_ms(request), &posting->wait);
}
