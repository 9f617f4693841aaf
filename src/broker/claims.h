/* Claims: who an access token says it is for. Read without verification (contract §2): the relay said it to us, and
 * nothing here is allowed by it. */
#ifndef RB_CLAIMS_H
#define RB_CLAIMS_H

#include "str.h"

struct rb_claims {
    char *sub, *username; /* printable; NULL: not said */
};

/* Of an opaque token both are NULL; out of memory too. */
void rb_claims_read(struct rb_span access_token, struct rb_claims *ret);
/* 1 to 255 bytes, printable. */
bool rb_claims_is_name(struct rb_span text);
/* A copy of a name the relay said, or NULL: empty, too long, or not printable. */
char *rb_claims_name(struct rb_span text);
void rb_claims_free(struct rb_claims *claims);

#endif
