#include "store_test.h"

#include "fault_vfs.h"
#include "tick.h"

static struct rb_tick *tick;
static char trace[512]; /* what happened, in order, a word each */
static int reloads;

static void note(const char *word)
{
    size_t len = strlen(trace);
    snprintf(trace + len, sizeof trace - len, "%s%s", len ? " " : "", word);
}

static void trace_is(const char *expected)
{
    ck_assert_str_eq(trace, expected);
    trace[0] = 0;
}

static enum rb_status reload(void *arg)
{
    ck_assert_ptr_eq(arg, &reloads);
    ck_assert(!rb_store_dirty(store));
    reloads++;
    note("reload");
    return RB_OK;
}

static void begin(const char *vfs, int64_t max_bytes)
{
    setup_folder();
    open_store(vfs, max_bytes);
    trace[0] = 0;
    reloads = 0;
    ck_assert_int_eq(rb_tick_new(store, reload, &reloads, &tick), RB_OK);
    ck_assert_ptr_eq(rb_tick_store(tick), store);
}

static void setup(void)
{
    begin(NULL, 400 * 1024);
}

static void finish(void)
{
    rb_tick_free(tick);
    tick = NULL;
    teardown();
}

static enum rb_status end(bool expect_more)
{
    bool more = !expect_more;
    enum rb_status status = rb_tick_end(tick, &more);
    ck_assert_int_eq(more, expect_more);
    return status;
}

/* More than fits: the commit of this tick fails with RB_FULL. */
static void fill_up(void)
{
    for (int64_t id = 1000; id < 1100; id++)
        add_event(id, 10000);
    ck_assert_int_eq(rb_store_failed(store), RB_FULL);
}

static int64_t events(void)
{
    return number("SELECT count(*) FROM event");
}

struct probe {
    struct rb_effect effect;
    const char *word;
    int64_t writes; /* this event id, when not 0 */
    struct rb_effect *registers, *cancels;
    struct rb_fact *learns;
    enum rb_status heard;
    int runs;
};

static void probe_run(struct rb_effect *effect, enum rb_status committed)
{
    struct probe *probe = RB_CONTAINER(effect, struct probe, effect);
    ck_assert(!rb_list_linked(&effect->node));
    probe->heard = committed;
    probe->runs++;
    note(probe->word);
    if (probe->writes)
        add_event(probe->writes, 10);
    if (probe->registers)
        rb_tick_after(tick, probe->registers);
    if (probe->cancels)
        rb_tick_cancel(probe->cancels);
    if (probe->learns)
        rb_tick_fact(tick, probe->learns);
}

#define PROBE(text) ((struct probe){.effect = {.run = probe_run}, .word = (text), .heard = RB_EXISTS})

struct news {
    struct rb_fact fact;
    const char *word;
    int64_t id;
    struct probe *registers;
    struct rb_fact *learns;
    int applied, released;
};

static void news_apply(struct rb_fact *fact)
{
    struct news *news = RB_CONTAINER(fact, struct news, fact);
    news->applied++;
    note(news->word);
    add_event(news->id, 10);
    if (news->registers)
        rb_tick_after(tick, &news->registers->effect);
    if (news->learns)
        rb_tick_fact(tick, news->learns);
    note(".");
}

static void news_release(struct rb_fact *fact)
{
    struct news *news = RB_CONTAINER(fact, struct news, fact);
    news->released++;
    note("released");
}

#define NEWS(text, number) \
    ((struct news){.fact = {.apply = news_apply, .release = news_release}, .word = (text), .id = (number)})

static void sees_commit(struct rb_effect *effect, enum rb_status committed)
{
    struct rb_store_stats stats;
    rb_store_stats(store, &stats);
    ck_assert_int_eq(stats.commits, 1);
    ck_assert(!rb_store_dirty(store));
    note("seen");
}

START_TEST(an_effect_runs_after_the_commit_and_never_before)
{
    struct rb_effect effect = {.run = sees_commit};
    rb_tick_after(tick, &effect);
    add_event(1, 10);
    trace_is("");
    ck_assert_int_eq(end(false), RB_OK);
    trace_is("seen");
}
END_TEST

START_TEST(effects_run_in_the_order_they_were_registered_and_once)
{
    struct probe a = PROBE("a"), b = PROBE("b"), c = PROBE("c");
    rb_tick_after(tick, &b.effect);
    rb_tick_after(tick, &a.effect);
    rb_tick_after(tick, &c.effect);
    rb_tick_after(tick, &b.effect);
    add_event(1, 10);
    ck_assert_int_eq(end(false), RB_OK);
    trace_is("b a c");
    ck_assert_int_eq(end(false), RB_OK);
    trace_is("");
}
END_TEST

START_TEST(with_nothing_to_commit_effects_run_all_the_same)
{
    struct probe a = PROBE("a");
    rb_tick_after(tick, &a.effect);
    ck_assert_int_eq(end(false), RB_OK);
    ck_assert_int_eq(a.heard, RB_OK);
    struct rb_store_stats stats;
    rb_store_stats(store, &stats);
    ck_assert_int_eq(stats.commits, 0);
}
END_TEST

START_TEST(what_an_effect_writes_and_registers_belongs_to_the_next_tick)
{
    struct probe b = PROBE("b"), a = PROBE("a");
    a.writes = 2;
    a.registers = &b.effect;
    add_event(1, 10);
    rb_tick_after(tick, &a.effect);
    ck_assert_int_eq(end(true), RB_OK);
    trace_is("a");
    ck_assert(rb_store_dirty(store));
    ck_assert_int_eq(end(false), RB_OK);
    trace_is("b");
    ck_assert_int_eq(events(), 2);
}
END_TEST

START_TEST(an_effect_that_registers_itself_gets_one_commit_a_call)
{
    struct probe a = PROBE("a");
    a.registers = &a.effect;
    rb_tick_after(tick, &a.effect);
    for (int i = 1; i <= 5; i++) {
        ck_assert_int_eq(end(true), RB_OK);
        ck_assert_int_eq(a.runs, i);
    }
    a.registers = NULL;
    ck_assert_int_eq(end(false), RB_OK);
}
END_TEST

START_TEST(an_effect_can_be_taken_back_also_by_one_that_runs_before_it)
{
    struct probe a = PROBE("a"), b = PROBE("b"), c = PROBE("c"), d = PROBE("d");
    rb_tick_cancel(&a.effect);
    rb_tick_after(tick, &a.effect);
    rb_tick_after(tick, &b.effect);
    rb_tick_after(tick, &c.effect);
    rb_tick_after(tick, &d.effect);
    rb_tick_cancel(&a.effect);
    rb_tick_cancel(&a.effect);
    b.cancels = &c.effect;
    d.cancels = &d.effect;
    ck_assert_int_eq(end(false), RB_OK);
    trace_is("b d");
}
END_TEST

START_TEST(T4_facts_of_a_failed_commit_lead_the_next_tick_and_local_requests_hear_it)
{
    struct probe local = PROBE("local"), answer = PROBE("answer");
    struct news token = NEWS("token", 1), result = NEWS("result", 2), later = NEWS("later", 3);
    token.registers = &answer;
    rb_tick_lead(tick);
    add_event(500, 10);
    rb_tick_after(tick, &local.effect);
    rb_tick_fact(tick, &token.fact);
    rb_tick_fact(tick, &result.fact);
    fill_up();
    trace_is("token . result .");
    ck_assert_int_eq(end(false), RB_FULL);
    trace_is("reload local answer");
    ck_assert_int_eq(local.heard, RB_FULL);
    ck_assert_int_eq(answer.heard, RB_FULL);
    ck_assert_int_eq(reloads, 1);
    ck_assert_int_eq(events(), 0);
    ck_assert(rb_tick_has_waiting_facts(tick));
    ck_assert_int_eq(token.released + result.released, 0);

    rb_tick_fact(tick, &later.fact);
    trace_is("token . result . later .");
    ck_assert(!rb_tick_has_waiting_facts(tick));
    ck_assert_int_eq(end(false), RB_OK);
    trace_is("answer released released released");
    ck_assert_int_eq(answer.heard, RB_OK);
    ck_assert_int_eq(local.runs, 1);
    ck_assert_int_eq(number("SELECT sum(id) FROM event"), 6);
    ck_assert_int_eq(number("SELECT count(*) FROM event WHERE id = 500"), 0);
}
END_TEST

START_TEST(T4_facts_are_kept_through_many_failures_and_stay_in_order)
{
    struct news a = NEWS("a", 1), b = NEWS("b", 2);
    rb_tick_fact(tick, &a.fact);
    for (int i = 0; i < 3; i++) {
        fill_up();
        ck_assert_int_eq(end(false), RB_FULL);
        ck_assert(rb_tick_has_waiting_facts(tick));
        trace[0] = 0;
        rb_tick_retry(tick);
        trace_is(i == 0 ? "a ." : "a . b .");
        if (i == 0)
            rb_tick_fact(tick, &b.fact);
    }
    trace[0] = 0;
    ck_assert_int_eq(end(false), RB_OK);
    trace_is("released released");
    ck_assert_int_eq(a.applied, 4);
    ck_assert_int_eq(b.applied, 3);
    ck_assert_int_eq(events(), 2);
}
END_TEST

START_TEST(waiting_facts_come_before_a_local_write)
{
    struct news a = NEWS("a", 1);
    rb_tick_fact(tick, &a.fact);
    fill_up();
    ck_assert_int_eq(end(false), RB_FULL);
    ck_assert_int_eq(end(false), RB_OK); /* facts alone make no tick */
    ck_assert_int_eq(a.applied, 1);
    rb_tick_lead(tick);
    rb_tick_lead(tick);
    ck_assert_int_eq(a.applied, 2);
    add_event(2, 10);
    ck_assert_int_eq(end(false), RB_OK);
    ck_assert_int_eq(a.released, 1);
}
END_TEST

START_TEST(a_fact_learnt_in_an_effect_is_applied_at_once_and_committed_next)
{
    struct news a = NEWS("a", 7);
    struct probe b = PROBE("b");
    b.learns = &a.fact;
    rb_tick_after(tick, &b.effect);
    ck_assert_int_eq(end(true), RB_OK);
    trace_is("b a .");
    ck_assert_int_eq(end(false), RB_OK);
    trace_is("released");
    ck_assert_int_eq(events(), 1);
}
END_TEST

START_TEST(a_fact_learnt_by_an_effect_of_a_failed_tick_comes_after_the_waiting_ones)
{
    struct news a = NEWS("a", 1), b = NEWS("b", 2);
    struct probe effect = PROBE("effect");
    effect.learns = &b.fact;
    rb_tick_fact(tick, &a.fact);
    rb_tick_after(tick, &effect.effect);
    fill_up();
    trace[0] = 0;
    ck_assert_int_eq(end(true), RB_FULL);
    trace_is("reload effect a . b .");
    effect.learns = NULL;
    ck_assert_int_eq(end(false), RB_OK);
    ck_assert_int_eq(events(), 2);
}
END_TEST

START_TEST(a_fact_that_comes_up_inside_another_waits_for_its_end)
{
    struct news b = NEWS("b", 2), a = NEWS("a", 1);
    a.learns = &b.fact;
    rb_tick_fact(tick, &a.fact);
    trace_is("a . b .");
    ck_assert_int_eq(end(false), RB_OK);
    trace_is("released released");
}
END_TEST

START_TEST(freeing_refuses_what_waits_and_releases_facts)
{
    struct news a = NEWS("a", 1), b = NEWS("b", 2);
    struct probe effect = PROBE("effect");
    rb_tick_fact(tick, &a.fact);
    fill_up();
    ck_assert_int_eq(end(false), RB_FULL);
    rb_tick_after(tick, &effect.effect);
    effect.learns = &b.fact;
    trace[0] = 0;
    rb_tick_free(tick);
    tick = NULL;
    trace_is("effect released released");
    ck_assert_int_eq(effect.heard, RB_UNAVAILABLE);
    ck_assert_int_eq(b.applied, 0);
}
END_TEST

START_TEST(T4_an_io_error_of_the_sync_ends_the_tick_as_unknown_and_keeps_the_facts)
{
    struct news a = NEWS("a", 1);
    struct probe local = PROBE("local");
    finish();
    fault_vfs_register();
    begin(FAULT_VFS, 0);
    rb_tick_fact(tick, &a.fact);
    rb_tick_after(tick, &local.effect);
    fault = (struct rb_fault){.countdown = 1, .result = SQLITE_IOERR_FSYNC, .kind = FAULT_SYNC};
    ck_assert_int_eq(end(false), RB_IO);
    ck_assert_int_eq(local.heard, RB_IO);
    ck_assert_int_eq(reloads, 0);
    ck_assert(rb_tick_has_waiting_facts(tick));
    fault = (struct rb_fault){0};
    rb_tick_free(tick);
    tick = NULL;
    ck_assert_int_eq(a.released, 1);
}
END_TEST

static enum rb_status reload_fails(void *arg)
{
    sqlite3_stmt *statement;
    ck_assert_int_eq(rb_store_prepare(store, "SELECT abs(-9223372036854775807 - 1)", &statement, NULL), RB_OK);
    ck_assert(!rb_store_row(store, statement));
    return RB_OK;
}

static enum rb_status reload_has_no_memory(void *arg)
{
    return RB_NO_MEMORY;
}

START_TEST(memory_that_cannot_be_reloaded_ends_the_process)
{
    enum rb_status (*const reloads_that_fail[])(void *arg) = {reload_fails, reload_has_no_memory};
    rb_tick_free(tick);
    ck_assert_int_eq(rb_tick_new(store, reloads_that_fail[_i], NULL, &tick), RB_OK);
    fill_up();
    bool more;
    ck_assert_int_eq(rb_tick_end(tick, &more), RB_IO);
}
END_TEST

Suite *tick_suite(void)
{
    Suite *suite = suite_create("tick");
    TCase *tests = tcase_create("tick");
    tcase_add_checked_fixture(tests, setup, finish);
    tcase_add_test(tests, an_effect_runs_after_the_commit_and_never_before);
    tcase_add_test(tests, effects_run_in_the_order_they_were_registered_and_once);
    tcase_add_test(tests, with_nothing_to_commit_effects_run_all_the_same);
    tcase_add_test(tests, what_an_effect_writes_and_registers_belongs_to_the_next_tick);
    tcase_add_test(tests, an_effect_that_registers_itself_gets_one_commit_a_call);
    tcase_add_test(tests, an_effect_can_be_taken_back_also_by_one_that_runs_before_it);
    tcase_add_test(tests, T4_facts_of_a_failed_commit_lead_the_next_tick_and_local_requests_hear_it);
    tcase_add_test(tests, T4_facts_are_kept_through_many_failures_and_stay_in_order);
    tcase_add_test(tests, waiting_facts_come_before_a_local_write);
    tcase_add_test(tests, a_fact_learnt_in_an_effect_is_applied_at_once_and_committed_next);
    tcase_add_test(tests, a_fact_learnt_by_an_effect_of_a_failed_tick_comes_after_the_waiting_ones);
    tcase_add_test(tests, a_fact_that_comes_up_inside_another_waits_for_its_end);
    tcase_add_test(tests, freeing_refuses_what_waits_and_releases_facts);
    tcase_add_test(tests, T4_an_io_error_of_the_sync_ends_the_tick_as_unknown_and_keeps_the_facts);
    tcase_add_test(tests, memory_that_cannot_be_reloaded_ends_the_process);
    suite_add_tcase(suite, tests);
    return suite;
}
