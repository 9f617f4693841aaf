/* Face: what every face needs: the broker, the tick that releases answers, and the process's own facts.
 *
 * A handler that wrote rows answers from an effect of the tick, never before (P3). Handlers that only read committed
 * state may answer at once. A caller that goes away takes its waiting with it (rb_http_on_gone). */
#ifndef RB_FACE_H
#define RB_FACE_H

#include "broker.h"
#include "door.h"
#include "router.h"
#include "server.h"

/* What a caller hears, by whatever face, where an allocation failed. */
#define RB_MEMORY_IS_SHORT "There is not enough memory now. Try again."

struct rb_face_context {
    struct rb_broker *broker;
    struct rb_tick *tick;
    struct rb_clock *clock;
    struct rb_http_server *server; /* for its figures */
    struct rb_vault *vault;        /* for its source */
    const struct rb_door *const *doors;
    size_t door_count;
    const char *version, *state_dir;
    int64_t started_wall_ms, started_ms;
    bool stopping;
};

/* The faces. Each fills `*ret`, whose routes are static; the context is borrowed. */
void rb_wire_face(struct rb_face_context *context, struct rb_face *ret);    /* the relay's own paths: prefix "" */
void rb_broker_face(struct rb_face_context *context, struct rb_face *ret);  /* /v1/… */
void rb_admin_face(struct rb_face_context *context, struct rb_face *ret);   /* on its own socket only */
void rb_metrics_face(struct rb_face_context *context, struct rb_face *ret); /* /health, /ready, /metrics */

/* The process's state as JSON, for /v1/status and the admin face's (with more): a new reference, NULL when out of
 * memory. */
json_t *rb_status_json(struct rb_face_context *context, bool admin);

#endif
