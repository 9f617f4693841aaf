/* Key: the 32 bytes that the data key is sealed under, as 64 hex digits and a line end in a file: a systemd credential,
 * or KEYS/key, which is made at the first start. */
#ifndef RB_KEY_H
#define RB_KEY_H

#include <stdbool.h>

#include "secret.h"
#include "status.h"

enum { RB_KEY_BYTES = 32 };

/* `credentials_dir` may be NULL; its relay-broker.key goes first. With `may_make` a missing key file is made (and the
 * folder, 0700); without it a missing one is RB_DENIED (D9). A key file that is a symbolic link, that belongs to
 * somebody else, or that others may read is RB_DENIED; one that holds no key is RB_CORRUPT. `*ret_source` is a
 * literal. */
enum rb_status rb_key_load(const char *keys_dir, const char *credentials_dir, bool may_make, struct rb_secret **ret,
                           const char **ret_source, struct rb_error *err);

#endif
