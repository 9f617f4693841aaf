/* Vault: seals secrets for the database, and opens them.
 *
 * Sealing is XChaCha20-Poly1305 under a random data key. Account id, relay URL, user name, chain, generation and
 * column are associated data, so a sealed value that was moved to another row, or whose account was pointed at another
 * URL, does not open (R7). The data key is itself sealed under a key from a key file (KEYS/key, 0600, made
 * at the first start) or from a systemd credential ($CREDENTIALS_DIRECTORY/relay-broker.key). Keys are never made anew
 * while a sealed data key exists (D9). */
#ifndef RB_VAULT_H
#define RB_VAULT_H

#include "random.h"
#include "secret.h"
#include "status.h"
#include "str.h"

struct rb_vault;

struct rb_seal {
    struct rb_span account_uid; /* 16 random bytes */
    const char *relay_url, *username;
    struct rb_span chain_uid; /* 16 random bytes, or empty for what belongs to the account */
    int64_t generation;
    const char *column; /* "refresh_token", "access_token", "password" */
};

/* Opens the vault. `sealed_key` is what an earlier rb_vault_sealed_key gave (from the database), empty for a new
 * database. Errors: key missing while sealed_key exists, key file readable by others or not owned by us, wrong key
 * (RB_DENIED): each with a sentence. */
enum rb_status rb_vault_open(const char *keys_dir, const char *credentials_dir, struct rb_span sealed_key,
                             struct rb_random *random, struct rb_vault **ret, struct rb_error *err);
/* A vault with a key of its own in memory, for tests and the simulation. */
enum rb_status rb_vault_open_with_key(struct rb_span key32, struct rb_span sealed_key, struct rb_random *random,
                                      struct rb_vault **ret, struct rb_error *err);
void rb_vault_free(struct rb_vault *vault);
/* The data key, sealed, to be stored in the database by the caller before anything else is sealed. Borrowed. */
struct rb_span rb_vault_sealed_key(const struct rb_vault *vault);
/* Where the key comes from: "key file" or "systemd credential", for `status`. */
const char *rb_vault_source(const struct rb_vault *vault);

/* Appends nonce and sealed bytes to `out`: RB_SEAL_BYTES more than `plain` has. It needs no memory but those. */
enum { RB_SEAL_BYTES = 24 + 16 };
enum rb_status rb_vault_seal(struct rb_vault *vault, const struct rb_seal *seal, struct rb_span plain,
                             struct rb_str *out);
/* RB_CORRUPT when it does not open with this associated data. */
enum rb_status rb_vault_unseal(struct rb_vault *vault, const struct rb_seal *seal, struct rb_span sealed,
                               struct rb_secret **ret);

#endif
