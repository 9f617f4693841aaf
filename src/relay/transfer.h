/* Transfer: one exchange as a curl easy handle. It says how the request leaves, collects the answer, and fills the end
 * into the exchange. What moves it (the multi loop, the deadline) is the HTTP carrier's. */
#ifndef RB_TRANSFER_H
#define RB_TRANSFER_H

#include <curl/curl.h>

#include "carrier.h"
#include "clock.h"
#include "list.h"

struct rb_transfer {
    struct rb_exchange *exchange;
    CURL *easy; /* its CURLOPT_PRIVATE is the transfer */

    /* The carrier's. */
    struct rb_list node;
    struct rb_timer deadline;
    void *carrier;
    bool overdue;          /* the deadline has passed */
    bool arrived;          /* something came in since `overdue` was last looked at */
    uint64_t overdue_poll; /* the poll phase in which it was */

    /* private */
    unsigned attempts; /* how often libcurl was about to send the request; more than one is refused */
    size_t body_sent;
    struct rb_str answer;
    size_t header_bytes;
    int64_t date_ms, retry_after_ms; /* -1: none */
    time_t retry_at;                 /* -1: Retry-After is no date */
    bool header_too_long;
    struct curl_slist headers[6];
    size_t header_count;
    char error[CURL_ERROR_SIZE];
};

/* The exchange is borrowed until its end has been filled in; the transfer may live longer. */
enum rb_status rb_transfer_new(struct rb_exchange *exchange, struct rb_transfer **ret);
/* Fills the exchange's end for libcurl's result; its answer is the transfer's memory. */
void rb_transfer_end(struct rb_transfer *transfer, CURLcode result);
/* The end of a transfer that its deadline cuts. */
void rb_transfer_end_late(struct rb_transfer *transfer);
/* Why there is no answer, in a few words for a user where libcurl's own are about libcurl. */
void rb_transfer_cause(struct rb_transfer *transfer, CURLcode result, char *ret, size_t room);
/* Wipes what may be secret. */
void rb_transfer_free(struct rb_transfer *transfer);

#endif
