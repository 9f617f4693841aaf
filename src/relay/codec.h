/* Codec: the wire contract as pure functions. A typed request becomes method, path and body; what a carrier brought
 * back becomes an end, a problem and a typed answer. No I/O, no state.
 *
 * Hard cases O1 and R4 are decided here, strictly: a refusal counts only in the relay's own JSON (the right content
 * type and an object with `detail` or `error`), a success only with the one status of that call and its whole shape.
 * Everything else is unknown. */
#ifndef RB_CODEC_H
#define RB_CODEC_H

#include "json_span.h"
#include "relay.h"

enum rb_call_kind {
    RB_CALL_LOGIN,
    RB_CALL_REFRESH,
    RB_CALL_REVOKE,
    RB_CALL_LOGOUT,
    RB_CALL_ME,
    RB_CALL_SESSIONS,
    RB_CALL_POST,
    RB_CALL_POLL,
    RB_CALL_PAGE,
    RB_CALL_TOPIC_LIST,
    RB_CALL_TOPIC_GET,
    RB_CALL_TOPIC_CREATE,
    RB_CALL_TOPIC_UPDATE,
    RB_CALL_TOPIC_DELETE,
    RB_CALL_HEALTH,
};

enum {
    RB_TOKEN_MAX = 8192,             /* bytes of a token */
    RB_TOKEN_ANSWER_MAX = 64 * 1024, /* bytes of an answer that may hold tokens */
    RB_PLAIN_ANSWER_MAX = 8 * 1024 * 1024,
};

/* Sets of statuses. */
enum {
    RB_400 = 1 << 0,
    RB_401 = 1 << 1,
    RB_403 = 1 << 2,
    RB_404 = 1 << 3,
    RB_409 = 1 << 4,
    RB_413 = 1 << 5,
    RB_422 = 1 << 6,
    RB_429 = 1 << 7,
    RB_USUAL = RB_400 | RB_401 | RB_403 | RB_413 | RB_422 | RB_429,
};

/* What is the same in every call of a kind. */
struct rb_call_rule {
    const char *method;
    const char *path;         /* whole, or what comes before a topic's name */
    const char *content_type; /* NULL: no body */
    int success;              /* the one status that means executed */
    unsigned refusals;        /* set of statuses that, in the relay's JSON, mean not executed */
    bool auth;                /* below /auth/: no text of the relay is carried on, 422 echoes secrets */
    bool secret;              /* body or answer hold a token or a password */
    bool fresh_connection;
};
const struct rb_call_rule *rb_call_rule(enum rb_call_kind kind);

/* Visible ASCII, 1 to RB_TOKEN_MAX bytes: fit for a header, for what comes down as for what goes up (D8). */
bool rb_token_valid(struct rb_span token);

/* Gives an empty str `room` bytes in one piece, so that filling them never moves (and so leaves no copies of) a secret.
 */
void rb_codec_room(struct rb_str *str, size_t room);

/* --- requests. Each appends to `body` or `path` and leaves a failed allocation in the str. --- */
/* The first three hold a secret and want an empty `body`. */
void rb_encode_login(struct rb_str *body, const char *username, struct rb_span password);
void rb_encode_refresh(struct rb_str *body, struct rb_span refresh_token);
void rb_encode_revoke_chain(struct rb_str *body, struct rb_span refresh_token);
void rb_encode_post(struct rb_str *body, const struct rb_outgoing *message);
void rb_encode_poll(struct rb_str *body, const struct rb_since *topics, size_t count, int timeout_s);
void rb_encode_topic_create(struct rb_str *body, const struct rb_topic_request *request);
void rb_encode_topic_update(struct rb_str *body, const struct rb_topic_request *request);
/* Appends what follows the rule's path: the topic's name, for a page also "/messages?…". */
void rb_encode_topic_path(struct rb_str *path, struct rb_span topic);
void rb_encode_page_path(struct rb_str *path, struct rb_span topic, bool descending, int limit, struct rb_span cursor);

/* --- answers --- */
struct rb_decoded {
    /* What the kind has; the rest is zero. Spans look into the exchange's answer or into `scratch`. */
    struct rb_tokens tokens;
    struct rb_me me;
    struct rb_stored stored;
    struct rb_incoming *messages;
    size_t count;
    bool has_more;
    struct rb_span next_cursor;
    /* private */
    char *scratch;
    size_t scratch_len, scratch_room;
};

/* Reads the ended exchange. `*ret_decoded` is filled only when the end is RB_END_EXECUTED, and released in any case
 * with rb_decoded_free. Out of memory: unknown. */
void rb_decode(enum rb_call_kind kind, const struct rb_exchange *exchange, struct rb_answer *ret_answer,
               struct rb_decoded *ret_decoded);
void rb_decoded_free(struct rb_decoded *decoded);
/* The second half of rb_decode: whether checked JSON has the shape of this call's success; fills `decoded`, also partly
 * when it has not. */
bool rb_decode_shape(enum rb_call_kind kind, struct rb_decoded *decoded, const struct rb_exchange *exchange,
                     struct rb_json_value body);

#endif
