/* What the broker keeps for itself: sealed values, the data key, the key file, the record files and what is in them.
 * Only what was written opens, under what it was written for; of a damaged file an older record comes back or none,
 * never a third thing. */
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "fake.h"
#include "file.h"
#include "fuzz.h"
#include "key.h"
#include "log.h"
#include "mark.h"
#include "slot.h"
#include "test_folder.h"
#include "vault.h"

static struct {
    struct rb_test_folder folder;
    struct rb_fake_random random;
    struct rb_vault *vault;
    struct rb_disk memory;
    struct rb_str record;
    bool written;
} host;

static const char key[RB_KEY_BYTES] = "0123456789abcdef0123456789abcde";

static enum rb_status memory_read(struct rb_disk *disk, enum rb_record record, struct rb_str *out, struct rb_error *err)
{
    if (!host.written)
        return rb_fail(err, RB_NOT_FOUND, "never written");
    rb_str_add_span(out, rb_str_span(&host.record));
    return RB_OK;
}

static enum rb_status memory_write(struct rb_disk *disk, enum rb_record record, struct rb_span bytes)
{
    if (bytes.len > RB_RECORD_MAX)
        return RB_FULL;
    rb_str_reset(&host.record);
    rb_str_add_span(&host.record, bytes);
    host.written = true;
    return RB_OK;
}

static void stop(void)
{
    rb_vault_free(host.vault);
    rb_str_free(&host.record);
    rb_test_folder_remove(&host.folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    rb_log_set_level(RB_LOG_OFF);
    FUZZ_CHECK(sodium_init() >= 0);
    rb_test_folder_make(&host.folder);
    rb_fake_random_init(&host.random, 1);
    host.memory = (struct rb_disk){.read = memory_read, .write = memory_write};
    FUZZ_CHECK(rb_vault_open_with_key((struct rb_span){key, sizeof key}, (struct rb_span){0}, &host.random.random,
                                      &host.vault, NULL) == RB_OK);
    atexit(stop);
    return 0;
}

/* --- sealed values --- */

struct label {
    char uid[16], chain[16];
    char *url, *username;
    struct rb_seal seal;
};

static char *text_of(struct rb_span *input)
{
    struct rb_span text = fuzz_until(input, 0);
    char *copy = strndup(text.len ? text.at : "", text.len);
    FUZZ_CHECK(copy);
    return copy;
}

static void take_label(struct rb_span *input, struct label *ret)
{
    static const char *const columns[] = {"refresh_token", "access_token", "password"};
    uint8_t shape = fuzz_byte(input);
    *ret = (struct label){.url = text_of(input), .username = text_of(input)};
    struct rb_span uid = fuzz_take(input, 16), chain = fuzz_take(input, shape & 1 ? 16 : 0);
    if (uid.len)
        memcpy(ret->uid, uid.at, uid.len);
    if (chain.len)
        memcpy(ret->chain, chain.at, chain.len);
    ret->seal = (struct rb_seal){.account_uid = {ret->uid, 16},
                                 .relay_url = ret->url,
                                 .username = ret->username,
                                 .chain_uid = {ret->chain, shape & 1 ? 16 : 0},
                                 .generation = fuzz_byte(input),
                                 .column = columns[shape / 2 % 3]};
}

static void free_label(struct label *label)
{
    free(label->url);
    free(label->username);
}

static bool is_same(const struct rb_seal *a, const struct rb_seal *b)
{
    return rb_span_equal(a->account_uid, b->account_uid) && rb_span_equal(a->chain_uid, b->chain_uid) &&
           strcmp(a->relay_url, b->relay_url) == 0 && strcmp(a->username, b->username) == 0 &&
           strcmp(a->column, b->column) == 0 && a->generation == b->generation;
}

/* Opens as what was sealed, or not at all. */
static void check_unseal(const struct rb_seal *seal, struct rb_span sealed, bool opens, struct rb_span plain)
{
    struct rb_secret *secret = NULL;
    enum rb_status status = rb_vault_unseal(host.vault, seal, sealed, &secret);
    FUZZ_CHECK(status == (opens ? RB_OK : RB_CORRUPT) && !secret == !opens);
    FUZZ_CHECK(!opens || rb_secret_equal(secret, plain));
    rb_secret_free(secret);
}

static void damage(struct rb_str *bytes, struct rb_span *input)
{
    size_t at = (size_t)fuzz_byte(input) << 8;
    at |= fuzz_byte(input);
    uint8_t kind = fuzz_byte(input);
    if (kind & 1 && bytes->len)
        bytes->len = at % bytes->len;
    else if (kind & 2)
        rb_str_append(bytes, &kind, 1);
    else if (bytes->len)
        bytes->at[at % bytes->len] ^= (char)(kind ? kind : 1);
}

static void check_sealing(struct rb_span input)
{
    struct label label, other;
    RB_CLEANUP_STR struct rb_str sealed = RB_STR_INIT, damaged = RB_STR_INIT;
    take_label(&input, &label);
    take_label(&input, &other);
    struct rb_span how = fuzz_take(&input, 3), plain = input;
    FUZZ_CHECK(rb_vault_seal(host.vault, &label.seal, plain, &sealed) == RB_OK && sealed.len > plain.len);
    FUZZ_CHECK(plain.len < 8 || !fuzz_has(rb_str_span(&sealed), plain));
    check_unseal(&label.seal, rb_str_span(&sealed), true, plain);
    check_unseal(&other.seal, rb_str_span(&sealed), is_same(&label.seal, &other.seal), plain);
    rb_str_add_span(&damaged, rb_str_span(&sealed));
    damage(&damaged, &how);
    check_unseal(&label.seal, rb_str_span(&damaged), false, plain);
    check_unseal(&label.seal, plain, false, plain);
    free_label(&label);
    free_label(&other);
}

static void check_data_key(struct rb_span input)
{
    struct rb_vault *vault = NULL;
    struct rb_error err = {0};
    RB_CLEANUP_STR struct rb_str damaged = RB_STR_INIT;
    rb_str_add_span(&damaged, rb_vault_sealed_key(host.vault));
    FUZZ_CHECK(rb_vault_open_with_key((struct rb_span){key, sizeof key}, rb_str_span(&damaged), &host.random.random,
                                      &vault, &err) == RB_OK);
    rb_vault_free(vault);
    vault = NULL;
    if (fuzz_byte(&input) & 1) {
        damage(&damaged, &input);
    } else {
        rb_str_reset(&damaged);
        rb_str_add(&damaged, "x");
        rb_str_add_span(&damaged, input);
    }
    if (!damaged.len)
        return;
    FUZZ_CHECK(rb_vault_open_with_key((struct rb_span){key, sizeof key}, rb_str_span(&damaged), &host.random.random,
                                      &vault, &err) == RB_DENIED);
    FUZZ_CHECK(!vault && err.text[0]);
}

static bool is_key(struct rb_span text)
{
    for (size_t i = 0; i < text.len && i < 2 * RB_KEY_BYTES; i++)
        if (rb_hex_digit(text.at[i]) < 0)
            return false;
    return text.len == 2 * RB_KEY_BYTES || (text.len == 2 * RB_KEY_BYTES + 1 && text.at[text.len - 1] == '\n');
}

static void check_key_file(struct rb_span input)
{
    const char *source = NULL, *folder = rb_test_path(&host.folder, "k");
    struct rb_secret *secret = NULL;
    struct rb_error err = {0};
    FUZZ_CHECK(rb_folder_make(folder, &err) == RB_OK);
    rb_test_write(rb_test_path(&host.folder, "k/key"), input);
    enum rb_status status = rb_key_load(folder, NULL, false, &secret, &source, &err);
    FUZZ_CHECK(status == (is_key(input) ? RB_OK : RB_CORRUPT) && !secret == (status != RB_OK));
    if (secret) {
        RB_CLEANUP_STR struct rb_str hex = RB_STR_INIT;
        for (size_t i = 0; i < RB_KEY_BYTES; i++)
            rb_str_addf(&hex, "%02x", (unsigned char)rb_secret_span(secret).at[i]);
        FUZZ_CHECK(rb_span_is_nocase((struct rb_span){input.at, 2 * RB_KEY_BYTES}, hex.at));
    }
    rb_secret_free(secret);
}

/* --- record files --- */

/* Writes over the file at places that matter: the heads of both halves and what follows them. */
static void damage_file(const char *path, struct rb_span *input)
{
    enum { BLOCK = 4096, HALF = BLOCK + RB_RECORD_MAX };
    RB_CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC);
    FUZZ_CHECK(fd >= 0);
    for (int i = 0; i < 4 && input->len; i++) {
        uint8_t where = fuzz_byte(input), offset = fuzz_byte(input);
        struct rb_span bytes = fuzz_take(input, fuzz_byte(input) % 64);
        int64_t at = (where & 1 ? HALF : 0) + (where & 2 ? BLOCK : 0) + offset;
        if (where == UINT8_MAX)
            FUZZ_CHECK(ftruncate(fd, offset * INT64_C(700)) == 0);
        else if (bytes.len)
            FUZZ_CHECK(rb_file_write_at(fd, bytes, at) == RB_OK);
    }
}

static struct rb_disk *open_disk(struct rb_file_disk **ret)
{
    struct rb_error err = {0};
    enum rb_status status =
        rb_file_disk_new(rb_test_path(&host.folder, "s"), rb_test_path(&host.folder, "c"), ret, &err);
    FUZZ_CHECK(status == RB_OK);
    struct rb_disk *disk = rb_file_disk_port(*ret);
    FUZZ_CHECK(disk->open(disk, &err) == RB_OK);
    return disk;
}

static void check_reads(struct rb_disk *disk, enum rb_record record, struct rb_span bytes)
{
    RB_CLEANUP_STR struct rb_str read = RB_STR_INIT;
    FUZZ_CHECK(disk->read(disk, record, &read, NULL) == RB_OK && rb_span_equal(rb_str_span(&read), bytes));
}

static void check_record_file(struct rb_span input)
{
    uint8_t how = fuzz_byte(&input);
    enum rb_record record = how & 1 ? RB_RECORD_SLOT : RB_RECORD_COUNTER;
    const char *path = rb_test_path(&host.folder, record == RB_RECORD_SLOT ? "s/slot" : "c/counter");
    struct rb_span older = fuzz_take(&input, fuzz_byte(&input)), newer = fuzz_take(&input, fuzz_byte(&input));
    struct rb_file_disk *files;
    struct rb_error err = {0};
    RB_CLEANUP_STR struct rb_str read = RB_STR_INIT;
    unlink(path);
    struct rb_disk *disk = open_disk(&files);
    FUZZ_CHECK(disk->read(disk, record, &read, &err) == RB_NOT_FOUND);
    if (how & 2)
        FUZZ_CHECK(disk->write(disk, record, older) == RB_OK);
    FUZZ_CHECK(disk->write(disk, record, newer) == RB_OK);
    check_reads(disk, record, newer);
    rb_file_disk_free(files);
    damage_file(path, &input);
    disk = open_disk(&files);
    enum rb_status status = disk->read(disk, record, &read, &err);
    if (status == RB_OK)
        FUZZ_CHECK(rb_span_equal(rb_str_span(&read), newer) || (how & 2 && rb_span_equal(rb_str_span(&read), older)));
    else
        FUZZ_CHECK((status == RB_CORRUPT || (status == RB_NOT_FOUND && !(how & 2))) && err.text[0]);
    FUZZ_CHECK(disk->write(disk, record, older) == RB_OK);
    check_reads(disk, record, older);
    rb_file_disk_free(files);
    disk = open_disk(&files);
    check_reads(disk, record, older);
    rb_file_disk_free(files);
}

/* --- what the records hold --- */

static uint64_t number_at(const char *at)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | (unsigned char)at[i];
    return number;
}

/* The newest entry of the chain in a whole record of slots; false: none, an empty one, or the record is no such thing. */
static bool slot_in(struct rb_span bytes, const unsigned char *uid, int64_t *ret_generation, struct rb_span *ret)
{
    bool found = false;
    if (bytes.len && fuzz_byte(&bytes) != 1)
        return false;
    while (bytes.len) {
        struct rb_span head = fuzz_take(&bytes, 32);
        if (head.len < 32 || number_at(head.at + 16) > INT64_MAX || number_at(head.at + 24) > bytes.len)
            return false;
        struct rb_span sealed = fuzz_take(&bytes, (size_t)number_at(head.at + 24));
        if (memcmp(head.at, uid, 16) != 0)
            continue;
        found = sealed.len > 0;
        *ret_generation = (int64_t)number_at(head.at + 16);
        *ret = sealed;
    }
    return found;
}

static void check_slot(const struct rb_slots *slots, struct rb_span record, const unsigned char *uid)
{
    int64_t generation = 0, expected = 0;
    struct rb_span sealed = {0}, wanted = {0};
    bool found = rb_slots_find(slots, uid, &generation, &sealed);
    FUZZ_CHECK(found == slot_in(record, uid, &expected, &wanted));
    FUZZ_CHECK(!found || (generation == expected && rb_span_equal(sealed, wanted)));
}

static void check_slots(struct rb_span input)
{
    static const unsigned char fresh[16] = "a chain of ours";
    unsigned char first[16] = {0};
    struct rb_slots *slots = NULL;
    if (input.len >= 17)
        memcpy(first, input.at + 1, 16);
    memory_write(&host.memory, RB_RECORD_SLOT, input);
    FUZZ_CHECK(rb_slots_new(&host.memory, &slots, NULL) == RB_OK);
    check_slot(slots, input, first);
    check_slot(slots, input, fresh);
    enum rb_status status = rb_slots_write(slots, fresh, 7, RB_SPAN("sealed"));
    FUZZ_CHECK(status == RB_OK || status == RB_FULL);
    if (status == RB_OK) {
        struct rb_slots *again = NULL;
        FUZZ_CHECK(rb_slots_new(&host.memory, &again, NULL) == RB_OK);
        check_slot(slots, rb_str_span(&host.record), first);
        check_slot(again, rb_str_span(&host.record), first);
        check_slot(again, rb_str_span(&host.record), fresh);
        rb_slots_free(again);
    }
    rb_slots_drop(slots, first);
    rb_slots_flush(slots);
    rb_slots_free(slots);
}

static bool all_of_first(void *arg, const unsigned char *uid)
{
    return memcmp(arg, uid, 16) == 0;
}

static void check_marks(struct rb_span input)
{
    unsigned char first[16] = {0};
    int64_t mark = -1, last = -1;
    struct rb_marks *marks = NULL, *again = NULL;
    struct rb_error err = {0};
    bool good = input.len && input.at[0] == 1 && (input.len - 1) % 24 == 0;
    for (size_t i = 1; good && i < input.len; i += 24)
        good = number_at(input.at + i + 16) <= INT64_MAX;
    memory_write(&host.memory, RB_RECORD_COUNTER, input);
    enum rb_status status = rb_marks_new(&host.memory, &marks, &err);
    FUZZ_CHECK(status == (good ? RB_OK : RB_CORRUPT) && !marks == !good);
    if (!good)
        return;
    if (input.len > 1)
        memcpy(first, input.at + 1, 16);
    for (size_t i = 1; i < input.len; i += 24)
        if (memcmp(input.at + i, first, 16) == 0)
            last = (int64_t)number_at(input.at + i + 16);
    FUZZ_CHECK(rb_marks_find(marks, first, &mark) == (last >= 0) && mark == last);
    FUZZ_CHECK(rb_marks_write(marks, first, 5) == RB_OK && rb_marks_new(&host.memory, &again, &err) == RB_OK);
    FUZZ_CHECK(rb_marks_find(again, first, &mark) && mark == 5 && host.record.len <= input.len + 24);
    rb_marks_prune(again, all_of_first, first);
    FUZZ_CHECK(rb_marks_find(again, first, &mark) && mark == 5);
    rb_marks_forget(again, first);
    FUZZ_CHECK(!rb_marks_find(again, first, &mark));
    rb_marks_free(again);
    rb_marks_free(marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(struct rb_span input) = {check_sealing,     check_data_key, check_key_file,
                                                           check_record_file, check_slots,    check_marks};
    struct rb_span input = {(const char *)data, size};
    checks[fuzz_byte(&input) % (sizeof checks / sizeof checks[0])](input);
    return 0;
}
