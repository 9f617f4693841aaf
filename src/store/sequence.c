/* Sequence: ids that are never given twice, in blocks reserved through `counter`. A block that a failed transaction
 * reserved was not reserved; all blocks are forgotten then, and what was left of them is never given. */
#include "log.h"
#include "store_inside.h"

static struct rb_sequence *find(struct rb_store *store, const char *name)
{
    for (size_t i = 0; i < store->sequence_count; i++)
        if (strcmp(store->sequences[i].name, name) == 0)
            return &store->sequences[i];
    size_t len = strlen(name);
    if (store->sequence_count == RB_SEQUENCES_MAX || len > RB_SEQUENCE_NAME_MAX)
        return NULL;
    struct rb_sequence *sequence = &store->sequences[store->sequence_count++];
    memcpy(sequence->name, name, len + 1);
    sequence->next = 1;
    sequence->last = 0;
    return sequence;
}

static bool reserve(struct rb_store *store, struct rb_sequence *sequence)
{
    if (!rb_store_begin(store))
        return false;
    rb_bind_text(store->reserve, 1, rb_span_of(sequence->name));
    sqlite3_bind_int64(store->reserve, 2, RB_SEQUENCE_BLOCK);
    int64_t last = 0;
    while (rb_store_row(store, store->reserve))
        last = sqlite3_column_int64(store->reserve, 0);
    if (store->failed != RB_OK)
        return false;
    sequence->last = last;
    sequence->next = last - RB_SEQUENCE_BLOCK + 1;
    return true;
}

int64_t rb_store_next_id(struct rb_store *store, const char *name)
{
    struct rb_sequence *sequence = find(store, name);
    if (!sequence) {
        rb_log(RB_LOG_ERROR, "store", "defect: no room for a sequence named %s", name);
        rb_store_mark(store, SQLITE_INTERNAL, NULL);
    }
    if (!sequence || (sequence->next > sequence->last && !reserve(store, sequence)))
        return --store->void_ids;
    return sequence->next++;
}

void rb_sequence_forget(struct rb_store *store)
{
    for (size_t i = 0; i < store->sequence_count; i++) {
        store->sequences[i].next = 1;
        store->sequences[i].last = 0;
    }
}
