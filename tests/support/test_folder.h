/* Folder: a temporary folder of one test, and what tests do to files in it. Failures end the test. */
#ifndef RB_TEST_FOLDER_H
#define RB_TEST_FOLDER_H

#include <stdbool.h>

#include "str.h"

struct rb_test_folder {
    char path[64];
};

void rb_test_folder_make(struct rb_test_folder *folder);
/* With all that is in it. */
void rb_test_folder_remove(struct rb_test_folder *folder);
/* The path of `name` in it, kept until the process ends (a few dozen different ones). */
const char *rb_test_path(const struct rb_test_folder *folder, const char *name);

/* Replaces the file's content. */
void rb_test_write(const char *path, struct rb_span bytes);
/* Appends the file's content to `out`; nothing when there is no such file. */
void rb_test_read(const char *path, struct rb_str *out);
bool rb_test_file_has(const char *path, struct rb_span needle);

#endif
