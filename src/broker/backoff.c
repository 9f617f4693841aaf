#include "backoff.h"

int64_t rb_backoff_ms(const struct rb_ports *ports, int doublings, int64_t max_ms, enum rb_jitter jitter)
{
    const int64_t min_ms = ports->config->backoff_min_ms;
    int64_t most = min_ms;
    for (int i = 0; i < doublings && most < max_ms; i++)
        most *= 2;
    if (most > max_ms)
        most = max_ms;
    if (most < 1)
        most = 1;
    int64_t least = jitter == RB_JITTER_FULL ? 1 : jitter == RB_JITTER_HALF ? most / 2 : min_ms;
    return rb_random_between(ports->random, least < most ? least : most, most);
}
