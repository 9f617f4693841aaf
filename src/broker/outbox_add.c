#include "outbox_private.h"

#include <sodium.h>

#include "json_span.h"

enum { BODY_MAX = 1048576 }; /* contract §4 */

void rb_outbox_stamp_hex(const unsigned char stamp[STAMP_BYTES], char ret[STAMP_HEX + 1])
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < STAMP_BYTES; i++) {
        ret[2 * i] = digit[stamp[i] >> 4];
        ret[2 * i + 1] = digit[stamp[i] & 15];
    }
    ret[STAMP_HEX] = 0;
}

void rb_outbox_stamp(struct rb_str *out, struct rb_span metadata, const char *stamp)
{
    /* The last byte of a checked object, white space aside, is its brace. */
    while (metadata.len && metadata.at[metadata.len - 1] != '}')
        metadata.len--;
    struct rb_json_walk walk = rb_json_walk((struct rb_json_value){RB_JSON_OBJECT, metadata});
    bool members = metadata.len && rb_json_next(&walk, NULL, NULL);
    if (metadata.len)
        rb_str_append(out, metadata.at, metadata.len - 1);
    else
        rb_str_add(out, "{");
    rb_str_addf(out, "%s\"" STAMP_NAME "\":\"%s\"}", members ? "," : "", stamp);
}

static bool names_stamp(struct rb_span metadata)
{
    struct rb_json_value value;
    return metadata.len && rb_json_member((struct rb_json_value){RB_JSON_OBJECT, metadata}, STAMP_NAME, &value);
}

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
    int64_t ttl = post->ttl_s;
    struct rb_span parts[] = {post->topic, post->payload, post->metadata, {(const char *)&ttl, sizeof ttl}};
    hash_parts(parts, sizeof parts / sizeof parts[0], ret);
}

/* Decides on the stamp: `*ret_stamped`; and how long the body will be. */
static enum rb_status measure(const struct rb_post *post, const char *stamp, bool *ret_stamped, int64_t *ret_bytes,
                              struct rb_error *err)
{
    struct rb_outgoing outgoing = {post->topic, post->payload, post->metadata, post->ttl_s};
    size_t bytes = rb_relay_post_bytes(&outgoing);
    if (bytes > BODY_MAX)
        return rb_fail(err, RB_INVALID, "the message is %zu bytes long for the relay, more than its limit of %d", bytes,
                       (int)BODY_MAX);
    *ret_stamped = false;
    *ret_bytes = (int64_t)bytes;
    if (!rb_account_stamps(post->account) || names_stamp(post->metadata))
        return RB_OK;
    RB_CLEANUP_STR struct rb_str metadata = RB_STR_INIT;
    rb_outbox_stamp(&metadata, post->metadata, stamp);
    if (rb_str_failed(&metadata))
        return rb_fail(err, RB_NO_MEMORY, "out of memory");
    outgoing.metadata = rb_str_span(&metadata);
    bytes = rb_relay_post_bytes(&outgoing);
    if (bytes <= BODY_MAX) {
        *ret_stamped = true;
        *ret_bytes = (int64_t)bytes;
    }
    return RB_OK;
}

static enum rb_status check_room(struct rb_outbox *outbox, int64_t bytes, struct rb_error *err)
{
    const struct rb_broker_config *config = outbox->ports->config;
    const struct rb_outbox_stats *stats = &outbox->stats;
    int64_t rows = stats->queued + stats->sending + stats->unknown;
    if (rows >= config->outbox_rows || stats->open_bytes + bytes > config->outbox_bytes)
        return rb_fail(err, RB_FULL, "the outbox is full: %lld posts wait for the relay", (long long)rows);
    return RB_OK;
}

static enum rb_status insert(struct rb_outbox *outbox, const struct rb_post *post, struct rb_post_row *row,
                             struct queue **ret_queue, struct rb_error *err)
{
    struct rb_topic *topic = rb_topic_get(outbox->topics, rb_account_id(post->account), post->topic);
    struct queue *queue = topic ? rb_queue_of(outbox, topic) : NULL;
    if (!queue)
        return rb_fail(err, RB_NO_MEMORY, "out of memory");
    row->id = rb_store_next_id(outbox->ports->store, "post");
    row->topic = topic->id;
    if (row->key.at && rb_keys_add(outbox, (const unsigned char *)row->key.at, row->id) != RB_OK)
        return rb_fail(err, RB_NO_MEMORY, "out of memory");
    if (!rb_entry_new(queue, row))
        return rb_fail(err, RB_NO_MEMORY, "out of memory");
    rb_post_rows_insert(outbox->posts, row, post->metadata, post->payload);
    *ret_queue = queue;
    return RB_OK;
}

enum rb_status rb_outbox_add(struct rb_outbox *outbox, const struct rb_post *post, int64_t *ret_id, bool *ret_repeated,
                             struct rb_error *err)
{
    if (!rb_topic_name_valid(post->topic))
        return rb_fail(err, RB_INVALID, "the topic's name is not valid");
    rb_tick_lead(outbox->ports->tick);
    unsigned char key[KEY_BYTES], digest[KEY_BYTES], stamp[STAMP_BYTES];
    char stamp_hex[STAMP_HEX + 1];
    struct rb_post_row row = {
        .state = RB_POST_QUEUED,
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
            return rb_fail(err, RB_EXISTS, "this idempotency key was used for another message");
        if (id) {
            *ret_id = id;
            *ret_repeated = true;
            return RB_OK;
        }
        row.key = (struct rb_span){(const char *)key, sizeof key};
        row.digest = (struct rb_span){(const char *)digest, sizeof digest};
    }
    rb_random_fill(outbox->ports->random, stamp, sizeof stamp);
    rb_outbox_stamp_hex(stamp, stamp_hex);
    bool stamped;
    enum rb_status status = measure(post, stamp_hex, &stamped, &row.bytes, err);
    if (status == RB_OK)
        status = check_room(outbox, row.bytes, err);
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
