#include <unistd.h>

#include "account.h"
#include "event.h"
#include "face.h"
#include "inbox.h"
#include "outbox.h"
#include "session.h"
#include "wire_time.h"

enum { EVENTS_SHOWN = 20 };

static json_t *door_json(const struct rb_door *door)
{
    json_t *uids = door->any_uid ? json_string("any") : json_array();
    for (size_t i = 0; !door->any_uid && i < door->uid_count; i++)
        json_array_append_new(uids, json_integer(door->uids[i]));
    json_t *accounts = door->accounts ? json_array() : json_string("all");
    for (char **name = door->accounts; name && *name; name++)
        json_array_append_new(accounts, json_string(*name));
    json_t *listen = json_array();
    for (char **address = door->listen; address && *address; address++)
        json_array_append_new(listen, json_string(*address));
    json_t *faces = json_array();
    if (door->wire)
        json_array_append_new(faces, json_string("wire"));
    if (door->broker)
        json_array_append_new(faces, json_string("broker"));
    json_t *group = door->group == (gid_t)-1 ? json_null() : json_integer(door->group);
    return json_pack("{ss so so so so so sb}", "name", door->name, "listen", listen, "uids", uids, "group", group,
                     "accounts", accounts, "faces", faces, "topic_changes", door->topic_changes);
}

static json_t *account_json(struct rb_face_context *context, struct rb_account *account, bool admin)
{
    struct rb_account_status status;
    rb_account_status(account, &status);
    json_t *tree = json_pack(
        "{ss ss ss sb sI so sI}", "name", rb_account_name(account), "state", status.state, "chain", status.chain_state,
        "relay_answers", !status.trouble[0], "generation", (json_int_t)status.generation, "access_expires_in_s",
        status.access_expires_in_ms < 0 ? json_null() : json_integer(status.access_expires_in_ms / 1000), "outbox_open",
        (json_int_t)rb_outbox_open_of(context->broker->outbox, rb_account_id(account)));
    if (!tree || !admin)
        return tree;
    json_t *more =
        json_pack("{ss ss sI sI sI sI ss ss}", "relay_url", rb_account_peer(account).url, "username",
                  rb_account_username(account), "chains", (json_int_t)status.chains, "chains_revoking",
                  (json_int_t)status.chains_revoking, "refreshes", (json_int_t)status.refreshes, "refreshes_failed",
                  (json_int_t)status.refreshes_failed, "last_problem", status.last_problem, "trouble", status.trouble);
    json_object_update_new(tree, more);
    return tree;
}

static json_t *outbox_json(struct rb_face_context *context)
{
    struct rb_outbox_stats stats;
    rb_outbox_stats(context->broker->outbox, &stats);
    json_t *age = stats.oldest_wall_ms ? json_integer((rb_clock_wall_ms(context->clock) - stats.oldest_wall_ms) / 1000)
                                       : json_null();
    return json_pack("{sI sI sI sI sI sI sI sI sI sI so}", "queued", (json_int_t)stats.queued, "sending",
                     (json_int_t)stats.sending, "unknown", (json_int_t)stats.unknown, "accepted",
                     (json_int_t)stats.accepted, "refused", (json_int_t)stats.refused, "expired",
                     (json_int_t)stats.expired, "retries", (json_int_t)stats.retries, "look_ups",
                     (json_int_t)stats.look_ups, "maybe_duplicates", (json_int_t)stats.maybe_duplicates, "open_bytes",
                     (json_int_t)stats.open_bytes, "oldest_age_s", age);
}

static json_t *inbox_json(struct rb_face_context *context)
{
    struct rb_inbox_stats stats;
    rb_inbox_stats(context->broker->inbox, &stats);
    return json_pack("{sI sI sI sI sI sI sI sI sI sI si sb}", "topics", (json_int_t)stats.topics, "rows",
                     (json_int_t)stats.rows, "bytes", (json_int_t)stats.bytes, "gaps", (json_int_t)stats.gaps, "stored",
                     (json_int_t)stats.stored, "duplicates_dropped", (json_int_t)stats.duplicates_dropped, "polls",
                     (json_int_t)stats.polls, "polls_failed", (json_int_t)stats.polls_failed, "poisoned",
                     (json_int_t)stats.poisoned, "reanchored", (json_int_t)stats.reanchored, "polling", stats.polling,
                     "full", stats.full);
}

static json_t *http_json(struct rb_face_context *context)
{
    struct rb_http_stats stats;
    rb_http_server_stats(context->server, &stats);
    return json_pack("{sI sI si si}", "requests", (json_int_t)stats.requests, "refused", (json_int_t)stats.refused,
                     "connections", (int)stats.connections, "parked", (int)stats.parked);
}

struct event_list {
    struct rb_face_context *context;
    json_t *list;
};

static void add_event(void *arg, int64_t wall_ms, int64_t account_id, struct rb_span kind, struct rb_span text)
{
    struct event_list *events = arg;
    struct rb_account *account = rb_account_by_id(events->context->broker->accounts, account_id);
    json_array_append_new(events->list, json_pack("{sI so ss% ss%}", "at", (json_int_t)(wall_ms / 1000), "account",
                                                  account ? json_string(rb_account_name(account)) : json_null(), "kind",
                                                  kind.at, kind.len, "text", text.at, text.len));
}

json_t *rb_status_json(struct rb_face_context *context, bool admin)
{
    json_t *accounts = json_array();
    for (struct rb_account *account = NULL; (account = rb_account_next(context->broker->accounts, account));)
        json_array_append_new(accounts, account_json(context, account, admin));
    struct rb_session_stats sessions;
    rb_session_stats(context->broker->sessions, &sessions);
    json_t *tree = json_pack("{ss sI so so so s{si si} so}", "version", context->version, "uptime_s",
                             (json_int_t)((rb_clock_now_ms(context->clock) - context->started_ms) / 1000), "accounts",
                             accounts, "outbox", outbox_json(context), "inbox", inbox_json(context), "sessions", "open",
                             (int)sessions.sessions, "parked", (int)sessions.parked, "http", http_json(context));
    if (!tree || !admin)
        return tree;
    json_t *doors = json_array(), *events = json_array();
    for (size_t i = 0; i < context->door_count; i++)
        json_array_append_new(doors, door_json(context->doors[i]));
    struct event_list shown = {context, events};
    rb_events_each(context->broker->events, EVENTS_SHOWN, add_event, &shown);
    json_object_update_new(tree, json_pack("{si sI ss so so s{ss}}", "pid", (int)getpid(), "started",
                                           (json_int_t)(context->started_wall_ms / 1000), "state_dir",
                                           context->state_dir, "doors", doors, "events", events, "vault", "source",
                                           rb_vault_source(context->vault)));
    return tree;
}
