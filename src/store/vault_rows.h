/* Vault rows: the one row that holds the vault's sealed data key. */
#ifndef RB_VAULT_ROWS_H
#define RB_VAULT_ROWS_H

#include "status.h"
#include "store.h"
#include "str.h"

/* Appends the sealed key to `out`, nothing in a new database. RB_NO_MEMORY, or why reading failed. */
enum rb_status rb_vault_rows_load(struct rb_store *store, struct rb_str *out);
/* Writes it in the tick's transaction, in place of an earlier one. A failure to prepare is returned; one to write is
 * the tick's to tell. */
enum rb_status rb_vault_rows_save(struct rb_store *store, struct rb_span sealed_key);

#endif
