#include "inbox_private.h"

#include <inttypes.h>

#include "log.h"

static const char *step_text(enum rb_feed_step step)
{
    switch (step) {
    case RB_FEED_OFF:
        return "off";
    case RB_FEED_ANCHOR:
        return "anchor";
    case RB_FEED_DRAIN:
        return "drain";
    case RB_FEED_CHECK:
        return "check";
    case RB_FEED_FOLLOW:
        return "follow";
    case RB_FEED_PAGE:
        return "page";
    case RB_FEED_EXAMINE:
        return "examine";
    }
    return "?";
}

void rb_feed_set_step(struct rb_feed *feed, enum rb_feed_step step)
{
    if (feed->step == step)
        return;
    rb_log(RB_LOG_DEBUG, "inbox", "topic %s: %s -> %s", feed->topic->name, step_text(feed->step), step_text(step));
    feed->step = step;
}

/* --- lanes and feeds --- */

static void lane_timer(struct rb_timer *timer)
{
    rb_lane_kick(RB_CONTAINER(timer, struct rb_lane, timer));
}

static struct rb_lane *lane_of(struct rb_inbox *inbox, int64_t account)
{
    RB_LIST_EACH (&inbox->lanes, node) {
        struct rb_lane *lane = RB_CONTAINER(node, struct rb_lane, node);
        if (lane->account == account)
            return lane;
    }
    struct rb_lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return NULL;
    lane->inbox = inbox;
    lane->account = account;
    lane->timer = RB_TIMER_INIT(lane_timer);
    rb_list_init(&lane->node);
    rb_list_init(&lane->feeds);
    rb_list_init(&lane->reads);
    rb_list_push(&inbox->lanes, &lane->node);
    return lane;
}

struct rb_account *rb_lane_account(const struct rb_lane *lane)
{
    return rb_account_by_id(lane->inbox->accounts, lane->account);
}

static enum rb_feed_step first_step(const struct rb_topic *topic)
{
    if (topic->id == 0 || !topic->following)
        return RB_FEED_OFF;
    return topic->cursor ? RB_FEED_CHECK : RB_FEED_ANCHOR;
}

struct rb_feed *rb_feed_of(struct rb_inbox *inbox, struct rb_topic *topic)
{
    if (topic->inbox)
        return topic->inbox;
    struct rb_lane *lane = lane_of(inbox, topic->account);
    struct rb_feed *feed = lane ? calloc(1, sizeof *feed) : NULL;
    if (!feed)
        return NULL;
    feed->inbox = inbox;
    feed->lane = lane;
    feed->topic = topic;
    feed->limit = RB_PAGE_MAX;
    feed->held.key = feed->ids.key = inbox->id_key;
    rb_list_init(&feed->node);
    rb_list_init(&feed->landed);
    rb_list_init(&feed->watches);
    rb_list_push(&lane->feeds, &feed->node);
    topic->inbox = feed;
    rb_feed_set_step(feed, first_step(topic));
    return feed;
}

static void drop_caches(struct rb_feed *feed)
{
    free(feed->anchor);
    feed->anchor = NULL;
    feed->loaded = false;
    rb_stamp_set_free(feed->stamps);
    feed->stamps = NULL;
    rb_id_set_clear(&feed->held);
    feed->held_loaded = false;
    rb_id_filter_clear(&feed->ids);
    memset(feed->recent, 0, sizeof feed->recent);
}

static void free_feed(struct rb_feed *feed)
{
    drop_caches(feed);
    rb_exam_end(feed);
    free(feed->drained);
    free(feed->oldest_seen);
    free(feed->gap_cursor);
    RB_LIST_EACH_SAFE (&feed->watches, node)
        rb_list_remove(node);
    rb_list_remove(&feed->node);
    rb_list_remove(&feed->landed);
    feed->topic->inbox = NULL;
    free(feed);
}

bool rb_feed_load(struct rb_feed *feed)
{
    if (feed->loaded)
        return feed->anchor;
    RB_CLEANUP_STR struct rb_str anchor = RB_STR_INIT;
    bool found = rb_anchor_load(feed->inbox->rows, feed->topic->id, &anchor, &feed->incarnation);
    feed->ordered = !rb_gap_rows_has(feed->inbox->gaps, feed->topic->id, "relay_reset");
    free(feed->anchor);
    feed->anchor = found ? rb_span_dup(rb_str_span(&anchor)) : NULL;
    feed->loaded = feed->anchor || (!found && !rb_str_failed(&anchor));
    return feed->anchor;
}

void rb_feed_renew(struct rb_feed *feed)
{
    struct rb_account *account = rb_lane_account(feed->lane);
    feed->incarnation = account ? (int64_t)rb_account_relay_incarnation(account) : 0;
}

void rb_feed_set_anchor(struct rb_feed *feed, struct rb_span id)
{
    rb_anchor_save(feed->inbox->rows, feed->topic->id, id, feed->incarnation);
    char *anchor = rb_span_dup(id);
    free(feed->anchor);
    feed->anchor = anchor;
    feed->loaded = anchor;
}

void rb_feed_remember(struct rb_feed *feed, struct rb_span id, int64_t n)
{
    uint64_t hash = rb_id_hash(feed->inbox->id_key, id);
    feed->recent[hash % RB_RECENT_IDS].hash = hash;
    feed->recent[hash % RB_RECENT_IDS].n = n;
}

/* --- the end of a tick --- */

static void wake(struct rb_feed *feed)
{
    struct rb_list ready = RB_LIST_INIT(ready);
    bool all = feed->wake_all;
    feed->wake_all = false;
    RB_LIST_EACH_SAFE (&feed->watches, node) {
        struct rb_inbox_watch *watch = RB_CONTAINER(node, struct rb_inbox_watch, node);
        if (all || feed->topic->head > watch->after) {
            rb_list_remove(node);
            rb_list_push(&ready, node);
        }
    }
    struct rb_list *node;
    while ((node = rb_list_pop(&ready))) {
        struct rb_inbox_watch *watch = RB_CONTAINER(node, struct rb_inbox_watch, node);
        watch->wake(watch);
    }
}

static void after_commit(struct rb_effect *effect, enum rb_status committed)
{
    struct rb_inbox *inbox = RB_CONTAINER(effect, struct rb_inbox, effect);
    inbox->effect_set = false;
    if (committed != RB_OK) {
        /* What was read waits as a fact in the tick, and its feeds with it. */
        while (rb_list_pop(&inbox->landed))
            continue;
        if (inbox->running)
            rb_timer_set_in(inbox->ports->clock, &inbox->retry, inbox->ports->config->backoff_min_ms);
        return;
    }
    struct rb_list landed = RB_LIST_INIT(landed);
    rb_list_append_all(&landed, &inbox->landed);
    RB_LIST_EACH (&landed, node) {
        struct rb_feed *feed = RB_CONTAINER(node, struct rb_feed, landed);
        feed->landing = false;
        rb_feed_set_step(feed, feed->topic->following && feed->topic->id ? feed->then : RB_FEED_OFF);
        feed->lane->dirty = true;
    }
    RB_LIST_EACH (&inbox->lanes, node) {
        struct rb_lane *lane = RB_CONTAINER(node, struct rb_lane, node);
        if (lane->dirty)
            rb_lane_run(lane);
    }
    struct rb_list *node;
    while ((node = rb_list_pop(&landed)))
        wake(RB_CONTAINER(node, struct rb_feed, landed));
}

void rb_inbox_kick(struct rb_inbox *inbox)
{
    if (inbox->effect_set)
        return;
    inbox->effect_set = true;
    inbox->effect.run = after_commit;
    rb_tick_after(inbox->ports->tick, &inbox->effect);
}

static void kick_all(struct rb_inbox *inbox)
{
    RB_LIST_EACH (&inbox->lanes, node)
        RB_CONTAINER(node, struct rb_lane, node)->dirty = true;
    rb_inbox_kick(inbox);
}

static void retry(struct rb_timer *timer)
{
    struct rb_inbox *inbox = RB_CONTAINER(timer, struct rb_inbox, retry);
    inbox->no_room = false;
    kick_all(inbox);
}

static void account_changed(struct rb_account_watch *watch, struct rb_account *account)
{
    struct rb_inbox *inbox = RB_CONTAINER(watch, struct rb_inbox, account_watch);
    RB_LIST_EACH (&inbox->lanes, node) {
        struct rb_lane *lane = RB_CONTAINER(node, struct rb_lane, node);
        if (lane->account != rb_account_id(account))
            continue;
        /* P5: with the login its reading ends. */
        if (rb_account_state(account) != RB_ACCOUNT_ACTIVE)
            rb_lane_stop(lane, true);
        rb_lane_kick(lane);
    }
}

/* --- life --- */

enum rb_status rb_inbox_new(const struct rb_ports *ports, struct rb_accounts *accounts, struct rb_topics *topics,
                            struct rb_events *events, struct rb_inbox **ret, struct rb_error *err)
{
    struct rb_inbox *inbox = calloc(1, sizeof *inbox);
    if (!inbox)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    inbox->ports = ports;
    inbox->accounts = accounts;
    inbox->topics = topics;
    inbox->events = events;
    rb_share_init(&inbox->share, ports->config->inbox_bytes, ports->config->user_percent);
    rb_list_init(&inbox->lanes);
    rb_list_init(&inbox->landed);
    rb_list_init(&inbox->effect.node);
    inbox->retry = RB_TIMER_INIT(retry);
    inbox->retention = RB_TIMER_INIT(rb_inbox_retention);
    inbox->account_watch.changed = account_changed;
    rb_list_init(&inbox->account_watch.node);
    rb_random_fill(ports->random, &inbox->id_key, sizeof inbox->id_key);
    enum rb_status status = rb_message_rows_new(ports->store, &inbox->rows, err);
    if (status == RB_OK)
        status = rb_gap_rows_new(ports->store, &inbox->gaps, err);
    if (status == RB_OK && (status = rb_inbox_reload(inbox)) != RB_OK)
        rb_fail(err, status, "There is not enough memory.");
    if (status != RB_OK) {
        rb_inbox_free(inbox);
        return status;
    }
    *ret = inbox;
    return RB_OK;
}

static void stop(struct rb_inbox *inbox, bool abandon)
{
    inbox->running = false;
    rb_account_unwatch(&inbox->account_watch);
    rb_timer_stop(inbox->ports->clock, &inbox->retry);
    rb_timer_stop(inbox->ports->clock, &inbox->retention);
    RB_LIST_EACH (&inbox->lanes, node)
        rb_lane_stop(RB_CONTAINER(node, struct rb_lane, node), abandon);
}

void rb_inbox_stop(struct rb_inbox *inbox)
{
    stop(inbox, true);
}

void rb_inbox_free(struct rb_inbox *inbox)
{
    if (!inbox)
        return;
    stop(inbox, false);
    if (inbox->effect_set)
        rb_tick_cancel(&inbox->effect);
    struct rb_list *node, *feed;
    while ((node = rb_list_pop(&inbox->lanes))) {
        struct rb_lane *lane = RB_CONTAINER(node, struct rb_lane, node);
        while ((feed = rb_list_pop(&lane->feeds)))
            free_feed(RB_CONTAINER(feed, struct rb_feed, node));
        free(lane);
    }
    rb_share_free(&inbox->share);
    rb_message_rows_free(inbox->rows);
    rb_gap_rows_free(inbox->gaps);
    free(inbox);
}

static bool step_fits(const struct rb_feed *feed)
{
    bool beginning = feed->step == RB_FEED_ANCHOR || feed->step == RB_FEED_DRAIN;
    switch (first_step(feed->topic)) {
    case RB_FEED_OFF:
        return feed->step == RB_FEED_OFF;
    case RB_FEED_ANCHOR:
        return beginning;
    case RB_FEED_DRAIN:
    case RB_FEED_CHECK:
    case RB_FEED_FOLLOW:
    case RB_FEED_PAGE:
    case RB_FEED_EXAMINE:
        break;
    }
    return feed->step != RB_FEED_OFF && !beginning;
}

enum rb_status rb_inbox_reload(struct rb_inbox *inbox)
{
    enum rb_status status = RB_OK;
    inbox->stats.rows = inbox->stats.bytes = 0;
    rb_share_free(&inbox->share);
    for (struct rb_topic *topic = NULL; (topic = rb_topic_next(inbox->topics, topic));) {
        inbox->stats.rows += topic->rows;
        inbox->stats.bytes += topic->bytes;
        if (topic->rows && rb_share_take(&inbox->share, topic->uid, topic->bytes) != RB_OK)
            status = RB_NO_MEMORY;
        inbox->user_full |= !rb_inbox_has_room_for(inbox, topic->uid);
        if (!topic->inbox && topic->following && !rb_feed_of(inbox, topic))
            status = RB_NO_MEMORY;
    }
    RB_LIST_EACH (&inbox->lanes, node) {
        RB_LIST_EACH (&RB_CONTAINER(node, struct rb_lane, node)->feeds, at) {
            struct rb_feed *feed = RB_CONTAINER(at, struct rb_feed, node);
            drop_caches(feed);
            /* A rollback may have taken back what a step stood on. */
            if (!feed->landing && !step_fits(feed))
                rb_feed_set_step(feed, first_step(feed->topic));
        }
    }
    return status;
}

void rb_inbox_start(struct rb_inbox *inbox)
{
    inbox->running = true;
    rb_account_watch(inbox->accounts, &inbox->account_watch);
    rb_timer_set_in(inbox->ports->clock, &inbox->retention, 1000);
    kick_all(inbox);
}

/* --- what readers ask --- */

void rb_inbox_want(struct rb_inbox *inbox, struct rb_topic *topic, bool earliest)
{
    int64_t now = rb_clock_wall_ms(inbox->ports->clock);
    struct rb_feed *feed = rb_feed_of(inbox, topic);
    if (!feed || topic->id == 0)
        return;
    if (topic->following && now - topic->wanted < 60 * 1000 && now >= topic->wanted)
        return;
    rb_tick_lead(inbox->ports->tick);
    topic->wanted = now;
    if (feed->leaving)
        rb_lane_kick(feed->lane);
    feed->leaving = false;
    if (!topic->following) {
        topic->following = true;
        if (!topic->cursor && earliest && rb_topic_set_cursor(topic, RB_SPAN(RB_BEGINNING)) == RB_OK) {
            feed->ordered = true;
            feed->checked_ms = rb_clock_now_ms(inbox->ports->clock);
            rb_feed_renew(feed);
            rb_feed_set_anchor(feed, RB_SPAN(RB_BEGINNING));
        }
        if (!feed->landing)
            rb_feed_set_step(feed, topic->cursor ? RB_FEED_FOLLOW : RB_FEED_ANCHOR);
        rb_lane_kick(feed->lane);
    }
    rb_topic_save(inbox->topics, topic);
}

bool rb_inbox_anchored(const struct rb_inbox *inbox, const struct rb_topic *topic)
{
    const struct rb_feed *feed = topic->inbox;
    /* Before the commit of a start, or of a new one (I3), those who wait for it are still to be woken. */
    return topic->following && topic->cursor && !(feed && feed->wake_all);
}

struct reading {
    bool (*each)(void *arg, const struct rb_inbox_message *message);
    void *arg;
};

static bool read_one(void *arg, const struct rb_message_row *row)
{
    struct reading *reading = arg;
    struct rb_inbox_message message = {
        .n = row->n,
        .message_id = row->message_id,
        .timestamp = row->timestamp,
        .payload = row->payload,
        .metadata = row->metadata,
    };
    return reading->each(reading->arg, &message);
}

enum rb_status rb_inbox_read(struct rb_inbox *inbox, struct rb_topic *topic, int64_t after,
                             bool (*each)(void *arg, const struct rb_inbox_message *message), void *arg)
{
    struct reading reading = {each, arg};
    return rb_message_rows_read(inbox->rows, topic->id, after > topic->tail ? after : topic->tail, INT64_MAX, read_one,
                                &reading);
}

static bool row_is(struct rb_inbox *inbox, const struct rb_topic *topic, int64_t n, struct rb_span message_id)
{
    RB_CLEANUP_STR struct rb_str id = RB_STR_INIT;
    return n > topic->tail && n <= topic->head && rb_message_rows_id(inbox->rows, topic->id, n, &id) &&
           rb_span_equal(rb_str_span(&id), message_id);
}

/* The smallest n in (tail, head] whose id is not below `wanted`, where ids ascend; head + 1 if none. */
static int64_t search_ordered(struct rb_inbox *inbox, const struct rb_topic *topic, struct rb_stream_id wanted)
{
    int64_t low = topic->tail + 1, high = topic->head + 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        RB_CLEANUP_STR struct rb_str id = RB_STR_INIT;
        struct rb_stream_id there;
        if (!rb_message_rows_id(inbox->rows, topic->id, middle, &id) ||
            rb_relay_id_shape(rb_str_span(&id), &there) != RB_ID_STREAM)
            return topic->head + 1;
        if (rb_stream_id_compare(there, wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_id(void *arg, struct rb_span id)
{
    rb_id_filter_add(arg, id);
}

/* Whether the rows need to be looked through for it. Where there never was another relay all ids have one shape; an
 * order, too, would have shown it. Otherwise the filter knows, which one walk over the index makes (D6: a caller who
 * asks for what is not here shall not cost a walk each time). */
static bool may_hold(struct rb_inbox *inbox, struct rb_feed *feed, struct rb_span message_id)
{
    struct rb_topic *topic = feed->topic;
    RB_CLEANUP_STR struct rb_str newest = RB_STR_INIT;
    enum rb_id_shape shape = rb_relay_id_shape(message_id, NULL);
    if (topic->rows == 0 || (feed->ordered && shape == RB_ID_STREAM))
        return false;
    if (feed->ordered && rb_message_rows_id(inbox->rows, topic->id, topic->head, &newest)) {
        enum rb_id_shape ours = rb_relay_id_shape(rb_str_span(&newest), NULL);
        if (ours != RB_ID_OTHER && ours != shape)
            return false;
    }
    if (topic->rows <= RB_FEW_IDS)
        return true;
    if (rb_id_filter_is_crowded(&feed->ids))
        rb_id_filter_clear(&feed->ids);
    if (!feed->ids.words) {
        if (!rb_id_filter_make(&feed->ids, (size_t)topic->rows * 2))
            return true;
        rb_message_rows_each_id(inbox->rows, topic->id, topic->tail, add_id, &feed->ids);
        if (rb_store_failed(inbox->ports->store) != RB_OK)
            rb_id_filter_clear(&feed->ids);
    }
    return rb_id_filter_may_have(&feed->ids, message_id);
}

enum rb_status rb_inbox_find(struct rb_inbox *inbox, struct rb_topic *topic, struct rb_span message_id, int64_t *ret_n)
{
    struct rb_feed *feed = topic->inbox;
    if (!feed || topic->id == 0 || message_id.len == 0)
        return RB_NOT_FOUND;
    if (rb_feed_load(feed) && rb_span_is(message_id, feed->anchor)) {
        *ret_n = topic->tail;
        return RB_OK;
    }
    uint64_t hash = rb_id_hash(inbox->id_key, message_id);
    int64_t n = feed->recent[hash % RB_RECENT_IDS].hash == hash ? feed->recent[hash % RB_RECENT_IDS].n : 0;
    if (!row_is(inbox, topic, n, message_id)) {
        struct rb_stream_id wanted;
        bool stream = rb_relay_id_shape(message_id, &wanted) == RB_ID_STREAM;
        n = stream ? search_ordered(inbox, topic, wanted) : 0;
        if (!row_is(inbox, topic, n, message_id))
            n = may_hold(inbox, feed, message_id)
                    ? rb_message_rows_find(inbox->rows, topic->id, topic->tail, message_id)
                    : 0;
        if (n == 0)
            return RB_NOT_FOUND;
        rb_feed_remember(feed, message_id, n);
    }
    *ret_n = n;
    return RB_OK;
}

void rb_inbox_watch(struct rb_inbox *inbox, struct rb_topic *topic, int64_t after, struct rb_inbox_watch *watch)
{
    rb_list_init(&watch->node);
    watch->topic_id = topic->id;
    watch->after = after;
    struct rb_feed *feed = rb_feed_of(inbox, topic);
    if (feed)
        rb_list_push(&feed->watches, &watch->node);
}

void rb_inbox_unwatch(struct rb_inbox_watch *watch)
{
    rb_list_remove(&watch->node);
}

void rb_inbox_set_floor(struct rb_inbox *inbox, int64_t (*floor)(void *arg, int64_t topic_id), void *arg)
{
    inbox->floor = floor;
    inbox->floor_arg = arg;
}

bool rb_inbox_is_full(const struct rb_inbox *inbox)
{
    return inbox->no_room || inbox->stats.bytes >= inbox->ports->config->inbox_bytes;
}

bool rb_inbox_has_room_for(const struct rb_inbox *inbox, int64_t uid)
{
    return rb_share_left(&inbox->share, uid) > 0;
}

void rb_inbox_stats(struct rb_inbox *inbox, struct rb_inbox_stats *ret)
{
    *ret = inbox->stats;
    ret->topics = 0;
    ret->polling = 0;
    for (struct rb_topic *topic = NULL; (topic = rb_topic_next(inbox->topics, topic));)
        ret->topics += topic->following;
    RB_LIST_EACH (&inbox->lanes, node)
        RB_LIST_EACH (&RB_CONTAINER(node, struct rb_lane, node)->reads, read)
            ret->polling += RB_CONTAINER(read, struct rb_read, node)->kind == RB_READ_POLL;
    ret->gaps = rb_gap_rows_count(inbox->gaps);
    ret->full = rb_inbox_is_full(inbox) || inbox->user_full;
}
