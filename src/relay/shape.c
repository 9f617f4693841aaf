#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "json_span.h"
#include "wipe.h"

/* A member to look for; of duplicates the last counts. */
struct member {
    const char *name;
    bool found;
    struct rb_json_value value;
};

/* One walk for all members: a payload before them is read once. */
static void find_members(struct rb_json_value object, struct member *members, size_t count)
{
    if (object.kind != RB_JSON_OBJECT)
        return;
    struct rb_json_walk walk = rb_json_walk(object);
    struct rb_json_value key, value;
    while (rb_json_next(&walk, &key, &value))
        for (size_t i = 0; i < count; i++)
            if (rb_json_is(key, members[i].name)) {
                members[i].value = value;
                members[i].found = true;
            }
}

static bool is_null(const struct member *member)
{
    return !member->found || member->value.kind == RB_JSON_NULL;
}

/* The string's characters: the answer's own bytes where nothing is escaped, else a copy in the scratch memory. Each
 * string shrinks by its unescaping, so as much scratch as answer is always enough. */
static bool take_string(struct rb_decoded *decoded, const struct rb_exchange *exchange, const struct member *member,
                        struct rb_span *ret)
{
    if (!member->found || member->value.kind != RB_JSON_STRING)
        return false;
    struct rb_span inner = {member->value.text.at + 1, member->value.text.len - 2};
    if (inner.len == 0 || !memchr(inner.at, '\\', inner.len)) {
        *ret = inner;
        return true;
    }
    if (!decoded->scratch) {
        decoded->scratch = malloc(exchange->answer.len);
        decoded->scratch_room = decoded->scratch ? exchange->answer.len : 0;
    }
    struct rb_str text = RB_STR_INIT;
    rb_codec_room(&text, inner.len + 1);
    bool taken = rb_json_string(member->value, &text) == RB_OK && !rb_str_failed(&text) &&
                 text.len <= decoded->scratch_room - decoded->scratch_len;
    if (taken) {
        memcpy(decoded->scratch + decoded->scratch_len, text.at, text.len);
        *ret = (struct rb_span){decoded->scratch + decoded->scratch_len, text.len};
        decoded->scratch_len += text.len;
    }
    rb_str_free(&text);
    return taken;
}

static bool take_filled_string(struct rb_decoded *decoded, const struct rb_exchange *exchange,
                               const struct member *member, struct rb_span *ret)
{
    return take_string(decoded, exchange, member, ret) && ret->len > 0;
}

static bool take_token(struct rb_decoded *decoded, const struct rb_exchange *exchange, const struct member *member,
                       struct rb_span *ret)
{
    return take_string(decoded, exchange, member, ret) && rb_token_valid(*ret);
}

static bool take_expiry(const struct member *member, int64_t *ret)
{
    enum { USUAL_S = 3600, MOST_S = 7 * 24 * 3600 };
    int64_t seconds = USUAL_S;
    if (!is_null(member)) {
        if (member->value.kind != RB_JSON_NUMBER)
            return false;
        /* A number that is no integer says nothing of use, but it must not cost a login that the relay has granted. */
        if (rb_json_integer(member->value, INT64_MIN, INT64_MAX, &seconds) != RB_OK)
            seconds = USUAL_S;
    }
    *ret = seconds < 1 ? 1 : seconds > MOST_S ? MOST_S : seconds;
    return true;
}

static bool take_tokens(struct rb_decoded *decoded, const struct rb_exchange *exchange, struct rb_json_value body)
{
    enum { ACCESS, TYPE, REFRESH, SECONDARY, EXPIRY };
    struct member members[] = {{.name = "access_token"},
                               {.name = "token_type"},
                               {.name = "refresh_token"},
                               {.name = "refresh_token_secondary"},
                               {.name = "expires_in"}};
    struct rb_tokens *tokens = &decoded->tokens;
    struct rb_span type;
    find_members(body, members, sizeof members / sizeof *members);
    if (!is_null(&members[TYPE]) &&
        (!take_string(decoded, exchange, &members[TYPE], &type) || !rb_span_is_nocase(type, "bearer")))
        return false;
    return take_token(decoded, exchange, &members[ACCESS], &tokens->access_token) &&
           take_token(decoded, exchange, &members[REFRESH], &tokens->refresh_token) &&
           (is_null(&members[SECONDARY]) ||
            take_token(decoded, exchange, &members[SECONDARY], &tokens->refresh_token_secondary)) &&
           take_expiry(&members[EXPIRY], &tokens->expires_in_s);
}

static bool take_me(struct rb_decoded *decoded, const struct rb_exchange *exchange, struct rb_json_value body)
{
    struct member members[] = {{.name = "user_id"}, {.name = "username"}};
    find_members(body, members, 2);
    return take_filled_string(decoded, exchange, &members[0], &decoded->me.user_id) &&
           take_filled_string(decoded, exchange, &members[1], &decoded->me.username);
}

static bool take_stored(struct rb_decoded *decoded, const struct rb_exchange *exchange, struct rb_json_value body)
{
    struct member members[] = {{.name = "message_id"}, {.name = "timestamp"}, {.name = "topic"}};
    struct rb_span topic;
    find_members(body, members, 3);
    return take_filled_string(decoded, exchange, &members[0], &decoded->stored.message_id) &&
           take_filled_string(decoded, exchange, &members[1], &decoded->stored.timestamp) &&
           take_filled_string(decoded, exchange, &members[2], &topic);
}

static bool take_message(struct rb_decoded *decoded, const struct rb_exchange *exchange, struct rb_json_value value,
                         struct rb_incoming *ret)
{
    enum { TOPIC, ID, TIMESTAMP, PAYLOAD, METADATA, TYPE };
    struct member members[] = {{.name = "topic"},   {.name = "message_id"}, {.name = "timestamp"},
                               {.name = "payload"}, {.name = "metadata"},   {.name = "type"}};
    find_members(value, members, sizeof members / sizeof *members);
    if (!take_filled_string(decoded, exchange, &members[TOPIC], &ret->topic) ||
        !take_filled_string(decoded, exchange, &members[ID], &ret->message_id) ||
        !take_string(decoded, exchange, &members[TIMESTAMP], &ret->timestamp))
        return false;
    if (!members[PAYLOAD].found || members[PAYLOAD].value.kind != RB_JSON_OBJECT)
        return false;
    ret->payload = members[PAYLOAD].value.text;
    ret->from_waiter = members[TYPE].found;
    if (is_null(&members[METADATA]))
        return true;
    ret->metadata = members[METADATA].value.text;
    return members[METADATA].value.kind == RB_JSON_OBJECT;
}

static bool take_messages(struct rb_decoded *decoded, const struct rb_exchange *exchange, const struct member *member)
{
    if (!member->found || member->value.kind != RB_JSON_ARRAY)
        return false;
    struct rb_json_value message;
    size_t count = 0;
    struct rb_json_walk walk = rb_json_walk(member->value);
    while (rb_json_next(&walk, NULL, &message))
        count++;
    if (count == 0)
        return true;
    decoded->messages = calloc(count, sizeof *decoded->messages);
    if (!decoded->messages)
        return false;
    walk = rb_json_walk(member->value);
    while (rb_json_next(&walk, NULL, &message))
        if (!take_message(decoded, exchange, message, &decoded->messages[decoded->count++]))
            return false;
    return true;
}

static bool take_poll(struct rb_decoded *decoded, const struct rb_exchange *exchange, struct rb_json_value body)
{
    struct member members[] = {{.name = "messages"}, {.name = "has_more"}};
    find_members(body, members, 2);
    if (!members[1].found || (members[1].value.kind != RB_JSON_TRUE && members[1].value.kind != RB_JSON_FALSE))
        return false;
    decoded->has_more = members[1].value.kind == RB_JSON_TRUE;
    return take_messages(decoded, exchange, &members[0]);
}

/* A missing next_cursor is no null: taken for one, it would end the paging before its end. */
static bool take_page(struct rb_decoded *decoded, const struct rb_exchange *exchange, struct rb_json_value body)
{
    struct member members[] = {{.name = "messages"}, {.name = "next_cursor"}};
    find_members(body, members, 2);
    if (!members[1].found)
        return false;
    if (members[1].value.kind != RB_JSON_NULL && !take_string(decoded, exchange, &members[1], &decoded->next_cursor))
        return false;
    return take_messages(decoded, exchange, &members[0]);
}

static bool has_strings(struct rb_json_value body, const char *one, const char *other)
{
    struct member members[] = {{.name = one}, {.name = other}};
    find_members(body, members, 2);
    for (int i = 0; i < 2; i++)
        if (!members[i].found || members[i].value.kind != RB_JSON_STRING)
            return false;
    return true;
}

bool rb_decode_shape(enum rb_call_kind kind, struct rb_decoded *decoded, const struct rb_exchange *exchange,
                     struct rb_json_value body)
{
    switch (kind) {
    case RB_CALL_LOGIN:
    case RB_CALL_REFRESH:
        return take_tokens(decoded, exchange, body);
    case RB_CALL_ME:
        return take_me(decoded, exchange, body);
    case RB_CALL_POST:
        return take_stored(decoded, exchange, body);
    case RB_CALL_POLL:
        return take_poll(decoded, exchange, body);
    case RB_CALL_PAGE:
        return take_page(decoded, exchange, body);
    case RB_CALL_SESSIONS:
    case RB_CALL_TOPIC_LIST:
        return body.kind == RB_JSON_ARRAY;
    case RB_CALL_TOPIC_GET:
    case RB_CALL_TOPIC_CREATE:
    case RB_CALL_TOPIC_UPDATE:
        return has_strings(body, "topic_name", "owner_id");
    case RB_CALL_HEALTH:
        return has_strings(body, "status", "version");
    case RB_CALL_REVOKE:
    case RB_CALL_LOGOUT:
    case RB_CALL_TOPIC_DELETE:
        return true;
    }
    return false;
}

void rb_decoded_free(struct rb_decoded *decoded)
{
    rb_wipe_free(decoded->scratch);
    free(decoded->messages);
    *decoded = (struct rb_decoded){0};
}
