#include "poll_private.h"

#include "relay_id.h"

/* A wire poll: its places are found and written when it comes; after that commit it is answered with what is stored,
 * or it waits. */

enum { LATE_MS = 3000 }; /* the Python client hangs up 5 s after its time */

/* --- the end --- */

/* The state is no longer known to anything else. */
static void detach(struct rb_poll_state *state)
{
    rb_list_remove(&state->node);
    rb_list_remove(&state->in_session);
    rb_timer_stop(state->sessions->ports->clock, &state->timer);
    rb_timer_stop(state->sessions->ports->clock, &state->retry);
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

static void free_state(struct rb_poll_state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        free(state->entries[i].since);
        free(state->entries[i].named);
    }
    free(state->fetched);
    rb_str_free(&state->fetched_bytes);
    free(state);
}

void rb_poll_finish(struct rb_poll_state *state, const struct rb_poll_item *items, size_t count, bool has_more)
{
    struct rb_poll *poll = state->poll;
    detach(state);
    poll->done(poll, RB_OK, NULL, items, count, has_more);
    free_state(state);
}

void rb_poll_fail(struct rb_poll_state *state, enum rb_status status, const char *text)
{
    struct rb_poll *poll = state->poll;
    struct rb_error err;
    rb_fail(&err, status, "%s", text);
    detach(state);
    poll->done(poll, status, &err, NULL, 0, false);
    free_state(state);
}

static void wake(struct rb_inbox_watch *watch)
{
    rb_poll_proceed(RB_CONTAINER(watch, struct rb_poll_entry, watch)->state);
}

static void park(struct rb_poll_state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        struct rb_poll_entry *entry = &state->entries[i];
        if (!rb_list_linked(&entry->watch.node))
            rb_inbox_watch(state->sessions->inbox, entry->topic, entry->after, &entry->watch);
    }
    state->parked = true;
}

/* --- a poll's way --- */

/* The message that a `since` names was stored here after the relay had been asked. */
static void look_for_named(struct rb_poll_state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        struct rb_poll_entry *entry = &state->entries[i];
        int64_t n;
        if (!entry->named || entry->topic->head <= entry->after ||
            rb_inbox_find(state->sessions->inbox, entry->topic, rb_span_of(entry->named), &n) != RB_OK)
            continue;
        if (n > entry->after)
            entry->after = n;
        free(entry->named);
        entry->named = NULL;
    }
}

void rb_poll_proceed(struct rb_poll_state *state)
{
    if (state->fetch || rb_timer_is_set(&state->retry))
        return;
    if (state->late) {
        if (!rb_poll_try_answer(state, rb_poll_is_anchored(state)))
            park(state);
        return;
    }
    look_for_named(state);
    struct rb_poll_entry *entry = rb_poll_to_fetch(state);
    if (entry)
        rb_poll_start_fetch(state, entry);
    else if (!rb_poll_try_answer(state, false))
        park(state);
}

static void begun(struct rb_effect *effect, enum rb_status committed)
{
    struct rb_poll_state *state = RB_CONTAINER(effect, struct rb_poll_state, effect);
    state->effect_set = false;
    if (committed != RB_OK)
        rb_poll_fail(state, RB_UNAVAILABLE,
                     "The poll could not be noted: the disk has no room, or it failed. Try again.");
    else
        rb_poll_proceed(state);
}

static void timed_out(struct rb_timer *timer)
{
    struct rb_poll_state *state = RB_CONTAINER(timer, struct rb_poll_state, timer);
    struct rb_clock *clock = state->sessions->ports->clock;
    if (state->effect_set) {
        rb_timer_set_in(clock, timer, 1);
    } else if ((state->fetch || !rb_poll_is_anchored(state)) && !state->late) {
        /* The relay may need longer for each answer than the caller gives for the whole poll: it would never get on. And
         * to learn where a topic ends takes a second where it does not exist yet. */
        state->late = true;
        rb_timer_set_in(clock, timer, LATE_MS);
    } else {
        rb_poll_try_answer(state, true);
    }
}

/* What a `since` names here: a relay's id, or an outbox id of the same account (O10). One that is not known, or no
 * longer, reads from the beginning, as an unknown id does at the relay. Empty: what it names is not stored yet, so
 * nothing follows it. */
static struct rb_span since_id(struct rb_poll_state *state, struct rb_span since)
{
    int64_t post;
    if (since.len == 0)
        return RB_SPAN(RB_BEGINNING);
    if (!rb_outbox_id_parse(since, &post))
        return since;
    struct rb_post_view view;
    if (rb_outbox_view(state->sessions->outbox, post, &view) != RB_OK || view.account != rb_account_id(state->account))
        return RB_SPAN(RB_BEGINNING);
    return view.state == RB_POST_ACCEPTED ? view.message_id : (struct rb_span){0};
}

static enum rb_status confirm(struct rb_poll_state *state, struct rb_poll_entry *entry, int64_t n)
{
    if (!state->session)
        return RB_OK;
    if (!rb_place_has_room(state->sessions, state->session, entry->topic->id))
        return RB_FULL;
    return rb_place_set(state->sessions, state->session, entry->topic->id, n) ? RB_OK : RB_NO_MEMORY;
}

static enum rb_status resolve_since(struct rb_poll_state *state, struct rb_poll_entry *entry, struct rb_span id)
{
    int64_t n;
    if (rb_inbox_find(state->sessions->inbox, entry->topic, id, &n) == RB_OK) {
        entry->after = n;
        return confirm(state, entry, n);
    }
    entry->since = rb_span_dup(id);
    if (!entry->since)
        return RB_NO_MEMORY;
    /* It confirms nothing of what is stored here. */
    bool placed = state->session && rb_place_find(state->session, entry->topic->id);
    return placed ? RB_OK : confirm(state, entry, entry->topic->tail);
}

/* Without a `since`: from what is confirmed, on the same connection after what it was handed. */
static enum rb_status resolve_place(struct rb_poll_state *state, struct rb_poll_entry *entry)
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

static enum rb_status resolve(struct rb_poll_state *state, const struct rb_poll_topic *asked, struct rb_error *err)
{
    struct rb_topic *topic;
    enum rb_status status = rb_topic_get(state->sessions->topics, rb_account_id(state->account), asked->name,
                                         state->poll->uid, &topic, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; i < state->count; i++)
        if (state->entries[i].topic == topic)
            return RB_OK;
    struct rb_poll_entry *entry = &state->entries[state->count++];
    entry->state = state;
    entry->topic = topic;
    entry->limit = RB_POLL_MESSAGES_MAX;
    entry->watch.wake = wake;
    rb_list_init(&entry->watch.node);
    rb_inbox_want(state->sessions->inbox, topic, false);
    struct rb_span id = {0};
    if (asked->has_since)
        id = since_id(state, asked->since);
    else if (state->had_since && !state->session)
        id = RB_SPAN(RB_BEGINNING); /* nobody whose place could be known: as the relay does */
    status = id.len ? resolve_since(state, entry, id) : resolve_place(state, entry);
    if (status == RB_FULL)
        return rb_fail(err, status,
                       "The sessions of this user read too many topics here. End some, or read fewer; those that are "
                       "unused for a day end by themselves.");
    return status == RB_OK ? RB_OK : rb_fail(err, status, "There is not enough memory.");
}

static struct rb_poll_state *new_state(struct rb_sessions *sessions, struct rb_poll *poll)
{
    struct rb_poll_state *state = calloc(1, sizeof *state + poll->topic_count * sizeof state->entries[0]);
    if (!state)
        return NULL;
    state->sessions = sessions;
    state->session = poll->session;
    state->account = poll->account;
    state->poll = poll;
    state->connection = poll->connection;
    state->max_bytes = poll->max_bytes;
    state->first = (size_t)rb_random_between(sessions->ports->random, 0, (int64_t)poll->topic_count - 1);
    state->ends_ms = rb_clock_now_ms(sessions->ports->clock) + poll->timeout_ms;
    state->effect.run = begun;
    state->timer = RB_TIMER_INIT(timed_out);
    state->retry = RB_TIMER_INIT(rb_poll_fetch_again);
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
        return rb_fail(err, RB_INVALID, "A poll is over 1 to %d topics.", RB_POLL_TOPICS_MAX);
    if (rb_account_state(poll->account) != RB_ACCOUNT_ACTIVE)
        return rb_fail(err, RB_UNAVAILABLE, "The account %s has no login at its relay: run relay-broker login.",
                       rb_account_name(poll->account));
    rb_tick_lead(sessions->ports->tick);
    struct rb_poll_state *state = new_state(sessions, poll);
    if (!state)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    for (size_t i = 0; i < poll->topic_count; i++)
        state->had_since |= poll->topics[i].has_since;
    if (state->session) {
        rb_session_touch(sessions, state->session);
        state->session->sent_since |= state->had_since;
    }
    enum rb_status status = RB_OK;
    for (size_t i = 0; status == RB_OK && i < poll->topic_count; i++)
        status = resolve(state, &poll->topics[i], err);
    if (status != RB_OK) {
        detach(state);
        free_state(state);
        return status;
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
    struct rb_poll_state *state = poll->state;
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
        RB_LIST_EACH (&sessions->polls, node) {
            struct rb_poll_state *state = RB_CONTAINER(node, struct rb_poll_state, node);
            if (state->account == account) {
                rb_poll_fail(state, RB_UNAVAILABLE,
                             "The account has no login at its relay any more: run relay-broker login.");
                more = true;
                break;
            }
        }
    }
}

void rb_polls_drop(struct rb_sessions *sessions)
{
    while (!rb_list_empty(&sessions->polls))
        rb_poll_cancel(RB_CONTAINER(sessions->polls.next, struct rb_poll_state, node)->poll);
    struct rb_list *node;
    while ((node = rb_list_pop(&sessions->fetches)))
        free(RB_CONTAINER(node, struct rb_poll_fetch, node));
}

void rb_polls_forget_session(struct rb_session *session)
{
    struct rb_list *node;
    while ((node = rb_list_pop(&session->polls)))
        RB_CONTAINER(node, struct rb_poll_state, in_session)->session = NULL;
}

void rb_session_stats(struct rb_sessions *sessions, struct rb_session_stats *ret)
{
    *ret = (struct rb_session_stats){.sessions = (unsigned)sessions->share.held};
    RB_LIST_EACH (&sessions->polls, node)
        ret->parked += RB_CONTAINER(node, struct rb_poll_state, node)->parked;
}
