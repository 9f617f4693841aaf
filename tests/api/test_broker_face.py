"""The broker's own face, /v1, and its state: /health, /ready, /metrics."""
import re
import time

import pytest
import requests

import upstream
from harness import USER, wait_for

STATES = {"queued", "sending", "unknown", "accepted", "refused", "expired"}


def post(broker, body, headers=None, query=""):
    return requests.post(broker.url + "/v1/outbox" + query, json=body, headers=headers or {}, timeout=30)


def view(broker, post_id):
    return requests.get(f"{broker.url}/v1/outbox/{post_id}", timeout=10)


def problem(answer, status):
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and body["title"] and body["detail"] and body["type"].startswith("urn:relay-broker:")
    return body


def test_a_post_says_that_the_relay_has_it(shared, topic):
    answer = post(shared.broker, {"topic": topic, "payload": {"n": 1}})
    body = answer.json()
    assert answer.status_code == 201 and answer.headers["Location"] == "/v1/outbox/" + body["id"]
    stored = upstream.messages(shared.broker, shared.fake, topic)[0]
    assert body["state"] == "accepted" and body["message_id"] == stored["message_id"] and body["attempts"] == 1
    assert body["topic"] == topic and body["refusal"] is None and body["maybe_duplicate"] is False
    assert body["ended_ms"] >= body["at_ms"] > 1.6e12
    assert view(shared.broker, body["id"]).json() == body


def test_a_post_that_cannot_be_sent_is_queued_and_says_so(quick, fake, topic):
    fake.control("faults", do="status", status=503, count=0)
    answer = post(quick, {"topic": topic, "payload": {}}, {"Prefer": "respond-async"})
    assert answer.status_code == 202 and answer.json()["state"] in ("queued", "sending", "unknown")
    assert answer.json()["message_id"] is None and answer.json()["ended_ms"] is None
    fake.control("clear")
    wait_for(lambda: view(quick, answer.json()["id"]).json()["state"] == "accepted")


def test_a_post_the_relay_refuses_says_why(quick, fake, topic):
    assert post(quick, {"topic": topic, "payload": {"n": 0}}).status_code == 201
    fake.control("user", username=USER, permissions="read", password="correct horse battery")
    answer = post(quick, {"topic": topic, "payload": {"n": 1}})
    body = answer.json()
    assert answer.status_code == 422 and body["state"] == "refused"
    assert body["refusal"]["status"] == 403 and body["refusal"]["detail"]
    assert view(quick, body["id"]).json()["state"] == "refused"
    assert upstream.length(fake, topic) == 1


def test_a_post_that_could_not_be_sent_by_its_time_expires_visibly(quick, fake, topic):
    fake.control("faults", do="status", status=429, retry_after="8", path="/api/v1/messages", count=1)
    expires = int(time.time() * 1000) + 5000
    body = post(quick, {"topic": topic, "payload": {}, "expires_at": expires}, {"Prefer": "respond-async"}).json()
    assert body["state"] in ("queued", "sending")
    ended = wait_for(lambda: (v := view(quick, body["id"]).json())["ended_ms"] and v)
    assert ended["state"] == "expired" and ended["ended_ms"] >= expires
    assert upstream.length(fake, topic) == 0


@pytest.mark.parametrize("expires", [0, 1, -5, "soon", 1.5, True])
def test_expires_at_is_a_time_to_come(shared, topic, expires):
    body = problem(post(shared.broker, {"topic": topic, "payload": {}, "expires_at": expires}), 422)
    assert "expires_at" in body["detail"]


def test_expires_at_null_is_never(shared, topic):
    assert post(shared.broker, {"topic": topic, "payload": {}, "expires_at": None}).status_code == 201


@pytest.mark.parametrize("post_id", ["outbox-0", "outbox-999999999", "outbox-99999999999999999999", "5", "outbox-", "x",
                                     "outbox--1", "outbox-1x", "outbox-%31%00", "outbox-+1", "OUTBOX-1"])
def test_a_post_that_is_not_there_is_404(shared, post_id):
    problem(view(shared.broker, post_id), 404)


def test_the_same_key_is_the_same_post_and_another_body_422(shared, topic):
    key = {"Idempotency-Key": f"v1-{topic}"}
    first = post(shared.broker, {"topic": topic, "payload": {"n": 1}}, key)
    assert post(shared.broker, {"topic": topic, "payload": {"n": 1}}, key).json()["id"] == first.json()["id"]
    assert "key_reused" in problem(post(shared.broker, {"topic": topic, "payload": {"n": 2}}, key), 422)["type"]
    assert upstream.length(shared.fake, topic) == 1


def test_an_account_is_named_in_the_query(shared, topic):
    assert post(shared.broker, {"topic": topic, "payload": {}}, query="?account=main").status_code == 201
    assert "no_account" in problem(post(shared.broker, {"topic": topic, "payload": {}}, query="?account=x"), 404)["type"]


def test_status_shows_no_names_and_urls_to_callers(shared):
    body = requests.get(shared.broker.url + "/v1/status", timeout=10).json()
    assert {"version", "uptime_s", "accounts", "outbox", "inbox", "sessions", "http"} == set(body)
    assert [(a["name"], a["state"]) for a in body["accounts"]] == [("main", "active")]
    assert USER not in str(body) and shared.fake.url not in str(body)


def test_the_admin_status_knows_more(shared):
    body = shared.broker.status()
    account = body["accounts"][0]
    assert account["relay_url"] == shared.fake.url and account["username"] == USER
    assert body["doors"][0]["name"] == "default" and body["state_dir"] == str(shared.broker.state)
    assert isinstance(body["events"], list)


def test_health_has_the_relays_shape(shared):
    ours = requests.get(shared.broker.url + "/health", timeout=10)
    theirs = requests.get(shared.fake.url + "/health", timeout=10).json()
    assert ours.status_code == 200 and set(ours.json()) == set(theirs) and ours.json()["status"] == "healthy"


def test_ready_says_what_is_missing(tmp_path, broker):
    answer = requests.get(broker.url + "/ready", timeout=10)
    assert answer.status_code == 200 and answer.json()["ready"] is True and set(answer.json()) == {"ready", "checks"}
    broker.run("logout", "main")
    answer = requests.get(broker.url + "/ready", timeout=10)
    assert answer.status_code == 503 and answer.json()["ready"] is False
    assert answer.json()["checks"]["login"] != "ok" and answer.json()["checks"]["storage"] == "ok"


def metrics(broker):
    """Parsed by the text format's rules: every sample typed and helped, once."""
    answer = requests.get(broker.url + "/metrics", timeout=10)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer.text.endswith("\n")
    helped, types, samples = set(), {}, {}
    for line in answer.text.splitlines():
        if match := re.fullmatch(r"# HELP ([a-z_]+) (\S.*)", line):
            assert match[1] not in helped
            helped.add(match[1])
        elif match := re.fullmatch(r"# TYPE ([a-z_]+) (counter|gauge)", line):
            assert match[1] not in types
            types[match[1]] = match[2]
        else:
            match = re.fullmatch(r"([a-z_]+) ([0-9.e+-]+)", line)
            assert match and match[1] in types and match[1] in helped and match[1] not in samples, line
            samples[match[1]] = float(match[2])
            assert match[1].startswith("relay_broker_")
            assert match[1].endswith("_total") == (types[match[1]] == "counter"), match[1]
    assert helped == set(types) == set(samples)
    return samples


def test_d8_metrics_are_prometheus_text_without_labels(shared, topic):
    before = metrics(shared.broker)
    assert shared.broker.post(topic, {}).status_code == 201
    requests.get(shared.broker.url + "/nothing", headers={"Origin": "null"}, timeout=10)
    after = metrics(shared.broker)
    assert set(before) == set(after)
    assert after["relay_broker_outbox_accepted_total"] == before["relay_broker_outbox_accepted_total"] + 1
    assert after["relay_broker_http_refused_total"] > before["relay_broker_http_refused_total"]
    assert after["relay_broker_http_requests_total"] > before["relay_broker_http_requests_total"]
    assert after["relay_broker_accounts"] == after["relay_broker_accounts_active"] == 1


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/outbox/", "/v1/outbox/a/b", "/admin/status",
                                  "/v1/consumers/x"])
def test_other_paths_are_404(shared, path):
    answer = requests.get(shared.broker.url + path, timeout=10)
    assert answer.status_code == 404
    assert answer.json()["detail"]


@pytest.mark.parametrize("method, path, allow", [("GET", "/v1/outbox", "POST"), ("DELETE", "/v1/outbox/outbox-1", "GET"),
                                                 ("POST", "/health", "GET"), ("PUT", "/v1/status", "GET")])
def test_other_methods_are_405_with_allow(shared, method, path, allow):
    answer = requests.request(method, shared.broker.url + path, timeout=10)
    problem(answer, 405)
    assert answer.headers["Allow"] == allow


def test_d5_every_answer_forbids_sniffing_and_storing(shared):
    for answer in (requests.get(shared.broker.url + "/health", timeout=10),
                   requests.get(shared.broker.url + "/nothing", timeout=10),
                   requests.options(shared.broker.url + "/health", timeout=10),
                   requests.post(shared.broker.url + "/v1/outbox", json={}, timeout=10)):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert not any(h.lower().startswith("access-control") for h in answer.headers)
