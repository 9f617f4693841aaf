/* Session rows: pollers of the wire face, and the places they have confirmed, one a topic. */
#ifndef RB_SESSION_ROWS_H
#define RB_SESSION_ROWS_H

#include <stdint.h>

#include "store.h"
#include "str.h"

enum { RB_SESSION_ROW_ID_BYTES = 16 };

struct rb_session_row {
    struct rb_span id; /* RB_SESSION_ROW_ID_BYTES */
    int64_t account, uid;
    struct rb_span door, username;
    int64_t created, used; /* wall ms */
};

struct rb_session_rows;

enum rb_status rb_session_rows_new(struct rb_store *store, struct rb_session_rows **ret, struct rb_error *err);
void rb_session_rows_free(struct rb_session_rows *rows);

void rb_session_rows_add(struct rb_session_rows *rows, const struct rb_session_row *row);
void rb_session_rows_used(struct rb_session_rows *rows, struct rb_span id, int64_t used);
/* The session and its places. */
void rb_session_rows_delete(struct rb_session_rows *rows, struct rb_span id);
void rb_session_rows_each(struct rb_session_rows *rows, void (*each)(void *arg, const struct rb_session_row *row),
                          void *arg);

/* Confirmed: everything up to n. */
void rb_place_save(struct rb_session_rows *rows, struct rb_span session, int64_t topic, int64_t n);
void rb_place_each(struct rb_session_rows *rows,
                   void (*each)(void *arg, struct rb_span session, int64_t topic, int64_t n), void *arg);

#endif
