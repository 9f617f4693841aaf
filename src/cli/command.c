#include "command.h"

#include <errno.h>
#include <stdarg.h>

#include "clock.h"

void rb_complain(const char *format, ...)
{
    char text[RB_ERROR_MAX + 256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    RB_CLEANUP_STR struct rb_str line = RB_STR_INIT;
    rb_str_add(&line, RB_PROGRAM ": ");
    rb_str_add_printable(&line, rb_span_of(text));
    rb_str_add(&line, "\n");
    if (rb_str_failed(&line))
        fputs(RB_PROGRAM ": There is not enough memory.\n", stderr);
    else
        fwrite(line.at, 1, line.len, stderr);
}

int rb_complain_of(const struct rb_error *err)
{
    rb_complain("%s", err->text);
    return err->status == RB_UNAVAILABLE ? RB_EXIT_UNREACHABLE : RB_EXIT_FAILED;
}

int rb_complain_of_usage(const char *command, const struct rb_error *err)
{
    if (err->status == RB_NO_MEMORY)
        return rb_complain_of(err);
    rb_complain("%s See " RB_PROGRAM " %s --help.", err->text, command);
    return RB_EXIT_USAGE;
}

int64_t rb_now_ms(void)
{
    struct rb_clock clock;
    rb_clock_init_system(&clock);
    return rb_clock_now_ms(&clock);
}

int rb_print(struct rb_str *text)
{
    int ends = RB_EXIT_DONE;
    if (rb_str_failed(text)) {
        rb_complain("There is not enough memory to print the answer.");
        ends = RB_EXIT_FAILED;
    } else if ((text->len && fwrite(text->at, 1, text->len, stdout) != text->len) || fflush(stdout) != 0) {
        rb_complain("Standard output cannot be written: %s.", strerror(errno));
        ends = RB_EXIT_FAILED;
    }
    rb_str_free(text);
    return ends;
}
