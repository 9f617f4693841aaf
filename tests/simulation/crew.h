/* Crew: several processes share the seeds of a run; what each has counted is added up in the first. */
#ifndef RB_CREW_H
#define RB_CREW_H

#include <stddef.h>
#include <stdint.h>

struct crew_counters {
    uint64_t *at;
    size_t count;
};

/* Calls work(arg, nth, jobs) in each of `jobs` processes (1: in this one) and waits for all. Returns the sum of what
 * they return; a process that dies counts as 1. */
uint64_t crew_run(int jobs, uint64_t (*work)(void *arg, int nth, int jobs), void *arg,
                  const struct crew_counters *counters, size_t kinds);

#endif
