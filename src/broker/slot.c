#include "slot.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "list.h"
#include "log.h"
#include "mark.h"

enum { FORMAT = 1, HEAD_BYTES = RB_UID_BYTES + 2 * RB_NUMBER_BYTES };

struct slot {
    struct rb_list node;
    unsigned char uid[RB_UID_BYTES];
    int64_t generation;
    struct rb_str sealed; /* empty: only its memory is reserved */
};

struct rb_slots {
    struct rb_disk *disk;
    struct rb_list slots;
    struct rb_str record; /* what is written, with room for all slots */
};

static void slot_free(struct slot *slot)
{
    rb_list_remove(&slot->node);
    rb_str_free(&slot->sealed);
    free(slot);
}

static struct slot *find(const struct rb_slots *slots, const unsigned char *uid)
{
    RB_LIST_EACH (&slots->slots, node) {
        struct slot *slot = RB_CONTAINER(node, struct slot, node);
        if (memcmp(slot->uid, uid, RB_UID_BYTES) == 0)
            return slot;
    }
    return NULL;
}

/* Not yet in the list. NULL: out of memory. */
static struct slot *slot_new(const unsigned char *uid, size_t room)
{
    struct slot *slot = calloc(1, sizeof *slot);
    if (!slot)
        return NULL;
    rb_list_init(&slot->node);
    memcpy(slot->uid, uid, RB_UID_BYTES);
    if (rb_str_reserve(&slot->sealed, room))
        return slot;
    slot_free(slot);
    return NULL;
}

static enum rb_status set(struct rb_slots *slots, const unsigned char *uid, int64_t generation, struct rb_span sealed)
{
    struct slot *slot = find(slots, uid);
    if (!slot || slot->sealed.room <= sealed.len) {
        struct slot *larger = slot_new(uid, sealed.len);
        if (!larger)
            return RB_NO_MEMORY;
        if (slot)
            slot_free(slot);
        slot = larger;
        rb_list_push(&slots->slots, &slot->node);
    }
    slot->generation = generation;
    rb_str_reset(&slot->sealed);
    rb_str_add_span(&slot->sealed, sealed);
    return RB_OK;
}

enum rb_status rb_slots_reserve(struct rb_slots *slots, const unsigned char *uid, size_t sealed_max)
{
    if (!find(slots, uid)) {
        struct slot *slot = slot_new(uid, sealed_max);
        if (!slot)
            return RB_NO_MEMORY;
        rb_list_push(&slots->slots, &slot->node);
    }
    size_t most = 1;
    RB_LIST_EACH (&slots->slots, node)
        most += HEAD_BYTES + RB_CONTAINER(node, struct slot, node)->sealed.room;
    rb_str_reset(&slots->record);
    return rb_str_reserve(&slots->record, most) ? RB_OK : RB_NO_MEMORY;
}

static void add_number(struct rb_str *out, uint64_t value)
{
    unsigned char coded[RB_NUMBER_BYTES];
    rb_put_be64(coded, value);
    rb_str_append(out, coded, sizeof coded);
}

static enum rb_status decode(struct rb_slots *slots, struct rb_span bytes)
{
    if (bytes.len == 0)
        return RB_OK;
    if (bytes.at[0] != FORMAT)
        return RB_CORRUPT;
    const char *at = bytes.at + 1;
    for (size_t left = bytes.len - 1; left;) {
        if (left < HEAD_BYTES)
            return RB_CORRUPT;
        uint64_t generation = rb_get_be64(at + RB_UID_BYTES), len = rb_get_be64(at + RB_UID_BYTES + RB_NUMBER_BYTES);
        if (generation > INT64_MAX || len > left - HEAD_BYTES)
            return RB_CORRUPT;
        enum rb_status status =
            set(slots, (const unsigned char *)at, (int64_t)generation, (struct rb_span){at + HEAD_BYTES, (size_t)len});
        if (status != RB_OK)
            return status;
        at += HEAD_BYTES + len;
        left -= HEAD_BYTES + (size_t)len;
    }
    return RB_OK;
}

static void drop_all(struct rb_slots *slots)
{
    RB_LIST_EACH_SAFE (&slots->slots, node)
        slot_free(RB_CONTAINER(node, struct slot, node));
}

enum rb_status rb_slots_new(struct rb_disk *disk, struct rb_slots **ret, struct rb_error *err)
{
    struct rb_slots *slots = calloc(1, sizeof *slots);
    if (!slots)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    slots->disk = disk;
    rb_list_init(&slots->slots);
    RB_CLEANUP_STR struct rb_str bytes = RB_STR_INIT;
    enum rb_status status = disk->read(disk, RB_RECORD_SLOT, &bytes, err);
    if (status == RB_OK)
        status = decode(slots, rb_str_span(&bytes));
    if (status == RB_CORRUPT) {
        drop_all(slots);
        rb_log(RB_LOG_ERROR, "account", "the slot file holds something else and is passed over");
    }
    if (status == RB_NO_MEMORY || status == RB_IO) {
        rb_slots_free(slots);
        return status == RB_NO_MEMORY ? rb_fail(err, status, "There is not enough memory.") : status;
    }
    *ret = slots;
    return RB_OK;
}

void rb_slots_free(struct rb_slots *slots)
{
    if (!slots)
        return;
    drop_all(slots);
    rb_str_free(&slots->record);
    free(slots);
}

bool rb_slots_find(const struct rb_slots *slots, const unsigned char *uid, int64_t *ret_generation,
                   struct rb_span *ret_sealed)
{
    const struct slot *slot = find(slots, uid);
    if (!slot || !slot->sealed.len)
        return false;
    *ret_generation = slot->generation;
    *ret_sealed = rb_str_span(&slot->sealed);
    return true;
}

static enum rb_status write_all(struct rb_slots *slots)
{
    struct rb_str *record = &slots->record;
    rb_str_reset(record);
    rb_str_append(record, (const char[]){FORMAT}, 1);
    RB_LIST_EACH (&slots->slots, node) {
        const struct slot *slot = RB_CONTAINER(node, struct slot, node);
        if (!slot->sealed.len)
            continue;
        rb_str_append(record, slot->uid, RB_UID_BYTES);
        add_number(record, (uint64_t)slot->generation);
        add_number(record, slot->sealed.len);
        rb_str_add_span(record, rb_str_span(&slot->sealed));
    }
    return rb_str_failed(record) ? RB_NO_MEMORY : slots->disk->write(slots->disk, RB_RECORD_SLOT, rb_str_span(record));
}

enum rb_status rb_slots_write(struct rb_slots *slots, const unsigned char *uid, int64_t generation,
                              struct rb_span sealed)
{
    enum rb_status status = set(slots, uid, generation, sealed);
    return status == RB_OK ? write_all(slots) : status;
}

void rb_slots_drop(struct rb_slots *slots, const unsigned char *uid)
{
    struct slot *slot = find(slots, uid);
    if (slot)
        slot_free(slot);
}

void rb_slots_flush(struct rb_slots *slots)
{
    enum rb_status status = write_all(slots);
    if (status != RB_OK)
        rb_log(RB_LOG_WARNING, "account", "the slot file could not be written: %s", rb_status_text(status));
}
