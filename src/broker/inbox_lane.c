#include "inbox_private.h"

#include "backoff.h"
#include "log.h"

/* An account's upstream reads: which topics are polled together, when, and what a failure means. */

int64_t rb_inbox_backoff_ms(struct rb_inbox *inbox, int failures)
{
    return rb_backoff_ms(inbox->ports, failures - 1, inbox->ports->config->backoff_max_ms, RB_JITTER_HALF);
}

void rb_feed_delay(struct rb_feed *feed)
{
    feed->failures++;
    feed->not_before_ms = rb_clock_now_ms(feed->inbox->ports->clock) + rb_inbox_backoff_ms(feed->inbox, feed->failures);
    rb_lane_kick(feed->lane);
}

void rb_lane_kick(struct rb_lane *lane)
{
    lane->dirty = true;
    if (lane->inbox->running)
        rb_inbox_kick(lane->inbox);
}

void rb_feed_caught_up(struct rb_feed *feed)
{
    feed->rereading = feed->held_loaded = false;
    rb_id_set_clear(&feed->held);
}

/* --- reads --- */

struct rb_read *rb_read_new(struct rb_lane *lane, enum rb_read_kind kind)
{
    struct rb_read *read = calloc(1, sizeof *read);
    if (!read)
        return NULL;
    read->lane = lane;
    read->kind = kind;
    rb_list_init(&read->node);
    rb_list_push(&lane->reads, &read->node);
    return read;
}

bool rb_read_add(struct rb_read *read, struct rb_feed *feed, const char *cursor)
{
    char *copy = rb_span_dup(rb_span_of(cursor));
    if (!copy)
        return false;
    read->cursors[read->count] = copy;
    read->feeds[read->count++] = feed;
    feed->calling = true;
    return true;
}

static bool is_single(const struct rb_read *read)
{
    return read->kind != RB_READ_POLL || read->alone;
}

void rb_read_end(struct rb_read *read)
{
    rb_list_remove(&read->node);
    for (size_t i = 0; i < read->count; i++)
        read->feeds[i]->calling = false;
    if (is_single(read))
        read->lane->singles--;
    else
        read->lane->polls--;
    read->call = NULL;
}

void rb_read_answered(struct rb_read *read)
{
    rb_read_end(read);
    for (size_t i = 0; i < read->count; i++) {
        rb_list_remove(&read->feeds[i]->node);
        rb_list_push(&read->lane->feeds, &read->feeds[i]->node);
    }
}

void rb_read_free(struct rb_read *read)
{
    for (size_t i = 0; i < read->count; i++)
        free(read->cursors[i]);
    free(read);
}

void rb_lane_stop(struct rb_lane *lane, bool abandon)
{
    rb_timer_stop(lane->inbox->ports->clock, &lane->timer);
    while (!rb_list_empty(&lane->reads)) {
        struct rb_read *read = RB_CONTAINER(lane->reads.next, struct rb_read, node);
        if (abandon)
            rb_call_abandon(read->call);
        rb_read_end(read);
        rb_read_free(read);
    }
}

/* --- ends --- */

void rb_lane_succeeded(struct rb_lane *lane)
{
    lane->failures = lane->denied = 0;
    lane->not_before_ms = 0;
}

static void lane_delay(struct rb_lane *lane, int64_t at_least_ms)
{
    int64_t now = rb_clock_now_ms(lane->inbox->ports->clock), wait = 0;
    /* Reads that were under way together fail together: one failure. */
    if (!lane->failures || lane->not_before_ms <= now)
        wait = rb_inbox_backoff_ms(lane->inbox, ++lane->failures);
    if (now + (wait > at_least_ms ? wait : at_least_ms) > lane->not_before_ms)
        lane->not_before_ms = now + (wait > at_least_ms ? wait : at_least_ms);
}

static void isolate(struct rb_read *read)
{
    for (size_t i = 0; i < read->count; i++)
        read->feeds[i]->alone = true;
}

/* After an outage the relay may be another, or an older one (I3). */
static void check_all(struct rb_lane *lane)
{
    RB_LIST_EACH (&lane->feeds, node)
        RB_CONTAINER(node, struct rb_feed, node)->must_check = true;
}

/* I4: a 500 may be an outage, or one message of one topic. */
static void server_failed(struct rb_lane *lane, struct rb_read *read)
{
    check_all(lane);
    if (read->count > 1 || !read->alone) {
        isolate(read);
        lane_delay(lane, 0);
        return;
    }
    struct rb_feed *feed = read->feeds[0];
    rb_feed_delay(feed);
    if (feed->step == RB_FEED_FOLLOW && feed->failures >= 2 && rb_exam_begin(feed))
        rb_feed_set_step(feed, RB_FEED_EXAMINE);
}

void rb_lane_failed(struct rb_lane *lane, struct rb_read *read, const struct rb_answer *answer)
{
    lane->inbox->stats.polls_failed++;
    rb_log(RB_LOG_DEBUG, "inbox", "a read failed: %s, status %d, %s", rb_problem_text(answer->problem), answer->status,
           answer->detail);
    struct rb_account *account = rb_lane_account(lane);
    switch (answer->problem) {
    case RB_PROBLEM_UNAUTHORIZED:
        if (account)
            rb_account_access_refused(account, read->serial);
        if (++lane->denied > 1)
            lane_delay(lane, 0);
        break;
    case RB_PROBLEM_SERVER:
        server_failed(lane, read);
        break;
    case RB_PROBLEM_TOO_LONG:
        for (size_t i = 0; i < read->count; i++) {
            read->feeds[i]->limit = RB_PAGE_MAX / 4;
            rb_feed_set_step(read->feeds[i], RB_FEED_PAGE);
        }
        break;
    case RB_PROBLEM_RATE:
        lane_delay(lane, answer->retry_after_ms);
        break;
    case RB_PROBLEM_NOT_FOUND:
    case RB_PROBLEM_FORBIDDEN:
    case RB_PROBLEM_EXISTS:
    case RB_PROBLEM_INVALID:
    case RB_PROBLEM_TOO_LARGE:
    case RB_PROBLEM_TOKEN_REFUSED:
        isolate(read);
        for (size_t i = 0; i < read->count; i++)
            rb_feed_delay(read->feeds[i]);
        break;
    case RB_PROBLEM_NONE:
    case RB_PROBLEM_UNREACHABLE:
    case RB_PROBLEM_LOST:
        check_all(lane);
        lane_delay(lane, 0);
        break;
    }
}

/* --- the long poll --- */

static const struct rb_incoming *next_of(const struct rb_incoming *messages, size_t count, size_t *at,
                                         struct rb_span topic, bool from_waiter)
{
    for (; *at < count; (*at)++)
        if (messages[*at].from_waiter == from_waiter && rb_span_equal(messages[*at].topic, topic))
            return &messages[(*at)++];
    return NULL;
}

/* The catch-up messages of one topic become a part of the landing. Waiters' messages only say that there is
 * something (the contract's §5): they are read with the next poll, from the same cursor. */
static bool take_topic(struct rb_read *read, size_t i, const struct rb_incoming *messages, size_t count,
                       struct rb_landing *landing)
{
    struct rb_feed *feed = read->feeds[i];
    struct rb_span name = rb_span_of(feed->topic->name), last = {0};
    size_t at = 0;
    const struct rb_incoming *message;
    while ((message = next_of(messages, count, &at, name, false)))
        last = message->message_id;
    at = 0;
    bool woken = next_of(messages, count, &at, name, true);
    if (last.len == 0) {
        feed->must_check |= feed->woken;
        feed->woken = woken;
        rb_feed_caught_up(feed);
        return true;
    }
    feed->woken = false;
    feed->checked_ms = rb_clock_now_ms(feed->inbox->ports->clock);
    if (rb_span_is(last, read->cursors[i])) {
        rb_feed_delay(feed);
        return true;
    }
    if (!landing) {
        rb_feed_delay(feed);
        return false;
    }
    if (!rb_landing_part(landing, feed, read->cursors[i], last, RB_FEED_FOLLOW))
        return false;
    at = 0;
    while ((message = next_of(messages, count, &at, name, false)))
        if (!rb_landing_message(landing, message))
            return false;
    return true;
}

/* There is a message for sure: these go first. Their next read takes it, and puts them behind all others. */
static void put_woken_first(struct rb_read *read)
{
    for (size_t i = read->count; i-- > 0;) {
        if (!read->feeds[i]->woken)
            continue;
        rb_list_remove(&read->feeds[i]->node);
        rb_list_push(read->lane->feeds.next, &read->feeds[i]->node);
    }
}

static void poll_succeeded(struct rb_read *read, const struct rb_incoming *messages, size_t count)
{
    struct rb_lane *lane = read->lane;
    rb_lane_succeeded(lane);
    bool any = false, whole = true;
    for (size_t i = 0; i < count; i++)
        any |= !messages[i].from_waiter;
    struct rb_landing *landing = any ? rb_landing_new(lane->inbox) : NULL;
    for (size_t i = 0; i < read->count; i++) {
        read->feeds[i]->alone = false;
        read->feeds[i]->failures = 0;
        whole &= take_topic(read, i, messages, count, landing);
    }
    put_woken_first(read);
    rb_landing_land(landing, whole);
}

static void poll_done(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                      bool has_more)
{
    struct rb_read *read = arg;
    struct rb_lane *lane = read->lane;
    rb_read_answered(read);
    if (answer->end == RB_END_EXECUTED && answer->problem == RB_PROBLEM_NONE)
        poll_succeeded(read, messages, count);
    else
        rb_lane_failed(lane, read, answer);
    rb_read_free(read);
    rb_lane_kick(lane);
}

static void start_poll(struct rb_lane *lane, struct rb_feed *const *feeds, size_t count, int timeout_s,
                       const struct rb_relay_peer *peer, struct rb_span token, uint64_t serial)
{
    struct rb_inbox *inbox = lane->inbox;
    struct rb_read *read = rb_read_new(lane, RB_READ_POLL);
    if (!read) {
        lane_delay(lane, 0);
        return;
    }
    read->alone = feeds[0]->alone;
    lane->singles += read->alone;
    lane->polls += !read->alone;
    read->serial = serial;
    read->ends_ms = rb_clock_now_ms(inbox->ports->clock) + timeout_s * 1000;
    struct rb_since since[RB_GROUP_MAX];
    for (size_t i = 0; i < count; i++)
        if (rb_read_add(read, feeds[i], feeds[i]->topic->cursor))
            since[read->count - 1] =
                (struct rb_since){rb_span_of(feeds[i]->topic->name), rb_span_of(read->cursors[read->count - 1])};
    enum rb_status status = RB_NO_MEMORY;
    if (read->count)
        status = rb_relay_poll(inbox->ports->relay, peer, token, since, read->count, timeout_s,
                               (size_t)inbox->ports->config->answer_max_bytes, poll_done, read, &read->call);
    if (status != RB_OK) {
        rb_read_end(read);
        rb_read_free(read);
        lane_delay(lane, 0);
        return;
    }
    inbox->stats.polls++;
}

/* --- what is polled together --- */

/* A topic to be read alone. Rank: how many of its user's are read alone already, or will be before it. */
struct single {
    struct rb_feed *feed;
    int rank;
};

struct round {
    struct rb_lane *lane;
    struct rb_relay_peer peer;
    struct rb_span token;
    uint64_t serial;
    bool has_token, refused;
    int64_t now, next; /* when it is worth looking again */
    struct rb_feed *group[RB_GROUP_MAX];
    size_t group_count;
    struct single singles[RB_SINGLES_MAX];
    size_t single_count, single_room;
    int64_t user; /* of the feed before, and whether he has room */
    bool user_known, user_has_room;
    int64_t busy[RB_SINGLES_MAX]; /* the user of each single under way */
    size_t busy_count;
    bool crowded;
};

static bool get_token(struct round *round)
{
    struct rb_account *account = rb_lane_account(round->lane);
    if (round->has_token || round->refused)
        return round->has_token;
    if (account && rb_account_state(account) == RB_ACCOUNT_ACTIVE &&
        rb_account_access(account, &round->token, &round->serial) == RB_OK) {
        round->peer = rb_account_peer(account);
        round->has_token = true;
    } else {
        round->refused = true; /* the account's watch tells when there is one */
    }
    return round->has_token;
}

static void look_again(struct round *round, int64_t at_ms)
{
    if (at_ms < round->next)
        round->next = at_ms;
}

/* Of the polls under way, the one that ends first and has room for `count` topics more. */
static struct rb_read *poll_to_join(struct rb_lane *lane, size_t count)
{
    struct rb_read *best = NULL;
    RB_LIST_EACH (&lane->reads, node) {
        struct rb_read *read = RB_CONTAINER(node, struct rb_read, node);
        if (read->kind == RB_READ_POLL && !read->alone && read->count + count <= RB_GROUP_MAX &&
            (!best || read->ends_ms < best->ends_ms))
            best = read;
    }
    return best;
}

/* Topics that are about to be polled too are waited for a moment, so that they share one poll. */
static bool others_come(struct round *round)
{
    struct rb_lane *lane = round->lane;
    bool coming = false;
    RB_LIST_EACH (&lane->feeds, node) {
        struct rb_feed *feed = RB_CONTAINER(node, struct rb_feed, node);
        coming |= (feed->step == RB_FEED_ANCHOR || feed->step == RB_FEED_CHECK) && feed->not_before_ms <= round->now;
    }
    if (!coming) {
        lane->hold_until_ms = 0;
        return false;
    }
    if (lane->hold_until_ms == 0)
        lane->hold_until_ms = round->now + RB_MERGE_HOLD_MS;
    if (lane->hold_until_ms <= round->now)
        return false;
    look_again(round, lane->hold_until_ms);
    return true;
}

/* Where topics wait for places, each gets its turn. Also before that some polls are short, so that a topic that comes
 * then does not wait for the end of a long one (I7). */
static int timeout_of(const struct rb_lane *lane)
{
    int most = lane->inbox->ports->config->poll_timeout_s;
    int wanted = lane->crowded ? RB_TURN_TIMEOUT_S : lane->polls >= RB_LONG_POLLS_MAX ? RB_SHORT_TIMEOUT_S : most;
    return wanted < most ? wanted : most;
}

/* I7: a parked poll is never cancelled to change its topics. Topics that could share one with it are polled apart
 * until it ends, with a timeout that ends then too, and then together. */
static void start_group(struct round *round, bool is_full)
{
    if (round->group_count == 0 || (!is_full && others_come(round)))
        return;
    int timeout_s = timeout_of(round->lane);
    struct rb_read *other = is_full ? NULL : poll_to_join(round->lane, round->group_count);
    if (other) {
        int64_t left = other->ends_ms - round->now;
        if (left <= RB_MERGE_HOLD_MS && left > -RB_MERGE_HOLD_MS) {
            look_again(round, other->ends_ms + RB_MERGE_HOLD_MS);
            return;
        }
        if (left > 0 && left < timeout_s * 1000)
            timeout_s = (int)((left + 999) / 1000);
    }
    if (get_token(round))
        start_poll(round->lane, round->group, round->group_count, timeout_s, &round->peer, round->token, round->serial);
    round->group_count = 0;
}

/* R7: another user id under the same name: the relay was wiped. */
static bool is_other_relay(struct rb_feed *feed)
{
    struct rb_account *account = rb_lane_account(feed->lane);
    return account && feed->topic->cursor && rb_feed_load(feed) &&
           feed->incarnation != (int64_t)rb_account_relay_incarnation(account);
}

static void count_busy(struct round *round)
{
    RB_LIST_EACH (&round->lane->reads, node) {
        struct rb_read *read = RB_CONTAINER(node, struct rb_read, node);
        if (is_single(read) && round->busy_count < RB_SINGLES_MAX)
            round->busy[round->busy_count++] = read->feeds[0]->topic->uid;
    }
    round->single_room = RB_SINGLES_MAX - round->busy_count;
}

static int rank_of(const struct round *round, int64_t uid)
{
    int rank = 0;
    for (size_t i = 0; i < round->busy_count; i++)
        rank += round->busy[i] == uid;
    for (size_t i = 0; i < round->single_count; i++)
        rank += round->singles[i].feed->topic->uid == uid;
    return rank;
}

/* D6: users take turns, and a user's topics among themselves: of those that could be read alone now the ones of the
 * least rank are chosen, and of two that are equal the one that came first. */
static void add_single(struct round *round, struct rb_feed *feed)
{
    if (round->single_room == 0)
        return;
    struct single single = {feed, rank_of(round, feed->topic->uid)};
    if (round->single_count == round->single_room) {
        if (single.rank >= round->singles[round->single_count - 1].rank)
            return;
        round->single_count--;
    }
    size_t at = round->single_count++;
    for (; at > 0 && round->singles[at - 1].rank > single.rank; at--)
        round->singles[at] = round->singles[at - 1];
    round->singles[at] = single;
}

static void start_singles(struct round *round)
{
    for (size_t i = 0; i < round->single_count && get_token(round); i++) {
        struct rb_feed *feed = round->singles[i].feed;
        if (feed->step == RB_FEED_FOLLOW)
            start_poll(round->lane, &feed, 1, RB_ALONE_TIMEOUT_S, &round->peer, round->token, round->serial);
        else
            rb_feed_read(feed, &round->peer, round->token, round->serial);
    }
}

/* I6, D6: the topics of a user whose share is full are not read. Their starts take no room. */
static bool has_room(struct round *round, int64_t uid)
{
    if (!round->user_known || round->user != uid) {
        round->user_known = true;
        round->user = uid;
        round->user_has_room = rb_inbox_has_room_for(round->lane->inbox, uid);
    }
    return round->user_has_room;
}

static void run_feed(struct round *round, struct rb_feed *feed)
{
    struct rb_lane *lane = round->lane;
    if (feed->calling || feed->landing || feed->leaving || feed->step == RB_FEED_OFF ||
        (feed->topic->cursor && !has_room(round, feed->topic->uid)))
        return;
    if (feed->not_before_ms > round->now) {
        look_again(round, feed->not_before_ms);
        return;
    }
    if (is_other_relay(feed)) {
        rb_feed_reset(feed, "relay_reset");
        return;
    }
    if (feed->step == RB_FEED_FOLLOW && round->now - feed->checked_ms > RB_CHECK_MS)
        feed->must_check = true;
    if (feed->step == RB_FEED_FOLLOW && feed->must_check && !feed->alone)
        rb_feed_set_step(feed, RB_FEED_CHECK);
    if (feed->step != RB_FEED_FOLLOW || feed->alone) {
        add_single(round, feed);
        return;
    }
    if (lane->polls >= RB_POLLS_MAX) {
        round->crowded = true;
        return;
    }
    round->group[round->group_count++] = feed;
    if (round->group_count == RB_GROUP_MAX)
        start_group(round, true);
}

void rb_lane_run(struct rb_lane *lane)
{
    struct rb_inbox *inbox = lane->inbox;
    lane->dirty = false;
    rb_timer_stop(inbox->ports->clock, &lane->timer);
    if (!inbox->running || rb_inbox_is_full(inbox))
        return;
    struct round round = {.lane = lane, .now = rb_clock_now_ms(inbox->ports->clock), .next = INT64_MAX};
    if (lane->not_before_ms > round.now) {
        rb_timer_set(inbox->ports->clock, &lane->timer, lane->not_before_ms);
        return;
    }
    count_busy(&round);
    RB_LIST_EACH (&lane->feeds, node)
        run_feed(&round, RB_CONTAINER(node, struct rb_feed, node));
    start_group(&round, false);
    lane->crowded = round.crowded;
    start_singles(&round);
    if (lane->not_before_ms > round.now)
        look_again(&round, lane->not_before_ms);
    if (round.next != INT64_MAX)
        rb_timer_set(inbox->ports->clock, &lane->timer, round.next);
}
