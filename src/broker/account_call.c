/* Calls with the account's token, for faces: each waits for a token, is sent, and sent once more when the relay no
 * longer accepted the token (a 401 was not executed). */
#include <stdlib.h>
#include <string.h>

#include "account_private.h"

enum {
    READ_MAX_BYTES = 32 * 1024 * 1024,
    POLL_TIMEOUT_S = 1,
};

enum kind { TOPIC, ME, SESSIONS, PAGE, POLL };

struct account_call {
    struct rb_list node; /* rb_accounts.calls */
    struct rb_account *account;
    int64_t uid; /* the caller's */
    enum kind kind;
    struct rb_timer timer; /* the end of waiting; or at once, when no token can come */
    int64_t until_ms;
    bool sent, retried;
    uint64_t serial;
    struct rb_topic_request request;
    bool descending;
    int limit;
    struct rb_str texts[2]; /* name and description, or topic and cursor or since */
    union {
        rb_plain_done plain;
        rb_me_done me;
        rb_page_done page;
        rb_poll_done poll;
    } done;
    void *arg;
};

static bool has_turn(const struct account_call *call)
{
    const struct rb_accounts *accounts = call->account->accounts;
    return rb_share_room(&accounts->calls_sent, call->uid, 1, 100) == RB_ROOM &&
           (call->kind != POLL || rb_share_room(&accounts->polls_sent, call->uid, 1, 100) == RB_ROOM);
}

/* False: out of memory. */
static bool set_sent(struct account_call *call, bool sent)
{
    struct rb_accounts *accounts = call->account->accounts;
    if (sent && rb_share_take(&accounts->calls_sent, call->uid, 1) != RB_OK)
        return false;
    if (sent && call->kind == POLL && rb_share_take(&accounts->polls_sent, call->uid, 1) != RB_OK) {
        rb_share_give(&accounts->calls_sent, call->uid, 1);
        return false;
    }
    if (!sent && call->sent) {
        rb_share_give(&accounts->calls_sent, call->uid, 1);
        if (call->kind == POLL)
            rb_share_give(&accounts->polls_sent, call->uid, 1);
    }
    call->sent = sent;
    return true;
}

static void call_free(struct account_call *call)
{
    rb_timer_stop(call->account->accounts->ports->clock, &call->timer);
    rb_list_remove(&call->node);
    set_sent(call, false);
    rb_str_free(&call->texts[0]);
    rb_str_free(&call->texts[1]);
    free(call);
}

void account_calls_free(struct rb_accounts *accounts)
{
    RB_LIST_EACH_SAFE (&accounts->calls, node)
        call_free(RB_CONTAINER(node, struct account_call, node));
}

static void go_on(struct account_call *call);

struct answered {
    const struct rb_answer *answer;
    const struct rb_me *me;
    const struct rb_incoming *messages;
    size_t count;
    struct rb_span next_cursor;
    bool has_more;
};

/* Those that were sent stand first, so the search is short. */
static void next_turn(struct rb_accounts *accounts)
{
    RB_LIST_EACH (&accounts->calls, node) {
        struct account_call *call = RB_CONTAINER(node, struct account_call, node);
        if (accounts->calls_sent.held >= CALLS_MAX)
            return;
        if (!call->sent && has_turn(call))
            go_on(call);
    }
}

static void finish(struct account_call *call, const struct answered *with)
{
    struct account_call ended = *call;
    call_free(call);
    if (ended.sent)
        next_turn(ended.account->accounts);
    switch (ended.kind) {
    case TOPIC:
    case SESSIONS:
        ended.done.plain(ended.arg, with->answer);
        return;
    case ME:
        ended.done.me(ended.arg, with->answer, with->me);
        return;
    case PAGE:
        ended.done.page(ended.arg, with->answer, with->messages, with->count, with->next_cursor);
        return;
    case POLL:
        ended.done.poll(ended.arg, with->answer, with->messages, with->count, with->has_more);
        return;
    }
}

static void no_token(struct account_call *call)
{
    struct rb_answer answer = {.end = RB_END_NOT_EXECUTED,
                               .problem = RB_PROBLEM_UNREACHABLE,
                               .status = 503,
                               .retry_after_ms = -1,
                               .relay_wall_ms = -1};
    const struct rb_account *account = call->account;
    if (rb_account_state(account) != RB_ACCOUNT_ACTIVE)
        snprintf(answer.detail, sizeof answer.detail, "the account %.64s has no login; run relay-broker login",
                 account->name);
    else if (!has_turn(call))
        snprintf(answer.detail, sizeof answer.detail, "%d calls to the relay are under way; try again later",
                 (int)account->accounts->calls_sent.held);
    else
        snprintf(answer.detail, sizeof answer.detail, "a new access token has not come yet; try again later%s%.180s",
                 account->last_problem[0] ? ": " : "", account->last_problem);
    finish(call, &(struct answered){.answer = &answer});
}

static void timed_out(struct rb_timer *timer)
{
    no_token(RB_CONTAINER(timer, struct account_call, timer));
}

/* True: it is sent once more, and the answer is not the end. */
static bool sent_again(struct account_call *call, const struct rb_answer *answer)
{
    if (answer->problem != RB_PROBLEM_UNAUTHORIZED)
        return false;
    rb_account_access_refused(call->account, call->serial);
    if (call->retried)
        return false;
    call->retried = true;
    set_sent(call, false);
    go_on(call);
    next_turn(call->account->accounts);
    return true;
}

static void answered(struct account_call *call, const struct answered *with)
{
    if (!sent_again(call, with->answer))
        finish(call, with);
}

static void plain_answered(void *arg, const struct rb_answer *answer)
{
    answered(arg, &(struct answered){.answer = answer});
}

static void me_answered(void *arg, const struct rb_answer *answer, const struct rb_me *me)
{
    answered(arg, &(struct answered){.answer = answer, .me = me});
}

static void page_answered(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                          struct rb_span next_cursor)
{
    answered(arg,
             &(struct answered){.answer = answer, .messages = messages, .count = count, .next_cursor = next_cursor});
}

static void poll_answered(void *arg, const struct rb_answer *answer, const struct rb_incoming *messages, size_t count,
                          bool has_more)
{
    answered(arg, &(struct answered){.answer = answer, .messages = messages, .count = count, .has_more = has_more});
}

static enum rb_status send_call(struct account_call *call, struct rb_span token)
{
    struct rb_relay *relay = call->account->accounts->ports->relay;
    struct rb_relay_peer peer = rb_account_peer(call->account);
    struct rb_topic_request request = call->request;
    struct rb_since since = {rb_str_span(&call->texts[0]), rb_str_span(&call->texts[1])};
    switch (call->kind) {
    case TOPIC:
        request.name = rb_str_span(&call->texts[0]);
        request.description = rb_str_span(&call->texts[1]);
        return rb_relay_topic(relay, &peer, token, &request, plain_answered, call, NULL);
    case ME:
        return rb_relay_me(relay, &peer, token, me_answered, call, NULL);
    case SESSIONS:
        return rb_relay_sessions(relay, &peer, token, plain_answered, call, NULL);
    case PAGE:
        return rb_relay_page(relay, &peer, token, rb_str_span(&call->texts[0]), call->descending, call->limit,
                             rb_str_span(&call->texts[1]), READ_MAX_BYTES, page_answered, call, NULL);
    case POLL:
        return rb_relay_poll(relay, &peer, token, &since, 1, POLL_TIMEOUT_S, READ_MAX_BYTES, poll_answered, call, NULL);
    }
    return RB_INVALID;
}

/* Sends, or waits for its turn or a token, or lets the timer say soon that none can come. */
static void go_on(struct account_call *call)
{
    struct rb_clock *clock = call->account->accounts->ports->clock;
    struct rb_span token;
    if (call->sent)
        return;
    if (!has_turn(call)) {
        rb_timer_set(clock, &call->timer, call->until_ms);
        return;
    }
    enum rb_status status = rb_account_access(call->account, &token, &call->serial);
    if (status == RB_OK && !set_sent(call, true))
        status = RB_NO_MEMORY;
    if (status == RB_OK && (status = send_call(call, token)) != RB_OK)
        set_sent(call, false);
    if (status == RB_OK) {
        rb_timer_stop(clock, &call->timer);
    } else if (status == RB_UNAVAILABLE) {
        rb_timer_set(clock, &call->timer, call->until_ms);
    } else {
        rb_timer_set_in(clock, &call->timer, 0);
    }
}

void account_calls_go_on(struct rb_account *account)
{
    RB_LIST_EACH_SAFE (&account->accounts->calls, node) {
        struct account_call *call = RB_CONTAINER(node, struct account_call, node);
        if (call->account == account)
            go_on(call);
    }
}

static struct account_call *call_new(struct rb_account *account, int64_t uid, enum kind kind, struct rb_span first,
                                     struct rb_span second, void *arg)
{
    struct account_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->account = account;
    call->uid = uid;
    call->kind = kind;
    call->arg = arg;
    call->timer = RB_TIMER_INIT(timed_out);
    rb_list_push(&account->accounts->calls, &call->node);
    rb_str_add_span(&call->texts[0], first);
    rb_str_add_span(&call->texts[1], second);
    if (!rb_str_failed(&call->texts[0]) && !rb_str_failed(&call->texts[1]))
        return call;
    call_free(call);
    return NULL;
}

static enum rb_status start(struct account_call *call, int64_t wait_ms)
{
    call->until_ms = rb_clock_now_ms(call->account->accounts->ports->clock) + wait_ms;
    go_on(call);
    return RB_OK;
}

enum rb_status rb_account_topic(struct rb_account *account, int64_t uid, const struct rb_topic_request *request,
                                int64_t wait_ms, rb_plain_done done, void *arg)
{
    struct account_call *call = call_new(account, uid, TOPIC, request->name, request->description, arg);
    if (!call)
        return RB_NO_MEMORY;
    call->request = (struct rb_topic_request){.call = request->call, .has_description = request->has_description};
    call->done.plain = done;
    return start(call, wait_ms);
}

enum rb_status rb_account_me(struct rb_account *account, int64_t uid, int64_t wait_ms, rb_me_done done, void *arg)
{
    struct account_call *call = call_new(account, uid, ME, (struct rb_span){0}, (struct rb_span){0}, arg);
    if (!call)
        return RB_NO_MEMORY;
    call->done.me = done;
    return start(call, wait_ms);
}

enum rb_status rb_account_sessions(struct rb_account *account, int64_t uid, int64_t wait_ms, rb_plain_done done,
                                   void *arg)
{
    struct account_call *call = call_new(account, uid, SESSIONS, (struct rb_span){0}, (struct rb_span){0}, arg);
    if (!call)
        return RB_NO_MEMORY;
    call->done.plain = done;
    return start(call, wait_ms);
}

enum rb_status rb_account_page(struct rb_account *account, int64_t uid, struct rb_span topic, bool descending,
                               int limit, struct rb_span cursor, int64_t wait_ms, rb_page_done done, void *arg)
{
    struct account_call *call = call_new(account, uid, PAGE, topic, cursor, arg);
    if (!call)
        return RB_NO_MEMORY;
    call->descending = descending;
    call->limit = limit;
    call->done.page = done;
    return start(call, wait_ms);
}

enum rb_status rb_account_poll(struct rb_account *account, int64_t uid, struct rb_span topic, struct rb_span since,
                               int64_t wait_ms, rb_poll_done done, void *arg)
{
    struct account_call *call = call_new(account, uid, POLL, topic, since, arg);
    if (!call)
        return RB_NO_MEMORY;
    call->done.poll = done;
    return start(call, wait_ms);
}
