#include "share.h"

#include <stdlib.h>

#include "list.h"

struct user {
    struct rb_map_node node;
    int64_t uid, held;
};

void rb_share_init(struct rb_share *share, int64_t most, int user_percent)
{
    *share = (struct rb_share){.most = most, .user_percent = user_percent};
}

static void free_user(struct rb_map_node *node)
{
    free(RB_CONTAINER(node, struct user, node));
}

void rb_share_free(struct rb_share *share)
{
    rb_map_clear(&share->users, free_user);
    share->held = 0;
}

static struct user *find(const struct rb_share *share, int64_t uid)
{
    struct rb_map_node *node = rb_map_find(&share->users, rb_hash_i64(uid));
    for (; node; node = rb_map_again(node)) {
        struct user *user = RB_CONTAINER(node, struct user, node);
        if (user->uid == uid)
            return user;
    }
    return NULL;
}

/* Rounded up, so that of a small bound something is left. */
static int64_t part(int64_t whole, int percent)
{
    return whole / 100 * percent + (whole % 100 * percent + 99) / 100;
}

enum rb_room rb_share_room(const struct rb_share *share, int64_t uid, int64_t amount, int percent)
{
    const struct user *user = find(share, uid);
    int64_t of_user = part(part(share->most, share->user_percent), percent);
    if (amount > of_user - (user ? user->held : 0))
        return RB_NO_ROOM_FOR_USER;
    return amount > part(share->most, percent) - share->held ? RB_NO_ROOM : RB_ROOM;
}

int64_t rb_share_left(const struct rb_share *share, int64_t uid)
{
    const struct user *user = find(share, uid);
    return part(share->most, share->user_percent) - (user ? user->held : 0);
}

enum rb_status rb_share_take(struct rb_share *share, int64_t uid, int64_t amount)
{
    struct user *user = find(share, uid);
    if (!user) {
        user = calloc(1, sizeof *user);
        if (!user)
            return RB_NO_MEMORY;
        user->uid = uid;
        rb_map_add(&share->users, &user->node, rb_hash_i64(uid));
    }
    user->held += amount;
    share->held += amount;
    return RB_OK;
}

void rb_share_give(struct rb_share *share, int64_t uid, int64_t amount)
{
    struct user *user = find(share, uid);
    if (!user)
        return;
    user->held -= amount;
    share->held -= amount;
    if (user->held > 0)
        return;
    rb_map_remove(&share->users, &user->node);
    free(user);
}
