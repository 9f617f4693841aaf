#include "mark.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"

enum { FORMAT = 1, ENTRY_BYTES = RB_UID_BYTES + RB_NUMBER_BYTES };

struct entry {
    unsigned char uid[RB_UID_BYTES];
    int64_t mark;
};

struct rb_marks {
    struct rb_disk *disk;
    struct entry *entries;
    size_t count, room;
};

static struct entry *find(const struct rb_marks *marks, const unsigned char *uid)
{
    for (size_t i = 0; i < marks->count; i++)
        if (memcmp(marks->entries[i].uid, uid, RB_UID_BYTES) == 0)
            return &marks->entries[i];
    return NULL;
}

static enum rb_status set(struct rb_marks *marks, const unsigned char *uid, int64_t mark)
{
    struct entry *entry = find(marks, uid);
    if (!entry) {
        if (marks->count == marks->room) {
            size_t room = marks->room ? marks->room * 2 : 16;
            struct entry *entries = reallocarray(marks->entries, room, sizeof *entries);
            if (!entries)
                return RB_NO_MEMORY;
            marks->entries = entries;
            marks->room = room;
        }
        entry = &marks->entries[marks->count++];
        memcpy(entry->uid, uid, RB_UID_BYTES);
    }
    entry->mark = mark;
    return RB_OK;
}

static enum rb_status decode(struct rb_marks *marks, struct rb_span bytes)
{
    if (bytes.len < 1 || bytes.at[0] != FORMAT || (bytes.len - 1) % ENTRY_BYTES != 0)
        return RB_CORRUPT;
    const unsigned char *at = (const unsigned char *)bytes.at + 1;
    for (size_t left = bytes.len - 1; left; left -= ENTRY_BYTES, at += ENTRY_BYTES) {
        uint64_t mark = rb_get_be64(at + RB_UID_BYTES);
        enum rb_status status = mark > INT64_MAX ? RB_CORRUPT : set(marks, at, (int64_t)mark);
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

enum rb_status rb_marks_new(struct rb_disk *disk, struct rb_marks **ret, struct rb_error *err)
{
    struct rb_marks *marks = calloc(1, sizeof *marks);
    if (!marks)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    marks->disk = disk;
    RB_CLEANUP_STR struct rb_str bytes = RB_STR_INIT;
    enum rb_status status = disk->read(disk, RB_RECORD_COUNTER, &bytes, err);
    if (status == RB_NOT_FOUND)
        status = RB_OK;
    else if (status == RB_OK)
        status = decode(marks, rb_str_span(&bytes));
    if (status == RB_CORRUPT)
        rb_fail(err, status,
                "The counter file in the key folder is damaged; without it a restored copy cannot be told from the "
                "original. Remove it and log in again.");
    else if (status == RB_NO_MEMORY)
        rb_fail(err, status, "There is not enough memory.");
    if (status != RB_OK) {
        rb_marks_free(marks);
        return status;
    }
    *ret = marks;
    return RB_OK;
}

void rb_marks_free(struct rb_marks *marks)
{
    if (!marks)
        return;
    free(marks->entries);
    free(marks);
}

bool rb_marks_find(const struct rb_marks *marks, const unsigned char *uid, int64_t *ret)
{
    const struct entry *entry = find(marks, uid);
    if (entry)
        *ret = entry->mark;
    return entry != NULL;
}

enum rb_status rb_marks_write(struct rb_marks *marks, const unsigned char *uid, int64_t mark)
{
    enum rb_status status = set(marks, uid, mark);
    if (status != RB_OK)
        return status;
    RB_CLEANUP_STR struct rb_str bytes = RB_STR_INIT;
    rb_str_append(&bytes, (const char[]){FORMAT}, 1);
    for (size_t i = 0; i < marks->count; i++) {
        unsigned char coded[RB_NUMBER_BYTES];
        rb_put_be64(coded, (uint64_t)marks->entries[i].mark);
        rb_str_append(&bytes, marks->entries[i].uid, RB_UID_BYTES);
        rb_str_append(&bytes, coded, sizeof coded);
    }
    return rb_str_failed(&bytes) ? RB_NO_MEMORY
                                 : marks->disk->write(marks->disk, RB_RECORD_COUNTER, rb_str_span(&bytes));
}

void rb_marks_forget(struct rb_marks *marks, const unsigned char *uid)
{
    struct entry *entry = find(marks, uid);
    if (entry)
        *entry = marks->entries[--marks->count];
}

void rb_marks_prune(struct rb_marks *marks, bool (*keep)(void *arg, const unsigned char *uid), void *arg)
{
    for (size_t i = 0; i < marks->count;) {
        if (keep(arg, marks->entries[i].uid))
            i++;
        else
            marks->entries[i] = marks->entries[--marks->count];
    }
}
