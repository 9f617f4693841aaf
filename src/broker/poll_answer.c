#include "poll_private.h"

#include "relay_id.h"

/* Answers from what is stored here and what was read from the relay, capped in messages and bytes (I11). */

enum { ROOM_WAIT_MS = 200 };

struct answer {
    struct rb_poll_state *state;
    struct rb_poll_item items[RB_POLL_MESSAGES_MAX];
    size_t count, bytes;
    bool more;
    struct rb_batch *batches[RB_POLL_TOPICS_MAX];
    size_t taken[RB_POLL_TOPICS_MAX];
};

/* I11: at least one message is given, whatever its size. */
static bool give(struct answer *answer, const struct rb_poll_item *item)
{
    size_t bytes = item->payload.len + item->metadata.len;
    if (answer->count == RB_POLL_MESSAGES_MAX || (answer->count && answer->bytes + bytes > answer->state->max_bytes)) {
        answer->more = true;
        return false;
    }
    answer->bytes += bytes;
    answer->items[answer->count] = *item;
    answer->items[answer->count++].from_catch_up = answer->state->had_since && !answer->state->parked;
    return true;
}

static struct rb_span slice(const struct rb_str *bytes, size_t begin, size_t end)
{
    return (struct rb_span){bytes->at + begin, end - begin};
}

static void give_fetched(struct answer *answer)
{
    struct rb_poll_state *state = answer->state;
    answer->more |= state->more_fetched;
    for (size_t i = 0; i < state->fetched_count; i++) {
        const struct rb_poll_fetched *at = &state->fetched[i];
        struct rb_poll_item item = {
            .topic = rb_span_of(state->entries[at->entry].topic->name),
            .message_id = slice(&state->fetched_bytes, at->begin, at->message_id),
            .timestamp = slice(&state->fetched_bytes, at->message_id, at->timestamp),
            .payload = slice(&state->fetched_bytes, at->timestamp, at->payload),
            .metadata = slice(&state->fetched_bytes, at->payload, at->metadata),
        };
        if (!give(answer, &item))
            return;
    }
}

/* It came to be stored here after the relay had been asked, but does not follow what the caller named. */
static bool is_old(const struct rb_poll_entry *entry, struct rb_span message_id)
{
    struct rb_stream_id named, id;
    return entry->named && rb_relay_id_shape(rb_span_of(entry->named), &named) == RB_ID_STREAM &&
           rb_relay_id_shape(message_id, &id) == RB_ID_STREAM && rb_stream_id_compare(id, named) <= 0;
}

/* Up to `share` messages of an entry's batch; false when the answer is full. */
static bool give_stored(struct answer *answer, size_t i, size_t share)
{
    struct rb_batch *batch = answer->batches[i];
    for (; batch && share > 0 && answer->taken[i] < batch->count; share--) {
        const struct rb_batch_message *message = &batch->messages[answer->taken[i]];
        struct rb_poll_item item = {
            .topic = rb_span_of(answer->state->entries[i].topic->name),
            .message_id = message->message_id,
            .timestamp = message->timestamp,
            .payload = message->payload,
            .metadata = message->metadata,
        };
        if (!is_old(&answer->state->entries[i], message->message_id) && !give(answer, &item))
            return false;
        answer->taken[i]++;
    }
    return true;
}

static enum rb_status read_batches(struct answer *answer)
{
    struct rb_poll_state *state = answer->state;
    for (size_t i = 0; i < state->count; i++) {
        struct rb_poll_entry *entry = &state->entries[i];
        if (entry->from_relay || entry->since || entry->topic->head <= entry->after)
            continue;
        answer->batches[i] = rb_batch_get(state->sessions, entry->topic, entry->after);
        if (!answer->batches[i])
            return RB_UNAVAILABLE;
        answer->more |= answer->batches[i]->more;
    }
    return RB_OK;
}

/* Each topic gets its share first, then what is left goes round; who is first changes from poll to poll. */
static void give_all_stored(struct answer *answer)
{
    size_t count = answer->state->count, turn = answer->state->sessions->turn++;
    size_t share = RB_POLL_MESSAGES_MAX / count;
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++)
            if (!give_stored(answer, (turn + i) % count, round == 0 ? share : RB_POLL_MESSAGES_MAX))
                return;
    }
}

static void remember_handed(struct answer *answer)
{
    struct rb_poll_state *state = answer->state;
    for (size_t i = 0; state->session && i < state->count; i++) {
        struct rb_place *place = rb_place_find(state->session, state->entries[i].topic->id);
        if (!place || state->entries[i].from_relay)
            continue;
        int64_t n = state->entries[i].after;
        if (answer->taken[i])
            n = answer->batches[i]->messages[answer->taken[i] - 1].n;
        rb_place_hand_out(place, state->connection, n);
    }
}

bool rb_poll_is_anchored(const struct rb_poll_state *state)
{
    for (size_t i = 0; i < state->count; i++)
        if (!rb_inbox_anchored(state->sessions->inbox, state->entries[i].topic))
            return false;
    return true;
}

static void finish_empty(struct rb_poll_state *state)
{
    if (rb_poll_is_anchored(state))
        rb_poll_finish(state, NULL, 0, false);
    else
        rb_poll_fail(state, RB_UNAVAILABLE,
                     "The relay has not said yet where one of these topics ends, so nothing of it can be promised. Try "
                     "again.");
}

bool rb_poll_try_answer(struct rb_poll_state *state, bool empty_too)
{
    bool there = state->fetched_count > 0;
    for (size_t i = 0; i < state->count; i++)
        there |= !state->entries[i].since && state->entries[i].topic->head > state->entries[i].after;
    if (there && state->poll->has_room && !state->poll->has_room(state->poll)) {
        there = false;
        if (!empty_too)
            rb_timer_set_in(state->sessions->ports->clock, &state->retry, ROOM_WAIT_MS);
    }
    if (!there && !empty_too)
        return false;
    struct answer *answer = there ? calloc(1, sizeof *answer) : NULL;
    if (!answer) {
        if (there)
            rb_poll_fail(state, RB_NO_MEMORY, "There is not enough memory.");
        else
            finish_empty(state);
        return true;
    }
    answer->state = state;
    enum rb_status status = read_batches(answer);
    if (status == RB_OK) {
        give_fetched(answer);
        give_all_stored(answer);
        bool given = answer->count > 0;
        if (given || empty_too) {
            remember_handed(answer);
            rb_poll_finish(state, answer->items, answer->count, answer->more);
        }
        there = given || empty_too;
    } else {
        rb_poll_fail(state, status, "The stored messages could not be read. Try again.");
    }
    for (size_t i = 0; i < RB_POLL_TOPICS_MAX; i++)
        rb_batch_release(answer->batches[i]);
    free(answer);
    return there;
}
