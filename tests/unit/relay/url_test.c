#include "relay_test.h"

#include <stdlib.h>

#include "url.h"

static const struct {
    const char *text, *normal; /* NULL: refused */
} urls[] = {
    {"https://relay.example.org", "https://relay.example.org"},
    {"https://relay.example.org/", "https://relay.example.org"},
    {"HTTPS://Relay.Example.ORG", "https://relay.example.org"},
    {"https://relay.example.org:443", "https://relay.example.org"},
    {"https://relay.example.org:8443/", "https://relay.example.org:8443"},
    {"https://relay.example.org:80", "https://relay.example.org:80"},
    {"http://localhost", "http://localhost"},
    {"http://LOCALHOST:80", "http://localhost"},
    {"http://127.0.0.1:7420", "http://127.0.0.1:7420"},
    {"http://[::1]:8080/", "http://[::1]:8080"},
    {"http://[0:0:0:0:0:0:0:1]", "http://[::1]"},
    {"https://[2001:DB8::1]", "https://[2001:db8::1]"},
    {"https://my_relay", "https://my_relay"},
    {"", NULL},
    {"relay.example.org", NULL},
    {"ftp://relay.example.org", NULL},
    {"https:/relay.example.org", NULL},
    {"https://", NULL},
    {"https:///", NULL},
    {"https://:8080", NULL},
    {"https://user@relay.example.org", NULL},
    {"https://user:pw@relay.example.org", NULL},
    {"http://localhost@evil.example.org", NULL},
    {"https://relay.example.org/api", NULL},
    {"https://relay.example.org//", NULL},
    {"https://relay.example.org\\@localhost", NULL},
    {"https://relay.example.org?", NULL},
    {"https://relay.example.org/?a=b", NULL},
    {"https://relay.example.org#", NULL},
    {"https://relay.example.org:", NULL},
    {"https://relay.example.org:0", NULL},
    {"https://relay.example.org:65536", NULL},
    {"https://relay.example.org:080", NULL},
    {"https://relay.example.org:+1", NULL},
    {"https://relay.example.org:8o", NULL},
    {"https://relay example.org", NULL},
    {" https://relay.example.org", NULL},
    {"https://relay.example.org\r\nX: y", NULL},
    {"https://rel%61y.example.org", NULL},
    {"https://rélay.example.org", NULL},
    {"https://..", NULL},
    {"https://a..b", NULL},
    {"https://-a", NULL},
    {"https://[::1", NULL},
    {"https://[]", NULL},
    {"https://[::g]", NULL},
    {"https://[fe80::1%25eth0]", NULL},
    {"https://[::1]8080", NULL},
    {"http://relay.example.org", NULL},
    {"http://127.0.0.2", NULL},
    {"http://localhost.example.org", NULL},
    {"http://localhost.", NULL},
    {"http://[::ffff:127.0.0.1]", NULL},
    {"http://2130706433", NULL},
};

START_TEST(a_relay_url_has_one_normal_form_or_is_refused_with_a_sentence)
{
    char *normal = NULL;
    struct rb_error err = {0};
    enum rb_status status = rb_url_normalise(urls[_i].text, false, &normal, &err);
    if (urls[_i].normal) {
        ck_assert_int_eq(status, RB_OK);
        ck_assert_str_eq(normal, urls[_i].normal);
        char *again = NULL;
        ck_assert_int_eq(rb_url_normalise(normal, false, &again, &err), RB_OK);
        ck_assert_str_eq(again, normal);
        free(again);
    } else {
        ck_assert_int_eq(status, RB_INVALID);
        ck_assert_int_gt(strlen(err.text), 10);
        ck_assert_ptr_null(normal);
        ck_assert_ptr_null(strstr(err.text, "pw"));
    }
    free(normal);
}
END_TEST

START_TEST(a_host_longer_than_dns_allows_is_refused)
{
    char text[300] = "https://", *normal = NULL;
    memset(text + 8, 'a', 254);
    ck_assert_int_eq(rb_url_normalise(text, false, &normal, NULL), RB_INVALID);
    text[8 + 253] = 0;
    ck_assert_int_eq(rb_url_normalise(text, false, &normal, NULL), RB_OK);
    free(normal);
}
END_TEST

START_TEST(only_exactly_1_in_the_environment_allows_http_to_other_hosts)
{
    char *normal = NULL;
    unsetenv("PULSAR_RELAY_ALLOW_INSECURE");
    ck_assert(!rb_url_insecure_allowed());
    setenv("PULSAR_RELAY_ALLOW_INSECURE", "true", 1);
    ck_assert(!rb_url_insecure_allowed());
    setenv("PULSAR_RELAY_ALLOW_INSECURE", "1", 1);
    ck_assert(rb_url_insecure_allowed());
    ck_assert_int_eq(rb_url_normalise("http://relay.example.org", rb_url_insecure_allowed(), &normal, NULL), RB_OK);
    ck_assert_str_eq(normal, "http://relay.example.org");
    free(normal);
}
END_TEST

START_TEST(encoding_leaves_only_unreserved_characters)
{
    struct rb_str out = RB_STR_INIT;
    rb_url_encode(&out, RB_SPAN("aZ09-._~ /?#%+&=\0\xc3\xa9"));
    ck_assert_str_eq(out.at, "aZ09-._~%20%2F%3F%23%25%2B%26%3D%00%C3%A9");
    rb_str_free(&out);
}
END_TEST

Suite *url_suite(void)
{
    Suite *suite = suite_create("url");
    TCase *tcase = tcase_create("url");
    tcase_add_loop_test(tcase, a_relay_url_has_one_normal_form_or_is_refused_with_a_sentence, 0,
                        sizeof urls / sizeof *urls);
    tcase_add_test(tcase, a_host_longer_than_dns_allows_is_refused);
    tcase_add_test(tcase, only_exactly_1_in_the_environment_allows_http_to_other_hosts);
    tcase_add_test(tcase, encoding_leaves_only_unreserved_characters);
    suite_add_tcase(suite, tcase);
    return suite;
}
