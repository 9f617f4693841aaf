#include "inbox_private.h"

#include "log.h"

/* Facts: what upstream reads brought. A landing holds its own copy of everything, so that it can be applied again
 * after a failed commit; its feeds ask for nothing until it is on disk. */

enum { STORED_BEFORE_MS = 10 * 60 * 1000 };

struct copy {
    size_t message_id, timestamp, payload, metadata; /* offsets of the ends; each begins where the one before ends */
    size_t begin;
    bool stamped;
    unsigned char stamp[RB_STAMP_BYTES];
};

struct part {
    struct rb_feed *feed;
    char *from, *to;
    const char *gap;
    char *gap_until;
    bool reset;
    enum rb_feed_step then;
    size_t first, count;
};

struct rb_landing {
    struct rb_fact fact;
    struct rb_inbox *inbox;
    int tries;
    uint64_t stored, dropped; /* by the last apply: counted once it has committed */
    size_t part_count, message_count, message_room;
    struct part parts[RB_GROUP_MAX];
    struct copy *messages;
    struct rb_str bytes;
};

static void release(struct rb_fact *fact)
{
    struct rb_landing *landing = RB_CONTAINER(fact, struct rb_landing, fact);
    landing->inbox->stats.stored += landing->stored;
    landing->inbox->stats.duplicates_dropped += landing->dropped;
    rb_landing_free(landing);
}

static void apply(struct rb_fact *fact);

struct rb_landing *rb_landing_new(struct rb_inbox *inbox)
{
    struct rb_landing *landing = calloc(1, sizeof *landing);
    if (!landing)
        return NULL;
    landing->inbox = inbox;
    landing->fact.apply = apply;
    landing->fact.release = release;
    rb_list_init(&landing->fact.node);
    return landing;
}

void rb_landing_free(struct rb_landing *landing)
{
    if (!landing)
        return;
    for (size_t i = 0; i < landing->part_count; i++) {
        free(landing->parts[i].from);
        free(landing->parts[i].to);
        free(landing->parts[i].gap_until);
    }
    free(landing->messages);
    rb_str_free(&landing->bytes);
    free(landing);
}

bool rb_landing_part(struct rb_landing *landing, struct rb_feed *feed, const char *from, struct rb_span to,
                     enum rb_feed_step then)
{
    if (landing->part_count == RB_GROUP_MAX)
        return false;
    struct part *part = &landing->parts[landing->part_count++];
    *part = (struct part){.feed = feed, .then = then, .first = landing->message_count};
    part->from = from ? rb_span_dup(rb_span_of(from)) : NULL;
    part->to = rb_span_dup(to);
    return part->to && (part->from || !from);
}

static struct part *newest_part(struct rb_landing *landing)
{
    return &landing->parts[landing->part_count - 1];
}

bool rb_landing_gap(struct rb_landing *landing, const char *reason, struct rb_span until)
{
    newest_part(landing)->gap = reason;
    newest_part(landing)->gap_until = rb_span_dup(until);
    return newest_part(landing)->gap_until;
}

void rb_landing_reset(struct rb_landing *landing)
{
    newest_part(landing)->reset = true;
}

bool rb_landing_message(struct rb_landing *landing, const struct rb_incoming *message)
{
    if (landing->message_count == landing->message_room) {
        size_t room = landing->message_room ? landing->message_room * 2 : 16;
        struct copy *grown = realloc(landing->messages, room * sizeof *grown);
        if (!grown)
            return false;
        landing->messages = grown;
        landing->message_room = room;
    }
    struct copy copy = {.begin = landing->bytes.len};
    rb_str_add_span(&landing->bytes, message->message_id);
    copy.message_id = landing->bytes.len;
    rb_str_add_span(&landing->bytes, message->timestamp);
    copy.timestamp = landing->bytes.len;
    rb_str_add_span(&landing->bytes, message->payload);
    copy.payload = landing->bytes.len;
    if (rb_stamp_take_off(message->metadata, &landing->bytes, copy.stamp, &copy.stamped) != RB_OK ||
        rb_str_failed(&landing->bytes))
        return false;
    copy.metadata = landing->bytes.len;
    landing->messages[landing->message_count++] = copy;
    newest_part(landing)->count++;
    return true;
}

void rb_landing_land(struct rb_landing *landing, bool whole)
{
    if (!landing)
        return;
    if (!whole || landing->part_count == 0) {
        for (size_t i = 0; !whole && i < landing->part_count; i++)
            rb_feed_delay(landing->parts[i].feed);
        rb_landing_free(landing);
        return;
    }
    for (size_t i = 0; i < landing->part_count; i++)
        landing->parts[i].feed->landing = true;
    rb_tick_fact(landing->inbox->ports->tick, &landing->fact);
}

/* --- a second copy --- */

static void remember_stamp(void *arg, struct rb_span stamp)
{
    struct rb_feed *feed = arg;
    if (stamp.len == RB_STAMP_BYTES)
        rb_stamp_set_add(feed->stamps, (const unsigned char *)stamp.at);
}

static void remember_id(void *arg, struct rb_span id)
{
    struct rb_feed *feed = arg;
    rb_id_set_add(&feed->held, id);
}

/* O2: the same post was stored twice by the relay. */
static bool is_second_copy(struct rb_feed *feed, const struct copy *copy)
{
    if (!copy->stamped)
        return false;
    if (!feed->stamps) {
        feed->stamps = rb_stamp_set_new();
        if (!feed->stamps)
            return false;
        rb_message_rows_each_stamp(feed->inbox->rows, feed->topic->id, feed->topic->head - RB_STAMPS_KEPT,
                                   remember_stamp, feed);
    }
    if (rb_stamp_set_has(feed->stamps, copy->stamp))
        return true;
    rb_stamp_set_add(feed->stamps, copy->stamp);
    return false;
}

/* I3: read again from the beginning. Held is what lies here, and what is far older than the oldest that does: a
 * relay restored from a copy shows it again, but it was pruned here, or was stored before the subscription began. */
static bool is_held(struct rb_feed *feed, struct rb_span id)
{
    if (!feed->rereading)
        return false;
    if (!feed->held_loaded) {
        feed->held_loaded = true;
        rb_message_rows_each_id(feed->inbox->rows, feed->topic->id, feed->topic->tail, remember_id, feed);
    }
    struct rb_stream_id at, anchor;
    if (rb_feed_load(feed) && rb_relay_id_shape(rb_span_of(feed->anchor), &anchor) == RB_ID_STREAM &&
        rb_relay_id_shape(id, &at) == RB_ID_STREAM && at.ms < anchor.ms && anchor.ms - at.ms > STORED_BEFORE_MS)
        return true;
    return rb_id_set_has(&feed->held, id);
}

/* --- applying --- */

static void store_message(struct rb_landing *landing, struct rb_feed *feed, const struct copy *copy)
{
    struct rb_inbox *inbox = landing->inbox;
    struct rb_topic *topic = feed->topic;
    const char *bytes = landing->bytes.at;
    struct rb_span id = {bytes + copy->begin, copy->message_id - copy->begin};
    if (is_held(feed, id) || is_second_copy(feed, copy)) {
        landing->dropped++;
        return;
    }
    struct rb_message_row row = {
        .topic = topic->id,
        .n = ++topic->head,
        .at = rb_clock_wall_ms(inbox->ports->clock),
        .message_id = id,
        .timestamp = {bytes + copy->message_id, copy->timestamp - copy->message_id},
        .payload = {bytes + copy->timestamp, copy->payload - copy->timestamp},
        .metadata = {bytes + copy->payload, copy->metadata - copy->payload},
    };
    if (copy->stamped)
        row.stamp = (struct rb_span){(const char *)copy->stamp, RB_STAMP_BYTES};
    rb_message_rows_add(inbox->rows, &row);
    int64_t size = rb_message_row_bytes(&row);
    topic->rows++;
    topic->bytes += size;
    inbox->stats.rows++;
    inbox->stats.bytes += size;
    rb_share_take(&inbox->share, topic->uid, size);
    landing->stored++;
    if (feed->ids.words)
        rb_id_filter_add(&feed->ids, id);
    rb_feed_remember(feed, id, row.n);
}

static struct rb_span last_id(const struct rb_landing *landing, const struct part *part)
{
    const struct copy *copy = &landing->messages[part->first + part->count - 1];
    return (struct rb_span){landing->bytes.at + copy->begin, copy->message_id - copy->begin};
}

static void add_gap(struct rb_inbox *inbox, const struct part *part)
{
    struct rb_topic *topic = part->feed->topic;
    struct rb_gap_row gap = {
        .topic = topic->id,
        .at = rb_clock_wall_ms(inbox->ports->clock),
        .n = topic->head,
        .reason = part->gap,
        .after_id = rb_span_of(part->from),
        .until_id = rb_span_of(part->gap_until),
    };
    rb_gap_rows_add(inbox->gaps, &gap);
    rb_event(inbox->events, topic->account, "gap", "topic %s: %s, after message %s%s%s", topic->name, part->gap,
             part->from ? part->from : "-", *part->gap_until ? " until " : "", part->gap_until);
}

static void apply_anchor(struct rb_feed *feed, const char *to)
{
    feed->ordered = true;
    rb_feed_renew(feed);
    rb_feed_set_anchor(feed, rb_span_of(to));
    feed->wake_all = true;
}

/* The cursor is now one of the relay as it is now (R7). */
static void apply_reset(struct rb_inbox *inbox, struct rb_feed *feed)
{
    if (rb_feed_load(feed)) {
        rb_feed_renew(feed);
        rb_feed_set_anchor(feed, rb_span_of(feed->anchor));
    }
    feed->rereading = true;
    feed->ordered = false;
    feed->wake_all = true;
    inbox->stats.reanchored++;
}

/* False: there is no memory for it, and nothing was done; it is to be read again. */
static bool apply_part(struct rb_landing *landing, const struct part *part)
{
    struct rb_inbox *inbox = landing->inbox;
    struct rb_feed *feed = part->feed;
    struct rb_topic *topic = feed->topic;
    bool same = part->from ? topic->cursor && strcmp(topic->cursor, part->from) == 0 : !topic->cursor;
    if (topic->id == 0 || !topic->following || !same)
        return true;
    /* D6: reads that were under way when the user's part became full. The cursor stays; it is read again when there is
     * room. */
    if (part->count && !rb_inbox_has_room_for(inbox, topic->uid))
        return true;
    /* Once its user is known to the share, what is stored always counts. */
    if (rb_share_take(&inbox->share, topic->uid, 0) != RB_OK ||
        rb_topic_set_cursor(topic, rb_span_of(part->to)) != RB_OK)
        return false;
    if (part->gap)
        add_gap(inbox, part);
    if (!part->from)
        apply_anchor(feed, part->to);
    if (part->reset)
        apply_reset(inbox, feed);
    for (size_t i = 0; i < part->count; i++)
        store_message(landing, feed, &landing->messages[part->first + i]);
    if (part->count)
        rb_topic_set_newest(topic, last_id(landing, part));
    else if (!part->from && strcmp(part->to, RB_BEGINNING) != 0)
        rb_topic_set_newest(topic, rb_span_of(part->to));
    inbox->user_full |= !rb_inbox_has_room_for(inbox, topic->uid);
    rb_topic_save(inbox->topics, topic);
    return true;
}

/* Tokens and results of posts lead a tick until it commits. Messages can be read from the relay again, so that a
 * disk without room for them does not hold back the others for ever: after a few tries they are dropped and read
 * again later. */
static void apply(struct rb_fact *fact)
{
    struct rb_landing *landing = RB_CONTAINER(fact, struct rb_landing, fact);
    struct rb_inbox *inbox = landing->inbox;
    bool give_up = ++landing->tries > RB_LANDING_TRIES;
    landing->stored = landing->dropped = 0;
    int64_t most_ms = inbox->ports->config->backoff_max_ms;
    if (give_up && !inbox->no_room) {
        rb_log(RB_LOG_WARNING, "inbox", "messages could not be stored; reading pauses");
        inbox->no_room = true;
        rb_timer_set_in(inbox->ports->clock, &inbox->retry, most_ms < RB_NO_ROOM_MS ? most_ms : RB_NO_ROOM_MS);
    }
    for (size_t i = 0; i < landing->part_count; i++) {
        struct part *part = &landing->parts[i];
        bool applied = !give_up && apply_part(landing, part);
        if (!applied && !give_up)
            rb_feed_delay(part->feed);
        part->feed->then = applied ? part->then : part->feed->step;
        rb_list_remove(&part->feed->landed);
        rb_list_push(&inbox->landed, &part->feed->landed);
    }
    rb_inbox_kick(inbox);
}

void rb_feed_reset(struct rb_feed *feed, const char *reason)
{
    rb_exam_end(feed);
    feed->check_stage = 0;
    struct rb_landing *landing = rb_landing_new(feed->inbox);
    bool whole = landing &&
                 rb_landing_part(landing, feed, feed->topic->cursor, RB_SPAN(RB_BEGINNING), RB_FEED_FOLLOW) &&
                 rb_landing_gap(landing, reason, (struct rb_span){0});
    if (whole)
        rb_landing_reset(landing);
    else
        rb_feed_delay(feed);
    rb_landing_land(landing, whole);
}
