/* Chain: one rotation chain of an account, and its state machine (R1–R6).
 *
 *     held ──released, or 60 s──▶ active
 *     active ──intent committed, counter written──▶ rotating ──200, next token committed──▶ active (generation + 1)
 *                              │  unknown end, or restart ▶ uncertain ──same token again, once the first is surely dead──▶ rotating
 *                              └──401 in the relay's own words──▶ dead
 *     any but dead ──logout committed──▶ revoking ──204 when no rotation can be in flight──▶ revoked, secrets wiped
 *     any at start, with its mark below the counter file's ──▶ revoking (a restored copy is never replayed: R3)
 *
 * One function changes the state; it and the others are the account's own, in account_private.h. */
#ifndef RB_CHAIN_H
#define RB_CHAIN_H

#include "account.h"

enum rb_chain_state {
    RB_CHAIN_ACTIVE = 0,
    RB_CHAIN_ROTATING = 1,
    RB_CHAIN_UNCERTAIN = 2,
    RB_CHAIN_DEAD = 3,
    RB_CHAIN_REVOKING = 4,
    RB_CHAIN_REVOKED = 5,
    RB_CHAIN_HELD = 6,
};
const char *rb_chain_state_text(enum rb_chain_state state);

#endif
