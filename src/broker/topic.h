/* Topic: a topic of an account as outbox and inbox know it: the row in memory. Pointers stay valid until the process
 * ends, also across reloads. When the tick that made a topic fails, it has no row and no id (0) until somebody gets or
 * saves it again. */
#ifndef RB_TOPIC_H
#define RB_TOPIC_H

#include "broker.h"

struct rb_account;

struct rb_topic {
    int64_t id, account;
    int64_t uid; /* of the first to name it: it counts as his (D6) */
    char *name;
    bool posted;        /* a post to it was accepted (O7) */
    bool following;     /* the inbox reads it */
    char *cursor;       /* confirmed; NULL: no start found yet */
    char *newest;       /* newest id seen or stored by us; NULL: none known (O3) */
    int64_t head, tail; /* stored messages have n in (tail, head] */
    int64_t rows, bytes;
    int64_t wanted;       /* wall ms when somebody last asked for it */
    void *inbox, *outbox; /* each room's own state for the topic */
};

enum rb_status rb_topics_new(const struct rb_ports *ports, struct rb_topics **ret, struct rb_error *err);
void rb_topics_free(struct rb_topics *topics);
enum rb_status rb_topics_reload(struct rb_topics *topics);

struct rb_topic *rb_topic_find(struct rb_topics *topics, int64_t account, struct rb_span name);
/* Finds or makes it (a row in this tick) for that user. RB_FULL: the bounds are reached; RB_NO_MEMORY. The name was
 * checked with rb_topic_name_valid. */
enum rb_status rb_topic_get(struct rb_topics *topics, int64_t account, struct rb_span name, int64_t uid,
                            struct rb_topic **ret, struct rb_error *err);
/* Whether the user may name so many new ones now: RB_OK or RB_FULL. */
enum rb_status rb_topics_room(const struct rb_topics *topics, int64_t uid, int64_t count, struct rb_error *err);
struct rb_topic *rb_topic_by_id(struct rb_topics *topics, int64_t id);
struct rb_topic *rb_topic_next(struct rb_topics *topics, const struct rb_topic *after); /* NULL: the first */
/* Writes the row as it stands in memory. */
void rb_topic_save(struct rb_topics *topics, struct rb_topic *topic);
/* Sets cursor or newest (copied); RB_NO_MEMORY leaves it. Not saved. */
enum rb_status rb_topic_set_cursor(struct rb_topic *topic, struct rb_span id);
enum rb_status rb_topic_set_newest(struct rb_topic *topic, struct rb_span id);

#endif
