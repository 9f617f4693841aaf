/* State folder: the folder of one daemon: made, refused on network file systems (T6), and held by a lock for life. */
#ifndef RB_STATE_FOLDER_H
#define RB_STATE_FOLDER_H

#include "status.h"

/* Makes DIR (0700) when missing and locks DIR/lock; the lock is held until `*ret_fd` is closed. RB_BUSY names the
 * holder's pid; RB_INVALID: a network file system, or not a folder. */
enum rb_status rb_state_folder_hold(const char *dir, int *ret_fd, struct rb_error *err);
/* Makes the database's file when missing, 0600, and takes other people's access to an existing one away. RB_DENIED: it
 * cannot be written; RB_INVALID: something else is in its place. */
enum rb_status rb_state_folder_file(const char *path, struct rb_error *err);

#endif
