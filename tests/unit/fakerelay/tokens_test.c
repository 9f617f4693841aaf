#include "desk.h"

static struct desk desk;

static void open_memory(void)
{
    desk_open(&desk, RB_FLAVOUR_MEMORY);
}

static void shut(void)
{
    desk_close(&desk);
}

static size_t live(void)
{
    size_t tokens, chains;
    rb_model_live_tokens(desk.model, "alice", &tokens, &chains);
    return tokens;
}

static int me(void)
{
    return ask(&desk, "GET", "/auth/me", NULL)->status;
}

START_TEST(a_login_gives_a_token_that_is_let_in)
{
    free(sign_in(&desk));
    const struct said *said = ask(&desk, "GET", "/auth/me", NULL);
    ck_assert_int_eq(said->status, 200);
    ck_assert_str_eq(text_of(said, "username"), "alice");
    ck_assert_uint_eq(live(), 1);
}
END_TEST

START_TEST(a_wrong_password_is_refused_and_counts)
{
    struct rb_span form = RB_SPAN("username=alice&password=wrong&grant_type=password");
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(
            ask_bytes(&desk, "POST", "/auth/login", "application/x-www-form-urlencoded", form, false)->status, 401);
    ck_assert_int_eq(ask_bytes(&desk, "POST", "/auth/login", "application/x-www-form-urlencoded", form, false)->status,
                     429);
}
END_TEST

START_TEST(a_replay_kills_the_chain_but_not_another_one)
{
    RB_CLEANUP_FREE char *first = sign_in(&desk), *other = sign_in(&desk);
    RB_CLEANUP_FREE char *second = refresh(&desk, first, 200);
    RB_CLEANUP_FREE char *third = refresh(&desk, second, 200);
    ck_assert_uint_eq(live(), 2);
    refresh(&desk, first, 401);
    ck_assert_uint_eq(live(), 1);
    refresh(&desk, third, 401);
    free(refresh(&desk, other, 200));
    struct rb_model_counts counts;
    rb_model_counts(desk.model, &counts);
    ck_assert_uint_eq(counts.replays, 1);
    ck_assert_uint_eq(counts.chains_revoked, 1);
    ck_assert_int_eq(me(), 200);
}
END_TEST

START_TEST(a_wrong_secret_harms_nothing)
{
    RB_CLEANUP_FREE char *token = sign_in(&desk);
    char *dot = strchr(token, '.');
    char kept = dot[1];
    dot[1] = kept == 'A' ? 'B' : 'A';
    refresh(&desk, token, 401);
    refresh(&desk, "no-dot", 401);
    dot[1] = kept;
    free(refresh(&desk, token, 200));
}
END_TEST

static int revoke(const char *token, const char *more)
{
    RB_CLEANUP_STR struct rb_str body = RB_STR_INIT;
    rb_str_addf(&body, "{\"refresh_token\":\"%s\"%s}", token, more);
    return ask(&desk, "POST", "/auth/token/revoke", body.at)->status;
}

START_TEST(revoking_an_old_token_does_nothing_unless_it_is_for_the_chain)
{
    RB_CLEANUP_FREE char *first = sign_in(&desk);
    RB_CLEANUP_FREE char *second = refresh(&desk, first, 200);
    ck_assert_int_eq(revoke(first, ""), 204);
    ck_assert_uint_eq(live(), 1);
    ck_assert_int_eq(revoke(first, ",\"revoke_chain\":true"), 204);
    ck_assert_uint_eq(live(), 0);
    refresh(&desk, second, 401);
    ck_assert_int_eq(revoke("nonsense", ""), 400);
    ck_assert_int_eq(revoke("un.known", ""), 204);
    ck_assert_int_eq(revoke("un.known", ",\"revoke_chain\":\"maybe\""), 422);
}
END_TEST

START_TEST(a_revoked_token_is_no_replay)
{
    RB_CLEANUP_FREE char *first = sign_in(&desk);
    ck_assert_int_eq(revoke(first, ""), 204);
    refresh(&desk, first, 401);
    struct rb_model_counts counts;
    rb_model_counts(desk.model, &counts);
    ck_assert_uint_eq(counts.replays, 0);
}
END_TEST

START_TEST(tokens_expire_by_the_wall_clock)
{
    RB_CLEANUP_FREE char *token = sign_in(&desk);
    rb_fake_clock_advance(&desk.clock, 599 * 1000);
    ck_assert_int_eq(me(), 200);
    rb_fake_clock_advance(&desk.clock, 1000);
    ck_assert_int_eq(me(), 401);
    desk.clock.wall += INT64_C(90) * 86400 * 1000;
    refresh(&desk, token, 401);
    ck_assert_uint_eq(live(), 0);
}
END_TEST

START_TEST(a_forged_bearer_is_refused)
{
    free(sign_in(&desk));
    char forged[1024];
    snprintf(forged, sizeof forged, "%s", desk.bearer);
    forged[strlen(forged) / 2] ^= 1;
    desk.bearer = forged;
    ck_assert_int_eq(me(), 401);
    desk.bearer = "a.b.c";
    ck_assert_int_eq(me(), 401);
    desk.bearer = "plain";
    ck_assert_int_eq(me(), 401);
    desk.bearer = NULL;
    ck_assert_int_eq(me(), 401);
}
END_TEST

START_TEST(an_inactive_user_is_403_and_its_refresh_revokes)
{
    RB_CLEANUP_FREE char *token = sign_in(&desk);
    rb_model_user_active(desk.model, "alice", false);
    ck_assert_int_eq(me(), 403);
    refresh(&desk, token, 401);
    rb_model_user_active(desk.model, "alice", true);
    refresh(&desk, token, 401);
    ck_assert_int_eq(me(), 200);
}
END_TEST

START_TEST(a_missing_permission_is_403_before_validation)
{
    ck_assert_int_eq(rb_model_user(desk.model, "alice", "secret-alice", "read"), RB_OK);
    free(sign_in(&desk));
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages", "{}")->status, 403);
    ck_assert_int_eq(ask(&desk, "POST", "/api/v1/messages", "{")->status, 422);
    ck_assert_int_eq(ask(&desk, "GET", "/auth/users", NULL)->status, 403);
}
END_TEST

START_TEST(a_logout_denies_that_token_only_in_memory)
{
    free(sign_in(&desk));
    ck_assert_int_eq(ask(&desk, "POST", "/auth/logout", NULL)->status, 204);
    ck_assert_int_eq(me(), 401);
    ck_assert_uint_eq(live(), 1);
    free(sign_in(&desk));
    ck_assert_int_eq(me(), 200);
}
END_TEST

START_TEST(a_logout_with_valkey_is_500_without_effect)
{
    desk_open(&desk, RB_FLAVOUR_VALKEY);
    free(sign_in(&desk));
    const struct said *said = ask(&desk, "POST", "/auth/logout", NULL);
    ck_assert_int_eq(said->status, 500);
    ck_assert(said->close);
    ck_assert_int_eq(me(), 200);
    desk_close(&desk);
}
END_TEST

START_TEST(sessions_lists_live_tokens_and_ends_them)
{
    RB_CLEANUP_FREE char *first = sign_in(&desk);
    RB_CLEANUP_FREE char *second = refresh(&desk, first, 200);
    const struct said *said = ask(&desk, "GET", "/auth/sessions", NULL);
    ck_assert_uint_eq(json_array_size(said->json), 1);
    char path[128];
    snprintf(path, sizeof path, "/auth/sessions/%s",
             json_string_value(json_object_get(json_array_get(said->json, 0), "jti")));
    ck_assert_int_eq(ask(&desk, "DELETE", path, NULL)->status, 204);
    ck_assert_int_eq(ask(&desk, "DELETE", path, NULL)->status, 204);
    ck_assert_int_eq(ask(&desk, "DELETE", "/auth/sessions/nobody", NULL)->status, 404);
    refresh(&desk, second, 401);
    ck_assert_int_eq(me(), 200);
}
END_TEST

START_TEST(a_memory_relay_forgets_everybody_when_it_restarts)
{
    RB_CLEANUP_FREE char *token = sign_in(&desk);
    rb_model_restart(desk.model);
    const struct said *said = ask(&desk, "GET", "/auth/me", NULL);
    ck_assert_int_eq(said->status, 401);
    ck_assert_str_eq(text_of(said, "detail"), "User not found");
    refresh(&desk, token, 401);
    free(sign_in(&desk));
}
END_TEST

START_TEST(a_valkey_relay_keeps_logins_over_a_restart)
{
    desk_open(&desk, RB_FLAVOUR_VALKEY);
    RB_CLEANUP_FREE char *token = sign_in(&desk);
    rb_model_restart(desk.model);
    ck_assert_int_eq(me(), 200);
    free(refresh(&desk, token, 200));
    desk_close(&desk);
}
END_TEST

START_TEST(an_administrator_registers_users)
{
    ck_assert_int_eq(rb_model_user(desk.model, "alice", "secret-alice", "admin"), RB_OK);
    free(sign_in(&desk));
    static const char body[] =
        "{\"username\":\"bobby\",\"password\":\"longenough\",\"permissions\":[\"read\",\"write\"]}";
    const struct said *said = ask(&desk, "POST", "/auth/register", body);
    ck_assert_int_eq(said->status, 201);
    char path[128];
    snprintf(path, sizeof path, "/auth/users/%s", text_of(said, "user_id"));
    ck_assert_int_eq(ask(&desk, "POST", "/auth/register", body)->status, 400);
    ck_assert(json_is_false(json_object_get(ask(&desk, "PATCH", path, "{\"is_active\":false}")->json, "is_active")));
    ck_assert_int_eq(ask(&desk, "DELETE", path, NULL)->status, 204);
    ck_assert_int_eq(ask(&desk, "DELETE", path, NULL)->status, 404);
}
END_TEST

Suite *tokens_suite(void)
{
    Suite *suite = suite_create("tokens");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, open_memory, shut);
    tcase_add_test(tests, a_login_gives_a_token_that_is_let_in);
    tcase_add_test(tests, a_wrong_password_is_refused_and_counts);
    tcase_add_test(tests, a_replay_kills_the_chain_but_not_another_one);
    tcase_add_test(tests, a_wrong_secret_harms_nothing);
    tcase_add_test(tests, revoking_an_old_token_does_nothing_unless_it_is_for_the_chain);
    tcase_add_test(tests, a_revoked_token_is_no_replay);
    tcase_add_test(tests, tokens_expire_by_the_wall_clock);
    tcase_add_test(tests, a_forged_bearer_is_refused);
    tcase_add_test(tests, an_inactive_user_is_403_and_its_refresh_revokes);
    tcase_add_test(tests, a_missing_permission_is_403_before_validation);
    tcase_add_test(tests, a_logout_denies_that_token_only_in_memory);
    tcase_add_test(tests, sessions_lists_live_tokens_and_ends_them);
    tcase_add_test(tests, a_memory_relay_forgets_everybody_when_it_restarts);
    tcase_add_test(tests, an_administrator_registers_users);
    suite_add_tcase(suite, tests);
    tests = tcase_create("valkey");
    tcase_add_test(tests, a_logout_with_valkey_is_500_without_effect);
    tcase_add_test(tests, a_valkey_relay_keeps_logins_over_a_restart);
    suite_add_tcase(suite, tests);
    return suite;
}
