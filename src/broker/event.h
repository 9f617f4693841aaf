/* Event: something an operator should know later too: a chain lost, a gap, a login needed. A row, and a log line. */
#ifndef RB_EVENT_H
#define RB_EVENT_H

#include "broker.h"

enum rb_status rb_events_new(const struct rb_ports *ports, struct rb_events **ret, struct rb_error *err);
void rb_events_free(struct rb_events *events);
/* `kind` is one of our own words ("chain_lost", "foreign_use", "gap", "login_required", …); the text is a sentence,
 * escaped for terminals, never a secret. account 0: none. The newest 10,000 are kept. */
void rb_event(struct rb_events *events, int64_t account, const char *kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Newest first, up to `limit`. */
void rb_events_each(struct rb_events *events, int limit,
                    void (*each)(void *arg, int64_t wall_ms, int64_t account, struct rb_span kind, struct rb_span text),
                    void *arg);

#endif
