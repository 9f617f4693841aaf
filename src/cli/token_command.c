#include <errno.h>
#include <sodium.h>
#include <unistd.h>

#include "command.h"
#include "options.h"
#include "reach.h"

/* The token goes out unbuffered, so that no copy of it stays in a buffer. */
static int print_token(json_t *answer, bool as_json)
{
    const char *token = json_string_value(json_object_get(answer, "access_token"));
    if (!token) {
        rb_complain("The daemon's answer has no token.");
        return RB_EXIT_FAILED;
    }
    char *text = as_json ? json_dumps(answer, JSON_COMPACT) : strdup(token);
    if (!text) {
        rb_complain("There is not enough memory to print the token.");
        return RB_EXIT_FAILED;
    }
    size_t len = strlen(text), done = 0;
    text[len] = '\n';
    ssize_t more = 0;
    while (done < len + 1 && (more = write(STDOUT_FILENO, text + done, len + 1 - done)) > 0)
        done += (size_t)more;
    int why = errno;
    sodium_memzero(text, len);
    free(text);
    if (done == len + 1)
        return RB_EXIT_DONE;
    rb_complain("Standard output cannot be written: %s.", strerror(why));
    return RB_EXIT_FAILED;
}

int rb_command_token(int argc, char **argv)
{
    struct rb_reach reach = {0};
    bool as_json = false;
    const struct rb_option options[] = {
        {"json", NULL, RB_OPTION_FLAG, &as_json, 0, 0, "one JSON object: access_token, expires_in (seconds)"},
        RB_OPTION_STATE(&reach.state),
        RB_OPTION_KEYS(&reach.keys),
    };
    const struct rb_usage usage = {
        "token",
        "ACCOUNT [--json] [--state DIR]",
        "Prints a valid access token of the account, for a program that has to talk to the relay itself. It is\n"
        "a real one: whoever has it can act as the account until it expires. Only root and the daemon's own\n"
        "user get it.",
        options,
        sizeof options / sizeof options[0],
        1,
        1};
    struct rb_texts account;
    int ends;
    if (!rb_options_parse(&usage, argc, argv, &account, &ends))
        return ends;
    struct rb_error err = {0};
    struct rb_client *client = NULL;
    RB_CLEANUP_JSON json_t *answer = NULL;
    enum rb_status status = rb_reach_admin(&reach, &client, &err);
    if (status == RB_OK)
        status = rb_client_account(client, account.at[0], "token", json_object(), &answer, &err);
    rb_client_free(client);
    return status == RB_OK ? print_token(answer, as_json) : rb_complain_of(&err);
}
