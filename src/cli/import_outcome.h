/* Import's outcome: what the daemon's status says about a login that was taken over from a file. Until the relay has
 * exchanged its token nobody knows whether it is worth anything. */
#ifndef RB_IMPORT_OUTCOME_H
#define RB_IMPORT_OUTCOME_H

#include "json.h"
#include "status.h"

enum rb_outcome {
    RB_OUTCOME_OPEN, /* nothing is decided yet */
    RB_OUTCOME_DONE, /* the relay has given a token for it */
    RB_OUTCOME_LOST, /* the account has no login */
};

/* `account` is the account's object in the daemon's status, or NULL when there is none. */
enum rb_outcome rb_outcome_of(const json_t *account);
/* The sentence about an outcome that is not RB_OUTCOME_DONE; `file` is the path of the imported file. RB_DENIED for a
 * lost login, RB_BUSY for an open one. */
enum rb_status rb_outcome_fail(const json_t *account, const char *name, const char *file, struct rb_error *err);

#endif
