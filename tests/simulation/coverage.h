/* Coverage: which transitions of chains, accounts and posts and which kinds of events a run made, over all its seeds.
 *
 * The broker logs each of them in one line. The linker sends those lines here (--wrap=rb_log), so the shipped objects
 * run unchanged and nothing is formatted. A transition that is not in the list of the legal ones is a fault. */
#ifndef RB_COVERAGE_H
#define RB_COVERAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "crew.h"

struct coverage_watch {
    void (*chain_moves)(void *arg, long long chain, const char *from, const char *to); /* just before it does */
    void (*event)(void *arg, const char *kind);
    void (*illegal)(void *arg, const char *text);
    void *arg;
};
/* Hears of what follows; NULL: nobody does. Borrowed. */
void coverage_watch(const struct coverage_watch *watch);
/* Whether the lines go on to the log. */
void coverage_show_log(bool show);
/* What is printed, for a crew to add up. */
struct crew_counters coverage_counters(void);
/* Prints how often each was made. False: so many seeds should have made one that has a zero. */
bool coverage_print(uint64_t seeds);

#endif
