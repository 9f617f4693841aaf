#include "command.h"
#include "options.h"
#include "reach.h"
#include "status_text.h"

int rb_command_status(int argc, char **argv)
{
    struct rb_reach reach = {0};
    bool as_json = false;
    const struct rb_option options[] = {
        {"json", NULL, RB_OPTION_FLAG, &as_json, 0, 0, "one JSON object"},
        RB_OPTION_STATE(&reach.state),
        RB_OPTION_KEYS(&reach.keys),
    };
    const struct rb_usage usage = {
        "status",
        "[--json] [--state DIR]",
        "Tells how the daemon is doing: doors and who may come in by them, logins, queues, last events.",
        options,
        sizeof options / sizeof options[0],
        0,
        0};
    int ends;
    if (!rb_options_parse(&usage, argc, argv, NULL, &ends))
        return ends;
    struct rb_error err = {0};
    struct rb_client *client = NULL;
    RB_CLEANUP_JSON json_t *answer = NULL;
    enum rb_status status = rb_reach_admin(&reach, &client, &err);
    if (status == RB_OK)
        status = rb_client_json(client, "GET", "/admin/status", NULL, &answer, &err);
    rb_client_free(client);
    if (status != RB_OK)
        return rb_complain_of(&err);
    struct rb_str out = RB_STR_INIT;
    if (as_json) {
        rb_json_print(&out, json_incref(answer));
        rb_str_add(&out, "\n");
    } else {
        rb_status_text_add(answer, &out);
    }
    return rb_print(&out);
}
