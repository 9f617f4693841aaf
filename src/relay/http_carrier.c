#include "http_carrier.h"

#include <stdlib.h>

#include "multi_loop.h"
#include "transfer.h"
#include "wipe.h"

struct rb_http_carrier {
    struct rb_carrier port;
    struct rb_loop *loop;
    struct rb_multi_loop *ml;
    struct rb_list transfers;
};

/* Takes the transfer out of everything; the exchange and its answer stay. */
static void detach(struct rb_http_carrier *carrier, struct rb_transfer *transfer)
{
    rb_timer_stop(rb_loop_clock(carrier->loop), &transfer->deadline);
    rb_list_remove(&transfer->node);
    rb_multi_loop_remove(carrier->ml, transfer->easy);
    transfer->exchange->carrier_data = NULL;
}

/* The answer lives until `done` returns; the exchange may be gone by then. */
static void finish(struct rb_transfer *transfer)
{
    transfer->exchange->done(transfer->exchange);
    rb_transfer_free(transfer);
}

static struct rb_transfer *transfer_of(CURL *easy)
{
    char *transfer = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    return (struct rb_transfer *)(void *)transfer;
}

static void on_ended(void *arg, CURL *easy, CURLcode result)
{
    struct rb_transfer *transfer = transfer_of(easy);
    rb_transfer_end(transfer, result);
    detach(arg, transfer);
    finish(transfer);
}

static void on_arrived(void *arg, CURL *easy)
{
    transfer_of(easy)->arrived = true;
}

/* T2: what came in while the process was stopped or busy lies in the socket, so the deadline counts only once a whole
 * poll phase that began after it has brought nothing. */
static void on_deadline(struct rb_timer *timer)
{
    struct rb_transfer *transfer = RB_CONTAINER(timer, struct rb_transfer, deadline);
    struct rb_http_carrier *carrier = transfer->carrier;
    uint64_t polls = rb_loop_polls(carrier->loop);
    if (!transfer->overdue || transfer->arrived || polls == transfer->overdue_poll) {
        transfer->overdue = true;
        transfer->arrived = false;
        transfer->overdue_poll = polls;
        rb_timer_set_in(rb_loop_clock(carrier->loop), timer, 0);
        return;
    }
    rb_transfer_end_late(transfer);
    detach(carrier, transfer);
    finish(transfer);
}

static enum rb_status start(struct rb_carrier *port, struct rb_exchange *exchange)
{
    struct rb_http_carrier *carrier = RB_CONTAINER(port, struct rb_http_carrier, port);
    struct rb_transfer *transfer;
    enum rb_status status = rb_transfer_new(exchange, &transfer);
    if (status != RB_OK)
        return status;
    transfer->carrier = carrier;
    transfer->deadline = RB_TIMER_INIT(on_deadline);
    status = rb_multi_loop_add(carrier->ml, transfer->easy);
    if (status != RB_OK) {
        rb_transfer_free(transfer);
        return status;
    }
    exchange->carrier_data = transfer;
    rb_list_push(&carrier->transfers, &transfer->node);
    rb_timer_set_in(rb_loop_clock(carrier->loop), &transfer->deadline, exchange->deadline_ms);
    return RB_OK;
}

static void abandon(struct rb_carrier *port, struct rb_exchange *exchange)
{
    struct rb_transfer *transfer = exchange->carrier_data;
    if (!transfer)
        return;
    detach(transfer->carrier, transfer);
    rb_transfer_free(transfer);
}

enum rb_status rb_http_carrier_new(struct rb_loop *loop, struct rb_http_carrier **ret, struct rb_error *err)
{
    /* Tokens and passwords pass through buffers that libcurl frees as they are. */
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, rb_wipe_free, rb_wipe_realloc, strdup, calloc) != CURLE_OK)
        return rb_fail(err, RB_UNAVAILABLE,
                       "Libcurl cannot be started: memory is short, or its installation is damaged.");
    struct rb_http_carrier *carrier = calloc(1, sizeof *carrier);
    struct rb_multi_loop_users users = {.ended = on_ended, .arrived = on_arrived, .arg = carrier};
    if (!carrier || rb_multi_loop_new(loop, users, &carrier->ml) != RB_OK) {
        free(carrier);
        curl_global_cleanup();
        return rb_fail(err, RB_NO_MEMORY, "There is not enough memory.");
    }
    carrier->port = (struct rb_carrier){.start = start, .abandon = abandon};
    carrier->loop = loop;
    rb_list_init(&carrier->transfers);
    *ret = carrier;
    return RB_OK;
}

void rb_http_carrier_free(struct rb_http_carrier *carrier)
{
    if (!carrier)
        return;
    while (!rb_list_empty(&carrier->transfers))
        abandon(&carrier->port, RB_CONTAINER(carrier->transfers.next, struct rb_transfer, node)->exchange);
    rb_multi_loop_free(carrier->ml);
    free(carrier);
    curl_global_cleanup();
}

struct rb_carrier *rb_http_carrier_port(struct rb_http_carrier *carrier)
{
    return &carrier->port;
}
