/* World: one host with the whole broker on it, and everything around it that can go wrong, driven by a seed.
 *
 *     host: the shipped engine (store, vault, broker) on a simulated disk, clock and random      ── dies and boots
 *     net:  a carrier that delays, loses, repeats and refuses, and the model relay behind it     ── lives on
 *
 * A crash can fall on every operation that leaves the process: a write or sync of the database, a record, a request, an answer
 * to a caller. After it nothing more leaves, the disk keeps what it may keep, and the host can be booted again. */
#ifndef RB_WORLD_H
#define RB_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "account.h"
#include "engine.h"
#include "fake.h"
#include "inbox.h"
#include "model.h"
#include "outbox.h"
#include "session.h"
#include "sim_vfs.h"

/* Chances in a thousand, of each request. */
struct weather {
    int refuse;       /* never connected */
    int lose_request; /* never arrives; the connection ends without an answer */
    int lose_answer;  /* executed; the connection ends without an answer */
    int late;         /* the connection ends first, the request is executed after that */
    int twice;        /* something between us repeats a post */
    int html;         /* a proxy answers 502 in HTML, without executing */
    int error;        /* 500 in the relay's JSON, after executing or not */
    int limited;      /* 429 without executing */
    int64_t latency_max_ms;
    bool down; /* every connection is refused */
};

struct world_config {
    uint64_t seed;
    enum rb_flavour flavour;
    int64_t access_token_s;
    bool rate_limits;
    bool pairs; /* each login gives two chains, as with `pair` (contract §3) */
    struct rb_broker_config broker;
    FILE *trace; /* NULL: none */
};
struct world_config world_config_default(uint64_t seed);

struct world_clock {
    struct rb_clock clock;
    struct world *world;
    int64_t wall_offset_ms;
};

struct flight;
struct refresh_record;

/* What must never happen, the first that did. */
struct world_fault {
    bool set;
    char text[400];
};

struct world {
    struct world_config config;
    int64_t now_ms;
    struct world_clock host, net;
    struct rb_fake_random random;      /* decides the schedule */
    struct rb_fake_random host_random; /* the broker's */
    struct rb_fake_random net_random;  /* the model's */

    struct sim_vfs *vfs;
    struct sim_vfs_copy *backup;
    struct rb_disk disk;
    struct rb_str record[2];
    bool record_written[2];
    uint64_t slot_writes;

    struct rb_model *model;
    struct rb_carrier carrier;
    struct weather weather;
    struct rb_list flights;
    struct rb_list refreshes, attempts; /* what the carrier remembers of tokens and posts, for P1 */
    bool lost_rotation;      /* the relay rotated a token or granted a login, and the broker heard of neither */
    size_t lost_refreshes;   /* how often it was a token */
    size_t orphan_chains;    /* of logins that the relay granted and nobody heard of */
    uint64_t logins_granted; /* to the broker, heard of or not */
    bool login_granted;      /* the broker has the answer of a login that is not on disk yet */
    uint64_t requests, foreign_logins;

    struct rb_engine *engine;
    struct rb_broker *broker;
    bool up, dead;
    int64_t booted_ms;
    int64_t crash_in; /* operations until the crash; 0: none planned */
    uint64_t boots, crashes;
    void (*on_death)(struct world *world, void *arg); /* just before the host dies: what it was doing */
    void *on_death_arg;

    struct world_fault fault;
};

struct world *world_new(const struct world_config *config);
void world_free(struct world *world);

/* Boots the host; fails the world (world->fault) when the engine does not open. */
void world_boot(struct world *world);
/* kill -9 now, or what is left to do after the host died on an operation. The host is down afterwards. */
void world_crash(struct world *world);
/* A graceful stop: waits for token calls (R1). */
void world_stop(struct world *world);

/* Runs the next due event on host and net, no later than `until_ms`; false: nothing was due by then and time is
 * `until_ms` now. A host that died is crashed first (world->up false). */
bool world_step(struct world *world, int64_t until_ms);
void world_run(struct world *world, int64_t ms);
/* Runs until the condition holds or `max_ms` are over; says whether it holds. */
bool world_run_until(struct world *world, bool (*holds)(struct world *world, void *arg), void *arg, int64_t max_ms);
/* Ends the host's tick: commits and lets effects leave, until there is no more. */
void world_end_tick(struct world *world);

/* An operation that leaves the process. False: the host is dead, it must not happen. */
bool world_leaves(struct world *world);
/* Records the first broken promise. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_trace(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t world_between(struct world *world, int64_t low, int64_t high);
bool world_chance(struct world *world, int in_a_thousand);

/* A login that is not the broker's, with that form: the refresh token, to be freed. */
char *world_foreign_login(struct world *world, struct rb_span form);
/* Adds a user to the model and logs an account of that name in, to the end; NULL when it failed. */
struct rb_account *world_login(struct world *world, const char *name, const char *username, bool keep_password);
extern const char world_url[];

/* --- sim_carrier.c --- */
void sim_carrier_init(struct world *world);
/* The host died: nobody hears the ends of its requests; what has not arrived yet may or may not. */
void sim_carrier_host_died(struct world *world);
void sim_carrier_free(struct world *world);

/* --- sim_disk.c --- */
void sim_disk_init(struct world *world);

#endif
