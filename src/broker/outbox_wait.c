#include "outbox_private.h"

/* --- views --- */

/* Texts of views live until control returns to the loop, that is, until its timers run. */
struct kept {
    struct kept *next;
    char text[];
};

void rb_view_drop_kept(struct rb_timer *timer)
{
    struct rb_outbox *outbox = RB_CONTAINER(timer, struct rb_outbox, drop_kept);
    while (outbox->kept) {
        struct kept *next = outbox->kept->next;
        free(outbox->kept);
        outbox->kept = next;
    }
}

void rb_views_free(struct rb_outbox *outbox)
{
    rb_view_drop_kept(&outbox->drop_kept);
    rb_timer_stop(outbox->ports->clock, &outbox->drop_kept);
}

static bool keep(struct rb_outbox *outbox, struct rb_span text, struct rb_span *ret)
{
    if (!text.len)
        return true;
    struct kept *kept = malloc(sizeof *kept + text.len);
    if (!kept)
        return false;
    memcpy(kept->text, text.at, text.len);
    kept->next = outbox->kept;
    outbox->kept = kept;
    if (!rb_timer_is_set(&outbox->drop_kept))
        rb_timer_set_in(outbox->ports->clock, &outbox->drop_kept, 0);
    *ret = (struct rb_span){kept->text, text.len};
    return true;
}

struct viewing {
    struct rb_outbox *outbox;
    struct rb_post_view view;
    enum rb_status status;
};

static void view_row(void *arg, const struct rb_post_row *row)
{
    struct viewing *viewing = arg;
    struct rb_outbox *outbox = viewing->outbox;
    const struct rb_topic *topic = rb_topic_by_id(outbox->topics, row->topic);
    if (!topic) {
        viewing->status = RB_NOT_FOUND;
        return;
    }
    struct rb_post_view *view = &viewing->view;
    *view = (struct rb_post_view){
        .id = row->id,
        .state = (enum rb_post_state)row->state,
        .topic = rb_span_of(topic->name),
        .account = topic->account,
        .at_wall_ms = row->at,
        .ended_wall_ms = row->ended,
        .attempts = row->attempts,
        .maybe_duplicate = row->maybe_duplicate,
        .status = row->status,
    };
    if (!keep(outbox, row->message_id, &view->message_id) || !keep(outbox, row->timestamp, &view->timestamp) ||
        !keep(outbox, row->detail, &view->detail))
        viewing->status = RB_NO_MEMORY;
}

enum rb_status rb_outbox_view(struct rb_outbox *outbox, int64_t id, struct rb_post_view *ret)
{
    struct viewing viewing = {.outbox = outbox, .status = RB_OK};
    if (!rb_post_rows_get(outbox->posts, id, view_row, &viewing)) {
        enum rb_status failed = rb_store_failed(outbox->ports->store);
        return failed == RB_OK ? RB_NOT_FOUND : failed;
    }
    if (viewing.status != RB_OK)
        return viewing.status;
    /* A row whose attempt was cut by a restart says `sending`; memory knows better. */
    const struct entry *entry = rb_outbox_entry(outbox, id);
    if (entry)
        viewing.view.state = entry->state;
    *ret = viewing.view;
    return RB_OK;
}

/* An open row that has committed, as memory has it: reading it back would be a tenth of what a post costs. */
static struct rb_post_view view_entry(const struct entry *entry)
{
    return (struct rb_post_view){
        .id = entry->id,
        .state = entry->state,
        .topic = rb_span_of(entry->queue->topic->name),
        .account = entry->queue->topic->account,
        .at_wall_ms = entry->at,
        .attempts = entry->attempts,
        .maybe_duplicate = entry->maybe_duplicate,
    };
}

/* --- waits --- */

static bool relay_is_down(const struct lane *lane, int64_t now)
{
    return lane->resume_ms > now || (lane->failures && lane->busy);
}

static bool first_cannot_be_sent(struct entry *entry, int64_t deadline_ms)
{
    struct queue *queue = entry->queue;
    struct rb_outbox *outbox = queue->outbox;
    int64_t now = rb_clock_now_ms(outbox->ports->clock);
    if (queue->stage != STAGE_IDLE)
        return false;
    if (queue->not_before_ms > deadline_ms || outbox->paused_until_ms > now)
        return true;
    if (entry->state == RB_POST_UNKNOWN)
        return false;
    struct rb_account *account = rb_queue_account(queue);
    /* It ends by itself, and that is worth waiting for. */
    if (account && rb_account_is_retired(account))
        return false;
    if (!account || rb_account_state(account) != RB_ACCOUNT_ACTIVE)
        return true;
    if (queue->lane && relay_is_down(queue->lane, now))
        return true;
    return rb_budget_wait_ms(outbox->budgets, rb_account_peer(account).url, RB_BUDGET_POST) > 0;
}

/* Waiting would help nobody: the caller hears at once that the row is kept. */
static bool cannot_be_sent_now(struct entry *entry, int64_t deadline_ms)
{
    if (entry->state == RB_POST_SENDING)
        return false;
    if (!entry->queue->outbox->running || entry != rb_queue_head(entry->queue))
        return true;
    return first_cannot_be_sent(entry, deadline_ms);
}

void rb_wait_end(struct rb_post_wait *wait)
{
    wait->ending = true;
    rb_tick_after(wait->outbox->ports->tick, &wait->effect);
}

bool rb_wait_is_loose(const struct rb_outbox *outbox, int64_t id)
{
    RB_LIST_EACH (&outbox->loose, node)
        if (RB_CONTAINER(node, struct rb_post_wait, node)->id == id)
            return true;
    return false;
}

/* O9: what the caller hears is what the row is after this tick's commit, whatever ended the wait. */
static void on_timeout(struct rb_timer *timer)
{
    rb_wait_end(RB_CONTAINER(timer, struct rb_post_wait, timer));
}

/* It is there, but what became of it cannot be read now. */
static struct rb_post_view view_of_wait(const struct rb_post_wait *wait)
{
    return (struct rb_post_view){
        .id = wait->id,
        .state = RB_POST_QUEUED,
        .topic = rb_span_of(wait->topic->name),
        .account = wait->topic->account,
        .at_wall_ms = wait->at_wall_ms,
    };
}

static void finish(struct rb_post_wait *wait, enum rb_status committed)
{
    struct rb_outbox *outbox = wait->outbox;
    rb_list_remove(&wait->node);
    rb_timer_stop(outbox->ports->clock, &wait->timer);
    struct rb_post_view view;
    enum rb_status status = RB_OK;
    /* Only after a commit that succeeded is memory what is on disk. */
    const struct entry *entry = committed == RB_OK ? rb_outbox_entry(outbox, wait->id) : NULL;
    if (entry)
        view = view_entry(entry);
    else
        status = rb_outbox_view(outbox, wait->id, &view);
    if (status != RB_OK && committed == RB_OK && wait->topic) {
        view = view_of_wait(wait);
        status = RB_OK;
    }
    if (status == RB_OK)
        wait->done(wait, RB_OK, &view);
    else
        wait->done(wait, committed == RB_OK ? status : committed, NULL);
}

static void on_commit(struct rb_effect *effect, enum rb_status committed)
{
    struct rb_post_wait *wait = RB_CONTAINER(effect, struct rb_post_wait, effect);
    struct rb_outbox *outbox = wait->outbox;
    if (committed == RB_OK) {
        if (wait->ending)
            finish(wait, RB_OK);
        return;
    }
    /* The process ends, or has to (T4): what is on disk is not known, and nobody is told anything any more. */
    if (committed == RB_UNAVAILABLE || committed == RB_IO)
        return;
    struct entry *entry = rb_outbox_entry(outbox, wait->id);
    if (!entry) {
        finish(wait, committed);
        return;
    }
    /* The row is older than the tick that failed, and open again. */
    wait->ending = false;
    if (!rb_timer_is_set(&wait->timer) || cannot_be_sent_now(entry, wait->deadline_ms))
        rb_wait_end(wait);
}

void rb_outbox_wait(struct rb_outbox *outbox, int64_t id, int64_t wait_ms, struct rb_post_wait *wait)
{
    struct rb_clock *clock = outbox->ports->clock;
    wait->outbox = outbox;
    wait->id = id;
    wait->ending = false;
    wait->effect = (struct rb_effect){.run = on_commit};
    wait->timer = RB_TIMER_INIT(on_timeout);
    wait->deadline_ms = rb_clock_now_ms(clock) + (wait_ms > 0 ? wait_ms : 0);
    rb_list_init(&wait->node);
    rb_list_init(&wait->effect.node);
    struct entry *entry = rb_outbox_entry(outbox, id);
    wait->topic = entry ? entry->queue->topic : NULL;
    wait->at_wall_ms = entry ? entry->at : 0;
    rb_list_push(entry ? &entry->waits : &outbox->loose, &wait->node);
    if (!entry || wait_ms <= 0 || cannot_be_sent_now(entry, wait->deadline_ms))
        wait->ending = true;
    else
        rb_timer_set(clock, &wait->timer, wait->deadline_ms);
    rb_tick_after(outbox->ports->tick, &wait->effect);
}

void rb_outbox_wait_cancel(struct rb_post_wait *wait)
{
    rb_timer_stop(wait->outbox->ports->clock, &wait->timer);
    rb_tick_cancel(&wait->effect);
    rb_list_remove(&wait->node);
}

/* Only a queue's first row has waits that are not ending: whoever waits behind another hears at once. */
void rb_waits_review(struct rb_outbox *outbox)
{
    RB_LIST_EACH (&outbox->queues, node) {
        struct entry *head = rb_queue_head(RB_CONTAINER(node, struct queue, node));
        if (!head)
            continue;
        RB_LIST_EACH (&head->waits, waiting) {
            struct rb_post_wait *wait = RB_CONTAINER(waiting, struct rb_post_wait, node);
            if (!wait->ending && cannot_be_sent_now(head, wait->deadline_ms))
                rb_wait_end(wait);
        }
    }
}

void rb_waits_attach(struct rb_outbox *outbox)
{
    RB_LIST_EACH_SAFE (&outbox->loose, node) {
        struct entry *entry = rb_outbox_entry(outbox, RB_CONTAINER(node, struct rb_post_wait, node)->id);
        if (entry) {
            rb_list_remove(node);
            rb_list_push(&entry->waits, node);
        }
    }
}

void rb_waits_free(struct rb_outbox *outbox)
{
    struct rb_list *node;
    while ((node = rb_list_pop(&outbox->loose))) {
        struct rb_post_wait *wait = RB_CONTAINER(node, struct rb_post_wait, node);
        rb_timer_stop(outbox->ports->clock, &wait->timer);
        rb_tick_cancel(&wait->effect);
    }
}
