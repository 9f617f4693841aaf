/* relay-broker: the program is its subcommands. */
#include <stdbool.h>

#include "command.h"
#include "harden.h"
#include "version.h"

static int show_help(int argc, char **argv);
static int show_version(int argc, char **argv);

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
    bool plain; /* touches no secret and no daemon */
} commands[] = {
    {"run", rb_command_run, "run the daemon", false},
    {"login", rb_command_login, "log the daemon in at a relay, or import a login", false},
    {"logout", rb_command_logout, "end a login, here and at the relay", false},
    {"status", rb_command_status, "tell how the daemon is doing", false},
    {"post", rb_command_post, "post a message", false},
    {"poll", rb_command_poll, "print messages as they come", false},
    {"token", rb_command_token, "print a real access token of an account", false},
    {"fake-relay", rb_command_fake_relay, "run a relay for tests, which fails on demand", false},
    {"version", show_version, "print the version", true},
    {"help", show_help, "print this list", true},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int show_version(int argc, char **argv)
{
    printf(RB_PROGRAM " " RB_VERSION "\n");
    return RB_EXIT_DONE;
}

static int show_help(int argc, char **argv)
{
    printf("Usage: " RB_PROGRAM " COMMAND [ARGUMENTS]\n\n"
           "Holds the login to a pulsar-relay, so that no other process on this host has to.\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  %-12s%s\n", commands[i].name, commands[i].help);
    printf("\n" RB_PROGRAM
           " COMMAND --help tells more. Exit status: 0 done, 1 it failed, 2 wrong usage, 3 the daemon can't be "
           "reached.\n");
    return RB_EXIT_DONE;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return show_help(0, NULL);
    if (strcmp(name, "--version") == 0)
        return show_version(0, NULL);
    for (size_t i = 0; i < COMMANDS; i++) {
        struct rb_error err = {0};
        if (strcmp(name, commands[i].name) != 0)
            continue;
        if (!commands[i].plain && rb_harden_process(&err) != RB_OK)
            return rb_complain_of(&err);
        return commands[i].run(argc - 2, argv + 2);
    }
    if (*name)
        rb_complain("\"%s\" is no command (see " RB_PROGRAM " help).", name);
    else
        rb_complain("A command is missing (see " RB_PROGRAM " help).");
    return RB_EXIT_USAGE;
}
