/* Upstream: a broker's engine on a clock, random bytes and records in memory, with a relay that answers from a script.
 * One in a process. */
#ifndef FUZZ_UPSTREAM_H
#define FUZZ_UPSTREAM_H

#include "account.h"
#include "engine.h"
#include "fake.h"
#include "fuzz.h"

/* In every secret of the relay's. */
#define UPSTREAM_SECRET "only-the-relay-and-the-broker-know"
#define UPSTREAM_URL "http://127.0.0.1:9"
#define UPSTREAM_ACCOUNT "main"

enum { UPSTREAM_PENDING_MAX = 64, UPSTREAM_ROUNDS_MAX = 400 };

/* What the next call that is no login gets; then success again. */
enum upstream_mode { UPSTREAM_SUCCESS, UPSTREAM_REFUSAL, UPSTREAM_LOST, UPSTREAM_FAILURE };

struct upstream {
    struct rb_fake_clock clock;
    struct rb_fake_random random;
    struct rb_str records[2];
    struct rb_engine *engine;
    enum upstream_mode mode;
    bool delivered; /* a poll has brought its message; more of them wait */
    /* Looks at every request; NULL: nobody does. */
    void (*sees)(const struct rb_exchange *exchange);

    /* private */
    struct rb_disk disk;
    struct rb_carrier carrier;
    struct rb_exchange *pending[UPSTREAM_PENDING_MAX];
};
extern struct upstream upstream;

/* Opens the engine on a state folder; clock and random start anew, the records stay. */
enum rb_status upstream_open(const char *dir, struct rb_error *err);
/* Abandons what is under way. */
void upstream_close(void);
void upstream_forget_records(void);

bool upstream_is(const struct rb_exchange *exchange, const char *method, const char *path);
/* Answers what is pending; polls beyond the first only with `polls_too`. */
void upstream_answer(bool polls_too);
/* A round: `turn` lets the broker work; every tenth moves time on, so that nothing waits for ever. */
void upstream_go_on(int round, void (*turn)(void));
/* Makes the account, or logs it in again. */
void upstream_log_in(void (*turn)(void));

#endif
