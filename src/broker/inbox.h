/* Inbox: what the relay stored, read once for all local readers (I1–I7, I11).
 *
 * A followed topic has a confirmed cursor. Only a catch-up read moves it, in the transaction that stores the messages;
 * a waiter's answer is a wake-up. Stored messages have dense numbers per topic, n = 1, 2, …; readers keep an n. One
 * upstream poll of up to 20 topics serves all local waiters of an account; a parked poll is never cancelled (I7). */
#ifndef RB_INBOX_H
#define RB_INBOX_H

#include "broker.h"
#include "topic.h"

enum rb_status rb_inbox_new(const struct rb_ports *ports, struct rb_accounts *accounts, struct rb_topics *topics,
                            struct rb_events *events, struct rb_inbox **ret, struct rb_error *err);
void rb_inbox_free(struct rb_inbox *inbox);
enum rb_status rb_inbox_reload(struct rb_inbox *inbox);
void rb_inbox_start(struct rb_inbox *inbox);
void rb_inbox_stop(struct rb_inbox *inbox);

/* Somebody wants the topic: it is followed from now on ("latest", I2; or from "0-0" with `earliest`, only meaningful
 * when it was not followed before). Idempotent and cheap; called with every poll. */
void rb_inbox_want(struct rb_inbox *inbox, struct rb_topic *topic, bool earliest);
/* Its start was found and committed: what is published now will be stored. */
bool rb_inbox_anchored(const struct rb_inbox *inbox, const struct rb_topic *topic);

struct rb_inbox_message {
    int64_t n;
    struct rb_span message_id, timestamp;
    struct rb_span payload;  /* JSON bytes as the relay sent them */
    struct rb_span metadata; /* JSON bytes, our stamp taken off; empty: null */
};
/* Calls `each` for stored messages with n > after, in order, while it returns true. */
enum rb_status rb_inbox_read(struct rb_inbox *inbox, struct rb_topic *topic, int64_t after,
                             bool (*each)(void *arg, const struct rb_inbox_message *message), void *arg);
/* The n of a stored message id; RB_NOT_FOUND when it is not here (never was, or pruned). The id of the message at
 * `tail`, the last one pruned or the anchor, counts as found. */
enum rb_status rb_inbox_find(struct rb_inbox *inbox, struct rb_topic *topic, struct rb_span message_id, int64_t *ret_n);

/* Woken once, after the commit that stored a message with n > after in the topic, or re-anchored it. Several watches
 * may be set for one reader; waking does not take off its others. */
struct rb_inbox_watch {
    struct rb_list node;
    int64_t topic_id, after;
    void (*wake)(struct rb_inbox_watch *watch);
};
void rb_inbox_watch(struct rb_inbox *inbox, struct rb_topic *topic, int64_t after, struct rb_inbox_watch *watch);
void rb_inbox_unwatch(struct rb_inbox_watch *watch);

/* Retention asks who still needs what: the smallest confirmed n of a topic among living readers, INT64_MAX without one.
 * Set by session. */
void rb_inbox_set_floor(struct rb_inbox *inbox, int64_t (*floor)(void *arg, int64_t topic_id), void *arg);

struct rb_inbox_stats {
    int64_t topics, rows, bytes, gaps;
    uint64_t stored, duplicates_dropped, polls, polls_failed, poisoned, reanchored;
    int polling; /* upstream polls under way */
    bool full;   /* I6: reading has stopped, of everything or of one user's topics */
};
void rb_inbox_stats(struct rb_inbox *inbox, struct rb_inbox_stats *ret);

#endif
