#include "session_private.h"

#include "log.h"

enum {
    USED_MS = 60 * 1000, /* `used` is written at most so often */
    EXPIRY_MS = 60 * 1000,
    UNSEEN_MS = 3600 * 1000, /* a jump of the wall clock, or a start, ends no session before */
    SLICE_MS = 20,
    SLICE_SESSIONS = 200,
    PLACES_A_SESSION = RB_POLL_TOPICS_MAX, /* on average */
};

struct topic_places {
    struct rb_map_node node;
    int64_t topic;
    struct rb_list places;
};

/* --- places --- */

static struct topic_places *places_of(const struct rb_sessions *sessions, int64_t topic)
{
    struct rb_map_node *node = rb_map_find(&sessions->topic_places, rb_hash_i64(topic));
    for (; node; node = rb_map_again(node)) {
        struct topic_places *places = RB_CONTAINER(node, struct topic_places, node);
        if (places->topic == topic)
            return places;
    }
    return NULL;
}

static struct topic_places *make_places_of(struct rb_sessions *sessions, int64_t topic)
{
    struct topic_places *places = places_of(sessions, topic);
    if (places)
        return places;
    places = calloc(1, sizeof *places);
    if (!places)
        return NULL;
    places->topic = topic;
    rb_list_init(&places->places);
    rb_map_add(&sessions->topic_places, &places->node, rb_hash_i64(topic));
    return places;
}

static void free_topic_places(struct rb_map_node *node)
{
    free(RB_CONTAINER(node, struct topic_places, node));
}

static void free_place(struct rb_sessions *sessions, const struct rb_session *session, struct rb_place *place)
{
    rb_share_give(&sessions->places, session->uid, 1);
    rb_list_remove(&place->node);
    rb_list_remove(&place->in_topic);
    free(place);
}

/* The smallest confirmed n of the topic: what lies above it may still be asked for. */
static int64_t floor_of(void *arg, int64_t topic)
{
    const struct rb_sessions *sessions = arg;
    struct topic_places *places = places_of(sessions, topic);
    int64_t floor = INT64_MAX;
    if (!places)
        return floor;
    RB_LIST_EACH (&places->places, node) {
        struct rb_place *place = RB_CONTAINER(node, struct rb_place, in_topic);
        if (place->n < floor)
            floor = place->n;
    }
    return floor;
}

struct rb_place *rb_place_find(struct rb_session *session, int64_t topic)
{
    RB_LIST_EACH (&session->places, node) {
        struct rb_place *place = RB_CONTAINER(node, struct rb_place, node);
        if (place->topic == topic)
            return place;
    }
    return NULL;
}

static struct rb_place *make_place(struct rb_sessions *sessions, struct rb_session *session, int64_t topic)
{
    struct topic_places *places = make_places_of(sessions, topic);
    struct rb_place *place = places ? calloc(1, sizeof *place) : NULL;
    if (!place || rb_share_take(&sessions->places, session->uid, 1) != RB_OK) {
        free(place);
        return NULL;
    }
    place->topic = topic;
    place->n = -1;
    rb_list_init(&place->node);
    rb_list_init(&place->in_topic);
    rb_list_push(&session->places, &place->node);
    rb_list_push(&places->places, &place->in_topic);
    return place;
}

bool rb_place_has_room(struct rb_sessions *sessions, struct rb_session *session, int64_t topic)
{
    return rb_place_find(session, topic) || rb_share_room(&sessions->places, session->uid, 1, 100) == RB_ROOM;
}

struct rb_place *rb_place_set(struct rb_sessions *sessions, struct rb_session *session, int64_t topic, int64_t n)
{
    struct rb_place *place = rb_place_find(session, topic);
    if (!place)
        place = make_place(sessions, session, topic);
    if (!place || (place->has_row && place->n == n))
        return place;
    place->n = n;
    place->has_row = true;
    rb_place_save(sessions->rows, (struct rb_span){(const char *)session->id, sizeof session->id}, topic, n);
    return place;
}

void rb_place_hand_out(struct rb_place *place, uint64_t connection, int64_t n)
{
    for (size_t i = 0; i < RB_HANDED_MAX; i++) {
        if (place->handed[i].connection == connection) {
            place->handed[i].n = n;
            return;
        }
    }
    size_t i = place->next_handed++ % RB_HANDED_MAX;
    place->handed[i].connection = connection;
    place->handed[i].n = n;
}

int64_t rb_place_handed(const struct rb_place *place, uint64_t connection)
{
    for (size_t i = 0; connection && i < RB_HANDED_MAX; i++)
        if (place->handed[i].connection == connection)
            return place->handed[i].n;
    return -1;
}

/* --- sessions --- */

static struct rb_session *find(const struct rb_sessions *sessions, const unsigned char *id)
{
    struct rb_span span = {(const char *)id, RB_SESSION_ID_BYTES};
    struct rb_map_node *node = rb_map_find(&sessions->by_id, rb_hash_bytes(sessions->seed, span));
    for (; node; node = rb_map_again(node)) {
        struct rb_session *session = RB_CONTAINER(node, struct rb_session, by_id);
        if (memcmp(session->id, id, RB_SESSION_ID_BYTES) == 0)
            return session;
    }
    return NULL;
}

static struct rb_session *make_session(struct rb_sessions *sessions, const struct rb_session_row *row)
{
    struct rb_account *account = rb_account_by_id(sessions->accounts, row->account);
    struct rb_session *session = account && row->id.len == RB_SESSION_ID_BYTES ? calloc(1, sizeof *session) : NULL;
    if (!session)
        return NULL;
    session->door = rb_span_dup(row->door);
    session->username = rb_span_dup(row->username);
    if (!session->door || !session->username || rb_share_take(&sessions->share, row->uid, 1) != RB_OK) {
        free(session->door);
        free(session->username);
        free(session);
        return NULL;
    }
    memcpy(session->id, row->id.at, sizeof session->id);
    session->account = account;
    session->uid = row->uid;
    session->used = row->used;
    session->seen_ms = rb_clock_now_ms(sessions->ports->clock);
    session->has_row = true;
    rb_list_init(&session->node);
    rb_list_init(&session->places);
    rb_list_init(&session->polls);
    rb_list_push(&sessions->all, &session->node);
    rb_map_add(&sessions->by_id, &session->by_id, rb_hash_bytes(sessions->seed, row->id));
    return session;
}

static void free_session(struct rb_sessions *sessions, struct rb_session *session)
{
    rb_polls_forget_session(session);
    while (!rb_list_empty(&session->places))
        free_place(sessions, session, RB_CONTAINER(session->places.next, struct rb_place, node));
    rb_map_remove(&sessions->by_id, &session->by_id);
    rb_list_remove(&session->node);
    rb_share_give(&sessions->share, session->uid, 1);
    free(session->door);
    free(session->username);
    free(session);
}

/* At the bound the session that was unused for longest goes, of those without a place: short-lived programs that only
 * post open one each, and nothing is lost with it. At a user's own bound it is one of his. False: all have a place. */
static bool make_room(struct rb_sessions *sessions, int64_t uid)
{
    enum rb_room room = rb_share_room(&sessions->share, uid, 1, 100);
    if (room == RB_ROOM)
        return true;
    struct rb_session *spare = NULL;
    RB_LIST_EACH (&sessions->all, node) {
        struct rb_session *session = RB_CONTAINER(node, struct rb_session, node);
        if (rb_list_empty(&session->places) && rb_list_empty(&session->polls) &&
            (room == RB_NO_ROOM || session->uid == uid) && (!spare || session->seen_ms < spare->seen_ms))
            spare = session;
    }
    if (spare)
        rb_session_end(sessions, spare);
    return spare != NULL;
}

enum rb_status rb_session_open(struct rb_sessions *sessions, struct rb_account *account, const char *door, int64_t uid,
                               struct rb_span username, struct rb_session **ret, struct rb_error *err)
{
    rb_tick_lead(sessions->ports->tick);
    if (!make_room(sessions, uid))
        return rb_fail(err, RB_FULL, "There are too many sessions that read; unused ones end after a while.");
    unsigned char id[RB_SESSION_ID_BYTES];
    rb_random_fill(sessions->ports->random, id, sizeof id);
    int64_t now = rb_clock_wall_ms(sessions->ports->clock);
    struct rb_session_row row = {
        .id = {(const char *)id, sizeof id},
        .account = rb_account_id(account),
        .uid = uid,
        .door = rb_span_of(door),
        .username = username,
        .created = now,
        .used = now,
    };
    struct rb_session *session = make_session(sessions, &row);
    if (!session)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    rb_session_rows_add(sessions->rows, &row);
    *ret = session;
    return RB_OK;
}

void rb_session_touch(struct rb_sessions *sessions, struct rb_session *session)
{
    int64_t now = rb_clock_wall_ms(sessions->ports->clock);
    session->seen_ms = rb_clock_now_ms(sessions->ports->clock);
    if (now >= session->used && now - session->used < USED_MS)
        return;
    rb_tick_lead(sessions->ports->tick);
    session->used = now;
    rb_session_rows_used(sessions->rows, (struct rb_span){(const char *)session->id, sizeof session->id}, now);
}

bool rb_session_is_known(struct rb_sessions *sessions, const unsigned char id[RB_SESSION_ID_BYTES], const char *door,
                         int64_t uid)
{
    const struct rb_session *session = find(sessions, id);
    return session && session->uid == uid && strcmp(session->door, door) == 0;
}

struct rb_session *rb_session_find(struct rb_sessions *sessions, const unsigned char id[RB_SESSION_ID_BYTES],
                                   const char *door, int64_t uid)
{
    struct rb_session *session = rb_session_is_known(sessions, id, door, uid) ? find(sessions, id) : NULL;
    return session && !rb_account_is_retired(session->account) ? session : NULL;
}

const unsigned char *rb_session_id(const struct rb_session *session)
{
    return session->id;
}

struct rb_account *rb_session_account(const struct rb_session *session)
{
    return session->account;
}

void rb_session_end(struct rb_sessions *sessions, struct rb_session *session)
{
    rb_tick_lead(sessions->ports->tick);
    rb_session_rows_delete(sessions->rows, (struct rb_span){(const char *)session->id, sizeof session->id});
    free_session(sessions, session);
}

/* Sessions not used for long end, a few at a time. The list turns: each is looked at once a round. */
static void expire(struct rb_timer *timer)
{
    struct rb_sessions *sessions = RB_CONTAINER(timer, struct rb_sessions, expiry);
    int64_t before = rb_clock_wall_ms(sessions->ports->clock) - sessions->ports->config->session_ms;
    int64_t unseen = rb_clock_now_ms(sessions->ports->clock) - UNSEEN_MS;
    if (sessions->to_look_at == 0)
        sessions->to_look_at = (unsigned)sessions->share.held;
    for (int i = 0; i < SLICE_SESSIONS && sessions->to_look_at > 0; i++) {
        struct rb_list *node = rb_list_pop(&sessions->all);
        sessions->to_look_at--;
        if (!node)
            break;
        struct rb_session *session = RB_CONTAINER(node, struct rb_session, node);
        rb_list_push(&sessions->all, node);
        if (session->used < before && session->seen_ms <= unseen && rb_list_empty(&session->polls))
            rb_session_end(sessions, session);
    }
    rb_timer_set_in(sessions->ports->clock, &sessions->expiry, sessions->to_look_at ? SLICE_MS : EXPIRY_MS);
}

/* --- life --- */

struct loading {
    struct rb_sessions *sessions;
    enum rb_status status;
};

static void load_session(void *arg, const struct rb_session_row *row)
{
    struct loading *loading = arg;
    struct rb_sessions *sessions = loading->sessions;
    struct rb_session *session =
        row->id.len == RB_SESSION_ID_BYTES ? find(sessions, (const unsigned char *)row->id.at) : NULL;
    if (session) {
        session->has_row = true;
        session->used = row->used;
    } else if (row->id.len == RB_SESSION_ID_BYTES && rb_account_by_id(sessions->accounts, row->account) &&
               !make_session(sessions, row)) {
        loading->status = RB_NO_MEMORY;
    }
}

static void load_place(void *arg, struct rb_span id, int64_t topic, int64_t n)
{
    struct loading *loading = arg;
    struct rb_sessions *sessions = loading->sessions;
    struct rb_session *session = id.len == RB_SESSION_ID_BYTES ? find(sessions, (const unsigned char *)id.at) : NULL;
    if (!session)
        return;
    struct rb_place *place = rb_place_find(session, topic);
    if (!place)
        place = make_place(sessions, session, topic);
    if (!place) {
        loading->status = RB_NO_MEMORY;
        return;
    }
    place->n = n;
    place->has_row = true;
}

/* What a rolled back tick had made goes; what it had changed or deleted is as it was. What was handed out stays
 * known. */
enum rb_status rb_sessions_reload(struct rb_sessions *sessions)
{
    struct loading loading = {sessions, RB_OK};
    RB_LIST_EACH (&sessions->all, node) {
        struct rb_session *session = RB_CONTAINER(node, struct rb_session, node);
        session->has_row = false;
        RB_LIST_EACH (&session->places, place)
            RB_CONTAINER(place, struct rb_place, node)->has_row = false;
    }
    rb_session_rows_each(sessions->rows, load_session, &loading);
    rb_place_each(sessions->rows, load_place, &loading);
    if (loading.status == RB_OK)
        loading.status = rb_store_failed(sessions->ports->store);
    if (loading.status != RB_OK)
        return loading.status;
    RB_LIST_EACH_SAFE (&sessions->all, node) {
        struct rb_session *session = RB_CONTAINER(node, struct rb_session, node);
        RB_LIST_EACH_SAFE (&session->places, at) {
            struct rb_place *place = RB_CONTAINER(at, struct rb_place, node);
            if (!place->has_row)
                free_place(sessions, session, place);
        }
        if (!session->has_row)
            free_session(sessions, session);
    }
    rb_batches_clear(sessions);
    return RB_OK;
}

enum rb_status rb_sessions_new(const struct rb_ports *ports, struct rb_accounts *accounts, struct rb_topics *topics,
                               struct rb_inbox *inbox, struct rb_outbox *outbox, struct rb_sessions **ret,
                               struct rb_error *err)
{
    struct rb_sessions *sessions = calloc(1, sizeof *sessions);
    if (!sessions)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    sessions->ports = ports;
    sessions->accounts = accounts;
    sessions->topics = topics;
    sessions->inbox = inbox;
    sessions->outbox = outbox;
    rb_random_fill(ports->random, sessions->seed, sizeof sessions->seed);
    rb_share_init(&sessions->share, ports->config->sessions, ports->config->user_percent);
    rb_share_init(&sessions->places, ports->config->sessions * PLACES_A_SESSION, ports->config->user_percent);
    rb_list_init(&sessions->all);
    rb_list_init(&sessions->polls);
    rb_list_init(&sessions->fetches);
    sessions->expiry = RB_TIMER_INIT(expire);
    sessions->account_watch.changed = rb_polls_account_changed;
    rb_list_init(&sessions->account_watch.node);
    enum rb_status status = rb_session_rows_new(ports->store, &sessions->rows, err);
    if (status != RB_OK) {
        free(sessions);
        return status;
    }
    status = rb_sessions_reload(sessions);
    if (status != RB_OK) {
        rb_sessions_free(sessions);
        return rb_fail(err, status, "The sessions cannot be read from the database: %s.", rb_status_text(status));
    }
    rb_inbox_set_floor(inbox, floor_of, sessions);
    rb_account_watch(accounts, &sessions->account_watch);
    rb_timer_set_in(ports->clock, &sessions->expiry, EXPIRY_MS);
    *ret = sessions;
    return RB_OK;
}

void rb_sessions_free(struct rb_sessions *sessions)
{
    if (!sessions)
        return;
    rb_inbox_set_floor(sessions->inbox, NULL, NULL);
    rb_account_unwatch(&sessions->account_watch);
    rb_timer_stop(sessions->ports->clock, &sessions->expiry);
    rb_polls_drop(sessions);
    while (!rb_list_empty(&sessions->all))
        free_session(sessions, RB_CONTAINER(sessions->all.next, struct rb_session, node));
    rb_share_free(&sessions->share);
    rb_share_free(&sessions->places);
    rb_map_clear(&sessions->by_id, NULL);
    rb_map_clear(&sessions->topic_places, free_topic_places);
    rb_batches_clear(sessions);
    rb_session_rows_free(sessions->rows);
    free(sessions);
}
