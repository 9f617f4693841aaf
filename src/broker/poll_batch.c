#include "session_private.h"

void rb_batch_release(struct rb_batch *batch)
{
    if (!batch || --batch->holders > 0)
        return;
    rb_str_free(&batch->bytes);
    free(batch);
}

void rb_batches_clear(struct rb_sessions *sessions)
{
    for (size_t i = 0; i < RB_BATCHES_MAX; i++) {
        rb_batch_release(sessions->batches[i]);
        sessions->batches[i] = NULL;
    }
}

static void add(struct rb_str *bytes, struct rb_span *span)
{
    size_t at = bytes->len;
    rb_str_add_span(bytes, *span);
    /* The str may move while it grows: an offset until all is there. */
    span->at = (const char *)at;
}

static bool take(void *arg, const struct rb_inbox_message *message)
{
    struct rb_batch *batch = arg;
    size_t bytes = message->payload.len + message->metadata.len;
    if (batch->count == RB_POLL_MESSAGES_MAX || (batch->count && batch->bytes.len + bytes > RB_BATCH_BYTES)) {
        batch->more = true;
        return false;
    }
    struct rb_batch_message *taken = &batch->messages[batch->count++];
    *taken = (struct rb_batch_message){message->n, message->message_id, message->timestamp, message->payload,
                                       message->metadata};
    add(&batch->bytes, &taken->message_id);
    add(&batch->bytes, &taken->timestamp);
    add(&batch->bytes, &taken->payload);
    add(&batch->bytes, &taken->metadata);
    return !rb_str_failed(&batch->bytes);
}

static void settle(const struct rb_str *bytes, struct rb_span *span)
{
    span->at = bytes->at + (size_t)span->at;
}

static struct rb_batch *read_batch(struct rb_sessions *sessions, struct rb_topic *topic, int64_t after)
{
    struct rb_batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->holders = 1;
    batch->topic = topic->id;
    batch->after = after;
    batch->head = topic->head;
    rb_str_add(&batch->bytes, "");
    enum rb_status status = rb_inbox_read(sessions->inbox, topic, after, take, batch);
    if (status != RB_OK || rb_str_failed(&batch->bytes)) {
        rb_batch_release(batch);
        return NULL;
    }
    for (size_t i = 0; i < batch->count; i++) {
        settle(&batch->bytes, &batch->messages[i].message_id);
        settle(&batch->bytes, &batch->messages[i].timestamp);
        settle(&batch->bytes, &batch->messages[i].payload);
        settle(&batch->bytes, &batch->messages[i].metadata);
    }
    return batch;
}

static void keep(struct rb_sessions *sessions, struct rb_batch *batch)
{
    size_t bytes = batch->bytes.len;
    for (size_t i = 0; i < RB_BATCHES_MAX; i++)
        bytes += sessions->batches[i] ? sessions->batches[i]->bytes.len : 0;
    if (bytes > RB_BATCHES_BYTES)
        rb_batches_clear(sessions);
    size_t i = sessions->next_batch++ % RB_BATCHES_MAX;
    rb_batch_release(sessions->batches[i]);
    sessions->batches[i] = batch;
    batch->holders++;
}

struct rb_batch *rb_batch_get(struct rb_sessions *sessions, struct rb_topic *topic, int64_t after)
{
    for (size_t i = 0; i < RB_BATCHES_MAX; i++) {
        struct rb_batch *batch = sessions->batches[i];
        if (batch && batch->topic == topic->id && batch->after == after && batch->head == topic->head) {
            batch->holders++;
            return batch;
        }
    }
    struct rb_batch *batch = read_batch(sessions, topic, after);
    if (batch)
        keep(sessions, batch);
    return batch;
}
