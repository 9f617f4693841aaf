#include "poll_private.h"

#include "relay_id.h"
#include "stamp.h"

enum { RETRY_MS = 1000 };

/* What a `since` names and is not here is read from the relay and handed on without being stored. */

static bool copy_fetched(struct rb_poll_state *state, size_t entry, const struct rb_incoming *message)
{
    struct rb_poll_fetched *grown = realloc(state->fetched, (state->fetched_count + 1) * sizeof *grown);
    if (!grown)
        return false;
    state->fetched = grown;
    struct rb_str *bytes = &state->fetched_bytes;
    struct rb_poll_fetched at = {.entry = entry, .begin = bytes->len};
    unsigned char stamp[RB_STAMP_BYTES];
    bool stamped;
    rb_str_add_span(bytes, message->message_id);
    at.message_id = bytes->len;
    rb_str_add_span(bytes, message->timestamp);
    at.timestamp = bytes->len;
    rb_str_add_span(bytes, message->payload);
    at.payload = bytes->len;
    if (rb_stamp_take_off(message->metadata, bytes, stamp, &stamped) != RB_OK || rb_str_failed(bytes))
        return false;
    at.metadata = bytes->len;
    state->fetched[state->fetched_count++] = at;
    return true;
}

static bool take(struct rb_poll_state *state, struct rb_poll_entry *entry, const struct rb_incoming *messages,
                 size_t count, bool more)
{
    size_t index = (size_t)(entry - state->entries), before = state->fetched_count;
    for (size_t i = 0; i < count; i++) {
        if (messages[i].from_waiter || !rb_span_is(messages[i].topic, entry->topic->name) ||
            rb_span_is(messages[i].message_id, entry->since))
            continue;
        if (state->fetched_count && state->fetched_bytes.len + messages[i].payload.len > state->max_bytes) {
            state->more_fetched = true;
            break;
        }
        if (!copy_fetched(state, index, &messages[i]))
            return false;
    }
    /* Cut before its first one: the next poll asks for it again, and until then nothing that is stored is given. */
    if (state->more_fetched && state->fetched_count == before)
        return true;
    state->more_fetched |= more;
    entry->from_relay = state->fetched_count > before;
    /* Nothing after it: what is stored later lies above what was stored here when the relay was asked. */
    entry->after = entry->head;
    entry->named = entry->since;
    entry->since = NULL;
    return true;
}

void rb_poll_fetch_again(struct rb_timer *timer)
{
    rb_poll_proceed(RB_CONTAINER(timer, struct rb_poll_state, retry));
}

/* A deleted topic's messages stay, but polls alone give them (contract §6). An id of another shape is an error to each
 * poll of a relay with Valkey (§5), and none of its messages. */
static bool polls_may_have_it(const struct rb_poll_entry *entry, const struct rb_answer *answer)
{
    struct rb_stream_id id;
    return answer->problem == RB_PROBLEM_NOT_FOUND && !entry->by_poll &&
           rb_relay_id_shape(rb_span_of(entry->since), &id) != RB_ID_OTHER;
}

/* A read that failed is tried again as long as the caller waits, who never repeats a poll by itself; at the end of its
 * time it hears that nothing came, as from a relay with nothing to give. */
static void fetched(struct rb_poll_fetch *fetch, const struct rb_answer *answer, const struct rb_incoming *messages,
                    size_t count, bool more)
{
    struct rb_poll_state *state = fetch->state;
    struct rb_poll_entry *entry = fetch->entry;
    rb_list_remove(&fetch->node);
    free(fetch);
    if (!state)
        return;
    state->fetch = NULL;
    if (answer->problem == RB_PROBLEM_TOO_LONG && entry->limit > 1) {
        entry->limit /= 4;
        rb_poll_proceed(state);
        return;
    }
    if (polls_may_have_it(entry, answer)) {
        entry->by_poll = true;
        rb_poll_proceed(state);
        return;
    }
    bool none = answer->problem == RB_PROBLEM_NOT_FOUND;
    bool failed = !none && (answer->end != RB_END_EXECUTED || answer->problem != RB_PROBLEM_NONE);
    if (failed && state->late)
        rb_poll_proceed(state);
    else if (failed)
        rb_timer_set_in(state->sessions->ports->clock, &state->retry, RETRY_MS);
    else if (!take(state, entry, messages, none ? 0 : count, more))
        rb_poll_fail(state, RB_NO_MEMORY, "There is not enough memory.");
    else
        rb_poll_proceed(state);
}

static void page_fetched(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                         struct rb_span next_cursor)
{
    struct rb_poll_fetch *fetch = arg;
    fetched(fetch, answer, messages, count, fetch->state && count >= (size_t)fetch->entry->limit);
}

static void poll_fetched(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                         bool has_more)
{
    fetched(arg, answer, messages, count, has_more);
}

struct rb_poll_entry *rb_poll_to_fetch(struct rb_poll_state *state)
{
    if (state->fetched_count >= RB_POLL_MESSAGES_MAX || state->more_fetched)
        return NULL;
    for (size_t i = 0; i < state->count; i++) {
        struct rb_poll_entry *entry = &state->entries[(state->first + i) % state->count];
        if (entry->since)
            return entry;
    }
    return NULL;
}

/* A topic without a start has to get one first: what is published between the relay's answer and the start would be
 * lost. */
void rb_poll_start_fetch(struct rb_poll_state *state, struct rb_poll_entry *entry)
{
    if (!rb_inbox_anchored(state->sessions->inbox, entry->topic)) {
        if (!rb_list_linked(&entry->watch.node))
            rb_inbox_watch(state->sessions->inbox, entry->topic, INT64_MAX, &entry->watch);
        return;
    }
    struct rb_poll_fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch) {
        rb_poll_fail(state, RB_NO_MEMORY, "There is not enough memory.");
        return;
    }
    fetch->state = state;
    fetch->entry = entry;
    rb_list_init(&fetch->node);
    rb_list_push(&state->sessions->fetches, &fetch->node);
    entry->head = entry->topic->head;
    state->fetch = fetch;
    int64_t uid = state->poll->uid;
    int64_t left = state->ends_ms - rb_clock_now_ms(state->sessions->ports->clock), wait_ms = left > 1 ? left : 1;
    struct rb_span topic = rb_span_of(entry->topic->name), since = rb_span_of(entry->since);
    enum rb_status status =
        entry->by_poll
            ? rb_account_poll(state->account, uid, topic, since, wait_ms, poll_fetched, fetch)
            : rb_account_page(state->account, uid, topic, false, entry->limit, since, wait_ms, page_fetched, fetch);
    if (status != RB_OK) {
        state->fetch = NULL;
        rb_list_remove(&fetch->node);
        free(fetch);
        rb_poll_fail(state, RB_UNAVAILABLE, "The relay could not be asked. Try again.");
    }
}
