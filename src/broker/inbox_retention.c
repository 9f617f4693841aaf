#include "inbox_private.h"

#include <inttypes.h>

#include "log.h"

/* What goes: prefixes only, oldest first. Older than the retention, or at the bound on bytes of all or of one user, and
 * never what a living reader has not confirmed (I6). In slices, so that no tick gets long. */

enum {
    SLICE_ROWS = 500,
    LOOK_TOPICS = 50, /* topics looked at in a slice */
    BUSY_MS = 20,
    IDLE_MS = 5000,
};

struct prefix {
    struct rb_feed *feed;
    int64_t before_ms, floor; /* rows stored before and n <= floor may go */
    int64_t surplus;          /* bytes that shall go whatever their age */
    int64_t n, rows, bytes;
    struct rb_str id;
};

static bool measure(void *arg, int64_t n, int64_t at, int64_t bytes, struct rb_span message_id)
{
    struct prefix *prefix = arg;
    if (n > prefix->floor || (at >= prefix->before_ms && prefix->bytes >= prefix->surplus))
        return false;
    prefix->n = n;
    prefix->rows++;
    prefix->bytes += bytes;
    rb_str_reset(&prefix->id);
    rb_str_add_span(&prefix->id, message_id);
    return true;
}

/* There is room again, for all or for one user. */
static void resume(struct rb_inbox *inbox, const int64_t *uid)
{
    RB_LIST_EACH (&inbox->lanes, node) {
        struct rb_lane *lane = RB_CONTAINER(node, struct rb_lane, node);
        RB_LIST_EACH (&lane->feeds, at) {
            struct rb_feed *feed = RB_CONTAINER(at, struct rb_feed, node);
            feed->must_check |= !uid || feed->topic->uid == *uid;
        }
        rb_lane_kick(lane);
    }
}

static void give_back(struct rb_inbox *inbox, struct rb_topic *topic, int64_t rows, int64_t bytes)
{
    bool had_room = rb_inbox_has_room_for(inbox, topic->uid);
    topic->rows -= rows;
    topic->bytes -= bytes;
    inbox->stats.rows -= rows;
    inbox->stats.bytes -= bytes;
    rb_share_give(&inbox->share, topic->uid, bytes);
    if (!had_room && rb_inbox_has_room_for(inbox, topic->uid))
        resume(inbox, &topic->uid);
}

/* Returns the number of rows that went. */
static int64_t prune(struct rb_inbox *inbox, struct rb_feed *feed, int64_t surplus)
{
    struct rb_topic *topic = feed->topic;
    struct prefix prefix = {
        .feed = feed,
        .before_ms = rb_clock_wall_ms(inbox->ports->clock) - inbox->ports->config->retention_ms,
        .floor = inbox->floor ? inbox->floor(inbox->floor_arg, topic->id) : INT64_MAX,
        .surplus = surplus,
    };
    rb_message_rows_each_age(inbox->rows, topic->id, topic->tail, SLICE_ROWS, measure, &prefix);
    if (prefix.rows && !rb_str_failed(&prefix.id) && rb_feed_load(feed)) {
        rb_tick_lead(inbox->ports->tick);
        rb_message_rows_delete(inbox->rows, topic->id, prefix.n);
        rb_feed_set_anchor(feed, rb_str_span(&prefix.id));
        topic->tail = prefix.n;
        give_back(inbox, topic, prefix.rows, prefix.bytes);
        rb_topic_save(inbox->topics, topic);
    } else {
        prefix.rows = 0;
    }
    rb_str_free(&prefix.id);
    return prefix.rows;
}

/* Nobody has asked for the topic for a while, nobody has a place in it, nothing of it is kept: it is not followed
 * any more. Its next reader begins anew. */
static void unfollow(struct rb_inbox *inbox, struct rb_feed *feed)
{
    struct rb_topic *topic = feed->topic;
    int64_t unwanted = rb_clock_wall_ms(inbox->ports->clock) - topic->wanted;
    feed->leaving = topic->following && topic->rows == 0 && unwanted >= RB_UNWANTED_MS &&
                    rb_list_empty(&feed->watches) && inbox->floor &&
                    inbox->floor(inbox->floor_arg, topic->id) == INT64_MAX;
    if (!feed->leaving || feed->landing || feed->calling)
        return;
    feed->leaving = false;
    rb_tick_lead(inbox->ports->tick);
    topic->following = false;
    free(topic->cursor);
    topic->cursor = NULL;
    topic->tail = topic->head;
    rb_anchor_delete(inbox->rows, topic->id);
    free(feed->anchor);
    feed->anchor = NULL;
    rb_id_filter_clear(&feed->ids);
    rb_exam_end(feed);
    rb_feed_caught_up(feed);
    rb_topic_save(inbox->topics, topic);
    rb_feed_set_step(feed, RB_FEED_OFF);
}

static bool take_at(void *arg, int64_t n, int64_t at, int64_t bytes, struct rb_span message_id)
{
    int64_t *oldest = arg;
    *oldest = at;
    return false;
}

static int64_t oldest_at(struct rb_inbox *inbox, struct rb_feed *feed)
{
    int64_t at = INT64_MAX;
    if (feed->topic->rows)
        rb_message_rows_each_age(inbox->rows, feed->topic->id, feed->topic->tail, 1, take_at, &at);
    return at;
}

static bool has_spare(struct rb_inbox *inbox, struct rb_feed *feed)
{
    return !inbox->floor || inbox->floor(inbox->floor_arg, feed->topic->id) > feed->topic->tail;
}

/* At a bound: from the topic whose oldest message that may go is the oldest of all. A user who is at his own bound
 * gives first (D6). */
static int64_t prune_surplus(struct rb_inbox *inbox)
{
    int64_t of_all = inbox->stats.bytes - inbox->ports->config->inbox_bytes + 1, best_at = INT64_MAX, surplus = 0;
    struct rb_feed *best = NULL;
    bool best_own = false, any = of_all > 0 || inbox->user_full;
    for (struct rb_topic *topic = NULL; any && (topic = rb_topic_next(inbox->topics, topic));) {
        int64_t own = topic->rows ? 1 - rb_share_left(&inbox->share, topic->uid) : 0;
        if (topic->rows == 0 || (own <= 0 && (of_all <= 0 || best_own)))
            continue;
        struct rb_feed *feed = rb_feed_of(inbox, topic);
        int64_t at = feed && has_spare(inbox, feed) ? oldest_at(inbox, feed) : INT64_MAX;
        if (at == INT64_MAX || (at >= best_at && (own > 0) == best_own))
            continue;
        best = feed;
        best_at = at;
        best_own = own > 0;
        surplus = own > of_all ? own : of_all;
    }
    return best ? prune(inbox, best, surplus) : 0;
}

static bool is_among(const int64_t *users, size_t count, int64_t uid)
{
    for (size_t i = 0; i < count; i++)
        if (users[i] == uid)
            return true;
    return false;
}

/* Whose shares are full, also after what could go went. Each is named once, until there is room again. */
static void tell_full_users(struct rb_inbox *inbox)
{
    int64_t told[RB_FULL_USERS_MAX];
    size_t told_count = inbox->full_user_count;
    memcpy(told, inbox->full_users, sizeof told);
    inbox->full_user_count = 0;
    if (!inbox->user_full)
        return;
    inbox->user_full = false;
    for (struct rb_topic *topic = NULL; (topic = rb_topic_next(inbox->topics, topic));) {
        if (topic->rows == 0 || rb_inbox_has_room_for(inbox, topic->uid))
            continue;
        inbox->user_full = true;
        if (inbox->full_user_count == RB_FULL_USERS_MAX ||
            is_among(inbox->full_users, inbox->full_user_count, topic->uid))
            continue;
        inbox->full_users[inbox->full_user_count++] = topic->uid;
        if (!is_among(told, told_count, topic->uid))
            rb_event(inbox->events, 0, "inbox_full",
                     "the share of user %" PRId64 " of the inbox is full; topics that this user was the first to name "
                     "are not read until readers confirm what is stored, or it gets too old",
                     topic->uid);
    }
}

static void tell_full(struct rb_inbox *inbox)
{
    tell_full_users(inbox);
    bool full = rb_inbox_is_full(inbox);
    if (full && !inbox->told_full)
        rb_event(inbox->events, 0, "inbox_full", "%s",
                 inbox->no_room ? "the disk is full; nothing more is read until there is room"
                                : "the inbox is full; nothing more is read until readers confirm what is stored, or "
                                  "it gets too old");
    inbox->told_full = full;
}

void rb_inbox_retention(struct rb_timer *timer)
{
    struct rb_inbox *inbox = RB_CONTAINER(timer, struct rb_inbox, retention);
    bool was_full = rb_inbox_is_full(inbox);
    struct rb_topic *topic = inbox->prune_topic ? rb_topic_by_id(inbox->topics, inbox->prune_topic) : NULL;
    int64_t rows = 0;
    int looked = 0;
    while (looked < LOOK_TOPICS && rows < SLICE_ROWS && (topic = rb_topic_next(inbox->topics, topic))) {
        looked++;
        struct rb_feed *feed = topic->id && (topic->rows || topic->inbox) ? rb_feed_of(inbox, topic) : NULL;
        if (!feed)
            continue;
        if (topic->rows)
            rows += prune(inbox, feed, 0);
        unfollow(inbox, feed);
    }
    inbox->prune_topic = topic ? topic->id : 0;
    if (rows < SLICE_ROWS)
        rows += prune_surplus(inbox);
    if (was_full && !rb_inbox_is_full(inbox))
        resume(inbox, NULL);
    tell_full(inbox);
    rb_timer_set_in(inbox->ports->clock, &inbox->retention, rows || topic ? BUSY_MS : IDLE_MS);
}
