/* Placeholder: what a local caller gets as tokens on the wire face. An unsigned JWT and a string in the
 * shape of a refresh token, both carrying a session's random id and nothing else of worth. They prove nothing, are
 * worthless anywhere else, and are never sent upstream (R9). */
#ifndef RB_PLACEHOLDER_H
#define RB_PLACEHOLDER_H

#include "session.h"
#include "str.h"

enum { RB_PLACEHOLDER_S = 86400 }; /* their `expires_in` */

/* Appends the access placeholder: claims sub, username, iat, exp, jti. */
enum rb_status rb_placeholder_access(const struct rb_session *session, int64_t wall_ms, struct rb_str *out);
/* Appends the refresh placeholder: the session id as a UUID, a dot, and a fixed second part of the right length. */
void rb_placeholder_refresh(const struct rb_session *session, struct rb_str *out);

/* The session id in a placeholder; its claims are not looked at. False: it has not the shape of one. */
bool rb_placeholder_access_id(struct rb_span token, unsigned char ret[RB_SESSION_ID_BYTES]);
bool rb_placeholder_refresh_id(struct rb_span token, unsigned char ret[RB_SESSION_ID_BYTES]);
/* `<uuid>.<secret>`: the shape of a refresh token, real or not. */
bool rb_placeholder_refresh_shape(struct rb_span token);

#endif
