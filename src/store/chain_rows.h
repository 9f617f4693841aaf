/* Chain rows: rotation chains and their sealed refresh tokens. */
#ifndef RB_CHAIN_ROWS_H
#define RB_CHAIN_ROWS_H

#include "store.h"

struct rb_chain_rows;

struct rb_chain_row {
    int64_t id, account, epoch, generation, mark, rotated;
    struct rb_span uid; /* 16 bytes */
    int state;
    bool doubt;
};

enum rb_status rb_chain_rows_new(struct rb_store *store, struct rb_chain_rows **ret, struct rb_error *err);
void rb_chain_rows_free(struct rb_chain_rows *rows);
/* By id; spans live during the call of `each`. */
void rb_chain_rows_each(struct rb_chain_rows *rows, void (*each)(void *arg, const struct rb_chain_row *row), void *arg);
/* Adds or changes; the token stays. */
void rb_chain_rows_save(struct rb_chain_rows *rows, const struct rb_chain_row *row);
/* An empty span wipes it. */
void rb_chain_rows_set_token(struct rb_chain_rows *rows, int64_t id, struct rb_span sealed);
/* Appends the sealed token, nothing when there is none. RB_NO_MEMORY, or why reading failed. */
enum rb_status rb_chain_rows_token(struct rb_chain_rows *rows, int64_t id, struct rb_str *out);
/* Deletes chains that ended (a literal `state IN (3, 5)`: dead, revoked) and were last rotated before `rotated_before`.
 */
void rb_chain_rows_trim(struct rb_chain_rows *rows, int64_t rotated_before);

#endif
