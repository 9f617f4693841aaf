/* What a local caller asks over HTTP while calls fail. */
#include "json_span.h"
#include "local.h"
#include "run.h"

/* One request by a caller of its own. What it hears is what it is told; the body of a good answer must be JSON. */
static int ask(struct run *run, const struct rb_str *request, int64_t patience_ms)
{
    struct world *world = run->world;
    struct rb_str body = RB_STR_INIT;
    struct rb_json_value value;
    struct local *local = local_open(world);
    int status = local_ask(local, rb_str_span(request), patience_ms, &body);
    local_close(local);
    if (status >= 400 && status < 500)
        world_fail(world, "a caller was told %d, for a call that failed", status);
    if (status >= 200 && status < 300 && rb_json_check(rb_str_span(&body), 300, &value, NULL) != RB_JSON_FINE)
        world_fail(world, "an answer with %d is not whole", status);
    run->told = status >= 200 && status < 300 ? TOLD_DONE : TOLD_FAILED;
    failing_pause();
    rb_str_free(&body);
    failing_go_on();
    return status;
}

static void ask_for(struct run *run, const char *path)
{
    struct rb_str request = RB_STR_INIT;
    failing_pause();
    rb_str_addf(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    failing_go_on();
    ask(run, &request, 20 * 1000);
    failing_pause();
    rb_str_free(&request);
    failing_go_on();
}

static int send_json(struct run *run, const char *path, const char *header, const char *json, int64_t patience_ms)
{
    struct rb_str request = RB_STR_INIT;
    failing_pause();
    rb_str_addf(&request,
                "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n"
                "%s",
                path, header, strlen(json), json);
    failing_go_on();
    int status = ask(run, &request, patience_ms);
    failing_pause();
    rb_str_free(&request);
    failing_go_on();
    return status;
}

/* What was not answered well is posted again with its key. */
void local_post_act(struct run *run)
{
    int number = 0;
    while (number < run->post_count && run->posts[number].told == TOLD_DONE)
        number++;
    if (number == run->post_count)
        run->post_count++;
    struct asked_post *post = &run->posts[number];
    *post = (struct asked_post){.run = run};
    char header[64], json[160];
    snprintf(header, sizeof header, "Idempotency-Key: key %d\r\n", number);
    snprintf(json, sizeof json,
             "{\"topic\":\"job_setup\",\"payload\":{\"p\":%d,\"s\":\"x\"},\"metadata\":{\"a\":\"b\"}}", number);
    int status = send_json(run, "/api/v1/messages", header, json, 20 * 1000);
    /* A connection that ends says nothing of what became of it. */
    post->told = status == 0 ? TOLD_NOTHING : run->told;
}

void local_bulk_act(struct run *run)
{
    send_json(run, "/api/v1/messages/bulk", "Idempotency-Key: bulk\r\n",
              "{\"messages\":[{\"topic\":\"job_setup\",\"payload\":{\"a\":1}},"
              "{\"topic\":\"job_kill\",\"payload\":{\"b\":2}}]}",
              20 * 1000);
}

/* All of it has arrived, or nothing. */
void local_bulk_check(struct run *run)
{
    struct rb_model *model = run->world->model;
    struct rb_model_message message;
    if (rb_model_topic_message(model, "user", "job_setup", 0, &message) !=
        rb_model_topic_message(model, "user", "job_kill", 0, &message))
        world_fail(run->world, "a part of a bulk was stored");
}

void local_poll_act(struct run *run)
{
    char json[160];
    snprintf(json, sizeof json, "{\"topics\":[\"job_setup\"],\"timeout\":5%s%s%s}",
             run->since[0] ? ",\"since\":{\"job_setup\":\"" : "", run->since, run->since[0] ? "\"}" : "");
    send_json(run, "/messages/poll", "", json, 20 * 1000);
}

void local_login_act(struct run *run)
{
    static const char form[] = "grant_type=password&username=user&password=anything";
    struct rb_str request = RB_STR_INIT;
    failing_pause();
    rb_str_addf(&request,
                "POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                "Content-Length: %zu\r\n\r\n%s",
                strlen(form), form);
    failing_go_on();
    ask(run, &request, 20 * 1000);
    failing_pause();
    rb_str_free(&request);
    failing_go_on();
}

void local_topics_act(struct run *run)
{
    ask_for(run, "/api/v1/topics");
}

void local_status_act(struct run *run)
{
    ask_for(run, "/v1/status");
}
