/* Simulated record files: a write is on disk when it returns, or the host died before or after it. */
#include "world.h"

static struct world *world_of(struct rb_disk *disk)
{
    return RB_CONTAINER(disk, struct world, disk);
}

static enum rb_status disk_read(struct rb_disk *disk, enum rb_record record, struct rb_str *out, struct rb_error *err)
{
    struct world *world = world_of(disk);
    if (!world->record_written[record])
        return rb_fail(err, RB_NOT_FOUND, "The record was never written.");
    rb_str_add_span(out, rb_str_span(&world->record[record]));
    return rb_str_failed(out) ? RB_NO_MEMORY : RB_OK;
}

static enum rb_status disk_write(struct rb_disk *disk, enum rb_record record, struct rb_span bytes)
{
    struct world *world = world_of(disk);
    if (bytes.len > RB_RECORD_MAX)
        return RB_FULL;
    if (!world_leaves(world))
        return RB_IO;
    rb_str_reset(&world->record[record]);
    rb_str_add_span(&world->record[record], bytes);
    world->record_written[record] = true;
    world->slot_writes += record == RB_RECORD_SLOT;
    return RB_OK;
}

void sim_disk_init(struct world *world)
{
    world->disk = (struct rb_disk){.read = disk_read, .write = disk_write};
}
