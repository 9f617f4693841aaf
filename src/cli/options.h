/* Options: a subcommand's command line as a table: what it takes, where the values go, and the words of its --help. */
#ifndef RB_OPTIONS_H
#define RB_OPTIONS_H

#include <stdbool.h>

#include "status.h"
#include "str.h"

enum { RB_TEXTS_MAX = 64 };

struct rb_texts {
    const char *at[RB_TEXTS_MAX];
    size_t count;
};

enum rb_option_kind {
    RB_OPTION_FLAG,    /* bool * */
    RB_OPTION_TEXT,    /* const char ** */
    RB_OPTION_INTEGER, /* int64_t *, in [min, max] */
    RB_OPTION_TEXTS,   /* struct rb_texts *: may come several times */
};

struct rb_option {
    const char *name;  /* "state", without dashes */
    const char *value; /* what --help calls the value; NULL for a flag */
    enum rb_option_kind kind;
    void *ret; /* set when the option is given */
    int64_t min, max;
    const char *help; /* lines are broken by "\n" */
};

struct rb_usage {
    const char *command;
    const char *synopsis; /* what follows the command's name */
    const char *about;    /* sentences, broken into lines */
    const struct rb_option *options;
    size_t option_count;
    size_t operands_min, operands_max;
};

#define RB_OPTION_STATE(target)                                                        \
    {                                                                                  \
        "state", "DIR", RB_OPTION_TEXT, (target), 0, 0,                                \
            "the daemon's state folder (default: $RELAY_BROKER_STATE, else for root\n" \
            "/var/lib/relay-broker, for others ~/.local/state/relay-broker)"           \
    }
#define RB_OPTION_KEYS(target)                                                                                        \
    {                                                                                                                 \
        "keys", "DIR", RB_OPTION_TEXT, (target), 0, 0, "the key folder (default: the state folder's name with -keys)" \
    }

/* RB_INVALID: wrong usage, with a sentence. `*ret_help`: --help was asked for, and nothing else was looked at after it.
 * */
enum rb_status rb_options_read(const struct rb_usage *usage, int argc, char **argv, struct rb_texts *ret_operands,
                               bool *ret_help, struct rb_error *err);
void rb_options_help(const struct rb_usage *usage, struct rb_str *out);

/* Both with what a user sees. False: the subcommand ends with `*ret_exit`. `ret_operands` may be NULL when there are
 * none. */
bool rb_options_parse(const struct rb_usage *usage, int argc, char **argv, struct rb_texts *ret_operands,
                      int *ret_exit);

#endif
