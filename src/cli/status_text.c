#include "status_text.h"

#include <time.h>

/* The column that texts begin in, after a heading or a name. */
enum { INDENT = 12 };

/* --- values --- */

static int64_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void add_text(struct rb_str *out, const json_t *value)
{
    const char *text = json_string_value(value);
    rb_str_add_printable(out, rb_span_of(text ? text : "?"));
}

static void add_list(struct rb_str *out, json_t *list)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        rb_str_add(out, i ? ", " : "");
        if (json_is_integer(entry))
            rb_str_addf(out, "%lld", (long long)json_integer_value(entry));
        else
            add_text(out, entry);
    }
}

/* "1 row", "2 rows". */
static void add_count(struct rb_str *out, int64_t count, const char *one, const char *many)
{
    rb_str_addf(out, "%lld %s", (long long)count, count == 1 ? one : many);
}

void rb_add_duration(struct rb_str *out, int64_t seconds)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    size_t u = 0;
    seconds = seconds < 0 ? 0 : seconds;
    while (u < 3 && seconds < units[u].seconds)
        u++;
    rb_str_addf(out, "%lld %s", (long long)(seconds / units[u].seconds), units[u].name);
    int64_t rest = seconds % units[u].seconds;
    if (u < 3 && rest >= units[u + 1].seconds)
        rb_str_addf(out, " %lld %s", (long long)(rest / units[u + 1].seconds), units[u + 1].name);
}

void rb_add_bytes(struct rb_str *out, int64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        add_count(out, bytes, "byte", "bytes");
        return;
    }
    double size = (double)bytes / 1024;
    size_t u = 0;
    for (; size >= 1023.95 && u < 3; u++)
        size /= 1024;
    rb_str_addf(out, "%.1f %s", size, units[u]);
}

/* Unix time in seconds, as local time; or already a text. */
static void add_time(struct rb_str *out, const json_t *at)
{
    time_t seconds = (time_t)json_integer_value(at);
    struct tm parts;
    char text[32];
    if (json_is_integer(at) && localtime_r(&seconds, &parts) &&
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts))
        rb_str_add(out, text);
    else
        add_text(out, at);
}

/* Begins a line: a heading, or blanks, up to the column. */
static void begin(struct rb_str *out, const char *heading)
{
    rb_str_addf(out, "%-*s", INDENT, heading);
}

/* The same with a name, which may be longer than the column. */
static void add_name(struct rb_str *out, const struct rb_str *name)
{
    begin(out, rb_str_failed(name) ? "?" : name->at);
    if (name->len >= INDENT)
        rb_str_add(out, " ");
}

/* --- sections --- */

static void add_process(struct rb_str *out, const json_t *status)
{
    rb_str_add(out, "relay-broker ");
    add_text(out, json_object_get(status, "version"));
    rb_str_addf(out, ", process %lld, running for ", (long long)number(status, "pid"));
    rb_add_duration(out, number(status, "uptime_s"));
    rb_str_add(out, "\nState in ");
    add_text(out, json_object_get(status, "state_dir"));
    rb_str_add(out, ", secrets sealed with the ");
    add_text(out, json_object_get(json_object_get(status, "vault"), "source"));
    rb_str_add(out, "\n");
}

static void add_admitted(struct rb_str *out, const json_t *door)
{
    json_t *uids = json_object_get(door, "uids");
    const json_t *group = json_object_get(door, "group");
    begin(out, "");
    if (json_is_string(uids)) {
        rb_str_add(out, "!!! EVERY LOCAL USER MAY COME IN (uids = any)\n");
        return;
    }
    rb_str_add(out, "for the daemon's user, root");
    if (json_array_size(uids)) {
        rb_str_add(out, json_array_size(uids) == 1 ? ", uid " : ", uids ");
        add_list(out, uids);
    }
    if (json_is_string(group) || json_is_integer(group)) {
        rb_str_add(out, ", group ");
        if (json_is_string(group))
            add_text(out, group);
        else
            rb_str_addf(out, "%lld", (long long)json_integer_value(group));
    }
    rb_str_add(out, "\n");
}

static void add_doors(struct rb_str *out, json_t *doors)
{
    size_t i;
    json_t *door;
    rb_str_add(out, "\nDOORS\n");
    if (!json_array_size(doors))
        rb_str_add(out, "none: only the admin socket is open\n");
    json_array_foreach(doors, i, door)
    {
        json_t *accounts = json_object_get(door, "accounts");
        RB_CLEANUP_STR struct rb_str name = RB_STR_INIT;
        add_text(&name, json_object_get(door, "name"));
        add_name(out, &name);
        add_list(out, json_object_get(door, "listen"));
        rb_str_add(out, "\n");
        add_admitted(out, door);
        begin(out, "");
        rb_str_add(out, json_array_size(accounts) ? "accounts " : "every account");
        add_list(out, accounts);
        if (json_is_array(json_object_get(door, "faces"))) {
            rb_str_add(out, "; faces ");
            add_list(out, json_object_get(door, "faces"));
        }
        rb_str_add(out, "\n");
    }
}

static void add_tokens(struct rb_str *out, const json_t *account)
{
    const json_t *expires = json_object_get(account, "access_expires_in_s");
    int64_t revoking = number(account, "chains_revoking");
    begin(out, "");
    if (json_is_integer(expires)) {
        rb_str_add(out, "access token good for ");
        rb_add_duration(out, json_integer_value(expires));
    } else {
        rb_str_add(out, "no access token now");
    }
    rb_str_add(out, "; chain ");
    add_text(out, json_object_get(account, "chain"));
    rb_str_addf(out, ", generation %lld", (long long)number(account, "generation"));
    if (number(account, "chains") > 1)
        rb_str_addf(out, ", %lld chains", (long long)number(account, "chains"));
    if (revoking)
        rb_str_addf(out, ", %lld still to be revoked at the relay", (long long)revoking);
    rb_str_add(out, "; ");
    add_count(out, number(account, "refreshes"), "refresh", "refreshes");
    if (number(account, "refreshes_failed"))
        rb_str_addf(out, ", %lld failed", (long long)number(account, "refreshes_failed"));
    rb_str_add(out, "\n");
}

static void add_state(struct rb_str *out, const json_t *account)
{
    const char *state = json_string_value(json_object_get(account, "state"));
    if (state && strcmp(state, "login_required") == 0) {
        rb_str_add(out, "LOGIN REQUIRED: run relay-broker login");
    } else if (state && strcmp(state, "logged_out") == 0) {
        rb_str_add(out, "logged out");
    } else {
        add_text(out, json_object_get(account, "state"));
    }
}

static void add_trouble(struct rb_str *out, const json_t *account)
{
    const char *trouble = json_string_value(json_object_get(account, "trouble"));
    if (!trouble || !*trouble)
        return;
    begin(out, "");
    rb_str_add(out, "RELAY TROUBLE: ");
    rb_str_add_printable(out, rb_span_of(trouble));
    rb_str_add(out, "\n");
}

/* An imported login tells its user with its first token. */
static void add_user(struct rb_str *out, const json_t *account)
{
    const char *name = json_string_value(json_object_get(account, "username"));
    if (name && !*name)
        rb_str_add(out, "a user not known yet");
    else
        add_text(out, json_object_get(account, "username"));
}

static void add_accounts(struct rb_str *out, json_t *accounts)
{
    size_t i;
    json_t *account;
    rb_str_add(out, "\nACCOUNTS\n");
    if (!json_array_size(accounts))
        rb_str_add(out, "none yet: run relay-broker login\n");
    json_array_foreach(accounts, i, account)
    {
        const char *problem = json_string_value(json_object_get(account, "last_problem"));
        RB_CLEANUP_STR struct rb_str name = RB_STR_INIT;
        add_text(&name, json_object_get(account, "name"));
        add_name(out, &name);
        add_state(out, account);
        rb_str_add(out, ", ");
        add_user(out, account);
        rb_str_add(out, " at ");
        add_text(out, json_object_get(account, "relay_url"));
        rb_str_add(out, "\n");
        add_tokens(out, account);
        add_trouble(out, account);
        if (problem && *problem) {
            begin(out, "");
            rb_str_add(out, "last problem: ");
            rb_str_add_printable(out, rb_span_of(problem));
            rb_str_add(out, "\n");
        }
    }
}

static void add_outbox(struct rb_str *out, const json_t *outbox)
{
    const json_t *oldest = json_object_get(outbox, "oldest_age_s");
    rb_str_add(out, "\n");
    begin(out, "OUTBOX");
    rb_str_addf(out, "%lld queued, %lld being sent, %lld of unknown outcome", (long long)number(outbox, "queued"),
                (long long)number(outbox, "sending"), (long long)number(outbox, "unknown"));
    if (json_is_integer(oldest)) {
        rb_str_add(out, " (");
        rb_add_bytes(out, number(outbox, "open_bytes"));
        rb_str_add(out, ", the oldest for ");
        rb_add_duration(out, json_integer_value(oldest));
        rb_str_add(out, ")");
    }
    rb_str_add(out, "\n");
    begin(out, "");
    rb_str_addf(out, "since the start: %lld accepted, %lld refused, %lld expired; ",
                (long long)number(outbox, "accepted"), (long long)number(outbox, "refused"),
                (long long)number(outbox, "expired"));
    add_count(out, number(outbox, "retries"), "retry", "retries");
    rb_str_addf(out, ", %lld perhaps sent twice\n", (long long)number(outbox, "maybe_duplicates"));
}

static void add_inbox(struct rb_str *out, const json_t *inbox)
{
    int64_t gaps = number(inbox, "gaps");
    begin(out, "INBOX");
    add_count(out, number(inbox, "rows"), "message", "messages");
    rb_str_add(out, " of ");
    add_count(out, number(inbox, "topics"), "topic", "topics");
    rb_str_add(out, " (");
    rb_add_bytes(out, number(inbox, "bytes"));
    rb_str_addf(out, "), %lld being polled", (long long)number(inbox, "polling"));
    if (gaps) {
        rb_str_add(out, ", ");
        add_count(out, gaps, "GAP", "GAPS");
    }
    rb_str_add(out, json_is_true(json_object_get(inbox, "full")) ? ", FULL: reading waits for room\n" : "\n");
    begin(out, "");
    rb_str_add(out, "since the start: ");
    rb_str_addf(out, "%lld stored, ", (long long)number(inbox, "stored"));
    add_count(out, number(inbox, "duplicates_dropped"), "duplicate", "duplicates");
    rb_str_add(out, " dropped; ");
    add_count(out, number(inbox, "polls"), "poll", "polls");
    rb_str_addf(out, ", %lld failed\n", (long long)number(inbox, "polls_failed"));
}

static void add_callers(struct rb_str *out, const json_t *status)
{
    const json_t *http = json_object_get(status, "http"), *sessions = json_object_get(status, "sessions");
    begin(out, "CALLERS");
    add_count(out, number(http, "connections"), "connection", "connections");
    rb_str_add(out, ", ");
    add_count(out, number(sessions, "open"), "session", "sessions");
    rb_str_add(out, ", ");
    add_count(out, number(sessions, "parked"), "poll", "polls");
    rb_str_add(out, " waiting; since the start: ");
    add_count(out, number(http, "requests"), "request", "requests");
    rb_str_addf(out, ", %lld refused\n", (long long)number(http, "refused"));
}

static void add_events(struct rb_str *out, json_t *events)
{
    size_t i;
    json_t *event;
    if (!json_array_size(events))
        return;
    rb_str_add(out, "\nLAST EVENTS\n");
    json_array_foreach(events, i, event)
    {
        const char *account = json_string_value(json_object_get(event, "account"));
        const char *text = json_string_value(json_object_get(event, "text"));
        size_t len = account ? strlen(account) : 0;
        bool named = text && len && strncmp(text, account, len) == 0 && text[len] == ':';
        add_time(out, json_object_get(event, "at"));
        rb_str_add(out, "  ");
        if (len && !named) {
            rb_str_add_printable(out, rb_span_of(account));
            rb_str_add(out, ": ");
        }
        add_text(out, json_object_get(event, "kind"));
        rb_str_add(out, ": ");
        add_text(out, json_object_get(event, "text"));
        rb_str_add(out, "\n");
    }
}

void rb_status_text_add(const json_t *status, struct rb_str *out)
{
    add_process(out, status);
    add_doors(out, json_object_get(status, "doors"));
    add_accounts(out, json_object_get(status, "accounts"));
    add_outbox(out, json_object_get(status, "outbox"));
    add_inbox(out, json_object_get(status, "inbox"));
    add_callers(out, status);
    add_events(out, json_object_get(status, "events"));
}
