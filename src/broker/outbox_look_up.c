#include "outbox_private.h"

#include "json_span.h"
#include "log.h"

enum {
    PAGE_LIMIT = 100,
    PAGES_UP = 1000, /* from a known id on */
    PAGES_DOWN = 10, /* from the newest back, when nothing is known */
    NO_MEMORY_MS = 1000,
    LOST_TIMES = 10, /* so much longer may a look-up take whose answers are lost */
};

/* A page that the relay cannot read (a poisoned message, contract §4) says nothing about the relay as a whole. */
static void note_page(struct queue *queue, const struct rb_answer *answer)
{
    if (answer->problem != RB_PROBLEM_SERVER)
        rb_lane_note(queue->lane, answer);
}

static void rest(struct queue *queue, int64_t ms)
{
    queue->not_before_ms = rb_clock_now_ms(queue->outbox->ports->clock) + ms;
}

/* 429 and what is as harmless: later. */
static int64_t rest_after(struct queue *queue, const struct rb_answer *answer, int failures)
{
    int64_t ms = rb_outbox_backoff_ms(queue->outbox, failures);
    return answer->retry_after_ms > ms ? answer->retry_after_ms : ms;
}

static enum rb_status start_page(struct queue *queue, bool descending, int limit, struct rb_span cursor,
                                 rb_page_done done)
{
    struct rb_outbox *outbox = queue->outbox;
    struct rb_account *account = rb_queue_account(queue);
    struct rb_span token;
    enum rb_status status = rb_account_access(account, &token, &queue->serial);
    if (status != RB_OK)
        return status;
    struct rb_relay_peer peer = rb_account_peer(account);
    return rb_relay_page(outbox->ports->relay, &peer, token, rb_span_of(queue->topic->name), descending, limit, cursor,
                         (size_t)outbox->ports->config->answer_max_bytes, done, queue, NULL);
}

/* The call could not start. Without a token the account's watch comes; else memory may. */
static void end_unstarted(struct queue *queue)
{
    rb_work_end(queue);
    rest(queue, NO_MEMORY_MS);
    rb_queue_line_up(queue);
}

static void end_work(struct queue *queue)
{
    rb_work_end(queue);
    rb_queue_run(queue);
    rb_waits_review(queue->outbox);
}

/* --- the newest id of a topic that is new to us (O3) --- */

void rb_learn_begin(struct queue *queue)
{
    rb_work_begin(queue, WORK_LEARN, rb_queue_head(queue)->id);
}

static void on_learned(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                       struct rb_span next_cursor)
{
    struct queue *queue = arg;
    struct rb_outbox *outbox = queue->outbox;
    rb_tick_lead(outbox->ports->tick);
    note_page(queue, answer);
    if (rb_token_refused(queue, answer)) {
        end_work(queue);
        return;
    }
    if (answer->end == RB_END_EXECUTED && count) {
        if (rb_topic_set_newest(queue->topic, messages[0].message_id) == RB_OK)
            rb_topic_save(outbox->topics, queue->topic);
        else
            queue->learning_failed = true;
    } else if (answer->end == RB_END_EXECUTED || answer->problem == RB_PROBLEM_NOT_FOUND) {
        queue->was_empty = true;
    } else if (answer->problem == RB_PROBLEM_RATE) {
        rest(queue, rest_after(queue, answer, 1));
    } else if (answer->problem != RB_PROBLEM_UNREACHABLE) {
        queue->learning_failed = true;
    }
    end_work(queue);
}

void rb_learn_call(struct queue *queue)
{
    if (start_page(queue, true, 1, (struct rb_span){0}, on_learned) != RB_OK)
        end_unstarted(queue);
}

/* --- what became of an unknown row (O2, O3) --- */

/* Ends the look-up: a fact. False: no memory for it now. */
static bool conclude(struct queue *queue, enum outcome outcome, const struct rb_incoming *found)
{
    struct result *result = rb_result_new(queue);
    if (!result)
        return false;
    result->post_id = rb_queue_head(queue)->id;
    result->work = WORK_LOOK_UP;
    result->outcome = outcome;
    if (found) {
        rb_str_add_span(&result->message_id, found->message_id);
        rb_str_add_span(&result->timestamp, found->timestamp);
        if (rb_str_failed(&result->message_id) || rb_str_failed(&result->timestamp)) {
            rb_result_free(result);
            return false;
        }
    }
    queue->look_up.post_id = 0;
    queue->not_before_ms = 0;
    rb_log(RB_LOG_DEBUG, "outbox", "post %lld: looked for, %s", (long long)result->post_id,
           outcome == OUTCOME_ACCEPTED ? "found" : "not found");
    rb_result_tell(result);
    return true;
}

static void conclude_or_wait(struct queue *queue, enum outcome outcome, const struct rb_incoming *found)
{
    if (!conclude(queue, outcome, found)) {
        rest(queue, NO_MEMORY_MS);
        rb_queue_line_up(queue);
    }
}

struct reading {
    struct queue *queue;
    int64_t batch;
    bool failed;
};

static void read_stamp(void *arg, const struct rb_post_row *row)
{
    struct reading *reading = arg;
    reading->batch = row->batch;
    if (row->stamp.len == RB_STAMP_BYTES)
        rb_stamp_hex((const unsigned char *)row->stamp.at, reading->queue->look_up.stamp);
}

static void read_newest(void *arg, const struct rb_batch_row *row)
{
    struct reading *reading = arg;
    struct look_up *look_up = &reading->queue->look_up;
    look_up->descending = row->newest.at == NULL;
    rb_str_add_span(&look_up->cursor, row->newest);
    reading->failed = rb_str_failed(&look_up->cursor);
}

static bool prepare(struct queue *queue, struct entry *entry)
{
    struct rb_outbox *outbox = queue->outbox;
    struct look_up *look_up = &queue->look_up;
    if (look_up->post_id == entry->id)
        return true;
    rb_str_free(&look_up->cursor);
    *look_up = (struct look_up){.limit = PAGE_LIMIT, .descending = true};
    struct reading reading = {.queue = queue};
    if (!rb_post_rows_get(outbox->posts, entry->id, read_stamp, &reading))
        return false;
    rb_batch_rows_get(outbox->batches, reading.batch, read_newest, &reading);
    if (reading.failed)
        return false;
    look_up->post_id = entry->id;
    return true;
}

void rb_look_up_begin(struct queue *queue)
{
    struct entry *head = rb_queue_head(queue);
    if (!head->stamped) {
        conclude_or_wait(queue, OUTCOME_NOT_FOUND, NULL);
        return;
    }
    if (!prepare(queue, head)) {
        rest(queue, NO_MEMORY_MS);
        rb_queue_line_up(queue);
        return;
    }
    struct rb_account *account = rb_queue_account(queue);
    struct rb_span token;
    /* Without a token the queue waits for its account's watch. */
    if (rb_account_access(account, &token, &queue->serial) == RB_OK)
        rb_work_begin(queue, WORK_LOOK_UP, head->id);
}

static bool is_ours(const struct look_up *look_up, const struct rb_incoming *message)
{
    return rb_stamp_is(message->metadata, look_up->stamp);
}

/* A failed read: again later. What the relay fails to read for so long ends as not found, and is sent again. While it
 * cannot be reached there is nothing to be won by that, only a second copy; while its answers are lost, too, but then
 * the reading may be what goes wrong, so that ends as well. */
static void read_failed(struct queue *queue, const struct rb_answer *answer)
{
    struct rb_outbox *outbox = queue->outbox;
    struct look_up *look_up = &queue->look_up;
    int64_t now = rb_clock_now_ms(outbox->ports->clock), give_up_ms = outbox->ports->config->look_up_give_up_ms;
    bool away = answer->problem == RB_PROBLEM_UNREACHABLE, lost = answer->problem == RB_PROBLEM_LOST && !answer->status;
    look_up->failures++;
    look_up->away |= away || lost;
    if (away || lost || !look_up->failing_since_ms)
        look_up->failing_since_ms = away || lost ? 0 : now;
    if (!lost || !look_up->lost_since_ms)
        look_up->lost_since_ms = lost ? now : 0;
    if ((look_up->failing_since_ms && now - look_up->failing_since_ms >= give_up_ms) ||
        (look_up->lost_since_ms && now - look_up->lost_since_ms >= LOST_TIMES * give_up_ms)) {
        conclude_or_wait(queue, OUTCOME_NOT_FOUND, NULL);
        return;
    }
    rest(queue, rest_after(queue, answer, look_up->failures));
}

/* Where the next page begins. False: there is none. */
static bool turn_page(struct look_up *look_up, size_t count, struct rb_span next_cursor)
{
    int most = look_up->descending ? PAGES_DOWN : PAGES_UP;
    if (count < (size_t)look_up->limit || !next_cursor.len || ++look_up->pages >= most ||
        rb_span_equal(next_cursor, rb_str_span(&look_up->cursor)))
        return false;
    rb_str_reset(&look_up->cursor);
    rb_str_add_span(&look_up->cursor, next_cursor);
    /* Without memory for the cursor nothing more can be looked at. */
    return !rb_str_failed(&look_up->cursor);
}

/* A relay that comes back may do just now what it was sent before: one look later is better than a second copy. */
static void found_nothing(struct queue *queue)
{
    if (queue->look_up.away) {
        queue->look_up.post_id = 0;
        rest(queue, queue->outbox->ports->config->unknown_wait_ms);
    } else {
        conclude_or_wait(queue, OUTCOME_NOT_FOUND, NULL);
    }
}

static void read_page(struct queue *queue, const struct rb_incoming *messages, size_t count, struct rb_span next_cursor)
{
    struct look_up *look_up = &queue->look_up;
    look_up->failures = 0;
    look_up->failing_since_ms = look_up->lost_since_ms = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_ours(look_up, &messages[i])) {
            conclude_or_wait(queue, OUTCOME_ACCEPTED, &messages[i]);
            return;
        }
    }
    if (!turn_page(look_up, count, next_cursor))
        found_nothing(queue);
}

static void on_page(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                    struct rb_span next_cursor)
{
    struct queue *queue = arg;
    struct rb_outbox *outbox = queue->outbox;
    struct look_up *look_up = &queue->look_up;
    rb_tick_lead(outbox->ports->tick);
    note_page(queue, answer);
    struct entry *head = rb_queue_head(queue);
    rb_work_end(queue);
    if (!head || head->id != queue->post_id || head->state != RB_POST_UNKNOWN) {
        /* Reloaded meanwhile, or known by now. */
    } else if (rb_token_refused(queue, answer)) {
        /* The next token reads on. */
    } else if (answer->end == RB_END_EXECUTED) {
        read_page(queue, messages, count, next_cursor);
    } else if (answer->problem == RB_PROBLEM_NOT_FOUND) {
        found_nothing(queue);
    } else if (answer->problem == RB_PROBLEM_TOO_LONG && look_up->limit > 1) {
        look_up->limit /= 2;
    } else {
        read_failed(queue, answer);
    }
    rb_queue_run(queue);
    rb_waits_review(outbox);
}

void rb_look_up_call(struct queue *queue)
{
    struct look_up *look_up = &queue->look_up;
    enum rb_status status =
        start_page(queue, look_up->descending, look_up->limit, rb_str_span(&look_up->cursor), on_page);
    if (status != RB_OK)
        end_unstarted(queue);
}
