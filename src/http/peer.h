/* Peer: which user is at the other end of a connection (hard cases D1, D2). The kernel's word only. */
#ifndef RB_PEER_H
#define RB_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* A netlink socket for the questions below, or -1. */
int rb_peer_open(void);

/* The user at the other end of an accepted connection. Asked once, at accept. False when it cannot be told: the
 * caller's socket is no longer open, or it is on another machine or in another network namespace. `*ret_gid` is
 * (gid_t)-1 for TCP. */
bool rb_peer_of(int netlink_fd, int fd, uid_t *ret_uid, gid_t *ret_gid);

/* Who listens on that TCP address, or on one that covers it. */
bool rb_peer_listening(const struct sockaddr *address, uid_t *ret_uid, uint32_t *ret_inode);

#endif
