#include "import_outcome.h"

#include <string.h>

static const char *text_of(const json_t *account, const char *member)
{
    const char *text = json_string_value(json_object_get(account, member));
    return text ? text : "";
}

static bool is(const json_t *account, const char *member, const char *text)
{
    return strcmp(text_of(account, member), text) == 0;
}

static json_int_t generation(const json_t *account)
{
    return json_integer_value(json_object_get(account, "generation"));
}

enum rb_outcome rb_outcome_of(const json_t *account)
{
    if (is(account, "state", "login_required") || is(account, "state", "logged_out"))
        return RB_OUTCOME_LOST;
    bool has_token = json_is_integer(json_object_get(account, "access_expires_in_s"));
    return is(account, "state", "active") && has_token && generation(account) >= 1 ? RB_OUTCOME_DONE : RB_OUTCOME_OPEN;
}

static enum rb_status fail_lost(const json_t *account, const char *name, const char *file, struct rb_error *err)
{
    if (is(account, "state", "logged_out"))
        return rb_fail(err, RB_DENIED, "The account %.80s was logged out meanwhile; %.160s.imported is of no use now.",
                       name, file);
    if (is(account, "chain", "revoking") || is(account, "chain", "revoked"))
        return rb_fail(err, RB_DENIED,
                       "The login in %.160s belongs to another user than the account %.80s, so it was revoked; "
                       "use another name, or --replace.",
                       file, name);
    return rb_fail(
        err, RB_DENIED,
        "The login in %.160s was not valid any more, and the relay refused it: log in anew with relay-broker "
        "login %.80s. Remove %.160s.imported, it is of no use now.",
        file, name, file);
}

/* Certainly not executed: the daemon would not hold the token as usable otherwise. */
static bool not_taken(const json_t *account)
{
    return generation(account) == 0 && (is(account, "chain", "active") || is(account, "chain", "held"));
}

static enum rb_status fail_open(const json_t *account, const char *file, struct rb_error *err)
{
    const char *problem = text_of(account, "last_problem");
    bool told = problem[0] != 0;
    if (not_taken(account))
        return rb_fail(err, RB_BUSY,
                       "The daemon has the login but could not use it yet%s%.130s. It keeps trying: see relay-broker "
                       "status. The token was not used: %.160s.imported still has it; remove that file once the login "
                       "works, and use it for nothing else.",
                       told ? ": " : "", problem, file);
    return rb_fail(err, RB_BUSY,
                   "The daemon has the login, but it is not known yet whether the relay took it%s%.130s. It keeps "
                   "trying: see relay-broker status. %.160s.imported is kept; remove that file once the login works.",
                   told ? ": " : "", problem, file);
}

enum rb_status rb_outcome_fail(const json_t *account, const char *name, const char *file, struct rb_error *err)
{
    return rb_outcome_of(account) == RB_OUTCOME_LOST ? fail_lost(account, name, file, err)
                                                     : fail_open(account, file, err);
}
