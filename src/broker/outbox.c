#include "outbox_private.h"

#include "log.h"

const char *rb_post_state_text(enum rb_post_state state)
{
    switch (state) {
    case RB_POST_QUEUED:
        return "queued";
    case RB_POST_SENDING:
        return "sending";
    case RB_POST_UNKNOWN:
        return "unknown";
    case RB_POST_ACCEPTED:
        return "accepted";
    case RB_POST_REFUSED:
        return "refused";
    case RB_POST_EXPIRED:
        return "expired";
    }
    return "?";
}

/* --- rows in memory --- */

struct entry *rb_outbox_entry(struct rb_outbox *outbox, int64_t id)
{
    struct rb_map_node *node = rb_map_find(&outbox->entries, rb_hash_i64(id));
    for (; node; node = rb_map_again(node)) {
        struct entry *entry = RB_CONTAINER(node, struct entry, by_id);
        if (entry->id == id)
            return entry;
    }
    return NULL;
}

struct entry *rb_queue_head(struct queue *queue)
{
    return rb_list_empty(&queue->entries) ? NULL : RB_CONTAINER(queue->entries.next, struct entry, node);
}

struct queue *rb_queue_of(struct rb_outbox *outbox, struct rb_topic *topic)
{
    if (topic->outbox)
        return topic->outbox;
    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    queue->outbox = outbox;
    queue->topic = topic;
    rb_list_init(&queue->entries);
    rb_list_init(&queue->turn);
    rb_list_init(&queue->effect.node);
    queue->effect.run = rb_queue_effect;
    queue->timer = RB_TIMER_INIT(rb_queue_timer);
    rb_list_push(&outbox->queues, &queue->node);
    topic->outbox = queue;
    return queue;
}

static int64_t *count_of(struct rb_outbox_stats *stats, enum rb_post_state state)
{
    return state == RB_POST_QUEUED ? &stats->queued : state == RB_POST_SENDING ? &stats->sending : &stats->unknown;
}

void rb_entry_set_state(struct entry *entry, enum rb_post_state state)
{
    struct rb_outbox_stats *stats = &entry->queue->outbox->stats;
    --*count_of(stats, entry->state);
    rb_log(RB_LOG_DEBUG, "outbox", "post %lld: %s, was %s", (long long)entry->id, rb_post_state_text(state),
           rb_post_state_text(entry->state));
    entry->state = state;
    ++*count_of(stats, state);
}

bool rb_entry_has_expired(const struct entry *entry)
{
    return entry->expiry && entry->expiry->wall_ms <= rb_clock_wall_ms(entry->queue->outbox->ports->clock);
}

/* The wall clock may be set meanwhile: it is looked at again once an hour. */
static void arm(struct expiry *expiry)
{
    enum { LOOK_AGAIN_MS = 3600 * 1000 };
    struct rb_outbox *outbox = expiry->entry->queue->outbox;
    struct rb_clock *clock = outbox->ports->clock;
    int64_t now = rb_clock_now_ms(clock), in = expiry->wall_ms - rb_clock_wall_ms(clock);
    int64_t at = now + (in < 0 ? 0 : in > LOOK_AGAIN_MS ? LOOK_AGAIN_MS : in);
    rb_timer_set(clock, &expiry->timer, at < outbox->paused_until_ms ? outbox->paused_until_ms : at);
}

/* A row in flight does not expire; one that comes back from there is asked at its next turn, and here. */
static void on_expiry(struct rb_timer *timer)
{
    enum { IN_FLIGHT_AGAIN_MS = 1000 };
    struct expiry *expiry = RB_CONTAINER(timer, struct expiry, timer);
    struct queue *queue = expiry->entry->queue;
    struct rb_outbox *outbox = queue->outbox;
    int64_t id = expiry->entry->id;
    rb_tick_lead(outbox->ports->tick);
    struct entry *entry = rb_outbox_entry(outbox, id);
    if (!entry)
        return;
    if (!rb_entry_has_expired(entry)) {
        arm(entry->expiry);
    } else if (entry->state != RB_POST_QUEUED) {
        rb_timer_set_in(outbox->ports->clock, &entry->expiry->timer, IN_FLIGHT_AGAIN_MS);
    } else {
        rb_entry_end(entry, RB_POST_EXPIRED, NULL);
        rb_queue_run(queue);
    }
}

static bool set_expiry(struct entry *entry, int64_t wall_ms)
{
    entry->expiry = calloc(1, sizeof *entry->expiry);
    if (!entry->expiry)
        return false;
    *entry->expiry = (struct expiry){.timer = RB_TIMER_INIT(on_expiry), .entry = entry, .wall_ms = wall_ms};
    arm(entry->expiry);
    return true;
}

static bool count(const struct entry *entry)
{
    struct rb_outbox *outbox = entry->queue->outbox;
    if (rb_share_take(&outbox->rows, entry->uid, 1) != RB_OK)
        return false;
    if (rb_share_take(&outbox->bytes, entry->uid, entry->bytes) == RB_OK)
        return true;
    rb_share_give(&outbox->rows, entry->uid, 1);
    return false;
}

static void uncount(const struct entry *entry)
{
    struct rb_outbox *outbox = entry->queue->outbox;
    rb_share_give(&outbox->rows, entry->uid, 1);
    rb_share_give(&outbox->bytes, entry->uid, entry->bytes);
}

struct entry *rb_entry_new(struct queue *queue, const struct rb_post_row *row)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    struct rb_outbox *outbox = queue->outbox;
    entry->queue = queue;
    entry->id = row->id;
    entry->uid = row->uid;
    entry->at = row->at;
    entry->bytes = row->bytes;
    entry->batch = row->batch;
    entry->attempts = row->attempts;
    entry->state = (enum rb_post_state)row->state;
    entry->maybe_duplicate = row->maybe_duplicate;
    entry->stamped = row->stamp.len == RB_STAMP_BYTES;
    rb_list_init(&entry->waits);
    if (!count(entry)) {
        free(entry);
        return NULL;
    }
    if (row->expires && !set_expiry(entry, row->expires)) {
        uncount(entry);
        free(entry);
        return NULL;
    }
    rb_map_add(&outbox->entries, &entry->by_id, rb_hash_i64(entry->id));
    rb_list_push(&queue->entries, &entry->node);
    queue->count++;
    ++*count_of(&outbox->stats, entry->state);
    return entry;
}

void rb_entry_free(struct entry *entry)
{
    struct rb_outbox *outbox = entry->queue->outbox;
    --*count_of(&outbox->stats, entry->state);
    uncount(entry);
    entry->queue->count--;
    rb_list_append_all(&outbox->loose, &entry->waits);
    rb_list_remove(&entry->node);
    rb_map_remove(&outbox->entries, &entry->by_id);
    if (entry->expiry)
        rb_timer_stop(outbox->ports->clock, &entry->expiry->timer);
    free(entry->expiry);
    free(entry);
}

void rb_entry_save(struct entry *entry)
{
    struct rb_post_row row = {.id = entry->id,
                              .state = (int)entry->state,
                              .batch = entry->batch,
                              .attempts = entry->attempts,
                              .maybe_duplicate = entry->maybe_duplicate};
    rb_post_rows_update(entry->queue->outbox->posts, &row);
}

static void note_accepted(struct rb_outbox *outbox, struct rb_topic *topic, struct rb_span message_id)
{
    topic->posted = true;
    /* Out of memory: an older id is as good for a look-up, only longer to read on from. */
    (void)rb_topic_set_newest(topic, message_id);
    rb_topic_save(outbox->topics, topic);
}

static void count_end(struct rb_outbox *outbox, enum rb_post_state state, struct result *result)
{
    if (result && result->counted)
        return;
    if (state == RB_POST_ACCEPTED)
        outbox->stats.accepted++;
    else if (state == RB_POST_REFUSED)
        outbox->stats.refused++;
    else
        outbox->stats.expired++;
}

void rb_entry_end(struct entry *entry, enum rb_post_state state, struct result *result)
{
    struct queue *queue = entry->queue;
    struct rb_outbox *outbox = queue->outbox;
    struct rb_post_row row = {.id = entry->id, .state = (int)state, .ended = rb_clock_wall_ms(outbox->ports->clock)};
    if (state == RB_POST_ACCEPTED) {
        row.message_id = rb_str_span(&result->message_id);
        row.timestamp = rb_str_span(&result->timestamp);
    } else if (state == RB_POST_REFUSED) {
        row.status = result->status;
        row.detail = rb_span_of(result->detail);
    }
    rb_post_rows_end(outbox->posts, &row);
    if (entry->batch)
        rb_batch_rows_delete(outbox->batches, entry->batch);
    if (state == RB_POST_ACCEPTED)
        note_accepted(outbox, queue->topic, row.message_id);
    count_end(outbox, state, result);
    rb_log(RB_LOG_DEBUG, "outbox", "post %lld: %s, was %s", (long long)entry->id, rb_post_state_text(state),
           rb_post_state_text(entry->state));
    RB_LIST_EACH (&entry->waits, node)
        rb_wait_end(RB_CONTAINER(node, struct rb_post_wait, node));
    if (entry == rb_queue_head(queue))
        queue->not_before_ms = 0;
    rb_entry_free(entry);
}

/* --- loading --- */

struct loading {
    struct rb_outbox *outbox;
    enum rb_status status;
};

static void load_row(void *arg, const struct rb_post_row *row)
{
    struct loading *loading = arg;
    struct rb_outbox *outbox = loading->outbox;
    struct rb_topic *topic = rb_topic_by_id(outbox->topics, row->topic);
    if (!topic) {
        rb_log(RB_LOG_ERROR, "outbox", "post %lld belongs to no topic; it is left out", (long long)row->id);
        return;
    }
    struct queue *queue = rb_queue_of(outbox, topic);
    struct entry *entry = queue ? rb_entry_new(queue, row) : NULL;
    if (!entry) {
        loading->status = RB_NO_MEMORY;
        return;
    }
    /* T5: nobody here waits for the end of that attempt any more. */
    bool awaited = queue->send_results > 0 ||
                   (queue->stage == STAGE_CALL && queue->work == WORK_SEND && queue->post_id == row->id);
    if (entry->state == RB_POST_SENDING && !awaited)
        rb_entry_set_state(entry, RB_POST_UNKNOWN);
}

static enum rb_status load(struct rb_outbox *outbox, bool scan)
{
    struct loading loading = {outbox, RB_OK};
    rb_post_rows_open(outbox->posts, scan, load_row, &loading);
    return loading.status == RB_OK ? rb_store_failed(outbox->ports->store) : loading.status;
}

static void on_nudge(struct rb_timer *timer)
{
    struct rb_outbox *outbox = RB_CONTAINER(timer, struct rb_outbox, nudge);
    rb_tick_lead(outbox->ports->tick);
    RB_LIST_EACH (&outbox->queues, node)
        rb_queue_line_up(RB_CONTAINER(node, struct queue, node));
    rb_lanes_run(outbox);
    rb_waits_review(outbox);
}

/* It may be told from inside a fact or an effect, so the work waits for a timer. */
static void on_account(struct rb_account_watch *watch, struct rb_account *account)
{
    struct rb_outbox *outbox = RB_CONTAINER(watch, struct rb_outbox, watch);
    if (!rb_timer_is_set(&outbox->nudge))
        rb_timer_set_in(outbox->ports->clock, &outbox->nudge, 0);
}

static enum rb_status open_rows(struct rb_outbox *outbox, struct rb_error *err)
{
    enum rb_status status = rb_post_rows_new(outbox->ports->store, &outbox->posts, err);
    if (status == RB_OK)
        status = rb_batch_rows_new(outbox->ports->store, &outbox->batches, err);
    if (status != RB_OK)
        return status;
    int64_t open, at_most, keys = outbox->ports->config->keys;
    rb_post_rows_count(outbox->posts, &open, &at_most);
    rb_map_expect(&outbox->entries, (size_t)open);
    rb_map_expect(&outbox->keys, (size_t)(at_most < keys ? at_most : keys));
    status = load(outbox, true);
    if (status == RB_OK)
        status = rb_keys_load(outbox);
    if (status == RB_OK)
        status = rb_store_failed(outbox->ports->store);
    if (status != RB_OK)
        rb_fail(err, status, "The outbox cannot be read from the database: %s.", rb_status_text(status));
    return status;
}

enum rb_status rb_outbox_new(const struct rb_ports *ports, struct rb_accounts *accounts, struct rb_topics *topics,
                             struct rb_budgets *budgets, struct rb_events *events, struct rb_outbox **ret,
                             struct rb_error *err)
{
    struct rb_outbox *outbox = calloc(1, sizeof *outbox);
    if (!outbox)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    outbox->ports = ports;
    outbox->accounts = accounts;
    outbox->topics = topics;
    outbox->budgets = budgets;
    outbox->events = events;
    const struct rb_broker_config *config = ports->config;
    rb_share_init(&outbox->rows, config->outbox_rows, config->user_percent);
    rb_share_init(&outbox->bytes, config->outbox_bytes, config->user_percent);
    rb_share_init(&outbox->remembered, config->keys, config->user_percent);
    rb_list_init(&outbox->queues);
    rb_list_init(&outbox->lanes);
    rb_list_init(&outbox->results);
    rb_list_init(&outbox->loose);
    rb_list_init(&outbox->retired);
    outbox->drop_retired = RB_TIMER_INIT(rb_retired_drop);
    outbox->nudge = RB_TIMER_INIT(on_nudge);
    outbox->drop_kept = RB_TIMER_INIT(rb_view_drop_kept);
    rb_random_fill(ports->random, outbox->seed, sizeof outbox->seed);
    outbox->watch.changed = on_account;
    rb_account_watch(accounts, &outbox->watch);
    enum rb_status status = open_rows(outbox, err);
    if (status != RB_OK) {
        rb_outbox_free(outbox);
        return status;
    }
    *ret = outbox;
    return RB_OK;
}

static void free_entries(struct rb_outbox *outbox)
{
    RB_LIST_EACH (&outbox->queues, node) {
        struct queue *queue = RB_CONTAINER(node, struct queue, node);
        struct entry *entry;
        while ((entry = rb_queue_head(queue)))
            rb_entry_free(entry);
    }
}

static void free_queue(struct queue *queue)
{
    rb_tick_cancel(&queue->effect);
    rb_timer_stop(queue->outbox->ports->clock, &queue->timer);
    rb_result_free(queue->result);
    rb_str_free(&queue->look_up.cursor);
    queue->topic->outbox = NULL;
    free(queue);
}

/* Calls under way have gone with the relay. */
void rb_outbox_free(struct rb_outbox *outbox)
{
    if (!outbox)
        return;
    rb_account_unwatch(&outbox->watch);
    free_entries(outbox);
    rb_waits_free(outbox);
    struct rb_list *node;
    while ((node = rb_list_pop(&outbox->queues)))
        free_queue(RB_CONTAINER(node, struct queue, node));
    while ((node = rb_list_pop(&outbox->results)))
        RB_CONTAINER(node, struct result, node)->queue = NULL;
    rb_lanes_free(outbox);
    rb_keys_free(outbox);
    rb_views_free(outbox);
    rb_timer_stop(outbox->ports->clock, &outbox->nudge);
    rb_timer_stop(outbox->ports->clock, &outbox->drop_retired);
    rb_map_clear(&outbox->entries, NULL);
    rb_share_free(&outbox->rows);
    rb_share_free(&outbox->bytes);
    rb_share_free(&outbox->remembered);
    rb_post_rows_free(outbox->posts);
    rb_batch_rows_free(outbox->batches);
    free(outbox);
}

enum rb_status rb_outbox_reload(struct rb_outbox *outbox)
{
    struct rb_clock *clock = outbox->ports->clock;
    outbox->paused_until_ms = rb_clock_now_ms(clock) + outbox->ports->config->backoff_min_ms;
    free_entries(outbox);
    enum rb_status status = load(outbox, false);
    if (status != RB_OK)
        return status;
    rb_waits_attach(outbox);
    RB_LIST_EACH (&outbox->queues, node)
        rb_queue_line_up(RB_CONTAINER(node, struct queue, node));
    RB_LIST_EACH (&outbox->lanes, node)
        rb_timer_set(clock, &RB_CONTAINER(node, struct lane, node)->timer, outbox->paused_until_ms);
    return RB_OK;
}

void rb_outbox_start(struct rb_outbox *outbox)
{
    rb_tick_lead(outbox->ports->tick);
    outbox->running = true;
    int64_t look_up_ms = rb_clock_now_ms(outbox->ports->clock) + outbox->ports->config->unknown_wait_ms;
    RB_LIST_EACH (&outbox->queues, node) {
        struct queue *queue = RB_CONTAINER(node, struct queue, node);
        struct entry *head = rb_queue_head(queue);
        if (head && head->state == RB_POST_UNKNOWN)
            queue->not_before_ms = look_up_ms;
        rb_queue_line_up(queue);
    }
    rb_lanes_run(outbox);
    rb_sweep_start(outbox);
}

void rb_outbox_stop(struct rb_outbox *outbox)
{
    outbox->running = false;
    rb_timer_stop(outbox->ports->clock, &outbox->sweep);
    rb_timer_stop(outbox->ports->clock, &outbox->drop_retired);
    rb_waits_review(outbox);
}

/* --- figures and ids --- */

void rb_outbox_stats(struct rb_outbox *outbox, struct rb_outbox_stats *ret)
{
    *ret = outbox->stats;
    ret->open_bytes = outbox->bytes.held;
    ret->oldest_wall_ms = 0;
    RB_LIST_EACH (&outbox->queues, node) {
        struct entry *head = rb_queue_head(RB_CONTAINER(node, struct queue, node));
        if (head && (!ret->oldest_wall_ms || head->at < ret->oldest_wall_ms))
            ret->oldest_wall_ms = head->at;
    }
}

int64_t rb_outbox_open_of(struct rb_outbox *outbox, int64_t account)
{
    int64_t count = 0;
    RB_LIST_EACH (&outbox->queues, node) {
        struct queue *queue = RB_CONTAINER(node, struct queue, node);
        count += queue->topic->account == account ? queue->count : 0;
    }
    return count;
}

#define ID_PREFIX "outbox-"

void rb_outbox_id_print(int64_t id, char *ret)
{
    snprintf(ret, RB_OUTBOX_ID_MAX, ID_PREFIX "%lld", (long long)id);
}

bool rb_outbox_id_parse(struct rb_span text, int64_t *ret)
{
    size_t skip = sizeof ID_PREFIX - 1;
    if (text.len < skip || memcmp(text.at, ID_PREFIX, skip) != 0)
        return false;
    struct rb_span digits = {text.at + skip, text.len - skip};
    return rb_span_to_i64(digits, 1, INT64_MAX, ret) == RB_OK;
}
