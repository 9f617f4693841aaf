#include "address.h"

#include <arpa/inet.h>

/* A loopback address in its normal form. */
static bool read_host(struct rb_span text, char ret[RB_ADDRESS_HOST_MAX])
{
    char host[RB_ADDRESS_HOST_MAX];
    if (text.len == 0 || text.len >= sizeof host)
        return false;
    bool brackets = text.at[0] == '[' && text.at[text.len - 1] == ']';
    size_t len = text.len - (brackets ? 2 : 0);
    memcpy(host, text.at + brackets, len);
    host[len] = 0;
    struct in_addr in;
    struct in6_addr in6;
    if (!brackets && strcmp(host, "localhost") == 0) {
        snprintf(ret, RB_ADDRESS_HOST_MAX, "127.0.0.1");
        return true;
    }
    if (!brackets && inet_pton(AF_INET, host, &in) == 1 && ntohl(in.s_addr) >> 24 == 127) {
        snprintf(ret, RB_ADDRESS_HOST_MAX, "%s", host);
        return true;
    }
    if (brackets && inet_pton(AF_INET6, host, &in6) == 1 && IN6_IS_ADDR_LOOPBACK(&in6)) {
        snprintf(ret, RB_ADDRESS_HOST_MAX, "[::1]");
        return true;
    }
    return false;
}

enum rb_status rb_address_read(const char *text, struct rb_address *ret, struct rb_error *err)
{
    struct rb_address address = {0};
    if (strncmp(text, "unix:", 5) == 0) {
        if (text[5] != '/')
            return rb_fail(err, RB_INVALID, "\"%s\" needs an absolute path after unix:", text);
        *ret = (struct rb_address){.path = text + 5};
        return RB_OK;
    }
    const char *colon = strrchr(text, ':');
    int64_t port;
    if (!colon || rb_span_to_i64(rb_span_of(colon + 1), 0, 65535, &port) != RB_OK)
        return rb_fail(err, RB_INVALID, "\"%s\" is no address to listen on: it is HOST:PORT or unix:/PATH", text);
    if (!read_host((struct rb_span){text, (size_t)(colon - text)}, address.host))
        return rb_fail(err, RB_INVALID,
                       "\"%s\" is not a loopback address; doors open on 127.0.0.1, [::1] and unix sockets only", text);
    address.port = (int)port;
    *ret = address;
    return RB_OK;
}

void rb_address_print(const struct rb_address *address, int port, struct rb_str *out)
{
    if (address->path)
        rb_str_addf(out, "unix:%s", address->path);
    else
        rb_str_addf(out, "http://%s:%d", address->host, port);
}
