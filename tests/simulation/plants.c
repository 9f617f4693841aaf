#include "plants.h"

#include <stdlib.h>
#include <string.h>

enum plant {
    PLANT_NONE,
    PLANT_RETRY_AT_ONCE,        /* a refresh token again without waiting */
    PLANT_ANSWER_BEFORE_COMMIT, /* effects run, the commit comes some ticks later */
    PLANT_CURSOR_FROM_WAITER,   /* a waiter's answer moves the cursor */
    PLANT_RESEND_UNSEEN,        /* after an unknown end the topic is not looked at */
    PLANT_POSITION_ON_HANDOUT,  /* what was handed out counts as confirmed */
};
static const char *const names[] = {"none",          "retry-at-once",      "answer-before-commit", "cursor-from-waiter",
                                    "resend-unseen", "position-on-handout"};
static enum plant chosen;

bool plant_choose(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            chosen = (enum plant)i;
            return true;
        }
    return false;
}

bool planted(void)
{
    return chosen != PLANT_NONE;
}

void plant_into(struct world_config *config)
{
    if (chosen == PLANT_RETRY_AT_ONCE)
        config->broker.retry_after_end_ms = 0;
}

int planted_same_connection(void)
{
    return chosen == PLANT_POSITION_ON_HANDOUT;
}

#ifdef PLANTS_ARE_LINKED
/* The linker sends the shipped objects' calls here (--wrap) and knows the shipped function as __real_…. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
enum rb_status __real_rb_store_commit(struct rb_store *store);
enum rb_status __wrap_rb_store_commit(struct rb_store *store);
enum rb_status __real_rb_relay_poll(struct rb_relay *relay, const struct rb_relay_peer *peer,
                                    struct rb_span access_token, const struct rb_since *topics, size_t count,
                                    int timeout_s, size_t answer_max_bytes, rb_poll_done done, void *arg,
                                    struct rb_call **ret);
enum rb_status __wrap_rb_relay_poll(struct rb_relay *relay, const struct rb_relay_peer *peer,
                                    struct rb_span access_token, const struct rb_since *topics, size_t count,
                                    int timeout_s, size_t answer_max_bytes, rb_poll_done done, void *arg,
                                    struct rb_call **ret);
enum rb_status __real_rb_relay_page(struct rb_relay *relay, const struct rb_relay_peer *peer,
                                    struct rb_span access_token, struct rb_span topic, bool descending, int limit,
                                    struct rb_span cursor, size_t answer_max_bytes, rb_page_done done, void *arg,
                                    struct rb_call **ret);
enum rb_status __wrap_rb_relay_page(struct rb_relay *relay, const struct rb_relay_peer *peer,
                                    struct rb_span access_token, struct rb_span topic, bool descending, int limit,
                                    struct rb_span cursor, size_t answer_max_bytes, rb_page_done done, void *arg,
                                    struct rb_call **ret);

enum rb_status __wrap_rb_store_commit(struct rb_store *store)
{
    static unsigned calls;
    if (chosen == PLANT_ANSWER_BEFORE_COMMIT && ++calls % 4)
        return RB_OK;
    return __real_rb_store_commit(store);
}

struct disguised {
    rb_poll_done done;
    void *arg;
};

static void on_disguised(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                         bool has_more)
{
    struct disguised own = *(struct disguised *)arg;
    free(arg);
    struct rb_incoming *copy = calloc(count + 1, sizeof *copy);
    if (!copy)
        abort();
    for (size_t i = 0; i < count; i++) {
        copy[i] = messages[i];
        copy[i].from_waiter = false;
    }
    own.done(own.arg, answer, copy, count, has_more);
    free(copy);
}

enum rb_status __wrap_rb_relay_poll(struct rb_relay *relay, const struct rb_relay_peer *peer,
                                    struct rb_span access_token, const struct rb_since *topics, size_t count,
                                    int timeout_s, size_t answer_max_bytes, rb_poll_done done, void *arg,
                                    struct rb_call **ret)
{
    if (chosen != PLANT_CURSOR_FROM_WAITER)
        return __real_rb_relay_poll(relay, peer, access_token, topics, count, timeout_s, answer_max_bytes, done, arg,
                                    ret);
    struct disguised *own = malloc(sizeof *own);
    if (!own)
        abort();
    *own = (struct disguised){done, arg};
    return __real_rb_relay_poll(relay, peer, access_token, topics, count, timeout_s, answer_max_bytes, on_disguised,
                                own, ret);
}

/* The look is asked for, but nowhere where the post could be seen: at an empty topic's end. */
enum rb_status __wrap_rb_relay_page(struct rb_relay *relay, const struct rb_relay_peer *peer,
                                    struct rb_span access_token, struct rb_span topic, bool descending, int limit,
                                    struct rb_span cursor, size_t answer_max_bytes, rb_page_done done, void *arg,
                                    struct rb_call **ret)
{
    if (chosen == PLANT_RESEND_UNSEEN && !descending)
        topic = RB_SPAN("nothing-here");
    return __real_rb_relay_page(relay, peer, access_token, topic, descending, limit, cursor, answer_max_bytes, done,
                                arg, ret);
}
#endif
