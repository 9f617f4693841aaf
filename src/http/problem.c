#include "problem.h"

#include <microhttpd.h>

void rb_http_answer_problem(struct rb_http_request *request, int status, const char *word, const char *sentence)
{
    char type[96];
    snprintf(type, sizeof type, "urn:relay-broker:%s", word ? word : "");
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT;
    json_t *tree = json_pack("{s:s, s:s, s:i, s:s}", "type", word ? type : "about:blank", "title",
                             MHD_get_reason_phrase_for((unsigned)status), "status", status, "detail", sentence);
    if (rb_json_print(&body, tree) != RB_OK)
        rb_http_answer(request, status, NULL, (struct rb_span){0});
    else
        rb_http_answer_str(request, status, "application/problem+json", &body);
}
