#include "json_line.h"

void rb_json_line(struct rb_str *out, struct rb_json_value value)
{
    struct rb_span rest = value.text;
    bool in_string = false, escaped = false;
    while (rest.len) {
        uint32_t c = 0;
        size_t len = rb_utf8_next(rest, &c);
        if (len == 0)
            return;
        bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
        if (!space && rb_drives_terminal(c))
            rb_str_addf(out, "\\u%04x", c);
        else if (in_string || !space)
            rb_str_append(out, rest.at, len);
        if (c == '"' && !escaped)
            in_string = !in_string;
        escaped = in_string && c == '\\' && !escaped;
        rest.at += len;
        rest.len -= len;
    }
}
