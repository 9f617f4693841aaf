#include "log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "str.h"

static enum rb_log_level max_level = RB_LOG_INFO;

static const char *const level_name[] = {"error", "warning", "info", "debug"};

void rb_log_set_level(enum rb_log_level level)
{
    max_level = level;
}

void rb_log(enum rb_log_level level, const char *room, const char *format, ...)
{
    if (level > max_level)
        return;
    char text[2048];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0)
        text[0] = 0;
    RB_CLEANUP_STR struct rb_str line = RB_STR_INIT;
    rb_str_addf(&line, "%s %s: ", level_name[level], room);
    rb_str_add_printable(&line, rb_span_of(text));
    rb_str_add(&line, "\n");
    if (!rb_str_failed(&line))
        fwrite(line.at, 1, line.len, stderr);
}
