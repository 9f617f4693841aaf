#include "relay_id.h"

#include <inttypes.h>

static bool digits(struct rb_span *text, uint64_t *ret)
{
    uint64_t value = 0;
    size_t i = 0;
    while (i < text->len && text->at[i] >= '0' && text->at[i] <= '9') {
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text->at[i] - '0'), &value))
            return false;
        i++;
    }
    if (i == 0)
        return false;
    *text = (struct rb_span){text->at + i, text->len - i};
    *ret = value;
    return true;
}

enum rb_id_shape rb_relay_id_shape(struct rb_span id, struct rb_stream_id *ret)
{
    struct rb_span rest = id;
    struct rb_stream_id parsed;
    if (digits(&rest, &parsed.ms) && rest.len > 1 && rest.at[0] == '-') {
        rest = (struct rb_span){rest.at + 1, rest.len - 1};
        if (digits(&rest, &parsed.seq) && rest.len == 0) {
            if (ret)
                *ret = parsed;
            return RB_ID_STREAM;
        }
    }
    return id.len > 4 && memcmp(id.at, "msg_", 4) == 0 ? RB_ID_MEMORY : RB_ID_OTHER;
}

int rb_stream_id_compare(struct rb_stream_id a, struct rb_stream_id b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    if (a.seq != b.seq)
        return a.seq < b.seq ? -1 : 1;
    return 0;
}

void rb_stream_id_print(struct rb_stream_id id, char ret[RB_STREAM_ID_MAX])
{
    snprintf(ret, RB_STREAM_ID_MAX, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
}
