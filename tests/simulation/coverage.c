#include "coverage.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "log.h"

enum { MANY_SEEDS = 2000, VERY_MANY_SEEDS = 20000 };

enum likely { USUAL, RARE, ELSEWHERE };

/* A way that the code can take. */
struct row {
    const char *subject, *from, *to;
    enum likely likely;
    const char *remark;
};

static const struct row rows[] = {
    {"chain", "new", "active"},
    {"chain", "new", "held"},
    {"chain", "new", "revoking"},
    {"chain", "held", "active"},
    {"chain", "held", "revoking"},
    {"chain", "active", "rotating"},
    {"chain", "active", "revoking"},
    {"chain", "rotating", "active"},
    {"chain", "rotating", "uncertain"},
    {"chain", "rotating", "dead"},
    {"chain", "rotating", "revoking"},
    {"chain", "uncertain", "rotating"},
    {"chain", "uncertain", "revoking"},
    {"chain", "revoking", "revoked"},
    {"chain", "active", "active", RARE, "a copy restored, its slot file newer"},
    {"chain", "uncertain", "active", RARE, "a copy of an uncertain chain restored, its slot file newer"},
    {"account", "new", "active"},
    {"account", "active", "active"},
    {"account", "active", "login_required"},
    {"account", "active", "logged_out"},
    {"account", "login_required", "active"},
    {"account", "login_required", "logged_out"},
    {"account", "logged_out", "active"},
    {"account", "logged_out", "logged_out"},
    {"account", "new", "logged_out", ELSEWHERE, "a login for an account that another has taken: account_test"},
    {"post", "new", "queued"},
    {"post", "queued", "sending"},
    {"post", "queued", "expired"},
    {"post", "sending", "queued"},
    {"post", "sending", "unknown"},
    {"post", "sending", "accepted"},
    {"post", "sending", "refused"},
    {"post", "unknown", "queued"},
    {"post", "unknown", "accepted"},
    {"event", "", "chain_lost"},
    {"event", "", "foreign_use"},
    {"event", "", "login_required"},
    {"event", "", "password_refused"},
    {"event", "", "restored_copy"},
    {"event", "", "import_not_released"},
    {"event", "", "other_user"},
    {"event", "", "inbox_full"},
    {"event", "", "gap", ELSEWHERE, "this relay keeps everything: inbox_test, tests/faults"},
    {"event", "", "relay_wiped", ELSEWHERE, "no wipes here, since they end P3 and P4: account_test"},
    {"event", "", "revoke_failed", ELSEWHERE, "sealed rows are never damaged here: chain_test"},
    {"event", "", "same_user", ELSEWHERE, "there is one account here: account_test"},
};
enum { ROWS = sizeof rows / sizeof *rows };
static uint64_t counts[ROWS];

static const struct coverage_watch *watching;
static bool shown;

void coverage_watch(const struct coverage_watch *watch)
{
    watching = watch;
}

void coverage_show_log(bool show)
{
    shown = show;
}

static void note(const char *subject, const char *from, const char *to)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].to, to) == 0 && strcmp(rows[i].from, from) == 0 && strcmp(rows[i].subject, subject) == 0) {
            counts[i]++;
            return;
        }
    char text[200];
    snprintf(text, sizeof text, "%s: %s%s%s is in no list", subject, from, *from ? " -> " : "", to);
    if (watching)
        watching->illegal(watching->arg, text);
}

static void note_line(const char *room, const char *format, va_list args)
{
    if (strcmp(format, "%s: chain %lld: %s, was %s") == 0) {
        va_arg(args, const char *);
        long long chain = va_arg(args, long long);
        const char *to = va_arg(args, const char *), *from = va_arg(args, const char *);
        note("chain", from, to);
        if (watching)
            watching->chain_moves(watching->arg, chain, from, to);
    } else if (strcmp(format, "post %lld: %s, was %s") == 0) {
        va_arg(args, long long);
        const char *to = va_arg(args, const char *);
        note("post", va_arg(args, const char *), to);
    } else if (strcmp(format, "%s: %s, was %s") == 0) {
        va_arg(args, const char *);
        const char *to = va_arg(args, const char *);
        note("account", va_arg(args, const char *), to);
    } else if (strcmp(room, "event") == 0 && strcmp(format, "%s: %s") == 0) {
        const char *kind = va_arg(args, const char *);
        note("event", "", kind);
        if (watching)
            watching->event(watching->arg, kind);
    }
}

struct crew_counters coverage_counters(void)
{
    return (struct crew_counters){counts, ROWS};
}

bool coverage_print(uint64_t seeds)
{
    bool complete = true;
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        uint64_t enough = row->likely == USUAL ? MANY_SEEDS : row->likely == RARE ? VERY_MANY_SEEDS : UINT64_MAX;
        char name[80];
        snprintf(name, sizeof name, "%s: %s%s%s", row->subject, row->from, *row->from ? " -> " : "", row->to);
        printf("  %-40s %llu%s%s%s\n", name, (unsigned long long)counts[i], row->remark ? "  (" : "",
               row->remark ? row->remark : "", row->remark ? ")" : "");
        complete = complete && (counts[i] > 0 || seeds < enough);
    }
    return complete;
}

/* The linker sends the shipped objects' calls here and knows the shipped function as __real_rb_log. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
void __real_rb_log(enum rb_log_level level, const char *room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void __wrap_rb_log(enum rb_log_level level, const char *room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void __wrap_rb_log(enum rb_log_level level, const char *room, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note_line(room, format, args);
    va_end(args);
    if (!shown)
        return;
    char text[2048];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    __real_rb_log(level, room, "%s", text);
}
