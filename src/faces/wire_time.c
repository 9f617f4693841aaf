#include "wire_time.h"

#include <time.h>

void rb_wire_time_add(struct rb_str *out, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    rb_str_addf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03d000Z\"", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ms % 1000));
}
