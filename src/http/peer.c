#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* One end of a TCP connection as sock_diag speaks of it: v4-mapped v6 addresses are v4. */
struct end {
    int family;
    uint32_t address[4];
    uint16_t port; /* network order, like the address */
};

struct question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
};

int rb_peer_open(void)
{
    return socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
}

static void unmap(struct end *end)
{
    const uint32_t *a = end->address;
    if (end->family != AF_INET6 || a[0] || a[1] || a[2] != htonl(0xffff))
        return;
    *end = (struct end){.family = AF_INET, .address = {a[3]}, .port = end->port};
}

static bool end_of(const struct sockaddr *address, struct end *ret)
{
    struct end end = {.family = address->sa_family};
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        end.address[0] = in.sin_addr.s_addr;
        end.port = in.sin_port;
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        memcpy(end.address, &in6.sin6_addr, sizeof end.address);
        end.port = in6.sin6_port;
    } else
        return false;
    unmap(&end);
    *ret = end;
    return true;
}

static bool same_end(struct end a, int family, const __be32 *address, uint16_t port)
{
    struct end b = {.family = family, .port = port};
    memcpy(b.address, address, family == AF_INET ? 4 : 16);
    unmap(&b);
    return a.family == b.family && a.port == b.port && memcmp(a.address, b.address, sizeof a.address) == 0;
}

static bool ask(int netlink_fd, const struct question *question)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    return sendto(netlink_fd, question, sizeof *question, 0, (const struct sockaddr *)&kernel, sizeof kernel) ==
           (ssize_t)sizeof *question;
}

/* Whatever is left of an earlier question would be taken for an answer. */
static void forget_answers(int netlink_fd)
{
    char dropped[64];
    while (recv(netlink_fd, dropped, sizeof dropped, MSG_DONTWAIT | MSG_TRUNC) >= 0)
        ;
}

/* Copies the message of the exact-match answer; the kernel answers before sendto returns. */
static bool read_match(int netlink_fd, struct inet_diag_msg *ret)
{
    union {
        struct nlmsghdr header;
        char bytes[1024];
    } answer;
    ssize_t got;
    do
        got = recv(netlink_fd, &answer, sizeof answer, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < (ssize_t)NLMSG_LENGTH(sizeof *ret) || answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        answer.header.nlmsg_len < NLMSG_LENGTH(sizeof *ret))
        return false;
    memcpy(ret, answer.bytes + NLMSG_HDRLEN, sizeof *ret);
    return true;
}

/* The owner of the socket whose own end is `caller` and whose other end is `us`. A lookup that finds no connection
 * falls back to a listening socket on that port, so the answer is compared with the question. */
static bool owner_of(int netlink_fd, struct end caller, struct end us, uid_t *ret_uid)
{
    struct question question = {
        .header = {sizeof question, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0},
        .body = {.sdiag_family = (__u8)caller.family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = 1u << TCP_ESTABLISHED,
                 .id = {.idiag_sport = caller.port,
                        .idiag_dport = us.port,
                        .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
    };
    memcpy(question.body.id.idiag_src, caller.address, sizeof caller.address);
    memcpy(question.body.id.idiag_dst, us.address, sizeof us.address);
    struct inet_diag_msg found;
    forget_answers(netlink_fd);
    if (!ask(netlink_fd, &question) || !read_match(netlink_fd, &found))
        return false;
    if (found.idiag_state != TCP_ESTABLISHED || found.idiag_inode == 0 ||
        !same_end(caller, found.idiag_family, found.id.idiag_src, found.id.idiag_sport) ||
        !same_end(us, found.idiag_family, found.id.idiag_dst, found.id.idiag_dport))
        return false;
    *ret_uid = found.idiag_uid;
    return true;
}

bool rb_peer_of(int netlink_fd, int fd, uid_t *ret_uid, gid_t *ret_gid)
{
    struct sockaddr_storage us = {0}, caller = {0};
    socklen_t us_len = sizeof us, caller_len = sizeof caller;
    if (getsockname(fd, (struct sockaddr *)&us, &us_len) != 0)
        return false;
    if (us.ss_family == AF_UNIX) {
        struct ucred credentials;
        socklen_t len = sizeof credentials;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0 || credentials.uid == (uid_t)-1)
            return false;
        *ret_uid = credentials.uid;
        *ret_gid = credentials.gid;
        return true;
    }
    struct end here, there;
    if (netlink_fd < 0 || getpeername(fd, (struct sockaddr *)&caller, &caller_len) != 0 ||
        !end_of((const struct sockaddr *)&us, &here) || !end_of((const struct sockaddr *)&caller, &there) ||
        !owner_of(netlink_fd, there, here, ret_uid))
        return false;
    *ret_gid = (gid_t)-1;
    return true;
}

static bool covers(struct end wanted, const struct inet_diag_msg *found)
{
    static const __be32 any[4] = {0};
    if (found->id.idiag_sport != wanted.port)
        return false;
    return same_end(wanted, found->idiag_family, found->id.idiag_src, wanted.port) ||
           memcmp(found->id.idiag_src, any, found->idiag_family == AF_INET ? 4 : 16) == 0 ||
           memcmp(wanted.address, any, sizeof any) == 0;
}

/* Reads one part of a dump; false at its end. */
static bool read_dump(int netlink_fd, struct end wanted, struct inet_diag_msg *ret, bool *ret_found)
{
    union {
        struct nlmsghdr header;
        char bytes[16384];
    } part;
    ssize_t got = recv(netlink_fd, &part, sizeof part, MSG_DONTWAIT);
    if (got < 0)
        return errno == EINTR;
    size_t left = (size_t)got;
    for (struct nlmsghdr *one = &part.header; NLMSG_OK(one, left); one = NLMSG_NEXT(one, left)) {
        if (one->nlmsg_type != SOCK_DIAG_BY_FAMILY)
            return false;
        struct inet_diag_msg found;
        if (one->nlmsg_len < NLMSG_LENGTH(sizeof found))
            return false;
        memcpy(&found, NLMSG_DATA(one), sizeof found);
        if (!*ret_found && covers(wanted, &found)) {
            *ret = found;
            *ret_found = true;
        }
    }
    return true;
}

bool rb_peer_listening(const struct sockaddr *address, uid_t *ret_uid, uint32_t *ret_inode)
{
    struct end wanted;
    if (!end_of(address, &wanted))
        return false;
    int netlink_fd = rb_peer_open();
    if (netlink_fd < 0)
        return false;
    static const int families[] = {AF_INET, AF_INET6};
    struct inet_diag_msg found = {0};
    bool is_found = false;
    for (size_t i = 0; i < 2 && !is_found; i++) {
        struct question question = {
            .header = {sizeof question, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0},
            .body = {.sdiag_family = (__u8)families[i],
                     .sdiag_protocol = IPPROTO_TCP,
                     .idiag_states = 1u << TCP_LISTEN},
        };
        if (ask(netlink_fd, &question))
            while (read_dump(netlink_fd, wanted, &found, &is_found))
                ;
    }
    close(netlink_fd);
    if (!is_found)
        return false;
    *ret_uid = found.idiag_uid;
    *ret_inode = found.idiag_inode;
    return true;
}
