#include "outbox_private.h"

enum {
    SLICE_ROWS = 500,
    SLICE_EVERY_MS = 50,
    SWEEP_EVERY_MS = 10 * 60 * 1000,
};

/* An index, nothing more: what it finds is checked against the row. A row without a key is only counted, and has one of
 * these only in the ticks in which it comes and goes. */
struct key {
    struct rb_map_node node;
    struct key *next; /* in keys_added or keys_gone */
    int64_t id;       /* 0: the row has no key, and this is not in the index */
    int64_t uid;
};

static uint64_t hash_of(struct rb_outbox *outbox, const void *key)
{
    return rb_hash_bytes(outbox->seed, (struct rb_span){key, KEY_BYTES});
}

static struct key *find_id(struct rb_outbox *outbox, uint64_t hash, int64_t id)
{
    for (struct rb_map_node *node = rb_map_find(&outbox->keys, hash); node; node = rb_map_again(node)) {
        struct key *key = RB_CONTAINER(node, struct key, node);
        if (key->id == id)
            return key;
    }
    return NULL;
}

static struct key *key_new(int64_t id, int64_t uid)
{
    struct key *key = calloc(1, sizeof *key);
    if (!key)
        return NULL;
    key->id = id;
    key->uid = uid;
    return key;
}

/* `bytes` NULL: the row has no key. */
static struct key *add(struct rb_outbox *outbox, const void *bytes, int64_t id, int64_t uid)
{
    struct key *key = key_new(bytes ? id : 0, uid);
    if (!key || rb_share_take(&outbox->remembered, uid, 1) != RB_OK) {
        free(key);
        return NULL;
    }
    if (bytes)
        rb_map_add(&outbox->keys, &key->node, hash_of(outbox, bytes));
    return key;
}

static void drop(struct rb_outbox *outbox, struct key *first)
{
    while (first) {
        struct key *next = first->next;
        if (first->id)
            rb_map_remove(&outbox->keys, &first->node);
        rb_share_give(&outbox->remembered, first->uid, 1);
        free(first);
        first = next;
    }
}

/* Their rows stay. */
static void keep(struct key *first)
{
    while (first) {
        struct key *next = first->next;
        if (!first->id)
            free(first);
        first = next;
    }
}

static void on_commit(struct rb_effect *effect, enum rb_status committed)
{
    struct rb_outbox *outbox = RB_CONTAINER(effect, struct rb_outbox, keys_effect);
    struct key *added = outbox->keys_added, *gone = outbox->keys_gone;
    outbox->keys_added = outbox->keys_gone = NULL;
    drop(outbox, committed == RB_OK ? gone : added);
    keep(committed == RB_OK ? added : gone);
}

static void await_commit(struct rb_outbox *outbox)
{
    if (!outbox->keys_added && !outbox->keys_gone)
        rb_tick_after(outbox->ports->tick, &outbox->keys_effect);
}

struct loading {
    struct rb_outbox *outbox;
    enum rb_status status;
};

static void load_key(void *arg, const struct rb_post_row *row)
{
    struct loading *loading = arg;
    struct rb_outbox *outbox = loading->outbox;
    bool done = row->key.len == KEY_BYTES ? add(outbox, row->key.at, row->id, row->uid) != NULL
                                          : rb_share_take(&outbox->remembered, row->uid, 1) == RB_OK;
    if (!done)
        loading->status = RB_NO_MEMORY;
}

enum rb_status rb_keys_load(struct rb_outbox *outbox)
{
    rb_list_init(&outbox->keys_effect.node);
    outbox->keys_effect.run = on_commit;
    struct loading loading = {outbox, RB_OK};
    rb_post_rows_keys(outbox->posts, load_key, &loading);
    return loading.status;
}

static void free_key(struct rb_map_node *node)
{
    free(RB_CONTAINER(node, struct key, node));
}

void rb_keys_free(struct rb_outbox *outbox)
{
    if (outbox->keys_effect.run)
        rb_tick_cancel(&outbox->keys_effect);
    rb_timer_stop(outbox->ports->clock, &outbox->sweep);
    keep(outbox->keys_added);
    keep(outbox->keys_gone);
    rb_map_clear(&outbox->keys, free_key);
}

struct match {
    const unsigned char *key, *digest;
    int64_t ended_after;
    bool found, same;
};

static void match_row(void *arg, const struct rb_post_row *row)
{
    struct match *match = arg;
    match->found = row->key.len == KEY_BYTES && memcmp(row->key.at, match->key, KEY_BYTES) == 0 &&
                   (!row->ended || row->ended > match->ended_after);
    match->same = row->digest.len == KEY_BYTES && memcmp(row->digest.at, match->digest, KEY_BYTES) == 0;
}

int64_t rb_keys_find(struct rb_outbox *outbox, const unsigned char key[KEY_BYTES],
                     const unsigned char digest[KEY_BYTES], bool *ret_same)
{
    const struct rb_ports *ports = outbox->ports;
    struct rb_map_node *node = rb_map_find(&outbox->keys, hash_of(outbox, key));
    for (; node; node = rb_map_again(node)) {
        struct match match = {key, digest, rb_clock_wall_ms(ports->clock) - ports->config->key_ms, false, false};
        int64_t id = RB_CONTAINER(node, struct key, node)->id;
        if (rb_post_rows_get(outbox->posts, id, match_row, &match) && match.found) {
            *ret_same = match.same;
            return id;
        }
    }
    return 0;
}

/* Nothing was promised of an ended row without a key: it makes room for new ones. */
static bool must_give_way(struct rb_outbox *outbox, int64_t uid)
{
    return rb_share_room(&outbox->remembered, uid, 1, 90) != RB_ROOM ||
           rb_share_room(&outbox->remembered, uid, outbox->pressed_rows, 100) != RB_ROOM;
}

void rb_keys_make_room(struct rb_outbox *outbox, int64_t rows)
{
    struct rb_clock *clock = outbox->ports->clock;
    if (outbox->pressed_rows < rows)
        outbox->pressed_rows = rows;
    if (rb_timer_is_set(&outbox->sweep) && outbox->sweep.at_ms > rb_clock_now_ms(clock) + SLICE_EVERY_MS)
        rb_timer_set_in(clock, &outbox->sweep, SLICE_EVERY_MS);
}

enum rb_status rb_keys_add(struct rb_outbox *outbox, const unsigned char *bytes, int64_t id, int64_t uid)
{
    struct key *key = add(outbox, bytes, id, uid);
    if (!key)
        return RB_NO_MEMORY;
    if (must_give_way(outbox, uid))
        rb_keys_make_room(outbox, 1);
    await_commit(outbox);
    key->next = outbox->keys_added;
    outbox->keys_added = key;
    return RB_OK;
}

void rb_keys_take_back(struct rb_outbox *outbox)
{
    struct key *key = outbox->keys_added;
    outbox->keys_added = key->next;
    key->next = NULL;
    drop(outbox, key);
}

/* --- forgetting: ended rows, once their key's life is over, or would be; without a key also where room is needed --- */

struct slice {
    struct rb_outbox *outbox;
    int64_t ended_before; /* wall ms */
    int64_t last;
    int read;
    bool young; /* no row from here on can be old enough */
    size_t count;
    struct {
        int64_t id, uid;
        uint64_t hash;
        bool has_key;
    } old[SLICE_ROWS];
};

static void read_old(void *arg, const struct rb_post_row *row)
{
    struct slice *slice = arg;
    slice->read++;
    slice->last = row->id;
    bool has_key = row->key.len == KEY_BYTES;
    bool spare = !has_key && must_give_way(slice->outbox, row->uid) && !rb_wait_is_loose(slice->outbox, row->id);
    if (row->at > slice->ended_before && !slice->outbox->pressed_rows)
        slice->young = true;
    if (slice->young || row->state < RB_POST_ACCEPTED || (row->ended > slice->ended_before && !spare))
        return;
    slice->old[slice->count].id = row->id;
    slice->old[slice->count].uid = row->uid;
    slice->old[slice->count].has_key = has_key;
    slice->old[slice->count++].hash = has_key ? hash_of(slice->outbox, row->key.at) : 0;
}

static void forget(struct rb_outbox *outbox, const struct slice *slice)
{
    for (size_t i = 0; i < slice->count; i++) {
        struct key *key = slice->old[i].has_key ? find_id(outbox, slice->old[i].hash, slice->old[i].id)
                                                : key_new(0, slice->old[i].uid);
        /* Out of memory: it stays until it is looked at again. */
        if (!key && !slice->old[i].has_key)
            continue;
        rb_post_rows_delete(outbox->posts, slice->old[i].id);
        if (!key)
            continue;
        await_commit(outbox);
        key->next = outbox->keys_gone;
        outbox->keys_gone = key;
    }
}

/* Ids follow the time of arrival: rows are read from the oldest up to the first that came too late to be old, or to the
 * end where room is needed. */
static void on_sweep(struct rb_timer *timer)
{
    struct rb_outbox *outbox = RB_CONTAINER(timer, struct rb_outbox, sweep);
    const struct rb_ports *ports = outbox->ports;
    rb_tick_lead(ports->tick);
    struct slice slice = {.outbox = outbox, .ended_before = rb_clock_wall_ms(ports->clock) - ports->config->key_ms};
    rb_post_rows_after(outbox->posts, outbox->swept_to, SLICE_ROWS, read_old, &slice);
    forget(outbox, &slice);
    bool more = slice.read == SLICE_ROWS && !slice.young;
    outbox->swept_to = more ? slice.last : 0;
    outbox->pressed_rows = more ? outbox->pressed_rows : 0;
    rb_timer_set_in(ports->clock, timer, more ? SLICE_EVERY_MS : SWEEP_EVERY_MS);
}

void rb_sweep_start(struct rb_outbox *outbox)
{
    outbox->sweep = RB_TIMER_INIT(on_sweep);
    rb_timer_set_in(outbox->ports->clock, &outbox->sweep, SLICE_EVERY_MS);
}
