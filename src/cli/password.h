/* Password: read from standard input or asked for at the terminal, never from the command line. */
#ifndef RB_PASSWORD_H
#define RB_PASSWORD_H

#include "status.h"
#include "str.h"

/* The first line of standard input, without its line end. RB_INVALID: empty, too long or with a NUL. */
enum rb_status rb_password_from_stdin(struct rb_str *out, struct rb_error *err);
/* Asks at the terminal, with echo off. */
enum rb_status rb_password_ask(const char *question, struct rb_str *out, struct rb_error *err);

#endif
