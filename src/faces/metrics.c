/* Health, readiness and metrics. The first two have the relay's shapes (wire contract §7), and unlike the relay's say
 * what is so. */
#include "account.h"
#include "face.h"
#include "inbox.h"
#include "outbox.h"
#include "problem.h"
#include "session.h"
#include "wire_time.h"

static void health(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"status\":\"healthy\",\"timestamp\":");
    rb_wire_time_add(&body, rb_clock_wall_ms(context->clock));
    rb_str_addf(&body, ",\"version\":\"%s\"}", context->version);
    rb_http_answer_str(request, 200, "application/json", &body);
    rb_str_free(&body);
}

static void ready(struct rb_http_request *request, void *face)
{
    struct rb_face_context *context = face;
    bool storage = !rb_tick_has_waiting_facts(context->tick), login = false;
    for (struct rb_account *account = NULL; (account = rb_account_next(context->broker->accounts, account));)
        login = login || rb_account_state(account) == RB_ACCOUNT_ACTIVE;
    bool all = storage && login && !context->stopping;
    rb_http_answer_json(request, all ? 200 : 503,
                        json_pack("{sb s{ss ss}}", "ready", all, "checks", "storage", storage ? "ok" : "disk full",
                                  "login", login ? "ok" : "no account is logged in"));
}

enum kind { COUNTER, GAUGE };

struct metric {
    const char *name, *help;
    enum kind kind;
    double value;
};

static void add_metrics(struct rb_str *out, const struct metric *metrics, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rb_str_addf(out, "# HELP relay_broker_%s %s\n# TYPE relay_broker_%s %s\nrelay_broker_%s %.17g\n",
                    metrics[i].name, metrics[i].help, metrics[i].name, metrics[i].kind == COUNTER ? "counter" : "gauge",
                    metrics[i].name, metrics[i].value);
}

static void add_account_metrics(struct rb_face_context *context, struct rb_str *out)
{
    double active = 0, refreshes = 0, failed = 0, revoking = 0, accounts = 0;
    for (struct rb_account *account = NULL; (account = rb_account_next(context->broker->accounts, account));) {
        struct rb_account_status status;
        rb_account_status(account, &status);
        accounts++;
        active += rb_account_state(account) == RB_ACCOUNT_ACTIVE;
        refreshes += (double)status.refreshes;
        failed += (double)status.refreshes_failed;
        revoking += (double)status.chains_revoking;
    }
    const struct metric metrics[] = {
        {"accounts", "Accounts known.", GAUGE, accounts},
        {"accounts_active", "Accounts with a working login.", GAUGE, active},
        {"chains_revoking", "Chains whose revocation the relay has not confirmed.", GAUGE, revoking},
        {"refreshes_total", "Refresh tokens rotated.", COUNTER, refreshes},
        {"refreshes_failed_total", "Refreshes that did not end with a new token.", COUNTER, failed},
    };
    add_metrics(out, metrics, sizeof metrics / sizeof *metrics);
}

static void add_message_metrics(struct rb_face_context *context, struct rb_str *out)
{
    struct rb_outbox_stats outbox;
    struct rb_inbox_stats inbox;
    struct rb_session_stats sessions;
    rb_outbox_stats(context->broker->outbox, &outbox);
    rb_inbox_stats(context->broker->inbox, &inbox);
    rb_session_stats(context->broker->sessions, &sessions);
    const struct metric metrics[] = {
        {"outbox_queued", "Posts waiting to be sent.", GAUGE, (double)outbox.queued},
        {"outbox_sending", "Posts with an attempt under way.", GAUGE, (double)outbox.sending},
        {"outbox_unknown", "Posts whose last attempt ended unclearly.", GAUGE, (double)outbox.unknown},
        {"outbox_open_bytes", "Bytes of posts not ended.", GAUGE, (double)outbox.open_bytes},
        {"outbox_accepted_total", "Posts that the relay stored.", COUNTER, (double)outbox.accepted},
        {"outbox_refused_total", "Posts that the relay refused for good.", COUNTER, (double)outbox.refused},
        {"outbox_expired_total", "Posts that could not be sent in time.", COUNTER, (double)outbox.expired},
        {"outbox_retries_total", "Attempts after the first.", COUNTER, (double)outbox.retries},
        {"outbox_maybe_duplicates_total", "Posts sent again after an unclear end.", COUNTER,
         (double)outbox.maybe_duplicates},
        {"inbox_topics", "Topics read from the relay.", GAUGE, (double)inbox.topics},
        {"inbox_messages", "Messages stored.", GAUGE, (double)inbox.rows},
        {"inbox_bytes", "Bytes of messages stored.", GAUGE, (double)inbox.bytes},
        {"inbox_full", "1 while reading has stopped at the bound.", GAUGE, inbox.full},
        {"inbox_stored_total", "Messages read from the relay.", COUNTER, (double)inbox.stored},
        {"inbox_gaps_total", "Gaps: what the relay could not give or no longer keeps.", COUNTER, (double)inbox.gaps},
        {"upstream_polls", "Polls under way at the relay.", GAUGE, inbox.polling},
        {"upstream_polls_failed_total", "Polls that did not end with an answer.", COUNTER, (double)inbox.polls_failed},
        {"sessions", "Sessions of local callers.", GAUGE, sessions.sessions},
        {"parked_polls", "Local polls waiting.", GAUGE, sessions.parked},
    };
    add_metrics(out, metrics, sizeof metrics / sizeof *metrics);
}

static void add_process_metrics(struct rb_face_context *context, struct rb_str *out)
{
    struct rb_http_stats http;
    rb_http_server_stats(context->server, &http);
    const struct metric metrics[] = {
        {"http_requests_total", "Requests handed to a face.", COUNTER, (double)http.requests},
        {"http_refused_total", "Requests refused by the guard.", COUNTER, (double)http.refused},
        {"http_connections", "Open connections.", GAUGE, http.connections},
        {"uptime_seconds", "Since the start.", GAUGE,
         (double)(rb_clock_now_ms(context->clock) - context->started_ms) / 1000},
    };
    add_metrics(out, metrics, sizeof metrics / sizeof *metrics);
}

static void metrics(struct rb_http_request *request, void *face)
{
    struct rb_str body = RB_STR_INIT;
    add_account_metrics(face, &body);
    add_message_metrics(face, &body);
    add_process_metrics(face, &body);
    rb_http_answer_str(request, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
    rb_str_free(&body);
}

static const struct rb_route routes[] = {
    {RB_GET, "/health", RB_BODY_NONE, health},
    {RB_GET, "/ready", RB_BODY_NONE, ready},
    {RB_GET, "/metrics", RB_BODY_NONE, metrics},
};

void rb_metrics_face(struct rb_face_context *context, struct rb_face *ret)
{
    *ret = (struct rb_face){routes, sizeof routes / sizeof *routes, "", rb_http_answer_problem, context};
}
