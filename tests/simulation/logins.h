/* Logins: what the administrator of the simulated host does (logs in again, imports, logs out), what others do to the
 * login (revoke it, change the password), and what has to be true of it (P2, P5, R5). */
#ifndef RB_LOGINS_H
#define RB_LOGINS_H

#include "world.h"

struct logins {
    struct world *world;
    struct rb_account *account; /* set by its owner after each boot */
    bool busy_administrator;    /* one that does more than log out */
    /* the login that is on disk */
    int64_t epoch;
    bool logged_out;
    bool keeps_password; /* the relay takes it too */
    bool may_end;        /* somebody has ended it, or it is none that the relay gave */
    bool may_be_foreign; /* somebody else used or revoked its tokens */
    int chains;
    size_t lost_before; /* world->lost_refreshes when it began */
    /* one that may become it */
    struct {
        bool asked, keep, import, stranger, revoked;
        int64_t epoch; /* it comes too late in another one (R6) */
    } next;
    bool logout_answered; /* and no login was asked for after it */
    char password[32];
    uint64_t logins, logouts, imports, revoked_upstream, spare_rests;
    uint64_t restored;      /* a copy of the disk, once at most; then what was committed after it is undone */
    uint64_t copied_logins; /* how many there had been when the copy was made */
};

/* The first login, to its end. False: it failed. */
bool logins_begin(struct logins *logins, struct world *world, bool keep_password);
/* After each step: what has been committed meanwhile, and whether it was allowed. */
void logins_look(struct logins *logins);
void logins_log_out(struct logins *logins);
void logins_log_in_again(struct logins *logins);
/* Imports a token, or releases the one that is held. */
void logins_import(struct logins *logins);
/* An administrator of the relay. */
void logins_revoke_upstream(struct logins *logins);
void logins_change_password(struct logins *logins);

/* The relay has no live chain that the broker does not know, except those that nobody could hear of. */
bool logins_settled(struct logins *logins);
/* At the end: P2. */
void logins_check(struct logins *logins);
/* R5: called just before a chain changes its state. */
void logins_chain_moves(struct logins *logins, long long chain, const char *to);

/* R3: a copy of the state folder, put back later while the host is down. */
void logins_copy(struct logins *logins);
void logins_restore(struct logins *logins);
/* When the restored host has run for a while. */
void logins_check_restored(struct logins *logins);

#endif
