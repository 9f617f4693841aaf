#include "model_private.h"

enum { WINDOW_MS = 60 * 1000 };

/* A fixed window that the first counted request opens. */
struct window {
    struct map_node node;
    char *key;
    int64_t ends_ms;
    unsigned taken;
};

static struct window *window_of(struct rb_model *model, struct rb_span key)
{
    struct map_node *node = map_find(&model->windows, key);
    if (node)
        return RB_CONTAINER(node, struct window, node);
    struct window *window = calloc(1, sizeof *window);
    if (!window)
        return NULL;
    window->key = rb_span_dup(key);
    if (!window->key) {
        free(window);
        return NULL;
    }
    map_add(&model->windows, &window->node, rb_span_of(window->key));
    return window;
}

bool limit_take(struct call *call, const char *what, unsigned per_minute)
{
    struct rb_model *model = call->model;
    if (!model->config.rate_limits)
        return true;
    RB_CLEANUP_STR struct rb_str key = RB_STR_INIT;
    rb_str_addf(&key, "%s %s", what, call->request->address ? call->request->address : "");
    struct window *window = rb_str_failed(&key) ? NULL : window_of(model, rb_str_span(&key));
    if (!window) {
        answer_internal(call);
        return false;
    }
    int64_t now_ms = rb_clock_now_ms(model->clock);
    if (window->taken == 0 || now_ms >= window->ends_ms) {
        window->ends_ms = now_ms + WINDOW_MS;
        window->taken = 0;
    }
    if (window->taken < per_minute) {
        window->taken++;
        return true;
    }
    model->counts.rate_limited++;
    struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"error\":\"Rate limit exceeded: %u per 1 minute\"}", per_minute);
    answer_json(call, 429, &body);
    return false;
}

static void window_release(struct rb_map_node *node)
{
    struct window *window = RB_CONTAINER(node, struct window, node.node);
    free(window->key);
    free(window);
}

void limits_free(struct rb_model *model)
{
    rb_map_clear(&model->windows, window_release);
}
