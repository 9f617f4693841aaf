/* Torture: plays each scenario once to count the calls that can fail, then again from the same start with the first of
 * them failing, the second, and so on; each time the promises are checked, and the same must succeed when all is well.
 *
 *     torture [--all] [--scenario NAME] [--mode MODE] [--nth N]
 *
 * Without --all a share of the calls is tried, another one each day. With a scenario, a mode and a number that one is
 * played with a trace. */
#include <getopt.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

enum { WHILE_MS = 2000, HEAL_MS = 3 * 60 * 1000, SHARE = 8, FAULTS_SHOWN = 10 };

static const struct mode {
    const char *name;
    enum failing_kind kind;
    int64_t while_ms;
} modes[] = {
    {"memory", FAILING_MEMORY, 0}, {"memory-while", FAILING_MEMORY, WHILE_MS},
    {"disk", FAILING_DISK, 0},     {"disk-while", FAILING_DISK, WHILE_MS},
    {"room", FAILING_ROOM, 0},     {"room-while", FAILING_ROOM, WHILE_MS},
};
enum { MODES = sizeof modes / sizeof *modes };

/* What a child leaves to its parent. */
struct outcome {
    bool finished, restarted, lost_login;
    enum told told;
    uint64_t counted[FAILING_KINDS], injected;
    char fault[sizeof((struct world_fault *)0)->text];
};

struct figures {
    uint64_t calls, tried, injected, done, failed, restarted, lost_logins, broken;
};

/* --- one play --- */

static bool booting_failed(const struct world *world)
{
    return world->fault.set && strncmp(world->fault.text, "the engine did not open", 23) == 0;
}

static void boot_again(struct run *run)
{
    struct world *world = run->world;
    run->polling = false;
    if (!world->up)
        world_boot(world);
}

static void on_death(struct world *world, void *arg)
{
    struct run *run = arg;
    failing_end();
    run->restarted = true;
}

/* With calls failing. What the caller is told comes while it runs. */
static void act(struct run *run, const struct failing_plan *plan)
{
    struct world *world = run->world;
    run->told = TOLD_NOTHING;
    failing_begin(plan);
    run->acting = true;
    run->scenario->act(run);
    if (world->up)
        world_end_tick(world);
    if (world->up)
        world_run(world, run->scenario->ms);
    run->acting = false;
    failing_end();
    if (booting_failed(world) && failing_injected())
        world->fault.set = false;
}

static void snapshot(struct world *world, struct rb_str *out)
{
    struct rb_broker *broker = world->broker;
    for (struct rb_account *account = NULL; (account = rb_account_next(broker->accounts, account));) {
        struct rb_account_status status;
        rb_account_status(account, &status);
        rb_str_addf(out, "account %s %s %s %s %s generation %lld chains %lld revoking %lld\n", rb_account_name(account),
                    rb_account_username(account), rb_account_sub(account), status.state, status.chain_state,
                    (long long)status.generation, (long long)status.chains, (long long)status.chains_revoking);
    }
    for (struct rb_topic *topic = NULL; (topic = rb_topic_next(broker->topics, topic));)
        rb_str_addf(out, "topic %lld %s posted %d following %d cursor %s newest %s (%lld %lld] rows %lld bytes %lld\n",
                    (long long)topic->account, topic->name, topic->posted, topic->following,
                    topic->cursor ? topic->cursor : "-", topic->newest ? topic->newest : "-", (long long)topic->tail,
                    (long long)topic->head, (long long)topic->rows, (long long)topic->bytes);
    struct rb_outbox_stats outbox;
    rb_outbox_stats(broker->outbox, &outbox);
    struct rb_inbox_stats inbox;
    rb_inbox_stats(broker->inbox, &inbox);
    struct rb_session_stats sessions;
    rb_session_stats(broker->sessions, &sessions);
    rb_str_addf(out, "queued %lld sending %lld unknown %lld bytes %lld; rows %lld bytes %lld gaps %lld; sessions %u\n",
                (long long)outbox.queued, (long long)outbox.sending, (long long)outbox.unknown,
                (long long)outbox.open_bytes, (long long)inbox.rows, (long long)inbox.bytes, (long long)inbox.gaps,
                sessions.sessions);
}

static void check_database(struct world *world)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2("/sim/relay-broker.db", &db, flags, "simulated") != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        world_fail(world, "the database cannot be checked: %s", sqlite3_errmsg(db));
    else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0)
        world_fail(world, "the database is damaged: %s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

/* What memory says is what a start reads from the rows. */
static void check_memory(struct world *world)
{
    RB_CLEANUP_STR struct rb_str before = RB_STR_INIT, after = RB_STR_INIT;
    snapshot(world, &before);
    world_stop(world);
    if (!world->fault.set)
        check_database(world);
    world_boot(world);
    if (!world->up)
        return;
    snapshot(world, &after);
    if (!rb_span_equal(rb_str_span(&before), rb_str_span(&after))) {
        world_trace(world, "memory:\n%srows:\n%s", before.at, after.at);
        world_fail(world, "memory is not what the rows say");
    }
}

static void check(struct run *run)
{
    struct world *world = run->world;
    const struct scenario *scenario = run->scenario;
    if (run->has_login && !run->logged_out && !run_login_lives(run)) {
        run->lost_login = failing_record_refused();
        if (run->lost_login)
            return;
        world_fail(world, "P2: the login is lost");
    }
    if (!world->fault.set)
        scenario->check(run);
    if (!world->fault.set)
        check_memory(world);
}

static void play_again(struct run *run)
{
    struct world *world = run->world;
    if (run->scenario->boots)
        world_crash(world);
    act(run, &(struct failing_plan){0});
    world_run(world, HEAL_MS);
    if (run->told != TOLD_DONE)
        world_fail(world, "it does not succeed when all is well again");
}

static void play(struct run *run, const struct failing_plan *plan, struct outcome *ret)
{
    struct world *world = run->world;
    world->on_death = on_death;
    world->on_death_arg = run;
    act(run, plan);
    for (int kind = 0; kind < FAILING_KINDS; kind++)
        ret->counted[kind] = failing_counted((enum failing_kind)kind);
    ret->injected = failing_injected();
    if (!world->fault.set)
        boot_again(run);
    if (world->up && !world->fault.set)
        world_run(world, HEAL_MS);
    ret->restarted = run->restarted;
    ret->told = run->told;
    if (!world->fault.set && run->told == TOLD_NOTHING && !run->restarted)
        world_fail(world, "the caller never heard anything");
    if (!world->fault.set)
        check(run);
    if (!world->fault.set && !run->lost_login) {
        play_again(run);
        if (!world->fault.set)
            check(run);
    }
    ret->lost_login = run->lost_login;
    snprintf(ret->fault, sizeof ret->fault, "%s", world->fault.set ? world->fault.text : "");
}

/* --- the start that all plays of a scenario share --- */

static void run_begin(struct run *run, const struct scenario *scenario, FILE *trace)
{
    struct world_config config = world_config_default(7);
    config.trace = trace;
    config.rate_limits = false;
    config.flavour = RB_FLAVOUR_VALKEY;
    *run = (struct run){.scenario = scenario, .world = world_new(&config), .generation = -1};
    failing_attach(run->world);
    scenario->prepare(run);
    if (run->world->fault.set) {
        printf("%s cannot begin: %s\n", scenario->name, run->world->fault.text);
        exit(1);
    }
}

static void run_end(struct run *run)
{
    rb_str_free(&run->token);
    if (run->world->up)
        world_crash(run->world);
    failing_detach();
    world_free(run->world);
}

/* Plays in a child: what crashes there is one failure, and each begins with the same memory. */
static void play_in_child(struct run *run, const struct failing_plan *plan, int64_t blocks, struct outcome *shared)
{
    *shared = (struct outcome){0};
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        play(run, plan, shared);
        run_end(run);
        if (failing_blocks() != blocks && !shared->fault[0])
            snprintf(shared->fault, sizeof shared->fault, "%lld pieces of memory are leaked",
                     (long long)(failing_blocks() - blocks));
        shared->finished = true;
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child)
        abort();
    if (!shared->finished)
        snprintf(shared->fault, sizeof shared->fault, "crashed (%s %d)", WIFSIGNALED(status) ? "signal" : "exit",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* --- a scenario in all its plays --- */

static void note(struct figures *figures, const struct outcome *outcome)
{
    figures->tried++;
    figures->injected += outcome->injected > 0;
    figures->broken += outcome->fault[0] != 0;
    figures->lost_logins += outcome->lost_login;
    if (outcome->restarted)
        figures->restarted++;
    else if (outcome->told == TOLD_DONE)
        figures->done++;
    else
        figures->failed++;
}

static struct figures play_mode(struct run *run, const struct mode *mode, uint64_t calls, bool all, int64_t blocks,
                                struct outcome *shared)
{
    struct figures figures = {.calls = calls};
    uint64_t stride = all || calls <= SHARE ? 1 : (calls + SHARE - 1) / SHARE;
    uint64_t first = 1 + (uint64_t)(time(NULL) / 86400) % stride;
    for (uint64_t nth = first; nth <= calls; nth += stride) {
        struct failing_plan plan = {.kind = mode->kind, .nth = nth, .while_ms = mode->while_ms};
        play_in_child(run, &plan, blocks, shared);
        note(&figures, shared);
        if (shared->fault[0] && figures.broken <= FAULTS_SHOWN)
            printf("  FAILED --scenario '%s' --mode %s --nth %llu: %s\n", run->scenario->name, mode->name,
                   (unsigned long long)nth, shared->fault);
    }
    return figures;
}

/* Then the mode has shown nothing. A scenario may need no disk, but none goes without memory. */
static bool nothing_failed(const struct mode *mode, const struct figures *figures)
{
    return figures->injected == 0 && (figures->tried > 0 || mode->kind == FAILING_MEMORY);
}

static void torture(const struct scenario *scenario, const char *only_mode, bool all, struct outcome *shared,
                    int *passed, int *failed)
{
    int64_t blocks = failing_blocks();
    struct run run;
    run_begin(&run, scenario, NULL);
    play_in_child(&run, &(struct failing_plan){0}, blocks, shared);
    if (shared->fault[0] || shared->told != TOLD_DONE || shared->restarted) {
        printf("%s, with nothing failing: %s\n", scenario->name, shared->fault[0] ? shared->fault : "refused");
        ++*failed;
        run_end(&run);
        return;
    }
    uint64_t counted[FAILING_KINDS];
    memcpy(counted, shared->counted, sizeof counted);
    for (int i = 0; i < MODES; i++) {
        const struct mode *mode = &modes[i];
        if (only_mode && strcmp(only_mode, mode->name) != 0)
            continue;
        struct figures figures = play_mode(&run, mode, counted[mode->kind], all, blocks, shared);
        bool idle = nothing_failed(mode, &figures);
        printf("%-15s %-13s %6llu calls %6llu failed: %6llu done, %5llu refused, %5llu restarts%s%s", scenario->name,
               mode->name, (unsigned long long)figures.calls, (unsigned long long)figures.injected,
               (unsigned long long)figures.done, (unsigned long long)figures.failed,
               (unsigned long long)figures.restarted, figures.broken ? "; BROKEN" : "",
               idle ? "; BROKEN: no call was made to fail" : "");
        if (figures.lost_logins)
            printf("; %llu logins lost: the disk kept neither row nor slot", (unsigned long long)figures.lost_logins);
        printf("\n");
        if (figures.broken > FAULTS_SHOWN)
            printf("  and %llu more\n", (unsigned long long)(figures.broken - FAULTS_SHOWN));
        figures.broken || idle ? ++*failed : ++*passed;
    }
    run_end(&run);
}

static int replay(const struct scenario *scenario, const char *mode_name, uint64_t nth)
{
    struct outcome outcome = {0};
    struct run run;
    run_begin(&run, scenario, stdout);
    for (int i = 0; i < MODES; i++) {
        struct failing_plan plan = {.kind = modes[i].kind, .nth = nth, .while_ms = modes[i].while_ms, .trace = true};
        if (strcmp(modes[i].name, mode_name) == 0)
            play(&run, &plan, &outcome);
    }
    run_end(&run);
    printf("%s, %s %llu: %s\n", scenario->name, mode_name, (unsigned long long)nth,
           outcome.fault[0] ? outcome.fault : "every promise held");
    return outcome.fault[0] ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"all", no_argument, NULL, 'a'},
                                            {"scenario", required_argument, NULL, 's'},
                                            {"mode", required_argument, NULL, 'm'},
                                            {"nth", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    const char *only = NULL, *mode = NULL;
    bool all = false;
    int64_t nth = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'a') {
            all = true;
        } else if (option == 's') {
            only = optarg;
        } else if (option == 'm') {
            mode = optarg;
        } else if (option != 'n' || rb_span_to_i64(rb_span_of(optarg), 1, INT64_MAX, &nth) != RB_OK) {
            fprintf(stderr, "usage: torture [--all] [--scenario NAME] [--mode MODE] [--nth N]\n");
            return 2;
        }
    }
    if (sodium_init() < 0)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    failing_init();
    failing_hide_log(nth == 0);
    struct outcome *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    int passed = 0, failed = 0;
    for (size_t i = 0; i < scenario_count; i++) {
        if (only && strcmp(only, scenarios[i].name) != 0)
            continue;
        if (nth)
            return replay(&scenarios[i], mode ? mode : "memory", (uint64_t)nth);
        torture(&scenarios[i], mode, all, shared, &passed, &failed);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed ? 1 : 0;
}
