#include "config_text.h"

#include <stdbool.h>

struct cleaning {
    char *at, *end;
    const char *path;
    int line;
    int opened[8]; /* lines of braces that are open */
    int depth;
};

/* Past the character; counts lines. */
static char step(struct cleaning *cleaning)
{
    char c = *cleaning->at++;
    cleaning->line += c == '\n';
    return c;
}

static bool looks_at(const struct cleaning *cleaning, const char *two)
{
    return cleaning->end - cleaning->at >= 2 && memcmp(cleaning->at, two, 2) == 0;
}

static void blank_line_comment(struct cleaning *cleaning)
{
    while (cleaning->at < cleaning->end && *cleaning->at != '\n')
        *cleaning->at++ = ' ';
}

static bool blank_long_comment(struct cleaning *cleaning)
{
    while (cleaning->at < cleaning->end && !looks_at(cleaning, "*/")) {
        if (*cleaning->at != '\n')
            *cleaning->at = ' ';
        step(cleaning);
    }
    if (cleaning->at == cleaning->end)
        return false;
    memset(cleaning->at, ' ', 2);
    cleaning->at += 2;
    return true;
}

static bool skip_quoted(struct cleaning *cleaning)
{
    char quote = step(cleaning);
    while (cleaning->at < cleaning->end) {
        char c = step(cleaning);
        if (c == quote)
            return true;
        if (c == '\\' && cleaning->at < cleaning->end)
            step(cleaning);
    }
    return false;
}

static enum rb_status not_closed(const struct cleaning *cleaning, int line, const char *what, struct rb_error *err)
{
    return rb_fail(err, RB_INVALID, "%s:%d: %s is not closed.", cleaning->path, line, what);
}

static enum rb_status clean_one(struct cleaning *cleaning, bool word_before, struct rb_error *err)
{
    int line = cleaning->line;
    char c = *cleaning->at;
    if (c == '#' || (!word_before && looks_at(cleaning, "//"))) {
        blank_line_comment(cleaning);
        return RB_OK;
    }
    if (!word_before && looks_at(cleaning, "/*"))
        return blank_long_comment(cleaning) ? RB_OK : not_closed(cleaning, line, "a comment", err);
    if (c == '"' || c == '\'')
        return skip_quoted(cleaning) ? RB_OK : not_closed(cleaning, line, "a quote", err);
    if (c == '{') {
        if (cleaning->depth == (int)(sizeof cleaning->opened / sizeof cleaning->opened[0]))
            return rb_fail(err, RB_INVALID, "%s:%d: braces are nested too deep.", cleaning->path, line);
        cleaning->opened[cleaning->depth++] = line;
    }
    if (c == '}' && cleaning->depth-- == 0)
        return rb_fail(err, RB_INVALID, "%s:%d: there is nothing for this } to close.", cleaning->path, line);
    step(cleaning);
    return RB_OK;
}

enum rb_status rb_config_text_clean(struct rb_str *text, const char *path, struct rb_error *err)
{
    if (!text->len)
        return RB_OK;
    struct cleaning cleaning = {.at = text->at, .end = text->at + text->len, .path = path, .line = 1};
    if (memchr(text->at, 0, text->len))
        return rb_fail(err, RB_INVALID, "%s has a zero byte: it is no text.", path);
    while (cleaning.at < cleaning.end) {
        bool word_before = cleaning.at > text->at && !strchr(" \t\r\n{}=,", cleaning.at[-1]);
        enum rb_status status = clean_one(&cleaning, word_before, err);
        if (status != RB_OK)
            return status;
    }
    if (cleaning.depth)
        return not_closed(&cleaning, cleaning.opened[cleaning.depth - 1], "the { of this line", err);
    return RB_OK;
}
