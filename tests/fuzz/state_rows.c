/* A database whose secrets, names and bodies were damaged while nobody looked: it opens, or is refused with a sentence,
 * and what was damaged never goes up to the relay as a token. */
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "outbox.h"
#include "session.h"
#include "store.h"
#include "test_folder.h"
#include "upstream.h"

enum { ROUNDS = 12, DAMAGES_MAX = 4 };

static struct {
    struct rb_test_folder folder;
    struct rb_str database, records[2]; /* of a broker that was used and stopped */
} host;

/* Columns of blobs and text: what is sealed, whose it is, and what is sent. */
static const struct {
    const char *table, *column;
} places[] = {
    {"vault", "sealed_key"},   {"account", "password"},  {"account", "access_token"},
    {"chain", "token"},        {"account", "uid"},       {"chain", "uid"},
    {"account", "relay_url"},  {"account", "username"},  {"account", "name"},
    {"account", "sub"},        {"account", "ca_file"},   {"topic", "name"},
    {"topic", "cursor"},       {"topic", "newest"},      {"anchor", "message_id"},
    {"message", "message_id"}, {"message", "timestamp"}, {"message", "metadata"},
    {"message", "payload"},    {"message", "stamp"},     {"session", "id"},
    {"session", "door"},       {"session", "username"},  {"post", "key"},
    {"post", "digest"},        {"post", "stamp"},        {"post", "detail"},
    {"post", "message_id"},    {"post_body", "payload"}, {"post_body", "metadata"},
    {"batch", "key"},          {"batch", "newest"},      {"event", "text"},
    {"event", "kind"},         {"gap", "reason"},        {"counter", "name"},
};

static const char *database(void)
{
    return rb_test_path(&host.folder, "s/relay-broker.db");
}

/* Tokens that go up are the relay's own, whatever lay in the rows. */
static void see(const struct rb_exchange *exchange)
{
    static const struct rb_span token = RB_SPAN("\"refresh-" UPSTREAM_SECRET "\"");
    if (upstream_is(exchange, "POST", "/auth/token/refresh") || upstream_is(exchange, "POST", "/auth/token/revoke"))
        FUZZ_CHECK(fuzz_has(exchange->body, token));
    if (upstream_is(exchange, "POST", "/auth/login"))
        FUZZ_CHECK(fuzz_has(exchange->body, RB_SPAN("&password=password-" UPSTREAM_SECRET)));
    if (exchange->bearer)
        FUZZ_CHECK(strcmp(exchange->bearer, "access-" UPSTREAM_SECRET) == 0);
}

static void turn(void)
{
    rb_clock_run(&upstream.clock.clock);
    for (int i = 0; i < 8 && rb_engine_end_tick(upstream.engine); i++)
        ;
}

/* --- the state that is damaged --- */

static void use_broker(void)
{
    struct rb_broker *broker = rb_engine_broker(upstream.engine);
    struct rb_account *account = rb_account_by_name(broker->accounts, RB_SPAN(UPSTREAM_ACCOUNT));
    struct rb_session *session;
    struct rb_error err = {0};
    struct rb_post post = {.account = account,
                           .topic = RB_SPAN("t"),
                           .payload = RB_SPAN("{\"a\":1}"),
                           .metadata = RB_SPAN("{\"k\":\"v\"}"),
                           .door = "default"};
    bool repeated;
    int64_t id;
    rb_tick_lead(rb_engine_tick(upstream.engine));
    FUZZ_CHECK(rb_session_open(broker->sessions, account, "default", 0, RB_SPAN("me"), &session, &err) == RB_OK);
    for (int i = 0; i < 6; i++) {
        post.topic = i < 3 ? RB_SPAN("t") : RB_SPAN("u");
        post.key = i == 1 ? RB_SPAN("key") : (struct rb_span){0};
        FUZZ_CHECK(rb_outbox_add(broker->outbox, &post, &id, &repeated, &err) == RB_OK);
        upstream.mode = i == 1 ? UPSTREAM_REFUSAL : UPSTREAM_SUCCESS;
        for (int round = 0; round < (i == 5 ? 1 : 4); round++)
            upstream_go_on(round, turn);
    }
}

static void make_state(void)
{
    struct rb_error err = {0};
    FUZZ_CHECK(upstream_open(rb_test_path(&host.folder, "s"), &err) == RB_OK);
    rb_engine_start(upstream.engine);
    upstream_log_in(turn);
    use_broker();
    upstream_close();
    rb_test_read(database(), &host.database);
    for (int i = 0; i < 2; i++)
        rb_str_add_span(&host.records[i], rb_str_span(&upstream.records[i]));
    FUZZ_CHECK(host.database.len);
}

static void stop(void)
{
    rb_str_free(&host.database);
    for (int i = 0; i < 2; i++)
        rb_str_free(&host.records[i]);
    upstream_forget_records();
    rb_test_folder_remove(&host.folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    rb_log_set_level(RB_LOG_OFF);
    FUZZ_CHECK(sodium_init() >= 0);
    upstream.sees = see;
    rb_test_folder_make(&host.folder);
    make_state();
    atexit(stop);
    return 0;
}

/* --- the damage --- */

static void damage_row(sqlite3 *db, struct rb_span *input)
{
    size_t place = fuzz_byte(input) % (sizeof places / sizeof places[0]);
    uint8_t how = fuzz_byte(input), kept = fuzz_byte(input);
    struct rb_span bytes = fuzz_take(input, fuzz_byte(input));
    const char *table = places[place].table, *column = places[place].column;
    char sql[256];
    sqlite3_stmt *statement = NULL;
    /* In place of what is there, or of its end. What would come twice or not at all where it must not is left alone. */
    if (how & 1)
        snprintf(sql, sizeof sql, "UPDATE OR IGNORE %s SET %s = CAST(substr(%s, 1, ?2) || ?1 AS %s)", table, column,
                 column, how & 2 ? "BLOB" : "TEXT");
    else
        snprintf(sql, sizeof sql, "UPDATE OR IGNORE %s SET %s = ?1", table, column);
    FUZZ_CHECK(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
    if (how & 4)
        sqlite3_bind_null(statement, 1);
    else if (how & 2)
        sqlite3_bind_blob(statement, 1, bytes.at, (int)bytes.len, SQLITE_STATIC);
    else
        sqlite3_bind_text(statement, 1, bytes.at, (int)bytes.len, SQLITE_STATIC);
    if (how & 1)
        sqlite3_bind_int(statement, 2, kept);
    sqlite3_step(statement);
    sqlite3_finalize(statement);
}

static void damage(struct rb_span input)
{
    sqlite3 *db = NULL;
    rb_test_write(database(), rb_str_span(&host.database));
    unlink(rb_test_path(&host.folder, "s/relay-broker.db-wal"));
    for (int i = 0; i < 2; i++) {
        rb_str_reset(&upstream.records[i]);
        rb_str_add_span(&upstream.records[i], rb_str_span(&host.records[i]));
    }
    FUZZ_CHECK(sqlite3_open(database(), &db) == SQLITE_OK);
    for (int i = 0; i < DAMAGES_MAX && input.len; i++)
        damage_row(db, &input);
    sqlite3_close(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rb_error err = {0};
    damage((struct rb_span){(const char *)data, size});
    enum rb_status status = upstream_open(rb_test_path(&host.folder, "s"), &err);
    if (status != RB_OK) {
        FUZZ_CHECK(err.text[0] && !upstream.engine);
        return 0;
    }
    upstream.delivered = false;
    rb_engine_start(upstream.engine);
    for (int round = 0; round < ROUNDS && !rb_engine_is_lost(upstream.engine); round++)
        upstream_go_on(round, turn);
    upstream_close();
    return 0;
}
