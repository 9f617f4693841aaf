#include "exchange.h"

static bool is_text(struct rb_span text, bool controls)
{
    while (text.len) {
        uint32_t character = 0;
        size_t len = rb_utf8_next(text, &character);
        if (len == 0 || character == 0 || (!controls && (character < 0x20 || (character >= 0x7f && character < 0xa0))))
            return false;
        text.at += len;
        text.len -= len;
    }
    return true;
}

bool rb_percent_decode(struct rb_span text, unsigned flags, char *out, size_t *ret_len)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c == '%') {
            if (text.len - i < 3)
                return false;
            int high = rb_hex_digit(text.at[i + 1]), low = rb_hex_digit(text.at[i + 2]);
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && (flags & RB_DECODE_PLUS))
            c = ' ';
        out[len++] = c;
    }
    if (!is_text((struct rb_span){out, len}, flags & RB_DECODE_CONTROLS))
        return false;
    *ret_len = len;
    return true;
}
