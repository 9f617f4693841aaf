/* Account rows: logins and their sealed passwords and access tokens. Sealed values are read and written apart, so that
 * they lie in memory only while they are needed. */
#ifndef RB_ACCOUNT_ROWS_H
#define RB_ACCOUNT_ROWS_H

#include "store.h"

struct rb_account_rows;

struct rb_account_row {
    int64_t id;
    struct rb_span uid, name, relay_url, username, sub, ca_file; /* sub, ca_file: empty for none */
    int state;
    int64_t epoch, incarnation, created;
    bool retired, stamp;
    /* Read only; see the setters. */
    bool has_password;
    struct rb_span access_token; /* sealed; empty: none */
    int64_t access_expires, access_lifetime, access_chain, access_generation;
};

enum rb_status rb_account_rows_new(struct rb_store *store, struct rb_account_rows **ret, struct rb_error *err);
void rb_account_rows_free(struct rb_account_rows *rows);
/* By id; spans live during the call of `each`, which must not read other rows of this table. */
void rb_account_rows_each(struct rb_account_rows *rows, void (*each)(void *arg, const struct rb_account_row *row),
                          void *arg);
/* Adds or changes; the sealed columns stay. */
void rb_account_rows_save(struct rb_account_rows *rows, const struct rb_account_row *row);
/* The access_… members of the row with this id; without an access_chain all are wiped. */
void rb_account_rows_set_access(struct rb_account_rows *rows, const struct rb_account_row *row);
/* An empty span wipes it. */
void rb_account_rows_set_password(struct rb_account_rows *rows, int64_t id, struct rb_span sealed);
/* Appends the sealed password, nothing when there is none. RB_NO_MEMORY, or why reading failed. */
enum rb_status rb_account_rows_password(struct rb_account_rows *rows, int64_t id, struct rb_str *out);

#endif
