#include "admin_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "url.h"
#include "wipe.h"

enum { CONNECT_MS = 5000, WAIT_MS = 40000, ANSWER_MAX_BYTES = 64 << 20 };

struct rb_client {
    CURL *curl;
    char *socket; /* or NULL */
    char *base;   /* "http://127.0.0.1:7420" */
    const volatile sig_atomic_t *stop;
};

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
}

static enum rb_status new_client(const char *socket, char *base, struct rb_client **ret, struct rb_error *err)
{
    struct rb_client *client = calloc(1, sizeof *client);
    /* What jansson parses and builds here may hold passwords and tokens. */
    json_set_alloc_funcs(malloc, rb_wipe_free);
    if (client) {
        client->base = base;
        client->socket = socket ? strdup(socket) : NULL;
        client->curl = curl_easy_init();
    }
    if (!client || !base || !client->curl || (socket && !client->socket)) {
        if (client)
            rb_client_free(client);
        else
            free(base);
        return no_memory(err);
    }
    *ret = client;
    return RB_OK;
}

enum rb_status rb_client_of_socket(const char *path, struct rb_client **ret, struct rb_error *err)
{
    return new_client(path, strdup("http://localhost"), ret, err);
}

enum rb_status rb_client_of_url(const char *url, struct rb_client **ret, struct rb_error *err)
{
    char *base;
    enum rb_status status = rb_url_normalise(url, false, &base, NULL);
    if (status == RB_NO_MEMORY)
        return no_memory(err);
    if (status != RB_OK)
        return rb_fail(err, status, "\"%s\" is no URL of a door; one is like http://127.0.0.1:7420.", url);
    return new_client(NULL, base, ret, err);
}

void rb_client_free(struct rb_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    free(client->socket);
    free(client->base);
    free(client);
}

void rb_client_stop_at(struct rb_client *client, const volatile sig_atomic_t *stop)
{
    client->stop = stop;
}

bool rb_client_socket_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, path, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool open = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return open;
}

void rb_reply_free(struct rb_reply *reply)
{
    rb_str_free(&reply->body);
}

/* --- one exchange --- */

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct rb_str *body = arg;
    size_t len = size * count;
    if (len > ANSWER_MAX_BYTES - body->len)
        return 0;
    rb_str_append(body, bytes, len);
    return rb_str_failed(body) ? 0 : len;
}

static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
    const struct rb_client *client = arg;
    return client->stop && *client->stop;
}

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = line ? curl_slist_append(*list, line) : *list;
    if (line && !longer)
        return false;
    *list = longer;
    return true;
}

static bool add_headers(struct curl_slist **list, const struct rb_call *call)
{
    RB_CLEANUP_STR struct rb_str type = RB_STR_INIT, bearer = RB_STR_INIT;
    if (call->content_type)
        rb_str_addf(&type, "Content-Type: %s", call->content_type);
    if (call->bearer.len) {
        rb_str_add(&bearer, "Authorization: Bearer ");
        rb_str_add_span(&bearer, call->bearer);
    }
    bool good = !rb_str_failed(&type) && !rb_str_failed(&bearer) && add_header(list, "Expect:") &&
                add_header(list, type.at) && add_header(list, bearer.at);
    for (size_t i = 0; i < sizeof call->header / sizeof call->header[0]; i++)
        good = good && add_header(list, call->header[i]);
    return good;
}

static enum rb_status explain(const struct rb_client *client, CURLcode code, const char *words, struct rb_error *err)
{
    const char *where = client->socket ? client->socket : client->base;
    long number = 0;
    curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &number);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return rb_fail(err, RB_BUSY, "Stopped.");
    if (code == CURLE_COULDNT_CONNECT && client->socket && number == EACCES)
        return rb_fail(err, RB_UNAVAILABLE,
                       "The daemon can't be reached at %s: only root and the daemon's own user may.", where);
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        return rb_fail(err, RB_UNAVAILABLE, "The daemon can't be reached at %s: is relay-broker run running?", where);
    if (code == CURLE_OUT_OF_MEMORY)
        return no_memory(err);
    return rb_fail(err, RB_IO, "The answer from %s did not come: %s.", where,
                   *words ? words : curl_easy_strerror(code));
}

enum rb_status rb_client_call(struct rb_client *client, const struct rb_call *call, struct rb_reply *ret,
                              struct rb_error *err)
{
    CURL *curl = client->curl;
    RB_CLEANUP_STR struct rb_str url = RB_STR_INIT;
    struct curl_slist *headers = NULL;
    char words[CURL_ERROR_SIZE] = "";
    *ret = (struct rb_reply){0};
    rb_str_addf(&url, "%s%s", client->base, call->path);
    if (rb_str_failed(&url) || !add_headers(&headers, call)) {
        curl_slist_free_all(headers);
        return no_memory(err);
    }
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url.at);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(call->wait_ms ? call->wait_ms : WAIT_MS));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &ret->body);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
    if (client->socket)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
    if (call->content_type) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.len ? call->body.at : "");
    }
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    ret->status = (int)status;
    if (code == CURLE_OK)
        return RB_OK;
    bool memory_was_short = rb_str_failed(&ret->body);
    rb_reply_free(ret);
    return memory_was_short ? no_memory(err) : explain(client, code, words, err);
}

/* --- answers --- */

enum rb_status rb_reply_refused(const struct rb_reply *reply, struct rb_error *err)
{
    RB_CLEANUP_JSON json_t *tree =
        reply->body.len ? json_loadb(reply->body.at, reply->body.len, JSON_ALLOW_NUL, NULL) : NULL;
    const json_t *detail = json_object_get(tree, "detail");
    const char *sentence = json_string_value(detail);
    if (!sentence)
        sentence = json_string_value(json_object_get(json_array_get(detail, 0), "msg"));
    if (!sentence)
        sentence = json_string_value(json_object_get(tree, "message"));
    enum rb_status status = reply->status >= 500 ? RB_BUSY : RB_DENIED;
    if (sentence)
        return rb_fail(err, status, "%s", sentence);
    if (reply->status == 503)
        return rb_fail(err, status, "The daemon is stopping, or has too much to do: try again.");
    return rb_fail(err, status, "The daemon answered with status %d and no reason.", reply->status);
}

static bool is_done(const struct rb_reply *reply)
{
    return reply->status >= 200 && reply->status < 300;
}

enum rb_status rb_client_json(struct rb_client *client, const char *method, const char *path, json_t *body,
                              json_t **ret, struct rb_error *err)
{
    struct rb_str text = RB_STR_INIT;
    RB_CLEANUP_REPLY struct rb_reply reply = {0};
    if (body && rb_json_print(&text, body) != RB_OK) {
        rb_str_free(&text);
        return no_memory(err);
    }
    struct rb_call call = {.method = method, .path = path, .body = rb_str_span(&text)};
    call.content_type = body ? "application/json" : NULL;
    enum rb_status status = rb_client_call(client, &call, &reply, err);
    rb_str_free(&text);
    if (status != RB_OK)
        return status;
    if (!is_done(&reply))
        return rb_reply_refused(&reply, err);
    if (!ret)
        return RB_OK;
    *ret = json_loadb(reply.body.len ? reply.body.at : "", reply.body.len, JSON_ALLOW_NUL, NULL);
    return *ret ? RB_OK : rb_fail(err, RB_CORRUPT, "The daemon's answer is no JSON.");
}

enum rb_status rb_client_account(struct rb_client *client, const char *account, const char *action, json_t *body,
                                 json_t **ret, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str path = RB_STR_INIT;
    struct rb_span name = rb_span_of(account);
    /* Other names are no path of the daemon's. */
    if (!name.len || strchr(account, '/') || strspn(account, ".") == name.len || !rb_span_is_printable(name)) {
        json_decref(body);
        return rb_fail(err, RB_INVALID,
                       "An account's name has printable characters other than \"/\", and not only dots.");
    }
    rb_str_add(&path, "/admin/accounts/");
    rb_url_encode(&path, name);
    rb_str_addf(&path, "/%s", action);
    if (rb_str_failed(&path) || !body) {
        json_decref(body);
        return no_memory(err);
    }
    return rb_client_json(client, "POST", path.at, body, ret, err);
}

enum rb_status rb_client_sign_in(struct rb_client *client, const char *username, bool refresh, struct rb_str *out,
                                 struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str form = RB_STR_INIT;
    RB_CLEANUP_REPLY struct rb_reply reply = {0};
    rb_str_add(&form, "grant_type=password&password=none&username=");
    rb_url_encode(&form, rb_span_of(username));
    if (rb_str_failed(&form))
        return no_memory(err);
    struct rb_call call = {.method = "POST", .path = "/auth/login", .body = rb_str_span(&form)};
    call.content_type = "application/x-www-form-urlencoded";
    enum rb_status status = rb_client_call(client, &call, &reply, err);
    if (status != RB_OK)
        return status;
    if (!is_done(&reply))
        return rb_reply_refused(&reply, err);
    RB_CLEANUP_JSON json_t *tree = json_loadb(reply.body.len ? reply.body.at : "", reply.body.len, 0, NULL);
    const char *token = json_string_value(json_object_get(tree, refresh ? "refresh_token" : "access_token"));
    if (!token)
        return rb_fail(err, RB_CORRUPT, "The daemon's answer to a login has no token.");
    rb_str_add(out, token);
    return rb_str_failed(out) ? no_memory(err) : RB_OK;
}

void rb_client_sign_out(struct rb_client *client, struct rb_span bearer)
{
    RB_CLEANUP_REPLY struct rb_reply reply = {0};
    struct rb_call call = {.method = "POST", .path = "/auth/logout", .bearer = bearer, .wait_ms = CONNECT_MS};
    rb_client_call(client, &call, &reply, NULL);
}

enum rb_status rb_client_check_account(struct rb_client *client, const char *name, struct rb_error *err)
{
    RB_CLEANUP_JSON json_t *answer = NULL;
    enum rb_status status = rb_client_json(client, "GET", "/v1/status", NULL, &answer, err);
    if (status != RB_OK)
        return status;
    size_t index;
    json_t *account;
    json_array_foreach(json_object_get(answer, "accounts"), index, account)
    {
        const char *found = json_string_value(json_object_get(account, "name"));
        if (found && strcmp(found, name) == 0)
            return RB_OK;
    }
    return rb_fail(err, RB_NOT_FOUND, "There is no account \"%s\" here; see relay-broker status.", name);
}
