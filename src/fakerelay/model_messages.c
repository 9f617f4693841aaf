#include "model_private.h"

#include "model_normal.h"

enum { BULK_MAX = 100, PAGE_MAX = 100 };

/* A checked message of a request. */
struct draft {
    struct rb_str topic;
    struct rb_json_value payload, metadata;
    bool has_metadata;
};

static bool read_draft(struct problems *problems, struct rb_json_value value, const char *loc, struct draft *ret)
{
    char where[64];
    size_t before = problems->count;
    int64_t ttl = 0;
    if (value.kind != RB_JSON_OBJECT) {
        snprintf(where, sizeof where, "%s]", loc);
        problem_add(problems, "model_attributes_type", where,
                    "Input should be a valid dictionary or object to extract fields from", &value, NULL);
        return false;
    }
    field_topic(problems, value, loc, "topic", &ret->topic);
    snprintf(where, sizeof where, "%s,\"payload\"]", loc);
    if (!rb_json_member(value, "payload", &ret->payload))
        problem_add(problems, "missing", where, "Field required", &value, NULL);
    else if (ret->payload.kind != RB_JSON_OBJECT)
        problem_add(problems, "dict_type", where, "Input should be a valid dictionary", &ret->payload, NULL);
    field_integer(problems, value, "ttl", loc, true, 0, true, INT64_MAX, &ttl);
    ret->has_metadata = field_strings(problems, value, loc, "metadata", &ret->metadata);
    return problems->count == before && !problems->unprintable;
}

static char *print_normal(struct rb_json_value value, size_t *ret_len, struct normal *found)
{
    struct rb_str text = RB_STR_INIT;
    normal_value(&text, value, found);
    *ret_len = text.len;
    return rb_str_steal(&text);
}

static struct message *message_of(const struct draft *draft)
{
    struct message *message = calloc(1, sizeof *message);
    if (!message)
        return NULL;
    struct normal payload = {0}, metadata = {0};
    message->payload = print_normal(draft->payload, &message->payload_len, &payload);
    if (draft->has_metadata)
        message->metadata = print_normal(draft->metadata, &message->metadata_len, &metadata);
    if (!message->payload || (draft->has_metadata && !message->metadata)) {
        message_free(message);
        return NULL;
    }
    message->levels = payload.levels;
    message->unreadable_value = payload.surrogate_value || metadata.surrogate_value;
    message->unreadable_key = payload.surrogate_key || metadata.surrogate_key;
    return message;
}

/* The topic, created where it is new. */
static struct topic *ready_topic(struct call *call, struct rb_span name)
{
    struct topic *topic = topic_get(call->model, call->user, name);
    if (!topic || topic->exists)
        return topic;
    RB_CLEANUP_STR struct rb_str description = RB_STR_INIT;
    rb_str_addf(&description, "Auto-created topic by %s", call->user->username);
    return topic_create(call->model, topic, description.at) ? topic : NULL;
}

enum stored { STORED, STORED_UNPRINTABLE, NOT_STORED };

static enum stored store(struct call *call, struct topic *topic, const struct draft *draft, const struct message **ret)
{
    struct message *message = NULL;
    if (!map_find(&call->model->rejected, rb_span_of(topic->name)))
        message = message_of(draft);
    if (!message || stream_append(call->model, topic, message) != RB_OK)
        return NOT_STORED;
    if (message->levels >= PRINT_LEVELS)
        return STORED_UNPRINTABLE;
    polls_publish(call->model, topic, message);
    *ret = message;
    return STORED;
}

static void post(struct call *call, const struct draft *draft)
{
    struct topic *topic = ready_topic(call, rb_str_span(&draft->topic));
    if (!topic) {
        answer_internal(call);
        return;
    }
    if (memory_answer(call, ANSWER_POST))
        return;
    const struct message *message = NULL;
    if (store(call, topic, draft, &message) != STORED) {
        answer_internal(call);
        return;
    }
    char time[TIME_MAX];
    time_text(message->wall_ms, true, time);
    struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"message_id\":\"%s\",\"topic\":", message->id);
    quote(&body, topic->name);
    rb_str_addf(&body, ",\"timestamp\":\"%s\"}", time);
    answer_json(call, 201, &body);
    memory_keep(call, ANSWER_POST);
}

void handle_post(struct call *call)
{
    struct problems problems = {0};
    struct draft draft = {0};
    read_draft(&problems, call->body, "[\"body\"", &draft);
    if (!problems_answer(call, &problems) && limit_take(call, "post", 120)) {
        call->model->counts.posts++;
        post(call, &draft);
        polls_answer(call->model);
    }
    rb_str_free(&draft.topic);
}

static void bulk_item(struct call *call, const struct draft *draft, struct rb_str *out, size_t *accepted)
{
    struct topic *topic = topic_find(call->model, call->user, rb_str_span(&draft->topic));
    const struct message *message = NULL;
    enum stored stored = topic ? store(call, topic, draft, &message) : NOT_STORED;
    rb_str_add(out, "{\"message_id\":");
    quote(out, stored == STORED ? message->id : NULL);
    rb_str_add(out, ",\"topic\":");
    rb_json_quote(out, rb_str_span(&draft->topic));
    rb_str_addf(out, ",\"status\":\"%s\",\"error\":", stored == STORED ? "accepted" : "rejected");
    quote(out, stored == STORED               ? NULL
               : stored == STORED_UNPRINTABLE ? "Maximum serialization depth exceeded"
                                              : "Storage error");
    rb_str_add(out, "}");
    *accepted += stored == STORED;
}

static void bulk(struct call *call, const struct draft *drafts, size_t count)
{
    if (memory_answer(call, ANSWER_BULK))
        return;
    for (size_t i = 0; i < count; i++) {
        if (!ready_topic(call, rb_str_span(&drafts[i].topic))) {
            answer_detail(call, 403, "Access denied to one or more requested topics");
            return;
        }
    }
    struct rb_str body = RB_STR_INIT;
    size_t accepted = 0;
    rb_str_add(&body, "{\"results\":[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            rb_str_add(&body, ",");
        bulk_item(call, &drafts[i], &body, &accepted);
    }
    rb_str_addf(&body, "],\"summary\":{\"total\":%zu,\"accepted\":%zu,\"rejected\":%zu}}", count, accepted,
                count - accepted);
    answer_json(call, 207, &body);
    if (call->answer->status == 207)
        memory_keep(call, ANSWER_BULK);
}

/* The number of drafts read. */
static size_t read_drafts(struct problems *problems, struct rb_json_value object, struct draft drafts[BULK_MAX])
{
    struct rb_json_value list, item;
    size_t length = field_list(problems, object, "[\"body\"", "messages", BULK_MAX, &list);
    if (length == 0)
        return 0;
    struct rb_json_walk walk = rb_json_walk(list);
    for (size_t i = 0; i < length && rb_json_next(&walk, NULL, &item); i++) {
        char where[48];
        snprintf(where, sizeof where, "[\"body\",\"messages\",%zu", i);
        read_draft(problems, item, where, &drafts[i]);
    }
    return length;
}

void handle_bulk(struct call *call)
{
    struct problems problems = {0};
    struct draft *drafts = calloc(BULK_MAX, sizeof *drafts);
    if (!drafts) {
        answer_internal(call);
        return;
    }
    size_t count = read_drafts(&problems, call->body, drafts);
    if (!problems_answer(call, &problems) && limit_take(call, "bulk", 30)) {
        call->model->counts.bulks++;
        bulk(call, drafts, count);
        polls_answer(call->model);
    }
    for (size_t i = 0; i < BULK_MAX; i++)
        rb_str_free(&drafts[i].topic);
    free(drafts);
}

/* --- a topic's page --- */

struct page {
    int64_t limit;
    struct rb_str order, cursor;
    bool has_cursor;
};

static bool read_limit(struct call *call, struct problems *problems, int64_t *ret)
{
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
    if (!form_field(call->query, "limit", &text))
        return true;
    RB_CLEANUP_STR struct rb_str object = RB_STR_INIT;
    rb_str_add(&object, "{\"limit\":");
    rb_json_quote(&object, rb_str_span(&text));
    rb_str_add(&object, "}");
    struct rb_json_value value = {RB_JSON_OBJECT, rb_str_span(&object)};
    if (!rb_str_failed(&object))
        field_integer(problems, value, "limit", "[\"query\"", false, INT64_MIN, false, INT64_MAX, ret);
    return problems->count == 0;
}

static void print_stored(struct rb_str *out, const struct topic *topic, const struct message *message)
{
    char time[TIME_MAX];
    time_text(message->wall_ms, false, time);
    rb_str_addf(out, "{\"message_id\":\"%s\",\"topic\":", message->id);
    quote(out, topic->name);
    rb_str_add(out, ",\"payload\":");
    rb_str_append(out, message->payload, message->payload_len);
    rb_str_addf(out, ",\"timestamp\":\"%s\",\"metadata\":", time);
    rb_str_add_span(out,
                    message->metadata ? (struct rb_span){message->metadata, message->metadata_len} : RB_SPAN("{}"));
    rb_str_add(out, "}");
}

static void answer_page(struct call *call, const struct topic *topic, struct page *page, size_t at, bool newer)
{
    struct rb_str body = RB_STR_INIT;
    const char *last = NULL;
    int64_t count = 0;
    rb_str_add(&body, "{\"messages\":[");
    for (; count < page->limit && at < topic->count; count++) {
        const struct message *message = stream_at(topic, at);
        if (message->unreadable_value || message->levels >= PRINT_LEVELS) {
            rb_str_free(&body);
            answer_internal(call);
            return;
        }
        if (count)
            rb_str_add(&body, ",");
        print_stored(&body, topic, message);
        last = message->id;
        at += newer ? (size_t)1 : SIZE_MAX; /* from the oldest down it wraps beyond every count */
    }
    rb_str_addf(&body, "],\"total\":%lld,\"limit\":%lld,\"order\":\"%s\",\"cursor\":", (long long)count,
                (long long)page->limit, newer ? "asc" : "desc");
    if (page->has_cursor)
        rb_json_quote(&body, rb_str_span(&page->cursor));
    else
        rb_str_add(&body, "null");
    rb_str_add(&body, ",\"next_cursor\":");
    quote(&body, last);
    rb_str_add(&body, "}");
    answer_json(call, 200, &body);
}

static void read_page(struct call *call, struct page *page)
{
    struct problems problems = {0};
    read_limit(call, &problems, &page->limit);
    if (problems_answer(call, &problems))
        return;
    const struct topic *topic = topic_find(call->model, call->user, rb_str_span(&call->param));
    if (!topic || !topic->exists) {
        answer_detail(call, 404, "Topic '%s' not found", call->param.len ? call->param.at : "");
        return;
    }
    bool newer = rb_span_is(rb_str_span(&page->order), "asc");
    if (!newer && !rb_span_is(rb_str_span(&page->order), "desc")) {
        answer_detail(call, 400, "Order must be 'asc' or 'desc'");
        return;
    }
    if (page->limit < 1) {
        answer_detail(call, 400, "Limit must be at least 1");
        return;
    }
    if (page->limit > PAGE_MAX)
        page->limit = PAGE_MAX;
    size_t at = 0;
    if (!stream_seek(call->model, topic, rb_str_span(&page->cursor), newer, &at)) {
        answer_internal(call);
        return;
    }
    answer_page(call, topic, page, at, newer);
}

void handle_page(struct call *call)
{
    struct page page = {.limit = 10};
    if (!form_field(call->query, "order", &page.order))
        rb_str_add(&page.order, "desc");
    page.has_cursor = form_field(call->query, "cursor", &page.cursor);
    read_page(call, &page);
    rb_str_free(&page.order);
    rb_str_free(&page.cursor);
}

enum rb_status rb_model_publish(struct rb_model *model, const char *username, struct rb_span topic_name,
                                struct rb_span payload)
{
    struct call call = {.model = model, .user = user_by_name(model, rb_span_of(username))};
    struct draft draft = {0};
    if (!call.user || rb_json_check(payload, READ_LEVELS, &draft.payload, NULL) != RB_JSON_FINE)
        return RB_INVALID;
    struct topic *topic = ready_topic(&call, topic_name);
    const struct message *message = NULL;
    if (!topic || store(&call, topic, &draft, &message) != STORED)
        return RB_NO_MEMORY;
    polls_answer(model);
    return RB_OK;
}
