/* Share: how much of something bounded each local user holds, so that one alone cannot use it up (D6). Whoever takes
 * gives back. */
#ifndef RB_SHARE_H
#define RB_SHARE_H

#include "map.h"
#include "status.h"

struct rb_share {
    struct rb_map users;
    int64_t held, most; /* of all users together */
    int user_percent;   /* of `most`: what one user may hold */
};

enum rb_room { RB_ROOM, RB_NO_ROOM_FOR_USER, RB_NO_ROOM };

void rb_share_init(struct rb_share *share, int64_t most, int user_percent);
void rb_share_free(struct rb_share *share);
/* Whether the user may take so much more, if only `percent` of both bounds are for such as this. */
enum rb_room rb_share_room(const struct rb_share *share, int64_t uid, int64_t amount, int percent);
/* What the user may still take before he comes to his own bound; below 0 when he is beyond it. */
int64_t rb_share_left(const struct rb_share *share, int64_t uid);
/* Counts, whatever the bounds are. RB_NO_MEMORY: nothing was taken. */
enum rb_status rb_share_take(struct rb_share *share, int64_t uid, int64_t amount);
/* What was taken before. */
void rb_share_give(struct rb_share *share, int64_t uid, int64_t amount);

#endif
