#include "session_private.h"

#include "inbox_stamp.h"
#include "relay_id.h"

/* A wire poll: its places are found and written when it comes; after that commit it is answered with what is stored, or it
 * waits. What a `since` names and is not here is read from the relay and handed on without being stored. */

struct poll_state;

struct entry {
    struct rb_inbox_watch watch;
    struct poll_state *state;
    struct rb_topic *topic;
    char *since;       /* still to be read from the relay after this id; NULL: nothing */
    int64_t after;     /* what is stored here is given from here on */
    int64_t head;      /* the topic's when the relay was asked */
    int limit;         /* of a page from the relay */
    bool from_relay;   /* it gave something: the inbox goes on with the next poll */
};

/* One page asked of the relay for a poll. It outlives the poll if the caller goes. */
struct fetch {
    struct rb_list node; /* in the sessions */
    struct poll_state *state;
    struct entry *entry;
};

struct fetched {
    size_t entry, begin, message_id, timestamp, payload, metadata; /* offsets of the ends */
};

struct poll_state {
    struct rb_list node, in_session;
    struct rb_sessions *sessions;
    struct rb_session *session;
    struct rb_account *account;
    struct rb_poll *poll;
    struct rb_effect effect;
    struct rb_timer timer;
    uint64_t connection;
    int64_t ends_ms;
    size_t max_bytes;
    bool effect_set, parked, had_since, more_fetched;
    struct fetch *fetch;
    struct fetched *fetched;
    size_t fetched_count;
    struct rb_str fetched_bytes;
    size_t count;
    struct entry entries[];
};

/* --- the end --- */

/* The state is no longer known to anything else. */
static void detach(struct poll_state *state)
{
    rb_list_remove(&state->node);
    rb_list_remove(&state->in_session);
    rb_timer_stop(state->sessions->ports->clock, &state->timer);
    if (state->effect_set)
        rb_tick_cancel(&state->effect);
    state->effect_set = false;
    for (size_t i = 0; i < state->count; i++)
        rb_inbox_unwatch(&state->entries[i].watch);
    if (state->fetch)
        state->fetch->state = NULL;
    state->fetch = NULL;
    state->poll->state = NULL;
}

static void free_state(struct poll_state *state)
{
    for (size_t i = 0; i < state->count; i++)
        free(state->entries[i].since);
    free(state->fetched);
    rb_str_free(&state->fetched_bytes);
    free(state);
}

static void finish(struct poll_state *state, const struct rb_poll_item *items, size_t count, bool has_more)
{
    struct rb_poll *poll = state->poll;
    detach(state);
    poll->done(poll, RB_OK, NULL, items, count, has_more);
    free_state(state);
}

static void fail(struct poll_state *state, enum rb_status status, const char *text)
{
    struct rb_poll *poll = state->poll;
    struct rb_error err;
    rb_fail(&err, status, "%s", text);
    detach(state);
    poll->done(poll, status, &err, NULL, 0, false);
    free_state(state);
}

/* --- the answer --- */

struct answer {
    struct poll_state *state;
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
    struct poll_state *state = answer->state;
    answer->more |= state->more_fetched;
    for (size_t i = 0; i < state->fetched_count; i++) {
        const struct fetched *at = &state->fetched[i];
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
        if (!give(answer, &item))
            return false;
        answer->taken[i]++;
    }
    return true;
}

static enum rb_status read_batches(struct answer *answer)
{
    struct poll_state *state = answer->state;
    for (size_t i = 0; i < state->count; i++) {
        struct entry *entry = &state->entries[i];
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
    struct poll_state *state = answer->state;
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

/* Answers if there is anything, or if `empty_too`. True: the state is gone. */
static bool try_answer(struct poll_state *state, bool empty_too)
{
    bool there = state->fetched_count > 0;
    for (size_t i = 0; i < state->count; i++)
        there |= !state->entries[i].since && state->entries[i].topic->head > state->entries[i].after;
    if (!there && !empty_too)
        return false;
    struct answer *answer = there ? calloc(1, sizeof *answer) : NULL;
    if (!answer) {
        if (there)
            fail(state, RB_NO_MEMORY, "out of memory");
        else
            finish(state, NULL, 0, false);
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
            finish(state, answer->items, answer->count, answer->more);
        }
        there = given || empty_too;
    } else {
        fail(state, status, "stored messages could not be read");
    }
    for (size_t i = 0; i < RB_POLL_TOPICS_MAX; i++)
        rb_batch_release(answer->batches[i]);
    free(answer);
    return there;
}

static void proceed(struct poll_state *state);

static void wake(struct rb_inbox_watch *watch)
{
    proceed(RB_CONTAINER(watch, struct entry, watch)->state);
}

static void park(struct poll_state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        struct entry *entry = &state->entries[i];
        if (!rb_list_linked(&entry->watch.node))
            rb_inbox_watch(state->sessions->inbox, entry->topic, entry->after, &entry->watch);
    }
    state->parked = true;
}

/* --- what is not here --- */

static bool copy_fetched(struct poll_state *state, size_t entry, const struct rb_incoming *message)
{
    struct fetched *grown = realloc(state->fetched, (state->fetched_count + 1) * sizeof *grown);
    if (!grown)
        return false;
    state->fetched = grown;
    struct rb_str *bytes = &state->fetched_bytes;
    struct fetched at = {.entry = entry, .begin = bytes->len};
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

static bool take_page(struct poll_state *state, struct entry *entry, const struct rb_incoming *messages, size_t count)
{
    size_t index = (size_t)(entry - state->entries), before = state->fetched_count;
    for (size_t i = 0; i < count; i++) {
        if (!rb_span_is(messages[i].topic, entry->topic->name) || rb_span_is(messages[i].message_id, entry->since))
            continue;
        if (state->fetched_count && state->fetched_bytes.len + messages[i].payload.len > state->max_bytes) {
            state->more_fetched = true;
            break;
        }
        if (!copy_fetched(state, index, &messages[i]))
            return false;
    }
    state->more_fetched |= count >= (size_t)entry->limit;
    entry->from_relay = state->fetched_count > before;
    /* Nothing after it: what is stored later lies above what was stored here when the relay was asked. */
    entry->after = entry->head;
    free(entry->since);
    entry->since = NULL;
    return true;
}

static void fetched(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                    struct rb_span next_cursor)
{
    struct fetch *fetch = arg;
    struct poll_state *state = fetch->state;
    struct entry *entry = fetch->entry;
    rb_list_remove(&fetch->node);
    free(fetch);
    if (!state)
        return;
    state->fetch = NULL;
    if (answer->problem == RB_PROBLEM_TOO_LONG && entry->limit > 1) {
        entry->limit /= 4;
        proceed(state);
        return;
    }
    bool none = answer->problem == RB_PROBLEM_NOT_FOUND;
    if (!none && (answer->end != RB_END_EXECUTED || answer->problem != RB_PROBLEM_NONE))
        fail(state, RB_UNAVAILABLE, "what follows that message id is not stored here, and the relay could not be asked");
    else if (!take_page(state, entry, messages, none ? 0 : count))
        fail(state, RB_NO_MEMORY, "out of memory");
    else
        proceed(state);
}

static struct entry *to_fetch(struct poll_state *state)
{
    if (state->fetched_count >= RB_POLL_MESSAGES_MAX || state->more_fetched)
        return NULL;
    for (size_t i = 0; i < state->count; i++)
        if (state->entries[i].since)
            return &state->entries[i];
    return NULL;
}

/* A topic without a start has to get one first: what is published between the relay's answer and the start would be lost. */
static void start_fetch(struct poll_state *state, struct entry *entry)
{
    if (!rb_inbox_anchored(state->sessions->inbox, entry->topic)) {
        if (!rb_list_linked(&entry->watch.node))
            rb_inbox_watch(state->sessions->inbox, entry->topic, INT64_MAX, &entry->watch);
        return;
    }
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch) {
        fail(state, RB_NO_MEMORY, "out of memory");
        return;
    }
    fetch->state = state;
    fetch->entry = entry;
    rb_list_init(&fetch->node);
    rb_list_push(&state->sessions->fetches, &fetch->node);
    entry->head = entry->topic->head;
    state->fetch = fetch;
    int64_t left = state->ends_ms - rb_clock_now_ms(state->sessions->ports->clock);
    if (rb_account_page(state->account, rb_span_of(entry->topic->name), false, entry->limit, rb_span_of(entry->since),
                        left > 1 ? left : 1, fetched, fetch) != RB_OK) {
        state->fetch = NULL;
        rb_list_remove(&fetch->node);
        free(fetch);
        fail(state, RB_UNAVAILABLE, "the relay could not be asked");
    }
}

/* --- a poll's way --- */

static void proceed(struct poll_state *state)
{
    if (state->fetch)
        return;
    struct entry *entry = to_fetch(state);
    if (entry)
        start_fetch(state, entry);
    else if (!try_answer(state, false))
        park(state);
}

static void begun(struct rb_effect *effect, enum rb_status committed)
{
    struct poll_state *state = RB_CONTAINER(effect, struct poll_state, effect);
    state->effect_set = false;
    if (committed != RB_OK)
        fail(state, RB_UNAVAILABLE, "the poll could not be noted: there is no room on the disk, or it failed");
    else
        proceed(state);
}

static void timed_out(struct rb_timer *timer)
{
    struct poll_state *state = RB_CONTAINER(timer, struct poll_state, timer);
    if (state->effect_set)
        rb_timer_set_in(state->sessions->ports->clock, timer, 1);
    else
        try_answer(state, true);
}

/* What a `since` names here: a relay's id, or an outbox id of the same account that was accepted (O10). Empty: nothing known. */
static struct rb_span since_id(struct poll_state *state, struct rb_span since)
{
    int64_t post;
    if (since.len == 0)
        return RB_SPAN(RB_BEGINNING);
    if (!rb_outbox_id_parse(since, &post))
        return since;
    struct rb_post_view view;
    bool ended = rb_outbox_view(state->sessions->outbox, post, &view) == RB_OK &&
                 view.account == rb_account_id(state->account) && view.state == RB_POST_ACCEPTED;
    return ended ? view.message_id : (struct rb_span){0};
}

static enum rb_status confirm(struct poll_state *state, struct entry *entry, int64_t n)
{
    if (state->session && !rb_place_set(state->sessions, state->session, entry->topic->id, n))
        return RB_NO_MEMORY;
    return RB_OK;
}

static enum rb_status resolve_since(struct poll_state *state, struct entry *entry, struct rb_span id)
{
    int64_t n;
    if (rb_inbox_find(state->sessions->inbox, entry->topic, id, &n) == RB_OK) {
        entry->after = n;
        return confirm(state, entry, n);
    }
    entry->since = rb_span_dup(id);
    if (!entry->since)
        return RB_NO_MEMORY;
    /* Nothing of what is stored here is confirmed by it. */
    return confirm(state, entry, entry->topic->tail);
}

/* Without a `since`: from what is confirmed, on the same connection after what it was handed. */
static enum rb_status resolve_place(struct poll_state *state, struct entry *entry)
{
    entry->after = entry->topic->head;
    if (!state->session)
        return RB_OK;
    struct rb_place *place = rb_place_find(state->session, entry->topic->id);
    if (!place)
        return confirm(state, entry, entry->topic->head);
    entry->after = place->n;
    int64_t handed = rb_place_handed(place, state->connection);
    if (state->session->sent_since || handed < 0)
        return RB_OK;
    entry->after = handed;
    return handed > place->n ? confirm(state, entry, handed) : RB_OK;
}

static enum rb_status resolve(struct poll_state *state, const struct rb_poll_topic *asked)
{
    struct rb_topic *topic = rb_topic_get(state->sessions->topics, rb_account_id(state->account), asked->name);
    if (!topic)
        return RB_NO_MEMORY;
    for (size_t i = 0; i < state->count; i++)
        if (state->entries[i].topic == topic)
            return RB_OK;
    struct entry *entry = &state->entries[state->count++];
    entry->state = state;
    entry->topic = topic;
    entry->limit = RB_POLL_MESSAGES_MAX;
    entry->watch.wake = wake;
    rb_list_init(&entry->watch.node);
    rb_inbox_want(state->sessions->inbox, topic, false);
    struct rb_span id = asked->has_since ? since_id(state, asked->since) : (struct rb_span){0};
    return id.len ? resolve_since(state, entry, id) : resolve_place(state, entry);
}

static struct poll_state *new_state(struct rb_sessions *sessions, struct rb_poll *poll)
{
    struct poll_state *state = calloc(1, sizeof *state + poll->topic_count * sizeof state->entries[0]);
    if (!state)
        return NULL;
    state->sessions = sessions;
    state->session = poll->session;
    state->account = poll->account;
    state->poll = poll;
    state->connection = poll->connection;
    state->max_bytes = poll->max_bytes;
    state->ends_ms = rb_clock_now_ms(sessions->ports->clock) + poll->timeout_ms;
    state->effect.run = begun;
    state->timer = RB_TIMER_INIT(timed_out);
    rb_list_init(&state->effect.node);
    rb_list_init(&state->node);
    rb_list_init(&state->in_session);
    poll->state = state;
    return state;
}

enum rb_status rb_poll_start(struct rb_sessions *sessions, struct rb_poll *poll, struct rb_error *err)
{
    poll->state = NULL;
    if (poll->topic_count == 0 || poll->topic_count > RB_POLL_TOPICS_MAX)
        return rb_fail(err, RB_INVALID, "a poll is over 1 to %d topics", RB_POLL_TOPICS_MAX);
    if (rb_account_state(poll->account) != RB_ACCOUNT_ACTIVE)
        return rb_fail(err, RB_UNAVAILABLE, "the account %s has no login at its relay; use relay-broker login",
                       rb_account_name(poll->account));
    rb_tick_lead(sessions->ports->tick);
    struct poll_state *state = new_state(sessions, poll);
    if (!state)
        return rb_fail(err, RB_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < poll->topic_count; i++)
        state->had_since |= poll->topics[i].has_since;
    if (state->session) {
        rb_session_touch(sessions, state->session);
        state->session->sent_since |= state->had_since;
    }
    enum rb_status status = RB_OK;
    for (size_t i = 0; status == RB_OK && i < poll->topic_count; i++)
        status = resolve(state, &poll->topics[i]);
    if (status != RB_OK) {
        detach(state);
        free_state(state);
        return rb_fail(err, status, "out of memory");
    }
    rb_list_push(&sessions->polls, &state->node);
    if (state->session)
        rb_list_push(&state->session->polls, &state->in_session);
    rb_timer_set(sessions->ports->clock, &state->timer, state->ends_ms);
    state->effect_set = true;
    rb_tick_after(sessions->ports->tick, &state->effect);
    return RB_OK;
}

void rb_poll_cancel(struct rb_poll *poll)
{
    struct poll_state *state = poll->state;
    if (!state)
        return;
    detach(state);
    free_state(state);
}

/* --- for sessions --- */

void rb_polls_account_changed(struct rb_account_watch *watch, struct rb_account *account)
{
    struct rb_sessions *sessions = RB_CONTAINER(watch, struct rb_sessions, account_watch);
    bool more = rb_account_state(account) != RB_ACCOUNT_ACTIVE;
    while (more) {
        more = false;
        RB_LIST_EACH(&sessions->polls, node) {
            struct poll_state *state = RB_CONTAINER(node, struct poll_state, node);
            if (state->account == account) {
                fail(state, RB_UNAVAILABLE, "the account has no login at its relay any more");
                more = true;
                break;
            }
        }
    }
}

void rb_polls_drop(struct rb_sessions *sessions)
{
    while (!rb_list_empty(&sessions->polls))
        rb_poll_cancel(RB_CONTAINER(sessions->polls.next, struct poll_state, node)->poll);
    struct rb_list *node;
    while ((node = rb_list_pop(&sessions->fetches)))
        free(RB_CONTAINER(node, struct fetch, node));
}

void rb_polls_forget_session(struct rb_session *session)
{
    struct rb_list *node;
    while ((node = rb_list_pop(&session->polls)))
        RB_CONTAINER(node, struct poll_state, in_session)->session = NULL;
}

void rb_session_stats(struct rb_sessions *sessions, struct rb_session_stats *ret)
{
    *ret = (struct rb_session_stats){.sessions = sessions->count};
    RB_LIST_EACH(&sessions->polls, node)
        ret->parked += RB_CONTAINER(node, struct poll_state, node)->parked;
}
