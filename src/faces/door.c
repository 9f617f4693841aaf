#include "door.h"

#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char default_group[] = "relay-broker";

enum { USER_BUFFER = 16384, GROUP_BUFFER_MAX = 4 * 1024 * 1024, GROUPS_MAX = 256, LOOK_MS = 60 * 1000 };

/* A group with many members needs a large buffer. */
bool rb_door_find_group(const char *name, gid_t *ret)
{
    struct group group, *found = NULL;
    RB_CLEANUP_FREE char *buffer = NULL;
    int result = ERANGE;
    for (size_t room = USER_BUFFER; result == ERANGE && room <= GROUP_BUFFER_MAX; room *= 4) {
        char *larger = realloc(buffer, room);
        if (!larger)
            return false;
        buffer = larger;
        result = getgrnam_r(name, &group, buffer, room, &found);
    }
    if (result != 0 || !found)
        return false;
    *ret = found->gr_gid;
    return true;
}

enum rb_status rb_door_init_default(struct rb_door *door)
{
    *door = (struct rb_door){.group = (gid_t)-1, .wire = true, .broker = true, .topic_changes = true};
    door->name = strdup("default");
    if (!door->name)
        return RB_NO_MEMORY;
    rb_door_find_group(default_group, &door->group);
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

static bool look_up(uid_t uid, gid_t group)
{
    char buffer[USER_BUFFER];
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

static bool is_member(struct rb_door *door, uid_t uid)
{
    int64_t now = door->clock ? rb_clock_now_ms(door->clock) : 0;
    size_t count = sizeof door->looks / sizeof door->looks[0];
    for (size_t i = 0; i < count; i++)
        if (door->looks[i].uid == uid && door->looks[i].until_ms > now)
            return door->looks[i].is_member;
    struct rb_door_look *look = &door->looks[door->next_look++ % count];
    *look = (struct rb_door_look){uid, look_up(uid, door->group), door->clock ? now + LOOK_MS : 0};
    return look->is_member;
}

bool rb_door_admits(void *arg, uid_t uid)
{
    struct rb_door *door = arg;
    if (door->any_uid || uid == 0 || uid == geteuid())
        return true;
    for (size_t i = 0; i < door->uid_count; i++)
        if (door->uids[i] == uid)
            return true;
    return door->group != (gid_t)-1 && is_member(door, uid);
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
