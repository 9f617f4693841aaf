/* Run: one world with one scenario in it: what is asked of the broker while calls fail, and what its caller was told. */
#ifndef RB_RUN_H
#define RB_RUN_H

#include "failing.h"
#include "world.h"

enum { POSTS_MAX = 8, MESSAGES_MAX = 32 };

/* What a caller was told. */
enum told {
    TOLD_NOTHING,
    TOLD_FAILED, /* nothing of it may be there, or it is done later all the same */
    TOLD_DONE,
};

struct asked_post {
    struct rb_post_wait wait;
    struct run *run;
    enum told told;
    int64_t id;
};

struct run;

struct scenario {
    const char *name;
    void (*prepare)(struct run *run); /* nothing fails */
    void (*act)(struct run *run);     /* calls fail; returns at once, or runs the world itself */
    int64_t ms;                       /* of simulated time that calls may fail in after it */
    /* What must hold when all is well again: the first that does not goes into world->fault. */
    void (*check)(struct run *run);
    bool boots; /* `act` is the boot */
};

struct run {
    struct world *world;
    const struct scenario *scenario;
    enum told told; /* by the scenario's own call */
    bool acting;    /* calls may fail */
    bool restarted; /* the process ended on purpose meanwhile, and was started again */
    bool has_login, logged_out;
    bool lost_login; /* a rotated token came, and for a while the disk took neither its row nor its slot */

    struct asked_post posts[POSTS_MAX];
    int post_count;

    struct rb_poll poll;
    bool polling, has_session;
    unsigned char session[RB_SESSION_ID_BYTES];
    uint64_t connections;
    char seen[MESSAGES_MAX][64]; /* ids, in the order they came */
    int seen_count;
    int published, first_expected; /* in the model's topic */
    char since[64];

    struct rb_str token; /* of another client of the relay, to import */
    int64_t generation;
};

extern const struct scenario scenarios[];
extern const size_t scenario_count;

struct rb_account *run_account(struct run *run);
/* --- local_scenarios.c --- */
void local_post_act(struct run *run);
void local_bulk_act(struct run *run);
void local_bulk_check(struct run *run);
void local_poll_act(struct run *run);
void local_login_act(struct run *run);
void local_topics_act(struct run *run);
void local_status_act(struct run *run);

/* An access token comes within five minutes. */
bool run_login_lives(struct run *run);

#endif
