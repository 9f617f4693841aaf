/* quiet PORT EVERY_MS MILLISECONDS STATUS < REQUEST: one connection that sends the request now and then. Prints one JSON
 * object: the answers of that status, others, and how long answers took in ms, counted from when they were due: a late
 * answer also delays those behind it. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "crowd.h"

enum { REQUEST_MAX_BYTES = 65536, NS_A_MS = 1000000 };

static bool waiting;
static int status;

static void answered(struct caller *caller, int got)
{
    waiting = false;
    status = got;
}

static int compare(const void *a, const void *b)
{
    const int64_t *one = a, *other = b;
    return (*one > *other) - (*one < *other);
}

static double ms_at(const int64_t *sorted, size_t count, double part)
{
    return count ? (double)sorted[(size_t)((double)(count - 1) * part)] / NS_A_MS : 0;
}

static void sleep_until(int64_t at)
{
    const struct timespec time = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != 0)
        ;
}

int main(int argc, char **argv)
{
    static char request[REQUEST_MAX_BYTES];
    struct crowd crowd = {.request = request, .answered = answered};
    if (argc != 5) {
        fprintf(stderr, "usage: quiet PORT EVERY_MS MILLISECONDS STATUS < REQUEST\n");
        return 2;
    }
    int64_t every = strtoll(argv[2], NULL, 10) * NS_A_MS, until = now_ns() + strtoll(argv[3], NULL, 10) * NS_A_MS;
    int wanted = (int)strtol(argv[4], NULL, 10);
    size_t room = (size_t)(strtoll(argv[3], NULL, 10) / strtoll(argv[2], NULL, 10)) + 1, count = 0, bad = 0;
    int64_t *took = calloc(room, sizeof *took);
    if (!took)
        fail("memory");
    crowd.request_len = fread(request, 1, sizeof request, stdin);
    crowd_connect(&crowd, 1, (int)strtol(argv[1], NULL, 10));
    for (int64_t due = now_ns(); due < until && count + bad < room && crowd.lost == 0; due += every) {
        sleep_until(due);
        waiting = true;
        caller_send(&crowd.callers[0]);
        while (waiting && crowd.lost == 0)
            crowd_run(&crowd, 1000);
        if (status == wanted && crowd.lost == 0)
            took[count++] = now_ns() - due;
        else
            bad++;
    }
    qsort(took, count, sizeof *took, compare);
    printf(
        "{\"good\": %zu, \"bad\": %zu, \"lost\": %llu, \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n",
        count, bad, (unsigned long long)crowd.lost, ms_at(took, count, 0.5), ms_at(took, count, 0.9),
        ms_at(took, count, 0.99), ms_at(took, count, 1));
    free(took);
    crowd_end(&crowd);
    return 0;
}
