#include "door.h"

#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char default_group[] = "relay-broker";

enum { GROUP_BUFFER = 16384, GROUPS_MAX = 256 };

enum rb_status rb_door_init_default(struct rb_door *door)
{
    *door = (struct rb_door){.group = (gid_t)-1, .wire = true, .broker = true, .topic_changes = true};
    door->name = strdup("default");
    if (!door->name)
        return RB_NO_MEMORY;
    char buffer[GROUP_BUFFER];
    struct group group, *found = NULL;
    if (getgrnam_r(default_group, &group, buffer, sizeof buffer, &found) == 0 && found)
        door->group = found->gr_gid;
    return RB_OK;
}

static void free_strings(char **strings)
{
    for (char **at = strings; at && *at; at++)
        free(*at);
    free(strings);
}

void rb_door_free(struct rb_door *door)
{
    free(door->name);
    free(door->uids);
    free_strings(door->listen);
    free_strings(door->accounts);
    free_strings(door->post_topics);
    free_strings(door->poll_topics);
    *door = (struct rb_door){0};
}

static bool is_member(uid_t uid, gid_t group)
{
    char buffer[GROUP_BUFFER];
    struct passwd user, *found = NULL;
    if (getpwuid_r(uid, &user, buffer, sizeof buffer, &found) != 0 || !found)
        return false;
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX;
    if (getgrouplist(user.pw_name, user.pw_gid, groups, &count) < 0)
        count = GROUPS_MAX;
    for (int i = 0; i < count; i++)
        if (groups[i] == group)
            return true;
    return false;
}

bool rb_door_admits(void *arg, uid_t uid)
{
    const struct rb_door *door = arg;
    if (door->any_uid || uid == 0 || uid == geteuid())
        return true;
    for (size_t i = 0; i < door->uid_count; i++)
        if (door->uids[i] == uid)
            return true;
    return door->group != (gid_t)-1 && is_member(uid, door->group);
}

bool rb_door_serves(const struct rb_door *door, const struct rb_account *account)
{
    if (!door->accounts)
        return true;
    for (char **name = door->accounts; *name; name++)
        if (strcmp(*name, rb_account_name(account)) == 0)
            return true;
    return false;
}

static bool matches(char *const *patterns, struct rb_span topic)
{
    if (!patterns)
        return true;
    RB_CLEANUP_FREE char *name = rb_span_dup(topic);
    for (; name && *patterns; patterns++)
        if (fnmatch(*patterns, name, 0) == 0)
            return true;
    return false;
}

bool rb_door_may_post(const struct rb_door *door, struct rb_span topic)
{
    return matches(door->post_topics, topic);
}

bool rb_door_may_poll(const struct rb_door *door, struct rb_span topic)
{
    return matches(door->poll_topics, topic);
}

struct rb_account *rb_door_default_account(const struct rb_door *door, struct rb_accounts *accounts)
{
    struct rb_account *only = NULL;
    for (struct rb_account *account = NULL; (account = rb_account_next(accounts, account));) {
        if (!rb_door_serves(door, account))
            continue;
        if (only)
            return NULL;
        only = account;
    }
    return only;
}

struct rb_account *rb_door_account(const struct rb_door *door, struct rb_accounts *accounts, struct rb_span name)
{
    struct rb_account *account = rb_account_by_name(accounts, name);
    if (account && rb_door_serves(door, account))
        return account;
    account = rb_account_by_username(accounts, name);
    if (account && rb_door_serves(door, account))
        return account;
    return rb_door_default_account(door, accounts);
}
