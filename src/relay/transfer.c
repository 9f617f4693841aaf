#include "transfer.h"

#include <limits.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wipe.h"

enum {
    /* The relay closes idle connections after 5 s; one that may be about to is not taken (T3). libcurl counts whole
     * seconds, so this is "less than 4". */
    MAX_IDLE_S = 3,
    /* The system's authorities take milliseconds to read. */
    SYSTEM_CA_CACHE_S = 60,
    HEADERS_MAX = 64 * 1024,
    RETRY_AFTER_MAX_S = 24 * 3600,
};

/* --- what libcurl asks while it works --- */

/* Called before each sending of the request. The first time is the point after which it may have left; a second time
 * is libcurl's own repeat on a new connection after a reused one was found closed, and that must not be (T3). */
static int on_about_to_send(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct rb_transfer *transfer = arg;
    return ++transfer->attempts == 1 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

/* Without a seek function beside it libcurl cannot send the body again either (T3). */
static size_t on_body_wanted(char *at, size_t size, size_t count, void *arg)
{
    struct rb_transfer *transfer = arg;
    struct rb_span body = transfer->exchange->body;
    size_t len = body.len - transfer->body_sent;
    if (len > size * count)
        len = size * count;
    if (len)
        memcpy(at, body.at + transfer->body_sent, len);
    transfer->body_sent += len;
    return len;
}

static size_t on_answer(char *at, size_t size, size_t count, void *arg)
{
    struct rb_transfer *transfer = arg;
    size_t len = size * count;
    if (len > transfer->exchange->answer_max_bytes - transfer->answer.len) {
        transfer->exchange->too_long = true;
        return CURL_WRITEFUNC_ERROR;
    }
    rb_str_append(&transfer->answer, at, len);
    return rb_str_failed(&transfer->answer) ? CURL_WRITEFUNC_ERROR : len;
}

/* The value of the header line if it has that name. */
static bool header_is(struct rb_span line, const char *name, struct rb_span *ret)
{
    size_t len = strlen(name);
    if (line.len <= len || line.at[len] != ':' || !rb_span_is_nocase((struct rb_span){line.at, len}, name))
        return false;
    struct rb_span value = {line.at + len + 1, line.len - len - 1};
    while (value.len && strchr(" \t", value.at[0])) {
        value.at++;
        value.len--;
    }
    while (value.len && strchr(" \t\r\n", value.at[value.len - 1]))
        value.len--;
    *ret = value;
    return true;
}

static time_t date_of(struct rb_span text)
{
    char date[64];
    if (text.len == 0 || text.len >= sizeof date)
        return -1;
    memcpy(date, text.at, text.len);
    date[text.len] = 0;
    return curl_getdate(date, NULL);
}

static int64_t retry_ms(int64_t seconds)
{
    return (seconds < 0 ? 0 : seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : seconds) * 1000;
}

static void read_retry_after(struct rb_transfer *transfer, struct rb_span value)
{
    int64_t seconds;
    size_t digits = 0;
    while (digits < value.len && value.at[digits] >= '0' && value.at[digits] <= '9')
        digits++;
    if (digits == 0 || digits < value.len)
        transfer->retry_at = date_of(value);
    else if (rb_span_to_i64(value, 0, INT64_MAX, &seconds) == RB_OK)
        transfer->retry_after_ms = retry_ms(seconds);
    else
        transfer->retry_after_ms = retry_ms(INT64_MAX);
}

static void forget_headers(struct rb_transfer *transfer)
{
    transfer->date_ms = transfer->retry_after_ms = -1;
    transfer->retry_at = -1;
}

/* The relay closes its end after a 500 without saying so; a request on that connection would be lost. */
static void on_status_line(struct rb_transfer *transfer, struct rb_span line)
{
    forget_headers(transfer);
    const char *space = memchr(line.at, ' ', line.len);
    if (space && space + 1 < line.at + line.len && space[1] == '5')
        curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, 1L);
}

static size_t on_header(char *at, size_t size, size_t count, void *arg)
{
    struct rb_transfer *transfer = arg;
    struct rb_span line = {at, size * count}, value;
    transfer->header_bytes += line.len;
    if (transfer->header_bytes > HEADERS_MAX) {
        transfer->header_too_long = true;
        return 0;
    }
    if (line.len >= 5 && memcmp(line.at, "HTTP/", 5) == 0)
        on_status_line(transfer, line);
    else if (header_is(line, "Retry-After", &value))
        read_retry_after(transfer, value);
    else if (header_is(line, "Date", &value)) {
        time_t date = date_of(value);
        transfer->date_ms = date > 0 && date < INT64_MAX / 1000 ? (int64_t)date * 1000 : -1;
    }
    return line.len;
}

/* --- the request --- */

/* Takes `line` over. */
static bool add_header(struct rb_transfer *transfer, struct rb_str *line)
{
    struct curl_slist *header = &transfer->headers[transfer->header_count];
    header->data = rb_str_steal(line);
    if (!header->data)
        return false;
    if (transfer->header_count++ > 0)
        header[-1].next = header;
    return true;
}

static bool add_header_of(struct rb_transfer *transfer, const char *name, const char *value)
{
    size_t room = strlen(name) + strlen(value) + 1;
    /* In one piece: growing would leave copies of a bearer. */
    struct rb_str line = {.at = malloc(room), .room = room};
    if (!line.at)
        return false;
    rb_str_add(&line, name);
    rb_str_add(&line, value);
    return add_header(transfer, &line);
}

static bool add_headers(struct rb_transfer *transfer)
{
    const struct rb_exchange *exchange = transfer->exchange;
    /* "Name:" alone takes a header of libcurl's own away. */
    return add_header_of(transfer, "Expect:", "") && add_header_of(transfer, "Accept: ", "application/json") &&
           add_header_of(transfer, exchange->content_type ? "Content-Type: " : "Content-Type:",
                         exchange->content_type ? exchange->content_type : "") &&
           (!exchange->bearer || add_header_of(transfer, "Authorization: Bearer ", exchange->bearer)) &&
           (!exchange->idempotency_key || add_header_of(transfer, "Idempotency-Key: ", exchange->idempotency_key));
}

/* T2: no timeout of libcurl's decides; the only one that cannot be switched off is set beyond any deadline. */
static bool set_longs(struct rb_transfer *transfer)
{
    const struct rb_exchange *exchange = transfer->exchange;
    const struct {
        CURLoption option;
        long value;
    } longs[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_QUICK_EXIT, 1}, /* ending a transfer does not wait for its name look-up */
        {CURLOPT_CONNECTTIMEOUT_MS, INT_MAX},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
        {CURLOPT_PATH_AS_IS, 1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_HTTP_CONTENT_DECODING, 0},
        {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
        {CURLOPT_NETRC, CURL_NETRC_IGNORED},
        {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
        {CURLOPT_MAXAGE_CONN, MAX_IDLE_S},
        /* A file of authorities that was mended counts without a restart. */
        {CURLOPT_CA_CACHE_TIMEOUT, exchange->ca_file ? 0 : SYSTEM_CA_CACHE_S},
        {CURLOPT_FRESH_CONNECT, exchange->fresh_connection},
        {CURLOPT_FORBID_REUSE, exchange->fresh_connection},
    };
    for (size_t i = 0; i < sizeof longs / sizeof *longs; i++)
        if (curl_easy_setopt(transfer->easy, longs[i].option, longs[i].value) != CURLE_OK)
            return false;
    return true;
}

static bool set_method(struct rb_transfer *transfer)
{
    const struct rb_exchange *exchange = transfer->exchange;
    CURL *easy = transfer->easy;
    bool post = strcmp(exchange->method, "POST") == 0;
    if (!post && curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, exchange->method) != CURLE_OK)
        return false;
    if (!post && !exchange->content_type)
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    return curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body.len) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_body_wanted) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READDATA, transfer) == CURLE_OK;
}

/* Otherwise the TLS library keeps what it deciphered, tokens among it, in buffers that it frees as they are. */
static CURLcode on_tls(CURL *easy, void *tls, void *arg)
{
    SSL_CTX_set_options(tls, SSL_OP_CLEANSE_PLAINTEXT);
    return CURLE_OK;
}

static bool set_peer(struct rb_transfer *transfer)
{
    const struct rb_exchange *exchange = transfer->exchange;
    CURL *easy = transfer->easy;
    RB_CLEANUP_STR struct rb_str url = RB_STR_INIT;
    rb_str_add(&url, exchange->url);
    rb_str_add(&url, exchange->path);
    if (rb_str_failed(&url) || curl_easy_setopt(easy, CURLOPT_URL, url.at) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK)
        return false;
    /* D7: a proxy would get the bearer in the clear. */
    bool https = strncmp(exchange->url, "https://", 8) == 0;
    if (!https && curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") != CURLE_OK)
        return false;
    if (https && curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls) != CURLE_OK)
        return false;
    /* A file of its own replaces the system's authorities, it does not join them. */
    return !exchange->ca_file || (curl_easy_setopt(easy, CURLOPT_CAINFO, exchange->ca_file) == CURLE_OK &&
                                  curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK);
}

static bool set_callbacks(struct rb_transfer *transfer)
{
    CURL *easy = transfer->easy;
    return curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, "relay-broker") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_about_to_send) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK;
}

enum rb_status rb_transfer_new(struct rb_exchange *exchange, struct rb_transfer **ret)
{
    struct rb_transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return RB_NO_MEMORY;
    transfer->exchange = exchange;
    rb_list_init(&transfer->node);
    forget_headers(transfer);
    exchange->too_long = false;
    if (exchange->fresh_connection) {
        /* An answer with tokens never moves while it grows, so that one wiping reaches all of it. */
        transfer->answer.room = exchange->answer_max_bytes + 1;
        transfer->answer.at = malloc(transfer->answer.room);
    }
    transfer->easy = curl_easy_init();
    if ((exchange->fresh_connection && !transfer->answer.at) || !transfer->easy || !add_headers(transfer) ||
        !set_longs(transfer) || !set_method(transfer) || !set_peer(transfer) || !set_callbacks(transfer)) {
        rb_transfer_free(transfer);
        return RB_NO_MEMORY;
    }
    *ret = transfer;
    return RB_OK;
}

void rb_transfer_free(struct rb_transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    for (size_t i = 0; i < transfer->header_count; i++)
        rb_wipe_free(transfer->headers[i].data);
    rb_str_free(&transfer->answer);
    free(transfer);
}

/* --- the end --- */

static bool is_json(CURL *easy)
{
    char *type = NULL;
    if (curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type) != CURLE_OK || !type)
        return false;
    struct rb_span media = {type, strcspn(type, "; \t")};
    return rb_span_is_nocase(media, "application/json");
}

static void end_without_answer(struct rb_transfer *transfer, const char *cause)
{
    struct rb_exchange *exchange = transfer->exchange;
    exchange->delivery = transfer->attempts ? RB_DELIVERY_LOST : RB_DELIVERY_NONE;
    exchange->status = 0;
    exchange->answer = (struct rb_span){0};
    exchange->answer_is_json = false;
    exchange->retry_after_ms = exchange->relay_wall_ms = -1;
    snprintf(exchange->cause, sizeof exchange->cause, "%.*s", (int)sizeof exchange->cause - 1, cause);
}

void rb_transfer_end(struct rb_transfer *transfer, CURLcode result)
{
    struct rb_exchange *exchange = transfer->exchange;
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK || transfer->attempts != 1 || status < 200 || status > 999) {
        char cause[2 * CURL_ERROR_SIZE] = "not an HTTP answer";
        if (result != CURLE_OK)
            rb_transfer_cause(transfer, result, cause, sizeof cause);
        end_without_answer(transfer, cause);
        return;
    }
    exchange->delivery = RB_DELIVERY_ANSWER;
    exchange->status = (int)status;
    exchange->answer = rb_str_span(&transfer->answer);
    exchange->answer_is_json = is_json(transfer->easy);
    exchange->relay_wall_ms = transfer->date_ms;
    exchange->retry_after_ms = transfer->retry_after_ms;
    /* A date means something only against the relay's own clock. */
    if (transfer->retry_at > 0)
        exchange->retry_after_ms =
            retry_ms(transfer->retry_at - (transfer->date_ms >= 0 ? transfer->date_ms / 1000 : time(NULL)));
    exchange->cause[0] = 0;
}

void rb_transfer_end_late(struct rb_transfer *transfer)
{
    end_without_answer(transfer, transfer->attempts ? "it took too long" : "no connection before the deadline");
}
