#include "desk.h"

static struct desk desk;
static char *token;

static void open_flavour(int flavour)
{
    struct rb_model_config config = RB_MODEL_CONFIG_DEFAULT;
    config.flavour = flavour ? RB_FLAVOUR_VALKEY : RB_FLAVOUR_MEMORY;
    config.rate_limits = false;
    desk_open_with(&desk, config);
    token = sign_in(&desk);
}

static void shut(void)
{
    free(token);
    desk_close(&desk);
}

static size_t kept(const char *topic)
{
    return rb_model_topic_length(desk.model, "alice", topic);
}

START_TEST(a_retry_after_the_answer_gets_the_first_answer_and_stores_nothing)
{
    open_flavour(_i);
    desk.key = "k1";
    char first[300];
    const struct said *said = post(&desk, "a", "{\"n\":1}");
    ck_assert_int_eq(said->status, 201);
    snprintf(first, sizeof first, "%s", said->text);
    rb_fake_clock_advance(&desk.clock, 599999);
    said = post(&desk, "b", "{\"n\":2}");
    ck_assert_str_eq(said->text, first);
    ck_assert_int_eq(said->status, 201);
    ck_assert_uint_eq(kept("a"), 1);
    ck_assert_uint_eq(kept("b"), 0);
    ck_assert_int_eq(ask(&desk, "GET", "/api/v1/topics/b", NULL)->status, 200);
    rb_fake_clock_advance(&desk.clock, 1);
    free(token);
    desk.clock.wall = RB_FAKE_WALL_MS;
    token = sign_in(&desk);
    post(&desk, "b", "{\"n\":2}");
    ck_assert_uint_eq(kept("b"), 1);
    shut();
}
END_TEST

START_TEST(a_422_claims_no_key_and_a_500_leaves_none_behind)
{
    open_flavour(_i);
    desk.key = "k1";
    ck_assert_int_eq(post(&desk, "a", "[]")->status, 422);
    rb_model_reject_topic(desk.model, "a", true);
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 500);
    rb_model_reject_topic(desk.model, "a", false);
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 201);
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 201);
    ck_assert_uint_eq(kept("a"), 1);
    desk.key = "";
    post(&desk, "a", "{}");
    post(&desk, "a", "{}");
    ck_assert_uint_eq(kept("a"), 3);
    shut();
}
END_TEST

static const char three[] = "{\"messages\":[{\"topic\":\"a\",\"payload\":{\"n\":1}},{\"topic\":\"b\",\"payload\":{}},"
                            "{\"topic\":\"a\",\"payload\":{\"n\":2}}]}";

START_TEST(a_key_on_the_other_endpoint_is_500)
{
    open_flavour(_i);
    desk.key = "k1";
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 201);
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages/bulk", three)->status, 500);
    desk.key = "k2";
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages/bulk", three)->status, 207);
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 500);
    ck_assert_uint_eq(kept("a"), 3);
    shut();
}
END_TEST

START_TEST(keys_belong_to_a_user)
{
    open_flavour(_i);
    desk.key = "k1";
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 201);
    ck_assert_int_eq(rb_model_user(desk.model, "bob", "secret-bobby", ""), RB_OK);
    const struct said *said = ask_bytes(&desk, "POST", "/auth/login", "application/x-www-form-urlencoded",
                                        RB_SPAN("username=bob&password=secret-bobby"), false);
    char bearer[1024];
    snprintf(bearer, sizeof bearer, "%s", text_of(said, "access_token"));
    desk.bearer = bearer;
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 201);
    ck_assert_uint_eq(rb_model_topic_length(desk.model, "bob", "a"), 1);
    ck_assert_uint_eq(kept("a"), 1);
    shut();
}
END_TEST

START_TEST(only_valkey_remembers_answers_over_a_restart)
{
    open_flavour(_i);
    desk.key = "k1";
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 201);
    rb_model_restart(desk.model);
    free(token);
    token = sign_in(&desk);
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 201);
    ck_assert_uint_eq(kept("a"), 1);
    struct rb_model_counts counts;
    rb_model_counts(desk.model, &counts);
    ck_assert_uint_eq(counts.posts, 2);
    shut();
}
END_TEST

START_TEST(a_bulk_keeps_order_and_says_what_was_rejected)
{
    open_flavour(_i);
    rb_model_reject_topic(desk.model, "b", true);
    desk.key = "k1";
    const struct said *said = ask(&desk, "POST", "/api/v1/messages/bulk", three);
    ck_assert_int_eq(said->status, 207);
    json_t *results = json_object_get(said->json, "results");
    ck_assert_uint_eq(json_array_size(results), 3);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(results, 1), "status")), "rejected");
    ck_assert(json_is_null(json_object_get(json_array_get(results, 1), "message_id")));
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(said->json, "summary"), "accepted")), 2);
    struct rb_model_message message;
    ck_assert(rb_model_topic_message(desk.model, "alice", "a", 1, &message));
    ck_assert_str_eq(message.payload.at, "{\"n\":2}");
    rb_model_reject_topic(desk.model, "b", false);
    said = ask(&desk, "POST", "/api/v1/messages/bulk", three);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(said->json, "summary"), "rejected")), 1);
    ck_assert_uint_eq(kept("b"), 0);
    shut();
}
END_TEST

START_TEST(a_bulk_holds_100_and_not_101)
{
    open_flavour(_i);
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT;
    rb_str_add(&body, "{\"messages\":[");
    for (int i = 0; i < 100; i++)
        rb_str_addf(&body, "%s{\"topic\":\"a\",\"payload\":{}}", i ? "," : "");
    rb_str_add(&body, "]}");
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages/bulk", body.at)->status, 207);
    body.len -= 2;
    rb_str_add(&body, ",{\"topic\":\"a\",\"payload\":{}}]}");
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages/bulk", body.at)->status, 422);
    ck_assert_uint_eq(kept("a"), 100);
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages/bulk", "{\"messages\":[]}")->status, 422);
    shut();
}
END_TEST

START_TEST(only_the_newest_are_kept)
{
    struct rb_model_config config = RB_MODEL_CONFIG_DEFAULT;
    config.rate_limits = false;
    config.kept_messages = 3;
    desk_open_with(&desk, config);
    token = sign_in(&desk);
    for (int i = 0; i < 40; i++) {
        char payload[20];
        snprintf(payload, sizeof payload, "{\"n\":%d}", i);
        ck_assert_int_eq(post(&desk, "a", payload)->status, 201);
    }
    ck_assert_uint_eq(kept("a"), 3);
    struct rb_model_message message;
    ck_assert(rb_model_topic_message(desk.model, "alice", "a", 0, &message));
    ck_assert_str_eq(message.payload.at, "{\"n\":37}");
    ck_assert(!rb_model_topic_message(desk.model, "alice", "a", 3, &message));
    shut();
}
END_TEST

START_TEST(ids_look_like_the_flavour)
{
    open_flavour(0);
    ck_assert_uint_eq(strlen(text_of(post(&desk, "a", "{}"), "message_id")), 16);
    shut();
    open_flavour(1);
    ck_assert_str_eq(text_of(post(&desk, "a", "{}"), "message_id"), "1767225600000-0");
    ck_assert_str_eq(text_of(post(&desk, "a", "{}"), "message_id"), "1767225600000-1");
    ck_assert_str_eq(text_of(post(&desk, "b", "{}"), "message_id"), "1767225600000-0");
    desk.clock.wall -= 5000;
    ck_assert_str_eq(text_of(post(&desk, "a", "{}"), "message_id"), "1767225600000-2");
    desk.clock.wall += 6000;
    ck_assert_str_eq(text_of(post(&desk, "a", "{}"), "message_id"), "1767225601000-0");
    shut();
}
END_TEST

START_TEST(a_wipe_takes_messages_and_topics_and_counts_anew)
{
    open_flavour(_i);
    post(&desk, "a", "{}");
    rb_model_wipe(desk.model);
    ck_assert_uint_eq(kept("a"), 0);
    ck_assert_int_eq(ask(&desk, "GET", "/api/v1/topics/a", NULL)->status, 404);
    ck_assert_int_eq(ask(&desk, "GET", "/auth/me", NULL)->status, 200);
    shut();
}
END_TEST

START_TEST(dead_storage_is_500_for_all_but_health)
{
    open_flavour(_i);
    rb_model_storage_dead(desk.model, true);
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 500);
    ck_assert_int_eq(ask(&desk, "GET", "/auth/me", NULL)->status, 500);
    refresh(&desk, token, 500);
    ck_assert_int_eq(ask(&desk, "GET", "/health", NULL)->status, 200);
    ck_assert_int_eq(ask(&desk, "GET", "/ready", NULL)->status, 200);
    rb_model_storage_dead(desk.model, false);
    ck_assert_int_eq(post(&desk, "a", "{}")->status, 201);
    free(refresh(&desk, token, 200));
    shut();
}
END_TEST

static const struct {
    const char *body;
    int status;
} shapes[] = {
    {"{\"topic\":\"t\",\"payload\":{}}", 201},
    {"{\"topic\":\"t\",\"payload\":{},\"ttl\":1}", 201},
    {"{\"topic\":\"t\",\"payload\":{},\"ttl\":null}", 201},
    {"{\"topic\":\"t\",\"payload\":{},\"ttl\":\"5\"}", 201},
    {"{\"topic\":\"t\",\"payload\":{},\"ttl\":2.0}", 201},
    {"{\"topic\":\"t\",\"payload\":{},\"ttl\":99999999999999999999999}", 201},
    {"{\"topic\":\"t\",\"payload\":{},\"ttl\":0}", 422},
    {"{\"topic\":\"t\",\"payload\":{},\"ttl\":1.5}", 422},
    {"{\"topic\":\"t\",\"payload\":{},\"ttl\":[]}", 422},
    {"{\"topic\":\"t\",\"payload\":{},\"ttl\":1e400}", 500},
    {"{\"topic\":\"t\",\"payload\":{},\"unknown\":1}", 201},
    {"{\"topic\":\"t\",\"payload\":{},\"metadata\":null}", 201},
    {"{\"topic\":\"t\",\"payload\":{},\"metadata\":{\"a\":1}}", 422},
    {"{\"topic\":\"t\",\"payload\":{},\"metadata\":[]}", 422},
    {"{\"topic\":\"\",\"payload\":{}}", 422},
    {"{\"topic\":\"__\",\"payload\":{}}", 422},
    {"{\"topic\":\"a:b\",\"payload\":{}}", 422},
    {"{\"topic\":\"\xc3\xa9t\xc3\xa9-1_\",\"payload\":{}}", 201},
    {"{\"topic\":\"\xe2\x80\xa6\",\"payload\":{}}", 422},
    {"{\"topic\":\"\\ud800\",\"payload\":{}}", 500},
    {"{\"topic\":1,\"payload\":{}}", 422},
    {"\xef\xbb\xbf{\"topic\":\"t\",\"payload\":{}}", 201},
    {"[]", 422},
    {"null", 422},
};

START_TEST(each_shape_of_a_post_has_its_status)
{
    open_flavour(0);
    const struct said *said = ask(&desk, "POST", "/api/v1/messages", shapes[_i].body);
    ck_assert_msg(said->status == shapes[_i].status, "%s: %d %s", shapes[_i].body, said->status, said->text);
    if (said->status == 422) {
        json_t *problem = json_array_get(json_object_get(said->json, "detail"), 0);
        ck_assert_ptr_nonnull(json_object_get(problem, "type"));
        ck_assert(json_is_array(json_object_get(problem, "loc")));
        ck_assert_ptr_nonnull(json_object_get(problem, "input"));
    }
    shut();
}
END_TEST

START_TEST(a_body_without_a_json_type_is_422_and_echoed)
{
    open_flavour(0);
    const struct said *said = ask_bytes(&desk, "POST", "/api/v1/messages", "text/plain", RB_SPAN("{\"topic\""), false);
    ck_assert_int_eq(said->status, 422);
    json_t *problem = json_array_get(json_object_get(said->json, "detail"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(problem, "input")), "{\"topic\"");
    ck_assert_int_eq(ask_bytes(&desk, "POST", "/api/v1/messages", "application/x+json; charset=utf-8",
                               RB_SPAN("{\"topic\":\"t\",\"payload\":{}}"), false)
                         ->status,
                     201);
    shut();
}
END_TEST

Suite *messages_suite(void)
{
    Suite *suite = suite_create("messages");
    TCase *tests = tcase_create("both flavours");
    tcase_add_loop_test(tests, a_retry_after_the_answer_gets_the_first_answer_and_stores_nothing, 0, 2);
    tcase_add_loop_test(tests, a_422_claims_no_key_and_a_500_leaves_none_behind, 0, 2);
    tcase_add_loop_test(tests, a_key_on_the_other_endpoint_is_500, 0, 2);
    tcase_add_loop_test(tests, keys_belong_to_a_user, 0, 2);
    tcase_add_loop_test(tests, only_valkey_remembers_answers_over_a_restart, 0, 2);
    tcase_add_loop_test(tests, a_bulk_keeps_order_and_says_what_was_rejected, 0, 2);
    tcase_add_loop_test(tests, a_bulk_holds_100_and_not_101, 0, 2);
    tcase_add_loop_test(tests, a_wipe_takes_messages_and_topics_and_counts_anew, 0, 2);
    tcase_add_loop_test(tests, dead_storage_is_500_for_all_but_health, 0, 2);
    suite_add_tcase(suite, tests);
    tests = tcase_create("one flavour");
    tcase_add_test(tests, only_the_newest_are_kept);
    tcase_add_test(tests, ids_look_like_the_flavour);
    tcase_add_loop_test(tests, each_shape_of_a_post_has_its_status, 0, sizeof shapes / sizeof shapes[0]);
    tcase_add_test(tests, a_body_without_a_json_type_is_422_and_echoed);
    suite_add_tcase(suite, tests);
    return suite;
}
