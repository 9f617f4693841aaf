#include "broker.h"

#include <stdlib.h>

#include "account.h"
#include "budget.h"
#include "event.h"
#include "inbox.h"
#include "outbox.h"
#include "session.h"
#include "topic.h"

const struct rb_broker_config rb_broker_config_default = {
    .retry_after_end_ms = 75 * 1000,
    .unknown_wait_ms = 10 * 1000,
    .look_up_give_up_ms = 60 * 1000,
    .outbox_rows = 100000,
    .outbox_bytes = INT64_C(256) << 20,
    .key_ms = INT64_C(24) * 3600 * 1000,
    .backoff_min_ms = 500,
    .backoff_max_ms = 30 * 1000,
    .sending_max = 16,
    .posts_per_minute = 120,
    .refreshes_per_minute = 10,
    .logins_per_minute = 5,
    .poll_timeout_s = 30,
    .answer_max_bytes = INT64_C(32) << 20,
    .retention_ms = INT64_C(24) * 3600 * 1000,
    .inbox_bytes = INT64_C(1) << 30,
    .session_ms = INT64_C(24) * 3600 * 1000,
    .sessions = 10000,
    .topics = 10000,
    .keys = 1000000,
    .user_percent = 80,
};

static enum rb_status make_parts(struct rb_broker *broker, struct rb_error *err)
{
    const struct rb_ports *ports = &broker->ports;
    enum rb_status status;
    if ((status = rb_events_new(ports, &broker->events, err)) != RB_OK ||
        (status = rb_budgets_new(ports, &broker->budgets, err)) != RB_OK ||
        (status = rb_accounts_new(ports, broker->budgets, broker->events, &broker->accounts, err)) != RB_OK ||
        (status = rb_topics_new(ports, &broker->topics, err)) != RB_OK ||
        (status = rb_outbox_new(ports, broker->accounts, broker->topics, broker->budgets, broker->events,
                                &broker->outbox, err)) != RB_OK ||
        (status = rb_inbox_new(ports, broker->accounts, broker->topics, broker->events, &broker->inbox, err)) != RB_OK)
        return status;
    return rb_sessions_new(ports, broker->accounts, broker->topics, broker->inbox, broker->outbox, &broker->sessions,
                           err);
}

enum rb_status rb_broker_new(const struct rb_ports *ports, struct rb_broker **ret, struct rb_error *err)
{
    struct rb_broker *broker = calloc(1, sizeof *broker);
    if (!broker)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory to start.");
    broker->ports = *ports;
    enum rb_status status = make_parts(broker, err);
    if (status != RB_OK) {
        rb_broker_free(broker);
        return status;
    }
    *ret = broker;
    return RB_OK;
}

void rb_broker_start(struct rb_broker *broker)
{
    rb_accounts_start(broker->accounts);
    rb_outbox_start(broker->outbox);
    rb_inbox_start(broker->inbox);
}

enum rb_status rb_broker_reload(struct rb_broker *broker)
{
    enum rb_status status;
    if ((status = rb_accounts_reload(broker->accounts)) != RB_OK ||
        (status = rb_topics_reload(broker->topics)) != RB_OK || (status = rb_outbox_reload(broker->outbox)) != RB_OK ||
        (status = rb_inbox_reload(broker->inbox)) != RB_OK)
        return status;
    return rb_sessions_reload(broker->sessions);
}

bool rb_broker_quiet(struct rb_broker *broker)
{
    return rb_accounts_quiet(broker->accounts);
}

void rb_broker_stop(struct rb_broker *broker)
{
    rb_inbox_stop(broker->inbox);
    rb_outbox_stop(broker->outbox);
    rb_accounts_stop(broker->accounts);
}

void rb_broker_free(struct rb_broker *broker)
{
    if (!broker)
        return;
    rb_sessions_free(broker->sessions);
    rb_inbox_free(broker->inbox);
    rb_outbox_free(broker->outbox);
    rb_topics_free(broker->topics);
    rb_accounts_free(broker->accounts);
    rb_budgets_free(broker->budgets);
    rb_events_free(broker->events);
    free(broker);
}
