/* The configuration file: what is taken keeps to the table's ranges, and written out it is read as the same again; what
 * is not is refused with a sentence. The doors are opened as the daemon does, without their addresses. */
#include <string.h>

#include "address.h"
#include "config.h"
#include "doors.h"
#include "fuzz.h"
#include "log.h"
#include "test_folder.h"

static struct rb_test_folder folder;

static void remove_folder(void)
{
    rb_test_folder_remove(&folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    rb_log_set_level(RB_LOG_OFF);
    rb_test_folder_make(&folder);
    atexit(remove_folder);
    return 0;
}

static const void *place_of(const struct rb_config *config, const struct rb_config_key *key)
{
    return (const char *)config + key->offset;
}

static int64_t number_at(const struct rb_config *config, const struct rb_config_key *key)
{
    int64_t number;
    memcpy(&number, place_of(config, key), sizeof number);
    return number;
}

static void check_listen(char *const *listen)
{
    for (; listen && *listen; listen++) {
        struct rb_address address;
        FUZZ_CHECK(rb_address_read(*listen, &address, NULL) == RB_OK);
        FUZZ_CHECK(address.path ? address.path[0] == '/' : address.port >= 0 && address.port <= 65535 && *address.host);
    }
}

static void check_config(const struct rb_config *config)
{
    for (const struct rb_config_key *key = rb_config_keys; key->name; key++) {
        if (key->kind == RB_CONFIG_INTEGER)
            FUZZ_CHECK(number_at(config, key) >= key->min && number_at(config, key) <= key->max);
        if (key->kind == RB_CONFIG_CHOICE) {
            int64_t words = 0;
            while (key->words[words])
                words++;
            FUZZ_CHECK(number_at(config, key) >= 0 && number_at(config, key) < words);
        }
    }
    FUZZ_CHECK((!config->state || *config->state) && (!config->keys || *config->keys));
    check_listen(config->listen);
    for (size_t i = 0; i < config->door_count; i++) {
        const struct rb_config_door *door = &config->doors[i];
        bool is_default = strcmp(door->door.name, "default") == 0;
        FUZZ_CHECK(*door->door.name && strcmp(door->door.name, "admin") != 0);
        FUZZ_CHECK(is_default ? !door->listen : door->listen && *door->listen);
        FUZZ_CHECK((door->door.wire || door->door.broker) && door->socket_mode <= 0777);
        check_listen(door->listen);
        for (size_t k = 0; k < i; k++)
            FUZZ_CHECK(strcmp(config->doors[k].door.name, door->door.name) != 0);
    }
}

/* --- written out --- */

static void add_quoted(struct rb_str *out, const char *text)
{
    rb_str_add(out, "'");
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            rb_str_add(out, "\\");
        rb_str_append(out, text, 1);
    }
    rb_str_add(out, "'");
}

static void add_list(struct rb_str *out, const char *name, char *const *strings)
{
    if (!strings)
        return;
    rb_str_addf(out, "%s = {", name);
    for (size_t i = 0; strings[i]; i++) {
        rb_str_add(out, i ? ", " : "");
        add_quoted(out, strings[i]);
    }
    rb_str_add(out, "}\n");
}

static void add_key(struct rb_str *out, const struct rb_config *config, const struct rb_config_key *key)
{
    if (key->kind == RB_CONFIG_LIST) {
        add_list(out, key->name, *(char *const *const *)place_of(config, key));
    } else if (key->kind == RB_CONFIG_TEXT) {
        const char *text = *(const char *const *)place_of(config, key);
        if (!text)
            return;
        rb_str_addf(out, "%s = ", key->name);
        add_quoted(out, text);
        rb_str_add(out, "\n");
    } else if (key->kind == RB_CONFIG_CHOICE) {
        rb_str_addf(out, "%s = %s\n", key->name, key->words[number_at(config, key)]);
    } else {
        rb_str_addf(out, "%s = %lld\n", key->name, (long long)number_at(config, key));
    }
}

static void add_door(struct rb_str *out, const struct rb_config_door *config)
{
    const struct rb_door *door = &config->door;
    rb_str_addf(out, "door %s {\n", door->name);
    add_list(out, "listen", config->listen);
    rb_str_add(out, "uids = {");
    for (size_t i = 0; i < door->uid_count && !door->any_uid; i++)
        rb_str_addf(out, "%s%u", i ? "," : "", door->uids[i]);
    rb_str_add(out, door->any_uid ? "any}\ngroup = " : "}\ngroup = ");
    if (door->group == (gid_t)-1)
        rb_str_add(out, "none\n");
    else
        rb_str_addf(out, "%u\n", door->group);
    add_list(out, "accounts", door->accounts);
    add_list(out, "post_topics", door->post_topics);
    add_list(out, "poll_topics", door->poll_topics);
    rb_str_addf(out, "faces = {%s%s%s}\ntopic_changes = %s\nsocket_mode = %04o\n}\n", door->wire ? "wire" : "",
                door->wire && door->broker ? ", " : "", door->broker ? "broker" : "",
                door->topic_changes ? "true" : "false", config->socket_mode);
}

static void add_section(struct rb_str *out, const struct rb_config *config, const char *section)
{
    if (section)
        rb_str_addf(out, "%s {\n", section);
    for (const struct rb_config_key *key = rb_config_keys; key->name; key++)
        if (section ? key->section && strcmp(section, key->section) == 0 : !key->section)
            add_key(out, config, key);
    if (section)
        rb_str_add(out, "}\n");
}

static void write_out(struct rb_str *out, const struct rb_config *config)
{
    static const char *const sections[] = {NULL, "limits", "outbox", "inbox", "relay"};
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        add_section(out, config, sections[i]);
    for (size_t i = 0; i < config->door_count; i++)
        add_door(out, &config->doors[i]);
}

static void check_round_trip(const struct rb_config *config)
{
    const char *path = rb_test_path(&folder, "again.conf");
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT, again = RB_STR_INIT;
    struct rb_config copy;
    struct rb_error err = {0};
    write_out(&text, config);
    rb_test_write(path, rb_str_span(&text));
    rb_config_init(&copy);
    enum rb_status status = rb_config_read(&copy, path, &err);
    if (status != RB_OK)
        fprintf(stderr, "%s\n%.*s\n", err.text, (int)text.len, text.at);
    FUZZ_CHECK(status == RB_OK);
    write_out(&again, &copy);
    FUZZ_CHECK(rb_span_equal(rb_str_span(&text), rb_str_span(&again)));
    rb_config_free(&copy);
}

/* --- the doors --- */

static void without_addresses(char ***listen)
{
    for (char **at = *listen; at && *at; at++)
        free(*at);
    free(*listen);
    *listen = calloc(1, sizeof **listen);
    FUZZ_CHECK(*listen);
}

static void check_doors(struct rb_config *config)
{
    const struct rb_texts none = {.count = 0};
    struct rb_doors *doors = NULL;
    struct rb_error err = {0};
    size_t configured = config->door_count, count;
    bool has_default = false;
    without_addresses(&config->listen);
    for (size_t i = 0; i < configured; i++) {
        has_default |= strcmp(config->doors[i].door.name, "default") == 0;
        without_addresses(&config->doors[i].listen);
    }
    FUZZ_CHECK(rb_doors_open(config, &none, rb_test_path(&folder, "admin.sock"), &doors, &err) == RB_OK);
    const struct rb_door *const *list = rb_doors_list(doors, &count);
    FUZZ_CHECK(count == configured + !has_default && strcmp(list[0]->name, "default") == 0);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(rb_door_admits((void *)(uintptr_t)list[i], 0));
        rb_door_may_post(list[i], RB_SPAN("a-topic"));
        rb_door_may_poll(list[i], RB_SPAN("topic"));
    }
    rb_doors_free(doors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = rb_test_path(&folder, "conf");
    struct rb_config config;
    struct rb_error err = {0};
    rb_test_write(path, (struct rb_span){(const char *)data, size});
    rb_config_init(&config);
    enum rb_status status = rb_config_read(&config, path, &err);
    if (status == RB_OK) {
        check_config(&config);
        check_round_trip(&config);
        check_doors(&config);
    } else {
        FUZZ_CHECK(err.status == status && fuzz_has(rb_span_of(err.text), rb_span_of(path)));
    }
    rb_config_free(&config);
    return 0;
}
