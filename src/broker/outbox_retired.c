/* Posts of an account whose name another account has now: nobody can send them any more. They end as expired; one in
 * flight ends by its own result. */
#include "outbox_private.h"

enum { DROP_ROWS = 250, DROP_EVERY_MS = 50 };

static void drop_later(struct rb_outbox *outbox, int64_t in_ms)
{
    struct rb_clock *clock = outbox->ports->clock;
    int64_t at = rb_clock_now_ms(clock) + in_ms;
    if (!rb_timer_is_set(&outbox->drop_retired))
        rb_timer_set(clock, &outbox->drop_retired, at < outbox->paused_until_ms ? outbox->paused_until_ms : at);
}

void rb_queue_retire(struct queue *queue)
{
    struct rb_outbox *outbox = queue->outbox;
    rb_list_remove(&queue->turn);
    rb_timer_stop(outbox->ports->clock, &queue->timer);
    queue->lane = NULL;
    rb_list_push(&outbox->retired, &queue->turn);
    drop_later(outbox, 0);
}

/* O1: what became of an unknown row can no longer be asked; that it may have been stored stays visible. */
static void end(struct entry *entry)
{
    if (entry->state == RB_POST_UNKNOWN) {
        entry->maybe_duplicate = true;
        rb_entry_save(entry);
    }
    rb_entry_end(entry, RB_POST_EXPIRED, NULL);
}

/* In slices: an outbox may be full of such rows. */
void rb_retired_drop(struct rb_timer *timer)
{
    struct rb_outbox *outbox = RB_CONTAINER(timer, struct rb_outbox, drop_retired);
    int left = DROP_ROWS;
    rb_tick_lead(outbox->ports->tick);
    while (left > 0 && !rb_list_empty(&outbox->retired)) {
        struct queue *queue = RB_CONTAINER(outbox->retired.next, struct queue, turn);
        while (left > 0 && rb_queue_has_work(queue)) {
            end(rb_queue_head(queue));
            left--;
        }
        if (!rb_queue_has_work(queue))
            rb_list_remove(&queue->turn);
    }
    if (!rb_list_empty(&outbox->retired))
        drop_later(outbox, DROP_EVERY_MS);
}
