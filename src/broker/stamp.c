#include "stamp.h"

#include <sodium.h>
#include <string.h>

#include "json_span.h"

#define STAMP_NAME "relay-broker-id"
enum { METADATA_LEVELS = 256 };

void rb_stamp_hex(const unsigned char stamp[RB_STAMP_BYTES], char ret[RB_STAMP_HEX + 1])
{
    sodium_bin2hex(ret, RB_STAMP_HEX + 1, stamp, RB_STAMP_BYTES);
}

void rb_stamp_put_on(struct rb_str *out, struct rb_span metadata, const char *stamp)
{
    /* The last byte of a checked object, white space aside, is its brace. */
    while (metadata.len && metadata.at[metadata.len - 1] != '}')
        metadata.len--;
    struct rb_json_walk walk = rb_json_walk((struct rb_json_value){RB_JSON_OBJECT, metadata});
    bool members = metadata.len && rb_json_next(&walk, NULL, NULL);
    if (metadata.len)
        rb_str_append(out, metadata.at, metadata.len - 1);
    else
        rb_str_add(out, "{");
    rb_str_addf(out, "%s\"" STAMP_NAME "\":\"%s\"}", members ? "," : "", stamp);
}

static bool find_stamp(struct rb_span metadata, struct rb_json_value *ret)
{
    return metadata.len && rb_json_member((struct rb_json_value){RB_JSON_OBJECT, metadata}, STAMP_NAME, ret);
}

bool rb_stamp_names(struct rb_span metadata)
{
    struct rb_json_value value;
    return find_stamp(metadata, &value);
}

bool rb_stamp_is(struct rb_span metadata, const char *stamp_hex)
{
    struct rb_json_value value;
    return find_stamp(metadata, &value) && rb_json_is(value, stamp_hex);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_stamp(struct rb_json_value value, unsigned char *ret)
{
    if (value.kind != RB_JSON_STRING || value.text.len != 2 + 2 * RB_STAMP_BYTES)
        return false;
    unsigned char stamp[RB_STAMP_BYTES];
    for (size_t i = 0; i < RB_STAMP_BYTES; i++) {
        int high = hex_digit(value.text.at[1 + 2 * i]), low = hex_digit(value.text.at[2 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        stamp[i] = (unsigned char)(high << 4 | low);
    }
    memcpy(ret, stamp, sizeof stamp);
    return true;
}

enum rb_status rb_stamp_take_off(struct rb_span metadata, struct rb_str *out, unsigned char ret_stamp[RB_STAMP_BYTES],
                                 bool *ret_found)
{
    *ret_found = false;
    struct rb_json_value object, key, value;
    if (metadata.len == 0)
        return RB_OK;
    if (rb_json_check(metadata, METADATA_LEVELS, &object, NULL) != RB_JSON_FINE || object.kind != RB_JSON_OBJECT) {
        rb_str_add_span(out, metadata);
        return rb_str_failed(out) ? RB_NO_MEMORY : RB_OK;
    }
    struct rb_span before = {object.text.at, 1}, after = {0};
    const char *previous_end = NULL;
    size_t members = 0;
    struct rb_json_walk walk = rb_json_walk(object);
    const char *end = object.text.at + object.text.len;
    while (rb_json_next(&walk, &key, &value)) {
        const char *value_end = value.text.at + value.text.len;
        members++;
        if (!*ret_found && rb_json_is(key, STAMP_NAME) && read_stamp(value, ret_stamp)) {
            *ret_found = true;
            /* With a member before it the cut begins at that one's end and takes the comma along, else it ends
             * behind the comma. */
            before.len = (size_t)((previous_end ? previous_end : object.text.at + 1) - object.text.at);
            const char *rest = value_end;
            if (!previous_end) {
                while (*rest != ',' && *rest != '}')
                    rest++;
                rest += *rest == ',';
            }
            after = (struct rb_span){rest, (size_t)(end - rest)};
        }
        previous_end = value_end;
    }
    if (members == (*ret_found ? 1U : 0U))
        return RB_OK;
    if (*ret_found) {
        rb_str_add_span(out, before);
        rb_str_add_span(out, after);
    } else {
        rb_str_add_span(out, object.text);
    }
    return rb_str_failed(out) ? RB_NO_MEMORY : RB_OK;
}
