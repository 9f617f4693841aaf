/* load PORT CONNECTIONS MILLISECONDS STATUS < REQUEST: each connection sends the request again as soon as it is
 * answered. Prints one JSON object: the answers of that status, others, and the seconds. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crowd.h"

enum { REQUEST_MAX_BYTES = 65536 };

static uint64_t good, bad;
static int wanted;

static void answered(struct caller *caller, int status)
{
    *(status == wanted ? &good : &bad) += 1;
    caller_send(caller);
}

int main(int argc, char **argv)
{
    static char request[REQUEST_MAX_BYTES];
    struct crowd crowd = {.request = request, .answered = answered};
    if (argc != 5) {
        fprintf(stderr, "usage: load PORT CONNECTIONS MILLISECONDS STATUS < REQUEST\n");
        return 2;
    }
    wanted = (int)strtol(argv[4], NULL, 10);
    crowd.request_len = fread(request, 1, sizeof request, stdin);
    crowd_connect(&crowd, (unsigned)strtoul(argv[2], NULL, 10), (int)strtol(argv[1], NULL, 10));
    int64_t from = now_ns(), until = from + strtoll(argv[3], NULL, 10) * 1000000;
    for (unsigned i = 0; i < crowd.count; i++)
        caller_send(&crowd.callers[i]);
    while (now_ns() < until && crowd.lost < crowd.count)
        crowd_run(&crowd, 10);
    printf("{\"good\": %llu, \"bad\": %llu, \"lost\": %llu, \"seconds\": %.6f}\n", (unsigned long long)good,
           (unsigned long long)bad, (unsigned long long)crowd.lost, (double)(now_ns() - from) / 1e9);
    crowd_end(&crowd);
    return 0;
}
