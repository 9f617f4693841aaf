#include "budget.h"

#include <stdlib.h>

#include "list.h"

enum {
    WINDOW_MS = 60 * 1000,
    /* The relay's window opens when the first request arrives there, which is later than it was sent. */
    MARGIN_MS = 1000,
    NO_MEMORY_MS = 1000,
};

struct window {
    bool open;
    int64_t opened_ms;
    int64_t closed_until_ms; /* after a 429 */
    int64_t count;
    int64_t limit; /* 0: none assumed */
    bool learned;
};

struct address {
    struct rb_list node;
    char *url;
    struct window windows[RB_BUDGET_KINDS];
};

struct rb_budgets {
    const struct rb_ports *ports;
    struct rb_list addresses;
};

enum rb_status rb_budgets_new(const struct rb_ports *ports, struct rb_budgets **ret, struct rb_error *err)
{
    struct rb_budgets *budgets = calloc(1, sizeof *budgets);
    if (!budgets)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory to start.");
    budgets->ports = ports;
    rb_list_init(&budgets->addresses);
    *ret = budgets;
    return RB_OK;
}

void rb_budgets_free(struct rb_budgets *budgets)
{
    if (!budgets)
        return;
    RB_LIST_EACH_SAFE (&budgets->addresses, node) {
        struct address *address = RB_CONTAINER(node, struct address, node);
        free(address->url);
        free(address);
    }
    free(budgets);
}

static int64_t configured_limit(const struct rb_budgets *budgets, enum rb_budget_kind kind)
{
    const struct rb_broker_config *config = budgets->ports->config;
    switch (kind) {
    case RB_BUDGET_POST:
        return config->posts_per_minute;
    case RB_BUDGET_REFRESH:
        return config->refreshes_per_minute;
    case RB_BUDGET_LOGIN:
        return config->logins_per_minute;
    case RB_BUDGET_KINDS:
        break;
    }
    return 0;
}

static struct window *window_get(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind)
{
    RB_LIST_EACH (&budgets->addresses, node) {
        struct address *address = RB_CONTAINER(node, struct address, node);
        if (rb_span_is(rb_span_of(relay_url), address->url))
            return &address->windows[kind];
    }
    struct address *address = calloc(1, sizeof *address);
    char *url = rb_span_dup(rb_span_of(relay_url));
    if (!address || !url) {
        free(address);
        free(url);
        return NULL;
    }
    address->url = url;
    for (int i = 0; i < RB_BUDGET_KINDS; i++)
        address->windows[i].limit = configured_limit(budgets, (enum rb_budget_kind)i);
    rb_list_push(&budgets->addresses, &address->node);
    return &address->windows[kind];
}

/* Ends a window that is over. A learned limit was perhaps somebody else's doing (another client behind our address, or
 * a window that was open before we started): after a full minute without a 429 it grows again. */
static void window_turn(struct rb_budgets *budgets, struct window *window, enum rb_budget_kind kind, int64_t now)
{
    if (!window->open || now < window->opened_ms + WINDOW_MS + MARGIN_MS)
        return;
    window->open = false;
    if (window->learned && window->count >= window->limit && window->closed_until_ms <= window->opened_ms) {
        int64_t configured = configured_limit(budgets, kind);
        window->limit += 1 + window->limit / 8;
        if (configured > 0 && window->limit >= configured) {
            window->limit = configured;
            window->learned = false;
        }
    }
    window->count = 0;
}

static int64_t window_wait_ms(const struct window *window, int64_t now)
{
    if (now < window->closed_until_ms)
        return window->closed_until_ms - now;
    if (window->open && window->limit > 0 && window->count >= window->limit)
        return window->opened_ms + WINDOW_MS + MARGIN_MS - now;
    return 0;
}

int64_t rb_budget_wait_ms(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind)
{
    struct window *window = window_get(budgets, relay_url, kind);
    if (!window)
        return NO_MEMORY_MS;
    int64_t now = rb_clock_now_ms(budgets->ports->clock);
    window_turn(budgets, window, kind, now);
    return window_wait_ms(window, now);
}

int64_t rb_budget_left(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind, int64_t *ret_window)
{
    struct window *window = window_get(budgets, relay_url, kind);
    if (!window)
        return 0;
    window_turn(budgets, window, kind, rb_clock_now_ms(budgets->ports->clock));
    *ret_window = window->open ? window->opened_ms : -1;
    return window->limit > 0 ? window->limit - (window->open ? window->count : 0) : INT64_MAX;
}

int64_t rb_budget_take(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind)
{
    int64_t wait_ms = rb_budget_wait_ms(budgets, relay_url, kind);
    struct window *window = wait_ms == 0 ? window_get(budgets, relay_url, kind) : NULL;
    if (!window)
        return wait_ms > 0 ? wait_ms : NO_MEMORY_MS;
    if (!window->open) {
        window->open = true;
        window->opened_ms = rb_clock_now_ms(budgets->ports->clock);
        window->count = 0;
    }
    window->count++;
    return 0;
}

void rb_budget_refused(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind,
                       int64_t retry_after_ms)
{
    struct window *window = window_get(budgets, relay_url, kind);
    if (!window)
        return;
    int64_t now = rb_clock_now_ms(budgets->ports->clock);
    int64_t until;
    if (retry_after_ms > 0 && retry_after_ms < INT64_MAX - now)
        until = now + retry_after_ms;
    else
        until = (window->open ? window->opened_ms : now) + WINDOW_MS + MARGIN_MS;
    if (until > window->closed_until_ms)
        window->closed_until_ms = until;
    /* The one that was refused is counted. Less than half of what was configured is not believed: then somebody else
     * shares the address, and the closed window is enough. */
    int64_t configured = configured_limit(budgets, kind);
    if (configured == 0)
        return;
    int64_t seen = window->open ? window->count - 1 : 0;
    int64_t least = configured > 1 ? configured / 2 : 1;
    int64_t limit = seen > least ? seen : least;
    if (window->limit == 0 || limit < window->limit) {
        window->limit = limit;
        window->learned = true;
    }
}

void rb_budget_give_back(struct rb_budgets *budgets, const char *relay_url, enum rb_budget_kind kind)
{
    struct window *window = window_get(budgets, relay_url, kind);
    if (!window || !window->open || window->count == 0)
        return;
    window->count--;
    if (window->count == 0)
        window->open = false;
}
