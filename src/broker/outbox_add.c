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

enum rb_status rb_outbox_room(struct rb_outbox *outbox, const struct rb_post *like, int64_t rows, int64_t bytes,
                              struct rb_error *err)
{
    const struct rb_topic *known = rb_topic_find(outbox->topics, rb_account_id(like->account), like->topic);
    const struct queue *queue = known ? known->outbox : NULL;
    enum rb_status status = rows_room(outbox, like, queue ? queue->count : 0, rows, bytes, err);
    if (status == RB_OK && !known)
        status = rb_topics_room(outbox->topics, like->uid, rows, err);
    if (status == RB_OK && like->key.len && rb_share_room(&outbox->remembered, like->uid, rows, 100) != RB_ROOM)
        status = rb_fail(err, RB_FULL,
                         "Too many idempotency keys are remembered at this moment. Post without one, or "
                         "try again later.");
    return status;
}

static enum rb_status insert(struct rb_outbox *outbox, const struct rb_post *post, struct rb_post_row *row,
                             struct queue **ret_queue, struct rb_error *err)
{
    struct rb_topic *topic;
    enum rb_status status =
        rb_topic_get(outbox->topics, rb_account_id(post->account), post->topic, post->uid, &topic, err);
    if (status != RB_OK)
        return status;
    struct queue *queue = rb_queue_of(outbox, topic);
    if (!queue)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    row->id = rb_store_next_id(outbox->ports->store, "post");
    row->topic = topic->id;
    if (row->key.at && rb_keys_add(outbox, (const unsigned char *)row->key.at, row->id, row->uid) != RB_OK)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    if (!rb_entry_new(queue, row))
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    rb_log(RB_LOG_DEBUG, "outbox", "post %lld: %s, was %s", (long long)row->id, rb_post_state_text(RB_POST_QUEUED),
           "new");
    rb_post_rows_insert(outbox->posts, row, post->metadata, post->payload);
    *ret_queue = queue;
    return RB_OK;
}

enum rb_status rb_outbox_add(struct rb_outbox *outbox, const struct rb_post *post, int64_t *ret_id, bool *ret_repeated,
                             struct rb_error *err)
{
    if (!rb_topic_name_valid(post->topic))
        return rb_fail(err, RB_INVALID, "The topic's name is not valid.");
    rb_tick_lead(outbox->ports->tick);
    unsigned char key[KEY_BYTES], digest[KEY_BYTES], stamp[RB_STAMP_BYTES];
    char stamp_hex[RB_STAMP_HEX + 1];
    struct rb_post_row row = {
        .state = RB_POST_QUEUED,
        .uid = post->uid,
        .at = rb_clock_wall_ms(outbox->ports->clock),
        .expires = post->expires_wall_ms,
        .ttl = post->ttl_s,
        .digest = {"", 0},
    };
    if (post->key.len) {
        hash_key(post, key);
        hash_body(post, digest);
        bool same;
        int64_t id = rb_keys_find(outbox, key, digest, &same);
        if (id && !same)
            return rb_fail(err, RB_EXISTS, "This idempotency key was used for another message.");
        if (id) {
            *ret_id = id;
            *ret_repeated = true;
            return RB_OK;
        }
        row.key = (struct rb_span){(const char *)key, sizeof key};
        row.digest = (struct rb_span){(const char *)digest, sizeof digest};
    }
    rb_random_fill(outbox->ports->random, stamp, sizeof stamp);
    rb_stamp_hex(stamp, stamp_hex);
    bool stamped;
    enum rb_status status = measure(post, stamp_hex, &stamped, &row.bytes, err);
    if (status == RB_OK)
        status = rb_outbox_room(outbox, post, 1, row.bytes, err);
    if (status != RB_OK)
        return status;
    if (stamped)
        row.stamp = (struct rb_span){(const char *)stamp, sizeof stamp};
    struct queue *queue = NULL;
    status = insert(outbox, post, &row, &queue, err);
    if (status != RB_OK)
        return status;
    *ret_id = row.id;
    *ret_repeated = false;
    rb_queue_run(queue);
    return RB_OK;
}
