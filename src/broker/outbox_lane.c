#include "outbox_private.h"

#include "backoff.h"
#include "log.h"

enum { NO_MEMORY_REST_MS = 1000 };

int64_t rb_outbox_backoff_ms(struct rb_outbox *outbox, int failures)
{
    return rb_backoff_ms(outbox->ports, failures - 1, outbox->ports->config->backoff_max_ms, RB_JITTER_ABOVE_MIN);
}

/* --- lanes and turns --- */

static void on_lane_timer(struct rb_timer *timer)
{
    struct lane *lane = RB_CONTAINER(timer, struct lane, timer);
    rb_tick_lead(lane->outbox->ports->tick);
    rb_lane_take_turns(lane);
}

static struct lane *lane_of(struct rb_outbox *outbox, const char *url)
{
    RB_LIST_EACH (&outbox->lanes, node) {
        struct lane *lane = RB_CONTAINER(node, struct lane, node);
        if (strcmp(lane->url, url) == 0)
            return lane;
    }
    struct lane *lane = calloc(1, sizeof *lane);
    char *copy = rb_span_dup(rb_span_of(url));
    if (!lane || !copy) {
        free(lane);
        free(copy);
        return NULL;
    }
    lane->outbox = outbox;
    lane->url = copy;
    lane->timer = RB_TIMER_INIT(on_lane_timer);
    rb_list_init(&lane->look_ups);
    rb_list_init(&lane->senders);
    rb_list_push(&outbox->lanes, &lane->node);
    return lane;
}

void rb_lanes_free(struct rb_outbox *outbox)
{
    struct rb_list *node;
    while ((node = rb_list_pop(&outbox->lanes))) {
        struct lane *lane = RB_CONTAINER(node, struct lane, node);
        rb_timer_stop(outbox->ports->clock, &lane->timer);
        while ((node = rb_list_pop(&lane->senders)))
            free(RB_CONTAINER(node, struct sender, node));
        free(lane->url);
        free(lane);
    }
}

/* NULL: out of memory. */
static struct sender *sender_of(struct lane *lane, int64_t uid)
{
    RB_LIST_EACH (&lane->senders, node) {
        struct sender *sender = RB_CONTAINER(node, struct sender, node);
        if (sender->uid == uid)
            return sender;
    }
    struct sender *sender = calloc(1, sizeof *sender);
    if (!sender)
        return NULL;
    sender->uid = uid;
    rb_list_init(&sender->queues);
    rb_list_push(&lane->senders, &sender->node);
    return sender;
}

bool rb_queue_has_work(struct queue *queue)
{
    struct entry *head = rb_queue_head(queue);
    if (!head || !queue->outbox->running || queue->stage != STAGE_IDLE || head->state == RB_POST_SENDING)
        return false;
    return head->state == RB_POST_QUEUED || !queue->results;
}

void rb_queue_line_up(struct queue *queue)
{
    struct rb_outbox *outbox = queue->outbox;
    struct rb_clock *clock = outbox->ports->clock;
    struct rb_account *account = rb_queue_account(queue);
    if (!rb_queue_has_work(queue) || !account) {
        rb_list_remove(&queue->turn);
        return;
    }
    if (rb_account_is_retired(account)) {
        rb_queue_retire(queue);
        return;
    }
    if (queue->not_before_ms > rb_clock_now_ms(clock)) {
        rb_list_remove(&queue->turn);
        rb_timer_set(clock, &queue->timer, queue->not_before_ms);
        return;
    }
    struct lane *lane = lane_of(outbox, rb_account_peer(account).url);
    if (lane && rb_list_linked(&queue->turn) && queue->lane == lane)
        return;
    rb_list_remove(&queue->turn);
    struct entry *head = rb_queue_head(queue);
    struct sender *sender = lane ? sender_of(lane, head->uid) : NULL;
    if (!sender) {
        rb_timer_set_in(clock, &queue->timer, NO_MEMORY_REST_MS);
        return;
    }
    queue->lane = lane;
    queue->sender = sender;
    bool looks = head->state == RB_POST_UNKNOWN || rb_queue_must_learn(queue);
    rb_list_push(looks ? &lane->look_ups : &sender->queues, &queue->turn);
    if (outbox->paused_until_ms > rb_clock_now_ms(clock) && !rb_timer_is_set(&lane->timer))
        rb_timer_set(clock, &lane->timer, outbox->paused_until_ms);
}

void rb_queue_run(struct queue *queue)
{
    rb_queue_line_up(queue);
    if (queue->lane)
        rb_lane_take_turns(queue->lane);
}

void rb_lanes_run(struct rb_outbox *outbox)
{
    RB_LIST_EACH (&outbox->lanes, node)
        rb_lane_take_turns(RB_CONTAINER(node, struct lane, node));
}

void rb_queue_timer(struct rb_timer *timer)
{
    struct queue *queue = RB_CONTAINER(timer, struct queue, timer);
    rb_tick_lead(queue->outbox->ports->tick);
    rb_queue_run(queue);
}

/* --- works --- */

void rb_work_begin(struct queue *queue, enum work work, int64_t post_id)
{
    queue->stage = STAGE_INTENT;
    queue->work = work;
    queue->post_id = post_id;
    queue->lane->busy++;
    if (work == WORK_SEND) {
        queue->sender->busy++;
        queue->sender->spent++;
    }
    rb_tick_after(queue->outbox->ports->tick, &queue->effect);
}

void rb_work_end(struct queue *queue)
{
    queue->stage = STAGE_IDLE;
    queue->lane->busy--;
    if (queue->work == WORK_SEND)
        queue->sender->busy--;
}

void rb_lane_note(struct lane *lane, const struct rb_answer *answer)
{
    struct rb_outbox *outbox = lane->outbox;
    if (answer->problem != RB_PROBLEM_UNREACHABLE && answer->problem != RB_PROBLEM_LOST &&
        answer->problem != RB_PROBLEM_SERVER) {
        if (lane->failures)
            rb_log(RB_LOG_INFO, "outbox", "the relay %s answers again", lane->url);
        lane->failures = 0;
        lane->resume_ms = 0;
        return;
    }
    int64_t now = rb_clock_now_ms(outbox->ports->clock);
    /* Calls that were under way together fail together: one failure, else the longest rest would follow one cut. */
    if (lane->failures && lane->resume_ms > now)
        return;
    if (lane->failures++ == 0)
        rb_log(RB_LOG_WARNING, "outbox", "the relay %s does not answer: %s", lane->url, answer->detail);
    lane->resume_ms = now + rb_outbox_backoff_ms(outbox, lane->failures);
}

/* --- whose turn it is --- */

/* While the relay does not answer, one work at a time probes it. `*again_ms`: when it is worth coming back. */
static bool may_begin(const struct lane *lane, int64_t *again_ms)
{
    struct rb_outbox *outbox = lane->outbox;
    int64_t now = rb_clock_now_ms(outbox->ports->clock);
    int64_t from = lane->resume_ms > outbox->paused_until_ms ? lane->resume_ms : outbox->paused_until_ms;
    if (!outbox->running)
        return false;
    if (from > now) {
        *again_ms = from < *again_ms ? from : *again_ms;
        return false;
    }
    return lane->busy < (lane->failures ? 1 : outbox->ports->config->sending_max);
}

/* False: the budget allows nothing before `*again_ms`. */
static bool take_turn(struct rb_list *line, struct lane *lane, int64_t *again_ms)
{
    struct queue *queue = RB_CONTAINER(rb_list_pop(line), struct queue, turn);
    int64_t wait_ms = rb_queue_begin(queue);
    if (wait_ms <= 0)
        return true;
    rb_list_push(line->next, &queue->turn);
    int64_t at = rb_clock_now_ms(lane->outbox->ports->clock) + wait_ms;
    *again_ms = at < *again_ms ? at : *again_ms;
    return false;
}

static void run_look_ups(struct lane *lane, int64_t *again_ms)
{
    while (!rb_list_empty(&lane->look_ups) && may_begin(lane, again_ms))
        if (!take_turn(&lane->look_ups, lane, again_ms))
            return;
}

static bool is_active(const struct sender *sender)
{
    return sender->busy || !rb_list_empty(&sender->queues);
}

static void begin_window(struct lane *lane, int64_t window)
{
    if (lane->window == window)
        return;
    lane->window = window;
    RB_LIST_EACH (&lane->senders, node)
        RB_CONTAINER(node, struct sender, node)->spent = 0;
}

/* D6: by how much a user is ahead of another who also sends is left to that one, who may have one topic where he has
 * many. */
static bool may_spend(struct lane *lane, struct sender *sender)
{
    int64_t window = 0;
    int64_t left = rb_budget_left(lane->outbox->budgets, lane->url, RB_BUDGET_POST, &window);
    if (left == INT64_MAX || left <= 0) /* the budget itself says until when */
        return true;
    begin_window(lane, window);
    RB_LIST_EACH (&lane->senders, node) {
        const struct sender *other = RB_CONTAINER(node, struct sender, node);
        if (is_active(other) && other->spent < sender->spent)
            left -= sender->spent - other->spent;
    }
    return left > 0;
}

/* The budget goes round over users, and over a user's topics. */
static void run_senders(struct lane *lane, int64_t *again_ms)
{
    const struct sender *first_idle = NULL;
    while (!rb_list_empty(&lane->senders) && may_begin(lane, again_ms)) {
        struct sender *sender = RB_CONTAINER(rb_list_pop(&lane->senders), struct sender, node);
        if (sender == first_idle) {
            rb_list_push(lane->senders.next, &sender->node);
            return;
        }
        rb_list_push(&lane->senders, &sender->node);
        if (rb_list_empty(&sender->queues) || !may_spend(lane, sender)) {
            first_idle = first_idle ? first_idle : sender;
            continue;
        }
        first_idle = NULL;
        if (!take_turn(&sender->queues, lane, again_ms)) {
            rb_list_remove(&sender->node);
            rb_list_push(lane->senders.next, &sender->node);
            return;
        }
    }
}

void rb_lane_take_turns(struct lane *lane)
{
    if (lane->pumping)
        return;
    lane->pumping = true;
    int64_t again_ms = INT64_MAX;
    run_look_ups(lane, &again_ms);
    run_senders(lane, &again_ms);
    lane->pumping = false;
    if (again_ms != INT64_MAX)
        rb_timer_set(lane->outbox->ports->clock, &lane->timer, again_ms);
}
