#include "inbox_private.h"

#include "log.h"

/* The examination of a topic whose next message cannot be read (I4, I5).
 *
 * A message counts as unreadable when reading it alone has failed twelve times, with reads between them, before the
 * first and after the last that worked: else it may be an outage, and with fewer a store that fails four reads in ten
 * would make us leave out good messages now and then. A single message above the cap is so at once. Then
 * the way past it:
 *
 * Where ids are numbers any value works as a cursor, and the message's own id is found by halving. Reading downwards
 * from x either fails or shows a message after the cursor exactly when x lies behind the bad message (DOWN), unless the
 * message at the cursor is itself a bad one that was passed before: then reading upwards from x has to work (UP), and
 * what it went past is looked at (VERIFY).
 *
 * Elsewhere the topic is walked from its newest message down to the one that follows the bad one (WALK).
 *
 * What is left out is a gap. */

enum {
    LONE_FAILS = 12, /* to call a message unreadable */
    FAILS = 6,       /* in the search for the way past it */
    WALK_LIMIT = 64,
};

enum stage { LONE, READABLE, DOWN, UP, VERIFY, WALK };

/* Halving between `low` and `high`, once that is known: by milliseconds as far as whole ones lie between, then
 * within one. */
struct search {
    struct rb_stream_id low, high;
    uint64_t step;
    bool has_high, in_ms;
};

struct rb_exam {
    enum stage stage;
    bool control;            /* the next read is to show that the relay works */
    bool control_from_start; /* the newest cannot be read either: the oldest */
    bool control_failed;
    int fails;
    bool too_long;          /* why the message cannot be read */
    enum rb_id_shape shape; /* of the relay's ids */
    struct rb_stream_id from, bad;
    struct search search;
    int limit;               /* WALK */
    char *at;                /* WALK: the oldest id seen so far, or NULL */
    struct rb_landing *kept; /* WALK: that message, ready to land */
};

bool rb_exam_begin(struct rb_feed *feed)
{
    rb_exam_end(feed);
    struct rb_exam *exam = calloc(1, sizeof *exam);
    if (!exam)
        return false;
    exam->control = true;
    exam->shape = rb_relay_id_shape(rb_span_of(feed->topic->cursor), &exam->from);
    feed->exam = exam;
    return true;
}

void rb_exam_end(struct rb_feed *feed)
{
    if (!feed->exam)
        return;
    free(feed->exam->at);
    rb_landing_free(feed->exam->kept);
    free(feed->exam);
    feed->exam = NULL;
}

static struct search search_from(struct rb_stream_id low)
{
    return (struct search){.low = low, .step = 0};
}

/* The first millisecond of which nothing is known to be low. */
static uint64_t open_ms(const struct search *search)
{
    return search->low.ms + (search->low.seq == UINT64_MAX);
}

static bool within_ms(const struct search *search)
{
    return search->has_high && open_ms(search) >= search->high.ms;
}

/* Of the millisecond of `high`: the first number that is not known to be low. */
static uint64_t open_seq(const struct search *search)
{
    return search->low.ms == search->high.ms ? search->low.seq + 1 : 0;
}

static struct rb_stream_id next_probe(const struct search *search)
{
    uint64_t ms = open_ms(search);
    if (!search->has_high)
        return (struct rb_stream_id){ms + search->step, UINT64_MAX};
    if (!within_ms(search))
        return (struct rb_stream_id){ms + (search->high.ms - ms) / 2, UINT64_MAX};
    uint64_t first = open_seq(search), left = search->high.seq - first;
    /* Numbers within a millisecond are small: from below, in growing steps, as long as the upper end is only a
     * bound. */
    uint64_t ahead = search->high.seq == UINT64_MAX && search->step < left ? search->step : left / 2;
    return (struct rb_stream_id){search->high.ms, first + ahead};
}

static bool search_ended(const struct search *search)
{
    return within_ms(search) && open_seq(search) == search->high.seq;
}

/* True: `high` is the first that is high. */
static bool search_on(struct search *search, bool is_high)
{
    struct rb_stream_id probed = next_probe(search);
    if (is_high) {
        search->high = probed;
        search->has_high = true;
    } else {
        search->low = probed;
        if (search->step < UINT64_MAX / 4)
            search->step = search->step * 2 + 1;
    }
    if (within_ms(search) && !search->in_ms) {
        search->in_ms = true;
        search->step = 0;
    }
    return search_ended(search);
}

bool rb_exam_next(struct rb_feed *feed, struct rb_probe *ret)
{
    struct rb_exam *exam = feed->exam;
    if (!exam) {
        rb_feed_set_step(feed, RB_FEED_FOLLOW);
        return false;
    }
    *ret = (struct rb_probe){.limit = 1};
    if (exam->control) {
        ret->descending = !exam->control_from_start;
        return true;
    }
    struct rb_stream_id cursor = {0};
    ret->descending = exam->stage != LONE && exam->stage != UP;
    switch (exam->stage) {
    case LONE:
        snprintf(ret->cursor, sizeof ret->cursor, "%s", feed->topic->cursor);
        return true;
    case READABLE:
        cursor = (struct rb_stream_id){exam->from.ms, exam->from.seq + 1};
        break;
    case DOWN:
    case UP:
        cursor = next_probe(&exam->search);
        break;
    case VERIFY:
        cursor = exam->bad;
        break;
    case WALK:
        ret->limit = exam->limit;
        snprintf(ret->cursor, sizeof ret->cursor, "%s", exam->at ? exam->at : "");
        return true;
    }
    rb_stream_id_print(cursor, ret->cursor);
    return true;
}

static void go(struct rb_feed *feed, enum stage stage)
{
    feed->exam->stage = stage;
    feed->exam->fails = 0;
}

/* It was no single message after all, or no longer is: read on in pages. */
static void back_to_pages(struct rb_feed *feed)
{
    rb_exam_end(feed);
    feed->limit = RB_PAGE_MAX / 2;
    rb_feed_set_step(feed, RB_FEED_PAGE);
}

static void begin_skip(struct rb_feed *feed)
{
    struct rb_exam *exam = feed->exam;
    exam->limit = WALK_LIMIT;
    go(feed, exam->shape == RB_ID_STREAM ? READABLE : WALK);
}

static void begin_search(struct rb_feed *feed, bool downwards)
{
    struct rb_exam *exam = feed->exam;
    struct rb_stream_id after = {exam->from.ms, exam->from.seq + 1};
    exam->search = search_from(downwards ? after : exam->from);
    go(feed, downwards ? DOWN : UP);
}

static void skip_to(struct rb_feed *feed, struct rb_landing *landing, bool whole, struct rb_span until)
{
    const char *reason = feed->exam->too_long ? "too_long" : "poison";
    rb_log(RB_LOG_WARNING, "inbox", "topic %s: the message after %s cannot be read (%s)", feed->topic->name,
           feed->topic->cursor, reason);
    whole = whole && rb_landing_gap(landing, reason, until);
    feed->inbox->stats.poisoned += whole;
    if (!whole)
        rb_feed_delay(feed);
    rb_exam_end(feed);
    feed->limit = RB_PAGE_MAX;
    feed->failures = 0;
    rb_feed_set_step(feed, RB_FEED_PAGE);
    rb_landing_land(landing, whole);
}

static void skip_to_bad(struct rb_feed *feed)
{
    struct rb_exam *exam = feed->exam;
    if (rb_stream_id_compare(exam->bad, exam->from) <= 0) {
        back_to_pages(feed);
        return;
    }
    char id[RB_STREAM_ID_MAX];
    rb_stream_id_print(exam->bad, id);
    struct rb_landing *landing = rb_landing_new(feed->inbox);
    bool whole = landing && rb_landing_part(landing, feed, feed->topic->cursor, rb_span_of(id), RB_FEED_PAGE);
    skip_to(feed, landing, whole, rb_span_of(id));
}

/* The id just before; 0-0 has none. */
static struct rb_stream_id before(struct rb_stream_id id)
{
    if (id.seq > 0)
        return (struct rb_stream_id){id.ms, id.seq - 1};
    return (struct rb_stream_id){id.ms ? id.ms - 1 : 0, UINT64_MAX};
}

static bool is_after_cursor(struct rb_feed *feed, const struct rb_incoming *messages, size_t count,
                            struct rb_stream_id *ret)
{
    return count > 0 && rb_relay_id_shape(messages[0].message_id, ret) == RB_ID_STREAM &&
           rb_stream_id_compare(*ret, feed->exam->from) > 0;
}

static void searched_down(struct rb_feed *feed, bool works, const struct rb_incoming *messages, size_t count)
{
    struct rb_exam *exam = feed->exam;
    struct rb_stream_id seen;
    if (search_on(&exam->search, !works || is_after_cursor(feed, messages, count, &seen))) {
        exam->bad = before(exam->search.high);
        skip_to_bad(feed);
    }
}

static void searched_up(struct rb_feed *feed, bool works)
{
    struct rb_exam *exam = feed->exam;
    if (search_on(&exam->search, works)) {
        exam->bad = exam->search.high;
        go(feed, VERIFY);
    }
}

/* A readable message between: the search had gone past it. Again, below it. */
static void verified(struct rb_feed *feed, bool works, const struct rb_incoming *messages, size_t count)
{
    struct rb_exam *exam = feed->exam;
    struct rb_stream_id between;
    if (!works || !is_after_cursor(feed, messages, count, &between)) {
        skip_to_bad(feed);
        return;
    }
    exam->search = search_from(exam->from);
    exam->search.high = before(between);
    exam->search.has_high = true;
    if (rb_stream_id_compare(exam->search.high, exam->from) <= 0) {
        back_to_pages(feed);
    } else if (search_ended(&exam->search)) {
        exam->bad = exam->search.high;
        skip_to_bad(feed);
    } else {
        go(feed, UP);
    }
}

static void walk_ended(struct rb_feed *feed)
{
    struct rb_exam *exam = feed->exam;
    if (!exam->kept) {
        /* The newest message itself: nothing is there to go on from. */
        rb_feed_delay(feed);
        exam->control = true;
        go(feed, LONE);
        return;
    }
    struct rb_landing *landing = exam->kept;
    exam->kept = NULL;
    RB_CLEANUP_FREE char *at = rb_span_dup(rb_span_of(exam->at));
    skip_to(feed, landing, at, rb_span_of(at));
}

static void walked(struct rb_feed *feed, bool works, const struct rb_incoming *messages, size_t count)
{
    struct rb_exam *exam = feed->exam;
    if (!works) {
        if (exam->limit == 1)
            walk_ended(feed);
        else
            exam->limit /= 2;
        return;
    }
    bool there = count < (size_t)exam->limit;
    for (size_t i = 0; i < count; i++)
        there |= rb_span_is(messages[i].message_id, feed->topic->cursor);
    if (there) {
        back_to_pages(feed);
        return;
    }
    const struct rb_incoming *last = &messages[count - 1];
    rb_landing_free(exam->kept);
    exam->kept = rb_landing_new(feed->inbox);
    free(exam->at);
    exam->at = rb_span_dup(last->message_id);
    if (!exam->kept || !exam->at ||
        !rb_landing_part(exam->kept, feed, feed->topic->cursor, last->message_id, RB_FEED_PAGE) ||
        !rb_landing_message(exam->kept, last)) {
        rb_exam_end(feed);
        rb_feed_set_step(feed, RB_FEED_FOLLOW);
        rb_feed_delay(feed);
    }
}

static void advance(struct rb_feed *feed, bool works, const struct rb_incoming *messages, size_t count)
{
    struct rb_exam *exam = feed->exam;
    exam->fails = 0;
    switch (exam->stage) {
    case LONE:
        if (works)
            back_to_pages(feed);
        else
            begin_skip(feed);
        break;
    case READABLE:
        begin_search(feed, works);
        break;
    case DOWN:
        searched_down(feed, works, messages, count);
        break;
    case UP:
        searched_up(feed, works);
        break;
    case VERIFY:
        verified(feed, works, messages, count);
        break;
    case WALK:
        walked(feed, works, messages, count);
        break;
    }
}

/* A cursor of another kind of relay: 500 on every read with it (I4). */
static bool is_foreign(struct rb_feed *feed, struct rb_span seen)
{
    enum rb_id_shape ours = rb_relay_id_shape(rb_span_of(feed->topic->cursor), NULL);
    enum rb_id_shape theirs = rb_relay_id_shape(seen, NULL);
    return strcmp(feed->topic->cursor, RB_BEGINNING) != 0 && theirs != RB_ID_OTHER && ours != theirs;
}

static void controlled(struct rb_feed *feed, bool works, const struct rb_incoming *messages, size_t count)
{
    struct rb_exam *exam = feed->exam;
    if (!works) {
        exam->control_from_start = !exam->control_from_start;
        if (exam->control_failed) {
            exam->fails = 0;
            rb_feed_delay(feed);
        }
        exam->control_failed = !exam->control_failed;
        return;
    }
    exam->control = exam->control_failed = false;
    feed->failures = 0;
    if (count && messages[0].message_id.len) {
        if (is_foreign(feed, messages[0].message_id)) {
            rb_feed_reset(feed, "relay_reset");
            return;
        }
        exam->shape = rb_relay_id_shape(messages[0].message_id, NULL);
    }
    if (exam->fails >= (exam->stage == LONE ? LONE_FAILS : FAILS))
        advance(feed, false, NULL, 0);
}

void rb_exam_read(struct rb_feed *feed, const struct rb_answer *answer, const struct rb_incoming *messages,
                  size_t count)
{
    struct rb_exam *exam = feed->exam;
    if (!exam || !feed->topic->cursor)
        return;
    bool works = answer->problem == RB_PROBLEM_NONE, too_long = answer->problem == RB_PROBLEM_TOO_LONG;
    if (exam->control) {
        controlled(feed, works || too_long, messages, count);
        return;
    }
    bool whole_page = exam->stage == WALK && exam->limit > 1;
    if (works || too_long || whole_page) {
        if (!works && exam->stage == LONE)
            exam->too_long = too_long;
        advance(feed, works, messages, count);
        return;
    }
    exam->fails++;
    exam->control = true;
    if (exam->stage == LONE && exam->fails > FAILS)
        rb_feed_delay(feed);
}
