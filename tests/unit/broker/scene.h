/* Scene: a world with one account, other people who publish at the relay directly, and readers who poll the broker. */
#ifndef RB_SCENE_H
#define RB_SCENE_H

#include "world.h"

enum { SCENE_NUMBERS_MAX = 2000, SCENE_ID_MAX = 64 };

struct scene {
    struct world *world;
    int64_t account; /* id: lives on over a crash */
    char bearer[2048];
};

void scene_open(struct scene *scene, const struct world_config *config);
/* With defaults: no rate limits, that flavour. */
void scene_open_flavour(struct scene *scene, enum rb_flavour flavour);
struct world_config scene_config(enum rb_flavour flavour);
/* Checks that no promise of the world was broken. */
void scene_close(struct scene *scene);
struct rb_account *scene_account(struct scene *scene);
struct rb_topic *scene_topic(struct scene *scene, const char *name);
/* The host dies and boots again. */
void scene_reboot(struct scene *scene);
/* Wants the topic and runs until its start was found. */
void scene_follow(struct scene *scene, const char *topic, bool earliest);
bool scene_head_is(struct scene *scene, const char *topic, int64_t head, int64_t max_ms);

/* Straight to the relay. Payload {"n": number}; `metadata` is JSON text or NULL. */
void scene_publish(struct scene *scene, const char *topic, int number, const char *metadata, char ret_id[SCENE_ID_MAX]);
void scene_publish_text(struct scene *scene, const char *topic, const char *payload, const char *metadata,
                        char ret_id[SCENE_ID_MAX]);
void scene_delete_topic(struct scene *scene, const char *topic);
/* A new token for publishing, after the relay lost its users. */
void scene_login_again(struct scene *scene);

/* What the inbox holds of a topic: the numbers of the payloads (-1: another payload), in order. */
size_t scene_stored(struct scene *scene, const char *topic, int *numbers);
int64_t scene_gaps(struct scene *scene);

/* A reader on the wire face. Fill topics with reader_topic; then start, and run the world. */
struct reader {
    struct scene *scene;
    struct rb_poll poll;
    struct rb_poll_topic topics[RB_POLL_TOPICS_MAX];
    bool started, ended, has_more;
    enum rb_status status;
    char error[RB_ERROR_MAX];
    size_t count;
    int numbers[RB_POLL_MESSAGES_MAX];
    char ids[RB_POLL_MESSAGES_MAX][SCENE_ID_MAX];
    char metadata[256]; /* of the last item */
    char topic[256];    /* of the last item */
    bool from_catch_up;
};
struct rb_session *scene_session(struct scene *scene);
/* A poll on one topic; `since` NULL: none. It is started. */
void reader_poll(struct reader *reader, struct scene *scene, struct rb_session *session, uint64_t connection,
                 const char *topic, const char *since, int64_t timeout_ms);
void reader_start(struct reader *reader, struct scene *scene, struct rb_session *session, uint64_t connection,
                  int64_t timeout_ms);
void reader_topic(struct reader *reader, const char *topic, const char *since);
/* Runs until it was answered; fails the test after `max_ms`. */
void reader_wait(struct reader *reader, int64_t max_ms);

#endif
