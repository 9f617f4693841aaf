#include "outbox_private.h"

#include <sodium.h>

#include "json_span.h"
#include "log.h"

enum {
    BODY_MAX = 1048576, /* contract §4 */
    FEW_ROWS = 100,     /* of a topic that may use the last tenth of the outbox: a bulk */
};

static void add_part(crypto_generichash_state *state, struct rb_span part)
{
    uint64_t len = part.len;
    crypto_generichash_update(state, (const unsigned char *)&len, sizeof len);
    crypto_generichash_update(state, (const unsigned char *)part.at, part.len);
}

static void hash_parts(const struct rb_span *parts, size_t count, unsigned char ret[KEY_BYTES])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, KEY_BYTES);
    for (size_t i = 0; i < count; i++)
        add_part(&state, parts[i]);
    crypto_generichash_final(&state, ret, KEY_BYTES);
}

/* O5: a key's scope is account, door and uid. */
static void hash_key(const struct rb_post *post, unsigned char ret[KEY_BYTES])
{
    int64_t account = rb_account_id(post->account), uid = post->uid;
    struct rb_span parts[] = {
        {(const char *)&account, sizeof account}, {(const char *)&uid, sizeof uid}, rb_span_of(post->door), post->key};
    hash_parts(parts, sizeof parts / sizeof parts[0], ret);
}

static void hash_body(const struct rb_post *post, unsigned char ret[KEY_BYTES])
{
    struct rb_span parts[] = {post->topic,
                              post->payload,
                              post->metadata,
                              {(const char *)&post->ttl_s, sizeof post->ttl_s},
                              {(const char *)&post->expires_wall_ms, sizeof post->expires_wall_ms},
                              post->whole};
    hash_parts(parts, sizeof parts / sizeof parts[0], ret);
}

/* Decides on the stamp: `*ret_stamped`; and how long the body will be. */
static enum rb_status measure(const struct rb_post *post, const char *stamp, bool *ret_stamped, int64_t *ret_bytes,
                              struct rb_error *err)
{
    struct rb_outgoing outgoing = {post->topic, post->payload, post->metadata, post->ttl_s};
    size_t bytes = rb_relay_post_bytes(&outgoing);
    if (!bytes)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    if (bytes > BODY_MAX)
        return rb_fail(err, RB_INVALID, "The message is %zu bytes long for the relay, more than its limit of %d.",
                       bytes, (int)BODY_MAX);
    *ret_stamped = false;
    *ret_bytes = (int64_t)bytes;
    if (!rb_account_stamps(post->account) || rb_stamp_names(post->metadata))
        return RB_OK;
    RB_CLEANUP_STR struct rb_str metadata = RB_STR_INIT;
    rb_stamp_put_on(&metadata, post->metadata, stamp);
    outgoing.metadata = rb_str_span(&metadata);
    bytes = rb_str_failed(&metadata) ? 0 : rb_relay_post_bytes(&outgoing);
    if (!bytes)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    if (bytes <= BODY_MAX) {
        *ret_stamped = true;
        *ret_bytes = (int64_t)bytes;
    }
    return RB_OK;
}

static enum rb_status rows_room(struct rb_outbox *outbox, const struct rb_post *like, int64_t ahead, int64_t rows,
                                int64_t bytes, struct rb_error *err)
{
    int percent = ahead + rows <= FEW_ROWS ? 100 : 90;
    enum rb_room room = rb_share_room(&outbox->rows, like->uid, rows, percent);
    if (room == RB_ROOM)
        room = rb_share_room(&outbox->bytes, like->uid, bytes, percent);
    if (room == RB_NO_ROOM_FOR_USER)
        return rb_fail(err, RB_FULL,
                       "The part of the outbox that one user may fill is full: its posts wait for the "
                       "relay. Try again later.");
    if (room == RB_NO_ROOM)
        return rb_fail(err, RB_FULL, "The outbox is full: its posts wait for the relay. Try again later.");
    return RB_OK;
}

/* A post on its way to its row. */
struct adding {
    struct rb_post_row row;
    unsigned char key[KEY_BYTES], digest[KEY_BYTES], stamp[RB_STAMP_BYTES];
    struct queue *queue;
    struct entry *entry; /* NULL: not in memory yet */
};

static bool is_first_of_its_topic(const struct rb_post *posts, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (posts[j].account == posts[i].account && rb_span_equal(posts[j].topic, posts[i].topic))
            return false;
    return true;
}

/* Whether rows of so many bytes in all fit the bounds now, for all or for this caller (D6). The last tenth is for topics
 * with few rows: a flood of others does not shut them out. */
static enum rb_status room(struct rb_outbox *outbox, const struct rb_post *posts, size_t count, int64_t bytes,
                           struct rb_error *err)
{
    int64_t rows = (int64_t)count, new_topics = 0;
    for (size_t i = 0; i < count; i++) {
        const struct rb_post *post = &posts[i];
        const struct rb_topic *known = rb_topic_find(outbox->topics, rb_account_id(post->account), post->topic);
        const struct queue *queue = known ? known->outbox : NULL;
        enum rb_status status = rows_room(outbox, post, queue ? queue->count : 0, rows, bytes, err);
        if (status == RB_OK && !known && is_first_of_its_topic(posts, i))
            status = rb_topics_room(outbox->topics, post->uid, ++new_topics, err);
        if (status == RB_OK && rb_share_room(&outbox->remembered, post->uid, rows, 100) != RB_ROOM) {
            rb_keys_make_room(outbox, rows);
            status = rb_fail(err, RB_FULL, "Too many posts that have ended are still remembered. Try again later.");
        }
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

/* O5: all are rows already, or none is. Before the bounds: what is here needs no room. */
static enum rb_status find_earlier(struct rb_outbox *outbox, const struct rb_post *posts, struct adding *adding,
                                   size_t count, int64_t *ret_ids, bool *ret_repeated, struct rb_error *err)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        struct adding *one = &adding[i];
        if (!posts[i].key.len)
            continue;
        hash_key(&posts[i], one->key);
        hash_body(&posts[i], one->digest);
        one->row.key = (struct rb_span){(const char *)one->key, sizeof one->key};
        one->row.digest = (struct rb_span){(const char *)one->digest, sizeof one->digest};
        bool same;
        ret_ids[i] = rb_keys_find(outbox, one->key, one->digest, &same);
        if (ret_ids[i] && !same)
            return rb_fail(err, RB_EXISTS, "This idempotency key was used for another message.");
        found += ret_ids[i] != 0;
    }
    /* Where a row could not be read, the tick fails anyway. */
    if (found && found < count && rb_store_failed(outbox->ports->store) == RB_OK)
        return rb_fail(err, RB_EXISTS,
                       "This idempotency key was used a while ago, and some of its messages are forgotten. "
                       "Use another key if they are to be sent once more.");
    *ret_repeated = found == count;
    return RB_OK;
}

static enum rb_status prepare(struct rb_outbox *outbox, const struct rb_post *post, struct adding *one,
                              struct rb_error *err)
{
    char stamp_hex[RB_STAMP_HEX + 1];
    bool stamped;
    one->row.state = RB_POST_QUEUED;
    one->row.uid = post->uid;
    one->row.at = rb_clock_wall_ms(outbox->ports->clock);
    one->row.expires = post->expires_wall_ms;
    one->row.ttl = post->ttl_s;
    if (!one->row.digest.at)
        one->row.digest = (struct rb_span){"", 0};
    rb_random_fill(outbox->ports->random, one->stamp, sizeof one->stamp);
    rb_stamp_hex(one->stamp, stamp_hex);
    enum rb_status status = measure(post, stamp_hex, &stamped, &one->row.bytes, err);
    if (status == RB_OK && stamped)
        one->row.stamp = (struct rb_span){(const char *)one->stamp, sizeof one->stamp};
    return status;
}

/* All but the row itself, which needs no memory of ours. */
static enum rb_status enter(struct rb_outbox *outbox, const struct rb_post *post, struct adding *one,
                            struct rb_error *err)
{
    struct rb_topic *topic;
    enum rb_status status =
        rb_topic_get(outbox->topics, rb_account_id(post->account), post->topic, post->uid, &topic, err);
    if (status != RB_OK)
        return status;
    one->queue = rb_queue_of(outbox, topic);
    if (!one->queue)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    one->row.id = rb_store_next_id(outbox->ports->store, "post");
    one->row.topic = topic->id;
    if (rb_keys_add(outbox, one->row.key.at ? one->key : NULL, one->row.id, one->row.uid) != RB_OK)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    one->entry = rb_entry_new(one->queue, &one->row);
    if (one->entry)
        return RB_OK;
    rb_keys_take_back(outbox);
    return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
}

static enum rb_status enter_all(struct rb_outbox *outbox, const struct rb_post *posts, struct adding *adding,
                                size_t count, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    size_t entered = 0;
    while (entered < count && (status = enter(outbox, &posts[entered], &adding[entered], err)) == RB_OK)
        entered++;
    while (status != RB_OK && entered > 0) {
        rb_entry_free(adding[--entered].entry);
        rb_keys_take_back(outbox);
    }
    return status;
}

static enum rb_status add(struct rb_outbox *outbox, const struct rb_post *posts, struct adding *adding, size_t count,
                          int64_t *ret_ids, bool *ret_repeated, struct rb_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!rb_topic_name_valid(posts[i].topic))
            return rb_fail(err, RB_INVALID, "The topic's name is not valid.");
    rb_tick_lead(outbox->ports->tick);
    enum rb_status status = find_earlier(outbox, posts, adding, count, ret_ids, ret_repeated, err);
    if (status != RB_OK || *ret_repeated)
        return status;
    int64_t bytes = 0;
    for (size_t i = 0; i < count && status == RB_OK; i++) {
        status = prepare(outbox, &posts[i], &adding[i], err);
        bytes += adding[i].row.bytes;
    }
    if (status == RB_OK)
        status = room(outbox, posts, count, bytes, err);
    if (status == RB_OK)
        status = enter_all(outbox, posts, adding, count, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        rb_log(RB_LOG_DEBUG, "outbox", "post %lld: %s, was %s", (long long)adding[i].row.id,
               rb_post_state_text(RB_POST_QUEUED), "new");
        rb_post_rows_insert(outbox->posts, &adding[i].row, posts[i].metadata, posts[i].payload);
        ret_ids[i] = adding[i].row.id;
    }
    for (size_t i = 0; i < count; i++)
        rb_queue_run(adding[i].queue);
    return RB_OK;
}

enum rb_status rb_outbox_add(struct rb_outbox *outbox, const struct rb_post *post, int64_t *ret_id, bool *ret_repeated,
                             struct rb_error *err)
{
    struct adding one = {0};
    return add(outbox, post, &one, 1, ret_id, ret_repeated, err);
}

enum rb_status rb_outbox_add_all(struct rb_outbox *outbox, const struct rb_post *posts, size_t count, int64_t *ret_ids,
                                 bool *ret_repeated, struct rb_error *err)
{
    RB_CLEANUP_FREE struct adding *adding = calloc(count, sizeof *adding);
    if (!adding)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    return add(outbox, posts, adding, count, ret_ids, ret_repeated, err);
}
