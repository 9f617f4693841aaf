#include "model_private.h"

/* A finished answer under a user's idempotency key. */
struct remembered {
    struct map_node node;
    struct rb_list link; /* model.answer_order: the first to be forgotten first */
    char *key;
    enum answer_kind kind;
    int64_t until_ms;
    struct rb_str body;
};

static void forget(struct rb_model *model, struct remembered *remembered)
{
    map_remove(&model->answers, &remembered->node);
    rb_list_remove(&remembered->link);
    free(remembered->key);
    rb_str_free(&remembered->body);
    free(remembered);
}

static void forget_expired(struct rb_model *model)
{
    int64_t now_ms = rb_clock_now_ms(model->clock);
    while (!rb_list_empty(&model->answer_order)) {
        struct remembered *oldest = RB_CONTAINER(model->answer_order.next, struct remembered, link);
        if (oldest->until_ms > now_ms)
            break;
        forget(model, oldest);
    }
}

static struct remembered *find(struct call *call, struct rb_str *key)
{
    rb_str_addf(key, "%s/", call->user->id);
    rb_str_add_span(key, call->request->idempotency_key);
    if (rb_str_failed(key))
        return NULL;
    struct map_node *node = map_find(&call->model->answers, rb_str_span(key));
    return node ? RB_CONTAINER(node, struct remembered, node) : NULL;
}

bool memory_answer(struct call *call, enum answer_kind kind)
{
    if (call->request->idempotency_key.len == 0)
        return false;
    forget_expired(call->model);
    RB_CLEANUP_STR struct rb_str key = RB_STR_INIT;
    struct remembered *remembered = find(call, &key);
    if (!remembered)
        return false;
    if (remembered->kind != kind) {
        answer_internal(call);
        return true;
    }
    struct rb_str body = RB_STR_INIT;
    rb_str_add_span(&body, rb_str_span(&remembered->body));
    answer_json(call, kind == ANSWER_POST ? 201 : 207, &body);
    return true;
}

void memory_keep(struct call *call, enum answer_kind kind)
{
    if (call->request->idempotency_key.len == 0)
        return;
    RB_CLEANUP_STR struct rb_str key = RB_STR_INIT;
    if (find(call, &key) || rb_str_failed(&key))
        return;
    struct remembered *remembered = calloc(1, sizeof *remembered);
    if (!remembered)
        return;
    rb_list_init(&remembered->link);
    remembered->kind = kind;
    remembered->until_ms = rb_clock_now_ms(call->model->clock) + REMEMBERED_MS;
    rb_str_add_span(&remembered->body, rb_str_span(&call->answer->body));
    size_t len = key.len;
    remembered->key = rb_str_steal(&key);
    if (!remembered->key || remembered->body.failed) {
        free(remembered->key);
        rb_str_free(&remembered->body);
        free(remembered);
        return;
    }
    map_add(&call->model->answers, &remembered->node, (struct rb_span){remembered->key, len});
    rb_list_push(&call->model->answer_order, &remembered->link);
}

void memory_free(struct rb_model *model)
{
    while (!rb_list_empty(&model->answer_order))
        forget(model, RB_CONTAINER(model->answer_order.next, struct remembered, link));
    rb_map_clear(&model->answers, NULL);
}
