#include "config.h"

#include "log.h"

#define AT(field) offsetof(struct rb_config, field)
#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};

const char *const rb_config_default_listen[] = {"127.0.0.1:7420", "[::1]:7420", NULL};

const struct rb_config_key rb_config_keys[] = {
    {NULL, "state", RB_CONFIG_TEXT, AT(state)},
    {NULL, "keys", RB_CONFIG_TEXT, AT(keys)},
    {NULL, "listen", RB_CONFIG_LIST, AT(listen)},
    {NULL, "log_level", RB_CONFIG_CHOICE, AT(log_level), .words = log_levels},
    {"limits", "connections", RB_CONFIG_INTEGER, AT(connections), 16, 1000000},
    {"limits", "parked_polls", RB_CONFIG_INTEGER, AT(parked_polls), 1, 1000000},
    {"limits", "sessions", RB_CONFIG_INTEGER, AT(sessions), 1, 1000000},
    {"limits", "topics", RB_CONFIG_INTEGER, AT(topics), 1, 1000000},
    {"limits", "user_percent", RB_CONFIG_INTEGER, AT(user_percent), 1, 100},
    {"limits", "body_bytes", RB_CONFIG_INTEGER, AT(body_bytes), 1024, 1048576},
    {"limits", "header_bytes", RB_CONFIG_INTEGER, AT(header_bytes), 4096, 262144},
    {"limits", "arrive_seconds", RB_CONFIG_INTEGER, AT(arrive_seconds), 1, 300},
    {"outbox", "rows", RB_CONFIG_INTEGER, AT(outbox_rows), 1, 10000000},
    {"outbox", "bytes", RB_CONFIG_INTEGER, AT(outbox_bytes), 2 * MIB, 1024 * GIB},
    {"outbox", "keys", RB_CONFIG_INTEGER, AT(outbox_keys), 1, 100000000},
    {"outbox", "key_hours", RB_CONFIG_INTEGER, AT(key_hours), 1, 24 * 30},
    {"inbox", "retention_hours", RB_CONFIG_INTEGER, AT(retention_hours), 1, 24 * 365},
    {"inbox", "bytes", RB_CONFIG_INTEGER, AT(inbox_bytes), 2 * MIB, 1024 * GIB},
    {"relay", "retry_after_end_seconds", RB_CONFIG_INTEGER, AT(retry_after_end_seconds), 1, 3600},
    {"relay", "unknown_wait_seconds", RB_CONFIG_INTEGER, AT(unknown_wait_seconds), 1, 3600},
    {"relay", "posts_per_minute", RB_CONFIG_INTEGER, AT(posts_per_minute), 0, 1000000},
    {"relay", "refreshes_per_minute", RB_CONFIG_INTEGER, AT(refreshes_per_minute), 0, 1000000},
    {"relay", "logins_per_minute", RB_CONFIG_INTEGER, AT(logins_per_minute), 0, 1000000},
    {"relay", "poll_timeout_seconds", RB_CONFIG_INTEGER, AT(poll_timeout_seconds), 1, 60},
    {0},
};

void rb_config_init(struct rb_config *config)
{
    const struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    const struct rb_broker_config *broker = &rb_broker_config_default;
    *config = (struct rb_config){
        .log_level = RB_LOG_INFO,
        .connections = limits.connections,
        .parked_polls = limits.parked,
        .sessions = broker->sessions,
        .topics = broker->topics,
        .user_percent = broker->user_percent,
        .body_bytes = (int64_t)limits.body_bytes,
        .header_bytes = (int64_t)limits.header_bytes,
        .arrive_seconds = limits.arrive_ms / 1000,
        .outbox_rows = broker->outbox_rows,
        .outbox_bytes = broker->outbox_bytes,
        .outbox_keys = broker->keys,
        .key_hours = broker->key_ms / 3600000,
        .retention_hours = broker->retention_ms / 3600000,
        .inbox_bytes = broker->inbox_bytes,
        .retry_after_end_seconds = broker->retry_after_end_ms / 1000,
        .unknown_wait_seconds = broker->unknown_wait_ms / 1000,
        .posts_per_minute = broker->posts_per_minute,
        .refreshes_per_minute = broker->refreshes_per_minute,
        .logins_per_minute = broker->logins_per_minute,
        .poll_timeout_seconds = broker->poll_timeout_s,
    };
}

struct rb_http_limits rb_config_http_limits(const struct rb_config *config)
{
    struct rb_http_limits limits = RB_HTTP_LIMITS_DEFAULT;
    limits.connections = (unsigned)config->connections;
    limits.parked = (unsigned)config->parked_polls;
    limits.user_percent = (int)config->user_percent;
    limits.body_bytes = (size_t)config->body_bytes;
    limits.header_bytes = (size_t)config->header_bytes;
    limits.arrive_ms = config->arrive_seconds * 1000;
    return limits;
}

struct rb_broker_config rb_config_broker(const struct rb_config *config)
{
    struct rb_broker_config broker = rb_broker_config_default;
    broker.sessions = config->sessions;
    broker.topics = config->topics;
    broker.user_percent = (int)config->user_percent;
    broker.outbox_rows = config->outbox_rows;
    broker.outbox_bytes = config->outbox_bytes;
    broker.keys = config->outbox_keys;
    broker.key_ms = config->key_hours * 3600000;
    broker.retention_ms = config->retention_hours * 3600000;
    broker.inbox_bytes = config->inbox_bytes;
    broker.retry_after_end_ms = config->retry_after_end_seconds * 1000;
    broker.unknown_wait_ms = config->unknown_wait_seconds * 1000;
    broker.posts_per_minute = (int)config->posts_per_minute;
    broker.refreshes_per_minute = (int)config->refreshes_per_minute;
    broker.logins_per_minute = (int)config->logins_per_minute;
    broker.poll_timeout_s = (int)config->poll_timeout_seconds;
    return broker;
}
