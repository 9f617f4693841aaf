#include <time.h>
#include <unistd.h>

#include "command.h"
#include "import_file.h"
#include "import_outcome.h"
#include "options.h"
#include "password.h"
#include "paths.h"
#include "reach.h"

/* The daemon holds an imported token for 60 s at most before it is used. */
enum { IMPORT_WAIT_S = 15, IMPORT_WAIT_MAX_S = 45, LOOK_EVERY_MS = 200, PUT_TRIES = 5, OUTCOME_WAIT_MS = 30000 };

struct login {
    const char *account, *relay, *ca_file, *username, *import, *door;
    bool password_stdin, keep_password, replace, as_json;
    int64_t import_wait_s;
    char *ca_path;            /* absolute: the daemon has a folder of its own */
    struct rb_client *client; /* to the admin socket */
};

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
}

static int print_answer(const struct login *login, json_t *answer, const char *sentence)
{
    struct rb_str out = RB_STR_INIT;
    if (login->as_json) {
        rb_json_print(&out, json_incref(answer));
    } else {
        rb_str_add_printable(&out, rb_span_of(login->account));
        rb_str_add(&out, sentence);
    }
    rb_str_add(&out, "\n");
    return rb_print(&out);
}

/* --- with a password --- */

static enum rb_status read_password(const struct login *login, struct rb_str *password, struct rb_error *err)
{
    if (login->password_stdin)
        return rb_password_from_stdin(password, err);
    RB_CLEANUP_STR struct rb_str question = RB_STR_INIT;
    rb_str_add(&question, "Password of ");
    rb_str_add_printable(&question, rb_span_of(login->username));
    rb_str_add(&question, " at ");
    rb_str_add_printable(&question, rb_span_of(login->relay));
    rb_str_add(&question, ": ");
    return rb_str_failed(&question) ? no_memory(err) : rb_password_ask(question.at, password, err);
}

static int log_in(const struct login *login)
{
    struct rb_error err = {0};
    struct rb_str password = RB_STR_INIT;
    RB_CLEANUP_JSON json_t *answer = NULL;
    enum rb_status status = read_password(login, &password, &err);
    json_t *body = status == RB_OK
                       ? json_pack("{ss ss* ss ss% sb sb}", "relay_url", login->relay, "ca_file", login->ca_path,
                                   "username", login->username, "password", password.at, password.len, "keep_password",
                                   login->keep_password, "replace", login->replace)
                       : NULL;
    rb_str_free(&password);
    if (status == RB_OK && !body)
        status =
            rb_fail(&err, RB_INVALID, "User name, password or --ca-file is not UTF-8, or there is not enough memory.");
    if (status == RB_OK)
        status = rb_client_account(login->client, login->account, "login", body, &answer, &err);
    return status == RB_OK ? print_answer(login, answer, " is logged in.") : rb_complain_of(&err);
}

/* --- with a file of the Python client --- */

static void sleep_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* A file that another process has written meanwhile holds the newest token: ours has become worthless. */
static enum rb_status take_reappeared(struct rb_import_file *file, bool *taken, struct rb_error *err)
{
    struct rb_error why = {0};
    enum rb_status status = rb_import_read(file, &why);
    if (status == RB_NOT_FOUND)
        return RB_OK;
    if (status != RB_OK) {
        *err = why;
        return status;
    }
    *taken = true;
    return rb_import_move_aside(file, err);
}

static enum rb_status wait_for_others(const struct login *login, struct rb_import_file *file, bool *taken,
                                      struct rb_error *err)
{
    int64_t end = rb_now_ms() + login->import_wait_s * 1000;
    enum rb_status status = RB_OK;
    do {
        status = take_reappeared(file, taken, err);
        if (status == RB_OK && rb_now_ms() < end)
            sleep_ms(LOOK_EVERY_MS);
    } while (status == RB_OK && rb_now_ms() < end);
    return status;
}

/* The URL of the door that the file's users will come by: the one that was named, else the first on TCP. */
static void find_door_url(const struct login *login, struct rb_str *out)
{
    RB_CLEANUP_JSON json_t *status = NULL;
    size_t d, i;
    json_t *door, *address;
    if (login->door) {
        rb_str_add(out, login->door);
        return;
    }
    if (rb_client_json(login->client, "GET", "/admin/status", NULL, &status, NULL) != RB_OK)
        status = NULL;
    json_array_foreach(json_object_get(status, "doors"), d, door)
        json_array_foreach(json_object_get(door, "listen"), i, address)
    {
        const char *text = json_string_value(address);
        if (!text || strncmp(text, "unix:", 5) == 0 || out->len)
            continue;
        rb_str_add(out, text);
    }
    if (!out->len)
        rb_str_add(out, RB_DEFAULT_URL);
}

/* A placeholder for that door; where it can't be asked, one of the admin socket: any leads to a door's only account. */
static enum rb_status get_placeholder(const struct login *login, const char *url, struct rb_str *out,
                                      struct rb_error *err)
{
    struct rb_client *door = NULL;
    enum rb_status status = rb_client_of_url(url, &door, NULL);
    if (status == RB_OK)
        status = rb_client_sign_in(door, login->account, true, out, NULL);
    rb_client_free(door);
    if (status == RB_OK)
        return RB_OK;
    rb_str_reset(out);
    return rb_client_sign_in(login->client, login->account, true, out, err);
}

/* Once the placeholder is there, nobody finds the old token any more; until then the file may have reappeared. */
static enum rb_status put_placeholder(const struct login *login, struct rb_import_file *file, bool *taken,
                                      struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str url = RB_STR_INIT, token = RB_STR_INIT;
    find_door_url(login, &url);
    enum rb_status status = rb_str_failed(&url) ? no_memory(err) : get_placeholder(login, url.at, &token, err);
    for (int i = 0; status == RB_OK && i < PUT_TRIES; i++) {
        status = rb_import_put(file, url.at, rb_str_span(&token), err);
        if (status != RB_EXISTS || i + 1 == PUT_TRIES)
            return status;
        status = take_reappeared(file, taken, err);
    }
    return status;
}

/* The daemon becomes the token's only holder: it must be able to use it. Nothing is stored or moved by the check. */
static enum rb_status hand_over(const struct login *login, const struct rb_import_file *file, struct rb_error *err)
{
    struct rb_span token = rb_import_token(file);
    const char *relay = login->relay ? login->relay : rb_import_relay_url(file);
    json_t *body = json_pack("{ss ss*}", "relay_url", relay, "ca_file", login->ca_path);
    enum rb_status status =
        body ? rb_client_json(login->client, "POST", "/admin/probe", body, NULL, err)
             : rb_fail(err, RB_INVALID, "--relay or --ca-file is not UTF-8, or there is not enough memory.");
    if (status != RB_OK)
        return status;
    body = json_pack("{ss ss* ss% sb}", "relay_url", relay, "ca_file", login->ca_path, "refresh_token", token.at,
                     token.len, "replace", login->replace);
    return rb_client_account(login->client, login->account, "import", body, NULL, err);
}

/* The account's object in the daemon's status; `*ret` NULL: it has none of that name. */
static enum rb_status look(const struct login *login, json_t **ret, struct rb_error *err)
{
    RB_CLEANUP_JSON json_t *tree = NULL;
    size_t i;
    json_t *account;
    rb_json_release(ret);
    enum rb_status status = rb_client_json(login->client, "GET", "/admin/status", NULL, &tree, err);
    if (status != RB_OK)
        return status;
    json_array_foreach(json_object_get(tree, "accounts"), i, account)
    {
        const char *name = json_string_value(json_object_get(account, "name"));
        if (name && strcmp(name, login->account) == 0)
            *ret = json_incref(account);
    }
    return RB_OK;
}

/* The relay has the last word: the login is taken over when it has exchanged the token. */
static enum rb_status await_outcome(const struct login *login, json_t **answer, struct rb_error *err)
{
    RB_CLEANUP_JSON json_t *account = NULL;
    int64_t end = rb_now_ms() + OUTCOME_WAIT_MS;
    struct rb_error why = {0};
    enum rb_status status;
    while ((status = look(login, &account, &why)) != RB_OK || rb_outcome_of(account) == RB_OUTCOME_OPEN) {
        if (rb_now_ms() >= end)
            break;
        sleep_ms(LOOK_EVERY_MS);
    }
    if (status != RB_OK)
        return rb_fail(err, status, "%.250s The login is the daemon's; %.160s.imported is kept.", why.text,
                       login->import);
    if (rb_outcome_of(account) != RB_OUTCOME_DONE)
        return rb_outcome_fail(account, login->account, login->import, err);
    *answer = json_pack("{sO* sO* sO* sO*}", "name", json_object_get(account, "name"), "state",
                        json_object_get(account, "state"), "chain", json_object_get(account, "chain"),
                        "chains_revoking", json_object_get(account, "chains_revoking"));
    return *answer ? RB_OK : no_memory(err);
}

static enum rb_status import_file(const struct login *login, struct rb_import_file *file, json_t **answer,
                                  struct rb_error *err)
{
    bool taken = false;
    enum rb_status status = hand_over(login, file, err);
    if (status != RB_OK)
        return status;
    if (!login->as_json && login->import_wait_s > 0)
        rb_complain("The daemon has the login. Waiting %d s for others who use the file.", (int)login->import_wait_s);
    if ((status = rb_import_move_aside(file, err)) != RB_OK ||
        (status = wait_for_others(login, file, &taken, err)) != RB_OK)
        return status;
    struct rb_error why = {0};
    enum rb_status put = put_placeholder(login, file, &taken, &why);
    struct rb_span token = rb_import_token(file);
    json_t *body = taken ? json_pack("{ss%}", "refresh_token", token.at, token.len) : json_object();
    if ((status = rb_client_account(login->client, login->account, "release", body, NULL, err)) != RB_OK ||
        (status = await_outcome(login, answer, err)) != RB_OK || (status = rb_import_forget(file, err)) != RB_OK)
        return status;
    if (put != RB_OK)
        return rb_fail(err, put, "The login was imported, but no placeholder could be left for the file's users: %s",
                       why.text);
    return RB_OK;
}

static int import(const struct login *login)
{
    struct rb_error err = {0};
    struct rb_import_file *file = NULL;
    RB_CLEANUP_JSON json_t *answer = NULL;
    enum rb_status status = rb_import_open(login->import, &file, &err);
    if (status == RB_OK)
        status = import_file(login, file, &answer, &err);
    rb_import_free(file);
    return status == RB_OK
               ? print_answer(login, answer, " is logged in with the file's login; the file has a placeholder now.")
               : rb_complain_of(&err);
}

/* --- the command line --- */

static enum rb_status check(const struct login *login, struct rb_error *err)
{
    if (login->import && (login->username || login->password_stdin || login->keep_password))
        return rb_fail(err, RB_INVALID, "--import goes without user name and password.");
    if (!login->import && !login->relay)
        return rb_fail(err, RB_INVALID, "--relay is missing: the relay's URL.");
    if (login->username && !login->password_stdin && !isatty(STDIN_FILENO))
        return rb_fail(err, RB_INVALID, "Give the password with --password-stdin, or call it from a terminal.");
    if (!login->username && !login->import)
        return rb_fail(err, RB_INVALID, "A login needs --username NAME, or --import FILE.");
    return RB_OK;
}

static int run(struct login *login, const struct rb_reach *reach)
{
    struct rb_error err = {0};
    if (check(login, &err) != RB_OK)
        return rb_complain_of_usage("login", &err);
    if (login->ca_file && !(login->ca_path = rb_path_absolute(login->ca_file, &err)))
        return rb_complain_of(&err);
    int ends;
    if (rb_reach_admin(reach, &login->client, &err) != RB_OK)
        ends = rb_complain_of(&err);
    else
        ends = login->import ? import(login) : log_in(login);
    rb_client_free(login->client);
    free(login->ca_path);
    return ends;
}

int rb_command_login(int argc, char **argv)
{
    struct rb_reach reach = {0};
    struct login login = {.import_wait_s = IMPORT_WAIT_S};
    const struct rb_option options[] = {
        {"relay", "URL", RB_OPTION_TEXT, &login.relay, 0, 0, "the relay; with --import the file's unless it is given"},
        {"username", "NAME", RB_OPTION_TEXT, &login.username, 0, 0, "the user's name at the relay"},
        {"password-stdin", NULL, RB_OPTION_FLAG, &login.password_stdin, 0, 0,
         "read the password from standard input; else it is asked for"},
        {"keep-password", NULL, RB_OPTION_FLAG, &login.keep_password, 0, 0,
         "store it, sealed, so that a lost login is made again by itself"},
        {"import", "FILE", RB_OPTION_TEXT, &login.import, 0, 0,
         "take over the login in a credentials file of the Python client; the\nfile gets a placeholder that works with "
         "the daemon"},
        {"door", "URL", RB_OPTION_TEXT, &login.door, 0, 0,
         "the door that the file's users shall use (default: the daemon's first)"},
        {"import-wait", "SECONDS", RB_OPTION_INTEGER, &login.import_wait_s, 0, IMPORT_WAIT_MAX_S,
         "how long others who use the file may still write it (default 15)"},
        {"ca-file", "FILE", RB_OPTION_TEXT, &login.ca_file, 0, 0, "certificates to trust for this relay"},
        {"replace", NULL, RB_OPTION_FLAG, &login.replace, 0, 0,
         "the account may change to another relay or user: what is queued for\nthe former one is dropped"},
        {"json", NULL, RB_OPTION_FLAG, &login.as_json, 0, 0, "the answer as one JSON object"},
        RB_OPTION_STATE(&reach.state),
        RB_OPTION_KEYS(&reach.keys),
    };
    const struct rb_usage usage = {
        "login",
        "ACCOUNT --relay URL --username NAME [--password-stdin] [--keep-password] [--replace]\n"
        "ACCOUNT --import FILE [--relay URL] [--door URL] [--replace]",
        "Logs the daemon in at a relay, under a name of your choice for the account. An account that is there\n"
        "gets a new login; its queued messages stay.",
        options,
        sizeof options / sizeof options[0],
        1,
        1};
    struct rb_texts account;
    int ends;
    if (!rb_options_parse(&usage, argc, argv, &account, &ends))
        return ends;
    login.account = account.at[0];
    return run(&login, &reach);
}
