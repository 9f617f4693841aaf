#include "inbox_private.h"

/* Reads of one topic alone: its start (I2), whether the relay is still the same (I3), pages (I5), and what an
 * examination asks. */

enum { CHECK_TRIES = 3 };

static struct rb_span first_of(struct rb_feed *feed, const struct rb_incoming *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (rb_span_is(messages[i].topic, feed->topic->name))
            return messages[i].message_id;
    return (struct rb_span){0};
}

static bool is_ok(const struct rb_answer *answer)
{
    return answer->end == RB_END_EXECUTED && answer->problem == RB_PROBLEM_NONE;
}

/* --- the start --- */

static void anchor_at(struct rb_feed *feed, struct rb_span id)
{
    feed->must_check = false;
    feed->checked_ms = rb_clock_now_ms(feed->inbox->ports->clock);
    struct rb_landing *landing = rb_landing_new(feed->inbox);
    bool whole = landing && rb_landing_part(landing, feed, NULL, id, RB_FEED_FOLLOW);
    if (!whole)
        rb_feed_delay(feed);
    rb_landing_land(landing, whole);
}

static void anchor_read(struct rb_read *read, const struct rb_answer *answer, const struct rb_incoming *messages,
                        size_t count)
{
    struct rb_feed *feed = read->feeds[0];
    if (is_ok(answer)) {
        struct rb_span id = first_of(feed, messages, count);
        anchor_at(feed, id.len ? id : RB_SPAN(RB_BEGINNING));
    } else if (answer->problem == RB_PROBLEM_NOT_FOUND) {
        free(feed->drained);
        feed->drained = NULL;
        rb_feed_set_step(feed, RB_FEED_DRAIN);
    } else if (answer->problem == RB_PROBLEM_TOO_LONG) {
        rb_feed_delay(feed);
    } else {
        rb_lane_failed(read->lane, read, answer);
    }
}

static void drain_done(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                       bool has_more)
{
    struct rb_read *read = arg;
    struct rb_lane *lane = read->lane;
    struct rb_feed *feed = read->feeds[0];
    rb_read_answered(read);
    struct rb_span last = {0};
    for (size_t i = 0; is_ok(answer) && i < count; i++)
        if (!messages[i].from_waiter && rb_span_is(messages[i].topic, feed->topic->name))
            last = messages[i].message_id;
    if (!is_ok(answer)) {
        if (answer->problem == RB_PROBLEM_TOO_LONG)
            rb_feed_delay(feed);
        else
            rb_lane_failed(lane, read, answer);
    } else {
        rb_lane_succeeded(lane);
        bool ended = last.len == 0 || rb_span_is(last, read->cursors[0]);
        char *drained = ended ? NULL : rb_span_dup(last);
        if (ended) {
            anchor_at(feed, rb_span_of(read->cursors[0]));
        } else if (drained) {
            free(feed->drained);
            feed->drained = drained;
        } else {
            rb_feed_delay(feed);
        }
    }
    rb_read_free(read);
    rb_lane_kick(lane);
}

/* --- the check --- */

static void check_ended(struct rb_feed *feed)
{
    feed->must_check = false;
    feed->check_stage = 0;
    feed->checked_ms = rb_clock_now_ms(feed->inbox->ports->clock);
    if (!feed->landing)
        rb_feed_set_step(feed, RB_FEED_FOLLOW);
}

static void not_kept(struct rb_feed *feed, const char *cursor, struct rb_span oldest)
{
    if (feed->gap_cursor && strcmp(feed->gap_cursor, cursor) == 0)
        return;
    free(feed->gap_cursor);
    feed->gap_cursor = rb_span_dup(rb_span_of(cursor));
    struct rb_landing *landing = rb_landing_new(feed->inbox);
    rb_landing_land(landing, landing && rb_landing_part(landing, feed, cursor, rb_span_of(cursor), RB_FEED_FOLLOW) &&
                                 rb_landing_gap(landing, "no_longer_kept", oldest));
}

/* The newest id: below the cursor, or none, or of another kind of relay? Then this relay is not the one that the
 * cursor is of. True: there is more to ask. */
static bool check_newest(struct rb_feed *feed, const char *cursor, struct rb_span newest)
{
    if (strcmp(cursor, RB_BEGINNING) == 0 || rb_span_is(newest, cursor))
        return false;
    struct rb_stream_id at, seen;
    enum rb_id_shape ours = rb_relay_id_shape(rb_span_of(cursor), &at);
    enum rb_id_shape theirs = rb_relay_id_shape(newest, &seen);
    if (newest.len == 0 || (ours != theirs && theirs != RB_ID_OTHER) ||
        (ours == RB_ID_STREAM && theirs == RB_ID_STREAM && rb_stream_id_compare(seen, at) < 0)) {
        rb_feed_reset(feed, "relay_reset");
        return false;
    }
    return theirs != RB_ID_OTHER;
}

/* Is what follows the cursor still kept? Where ids have no order, a relay reads from its beginning after an id that
 * it does not know. */
static bool check_oldest(struct rb_feed *feed, const char *cursor, struct rb_span oldest)
{
    struct rb_stream_id at, seen;
    if (rb_relay_id_shape(rb_span_of(cursor), &at) == RB_ID_STREAM) {
        if (rb_relay_id_shape(oldest, &seen) == RB_ID_STREAM && rb_stream_id_compare(seen, at) > 0)
            not_kept(feed, cursor, oldest);
        return false;
    }
    free(feed->oldest_seen);
    feed->oldest_seen = oldest.len ? rb_span_dup(oldest) : NULL;
    return feed->oldest_seen;
}

static void check_read(struct rb_read *read, const struct rb_answer *answer, const struct rb_incoming *messages,
                       size_t count)
{
    struct rb_feed *feed = read->feeds[0];
    const char *cursor = read->cursors[0];
    if (!is_ok(answer)) {
        feed->check_stage = 0;
        bool told = answer->problem == RB_PROBLEM_NOT_FOUND || answer->problem == RB_PROBLEM_TOO_LONG;
        if (told || (answer->problem == RB_PROBLEM_SERVER && feed->failures >= CHECK_TRIES))
            check_ended(feed);
        else
            rb_lane_failed(read->lane, read, answer);
        return;
    }
    feed->failures = 0;
    struct rb_span id = first_of(feed, messages, count);
    bool more = false;
    if (feed->check_stage == 0)
        more = check_newest(feed, cursor, id);
    else if (feed->check_stage == 1)
        more = check_oldest(feed, cursor, id);
    else if (feed->oldest_seen && rb_span_is(id, feed->oldest_seen))
        not_kept(feed, cursor, id);
    if (more)
        feed->check_stage++;
    else
        check_ended(feed);
}

/* --- pages --- */

static bool land_page(struct rb_feed *feed, const char *cursor, const struct rb_incoming *messages, size_t count,
                      struct rb_span last, enum rb_feed_step then)
{
    struct rb_landing *landing = rb_landing_new(feed->inbox);
    bool whole = landing && rb_landing_part(landing, feed, cursor, last, then);
    for (size_t i = 0; whole && i < count; i++)
        if (rb_span_is(messages[i].topic, feed->topic->name))
            whole = rb_landing_message(landing, &messages[i]);
    rb_landing_land(landing, whole);
    return whole;
}

static void page_succeeded(struct rb_read *read, const struct rb_incoming *messages, size_t count)
{
    struct rb_feed *feed = read->feeds[0];
    struct rb_span last = {0};
    for (size_t i = 0; i < count; i++)
        if (rb_span_is(messages[i].topic, feed->topic->name))
            last = messages[i].message_id;
    feed->failures = 0;
    feed->alone = false;
    bool ended = last.len == 0 || rb_span_is(last, read->cursors[0]);
    if (ended) {
        rb_feed_caught_up(feed);
        rb_feed_set_step(feed, RB_FEED_FOLLOW);
        return;
    }
    feed->limit = read->limit * 2 < RB_PAGE_MAX ? read->limit * 2 : RB_PAGE_MAX;
    enum rb_feed_step then = count < (size_t)read->limit ? RB_FEED_FOLLOW : RB_FEED_PAGE;
    if (!land_page(feed, read->cursors[0], messages, count, last, then))
        rb_feed_delay(feed);
}

static void page_read(struct rb_read *read, const struct rb_answer *answer, const struct rb_incoming *messages,
                      size_t count)
{
    struct rb_feed *feed = read->feeds[0];
    bool too_much = answer->problem == RB_PROBLEM_TOO_LONG || answer->problem == RB_PROBLEM_SERVER;
    if (is_ok(answer)) {
        page_succeeded(read, messages, count);
    } else if (too_much && read->limit > 1) {
        feed->limit = read->limit / 2;
    } else if (too_much) {
        if (rb_exam_begin(feed))
            rb_feed_set_step(feed, RB_FEED_EXAMINE);
        else
            rb_feed_delay(feed);
    } else if (answer->problem == RB_PROBLEM_NOT_FOUND) {
        /* A deleted topic has no pages, its messages come by polls alone. */
        feed->alone = true;
        rb_feed_set_step(feed, RB_FEED_FOLLOW);
        rb_feed_delay(feed);
    } else {
        rb_lane_failed(read->lane, read, answer);
    }
}

/* --- the call --- */

static void page_done(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                      struct rb_span next_cursor)
{
    struct rb_read *read = arg;
    struct rb_lane *lane = read->lane;
    rb_read_answered(read);
    if (is_ok(answer))
        rb_lane_succeeded(lane);
    switch (read->kind) {
    case RB_READ_ANCHOR:
        anchor_read(read, answer, messages, count);
        break;
    case RB_READ_CHECK:
        check_read(read, answer, messages, count);
        break;
    case RB_READ_PAGE:
        page_read(read, answer, messages, count);
        break;
    case RB_READ_EXAMINE:
        if (is_ok(answer) || answer->problem == RB_PROBLEM_SERVER || answer->problem == RB_PROBLEM_TOO_LONG)
            rb_exam_read(read->feeds[0], answer, messages, count);
        else
            rb_lane_failed(lane, read, answer);
        break;
    case RB_READ_POLL:
    case RB_READ_DRAIN:
        break;
    }
    rb_read_free(read);
    rb_lane_kick(lane);
}

static enum rb_read_kind kind_of(enum rb_feed_step step)
{
    switch (step) {
    case RB_FEED_ANCHOR:
        return RB_READ_ANCHOR;
    case RB_FEED_DRAIN:
        return RB_READ_DRAIN;
    case RB_FEED_CHECK:
        return RB_READ_CHECK;
    case RB_FEED_PAGE:
        return RB_READ_PAGE;
    case RB_FEED_EXAMINE:
        return RB_READ_EXAMINE;
    case RB_FEED_OFF:
    case RB_FEED_FOLLOW:
        break;
    }
    return RB_READ_POLL;
}

static enum rb_status start_call(struct rb_read *read, const struct rb_probe *probe, const struct rb_relay_peer *peer,
                                 struct rb_span token)
{
    const struct rb_ports *ports = read->lane->inbox->ports;
    size_t most = (size_t)ports->config->answer_max_bytes;
    struct rb_span topic = rb_span_of(read->feeds[0]->topic->name);
    if (read->kind == RB_READ_DRAIN) {
        struct rb_since since = {topic, rb_span_of(read->cursors[0])};
        return rb_relay_poll(ports->relay, peer, token, &since, 1, RB_ALONE_TIMEOUT_S, most, drain_done, read,
                             &read->call);
    }
    return rb_relay_page(ports->relay, peer, token, topic, probe->descending, probe->limit, rb_span_of(probe->cursor),
                         most, page_done, read, &read->call);
}

void rb_feed_read(struct rb_feed *feed, const struct rb_relay_peer *peer, struct rb_span token, uint64_t serial)
{
    const char *cursor = feed->topic->cursor ? feed->topic->cursor : RB_BEGINNING;
    if (feed->step == RB_FEED_DRAIN && feed->drained)
        cursor = feed->drained;
    struct rb_probe probe = {.descending = true, .limit = 1};
    if (feed->step == RB_FEED_CHECK && feed->check_stage > 0)
        probe.descending = false;
    if (feed->step == RB_FEED_PAGE)
        probe = (struct rb_probe){.limit = feed->limit};
    if (feed->step == RB_FEED_PAGE || (feed->step == RB_FEED_CHECK && feed->check_stage == 2))
        snprintf(probe.cursor, sizeof probe.cursor, "%s", cursor);
    if (feed->step == RB_FEED_EXAMINE && !rb_exam_next(feed, &probe))
        return;
    struct rb_read *read = rb_read_new(feed->lane, kind_of(feed->step));
    if (!read) {
        rb_feed_delay(feed);
        return;
    }
    feed->lane->singles++;
    read->serial = serial;
    read->alone = true;
    read->limit = probe.limit;
    if (!rb_read_add(read, feed, cursor) || start_call(read, &probe, peer, token) != RB_OK) {
        rb_read_end(read);
        rb_read_free(read);
        rb_feed_delay(feed);
    }
}
