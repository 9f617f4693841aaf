/* URL: the rules for a relay URL (relay wire contract §1). */
#ifndef RB_URL_H
#define RB_URL_H

#include "str.h"

/* Checks a relay URL and writes its normal form (scheme and host lower case, default port dropped, no trailing slash,
 * IPv6 in brackets), to be freed with free(). http only for localhost, 127.0.0.1 and ::1 unless `allow_insecure`.
 * RB_INVALID with a sentence for anything else. */
enum rb_status rb_url_normalise(const char *text, bool allow_insecure, char **ret, struct rb_error *err);

/* Whether the environment allows http to other hosts: PULSAR_RELAY_ALLOW_INSECURE is exactly "1". */
bool rb_url_insecure_allowed(void);

/* Appends `text` percent-encoded as one path segment or query value (RFC 3986 unreserved characters stay). */
void rb_url_encode(struct rb_str *out, struct rb_span text);

#endif
