#include "model_private.h"

void message_free(struct message *message)
{
    if (!message)
        return;
    free(message->payload);
    free(message->metadata);
    free(message);
}

const struct message *stream_at(const struct topic *topic, size_t index)
{
    return topic->messages[(topic->first + index) % topic->room];
}

static enum rb_status stream_grow(struct topic *topic)
{
    size_t room = topic->room ? topic->room * 2 : 16;
    struct message **messages = calloc(room, sizeof(struct message *));
    if (!messages)
        return RB_NO_MEMORY;
    for (size_t i = 0; i < topic->count; i++)
        messages[i] = topic->messages[(topic->first + i) % topic->room];
    free(topic->messages);
    topic->messages = messages;
    topic->room = room;
    topic->first = 0;
    return RB_OK;
}

static void drop_oldest(struct topic *topic)
{
    message_free(topic->messages[topic->first]);
    topic->first = (topic->first + 1) % topic->room;
    topic->count--;
}

/* Valkey: never below the last one, so that a clock set back counts on in its last millisecond. */
static void stamp(struct rb_model *model, struct topic *topic, struct message *message)
{
    message->wall_ms = rb_clock_wall_ms(model->clock);
    if (model->config.flavour == RB_FLAVOUR_MEMORY) {
        char hex[13];
        rb_random_hex(model->random, 6, hex);
        snprintf(message->id, sizeof message->id, "msg_%s", hex);
        return;
    }
    uint64_t ms = (uint64_t)message->wall_ms;
    bool later = ms > topic->last_ms;
    message->ms = topic->last_ms = later ? ms : topic->last_ms;
    message->seq = topic->last_seq = later ? 0 : topic->last_seq + 1;
    snprintf(message->id, sizeof message->id, "%llu-%llu", (unsigned long long)message->ms,
             (unsigned long long)message->seq);
}

enum rb_status stream_append(struct rb_model *model, struct topic *topic, struct message *message)
{
    if (topic->count == topic->room && stream_grow(topic) != RB_OK) {
        message_free(message);
        return RB_NO_MEMORY;
    }
    stamp(model, topic, message);
    topic->messages[(topic->first + topic->count) % topic->room] = message;
    topic->count++;
    while (topic->count > model->config.kept_messages)
        drop_oldest(topic);
    return RB_OK;
}

void stream_clear(struct topic *topic)
{
    while (topic->count)
        drop_oldest(topic);
    free(topic->messages);
    topic->messages = NULL;
    topic->room = topic->first = 0;
    topic->last_ms = topic->last_seq = 0;
}

static bool number(struct rb_span text, uint64_t *ret)
{
    uint64_t value = 0;
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(text.at[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    *ret = value;
    return true;
}

/* "<ms>-<seq>" or "<ms>", where the missing half is `seq`. */
static bool parse_id(struct rb_span id, uint64_t seq, uint64_t *ret_ms, uint64_t *ret_seq)
{
    const char *dash = memchr(id.at, '-', id.len);
    *ret_seq = seq;
    if (!dash)
        return number(id, ret_ms);
    struct rb_span ms = {id.at, (size_t)(dash - id.at)};
    return number(ms, ret_ms) && number((struct rb_span){dash + 1, id.len - ms.len - 1}, ret_seq);
}

static bool is_before(const struct message *message, uint64_t ms, uint64_t seq)
{
    return message->ms != ms ? message->ms < ms : message->seq < seq;
}

/* The first message that is not before the id. */
static size_t lower_bound(const struct topic *topic, uint64_t ms, uint64_t seq)
{
    size_t low = 0, high = topic->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(stream_at(topic, middle), ms, seq))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool seek_valkey(const struct topic *topic, struct rb_span cursor, bool newer, size_t *ret)
{
    uint64_t ms = 0, seq = 0;
    if (!parse_id(cursor, newer ? 0 : UINT64_MAX, &ms, &seq))
        return false;
    /* There is no id after the greatest, and none before the least. */
    if (newer ? ms == UINT64_MAX && seq == UINT64_MAX : ms == 0 && seq == 0)
        return false;
    size_t at = topic ? lower_bound(topic, ms, seq) : 0;
    bool found = topic && at < topic->count && stream_at(topic, at)->ms == ms && stream_at(topic, at)->seq == seq;
    *ret = newer ? at + found : at - 1;
    return true;
}

bool stream_seek(const struct rb_model *model, const struct topic *topic, struct rb_span cursor, bool newer,
                 size_t *ret)
{
    size_t count = topic ? topic->count : 0;
    if (cursor.len == 0) {
        *ret = newer ? 0 : count - 1;
        return true;
    }
    if (model->config.flavour == RB_FLAVOUR_VALKEY)
        return seek_valkey(topic, cursor, newer, ret);
    *ret = newer ? 0 : count - 1; /* an unknown id is no cursor */
    for (size_t i = count; i-- > 0;) {
        if (rb_span_is(cursor, stream_at(topic, i)->id)) {
            *ret = newer ? i + 1 : i - 1;
            break;
        }
    }
    return true;
}
