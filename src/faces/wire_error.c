#include "wire_error.h"

#include <stdlib.h>
#include <string.h>

#include "face.h"

enum { BODY_DEPTH_MAX = 900, SHOWN_INPUT_MAX = 256 };

void rb_wire_detail(struct rb_http_request *request, int status, const char *sentence)
{
    if (status == 401)
        rb_http_add_header(request, "WWW-Authenticate", "Bearer");
    rb_http_answer_json(request, status, json_pack("{ss}", "detail", sentence));
}

static const char *error_word(int status)
{
    switch (status) {
    case 413:
        return "PAYLOAD_TOO_LARGE";
    case 503:
        return "UNAVAILABLE";
    case 507:
        return "DISK_FULL";
    default:
        return "INTERNAL_ERROR";
    }
}

void rb_wire_unavailable(struct rb_http_request *request, int status, const char *sentence, int retry_after_s)
{
    if (retry_after_s > 0) {
        char text[16];
        snprintf(text, sizeof text, "%d", retry_after_s);
        rb_http_add_header(request, "Retry-After", text);
    }
    rb_http_answer_json(request, status, json_pack("{ss ss}", "error", error_word(status), "message", sentence));
}

void rb_wire_no_memory(struct rb_http_request *request)
{
    rb_wire_unavailable(request, 503, RB_MEMORY_IS_SHORT, 1);
}

void rb_wire_problem(struct rb_http_request *request, int status, const char *word, const char *sentence)
{
    if (strcmp(word, "media_type") == 0) {
        struct rb_wire_issues issues = {0};
        rb_wire_issue(&issues, "model_attributes_type", "body", sentence, NULL);
        rb_wire_refuse(request, &issues);
    } else if (status == 413 || status >= 500) {
        rb_wire_unavailable(request, status, sentence, 0); /* who refuses has said when to come again */
    } else {
        rb_wire_detail(request, status, sentence);
    }
}

static json_t *loc_tree(const char *loc)
{
    json_t *list = json_array();
    while (list && *loc) {
        size_t len = strcspn(loc, "/");
        int64_t index;
        bool number = rb_span_to_i64((struct rb_span){loc, len}, 0, INT64_MAX, &index) == RB_OK;
        json_array_append_new(list, number ? json_integer(index) : json_stringn(loc, len));
        loc += len + (loc[len] == '/');
    }
    return list;
}

static json_t *input_tree(const struct rb_wire_issues *issues, const struct rb_json_value *input)
{
    if (!issues->show_input || !input || input->text.len > SHOWN_INPUT_MAX)
        return json_null();
    json_t *tree = json_loadb(input->text.at, input->text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    return tree ? tree : json_null();
}

void rb_wire_issue(struct rb_wire_issues *issues, const char *type, const char *loc, const char *sentence,
                   const struct rb_json_value *input)
{
    if (!issues->list)
        issues->list = json_array();
    if (json_array_append_new(issues->list, json_pack("{ss so ss so}", "type", type, "loc", loc_tree(loc), "msg",
                                                      sentence, "input", input_tree(issues, input))) != 0)
        issues->no_memory = true;
}

bool rb_wire_refuse(struct rb_http_request *request, struct rb_wire_issues *issues)
{
    json_t *list = issues->list;
    issues->list = NULL;
    if (issues->no_memory) {
        json_decref(list);
        rb_wire_no_memory(request);
        return true;
    }
    if (!list)
        return false;
    rb_http_answer_json(request, 422, json_pack("{so}", "detail", list));
    return true;
}

bool rb_wire_body(struct rb_http_request *request, bool show_input, struct rb_json_value *ret)
{
    struct rb_wire_issues issues = {.show_input = show_input};
    struct rb_span body = rb_http_body(request);
    if (body.len == 0) {
        rb_wire_issue(&issues, "missing", "body", "A JSON body is required.", NULL);
        return !rb_wire_refuse(request, &issues);
    }
    size_t at = 0;
    switch (rb_json_check(body, BODY_DEPTH_MAX, ret, &at)) {
    case RB_JSON_FINE:
        return true;
    case RB_JSON_SYNTAX: {
        char loc[40];
        snprintf(loc, sizeof loc, "body/%zu", at);
        rb_wire_issue(&issues, "json_invalid", loc, "The body is not valid JSON.", NULL);
        return !rb_wire_refuse(request, &issues);
    }
    case RB_JSON_SURROGATE:
        rb_wire_issue(
            &issues, "string_unicode", "body",
            "The body has a lone surrogate escape (\\ud800 to \\udfff without its partner): every later read of "
            "such a message would fail at the relay.",
            NULL);
        return !rb_wire_refuse(request, &issues);
    case RB_JSON_UTF8:
    case RB_JSON_DEPTH:
        break;
    }
    rb_wire_detail(request, 400, "The body is not valid UTF-8, or is nested too deep.");
    return false;
}
