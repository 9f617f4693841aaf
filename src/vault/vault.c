#include "vault.h"

#include <sodium.h>
#include <stdlib.h>

#include "bytes.h"
#include "key.h"

enum {
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    PLAIN_MAX = 64 * 1024,
    ASSOCIATED_MAX = 8 * 1024,
};
_Static_assert(RB_SEAL_BYTES == NONCE + TAG, "what sealing adds");
_Static_assert(RB_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "one key size");

struct rb_vault {
    struct rb_secret *data_key;
    struct rb_str sealed_key;
    struct rb_random *random;
    const char *source;
};

static const unsigned char *bytes_of(struct rb_span span)
{
    return (const unsigned char *)span.at;
}

/* Appends nonce, sealed bytes and tag. */
static enum rb_status seal_under(const struct rb_secret *key, struct rb_random *random, struct rb_span associated,
                                 struct rb_span plain, struct rb_str *out)
{
    size_t len = NONCE + plain.len + TAG;
    if (!rb_str_reserve(out, len))
        return RB_NO_MEMORY;
    unsigned char *sealed = (unsigned char *)out->at + out->len;
    rb_random_fill(random, sealed, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE, NULL, bytes_of(plain), plain.len, bytes_of(associated),
                                               associated.len, NULL, sealed, bytes_of(rb_secret_span(key)));
    out->len += len;
    out->at[out->len] = 0;
    return RB_OK;
}

static enum rb_status unseal_under(const struct rb_secret *key, struct rb_span associated, struct rb_span sealed,
                                   struct rb_secret **ret, struct rb_error *err)
{
    if (sealed.len < NONCE + TAG || sealed.len > NONCE + PLAIN_MAX + TAG)
        return RB_CORRUPT;
    size_t len = sealed.len - NONCE - TAG;
    unsigned char *plain = sodium_malloc(len + 1);
    if (!plain)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    enum rb_status status = RB_CORRUPT;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, bytes_of(sealed) + NONCE, sealed.len - NONCE,
                                                   bytes_of(associated), associated.len, bytes_of(sealed),
                                                   bytes_of(rb_secret_span(key))) == 0)
        status = rb_secret_new((struct rb_span){(const char *)plain, len}, ret, err);
    sodium_free(plain);
    return status;
}

#define DATA_KEY_LABEL RB_SPAN("relay-broker 1 data key")

static enum rb_status make_data_key(struct rb_vault *vault, const struct rb_secret *key, struct rb_error *err)
{
    unsigned char bytes[RB_KEY_BYTES];
    rb_random_fill(vault->random, bytes, sizeof bytes);
    enum rb_status status = rb_secret_new((struct rb_span){(const char *)bytes, sizeof bytes}, &vault->data_key, err);
    sodium_memzero(bytes, sizeof bytes);
    if (status == RB_OK &&
        seal_under(key, vault->random, DATA_KEY_LABEL, rb_secret_span(vault->data_key), &vault->sealed_key) != RB_OK)
        status = rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    return status;
}

static enum rb_status open_data_key(struct rb_vault *vault, const struct rb_secret *key, struct rb_span sealed_key,
                                    struct rb_error *err)
{
    enum rb_status status = unseal_under(key, DATA_KEY_LABEL, sealed_key, &vault->data_key, err);
    if (status == RB_CORRUPT || (status == RB_OK && rb_secret_span(vault->data_key).len != RB_KEY_BYTES))
        return rb_fail(
            err, RB_DENIED,
            "The key (from the %s) does not open this database's secrets; it belongs to another one, restore the right "
            "key.",
            vault->source);
    rb_str_add_span(&vault->sealed_key, sealed_key);
    if (status == RB_OK && rb_str_failed(&vault->sealed_key))
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    return status;
}

static enum rb_status open_with(const struct rb_secret *key, const char *source, struct rb_span sealed_key,
                                struct rb_random *random, struct rb_vault **ret, struct rb_error *err)
{
    struct rb_vault *vault = calloc(1, sizeof *vault);
    if (!vault)
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    vault->random = random;
    vault->source = source;
    enum rb_status status =
        sealed_key.len ? open_data_key(vault, key, sealed_key, err) : make_data_key(vault, key, err);
    if (status != RB_OK) {
        rb_vault_free(vault);
        return status;
    }
    *ret = vault;
    return RB_OK;
}

enum rb_status rb_vault_open(const char *keys_dir, const char *credentials_dir, struct rb_span sealed_key,
                             struct rb_random *random, struct rb_vault **ret, struct rb_error *err)
{
    struct rb_secret *key;
    const char *source;
    enum rb_status status = rb_key_load(keys_dir, credentials_dir, sealed_key.len == 0, &key, &source, err);
    if (status != RB_OK)
        return status;
    status = open_with(key, source, sealed_key, random, ret, err);
    rb_secret_free(key);
    return status;
}

enum rb_status rb_vault_open_with_key(struct rb_span key32, struct rb_span sealed_key, struct rb_random *random,
                                      struct rb_vault **ret, struct rb_error *err)
{
    struct rb_secret *key;
    if (key32.len != RB_KEY_BYTES)
        return rb_fail(err, RB_INVALID, "A key has %d bytes.", RB_KEY_BYTES);
    enum rb_status status = rb_secret_new(key32, &key, err);
    if (status != RB_OK)
        return status;
    status = open_with(key, "memory", sealed_key, random, ret, err);
    rb_secret_free(key);
    return status;
}

void rb_vault_free(struct rb_vault *vault)
{
    if (!vault)
        return;
    rb_secret_free(vault->data_key);
    rb_str_free(&vault->sealed_key);
    free(vault);
}

struct rb_span rb_vault_sealed_key(const struct rb_vault *vault)
{
    return rb_str_span(&vault->sealed_key);
}

const char *rb_vault_source(const struct rb_vault *vault)
{
    return vault->source;
}

/* Without memory of its own: a token that has come has to be sealed whatever is short. */
struct associated {
    unsigned char bytes[ASSOCIATED_MAX];
    size_t len;
    bool too_long;
};

static void add_bytes(struct associated *out, const void *bytes, size_t len)
{
    if (len > sizeof out->bytes - out->len) {
        out->too_long = true;
        return;
    }
    if (len)
        memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

static void add_number(struct associated *out, uint64_t number)
{
    unsigned char bytes[RB_NUMBER_BYTES];
    rb_put_le64(bytes, number);
    add_bytes(out, bytes, sizeof bytes);
}

static void add_field(struct associated *out, struct rb_span field)
{
    add_number(out, field.len);
    add_bytes(out, field.at, field.len);
}

static struct rb_span associated_span(const struct associated *associated)
{
    return (struct rb_span){(const char *)associated->bytes, associated->len};
}

/* Each field behind its length: no two different seals have the same bytes. */
static void associate(const struct rb_seal *seal, struct associated *out)
{
    out->len = 0;
    out->too_long = false;
    add_field(out, RB_SPAN("relay-broker 1 row"));
    add_field(out, seal->account_uid);
    add_field(out, rb_span_of(seal->relay_url));
    add_field(out, rb_span_of(seal->username));
    add_field(out, seal->chain_uid);
    add_number(out, (uint64_t)seal->generation);
    add_field(out, rb_span_of(seal->column));
}

enum rb_status rb_vault_seal(struct rb_vault *vault, const struct rb_seal *seal, struct rb_span plain,
                             struct rb_str *out)
{
    if (plain.len > PLAIN_MAX)
        return RB_INVALID;
    struct associated associated;
    associate(seal, &associated);
    if (associated.too_long)
        return RB_INVALID;
    return seal_under(vault->data_key, vault->random, associated_span(&associated), plain, out);
}

enum rb_status rb_vault_unseal(struct rb_vault *vault, const struct rb_seal *seal, struct rb_span sealed,
                               struct rb_secret **ret)
{
    struct associated associated;
    associate(seal, &associated);
    if (associated.too_long)
        return RB_CORRUPT;
    return unseal_under(vault->data_key, associated_span(&associated), sealed, ret, NULL);
}
