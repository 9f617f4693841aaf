/* callers PORT COUNT < REQUEST: so many callers send one request each and wait for its answer. Says "ready" when all
 * are connected, waits for a signal (SIGUSR1), sends, and prints one JSON object when all are answered: how many answers
 * of each status, and when the first send began and the last answer was there (CLOCK_MONOTONIC, in ns). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crowd.h"

enum { REQUEST_MAX_BYTES = 65536, STATUSES = 600 };

static unsigned answers[STATUSES], all;
static int64_t first, last;

static void answered(struct caller *caller, int status)
{
    last = now_ns();
    if (all++ == 0)
        first = last;
    answers[status >= 0 && status < STATUSES ? status : 0]++;
}

static void print(const struct crowd *crowd, int64_t sent)
{
    const char *comma = "";
    printf("{\"answers\": {");
    for (int i = 0; i < STATUSES; i++)
        if (answers[i]) {
            printf("%s\"%d\": %u", comma, i, answers[i]);
            comma = ", ";
        }
    printf("}, \"lost\": %llu, \"sent_ns\": %lld, \"first_ns\": %lld, \"last_ns\": %lld}\n",
           (unsigned long long)crowd->lost, (long long)sent, (long long)first, (long long)last);
}

int main(int argc, char **argv)
{
    static char request[REQUEST_MAX_BYTES];
    struct crowd crowd = {.request = request, .answered = answered};
    if (argc != 3) {
        fprintf(stderr, "usage: callers PORT COUNT < REQUEST\n");
        return 2;
    }
    sigset_t go;
    int got;
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    sigprocmask(SIG_BLOCK, &go, NULL);
    crowd.request_len = fread(request, 1, sizeof request, stdin);
    crowd_connect(&crowd, (unsigned)strtoul(argv[2], NULL, 10), (int)strtol(argv[1], NULL, 10));
    printf("ready\n");
    fflush(stdout);
    sigwait(&go, &got);
    int64_t sent = now_ns();
    for (unsigned i = 0; i < crowd.count; i++)
        caller_send(&crowd.callers[i]);
    while (all + crowd.lost < crowd.count)
        crowd_run(&crowd, 1000);
    print(&crowd, sent);
    crowd_end(&crowd);
    return 0;
}
