#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The end of a text that was cut after `len` bytes, without the part of a character that the cut may have left. */
static size_t whole_characters(const char *text, size_t len)
{
    size_t end = len;
    while (end > 0 && len - end < 4 && (text[end - 1] & 0xc0) == 0x80)
        end--;
    if (end == 0 || (text[end - 1] & 0xc0) != 0xc0)
        return len;
    unsigned char first = (unsigned char)text[end - 1];
    size_t need = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    return len - (end - 1) < need ? end - 1 : len;
}

const char *rb_status_text(enum rb_status status)
{
    switch (status) {
    case RB_OK:
        return "ok";
    case RB_NO_MEMORY:
        return "out of memory";
    case RB_INVALID:
        return "invalid";
    case RB_NOT_FOUND:
        return "not found";
    case RB_EXISTS:
        return "exists already";
    case RB_DENIED:
        return "not allowed";
    case RB_BUSY:
        return "busy";
    case RB_FULL:
        return "there is no room left";
    case RB_IO:
        return "input/output error";
    case RB_CORRUPT:
        return "damaged";
    case RB_NEWER:
        return "written by a newer version";
    case RB_UNAVAILABLE:
        return "not possible now";
    }
    return "unknown status";
}

enum rb_status rb_fail(struct rb_error *err, enum rb_status status, const char *format, ...)
{
    if (err) {
        /* Printed aside: the arguments may hold err->text itself. */
        char text[RB_ERROR_MAX] = "";
        va_list args;
        va_start(args, format);
        int len = vsnprintf(text, sizeof text, format, args);
        va_end(args);
        if (len < 0)
            text[0] = 0;
        else if ((size_t)len >= sizeof text)
            text[whole_characters(text, sizeof text - 1)] = 0;
        err->status = status;
        memcpy(err->text, text, sizeof text);
    }
    return status;
}
