#include "outbox_private.h"

enum { NO_MEMORY_REST_MS = 1000 };

struct rb_account *rb_queue_account(struct queue *queue)
{
    return rb_account_by_id(queue->outbox->accounts, queue->topic->account);
}

bool rb_token_refused(struct queue *queue, const struct rb_answer *answer)
{
    if (answer->problem != RB_PROBLEM_UNAUTHORIZED) {
        if (answer->status)
            queue->refused_tokens = 0;
        return false;
    }
    struct rb_outbox *outbox = queue->outbox;
    struct rb_account *account = rb_queue_account(queue);
    if (account)
        rb_account_access_refused(account, queue->serial);
    /* A fresh token that is refused too is not a matter of age. */
    if (++queue->refused_tokens > 1)
        queue->not_before_ms =
            rb_clock_now_ms(outbox->ports->clock) + rb_outbox_backoff_ms(outbox, queue->refused_tokens - 1);
    return true;
}

/* --- sending --- */

static void write_batch(struct rb_outbox *outbox, struct queue *queue, struct entry *entry)
{
    const struct rb_ports *ports = outbox->ports;
    struct rb_batch_row row = {
        .id = entry->batch,
        .account = queue->topic->account,
        .state = RB_POST_SENDING,
        .started = rb_clock_wall_ms(ports->clock),
        .newest = rb_span_of(queue->topic->newest),
    };
    if (!row.newest.at && queue->was_empty)
        row.newest = RB_SPAN("");
    if (entry->batch) {
        /* An earlier attempt that may have been executed keeps what was newest before it. */
        rb_batch_rows_update(outbox->batches, &row, !entry->maybe_duplicate);
        return;
    }
    char key[2 * BATCH_KEY_BYTES + 1];
    rb_random_hex(ports->random, BATCH_KEY_BYTES, key);
    row.id = entry->batch = rb_store_next_id(ports->store, "batch");
    row.key = rb_span_of(key);
    rb_batch_rows_insert(outbox->batches, &row);
}

static void write_intent(struct queue *queue, struct entry *entry)
{
    write_batch(queue->outbox, queue, entry);
    entry->attempts++;
    rb_entry_set_state(entry, RB_POST_SENDING);
    rb_entry_save(entry);
    queue->result->post_id = entry->id;
    queue->result->work = WORK_SEND;
    rb_work_begin(queue, WORK_SEND, entry->id);
}

bool rb_queue_must_learn(struct queue *queue)
{
    const struct entry *head = rb_queue_head(queue);
    return head->state == RB_POST_QUEUED && head->stamped && !queue->topic->newest && !queue->was_empty &&
           !queue->learning_failed;
}

static int64_t begin_send(struct queue *queue, struct entry *entry)
{
    struct rb_outbox *outbox = queue->outbox;
    struct rb_account *account = rb_queue_account(queue);
    struct rb_span token;
    uint64_t serial;
    /* Without a token the queue waits for its account's watch. */
    if (!account || rb_account_access(account, &token, &serial) != RB_OK)
        return 0;
    if (rb_queue_must_learn(queue)) {
        rb_learn_begin(queue);
        return 0;
    }
    if (!queue->result)
        queue->result = rb_result_new(queue);
    if (!queue->result) {
        rb_timer_set_in(outbox->ports->clock, &queue->timer, NO_MEMORY_REST_MS);
        return 0;
    }
    int64_t wait_ms = rb_budget_take(outbox->budgets, queue->lane->url, RB_BUDGET_POST);
    if (wait_ms > 0)
        return wait_ms;
    write_intent(queue, entry);
    return 0;
}

int64_t rb_queue_begin(struct queue *queue)
{
    struct entry *head = rb_queue_head(queue);
    if (!rb_queue_has_work(queue))
        return 0;
    if (head->state == RB_POST_UNKNOWN) {
        rb_look_up_begin(queue);
        return 0;
    }
    if (!rb_entry_has_expired(head))
        return begin_send(queue, head);
    rb_entry_end(head, RB_POST_EXPIRED, NULL);
    rb_queue_line_up(queue);
    return 0;
}

static enum outcome outcome_of(const struct rb_answer *answer)
{
    if (answer->end == RB_END_EXECUTED)
        return OUTCOME_ACCEPTED;
    if (answer->end == RB_END_UNKNOWN)
        return OUTCOME_UNKNOWN;
    switch (answer->problem) {
    case RB_PROBLEM_FORBIDDEN:
    case RB_PROBLEM_INVALID:
    case RB_PROBLEM_TOO_LARGE:
    case RB_PROBLEM_NOT_FOUND:
    case RB_PROBLEM_EXISTS:
        return OUTCOME_REFUSED;
    case RB_PROBLEM_NONE:
    case RB_PROBLEM_UNREACHABLE:
    case RB_PROBLEM_LOST:
    case RB_PROBLEM_TOO_LONG:
    case RB_PROBLEM_SERVER:
    case RB_PROBLEM_RATE:
    case RB_PROBLEM_UNAUTHORIZED:
    case RB_PROBLEM_TOKEN_REFUSED:
        break;
    }
    return OUTCOME_AGAIN;
}

static void fill(struct result *result, const struct rb_answer *answer, const struct rb_stored *stored)
{
    struct rb_outbox *outbox = result->queue->outbox;
    result->outcome = outcome_of(answer);
    result->status = answer->status;
    snprintf(result->detail, sizeof result->detail, "%s", answer->detail);
    result->rest_until_ms = rb_clock_now_ms(outbox->ports->clock) + outbox->ports->config->unknown_wait_ms;
    if (result->outcome != OUTCOME_ACCEPTED)
        return;
    rb_str_add_span(&result->message_id, stored->message_id);
    rb_str_add_span(&result->timestamp, stored->timestamp);
    /* It was stored, and looking will say under which id. */
    if (rb_str_failed(&result->message_id) || rb_str_failed(&result->timestamp))
        result->outcome = OUTCOME_UNKNOWN;
}

static void end_send(struct queue *queue, const struct rb_answer *answer, const struct rb_stored *stored)
{
    struct rb_outbox *outbox = queue->outbox;
    struct lane *lane = queue->lane;
    rb_tick_lead(outbox->ports->tick);
    if (answer->problem == RB_PROBLEM_RATE)
        rb_budget_refused(outbox->budgets, lane->url, RB_BUDGET_POST, answer->retry_after_ms);
    else if (answer->end == RB_END_NOT_EXECUTED && !answer->status)
        rb_budget_give_back(outbox->budgets, lane->url, RB_BUDGET_POST);
    rb_token_refused(queue, answer);
    rb_work_end(queue);
    struct result *result = queue->result;
    queue->result = NULL;
    fill(result, answer, stored);
    rb_result_tell(result);
    rb_lane_take_turns(lane);
}

static void on_posted(void *arg, const struct rb_answer *answer, const struct rb_stored *stored)
{
    struct queue *queue = arg;
    rb_lane_note(queue->lane, answer);
    end_send(queue, answer, stored);
}

/* What a call needs of the rows. */
struct sending {
    struct queue *queue;
    struct rb_span token;
    char stamp[RB_STAMP_HEX + 1]; /* "": none */
    char key[2 * BATCH_KEY_BYTES + 1];
    int64_t batch, ttl;
    enum rb_status status;
};

static void read_post(void *arg, const struct rb_post_row *row)
{
    struct sending *sending = arg;
    sending->batch = row->batch;
    sending->ttl = row->ttl;
    if (row->stamp.len == RB_STAMP_BYTES)
        rb_stamp_hex((const unsigned char *)row->stamp.at, sending->stamp);
}

static void read_batch(void *arg, const struct rb_batch_row *row)
{
    struct sending *sending = arg;
    snprintf(sending->key, sizeof sending->key, "%.*s", (int)row->key.len, row->key.at);
}

static void call_with_body(void *arg, struct rb_span metadata, struct rb_span payload)
{
    struct sending *sending = arg;
    struct queue *queue = sending->queue;
    RB_CLEANUP_STR struct rb_str stamped = RB_STR_INIT;
    if (sending->stamp[0]) {
        rb_stamp_put_on(&stamped, metadata, sending->stamp);
        if (rb_str_failed(&stamped)) {
            sending->status = RB_NO_MEMORY;
            return;
        }
        metadata = rb_str_span(&stamped);
    }
    struct rb_outgoing outgoing = {rb_span_of(queue->topic->name), payload, metadata, sending->ttl};
    struct rb_relay_peer peer = rb_account_peer(rb_queue_account(queue));
    sending->status = rb_relay_post(queue->outbox->ports->relay, &peer, sending->token, &outgoing, sending->key,
                                    on_posted, queue, NULL);
}

/* Nothing left: as if the relay had not been reached. */
static void send_nothing(struct queue *queue)
{
    struct rb_answer answer = {
        .end = RB_END_NOT_EXECUTED, .problem = RB_PROBLEM_NONE, .retry_after_ms = -1, .relay_wall_ms = -1};
    queue->not_before_ms = rb_clock_now_ms(queue->outbox->ports->clock) + NO_MEMORY_REST_MS;
    end_send(queue, &answer, NULL);
}

static void send_now(struct queue *queue)
{
    struct rb_outbox *outbox = queue->outbox;
    struct sending sending = {.queue = queue, .status = RB_UNAVAILABLE};
    if (outbox->running && rb_account_access(rb_queue_account(queue), &sending.token, &queue->serial) == RB_OK &&
        rb_post_rows_get(outbox->posts, queue->post_id, read_post, &sending) &&
        rb_batch_rows_get(outbox->batches, sending.batch, read_batch, &sending))
        rb_post_rows_body(outbox->posts, queue->post_id, call_with_body, &sending);
    if (sending.status != RB_OK)
        send_nothing(queue);
}

static void give_up_intent(struct queue *queue)
{
    struct rb_outbox *outbox = queue->outbox;
    if (queue->work == WORK_SEND)
        rb_budget_give_back(outbox->budgets, queue->lane->url, RB_BUDGET_POST);
    rb_work_end(queue);
    rb_queue_line_up(queue);
    rb_waits_review(outbox);
}

void rb_queue_effect(struct rb_effect *effect, enum rb_status committed)
{
    struct queue *queue = RB_CONTAINER(effect, struct queue, effect);
    if (committed == RB_UNAVAILABLE) /* the process ends */
        return;
    if (committed != RB_OK) {
        give_up_intent(queue);
        return;
    }
    queue->stage = STAGE_CALL;
    switch (queue->work) {
    case WORK_SEND:
        send_now(queue);
        break;
    case WORK_LEARN:
        rb_learn_call(queue);
        break;
    case WORK_LOOK_UP:
        rb_look_up_call(queue);
        break;
    }
}
