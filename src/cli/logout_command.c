#include "command.h"
#include "options.h"
#include "reach.h"

int rb_command_logout(int argc, char **argv)
{
    struct rb_reach reach = {0};
    bool as_json = false;
    const struct rb_option options[] = {
        {"json", NULL, RB_OPTION_FLAG, &as_json, 0, 0, "one JSON object"},
        RB_OPTION_STATE(&reach.state),
        RB_OPTION_KEYS(&reach.keys),
    };
    const struct rb_usage usage = {
        "logout",
        "ACCOUNT [--json] [--state DIR]",
        "Ends an account's login. From this moment nothing here works with it any more; its tokens are\n"
        "revoked at the relay, and that is tried again until the relay has confirmed it.",
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
        status = rb_client_account(client, account.at[0], "logout", json_object(), &answer, &err);
    rb_client_free(client);
    if (status != RB_OK)
        return rb_complain_of(&err);
    const json_t *left = json_object_get(answer, "chains_revoking");
    bool confirmed = json_is_integer(left) && json_integer_value(left) == 0;
    struct rb_str out = RB_STR_INIT;
    if (as_json) {
        rb_json_print(&out, json_incref(answer));
    } else {
        rb_str_add_printable(&out, rb_span_of(account.at[0]));
        rb_str_add(&out, confirmed
                             ? " is logged out, and the relay has revoked its tokens."
                             : " is logged out here. Revoking its tokens is tried until the relay has confirmed it.");
    }
    rb_str_add(&out, "\n");
    return rb_print(&out);
}
