#include "config_private.h"

#include <pwd.h>

enum { USER_BUFFER = 16384, NAME_MAX_LEN = 64 };

const char *const rb_config_door_keys[] = {"listen",      "uids",  "group",         "accounts",    "post_topics",
                                           "poll_topics", "faces", "topic_changes", "socket_mode", NULL};

static const char *text_of(const cfg_opt_t *opt, unsigned i)
{
    return i < opt->nvalues && opt->values[i]->string ? opt->values[i]->string : "";
}

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_fail(err, RB_NO_MEMORY, "there is not enough memory");
}

static enum rb_status read_uid(const char *text, uid_t *ret, struct rb_error *err)
{
    int64_t number;
    if (rb_span_to_i64(rb_span_of(text), 0, UINT32_MAX - 1, &number) == RB_OK) {
        *ret = (uid_t)number;
        return RB_OK;
    }
    char buffer[USER_BUFFER];
    struct passwd user, *found = NULL;
    if (getpwnam_r(text, &user, buffer, sizeof buffer, &found) != 0 || !found)
        return rb_fail(err, RB_INVALID, "uids has numbers and user names of this host, or is any; \"%s\" is neither",
                       text);
    *ret = found->pw_uid;
    return RB_OK;
}

static enum rb_status take_uids(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err)
{
    struct rb_door *door = &to->door;
    if (opt->nvalues == 1 && strcmp(text_of(opt, 0), "any") == 0) {
        door->any_uid = true;
        return RB_OK;
    }
    uid_t *uids = calloc(opt->nvalues + 1, sizeof *uids);
    if (!uids)
        return no_memory(err);
    free(door->uids);
    door->uids = uids;
    door->any_uid = false;
    for (unsigned i = 0; i < opt->nvalues; i++) {
        enum rb_status status = read_uid(text_of(opt, i), &uids[i], err);
        if (status != RB_OK)
            return status;
    }
    door->uid_count = opt->nvalues;
    return RB_OK;
}

static enum rb_status take_group(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err)
{
    const char *text = text_of(opt, 0);
    int64_t number;
    if (opt->nvalues != 1)
        return rb_fail(err, RB_INVALID, "group is one group, or none");
    if (strcmp(text, "none") == 0)
        to->door.group = (gid_t)-1;
    else if (rb_span_to_i64(rb_span_of(text), 0, UINT32_MAX - 1, &number) == RB_OK)
        to->door.group = (gid_t)number;
    else if (!rb_door_find_group(text, &to->door.group))
        return rb_fail(err, RB_INVALID, "group is a group of this host, its number, or none; \"%s\" is neither", text);
    return RB_OK;
}

static enum rb_status take_faces(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err)
{
    bool wire = false, broker = false;
    for (unsigned i = 0; i < opt->nvalues; i++) {
        if (strcmp(text_of(opt, i), "wire") == 0)
            wire = true;
        else if (strcmp(text_of(opt, i), "broker") == 0)
            broker = true;
        else
            return rb_fail(err, RB_INVALID, "faces has wire and broker, not \"%s\"", text_of(opt, i));
    }
    if (!wire && !broker)
        return rb_fail(err, RB_INVALID, "faces needs wire, broker or both");
    to->door.wire = wire;
    to->door.broker = broker;
    return RB_OK;
}

static enum rb_status take_topic_changes(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err)
{
    const char *text = text_of(opt, 0);
    if (opt->nvalues != 1 || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
        return rb_fail(err, RB_INVALID, "topic_changes is true or false, not \"%s\"", text);
    to->door.topic_changes = *text == 't';
    return RB_OK;
}

static enum rb_status take_mode(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err)
{
    const char *text = text_of(opt, 0);
    unsigned mode = 0;
    size_t len = strlen(text);
    bool good = opt->nvalues == 1 && len >= 3 && len <= 4 && (len == 3 || text[0] == '0');
    for (size_t i = 0; good && i < len; i++) {
        good = text[i] >= '0' && text[i] <= '7';
        mode = mode * 8 + (unsigned)(text[i] - '0');
    }
    if (!good)
        return rb_fail(err, RB_INVALID, "socket_mode is an octal number like 0660, not \"%s\"", text);
    to->socket_mode = mode;
    return RB_OK;
}

static enum rb_status take_strings(char ***at, const cfg_opt_t *opt, struct rb_error *err)
{
    for (unsigned i = 0; i < opt->nvalues; i++)
        if (!*text_of(opt, i))
            return rb_fail(err, RB_INVALID, "%s must not have an empty entry", opt->name);
    char **strings = rb_config_strings(opt);
    if (!strings)
        return no_memory(err);
    rb_config_strings_free(*at);
    *at = strings;
    return RB_OK;
}

static enum rb_status take_listen(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err)
{
    enum rb_status status = rb_config_check_listen(opt, err);
    return status == RB_OK ? take_strings(&to->listen, opt, err) : status;
}

static enum rb_status take_accounts(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err)
{
    return take_strings(&to->door.accounts, opt, err);
}

static enum rb_status take_post_topics(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err)
{
    return take_strings(&to->door.post_topics, opt, err);
}

static enum rb_status take_poll_topics(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err)
{
    return take_strings(&to->door.poll_topics, opt, err);
}

static const struct {
    const char *name;
    enum rb_status (*take)(struct rb_config_door *to, const cfg_opt_t *opt, struct rb_error *err);
} takers[] = {
    {"listen", take_listen},
    {"uids", take_uids},
    {"group", take_group},
    {"accounts", take_accounts},
    {"post_topics", take_post_topics},
    {"poll_topics", take_poll_topics},
    {"faces", take_faces},
    {"topic_changes", take_topic_changes},
    {"socket_mode", take_mode},
};

enum rb_status rb_config_door_take(struct rb_config_door *door, const cfg_opt_t *opt, struct rb_error *err)
{
    for (size_t i = 0; i < sizeof takers / sizeof takers[0]; i++)
        if (strcmp(takers[i].name, opt->name) == 0)
            return takers[i].take(door, opt, err);
    return rb_fail(err, RB_INVALID, "there is no key %s in section door", opt->name);
}

static bool is_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return len > 0 && len <= NAME_MAX_LEN && !name[len];
}

enum rb_status rb_config_door_begin(struct rb_config *config, const char *name, struct rb_config_door **ret,
                                    struct rb_error *err)
{
    if (!is_name(name))
        return rb_fail(err, RB_INVALID, "a door's name has up to %d letters, digits, - and _; \"%s\" has not",
                       NAME_MAX_LEN, name);
    if (strcmp(name, "admin") == 0)
        return rb_fail(err, RB_INVALID, "the name admin is kept for the admin socket: choose another for the door");
    struct rb_config_door *doors = reallocarray(config->doors, config->door_count + 1, sizeof *doors);
    if (!doors)
        return no_memory(err);
    config->doors = doors;
    struct rb_config_door *door = &doors[config->door_count];
    *door = (struct rb_config_door){.socket_mode = 0666};
    if (rb_door_init_default(&door->door) != RB_OK)
        return no_memory(err);
    config->door_count++;
    door->door.topic_changes = false;
    free(door->door.name);
    door->door.name = strdup(name);
    *ret = door;
    return door->door.name ? RB_OK : no_memory(err);
}

enum rb_status rb_config_door_end(struct rb_config_door *door, bool uids_said, bool group_said, struct rb_error *err)
{
    bool is_default = strcmp(door->door.name, "default") == 0;
    if (uids_said && !group_said)
        door->door.group = (gid_t)-1;
    if (is_default && door->listen)
        return rb_fail(err, RB_INVALID, "the door default listens where the key listen of the top level says");
    if (!is_default && (!door->listen || !*door->listen))
        return rb_fail(err, RB_INVALID, "the door %s needs the key listen: where it opens", door->door.name);
    return RB_OK;
}

void rb_config_door_free(struct rb_config_door *door)
{
    rb_door_free(&door->door);
    rb_config_strings_free(door->listen);
    *door = (struct rb_config_door){0};
}
