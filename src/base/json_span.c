#include "json_span.h"

#include <stdint.h>
#include <string.h>

/* What may come next, after white space. */
enum want {
    WANT_VALUE,
    WANT_FIRST_VALUE, /* or the end of the array */
    WANT_KEY,
    WANT_FIRST_KEY, /* or the end of the object */
    WANT_COLON,
    WANT_NEXT, /* a comma, or the end of the container, or of the text */
};

struct scan {
    const char *at, *end;
    enum want want;
    unsigned depth, max_depth;
    enum rb_json_fault soft; /* the first fault that does not end the scan */
    const char *soft_at;
    uint64_t objects[RB_JSON_LEVELS / 64]; /* a bit a level: an object, else an array */
};

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at))
        at++;
    return at;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* Skips what a string may hold and is one byte a character: no quote, backslash, control or byte above 0x7f. */
static const char *skip_plain(const char *at, const char *end)
{
    const uint64_t each = 0x0101010101010101u;
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t quote = word ^ each * '"', backslash = word ^ each * '\\';
        /* A byte's highest bit is set here, or in a byte before it, if it ends the run. */
        if ((word | (word - each * 0x20) | (quote - each) | (backslash - each)) & each * 0x80)
            break;
        at += 8;
    }
    while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at;
}

/* The 16 bits of the \uXXXX at `at`, or -1 if there is none. */
static int32_t escaped_unit(const char *at, const char *end)
{
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    int32_t unit = 0;
    for (int i = 2; i < 6; i++) {
        int digit = rb_hex_digit(at[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static bool is_high_surrogate(int32_t unit)
{
    return unit >= 0xd800 && unit < 0xdc00;
}

static bool is_low_surrogate(int32_t unit)
{
    return unit >= 0xdc00 && unit < 0xe000;
}

static void note_soft_fault(struct scan *scan, enum rb_json_fault fault, const char *at)
{
    if (scan->soft)
        return;
    scan->soft = fault;
    scan->soft_at = at;
}

static enum rb_json_fault scan_word(struct scan *scan, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
        return RB_JSON_SYNTAX;
    scan->at += len;
    return RB_JSON_FINE;
}

static enum rb_json_fault scan_escape(struct scan *scan)
{
    const char *start = scan->at;
    if (scan->end - start < 2)
        return RB_JSON_SYNTAX;
    if (start[1] != 'u') {
        if (!memchr("\"\\/bfnrt", start[1], 8))
            return RB_JSON_SYNTAX;
        scan->at = start + 2;
        return RB_JSON_FINE;
    }
    int32_t unit = escaped_unit(start, scan->end);
    if (unit < 0)
        return RB_JSON_SYNTAX;
    scan->at = start + 6;
    if (is_high_surrogate(unit) && is_low_surrogate(escaped_unit(scan->at, scan->end)))
        scan->at += 6;
    else if (is_high_surrogate(unit) || is_low_surrogate(unit))
        note_soft_fault(scan, RB_JSON_SURROGATE, start);
    return RB_JSON_FINE;
}

static enum rb_json_fault scan_string(struct scan *scan)
{
    enum rb_json_fault fault = scan_word(scan, "\"");
    while (!fault) {
        scan->at = skip_plain(scan->at, scan->end);
        if (scan->at == scan->end)
            return RB_JSON_SYNTAX;
        unsigned char byte = (unsigned char)*scan->at;
        if (byte == '"') {
            scan->at++;
            return RB_JSON_FINE;
        }
        if (byte == '\\') {
            fault = scan_escape(scan);
        } else if (byte < 0x20) {
            return RB_JSON_SYNTAX;
        } else {
            uint32_t character;
            size_t len = rb_utf8_next((struct rb_span){scan->at, (size_t)(scan->end - scan->at)}, &character);
            if (len == 0)
                return RB_JSON_UTF8;
            scan->at += len;
        }
    }
    return fault;
}

/* At least one digit. */
static enum rb_json_fault scan_digits(struct scan *scan)
{
    const char *start = scan->at;
    scan->at = skip_digits(start, scan->end);
    return scan->at == start ? RB_JSON_SYNTAX : RB_JSON_FINE;
}

static bool take(struct scan *scan, char byte)
{
    if (scan->at == scan->end || *scan->at != byte)
        return false;
    scan->at++;
    return true;
}

static enum rb_json_fault scan_number(struct scan *scan)
{
    if (take(scan, '-') && scan->at < scan->end && *scan->at == 'I')
        return scan_word(scan, "Infinity");
    enum rb_json_fault fault = RB_JSON_FINE;
    if (!take(scan, '0'))
        fault = scan_digits(scan);
    if (!fault && take(scan, '.'))
        fault = scan_digits(scan);
    if (!fault && (take(scan, 'e') || take(scan, 'E'))) {
        if (!take(scan, '+'))
            take(scan, '-');
        fault = scan_digits(scan);
    }
    return fault;
}

/* The bit of the container that the scan is in. */
static bool in_object(const struct scan *scan)
{
    unsigned level = scan->depth - 1;
    return scan->objects[level / 64] >> level % 64 & 1;
}

static enum rb_json_fault open_container(struct scan *scan)
{
    if (scan->depth >= scan->max_depth)
        note_soft_fault(scan, RB_JSON_DEPTH, scan->at);
    if (scan->depth == RB_JSON_LEVELS)
        return RB_JSON_DEPTH;
    unsigned level = scan->depth++;
    uint64_t bit = (uint64_t)1 << level % 64;
    bool object = *scan->at++ == '{';
    if (object)
        scan->objects[level / 64] |= bit;
    else
        scan->objects[level / 64] &= ~bit;
    scan->want = object ? WANT_FIRST_KEY : WANT_FIRST_VALUE;
    return RB_JSON_FINE;
}

static enum rb_json_fault close_container(struct scan *scan)
{
    if (*scan->at != (in_object(scan) ? '}' : ']'))
        return RB_JSON_SYNTAX;
    scan->at++;
    scan->depth--;
    scan->want = WANT_NEXT;
    return RB_JSON_FINE;
}

static enum rb_json_fault scan_value(struct scan *scan)
{
    scan->want = WANT_NEXT;
    switch (*scan->at) {
    case '{':
    case '[':
        return open_container(scan);
    case '"':
        return scan_string(scan);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    case 'N':
        return scan_word(scan, "NaN");
    case 'I':
        return scan_word(scan, "Infinity");
    default:
        return scan_number(scan);
    }
}

/* One token; scan->at is not at the end. */
static enum rb_json_fault scan_token(struct scan *scan)
{
    switch (scan->want) {
    case WANT_FIRST_VALUE:
        if (*scan->at == ']')
            return close_container(scan);
        return scan_value(scan);
    case WANT_VALUE:
        return scan_value(scan);
    case WANT_FIRST_KEY:
        if (*scan->at == '}')
            return close_container(scan);
        scan->want = WANT_COLON;
        return scan_string(scan);
    case WANT_KEY:
        scan->want = WANT_COLON;
        return scan_string(scan);
    case WANT_COLON:
        scan->want = WANT_VALUE;
        return take(scan, ':') ? RB_JSON_FINE : RB_JSON_SYNTAX;
    case WANT_NEXT:
        if (scan->depth == 0)
            return RB_JSON_SYNTAX;
        if (!take(scan, ','))
            return close_container(scan);
        scan->want = in_object(scan) ? WANT_KEY : WANT_VALUE;
        return RB_JSON_FINE;
    }
    return RB_JSON_SYNTAX;
}

static enum rb_json_kind kind_of(char first)
{
    switch (first) {
    case 'n':
        return RB_JSON_NULL;
    case 'f':
        return RB_JSON_FALSE;
    case 't':
        return RB_JSON_TRUE;
    case '"':
        return RB_JSON_STRING;
    case '[':
        return RB_JSON_ARRAY;
    case '{':
        return RB_JSON_OBJECT;
    default:
        return RB_JSON_NUMBER;
    }
}

static struct rb_json_value value_of(const char *start, const char *end)
{
    return (struct rb_json_value){kind_of(*start), {start, (size_t)(end - start)}};
}

enum rb_json_fault rb_json_check(struct rb_span text, unsigned max_depth, struct rb_json_value *ret, size_t *ret_at)
{
    /* An empty text may be NULL, and "" needs no case of its own. */
    const char *begin = text.len ? text.at : "";
    struct scan scan = {.at = begin, .end = begin + text.len, .want = WANT_VALUE, .max_depth = max_depth};
    const char *start = skip_space(scan.at, scan.end);
    const char *value_end = start;
    enum rb_json_fault fault = RB_JSON_FINE;
    for (scan.at = start; !fault && scan.at < scan.end; scan.at = skip_space(scan.at, scan.end)) {
        fault = scan_token(&scan);
        if (fault)
            break;
        value_end = scan.at;
    }
    if (!fault && (scan.want != WANT_NEXT || scan.depth > 0))
        fault = RB_JSON_SYNTAX;
    if (scan.soft && (!fault || fault == RB_JSON_DEPTH)) {
        fault = scan.soft;
        scan.at = scan.soft_at;
    }
    if (!fault && ret)
        *ret = value_of(start, value_end);
    if (fault && ret_at)
        *ret_at = (size_t)(scan.at - begin);
    return fault;
}

/* From here on the text has been checked. */

/* Skips the string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    const char *start = at + 1;
    for (;;) {
        const char *quote = memchr(start, '"', (size_t)(end - start));
        if (!quote)
            return end;
        const char *before = quote;
        while (before > start && before[-1] == '\\')
            before--;
        if ((quote - before) % 2 == 0)
            return quote + 1;
        start = quote + 1;
    }
}

static const char *skip_container(const char *at, const char *end)
{
    size_t depth = 0;
    while (at < end) {
        char byte = *at;
        if (byte == '"') {
            at = skip_string(at, end);
            continue;
        }
        at++;
        if (byte == '{' || byte == '[')
            depth++;
        else if ((byte == '}' || byte == ']') && --depth == 0)
            break;
    }
    return at;
}

static const char *skip_value(const char *at, const char *end)
{
    if (*at == '"')
        return skip_string(at, end);
    if (*at == '{' || *at == '[')
        return skip_container(at, end);
    while (at < end && *at != ',' && !is_space(*at))
        at++;
    return at;
}

unsigned rb_json_levels(struct rb_json_value value)
{
    const char *at = value.text.at, *end = at + value.text.len;
    unsigned open = 0, deepest = 0;
    bool fresh = true; /* nothing yet in the innermost container */
    while (at < end) {
        if (is_space(*at)) {
            at++;
            continue;
        }
        bool closes = *at == '}' || *at == ']';
        if (fresh && !closes && open + 1 > deepest)
            deepest = open + 1;
        fresh = *at == '{' || *at == '[';
        if (fresh)
            open++;
        else if (closes)
            open--;
        at = *at == '"' ? skip_string(at, end) : at + 1;
    }
    return deepest;
}

struct rb_json_walk rb_json_walk(struct rb_json_value container)
{
    struct rb_json_walk walk = {.kind = container.kind};
    if ((container.kind == RB_JSON_OBJECT || container.kind == RB_JSON_ARRAY) && container.text.len >= 2) {
        walk.at = container.text.at + 1;
        walk.end = container.text.at + container.text.len - 1;
    }
    return walk;
}

bool rb_json_next(struct rb_json_walk *walk, struct rb_json_value *ret_key, struct rb_json_value *ret_value)
{
    const char *end = walk->end;
    const char *at = skip_space(walk->at, end);
    if (at == end)
        return false;
    if (walk->kind == RB_JSON_OBJECT) {
        const char *key = at;
        at = skip_string(key, end);
        if (ret_key)
            *ret_key = value_of(key, at);
        at = skip_space(skip_space(at, end) + 1, end);
    }
    const char *value = at;
    at = skip_value(value, end);
    if (ret_value)
        *ret_value = value_of(value, at);
    at = skip_space(at, end);
    walk->at = at < end ? at + 1 : end;
    return true;
}

/* What stands between the quotes. */
static struct rb_span inside(struct rb_json_value string)
{
    return (struct rb_span){string.text.at + 1, string.text.len - 2};
}

static size_t utf8_write(uint32_t character, char ret[4])
{
    if (character < 0x80) {
        ret[0] = (char)character;
        return 1;
    }
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t len = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; character >>= 6)
        ret[i] = (char)(0x80 | (character & 0x3f));
    ret[0] = (char)(lead[len] | character);
    return len;
}

/* The character of the escape at `*at`, which moves behind it; the length of its UTF-8. */
static size_t unescape(const char **at, const char *end, char ret[4])
{
    static const char letters[] = "bfnrt", controls[] = "\b\f\n\r\t";
    int32_t unit = escaped_unit(*at, end);
    if (unit < 0) {
        char byte = (*at)[1];
        const char *letter = strchr(letters, byte);
        ret[0] = letter ? controls[letter - letters] : byte;
        *at += 2;
        return 1;
    }
    *at += 6;
    uint32_t character = (uint32_t)unit;
    if (is_high_surrogate(unit)) {
        character = 0x10000 + ((character & 0x3ff) << 10) + ((uint32_t)escaped_unit(*at, end) & 0x3ff);
        *at += 6;
    }
    return utf8_write(character, ret);
}

enum rb_status rb_json_string(struct rb_json_value string, struct rb_str *out)
{
    if (string.kind != RB_JSON_STRING)
        return RB_INVALID;
    struct rb_span text = inside(string);
    const char *at = text.at, *end = at + text.len;
    while (at < end) {
        const char *backslash = memchr(at, '\\', (size_t)(end - at));
        const char *run_end = backslash ? backslash : end;
        rb_str_append(out, at, (size_t)(run_end - at));
        at = run_end;
        if (at < end) {
            char bytes[4];
            size_t len = unescape(&at, end, bytes);
            rb_str_append(out, bytes, len);
        }
    }
    return rb_str_failed(out) ? RB_NO_MEMORY : RB_OK;
}

bool rb_json_is(struct rb_json_value value, const char *text)
{
    if (value.kind != RB_JSON_STRING)
        return false;
    struct rb_span string = inside(value), left = rb_span_of(text);
    if (!memchr(string.at, '\\', string.len))
        return rb_span_equal(string, left);
    const char *at = string.at, *end = at + string.len;
    while (at < end) {
        char bytes[4] = {*at};
        size_t len = 1;
        if (*at == '\\')
            len = unescape(&at, end, bytes);
        else
            at++;
        if (len > left.len || memcmp(bytes, left.at, len) != 0)
            return false;
        left.at += len;
        left.len -= len;
    }
    return left.len == 0;
}

bool rb_json_member(struct rb_json_value object, const char *name, struct rb_json_value *ret)
{
    if (object.kind != RB_JSON_OBJECT)
        return false;
    struct rb_json_walk walk = rb_json_walk(object);
    struct rb_json_value key, value;
    bool found = false;
    while (rb_json_next(&walk, &key, &value)) {
        if (!rb_json_is(key, name))
            continue;
        *ret = value;
        found = true;
    }
    return found;
}

/* The number of an exponent; one that is beyond any text's digits is as good as another. */
static int64_t exponent_of(const char *at, const char *end)
{
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    int64_t value = 0;
    for (; at < end && value < INT64_MAX / 100; at++)
        value = value * 10 + (*at - '0');
    return negative ? -value : value;
}

/* Adds a decimal digit on the side of the sign. False: overflow. */
static bool add_digit(int64_t *value, int digit)
{
    return !__builtin_mul_overflow(*value, 10, value) && !__builtin_add_overflow(*value, digit, value);
}

enum rb_status rb_json_integer(struct rb_json_value value, int64_t min, int64_t max, int64_t *ret)
{
    const char *at = value.text.at, *end = at + value.text.len;
    int sign = value.text.len && *at == '-' ? -1 : 1;
    at += sign < 0;
    if (value.kind != RB_JSON_NUMBER || at == end || *at == 'N' || *at == 'I')
        return RB_INVALID;
    const char *point = skip_digits(at, end);
    const char *mantissa_end = point < end && *point == '.' ? skip_digits(point + 1, end) : point;
    /* So many digits stand before the point once the exponent has moved it. */
    int64_t whole = point - at + (mantissa_end < end ? exponent_of(mantissa_end + 1, end) : 0);
    int64_t number = 0;
    for (; at < mantissa_end; at++) {
        if (at == point)
            continue;
        if (whole-- > 0) {
            if (!add_digit(&number, sign * (*at - '0')))
                return RB_INVALID;
        } else if (*at != '0') {
            return RB_INVALID;
        }
    }
    for (; whole > 0 && number != 0; whole--)
        if (!add_digit(&number, 0))
            return RB_INVALID;
    if (number < min || number > max)
        return RB_INVALID;
    *ret = number;
    return RB_OK;
}

static void quote_byte(struct rb_str *out, char byte)
{
    static const char controls[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    const char *control = byte ? strchr(controls, byte) : NULL;
    if (control)
        rb_str_append(out, (char[]){'\\', letters[control - controls]}, 2);
    else
        rb_str_addf(out, "\\u%04x", (unsigned char)byte);
}

void rb_json_quote(struct rb_str *out, struct rb_span text)
{
    rb_str_add(out, "\"");
    const char *at = text.len ? text.at : "";
    const char *end = at + text.len;
    while (at < end) {
        const char *run = at;
        size_t len = 1;
        uint32_t character;
        while ((at = skip_plain(at, end)) < end && (unsigned char)*at >= 0x80 &&
               (len = rb_utf8_next((struct rb_span){at, (size_t)(end - at)}, &character)) > 0)
            at += len;
        rb_str_append(out, run, (size_t)(at - run));
        if (at == end)
            break;
        if (len == 0)
            rb_str_add(out, "\xef\xbf\xbd");
        else
            quote_byte(out, *at);
        at++;
    }
    rb_str_add(out, "\"");
}
