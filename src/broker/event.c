#include "event.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "event_rows.h"
#include "log.h"

enum {
    KEPT = 10000,
    TRIM_EVERY = 100, /* so many more may lie there between two trims */
    TEXT_MAX = 1024,
};

struct rb_events {
    const struct rb_ports *ports;
    struct rb_event_rows *rows;
    int64_t count; /* of rows; a failed commit makes it too large, which only trims sooner */
};

enum rb_status rb_events_new(const struct rb_ports *ports, struct rb_events **ret, struct rb_error *err)
{
    struct rb_events *events = calloc(1, sizeof *events);
    if (!events)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    events->ports = ports;
    enum rb_status status = rb_event_rows_new(ports->store, &events->rows, err);
    if (status != RB_OK) {
        free(events);
        return status;
    }
    events->count = rb_event_rows_count(events->rows);
    *ret = events;
    return RB_OK;
}

void rb_events_free(struct rb_events *events)
{
    if (!events)
        return;
    rb_event_rows_free(events->rows);
    free(events);
}

void rb_event(struct rb_events *events, int64_t account, const char *kind, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0)
        text[0] = 0;
    RB_CLEANUP_STR struct rb_str printable = RB_STR_INIT;
    rb_str_add_printable(&printable, rb_span_of(text));
    const char *told = rb_str_failed(&printable) ? "There was not enough memory for its text."
                       : printable.at            ? printable.at
                                                 : "";
    rb_log(RB_LOG_WARNING, "event", "%s: %s", kind, told);
    struct rb_event_row row = {
        .at_wall_ms = rb_clock_wall_ms(events->ports->clock),
        .account = account,
        .kind = rb_span_of(kind),
        .text = rb_span_of(told),
    };
    rb_event_rows_add(events->rows, &row);
    if (++events->count >= KEPT + TRIM_EVERY) {
        rb_event_rows_trim(events->rows, KEPT);
        events->count = KEPT;
    }
}

struct each {
    void (*each)(void *arg, int64_t wall_ms, int64_t account, struct rb_span kind, struct rb_span text);
    void *arg;
};

static void each_row(void *arg, const struct rb_event_row *row)
{
    struct each *each = arg;
    each->each(each->arg, row->at_wall_ms, row->account, row->kind, row->text);
}

void rb_events_each(struct rb_events *events, int limit,
                    void (*each)(void *arg, int64_t wall_ms, int64_t account, struct rb_span kind, struct rb_span text),
                    void *arg)
{
    struct each forward = {each, arg};
    rb_event_rows_each(events->rows, limit < KEPT ? limit : KEPT, each_row, &forward);
}
