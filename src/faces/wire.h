/* Wire face: the relay's own paths and bodies for unmodified clients. This header is the face's own: who
 * calls, and the handlers behind the table in wire.c. */
#ifndef RB_WIRE_H
#define RB_WIRE_H

#include "face.h"
#include "session.h"
#include "wire_error.h"

/* The session that a placeholder's id names, which counts as use of it. NULL, as for an id that nobody knows: it is of
 * another door or user, or of an account that this door does not serve any more (D6). */
struct rb_session *rb_wire_session(struct rb_face_context *context, struct rb_http_request *request,
                                   const unsigned char id[RB_SESSION_ID_BYTES]);

/* Who calls: by the session in the placeholder, else the door's default account. False: it was answered (401), also where
 * the session's account is not served any more, so that a client renews or logs in, and has a session again.
 * `*ret_session` is NULL for a caller without a session. */
bool rb_wire_caller(struct rb_face_context *context, struct rb_http_request *request, struct rb_account **ret_account,
                    struct rb_session **ret_session);

/* An account that is logged out is 401 for everything. */
bool rb_wire_account_open(struct rb_http_request *request, const struct rb_account *account);

/* Gives the answer after this tick's commit (the str's memory is taken; empty: no body); if the commit fails: 507 or
 * 503. */
void rb_wire_answer_after(struct rb_face_context *context, struct rb_http_request *request, int status,
                          struct rb_str *body);
/* For an effect's failure: 507 when the disk is full, else 503. */
void rb_wire_commit_failed(struct rb_http_request *request, enum rb_status committed);

/* How long a caller waits for a call that is passed on. */
enum { RB_WIRE_CALL_WAIT_MS = 8000 };
/* Answers with what the relay said to a typed call: its own status and body where the answer is the relay's, else a 503
 * that says why. `arg` is the request: it serves as such a call's callback. */
void rb_wire_pass_answer(void *arg, const struct rb_answer *answer);

/* Handlers; `face` is the rb_face_context. */
void rb_wire_login(struct rb_http_request *request, void *face);
void rb_wire_refresh(struct rb_http_request *request, void *face);
void rb_wire_end_session(struct rb_http_request *request, void *face);
void rb_wire_me(struct rb_http_request *request, void *face);
void rb_wire_sessions(struct rb_http_request *request, void *face);
void rb_wire_post(struct rb_http_request *request, void *face);
void rb_wire_bulk(struct rb_http_request *request, void *face);
void rb_wire_poll(struct rb_http_request *request, void *face);
void rb_wire_poll_stats(struct rb_http_request *request, void *face);
void rb_wire_topic_list(struct rb_http_request *request, void *face);
void rb_wire_topic_create(struct rb_http_request *request, void *face);
void rb_wire_topic_get(struct rb_http_request *request, void *face);
void rb_wire_topic_update(struct rb_http_request *request, void *face);
void rb_wire_topic_delete(struct rb_http_request *request, void *face);
void rb_wire_topic_messages(struct rb_http_request *request, void *face);

#endif
