#include "inbox_private.h"

#include "log.h"

/* What goes: prefixes only, oldest first. Older than the retention, or at the bound on bytes, and never what a
 * living reader has not confirmed (I6). In slices, so that no tick gets long. */

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
        topic->rows -= prefix.rows;
        topic->bytes -= prefix.bytes;
        inbox->stats.rows -= prefix.rows;
        inbox->stats.bytes -= prefix.bytes;
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

/* At the bound: from the topic whose oldest message that may go is the oldest of all. */
static int64_t prune_surplus(struct rb_inbox *inbox)
{
    int64_t surplus = inbox->stats.bytes - inbox->ports->config->inbox_bytes + 1;
    struct rb_feed *best = NULL;
    int64_t best_at = INT64_MAX;
    for (struct rb_topic *topic = NULL; surplus > 0 && (topic = rb_topic_next(inbox->topics, topic));) {
        struct rb_feed *feed = topic->rows ? rb_feed_of(inbox, topic) : NULL;
        int64_t at = feed && has_spare(inbox, feed) ? oldest_at(inbox, feed) : INT64_MAX;
        if (at < best_at) {
            best = feed;
            best_at = at;
        }
    }
    return best ? prune(inbox, best, surplus) : 0;
}

static void resume(struct rb_inbox *inbox)
{
    RB_LIST_EACH (&inbox->lanes, node) {
        struct rb_lane *lane = RB_CONTAINER(node, struct rb_lane, node);
        RB_LIST_EACH (&lane->feeds, feed)
            RB_CONTAINER(feed, struct rb_feed, node)->must_check = true;
        rb_lane_kick(lane);
    }
}

static void tell_full(struct rb_inbox *inbox)
{
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
        resume(inbox);
    tell_full(inbox);
    rb_timer_set_in(inbox->ports->clock, &inbox->retention, rows || topic ? BUSY_MS : IDLE_MS);
}
