#include "desk.h"

static struct desk desk;
static char *token;

static void open_memory(void)
{
    desk_open(&desk, RB_FLAVOUR_MEMORY);
    token = sign_in(&desk);
}

static void open_valkey(void)
{
    desk_open(&desk, RB_FLAVOUR_VALKEY);
    token = sign_in(&desk);
}

static void shut(void)
{
    free(token);
    desk_close(&desk);
}

static int get(const char *path)
{
    return ask(&desk, "GET", path, NULL)->status;
}

static size_t paged(const char *path)
{
    const struct said *said = ask(&desk, "GET", path, NULL);
    ck_assert_msg(said->status == 200, "%s: %d", path, said->status);
    return json_array_size(json_object_get(said->json, "messages"));
}

START_TEST(a_topic_is_made_once)
{
    const struct said *said = ask(&desk, "POST", "/api/v1/topics", "{\"topic_name\":\"t\",\"description\":\"d\"}");
    ck_assert_int_eq(said->status, 201);
    ck_assert_str_eq(text_of(said, "description"), "d");
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/topics", "{\"topic_name\":\"t\"}")->status, 400);
    ck_assert_int_eq(get("/api/v1/topics/t"), 200);
    ck_assert_int_eq(get("/api/v1/topics/u"), 404);
    ck_assert_uint_eq(json_array_size(ask(&desk, "GET", "/api/v1/topics", NULL)->json), 1);
}
END_TEST

START_TEST(the_messages_of_a_deleted_topic_stay)
{
    post(&desk, "t", "{\"n\":1}");
    ck_assert_int_eq(ask(&desk, "DELETE", "/api/v1/topics/t", NULL)->status, 204);
    ck_assert_int_eq(ask(&desk, "DELETE", "/api/v1/topics/t", NULL)->status, 404);
    ck_assert_int_eq(get("/api/v1/topics/t/messages"), 404);
    const struct said *said = ask(&desk, "POST", "/messages/poll", "{\"topics\":[\"t\"],\"since\":{\"t\":\"0-0\"}}");
    ck_assert_uint_eq(json_array_size(json_object_get(said->json, "messages")), 1);
    ask(&desk, "POST", "/api/v1/topics", "{\"topic_name\":\"t\"}");
    ck_assert_uint_eq(paged("/api/v1/topics/t/messages"), 1);
}
END_TEST

START_TEST(a_description_changes_in_memory_only)
{
    ask(&desk, "POST", "/api/v1/topics", "{\"topic_name\":\"t\"}");
    ck_assert_int_eq(ask(&desk, "PUT", "/api/v1/topics/t", "{\"description\":\"new\"}")->status, 200);
    ck_assert_str_eq(text_of(ask(&desk, "PUT", "/api/v1/topics/t", "{}"), "description"), "new");
    ck_assert_int_eq(ask(&desk, "PUT", "/api/v1/topics/u", "{}")->status, 404);
}
END_TEST

START_TEST(with_valkey_a_new_description_is_500)
{
    ask(&desk, "POST", "/api/v1/topics", "{\"topic_name\":\"t\"}");
    ck_assert_int_eq(ask(&desk, "PUT", "/api/v1/topics/t", "{\"description\":\"new\"}")->status, 500);
    ck_assert_int_eq(ask(&desk, "PUT", "/api/v1/topics/t", "{}")->status, 200);
}
END_TEST

START_TEST(stats_shadows_a_topic_of_that_name)
{
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/topics", "{\"topic_name\":\"stats\"}")->status, 201);
    ck_assert_int_eq(get("/api/v1/topics/stats"), 403);
    ck_assert_int_eq(get("/api/v1/topics/stats/messages"), 200);
}
END_TEST

START_TEST(pages_go_both_ways_and_their_limits_are_checked)
{
    char path[200], newest[64] = "", oldest[64] = "";
    for (int i = 0; i < 110; i++) {
        const char *id = text_of(post(&desk, "t", "{}"), "message_id");
        snprintf(i ? newest : oldest, 64, "%s", id);
    }
    ck_assert_uint_eq(paged("/api/v1/topics/t/messages"), 10);
    ck_assert_uint_eq(paged("/api/v1/topics/t/messages?limit=101"), 100);
    snprintf(path, sizeof path, "/api/v1/topics/t/messages?limit=100&order=desc&cursor=%s", newest);
    ck_assert_uint_eq(paged(path), 100);
    snprintf(path, sizeof path, "/api/v1/topics/t/messages?limit=100&order=desc&cursor=%s", oldest);
    ck_assert_uint_eq(paged(path), 0);
    ck_assert(json_is_null(json_object_get(ask(&desk, "GET", path, NULL)->json, "next_cursor")));
    snprintf(path, sizeof path, "/api/v1/topics/t/messages?order=asc&cursor=%s", newest);
    ck_assert_uint_eq(paged(path), 0);
    ck_assert_int_eq(get("/api/v1/topics/t/messages?limit=0"), 400);
    ck_assert_int_eq(get("/api/v1/topics/t/messages?limit=x"), 422);
    ck_assert_int_eq(get("/api/v1/topics/t/messages?order=up"), 400);
    ck_assert_int_eq(get("/api/v1/topics/u/messages?order=up"), 404);
    ck_assert_uint_eq(paged("/api/v1/topics/t/messages?order=asc&limit=1"), 1);
    snprintf(path, sizeof path, "/api/v1/topics/t/messages?order=asc&limit=1");
    ck_assert_str_eq(text_of(ask(&desk, "GET", path, NULL), "next_cursor"), oldest);
}
END_TEST

START_TEST(other_paths_answer_like_the_framework)
{
    ck_assert_int_eq(get("/nothing"), 404);
    const struct said *said = ask(&desk, "PUT", "/auth/me", NULL);
    ck_assert_int_eq(said->status, 405);
    ck_assert_str_eq(said->header, "Allow: GET");
    said = ask(&desk, "POST", "/api/v1/messages/?a=1", NULL);
    ck_assert_int_eq(said->status, 307);
    ck_assert_str_eq(said->header, "Location: http://127.0.0.1/api/v1/messages?a=1");
    desk.bearer = NULL;
    said = ask(&desk, "GET", "/auth/me", NULL);
    ck_assert_str_eq(said->header, "WWW-Authenticate: Bearer");
}
END_TEST

START_TEST(a_foreign_host_is_400_in_plain_text)
{
    struct rb_model_request request = {.method = "GET", .path = "/health", .address = "", .host = RB_SPAN("evil:80")};
    struct rb_model_answer answer;
    ck_assert(rb_model_request(desk.model, &request, &answer, NULL, NULL, NULL));
    ck_assert_int_eq(answer.status, 400);
    ck_assert_str_eq(answer.body.at, "Invalid host header");
    rb_str_free(&answer.body);
    request.host = RB_SPAN("localhost:1234");
    ck_assert(rb_model_request(desk.model, &request, &answer, NULL, NULL, NULL));
    ck_assert_int_eq(answer.status, 200);
    rb_str_free(&answer.body);
}
END_TEST

Suite *topics_suite(void)
{
    Suite *suite = suite_create("topics");
    TCase *memory = tcase_create("memory"), *valkey = tcase_create("valkey");
    tcase_add_checked_fixture(memory, open_memory, shut);
    tcase_add_checked_fixture(valkey, open_valkey, shut);
    tcase_add_test(memory, a_topic_is_made_once);
    tcase_add_test(memory, the_messages_of_a_deleted_topic_stay);
    tcase_add_test(valkey, the_messages_of_a_deleted_topic_stay);
    tcase_add_test(memory, a_description_changes_in_memory_only);
    tcase_add_test(valkey, with_valkey_a_new_description_is_500);
    tcase_add_test(memory, stats_shadows_a_topic_of_that_name);
    tcase_add_test(memory, pages_go_both_ways_and_their_limits_are_checked);
    tcase_add_test(valkey, pages_go_both_ways_and_their_limits_are_checked);
    tcase_add_test(memory, other_paths_answer_like_the_framework);
    tcase_add_test(memory, a_foreign_host_is_400_in_plain_text);
    suite_add_tcase(suite, memory);
    suite_add_tcase(suite, valkey);
    return suite;
}
