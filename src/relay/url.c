#include "url.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum {
    URL_MAX = 2048,
    HOST_MAX = 253,
};

/* The parts of a relay URL, looking into its text. */
struct parts {
    bool https;
    bool ipv6;
    struct rb_span host; /* without brackets */
    struct rb_span port; /* empty: the default */
};

static bool is_alnum(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static enum rb_status split_scheme(struct rb_span *text, bool *ret_https, struct rb_error *err)
{
    static const struct {
        const char *name;
        bool https;
    } schemes[] = {{"https://", true}, {"http://", false}};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t len = strlen(schemes[i].name);
        if (text->len < len || !rb_span_is_nocase((struct rb_span){text->at, len}, schemes[i].name))
            continue;
        *ret_https = schemes[i].https;
        text->at += len;
        text->len -= len;
        return RB_OK;
    }
    return rb_fail(err, RB_INVALID, "A relay URL begins with https:// (or http:// for this machine).");
}

/* Cuts the authority off `text` and checks that nothing but a slash follows it. */
static enum rb_status split_authority(struct rb_span text, struct rb_span *ret, struct rb_error *err)
{
    size_t len = 0;
    while (len < text.len && !strchr("/?#\\", text.at[len]))
        len++;
    struct rb_span rest = {text.at + len, text.len - len};
    if (rest.len && memchr(rest.at, '?', rest.len))
        return rb_fail(err, RB_INVALID, "A relay URL has no query: drop the part from '?' on.");
    if (rest.len && memchr(rest.at, '#', rest.len))
        return rb_fail(err, RB_INVALID, "A relay URL has no fragment: drop the part from '#' on.");
    if (rest.len && !rb_span_is(rest, "/"))
        return rb_fail(err, RB_INVALID, "A relay URL has no path: give the scheme, the host and the port only.");
    /* Not quoted in the sentence: it may hold a password. */
    if (len && memchr(text.at, '@', len))
        return rb_fail(err, RB_INVALID, "A relay URL has no user name or password: drop the part before '@'.");
    *ret = (struct rb_span){text.at, len};
    return RB_OK;
}

static enum rb_status split_host(struct rb_span authority, struct parts *parts, struct rb_error *err)
{
    const char *end = authority.at + authority.len;
    const char *host_end;
    parts->ipv6 = authority.len && authority.at[0] == '[';
    if (parts->ipv6) {
        host_end = memchr(authority.at, ']', authority.len);
        if (!host_end)
            return rb_fail(err, RB_INVALID, "The IPv6 address in the relay URL has no closing bracket.");
        parts->host = (struct rb_span){authority.at + 1, (size_t)(host_end - authority.at) - 1};
        host_end++;
    } else {
        const char *colon = authority.len ? memchr(authority.at, ':', authority.len) : NULL;
        host_end = colon ? colon : end;
        parts->host = (struct rb_span){authority.at, (size_t)(host_end - authority.at)};
    }
    if (parts->host.len == 0)
        return rb_fail(err, RB_INVALID, "The relay URL has no host.");
    if (host_end == end)
        return RB_OK;
    int64_t port;
    parts->port = (struct rb_span){host_end + 1, (size_t)(end - host_end) - 1};
    if (*host_end != ':' || rb_span_to_i64(parts->port, 1, 65535, &port) != RB_OK)
        return rb_fail(err, RB_INVALID, "The port in the relay URL is not a number from 1 to 65535.");
    return RB_OK;
}

/* Appends the host in its normal form. */
static enum rb_status add_host(struct rb_str *out, const struct parts *parts, struct rb_error *err)
{
    char text[HOST_MAX + 1];
    if (parts->host.len > HOST_MAX)
        return rb_fail(err, RB_INVALID, "The host in the relay URL is longer than %d characters.", HOST_MAX);
    memcpy(text, parts->host.at, parts->host.len);
    text[parts->host.len] = 0;
    if (parts->ipv6) {
        struct in6_addr address;
        char normal[INET6_ADDRSTRLEN];
        if (inet_pton(AF_INET6, text, &address) != 1 || !inet_ntop(AF_INET6, &address, normal, sizeof normal))
            return rb_fail(err, RB_INVALID, "What is in brackets in the relay URL is not an IPv6 address.");
        rb_str_addf(out, "[%s]", normal);
        return RB_OK;
    }
    bool any_alnum = false;
    for (char *at = text; *at; at++) {
        if (!is_alnum(*at) && !strchr("-._", *at))
            return rb_fail(err, RB_INVALID,
                           "The host in the relay URL holds something else than letters, digits, '-', '.' and '_' (an "
                           "international name is written in its xn-- form).");
        any_alnum |= is_alnum(*at);
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at + ('a' - 'A'));
    }
    if (!any_alnum || text[0] == '.' || text[0] == '-' || strstr(text, ".."))
        return rb_fail(err, RB_INVALID, "The host in the relay URL is no host name.");
    rb_str_add(out, text);
    return RB_OK;
}

static bool is_this_machine(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 || strcmp(host, "[::1]") == 0;
}

enum rb_status rb_url_normalise(const char *text, bool allow_insecure, char **ret, struct rb_error *err)
{
    struct rb_span rest = rb_span_of(text), authority = {0};
    struct parts parts = {0};
    if (rest.len > URL_MAX)
        return rb_fail(err, RB_INVALID, "The relay URL is longer than %d bytes.", URL_MAX);
    enum rb_status status = split_scheme(&rest, &parts.https, err);
    if (status == RB_OK)
        status = split_authority(rest, &authority, err);
    if (status == RB_OK)
        status = split_host(authority, &parts, err);
    if (status != RB_OK)
        return status;

    RB_CLEANUP_STR struct rb_str host = RB_STR_INIT, normal = RB_STR_INIT;
    status = add_host(&host, &parts, err);
    if (status != RB_OK)
        return status;
    if (rb_str_failed(&host))
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    if (!parts.https && !allow_insecure && !is_this_machine(host.at))
        return rb_fail(err, RB_INVALID,
                       "http:// to another machine would show the tokens to the network: use https:// (for a test, set "
                       "PULSAR_RELAY_ALLOW_INSECURE=1).");
    rb_str_add(&normal, parts.https ? "https://" : "http://");
    rb_str_add_span(&normal, rb_str_span(&host));
    if (parts.port.len && !rb_span_is(parts.port, parts.https ? "443" : "80")) {
        rb_str_add(&normal, ":");
        rb_str_add_span(&normal, parts.port);
    }
    char *stolen = rb_str_steal(&normal);
    if (!stolen)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    *ret = stolen;
    return RB_OK;
}

bool rb_url_insecure_allowed(void)
{
    const char *value = getenv("PULSAR_RELAY_ALLOW_INSECURE");
    return value && strcmp(value, "1") == 0;
}

void rb_url_encode(struct rb_str *out, struct rb_span text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (is_alnum(text.at[i]) || (byte && strchr("-._~", byte)))
            rb_str_append(out, &text.at[i], 1);
        else
            rb_str_append(out, (char[]){'%', digits[byte >> 4], digits[byte & 15]}, 3);
    }
}
