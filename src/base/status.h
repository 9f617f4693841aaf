/* Status: how a call ended, and the sentence a user gets when it did not end well.
 *
 * Every function that can fail returns an rb_status. Where a user will need to know why, it also takes a
 * `struct rb_error *err` as its last parameter (NULL is allowed), filled only on failure: what happened and what to do,
 * one sentence, never a secret. Libraries do not log; whoever can act on an error logs it, once. */
#ifndef RB_STATUS_H
#define RB_STATUS_H

enum rb_status {
    RB_OK = 0,
    RB_NO_MEMORY, /* an allocation failed */
    RB_INVALID,   /* the input breaks a rule; the same input will fail again */
    RB_NOT_FOUND,
    RB_EXISTS,      /* something is there already, and it is not the same */
    RB_DENIED,      /* not allowed */
    RB_BUSY,        /* held by another process or by an operation that has not ended */
    RB_FULL,        /* a bound or the disk is full */
    RB_IO,          /* the disk or a socket failed; whether it was done is unknown */
    RB_CORRUPT,     /* stored bytes are not what was written */
    RB_NEWER,       /* written by a newer version of this program */
    RB_UNAVAILABLE, /* cannot be done now; later it may */
};

enum { RB_ERROR_MAX = 512 };

struct rb_error {
    enum rb_status status;
    char text[RB_ERROR_MAX];
};

/* The status in a few words, for logs. Never NULL. */
const char *rb_status_text(enum rb_status status);

/* Fills `err` (unless NULL; a too long text is cut between characters) and returns `status`, so that a failure is one
 * statement. The arguments may hold err->text, to put words before it. */
enum rb_status rb_fail(struct rb_error *err, enum rb_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
