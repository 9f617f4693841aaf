/* What the model's files share. A request is a `struct call` that goes through the route table (model.c) into one
 * handler; everything it knows lies in `struct rb_model`. */
#ifndef RB_MODEL_PRIVATE_H
#define RB_MODEL_PRIVATE_H

#include "json_span.h"
#include "list.h"
#include "model.h"
#include "model_map.h"

enum {
    ID_MAX = 48, /* ids of users, topics, messages and tokens, with the NUL */
    TIME_MAX = 40,
    BODY_MAX = 1048576,
    WAITING_MAX = 50,   /* polls of one user */
    READ_LEVELS = 256,  /* a payload as deep as that breaks every poll that reads it … */
    PRINT_LEVELS = 257, /* … and as deep as that everything that prints it, its own post first */
    REMEMBERED_MS = 600 * 1000,
};

struct user {
    struct rb_list link; /* model.users */
    char id[ID_MAX], created_at[TIME_MAX];
    char *username, *password, *email;
    bool admin, reads, writes, active;
    size_t waiting; /* polls */
};

/* A refresh token. `chain` is the same for all that were rotated out of one login. */
struct token {
    struct map_node node; /* model.tokens, by id */
    struct rb_list link;  /* model.token_order, oldest first */
    char id[ID_MAX], user_id[ID_MAX], secret[ID_MAX];
    uint64_t chain;
    int64_t issued_ms, expires_ms; /* wall */
    enum { TOKEN_LIVE, TOKEN_ROTATED, TOKEN_REVOKED } state;
};

struct message {
    char id[ID_MAX];
    uint64_t ms, seq; /* Valkey's id as numbers */
    int64_t wall_ms;
    char *payload, *metadata; /* as the relay prints them; metadata NULL: none given */
    size_t payload_len, metadata_len;
    bool unreadable_value, unreadable_key; /* lone surrogates */
    unsigned levels;
};

/* A topic and its messages, which outlive it. */
struct topic {
    struct map_node node; /* model.topics, by key */
    struct rb_list link;  /* model.topic_order, in order of creation */
    char *key;            /* "<user id>/<name>" */
    const char *name;     /* inside key */
    char user_id[ID_MAX], id[ID_MAX], created_at[TIME_MAX];
    char *description; /* or NULL */
    bool exists;
    struct message **messages; /* a ring: the oldest is at `first` */
    size_t first, count, room;
    uint64_t last_ms, last_seq;
};

struct rb_model_poll {
    struct rb_list link; /* model.polls */
    struct rb_model *model;
    struct rb_timer timer;
    char user_id[ID_MAX];
    struct topic_set {
        char *keys[20];
        size_t count;
    } topics;
    int64_t began_ms;
    struct rb_str items; /* JSON objects with commas between, gathered until the publishing call is over */
    bool poisoned;
    void (*ready)(void *arg, struct rb_model_answer *answer); /* NULL: forgotten */
    void *arg;
};

struct rb_model {
    struct rb_clock *clock;
    struct rb_random *random;
    struct rb_model_config config;
    unsigned char secret[32];
    struct rb_list users;
    struct rb_map tokens;
    struct rb_list token_order;
    struct rb_map topics;
    struct rb_list topic_order;
    struct rb_map denied;  /* ids of access tokens after a logout */
    struct rb_map answers; /* remembered for idempotency */
    struct rb_list answer_order;
    struct rb_map windows;  /* rate limits */
    struct rb_map rejected; /* topic names */
    struct rb_list polls;
    size_t waiting;
    struct rb_list late; /* messages on their way to waiters */
    int64_t shuffle_ms;
    bool gap, storage_dead;
    uint64_t next_chain;
    struct rb_model_counts counts;
};

struct call {
    struct rb_model *model;
    const struct rb_model_request *request;
    struct rb_model_answer *answer;
    struct rb_span path, query;
    struct rb_str param;    /* the path's {…}, decoded */
    struct user *user;      /* of the bearer */
    struct rb_str token_id; /* jti of the bearer */
    int64_t token_ends_ms;
    struct rb_json_value body; /* an object, for routes with a JSON body */
    void (*ready)(void *arg, struct rb_model_answer *answer);
    void *arg;
    struct rb_model_poll *poll; /* set when the answer has to wait */
};

/* --- model_answer.c: answers and texts --- */

/* Takes the str's memory. */
void answer_json(struct call *call, int status, struct rb_str *body);
/* {"detail": "…"}; the text may hold foreign bytes. */
void answer_detail(struct call *call, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void answer_unauthorized(struct call *call, const char *detail);
void answer_nothing(struct call *call);  /* 204 */
void answer_internal(struct call *call); /* 500 */
void answer_header(struct rb_model_answer *answer, const char *name, const char *value);
void fill_internal(struct rb_model_answer *answer);
void fill_json(struct rb_model_answer *answer, int status, struct rb_str *body);

/* Time as Python prints it: "…+00:00" or "…Z"; without a fraction when it is zero. */
void time_text(int64_t wall_ms, bool z, char ret[TIME_MAX]);
void uuid_new(struct rb_random *random, char ret[ID_MAX]);
void quote(struct rb_str *out, const char *text); /* NULL: null */

/* The list of a 422. */
struct problems {
    struct rb_str text;
    size_t count;
    bool unprintable; /* an input cannot be echoed: 500 */
};
/* `loc` and `context` are JSON, context NULL: none. `input` NULL: null. */
void problem_add(struct problems *problems, const char *type, const char *loc, const char *message,
                 const struct rb_json_value *input, const char *context);
void problem_add_text(struct problems *problems, const char *type, const char *loc, const char *message,
                      struct rb_span input, const char *context);
/* True when there was one: then it has been answered. Releases `problems` in any case. */
bool problems_answer(struct call *call, struct problems *problems);

/* --- model_fields.c: what a field may be --- */

/* `loc` is the JSON array of the object the field is in, without its end: `["body"`. A missing or bad field is added
 * to the problems and gives false; so does a missing one that may be. */
bool field_string(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                  bool required, struct rb_json_value *ret);
/* Decoded into `out`; a lone surrogate makes the problems unprintable. */
bool field_text(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                bool required, struct rb_str *out);
bool field_topic(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                 struct rb_str *out);
bool check_topic(struct problems *problems, struct rb_json_value value, const char *loc, struct rb_str *out);
/* `null` is allowed where `optional`; without the field `*ret` stays. */
void field_integer(struct problems *problems, struct rb_json_value object, const char *name, const char *loc,
                   bool optional, int64_t least, bool exclusive, int64_t most, int64_t *ret);
void field_bool(struct problems *problems, struct rb_json_value object, const char *name, bool *ret);
/* An optional {string: string}; false: missing, null or bad. */
bool field_strings(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                   struct rb_json_value *ret);
/* A required list of 1 to `most` items: their number. 0: missing or bad. */
size_t field_list(struct problems *problems, struct rb_json_value object, const char *loc, const char *name,
                  size_t most, struct rb_json_value *ret);
bool topic_name_ok(struct rb_span name, const char **ret_why);
/* Percent decoding of a path's segment, a query's or a form's field ('+' is a space when `plus`). */
void decode_percent(struct rb_str *out, struct rb_span text, bool plus);
bool form_field(struct rb_span form, const char *name, struct rb_str *out);

/* --- model_users.c --- */
struct user *user_by_name(const struct rb_model *model, struct rb_span username);
struct user *user_by_id(const struct rb_model *model, struct rb_span id);
void users_free(struct rb_model *model);
void users_renew_ids(struct rb_model *model);
void user_print(struct rb_str *out, const struct rb_model *model, const struct user *user);
void handle_me(struct call *call);
void handle_register(struct call *call);
void handle_users(struct call *call);
void handle_user_update(struct call *call);
void handle_user_delete(struct call *call);

/* --- model_access.c: bearers --- */
void access_token_new(struct rb_model *model, const struct user *user, struct rb_str *out);
/* Fills call->user and the token's id; false: answered. */
bool access_token_check(struct call *call, bool user_too);
void denied_free(struct rb_model *model);
void handle_logout(struct call *call);

/* --- model_tokens.c: refresh tokens --- */
void tokens_free(struct rb_model *model);
/* The request's body is a form and has the field, which may be empty. */
bool login_field(const struct call *call, const char *name, struct rb_str *out);
void handle_login(struct call *call);
void handle_refresh(struct call *call);
void handle_revoke(struct call *call);
void handle_sessions(struct call *call);
void handle_session_delete(struct call *call);

/* --- model_limits.c --- */
/* Counts a request against "<what>" of its address; false: answered with 429. */
bool limit_take(struct call *call, const char *what, unsigned per_minute);
void limits_free(struct rb_model *model);

/* --- model_memory.c: remembered answers --- */
enum answer_kind { ANSWER_POST, ANSWER_BULK };
/* True: this request has been answered from memory. */
bool memory_answer(struct call *call, enum answer_kind kind);
void memory_keep(struct call *call, enum answer_kind kind);
void memory_free(struct rb_model *model);

/* --- model_topics.c --- */
struct topic *topic_find(const struct rb_model *model, const struct user *user, struct rb_span name);
/* Finds or makes the record, which need not exist as a topic. NULL: no memory. */
struct topic *topic_get(struct rb_model *model, const struct user *user, struct rb_span name);
bool topic_create(struct rb_model *model, struct topic *topic, const char *description);
void topics_free(struct rb_model *model);
void handle_topic_create(struct call *call);
void handle_topics(struct call *call);
void handle_topic_stats(struct call *call);
void handle_topic(struct call *call);
void handle_topic_update(struct call *call);
void handle_topic_delete(struct call *call);

/* --- model_stream.c: a topic's stored messages --- */
void message_free(struct message *message);
/* Takes the message, stamps it with its id and drops the oldest beyond what is kept. */
enum rb_status stream_append(struct rb_model *model, struct topic *topic, struct message *message);
void stream_clear(struct topic *topic);
const struct message *stream_at(const struct topic *topic, size_t index);
/* Where reading after (`newer`) or before `cursor` begins: an index, or `count` (nothing; before: SIZE_MAX). An
 * empty cursor is no cursor. False: the relay's storage refuses the id. */
bool stream_seek(const struct rb_model *model, const struct topic *topic, struct rb_span cursor, bool newer,
                 size_t *ret);

/* --- model_messages.c --- */
void handle_post(struct call *call);
void handle_bulk(struct call *call);
void handle_page(struct call *call);

/* --- model_polls.c --- */
void handle_poll(struct call *call);
void handle_poll_stats(struct call *call);
/* Hands a stored message to who waits. They are answered by polls_answer, at the end of the publishing request. */
void polls_publish(struct rb_model *model, const struct topic *topic, const struct message *message);
void polls_answer(struct rb_model *model);
/* Ends all with status 0, or in silence. */
void polls_end(struct rb_model *model, bool tell);

#endif
