/* Command: the program's subcommands, one file each, and how they end. Each takes the arguments after its name and
 * returns the exit status; what went wrong is on standard error, one sentence. */
#ifndef RB_COMMAND_H
#define RB_COMMAND_H

#include "status.h"
#include "str.h"

enum rb_exit {
    RB_EXIT_DONE = 0,
    RB_EXIT_FAILED = 1,
    RB_EXIT_USAGE = 2,
    RB_EXIT_UNREACHABLE = 3, /* the daemon can't be reached */
};

#define RB_PROGRAM "relay-broker"

int rb_command_run(int argc, char **argv);
int rb_command_login(int argc, char **argv);
int rb_command_logout(int argc, char **argv);
int rb_command_token(int argc, char **argv);
int rb_command_status(int argc, char **argv);
int rb_command_post(int argc, char **argv);
int rb_command_poll(int argc, char **argv);
int rb_command_fake_relay(int argc, char **argv);

/* One sentence on standard error, fit for terminals (D8). */
void rb_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, with the exit status that belongs to the error: RB_UNAVAILABLE is RB_EXIT_UNREACHABLE. */
int rb_complain_of(const struct rb_error *err);
/* The same for wrong usage: names the subcommand's --help. */
int rb_complain_of_usage(const char *command, const struct rb_error *err);

/* The kernel's clock that no one sets (clock.h). */
int64_t rb_now_ms(void);
/* Writes to standard output and flushes; RB_EXIT_FAILED, with a sentence, when that fails. The str is freed. */
int rb_print(struct rb_str *text);

#endif
