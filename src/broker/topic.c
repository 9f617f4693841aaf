#include "topic.h"

#include "list.h"
#include "map.h"
#include "share.h"
#include "topic_rows.h"

/* Unused for so long a topic is forgotten at the next start. */
enum { UNUSED_MS = 24 * 3600 * 1000 };

struct entry {
    struct rb_topic topic; /* first: handed out */
    struct rb_map_node by_id, by_name;
    struct rb_list node;
    bool has_row; /* false: made in a tick that failed, and not asked for again; then it has no id */
    bool counted; /* in the share of its user */
};

struct rb_topics {
    const struct rb_ports *ports;
    struct rb_topic_rows *rows;
    unsigned char seed[RB_MAP_SEED_BYTES];
    struct rb_map by_id, by_name;
    struct rb_list all;    /* in order of their making */
    struct rb_share share; /* those with a row, by user */
};

static struct entry *entry_of(struct rb_topic *topic)
{
    return RB_CONTAINER(topic, struct entry, topic);
}

static uint64_t name_hash(const struct rb_topics *topics, int64_t account, struct rb_span name)
{
    return rb_hash_bytes(topics->seed, name) ^ rb_hash_i64(account);
}

static struct entry *find(const struct rb_topics *topics, int64_t account, struct rb_span name)
{
    struct rb_map_node *node = rb_map_find(&topics->by_name, name_hash(topics, account, name));
    for (; node; node = rb_map_again(node)) {
        struct entry *entry = RB_CONTAINER(node, struct entry, by_name);
        if (entry->topic.account == account && rb_span_is(name, entry->topic.name))
            return entry;
    }
    return NULL;
}

static struct entry *find_id(const struct rb_topics *topics, int64_t id)
{
    struct rb_map_node *node = rb_map_find(&topics->by_id, rb_hash_i64(id));
    for (; node; node = rb_map_again(node)) {
        struct entry *entry = RB_CONTAINER(node, struct entry, by_id);
        if (entry->topic.id == id)
            return entry;
    }
    return NULL;
}

static void set_id(struct rb_topics *topics, struct entry *entry, int64_t id)
{
    entry->topic.id = id;
    entry->counted = rb_share_take(&topics->share, entry->topic.uid, 1) == RB_OK;
    rb_map_add(&topics->by_id, &entry->by_id, rb_hash_i64(id));
    entry->has_row = true;
}

/* Without id and row. */
static struct entry *entry_new(struct rb_topics *topics, int64_t account, struct rb_span name, int64_t uid)
{
    struct entry *entry = calloc(1, sizeof *entry);
    char *copy = rb_span_dup(name);
    if (!entry || !copy) {
        free(entry);
        free(copy);
        return NULL;
    }
    entry->topic.account = account;
    entry->topic.uid = uid;
    entry->topic.name = copy;
    rb_map_add(&topics->by_name, &entry->by_name, name_hash(topics, account, name));
    rb_list_push(&topics->all, &entry->node);
    return entry;
}

static void entry_free(struct entry *entry)
{
    free(entry->topic.name);
    free(entry->topic.cursor);
    free(entry->topic.newest);
    free(entry);
}

static enum rb_status set_text(char **text, struct rb_span to)
{
    if (!to.at) {
        free(*text);
        *text = NULL;
        return RB_OK;
    }
    if (*text && rb_span_is(to, *text))
        return RB_OK;
    char *copy = rb_span_dup(to);
    if (!copy)
        return RB_NO_MEMORY;
    free(*text);
    *text = copy;
    return RB_OK;
}

struct loading {
    struct rb_topics *topics;
    enum rb_status status;
};

static void load_row(void *arg, const struct rb_topic_row *row)
{
    struct loading *loading = arg;
    struct entry *entry = find_id(loading->topics, row->id);
    if (!entry && (entry = entry_new(loading->topics, row->account, row->name, row->uid)))
        set_id(loading->topics, entry, row->id);
    if (!entry) {
        loading->status = RB_NO_MEMORY;
        return;
    }
    struct rb_topic *topic = &entry->topic;
    entry->has_row = true;
    topic->posted = row->posted;
    topic->following = row->following;
    topic->head = row->head;
    topic->tail = row->tail;
    topic->rows = row->rows;
    topic->bytes = row->bytes;
    topic->wanted = row->wanted;
    if (set_text(&topic->cursor, row->cursor) != RB_OK || set_text(&topic->newest, row->newest) != RB_OK)
        loading->status = RB_NO_MEMORY;
}

static enum rb_status load(struct rb_topics *topics)
{
    struct loading loading = {topics, RB_OK};
    rb_topic_rows_each(topics->rows, load_row, &loading);
    return loading.status == RB_OK ? rb_store_failed(topics->ports->store) : loading.status;
}

enum rb_status rb_topics_new(const struct rb_ports *ports, struct rb_topics **ret, struct rb_error *err)
{
    struct rb_topics *topics = calloc(1, sizeof *topics);
    if (!topics)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    topics->ports = ports;
    rb_list_init(&topics->all);
    rb_share_init(&topics->share, ports->config->topics, ports->config->user_percent);
    rb_random_fill(ports->random, topics->seed, sizeof topics->seed);
    enum rb_status status = rb_topic_rows_new(ports->store, &topics->rows, err);
    if (status == RB_OK)
        rb_topic_rows_forget(topics->rows, rb_clock_wall_ms(ports->clock) - UNUSED_MS);
    if (status == RB_OK && (status = load(topics)) != RB_OK)
        rb_fail(err, status, "The topics cannot be read from the database: %s.", rb_status_text(status));
    if (status != RB_OK) {
        rb_topics_free(topics);
        return status;
    }
    *ret = topics;
    return RB_OK;
}

void rb_topics_free(struct rb_topics *topics)
{
    if (!topics)
        return;
    struct rb_list *node;
    while ((node = rb_list_pop(&topics->all)))
        entry_free(RB_CONTAINER(node, struct entry, node));
    rb_map_clear(&topics->by_id, NULL);
    rb_map_clear(&topics->by_name, NULL);
    rb_share_free(&topics->share);
    rb_topic_rows_free(topics->rows);
    free(topics);
}

/* What a topic is without a row: nothing is known of it. Its id was never on disk and may be given to another. */
static void forget(struct rb_topics *topics, struct entry *entry)
{
    struct rb_topic *topic = &entry->topic;
    if (topic->id)
        rb_map_remove(&topics->by_id, &entry->by_id);
    if (entry->counted)
        rb_share_give(&topics->share, topic->uid, 1);
    entry->counted = false;
    topic->id = 0;
    topic->posted = topic->following = false;
    set_text(&topic->cursor, (struct rb_span){0});
    set_text(&topic->newest, (struct rb_span){0});
    topic->head = topic->tail = topic->rows = topic->bytes = topic->wanted = 0;
}

enum rb_status rb_topics_reload(struct rb_topics *topics)
{
    RB_LIST_EACH (&topics->all, node)
        RB_CONTAINER(node, struct entry, node)->has_row = false;
    enum rb_status status = load(topics);
    if (status != RB_OK)
        return status;
    RB_LIST_EACH (&topics->all, node) {
        struct entry *entry = RB_CONTAINER(node, struct entry, node);
        if (!entry->has_row)
            forget(topics, entry);
    }
    return RB_OK;
}

struct rb_topic *rb_topic_find(struct rb_topics *topics, int64_t account, struct rb_span name)
{
    struct entry *entry = find(topics, account, name);
    return entry && entry->has_row ? &entry->topic : NULL;
}

enum rb_status rb_topics_room(const struct rb_topics *topics, int64_t uid, int64_t count, struct rb_error *err)
{
    switch (rb_share_room(&topics->share, uid, count, 100)) {
    case RB_NO_ROOM_FOR_USER:
        return rb_fail(err, RB_FULL,
                       "This user has named too many topics here. Use fewer; those that nobody uses are "
                       "forgotten at the broker's next start.");
    case RB_NO_ROOM:
        return rb_fail(err, RB_FULL,
                       "There are too many topics here. Use fewer; those that nobody uses are forgotten "
                       "at the broker's next start.");
    case RB_ROOM:
        break;
    }
    return RB_OK;
}

enum rb_status rb_topic_get(struct rb_topics *topics, int64_t account, struct rb_span name, int64_t uid,
                            struct rb_topic **ret, struct rb_error *err)
{
    struct entry *entry = find(topics, account, name);
    if (!entry || !entry->has_row) {
        enum rb_status status = rb_topics_room(topics, uid, 1, err);
        if (status != RB_OK)
            return status;
    }
    if (!entry)
        entry = entry_new(topics, account, name, uid);
    if (!entry)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    if (!entry->has_row) {
        entry->topic.uid = uid;
        entry->topic.wanted = rb_clock_wall_ms(topics->ports->clock);
        rb_topic_save(topics, &entry->topic);
    }
    *ret = &entry->topic;
    return RB_OK;
}

struct rb_topic *rb_topic_by_id(struct rb_topics *topics, int64_t id)
{
    struct entry *entry = find_id(topics, id);
    return entry ? &entry->topic : NULL;
}

struct rb_topic *rb_topic_next(struct rb_topics *topics, const struct rb_topic *after)
{
    /* The topic is its entry's first member. */
    struct rb_list *node = after ? ((const struct entry *)(const void *)after)->node.next : topics->all.next;
    for (; node != &topics->all; node = node->next) {
        struct entry *entry = RB_CONTAINER(node, struct entry, node);
        if (entry->has_row)
            return &entry->topic;
    }
    return NULL;
}

void rb_topic_save(struct rb_topics *topics, struct rb_topic *topic)
{
    struct entry *entry = entry_of(topic);
    if (!entry->has_row)
        set_id(topics, entry, rb_store_next_id(topics->ports->store, "topic"));
    struct rb_topic_row row = {
        .id = topic->id,
        .account = topic->account,
        .uid = topic->uid,
        .name = rb_span_of(topic->name),
        .posted = topic->posted,
        .following = topic->following,
        .cursor = rb_span_of(topic->cursor),
        .newest = rb_span_of(topic->newest),
        .head = topic->head,
        .tail = topic->tail,
        .rows = topic->rows,
        .bytes = topic->bytes,
        .wanted = topic->wanted,
    };
    rb_topic_rows_save(topics->rows, &row);
}

enum rb_status rb_topic_set_cursor(struct rb_topic *topic, struct rb_span id)
{
    return set_text(&topic->cursor, id);
}

enum rb_status rb_topic_set_newest(struct rb_topic *topic, struct rb_span id)
{
    return set_text(&topic->newest, id);
}
