#include "outbox_private.h"

#include "log.h"

enum { ID_ROOM = 128 };

void rb_result_free(struct result *result)
{
    if (!result)
        return;
    rb_list_remove(&result->node);
    rb_str_free(&result->message_id);
    rb_str_free(&result->timestamp);
    free(result);
}

static bool look_up_said_so(const struct result *result)
{
    return result->work == WORK_LOOK_UP;
}

static void count(struct rb_outbox *outbox, struct result *result)
{
    if (result->counted)
        return;
    outbox->stats.retries += result->outcome == OUTCOME_AGAIN || result->outcome == OUTCOME_NOT_FOUND;
    outbox->stats.maybe_duplicates += result->outcome == OUTCOME_NOT_FOUND;
    outbox->stats.look_ups += look_up_said_so(result);
    result->counted = true;
}

static void requeue(struct entry *entry)
{
    rb_entry_set_state(entry, RB_POST_QUEUED);
    rb_entry_save(entry);
}

static void apply(struct rb_fact *fact)
{
    struct result *result = RB_CONTAINER(fact, struct result, fact);
    struct queue *queue = result->queue;
    struct rb_outbox *outbox = queue->outbox;
    struct entry *entry = rb_outbox_entry(outbox, result->post_id);
    /* A look-up speaks of an unknown row only: by now an attempt may be under way again. */
    if (!entry || entry->state == RB_POST_QUEUED || (look_up_said_so(result) && entry->state != RB_POST_UNKNOWN))
        return;
    switch (result->outcome) {
    case OUTCOME_ACCEPTED:
        rb_entry_end(entry, RB_POST_ACCEPTED, result);
        break;
    case OUTCOME_REFUSED:
        rb_entry_end(entry, RB_POST_REFUSED, result);
        break;
    case OUTCOME_AGAIN:
        requeue(entry);
        break;
    case OUTCOME_NOT_FOUND:
        entry->maybe_duplicate = true;
        requeue(entry);
        break;
    case OUTCOME_UNKNOWN:
        queue->not_before_ms = result->rest_until_ms;
        rb_entry_set_state(entry, RB_POST_UNKNOWN);
        rb_entry_save(entry);
        break;
    }
    count(outbox, result);
    rb_queue_run(queue);
    rb_waits_review(outbox);
}

/* An unknown row is not looked for before it is on disk; its time may have come meanwhile. */
static void look_now(struct queue *queue)
{
    struct rb_clock *clock = queue->outbox->ports->clock;
    struct entry *head = rb_queue_head(queue);
    if (head && head->state == RB_POST_UNKNOWN && !rb_timer_is_set(&queue->timer))
        rb_timer_set(clock, &queue->timer, queue->not_before_ms);
}

static void release(struct rb_fact *fact)
{
    struct result *result = RB_CONTAINER(fact, struct result, fact);
    struct queue *queue = result->queue;
    if (queue) {
        queue->send_results -= result->work == WORK_SEND;
        if (--queue->results == 0)
            look_now(queue);
    }
    rb_result_free(result);
}

struct result *rb_result_new(struct queue *queue)
{
    struct result *result = calloc(1, sizeof *result);
    if (!result)
        return NULL;
    rb_list_init(&result->node);
    rb_list_init(&result->fact.node);
    result->queue = queue;
    result->fact.apply = apply;
    result->fact.release = release;
    if (!rb_str_reserve(&result->message_id, ID_ROOM) || !rb_str_reserve(&result->timestamp, ID_ROOM)) {
        rb_result_free(result);
        return NULL;
    }
    return result;
}

void rb_result_tell(struct result *result)
{
    struct rb_outbox *outbox = result->queue->outbox;
    result->queue->results++;
    result->queue->send_results += result->work == WORK_SEND;
    rb_list_push(&outbox->results, &result->node);
    rb_tick_fact(outbox->ports->tick, &result->fact);
}
