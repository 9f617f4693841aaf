/* The Python client's credentials file, as import takes it: whatever bytes it has, what is taken is fit for a header
 * and a URL, and what is put in its place reads back. */
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "import_file.h"
#include "json_span.h"
#include "log.h"
#include "placeholder.h"
#include "test_folder.h"
#include "url.h"

static struct rb_test_folder folder;

static void remove_folder(void)
{
    rb_test_folder_remove(&folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    FUZZ_CHECK(sodium_init() >= 0);
    rb_log_set_level(RB_LOG_OFF);
    rb_test_folder_make(&folder);
    atexit(remove_folder);
    return 0;
}

static bool is_visible(struct rb_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < '!' || text.at[i] > '~')
            return false;
    return text.len > 0;
}

/* The member, by a reader that is not the one under test. */
static void check_member(struct rb_span bytes, const char *name, struct rb_span taken)
{
    struct rb_json_value object, value;
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
    FUZZ_CHECK(rb_json_check(bytes, RB_JSON_LEVELS, &object, NULL) == RB_JSON_FINE);
    FUZZ_CHECK(rb_json_member(object, name, &value) && rb_json_string(value, &text) == RB_OK);
    FUZZ_CHECK(rb_span_equal(rb_str_span(&text), taken));
}

static void check_taken(const struct rb_import_file *file, struct rb_span bytes)
{
    struct rb_span token = rb_import_token(file), url = rb_span_of(rb_import_relay_url(file));
    struct rb_error err = {0};
    unsigned char id[RB_SESSION_ID_BYTES];
    char *normal = NULL;
    FUZZ_CHECK(is_visible(token) && token.len <= 512 && is_visible(url) && url.len <= 512);
    FUZZ_CHECK(rb_placeholder_refresh_shape(token) && rb_placeholder_refresh_id(token, id));
    check_member(bytes, "refresh_token", token);
    check_member(bytes, "relay_url", url);
    if (rb_url_normalise(url.at, true, &normal, &err) == RB_OK) {
        char *again = NULL;
        FUZZ_CHECK(rb_url_normalise(normal, true, &again, &err) == RB_OK && strcmp(normal, again) == 0);
        free(again);
    } else {
        FUZZ_CHECK(err.text[0]);
    }
    free(normal);
}

/* Moved aside, put anew with the same content, read again, forgotten. */
static void check_moving(struct rb_import_file *file)
{
    struct rb_error err = {0};
    RB_CLEANUP_STR struct rb_str url = RB_STR_INIT, token = RB_STR_INIT;
    rb_str_add(&url, rb_import_relay_url(file));
    rb_str_add_span(&token, rb_import_token(file));
    FUZZ_CHECK(rb_import_put(file, url.at, rb_str_span(&token), &err) == RB_EXISTS);
    FUZZ_CHECK(rb_import_move_aside(file, &err) == RB_OK && rb_import_read(file, &err) == RB_NOT_FOUND);
    FUZZ_CHECK(rb_import_put(file, url.at, rb_str_span(&token), &err) == RB_OK && rb_import_read(file, &err) == RB_OK);
    FUZZ_CHECK(rb_span_is(rb_str_span(&url), rb_import_relay_url(file)));
    FUZZ_CHECK(rb_span_equal(rb_str_span(&token), rb_import_token(file)));
    FUZZ_CHECK(rb_import_forget(file, &err) == RB_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = rb_test_path(&folder, "credentials.json"),
               *aside = rb_test_path(&folder, "credentials.json.imported");
    struct rb_span bytes = {(const char *)data, size};
    struct rb_import_file *file = NULL;
    struct rb_error err = {0};
    rb_test_write(path, bytes);
    enum rb_status status = rb_import_open(path, &file, &err);
    if (status == RB_OK) {
        check_taken(file, bytes);
        check_moving(file);
    } else {
        FUZZ_CHECK(status == RB_INVALID || status == RB_EXISTS || status == RB_FULL);
        FUZZ_CHECK(err.status == status && err.text[0] && !file);
    }
    FUZZ_CHECK(access(aside, F_OK) != 0);
    rb_import_free(file);
    return 0;
}
