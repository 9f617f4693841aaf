/* Import file: the Python client's credentials file, `{relay_url, refresh_token, issued_at}`, taken over (R8).
 *
 *     read ──▶ move_aside (to FILE.imported) ──▶ reappeared? both again ──▶ put (a placeholder) ──▶ forget (FILE.imported)
 *
 * FILE.imported is forgotten only when the token has been exchanged for another one.
 *
 * Symbolic links, and folders that others may write to, are refused, as the client refuses them. */
#ifndef RB_IMPORT_FILE_H
#define RB_IMPORT_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "status.h"
#include "str.h"

struct rb_import_file; /* holds its folder open: what is done is done to the folder that was checked */

/* Checks folder and file. RB_NOT_FOUND, RB_DENIED, RB_INVALID, RB_EXISTS (FILE.imported is there), each with a
 * sentence. */
enum rb_status rb_import_open(const char *path, struct rb_import_file **ret, struct rb_error *err);
void rb_import_free(struct rb_import_file *file);

/* Reads what is there now. RB_NOT_FOUND: nothing. RB_EXISTS: a placeholder of ours, nothing to import. The token is
 * wiped by the next read and by free. */
enum rb_status rb_import_read(struct rb_import_file *file, struct rb_error *err);
const char *rb_import_relay_url(const struct rb_import_file *file);
struct rb_span rb_import_token(const struct rb_import_file *file);
uid_t rb_import_owner(const struct rb_import_file *file);

/* Renames FILE to FILE.imported, durably; one that was moved before is replaced: its token is older. */
enum rb_status rb_import_move_aside(struct rb_import_file *file, struct rb_error *err);
/* Writes a new FILE with the former one's owner and mode, durably. RB_EXISTS: the file has reappeared, nothing was
 * done. */
enum rb_status rb_import_put(struct rb_import_file *file, const char *relay_url, struct rb_span refresh_token,
                             struct rb_error *err);
/* Overwrites and removes FILE.imported: its token must never be used again. */
enum rb_status rb_import_forget(struct rb_import_file *file, struct rb_error *err);

#endif
