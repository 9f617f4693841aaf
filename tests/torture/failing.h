/* Failing: makes calls of the product fail on purpose, and counts them.
 *
 * Memory: every allocation of our own objects (the linker sends them here), of SQLite and of jansson. Disk: every call of
 * SQLite to its VFS and every read and write of a record. What belongs to the test (model relay, simulated network and
 * disk, scenarios) is passed through: it runs while the failing is paused. */
#ifndef RB_FAILING_H
#define RB_FAILING_H

#include <stdbool.h>
#include <stdint.h>

#include "world.h"

enum failing_kind {
    FAILING_MEMORY,
    FAILING_DISK, /* with an I/O error */
    FAILING_ROOM, /* only what writes the database, for want of room */
    FAILING_KINDS
};

struct failing_plan {
    enum failing_kind kind;
    uint64_t nth;     /* 1: the first; 0: none fails, they are counted */
    int64_t while_ms; /* 0: only that call; else all of the kind, until so much simulated time has passed */
    bool trace;       /* says where */
};

/* Before anything of SQLite, jansson or the world is used. */
void failing_init(void);
/* Puts itself between the world and its disk and network. Nothing is counted or fails until failing_begin. */
void failing_attach(struct world *world);
/* Before the world is freed. */
void failing_detach(void);
void failing_begin(const struct failing_plan *plan);
/* Nothing fails from here on. */
void failing_end(void);
/* The test's own code runs; they nest. */
void failing_pause(void);
void failing_go_on(void);

uint64_t failing_counted(enum failing_kind kind); /* since failing_begin */
uint64_t failing_injected(void);
bool failing_record_refused(void); /* a write of a record was one of them */
/* The log is written as ever (its memory fails like any other), but is not seen. */
void failing_hide_log(bool hidden);
/* Memory that our objects, SQLite and jansson hold. */
int64_t failing_blocks(void);

#endif
