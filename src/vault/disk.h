/* Disk: the two small files beside the database, as a port (the simulator has its own).
 *
 * A record is a few bytes under a name, replaced as a whole: after a crash at any instant the old or the new one is
 * there, never a mixture (two preallocated, fsynced halves with sequence number and checksum, so that a full disk
 * cannot keep a record from being written).
 *   "slot"     newest rotated tokens, sealed, that the database may not have yet (T4); in the state folder
 *   "counter"  each chain's mark (R3); in the key folder, so that a restored copy of the state folder is noticed */
#ifndef RB_DISK_H
#define RB_DISK_H

#include "status.h"
#include "str.h"

enum rb_record { RB_RECORD_SLOT, RB_RECORD_COUNTER };

enum { RB_RECORD_MAX = 64 * 1024 };

struct rb_disk {
    /* Once, before all else, when the store holds the state folder: makes missing files. RB_BUSY: another daemon counts
     * in the key folder. NULL: there is nothing to open. */
    enum rb_status (*open)(struct rb_disk *disk, struct rb_error *err);
    /* Appends the record to `out`; RB_NOT_FOUND when it was never written; RB_CORRUPT when neither half is whole. */
    enum rb_status (*read)(struct rb_disk *disk, enum rb_record record, struct rb_str *out, struct rb_error *err);
    /* On return RB_OK it is on disk. RB_IO: unknown. RB_FULL above RB_RECORD_MAX. */
    enum rb_status (*write)(struct rb_disk *disk, enum rb_record record, struct rb_span bytes);
};

struct rb_file_disk;
/* Its files are made and preallocated (0600), its folders made (0700) by open. The names are borrowed. */
enum rb_status rb_file_disk_new(const char *state_dir, const char *keys_dir, struct rb_file_disk **ret,
                                struct rb_error *err);
void rb_file_disk_free(struct rb_file_disk *disk);
struct rb_disk *rb_file_disk_port(struct rb_file_disk *disk);

#endif
