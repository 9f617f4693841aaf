"""TLS between broker and relay: what is refused, and in which words."""
import pytest

import harness
from trouble import TlsProxy, complaint, wait_drained
from harness import wait_for

BAD = {
    "another host's name": ({"host": "DNS:relay.example.org"}, True,
                            "SSL: no alternative certificate subject name matches target host name '127.0.0.1'"),
    "expired": ({"days": -1}, True, "SSL certificate problem: certificate has expired"),
    "of an unknown authority": ({}, False, "SSL certificate problem: unable to get local issuer certificate"),
}


@pytest.fixture
def tls_of(tmp_path):
    def make(name, **options):
        folder = tmp_path / name
        folder.mkdir()
        return harness.Tls(folder, **options)

    return make


@pytest.fixture
def proxy_of(relay_of):
    proxies = []

    def make(tls):
        proxies.append(TlsProxy(relay_of().port, tls))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.stop()


def log_in(broker, url, ca_file=None, check=True):
    argv = ["login", "main", "--relay", url, "--username", harness.USER, "--password-stdin"]
    argv += ["--ca-file", str(ca_file)] if ca_file else []
    return broker.run(*argv, stdin=harness.PASSWORD + "\n", check=check)


def test_a_good_certificate_of_an_authority_of_ones_own_is_accepted_with_its_file(broker_of, tls_of, proxy_of):
    tls = tls_of("good")
    proxy, broker = proxy_of(tls), broker_of()
    assert log_in(broker, proxy.url, tls.ca).stdout == "main is logged in.\n"
    assert broker.post("t", {"n": 1}).status_code == 201
    broker.stop()
    broker.start()
    assert broker.post("t", {"n": 2}).status_code == 201
    assert [p["n"] for p in harness.payloads(broker.poll("t", {"t": "0-0"}, 5))] == [1, 2]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_certificate_is_refused_at_the_login_in_words(broker_of, tls_of, proxy_of, kind):
    options, with_file, words = BAD[kind]
    tls = tls_of("bad", **options)
    proxy, broker = proxy_of(tls), broker_of()
    said = complaint(log_in(broker, proxy.url, tls.ca if with_file else None, check=False))
    assert said == f"The login at {proxy.url} failed: the relay cannot be reached: {words}."
    assert broker.status()["accounts"] == []


def test_a_certificate_that_expires_later_is_complained_of_and_holds_posts_until_it_is_renewed(
        broker_of, tls_of, proxy_of):
    good = tls_of("good")
    proxy, broker = proxy_of(good), broker_of()
    log_in(broker, proxy.url, good.ca)
    assert broker.post("t", {"n": 0}).status_code == 201
    proxy.use(tls_of("expired", days=-1))
    wait_for(lambda: broker.post("t", {"n": 1}, headers={"Prefer": "wait=1"}).status_code == 202,
             what="a post that is kept")
    start = f"warning outbox: the relay {proxy.url} does not answer: SSL certificate problem: "
    wait_for(lambda: any(line.startswith(start) for line in broker.process.text().splitlines()),
             what="a line about the relay")
    assert broker.account()["state"] == "active"
    proxy.use(good)
    wait_drained(broker)
    assert broker.status()["outbox"]["refused"] == 0


def test_an_authorities_file_that_is_not_there_or_no_certificate_is_a_sentence(broker_of, tls_of, proxy_of, tmp_path):
    tls = tls_of("good")
    proxy, broker = proxy_of(tls), broker_of()
    nothing, other = tmp_path / "nothing.pem", tmp_path / "other.pem"
    other.write_text("this is no certificate\n")
    for path in nothing, other:
        said = complaint(log_in(broker, proxy.url, path, check=False))
        assert str(path) in said, said


def test_a_relay_that_speaks_no_tls_is_a_sentence(relay_of, broker_of):
    url = f"https://127.0.0.1:{relay_of().port}"
    said = complaint(log_in(broker_of(), url, check=False))
    assert said.startswith(f"The login at {url} failed: the relay cannot be reached: ")
