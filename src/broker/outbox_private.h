/* The outbox inside: what its files share.
 *
 *     outbox.c          making, loading, rows and their ends
 *     outbox_add.c      what a caller hands over
 *     outbox_key.c      idempotency keys, and forgetting
 *     outbox_wait.c     waiting callers, views
 *     outbox_lane.c     whose turn it is
 *     outbox_send.c     intent, call, answer
 *     outbox_result.c   answers as facts
 *     outbox_look_up.c  the topic's newest id, and what became of an unknown row
 *     outbox_retired.c  rows that nobody can send any more
 *
 * A queue is a topic's open rows in order. It does one work at a time: nothing, an intent that waits for its commit, or
 * a call. Works take turns in the lane of their relay address, which knows whether the relay can be reached. */
#ifndef RB_OUTBOX_PRIVATE_H
#define RB_OUTBOX_PRIVATE_H

#include "account.h"
#include "batch_rows.h"
#include "budget.h"
#include "event.h"
#include "map.h"
#include "outbox.h"
#include "stamp.h"
#include "post_rows.h"
#include "share.h"

enum { KEY_BYTES = 16, BATCH_KEY_BYTES = 16 };

struct queue;

/* An open row in memory. Its body is read when it is sent. */
struct entry {
    struct rb_map_node by_id;
    struct rb_list node;  /* in its queue */
    struct rb_list waits; /* struct rb_post_wait */
    struct queue *queue;
    int64_t id, uid, at, bytes, batch, attempts;
    enum rb_post_state state;
    bool maybe_duplicate, stamped;
    struct expiry *expiry; /* NULL: never */
};

struct expiry {
    struct rb_timer timer;
    struct entry *entry;
    int64_t wall_ms;
};

/* A relay address. */
struct lane {
    struct rb_list node;
    struct rb_outbox *outbox;
    char *url;
    struct rb_list look_ups; /* queues that could look at their topic, in turn */
    struct rb_list senders;  /* users with queues that could send, in turn */
    struct rb_timer timer;
    int busy;          /* works under way */
    int failures;      /* in a row: then one work at a time probes */
    int64_t resume_ms; /* nothing before it */
    int64_t window;    /* that minute of the posts' budget */
    bool pumping;
};

/* A user's queues in a lane: those whose first row is his. Kept: they are as many as the host's users. */
struct sender {
    struct rb_list node;
    int64_t uid;
    struct rb_list queues; /* in turn; may be empty */
    int busy;              /* attempts under way */
    int64_t spent;         /* attempts in the lane's window */
};

enum stage { STAGE_IDLE, STAGE_INTENT, STAGE_CALL };
enum work { WORK_SEND, WORK_LEARN, WORK_LOOK_UP };

struct look_up {
    int64_t post_id; /* 0: none begun */
    char stamp[RB_STAMP_HEX + 1];
    struct rb_str cursor; /* empty: from the end that it reads from */
    bool descending;      /* nothing is known of what was there before the attempt */
    int limit, pages, failures;
    bool away;                               /* the relay did not answer for a while */
    int64_t failing_since_ms, lost_since_ms; /* 0: not; the relay fails at it, or no answer comes */
};

struct queue {
    struct rb_outbox *outbox;
    struct rb_topic *topic;
    struct rb_list node;
    struct rb_list entries; /* FIFO */
    int64_t count;

    struct lane *lane; /* of its turn or work */
    struct sender *sender;
    struct rb_list turn;
    int64_t not_before_ms; /* the head rests until then */
    struct rb_timer timer;

    enum stage stage;
    enum work work;
    int64_t post_id;
    struct rb_effect effect;
    struct result *result; /* made before sending: an answer must find memory */
    uint64_t serial;       /* of the token that was sent */
    int refused_tokens;    /* 401 in a row */

    int results, send_results;       /* facts that are not on disk yet; those of attempts */
    bool was_empty, learning_failed; /* what is known of the topic where its newest id is not */
    struct look_up look_up;
};

enum outcome { OUTCOME_ACCEPTED, OUTCOME_REFUSED, OUTCOME_AGAIN, OUTCOME_UNKNOWN, OUTCOME_NOT_FOUND };

/* What became of an attempt or look-up: a fact from upstream. */
struct result {
    struct rb_fact fact;
    struct rb_list node; /* in outbox->results */
    struct queue *queue; /* NULL: the outbox has gone */
    int64_t post_id;
    enum work work;
    enum outcome outcome;
    struct rb_str message_id, timestamp;
    int status;
    char detail[256];
    int64_t rest_until_ms; /* unknown: until the look-up */
    bool counted;
};

struct rb_outbox {
    const struct rb_ports *ports;
    struct rb_accounts *accounts;
    struct rb_topics *topics;
    struct rb_budgets *budgets;
    struct rb_events *events;
    struct rb_post_rows *posts;
    struct rb_batch_rows *batches;

    bool running;
    int64_t paused_until_ms; /* after a failed commit */
    struct rb_list queues, lanes;
    struct rb_map entries; /* by id */
    struct rb_list results;
    struct rb_list loose; /* waits whose row is not open */
    struct rb_account_watch watch;
    struct rb_timer nudge;
    struct rb_list retired; /* queues of retired accounts, by their `turn` */
    struct rb_timer drop_retired;

    unsigned char seed[RB_MAP_SEED_BYTES];
    struct rb_map keys;
    struct rb_share rows, bytes;        /* open rows and their bytes, by user (D6) */
    struct rb_share remembered;         /* all rows until they are forgotten, by user (D6) */
    struct key *keys_added, *keys_gone; /* in this tick */
    struct rb_effect keys_effect;
    struct rb_timer sweep;
    int64_t swept_to;
    int64_t pressed_rows; /* somebody has no room in `remembered` for so many, or nearly none; 0: all have */

    struct kept *kept; /* texts of views */
    struct rb_timer drop_kept;
    struct rb_outbox_stats stats;
};

/* --- outbox.c --- */
struct entry *rb_outbox_entry(struct rb_outbox *outbox, int64_t id);
struct entry *rb_queue_head(struct queue *queue);
/* The topic's queue, made when missing; NULL: out of memory. */
struct queue *rb_queue_of(struct rb_outbox *outbox, struct rb_topic *topic);
/* An open row; `expires_wall_ms` 0: never. NULL: out of memory. */
struct entry *rb_entry_new(struct queue *queue, const struct rb_post_row *row);
void rb_entry_free(struct entry *entry);
void rb_entry_set_state(struct entry *entry, enum rb_post_state state);
/* Writes state, batch, attempts and maybe_duplicate. */
void rb_entry_save(struct entry *entry);
/* The row ends: `result` says how, NULL: it has expired. Frees the entry and ends its waits. */
void rb_entry_end(struct entry *entry, enum rb_post_state state, struct result *result);
bool rb_entry_has_expired(const struct entry *entry);

/* --- outbox_key.c --- */
enum rb_status rb_keys_load(struct rb_outbox *outbox);
void rb_keys_free(struct rb_outbox *outbox);
/* The row of the key within its life; 0: none. `*ret_same`: it has this digest. */
int64_t rb_keys_find(struct rb_outbox *outbox, const unsigned char key[KEY_BYTES],
                     const unsigned char digest[KEY_BYTES], bool *ret_same);
/* A row that is inserted in this tick, with its key or NULL: it counts until it is forgotten, or until this tick fails.
 * RB_NO_MEMORY. */
enum rb_status rb_keys_add(struct rb_outbox *outbox, const unsigned char *key, int64_t id, int64_t uid);
/* Takes back what was added last, in this tick, for a row that does not come to be. */
void rb_keys_take_back(struct rb_outbox *outbox);
/* Ended rows without a key, of users whose part is nearly full or has no room for so many rows, are forgotten soon. */
void rb_keys_make_room(struct rb_outbox *outbox, int64_t rows);
void rb_sweep_start(struct rb_outbox *outbox);

/* --- outbox_wait.c --- */
void rb_wait_end(struct rb_post_wait *wait);
/* Somebody waits to hear of the row, which is not open any more: it ended in this tick. */
bool rb_wait_is_loose(const struct rb_outbox *outbox, int64_t id);
/* Ends the waits whose rows cannot be sent now. */
void rb_waits_review(struct rb_outbox *outbox);
/* Freed entries leave their waits in `loose`: gives them back to those made anew. */
void rb_waits_attach(struct rb_outbox *outbox);
void rb_waits_free(struct rb_outbox *outbox);
void rb_views_free(struct rb_outbox *outbox);
void rb_view_drop_kept(struct rb_timer *timer);

/* --- outbox_lane.c --- */
/* Gives the queue its turn, when it has something to do. */
void rb_queue_line_up(struct queue *queue);
/* As line_up, then lets its lane work. */
void rb_queue_run(struct queue *queue);
void rb_lanes_run(struct rb_outbox *outbox);
void rb_lane_take_turns(struct lane *lane);
void rb_lanes_free(struct rb_outbox *outbox);
void rb_queue_timer(struct rb_timer *timer);
bool rb_queue_has_work(struct queue *queue);
/* The work begins with this tick's commit. */
void rb_work_begin(struct queue *queue, enum work work, int64_t post_id);
void rb_work_end(struct queue *queue);
/* The relay answered, or it did not. */
void rb_lane_note(struct lane *lane, const struct rb_answer *answer);
/* Between backoff_min and its `failures`-fold doubling. */
int64_t rb_outbox_backoff_ms(struct rb_outbox *outbox, int failures);

/* --- outbox_send.c --- */
/* The queue's next work. 0: its turn is over; else the ms until the budget allows it. */
int64_t rb_queue_begin(struct queue *queue);
/* Its first row goes to a topic of which nothing is known: that comes first, and spends no budget. */
bool rb_queue_must_learn(struct queue *queue);
void rb_queue_effect(struct rb_effect *effect, enum rb_status committed);
/* The answer was a 401 to the token that was sent; false: it was not. */
bool rb_token_refused(struct queue *queue, const struct rb_answer *answer);
struct rb_account *rb_queue_account(struct queue *queue);

/* --- outbox_retired.c --- */
/* The queue has work and its account is retired: what can end ends, in slices, in ticks to come. */
void rb_queue_retire(struct queue *queue);
void rb_retired_drop(struct rb_timer *timer);

/* --- outbox_result.c --- */
struct result *rb_result_new(struct queue *queue);
void rb_result_free(struct result *result);
/* Takes the result over, applies it, and again until it is on disk. */
void rb_result_tell(struct result *result);

/* --- outbox_look_up.c --- */
/* The queue's first row goes to a topic of which nothing is known: ask for its newest id. */
void rb_learn_begin(struct queue *queue);
void rb_learn_call(struct queue *queue);
void rb_look_up_begin(struct queue *queue);
void rb_look_up_call(struct queue *queue);

#endif
