/* File: what every room that keeps files of its own needs: folders that are made, bytes that are written whole, and
 * what an errno means to a user. */
#ifndef RB_FILE_H
#define RB_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "str.h"

/* RB_DENIED, RB_FULL, RB_NOT_FOUND, RB_EXISTS, RB_INVALID (a folder in a file's place, and the like), RB_NO_MEMORY,
 * RB_UNAVAILABLE (out of descriptors), and RB_IO for the rest. */
enum rb_status rb_file_status(int error_number);

/* Makes the folder and its missing parents, 0700. What is there already stays as it is, if it is a folder. */
enum rb_status rb_folder_make(const char *path, struct rb_error *err);
/* Makes a new name in the folder survive a power loss. */
enum rb_status rb_folder_sync(const char *path);

/* Writes all bytes at the offset. */
enum rb_status rb_file_write_at(int fd, struct rb_span bytes, int64_t offset);
/* Appends what is in the file from its start on to `out`; RB_FULL when that is more than `max` bytes. */
enum rb_status rb_file_read(int fd, size_t max, struct rb_str *out);

/* For `RB_CLEANUP_FD int fd = -1`. */
void rb_close_fd(int *fd);
#define RB_CLEANUP_FD __attribute__((cleanup(rb_close_fd)))

#endif
