#include "model_private.h"

#include <stdarg.h>
#include <time.h>

#include "model_normal.h"

void fill_internal(struct rb_model_answer *answer)
{
    rb_str_reset(&answer->body);
    rb_str_add(&answer->body, "{\"error\":\"INTERNAL_ERROR\",\"message\":\"An internal error occurred\"}");
    answer->status = 500;
    answer->content_type = "application/json";
    answer->close = true;
}

void fill_json(struct rb_model_answer *answer, int status, struct rb_str *body)
{
    if (rb_str_failed(body)) {
        rb_str_free(body);
        fill_internal(answer);
        return;
    }
    rb_str_free(&answer->body);
    answer->body = *body;
    *body = RB_STR_INIT;
    answer->status = status;
    answer->content_type = "application/json";
}

void answer_json(struct call *call, int status, struct rb_str *body)
{
    fill_json(call->answer, status, body);
}

void answer_detail(struct call *call, int status, const char *format, ...)
{
    char text[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"detail\":");
    quote(&body, text);
    rb_str_add(&body, "}");
    answer_json(call, status, &body);
}

void answer_unauthorized(struct call *call, const char *detail)
{
    call->model->counts.refused_401++;
    answer_detail(call, 401, "%s", detail);
    answer_header(call->answer, "WWW-Authenticate", "Bearer");
}

void answer_nothing(struct call *call)
{
    rb_str_reset(&call->answer->body);
    call->answer->status = 204;
    call->answer->content_type = NULL;
}

void answer_internal(struct call *call)
{
    fill_internal(call->answer);
}

void answer_header(struct rb_model_answer *answer, const char *name, const char *value)
{
    char *slot = answer->header[answer->header[0][0] ? 1 : 0];
    snprintf(slot, sizeof answer->header[0], "%s: %s", name, value);
}

void time_text(int64_t wall_ms, bool z, char ret[TIME_MAX])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    int ms = (int)(wall_ms % 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t len = strftime(ret, TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    if (ms)
        len += (size_t)snprintf(ret + len, TIME_MAX - len, ".%03d000", ms);
    snprintf(ret + len, TIME_MAX - len, "%s", z ? "Z" : "+00:00");
}

void uuid_new(struct rb_random *random, char ret[ID_MAX])
{
    char hex[33];
    rb_random_hex(random, 16, hex);
    hex[12] = '4';
    hex[16] = "89ab"[hex[16] % 4];
    snprintf(ret, ID_MAX, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

void quote(struct rb_str *out, const char *text)
{
    if (text)
        rb_json_quote(out, rb_span_of(text));
    else
        rb_str_add(out, "null");
}

static void problem_begin(struct problems *problems, const char *type, const char *loc, const char *message)
{
    rb_str_add(&problems->text, problems->count++ ? ",{\"type\":" : "{\"type\":");
    quote(&problems->text, type);
    rb_str_addf(&problems->text, ",\"loc\":%s,\"msg\":", loc);
    quote(&problems->text, message);
    rb_str_add(&problems->text, ",\"input\":");
}

void problem_add(struct problems *problems, const char *type, const char *loc, const char *message,
                 const struct rb_json_value *input, const char *context)
{
    problem_begin(problems, type, loc, message);
    struct normal found = {0};
    if (input)
        normal_value(&problems->text, *input, &found);
    else
        rb_str_add(&problems->text, "null");
    if (found.surrogate_key || found.surrogate_value || found.levels >= READ_LEVELS)
        problems->unprintable = true;
    if (context)
        rb_str_addf(&problems->text, ",\"ctx\":%s", context);
    rb_str_add(&problems->text, "}");
}

void problem_add_text(struct problems *problems, const char *type, const char *loc, const char *message,
                      struct rb_span input, const char *context)
{
    problem_begin(problems, type, loc, message);
    rb_json_quote(&problems->text, input);
    if (context)
        rb_str_addf(&problems->text, ",\"ctx\":%s", context);
    rb_str_add(&problems->text, "}");
}

bool problems_answer(struct call *call, struct problems *problems)
{
    bool any = problems->count > 0 || problems->unprintable;
    if (problems->unprintable) {
        answer_internal(call);
    } else if (any) {
        struct rb_str body = RB_STR_INIT;
        rb_str_add(&body, "{\"detail\":[");
        rb_str_add_span(&body, rb_str_span(&problems->text));
        rb_str_add(&body, "]}");
        body.failed = body.failed || problems->text.failed;
        answer_json(call, 422, &body);
    }
    rb_str_free(&problems->text);
    *problems = (struct problems){0};
    return any;
}
