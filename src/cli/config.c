#include "config_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "address.h"
#include "config_text.h"
#include "file.h"

enum { FILE_MAX_BYTES = 1 << 20, OPTIONS_MAX = 32 };

/* libConfuse hands no argument to its callbacks: the reading under way. */
static struct reading {
    struct rb_config *config;
    const char *path;
    struct rb_error *err; /* never NULL; the first failure stays */
} * reading;

/* A failure at the line that is being read. */
static int refuse(cfg_t *cfg, const char *sentence)
{
    if (reading->err->status == RB_OK)
        rb_fail(reading->err, RB_INVALID, "%s:%d: %s.", reading->path, cfg->line, sentence);
    return -1;
}

/* --- values --- */

char **rb_config_strings(const cfg_opt_t *opt)
{
    unsigned count = opt->nvalues;
    char **strings = calloc(count + 1, sizeof *strings);
    for (unsigned i = 0; strings && i < count; i++) {
        strings[i] = strdup(opt->values[i]->string ? opt->values[i]->string : "");
        if (!strings[i]) {
            rb_config_strings_free(strings);
            return NULL;
        }
    }
    return strings;
}

void rb_config_strings_free(char **strings)
{
    for (char **at = strings; at && *at; at++)
        free(*at);
    free(strings);
}

enum rb_status rb_config_check_listen(const cfg_opt_t *opt, struct rb_error *err)
{
    for (unsigned i = 0; i < opt->nvalues; i++) {
        struct rb_address address;
        const char *text = opt->values[i]->string;
        struct rb_error why = {0};
        enum rb_status status = rb_address_read(text ? text : "", &address, &why);
        if (status != RB_OK)
            return rb_fail(err, status, "%s: %s", opt->name, why.text);
    }
    return RB_OK;
}

static enum rb_status take_choice(const struct rb_config_key *key, const char *text, int64_t *ret, struct rb_error *err)
{
    RB_CLEANUP_STR struct rb_str allowed = RB_STR_INIT;
    for (int64_t i = 0; key->words[i]; i++) {
        if (strcmp(key->words[i], text) == 0) {
            *ret = i;
            return RB_OK;
        }
        rb_str_addf(&allowed, "%s%s", i ? ", " : "", key->words[i]);
    }
    return rb_fail(err, RB_INVALID, "%s is one of %s, not \"%s\"", key->name, allowed.at, text);
}

static enum rb_status take(const struct rb_config_key *key, const cfg_opt_t *opt, void *at, struct rb_error *err)
{
    const char *text = opt->nvalues && opt->values[0]->string ? opt->values[0]->string : "";
    if (key->kind == RB_CONFIG_LIST) {
        char **strings = rb_config_check_listen(opt, err) == RB_OK ? rb_config_strings(opt) : NULL;
        if (!strings)
            return err->status ? err->status : rb_fail(err, RB_NO_MEMORY, "there is not enough memory");
        rb_config_strings_free(*(char ***)at);
        *(char ***)at = strings;
        return RB_OK;
    }
    if (key->kind == RB_CONFIG_CHOICE)
        return take_choice(key, text, at, err);
    if (key->kind == RB_CONFIG_TEXT) {
        char *copy = *text ? strdup(text) : NULL;
        if (!copy)
            return rb_fail(err, RB_INVALID, "%s must not be empty", key->name);
        free(*(char **)at);
        *(char **)at = copy;
        return RB_OK;
    }
    if (rb_span_to_i64(rb_span_of(text), key->min, key->max, at) == RB_OK)
        return RB_OK;
    return rb_fail(err, RB_INVALID, "%s is a whole number from %lld to %lld, not \"%s\"", key->name,
                   (long long)key->min, (long long)key->max, text);
}

static bool in_section(const struct rb_config_key *key, const char *section)
{
    return key->section ? section && strcmp(key->section, section) == 0 : !section;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
    const char *section = strcmp(cfg->name, "root") == 0 ? NULL : cfg->name;
    struct rb_error why = {0};
    for (const struct rb_config_key *key = rb_config_keys; key->name; key++)
        if (in_section(key, section) && strcmp(key->name, opt->name) == 0)
            return take(key, opt, (char *)reading->config + key->offset, &why) == RB_OK ? 0 : refuse(cfg, why.text);
    return 0;
}

/* Checks while the line is known; the door itself is made once its section has been read. */
static int on_door_value(cfg_t *cfg, cfg_opt_t *opt)
{
    struct rb_config_door scratch = {0};
    struct rb_error why = {0};
    enum rb_status status = rb_config_door_take(&scratch, opt, &why);
    rb_config_door_free(&scratch);
    return status == RB_OK ? 0 : refuse(cfg, why.text);
}

static enum rb_status make_door(cfg_t *cfg, struct rb_error *why)
{
    struct rb_config_door *door;
    enum rb_status status = rb_config_door_begin(reading->config, cfg_title(cfg), &door, why);
    bool uids_said = false, group_said = false;
    for (cfg_opt_t *opt = cfg->opts; status == RB_OK && opt->name; opt++) {
        if (!opt->nvalues && !(opt->flags & CFGF_MODIFIED))
            continue;
        uids_said |= strcmp(opt->name, "uids") == 0;
        group_said |= strcmp(opt->name, "group") == 0;
        status = rb_config_door_take(door, opt, why);
    }
    return status == RB_OK ? rb_config_door_end(door, uids_said, group_said, why) : status;
}

static int on_door(cfg_t *cfg, cfg_opt_t *opt)
{
    struct rb_error why = {0};
    cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    return make_door(section, &why) == RB_OK ? 0 : refuse(cfg, why.text);
}

/* --- the file --- */

static void on_error(cfg_t *cfg, const char *format, va_list args)
{
    if (reading->err->status != RB_OK)
        return;
    char text[RB_ERROR_MAX];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(text, sizeof text, format, args);
#pragma GCC diagnostic pop
    if (strncmp(text, "no such option", 14) != 0) {
        refuse(cfg, text);
        return;
    }
    RB_CLEANUP_STR struct rb_str sentence = RB_STR_INIT;
    const char *name = strchr(text, '\''), *end = name ? strrchr(text, '\'') : NULL;
    rb_str_add(&sentence, "there is no key ");
    if (end && end > name)
        rb_str_append(&sentence, name + 1, (size_t)(end - name - 1));
    rb_str_addf(&sentence, " in %s%s; there is", strcmp(cfg->name, "root") == 0 ? "the top level" : "section ",
                strcmp(cfg->name, "root") == 0 ? "" : cfg->name);
    for (cfg_opt_t *opt = cfg->opts; opt->name; opt++)
        rb_str_addf(&sentence, "%s %s", opt == cfg->opts ? "" : ",", opt->name);
    refuse(cfg, rb_str_failed(&sentence) ? text : sentence.at);
}

/* The rows of one section as libConfuse's options. Everything is read as text: kinds and ranges are the table's. */
static void fill_options(cfg_opt_t *options, const char *section)
{
    size_t count = 0;
    for (const struct rb_config_key *key = rb_config_keys; key->name; key++) {
        if (!in_section(key, section))
            continue;
        cfg_opt_t text = CFG_STR(key->name, NULL, CFGF_NODEFAULT);
        cfg_opt_t list = CFG_STR_LIST(key->name, NULL, CFGF_NODEFAULT);
        options[count] = key->kind == RB_CONFIG_LIST ? list : text;
        options[count++].validcb = on_value;
    }
    options[count] = (cfg_opt_t)CFG_END();
}

static void fill_door_options(cfg_opt_t *options)
{
    size_t count = 0;
    for (const char *const *name = rb_config_door_keys; *name; name++) {
        options[count] = (cfg_opt_t)CFG_STR_LIST(*name, NULL, CFGF_NODEFAULT);
        options[count++].validcb = on_door_value;
    }
    options[count] = (cfg_opt_t)CFG_END();
}

/* An empty list is a value that libConfuse does not show to on_value. */
static void take_empty_lists(cfg_t *cfg, struct rb_error *err)
{
    for (const struct rb_config_key *key = rb_config_keys; key->name; key++) {
        cfg_opt_t *opt = key->kind == RB_CONFIG_LIST && !key->section ? cfg_getopt(cfg, key->name) : NULL;
        if (opt && (opt->flags & CFGF_MODIFIED) && !opt->nvalues)
            take(key, opt, (char *)reading->config + key->offset, err);
    }
}

static enum rb_status parse(const struct rb_str *text, const char *path, struct rb_error *err)
{
    static const char *const sections[] = {"limits", "outbox", "inbox", "relay"};
    enum { SECTIONS = sizeof sections / sizeof sections[0] };
    cfg_opt_t inner[SECTIONS][OPTIONS_MAX], door[OPTIONS_MAX], top[OPTIONS_MAX];
    fill_options(top, NULL);
    size_t count = 0;
    while (top[count].name)
        count++;
    for (size_t i = 0; i < SECTIONS; i++) {
        fill_options(inner[i], sections[i]);
        top[count++] = (cfg_opt_t)CFG_SEC(sections[i], inner[i], CFGF_NONE);
    }
    fill_door_options(door);
    top[count] = (cfg_opt_t)CFG_SEC("door", door, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    top[count++].validcb = on_door;
    top[count] = (cfg_opt_t)CFG_END();
    cfg_t *cfg = cfg_init(top, CFGF_NONE);
    if (!cfg)
        return rb_fail(err, RB_NO_MEMORY, "%s: there is not enough memory to read it.", path);
    cfg_set_error_function(cfg, on_error);
    int ends = cfg_parse_buf(cfg, text->len ? text->at : "");
    if (ends == CFG_SUCCESS)
        take_empty_lists(cfg, err);
    cfg_free(cfg);
    if (ends == CFG_SUCCESS && err->status == RB_OK)
        return RB_OK;
    return err->status != RB_OK ? err->status : rb_fail(err, RB_INVALID, "%s cannot be understood.", path);
}

static enum rb_status read_file(const char *path, struct rb_str *out, struct rb_error *err)
{
    RB_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat found;
    if (fd < 0 || fstat(fd, &found) != 0)
        return rb_fail(err, rb_file_status(errno), "The configuration %s cannot be read: %s.", path, strerror(errno));
    if (!S_ISREG(found.st_mode))
        return rb_fail(err, RB_INVALID, "The configuration %s is %s, not a file.", path,
                       S_ISDIR(found.st_mode) ? "a folder" : "something special");
    if (found.st_uid != 0 && found.st_uid != geteuid())
        return rb_fail(err, RB_DENIED, "The configuration %s belongs to uid %u: it must be root's or your own.", path,
                       found.st_uid);
    if (found.st_mode & (S_IWGRP | S_IWOTH))
        return rb_fail(err, RB_DENIED, "The configuration %s can be changed by others: take that away with chmod go-w.",
                       path);
    enum rb_status status = rb_file_read(fd, FILE_MAX_BYTES, out);
    if (status == RB_FULL)
        return rb_fail(err, RB_INVALID, "The configuration %s is larger than 1 MiB.", path);
    return status == RB_OK
               ? rb_config_text_clean(out, path, err)
               : rb_fail(err, status, "The configuration %s cannot be read: %s.", path, rb_status_text(status));
}

enum rb_status rb_config_read(struct rb_config *config, const char *path, struct rb_error *err)
{
    struct rb_error local = {0};
    err = err ? err : &local;
    *err = (struct rb_error){0};
    RB_CLEANUP_STR struct rb_str text = RB_STR_INIT;
    enum rb_status status = read_file(path, &text, err);
    if (status != RB_OK)
        return status;
    struct reading now = {config, path, err};
    reading = &now;
    status = parse(&text, path, err);
    reading = NULL;
    return status;
}

void rb_config_free(struct rb_config *config)
{
    free(config->state);
    free(config->keys);
    rb_config_strings_free(config->listen);
    for (size_t i = 0; i < config->door_count; i++)
        rb_config_door_free(&config->doors[i]);
    free(config->doors);
    *config = (struct rb_config){0};
}
