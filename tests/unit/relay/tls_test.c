#include "relay_test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"
#include "wire.h"

/* A TLS server of openssl's command line, with an authority and a certificate for 127.0.0.1 made for the test. */
static char folder[] = "/tmp/relay-tls-XXXXXX";
static char ca[64], other_ca[64];
static pid_t child;
static int port;
static struct wire wire;

/* Runs in the folder. */
static void run(const char *command)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && { %s; } >>log 2>&1", folder, command);
    ck_assert_msg(system(line) == 0, "%s failed: see %s/log", command, folder);
}

static void make_certificates(void)
{
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2"
        " -subj /CN=test-authority");
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -out other.pem -days 2"
        " -subj /CN=other-authority");
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr"
        " -subj /CN=relay");
    run("echo subjectAltName=IP:127.0.0.1 >san");
    run("openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san"
        " -out server.pem");
    run("printf 'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 37\\r\\n\\r\\n"
        "{\"status\":\"healthy\",\"version\":\"test\"}' >health");
}

/* The server writes "ACCEPT host:port" when it listens. */
static void start_server(void)
{
    int out[2];
    char text[256];
    size_t len = 0;
    ck_assert_int_eq(pipe(out), 0);
    child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(out[1], 1);
        dup2(null, 2);
        if (chdir(folder) == 0)
            execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "server.pem", "-key",
                   "server.key", "-HTTP", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    const char *accept = NULL, *end = NULL;
    while (!end && len < sizeof text - 1) {
        ssize_t got = read(out[0], text + len, sizeof text - 1 - len);
        ck_assert_int_gt(got, 0);
        len += (size_t)got;
        text[len] = 0;
        accept = strstr(text, "ACCEPT ");
        end = accept ? strchr(accept, '\n') : NULL;
    }
    ck_assert_ptr_nonnull(end);
    port = (int)strtol(strchr(accept, ':') + 1, NULL, 10);
    ck_assert_int_gt(port, 0);
    /* The pipe stays open: a server that cannot write its lines would die. */
}

static void setup(void)
{
    static const char *const proxies[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
        unsetenv(proxies[i]);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(ca, sizeof ca, "%s/ca.pem", folder);
    snprintf(other_ca, sizeof other_ca, "%s/other.pem", folder);
    make_certificates();
    start_server();
}

static void teardown(void)
{
    if (child > 0) {
        kill(child, SIGTERM);
        waitpid(child, NULL, 0);
    }
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    ck_assert_int_eq(system(line), 0);
}

static void ask(const char *host, const char *ca_file)
{
    wire_start(&wire, "https", host, port);
    wire.peer.ca_file = ca_file;
    wire_health(&wire);
    wire_stop(&wire);
}

START_TEST(a_relay_whose_certificate_our_authority_signed_is_believed)
{
    ask("127.0.0.1", ca);
    ck_assert_msg(wire.answer.end == RB_END_EXECUTED, "%s", wire.answer.detail);
}
END_TEST

static void refused_because(const char *cause)
{
    ck_assert_int_eq(wire.answer.end, RB_END_NOT_EXECUTED);
    ck_assert_int_eq(wire.answer.problem, RB_PROBLEM_UNREACHABLE);
    ck_assert_msg(strcasestr(wire.answer.detail, cause) != NULL, "%s", wire.answer.detail);
}

START_TEST(an_unknown_authority_is_not_executed_and_says_so)
{
    ask("127.0.0.1", NULL);
    refused_because("certificate");
    ask("127.0.0.1", other_ca);
    refused_because("certificate");
}
END_TEST

START_TEST(a_certificate_for_another_host_is_not_executed_and_says_so)
{
    ask("localhost", ca);
    refused_because("localhost");
}
END_TEST

START_TEST(a_ca_file_that_cannot_be_read_is_not_executed_and_says_so)
{
    ask("127.0.0.1", "/nonexistent/ca.pem");
    refused_because("ca.pem");
}
END_TEST

START_TEST(a_server_that_cuts_or_garbles_tls_is_not_executed)
{
    static const struct step cut = {ACT_CUT_AT_ACCEPT, NULL};
    struct server server;
    server_start(&server, "", &cut, 1);
    wire_start(&wire, "https", "127.0.0.1", server.port);
    wire_refresh(&wire, "jti.secret");
    ck_assert_int_eq(wire.answer.end, RB_END_NOT_EXECUTED);
    ck_assert_uint_eq(server.requests, 0);
    ck_assert_uint_eq(server.connections, 1);
    wire_stop(&wire);
    server_stop(&server);
    server_free(&server);
}
END_TEST

Suite *tls_suite(void)
{
    Suite *suite = suite_create("tls");
    TCase *tcase = tcase_create("tls");
    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_relay_whose_certificate_our_authority_signed_is_believed);
    tcase_add_test(tcase, an_unknown_authority_is_not_executed_and_says_so);
    tcase_add_test(tcase, a_certificate_for_another_host_is_not_executed_and_says_so);
    tcase_add_test(tcase, a_ca_file_that_cannot_be_read_is_not_executed_and_says_so);
    tcase_add_test(tcase, a_server_that_cuts_or_garbles_tls_is_not_executed);
    suite_add_tcase(suite, tcase);
    return suite;
}
