"""Posts on the wire face: what the caller hears, and what arrives at the relay."""
import concurrent.futures
import json
import re
import time

import pytest
import requests

import upstream
from conftest import WITHOUT_LIMITS
from harness import Broker, FakeRelay, payloads, wait_for

MIB = 1 << 20


def post_text(broker, text, headers=None):
    return requests.post(broker.url + "/api/v1/messages", data=text if isinstance(text, bytes) else text.encode(),
                         headers={"Content-Type": "application/json"} | (headers or {}), timeout=60)


def bulk(broker, messages, headers=None):
    return requests.post(broker.url + "/api/v1/messages/bulk", json={"messages": messages}, headers=headers or {},
                         timeout=60)


def outbox(broker, location):
    return requests.get(broker.url + location, timeout=10).json()


def relay_is_down(broker, fake):
    """The relay cuts every request; the broker has noticed."""
    fake.control("faults", do="cut", count=0)
    assert broker.post("probe", {}, {"Prefer": "respond-async"}).status_code == 202


# --- what the caller hears ---

def test_a_post_is_answered_with_the_relays_own_body(shared, topic):
    answer = shared.broker.post(topic, {"n": 1}, metadata={"a": "b"})
    assert answer.status_code == 201 and answer.headers["Content-Type"] == "application/json"
    stored = upstream.messages(shared.broker, shared.fake, topic)
    assert len(stored) == 1
    assert answer.json() == {k: answer.json()[k] for k in ("message_id", "topic", "timestamp")}
    assert answer.json()["message_id"] == stored[0]["message_id"] and answer.json()["topic"] == topic
    assert stored[0]["payload"] == {"n": 1} and stored[0]["metadata"]["a"] == "b"
    assert "Location" not in answer.headers


def test_the_timestamp_of_a_201_is_the_relays(shared, topic):
    ours = shared.broker.post(topic, {}).json()["timestamp"]
    direct = requests.post(shared.fake.url + "/api/v1/messages", json={"topic": topic, "payload": {}}, timeout=10,
                           headers=upstream.bearer(shared.broker)).json()["timestamp"]
    assert re.sub(r"\d", "0", ours) == re.sub(r"\d", "0", direct)


@pytest.mark.parametrize("prefer", ["respond-async", "wait=0", "return=minimal, Respond-Async", "wait=5,respond-async"])
def test_who_does_not_want_to_wait_gets_202_at_once(shared, topic, prefer):
    answer = shared.broker.post(topic, {"n": 1}, {"Prefer": prefer})
    assert answer.status_code == 202
    assert set(answer.json()) == {"message_id", "topic", "timestamp"}
    assert answer.headers["Location"] == "/v1/outbox/" + answer.json()["message_id"]
    view = wait_for(lambda: (v := outbox(shared.broker, answer.headers["Location"]))["state"] == "accepted" and v)
    assert upstream.messages(shared.broker, shared.fake, topic)[0]["message_id"] == view["message_id"]


@pytest.mark.parametrize("prefer", ["", "wait=", "wait=soon", "wait=-1", "wait=99999999999999999999", ",,;", "wait = 5"])
def test_a_preference_that_means_nothing_is_no_error(shared, topic, prefer):
    assert shared.broker.post(topic, {}, {"Prefer": prefer}).status_code == 201


def test_wait_says_how_long_the_caller_waits_for_a_slow_relay(quick, fake, topic):
    assert quick.post(topic, {}).status_code == 201
    fake.control("faults", do="hold", path="/api/v1/messages", method="POST")
    began = time.monotonic()
    answer = quick.post(topic, {"n": 1}, {"Prefer": "wait=1"})
    assert answer.status_code == 202 and 0.9 <= time.monotonic() - began < 8
    fake.control("release")
    upstream.wait_until_stored(fake, topic, 2)


def test_a_relay_that_is_down_means_202_at_once_and_delivery_in_order(quick, fake, topic):
    assert quick.post(topic, {"n": 0}).status_code == 201
    relay_is_down(quick, fake)
    answers = [quick.post(topic, {"n": n}, {"Prefer": "wait=1"}) for n in range(1, 30)]
    assert {a.status_code for a in answers} == {202}
    for answer in answers:
        assert set(answer.json()) == {"message_id", "topic", "timestamp"}
        assert answer.json()["topic"] == topic
        view = outbox(quick, answer.headers["Location"])
        assert view["id"] == answer.json()["message_id"] and view["state"] in ("queued", "sending", "unknown")
    fake.control("clear")
    upstream.wait_until_stored(fake, topic, 30)
    assert upstream.payloads(quick, fake, topic) == [{"n": n} for n in range(30)]
    wait_for(lambda: quick.status()["outbox"]["queued"] == 0)
    assert {outbox(quick, a.headers["Location"])["state"] for a in answers} == {"accepted"}


def test_a_relay_that_is_not_there_costs_no_waiting(quick, fake, topic):
    assert quick.post(topic, {"n": 0}).status_code == 201
    fake.stop()
    assert quick.post(topic, {"n": 1}, {"Prefer": "wait=30"}).status_code == 202
    began = time.monotonic()
    assert quick.post(topic, {"n": 2}, {"Prefer": "wait=30"}).status_code == 202
    assert time.monotonic() - began < 10


def test_posts_answered_202_survive_kill_9(quick, fake, topic):
    assert quick.post(topic, {"n": 0}).status_code == 201
    relay_is_down(quick, fake)
    for n in range(1, 20):
        assert quick.post(topic, {"n": n}, {"Prefer": "wait=1"}).status_code == 202
    quick.kill()
    fake.control("clear")
    quick.start()
    upstream.wait_until_stored(fake, topic, 20)
    assert upstream.payloads(quick, fake, topic) == [{"n": n} for n in range(20)]


def test_a_burst_of_600_posts_arrives_whole_and_in_order(quick, fake, topic):
    with requests.Session() as session:
        statuses = {quick.post(topic, {"n": n}, {"Prefer": "respond-async"}, session).status_code for n in range(600)}
    assert statuses == {202}
    upstream.wait_until_stored(fake, topic, 600)
    assert upstream.payloads(quick, fake, topic) == [{"n": n} for n in range(600)]


def test_a_burst_of_many_callers_loses_nothing_and_never_hears_429(quick, fake, topic):
    def post(n):
        return quick.post(topic, {"n": n}).status_code

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(post, range(200)))
    assert set(statuses) <= {201, 202}
    upstream.wait_until_stored(fake, topic, 200)
    assert sorted(p["n"] for p in upstream.payloads(quick, fake, topic)) == list(range(200))


@pytest.mark.parametrize("limit", [0, 120])
def test_429_from_the_relay_is_not_the_callers_and_costs_nothing(tmp_path, fake, topic, limit):
    broker = Broker(tmp_path, config=f"relay {{\n posts_per_minute = {limit}\n}}\n")
    broker.login(fake)
    assert broker.post(topic, {"n": 0}).status_code == 201
    fake.control("faults", do="status", status=429, retry_after="1", path="/api/v1/messages", count=2)
    answers = [broker.post(topic, {"n": n}) for n in range(1, 40)]
    assert {a.status_code for a in answers} <= {201, 202} and answers[0].status_code == 202
    upstream.wait_until_stored(fake, topic, 40, 15)
    assert upstream.payloads(broker, fake, topic) == [{"n": n} for n in range(40)]
    broker.stop()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_on_the_post_path_are_405_with_allow(shared, method):
    answer = requests.request(method, shared.broker.url + "/api/v1/messages", timeout=10)
    assert answer.status_code == 405 and answer.headers["Allow"] == "POST"


# --- idempotency keys ---

def test_the_same_key_is_the_same_message(shared, topic):
    answers = [shared.broker.post(topic, {"n": 1}, {"Idempotency-Key": f"{topic}-k"}) for _ in range(3)]
    assert {a.status_code for a in answers} == {201} and len({a.text for a in answers}) == 1
    assert upstream.payloads(shared.broker, shared.fake, topic) == [{"n": 1}]


def test_the_same_key_from_many_callers_at_once_is_one_message(shared, topic):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shared.broker.post(topic, {"n": 1}, {"Idempotency-Key": f"{topic}-k"}),
                                range(8)))
    assert {a.status_code for a in answers} == {201} and len({a.json()["message_id"] for a in answers}) == 1
    assert upstream.length(shared.fake, topic) == 1


@pytest.mark.parametrize("second", [{"payload": {"n": 2}}, {"topic": "elsewhere", "payload": {"n": 1}},
                                    {"payload": {"n": 1}, "ttl": 5}, {"payload": {"n": 1}, "metadata": {"a": "b"}}])
def test_the_same_key_with_another_body_is_422(shared, topic, second):
    key = {"Idempotency-Key": f"{topic}-k"}
    assert shared.broker.post(topic, {"n": 1}, key).status_code == 201
    answer = requests.post(shared.broker.url + "/api/v1/messages", json={"topic": topic} | second, headers=key,
                           timeout=30)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]
    assert upstream.payloads(shared.broker, shared.fake, topic) == [{"n": 1}]


def test_an_empty_key_is_no_key(shared, topic):
    for n in range(2):
        assert shared.broker.post(topic, {"n": n}, {"Idempotency-Key": ""}).status_code == 201
    assert upstream.length(shared.fake, topic) == 2


def test_a_key_of_255_bytes_is_taken_and_a_longer_one_is_422(shared, topic):
    assert shared.broker.post(topic, {}, {"Idempotency-Key": "k" * 255}).status_code == 201
    assert shared.broker.post(topic, {}, {"Idempotency-Key": "k" * 256}).status_code == 422


def test_a_key_is_remembered_across_kill_9(quick, fake, topic):
    key = {"Idempotency-Key": "one"}
    first = quick.post(topic, {"n": 1}, key)
    assert first.status_code == 201
    quick.kill()
    quick.start()
    again = quick.post(topic, {"n": 1}, key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert quick.post(topic, {"n": 2}, key).status_code == 422
    assert upstream.length(fake, topic) == 1


def test_a_key_of_a_queued_post_is_remembered_across_kill_9(quick, fake, topic):
    assert quick.post(topic, {"n": 0}).status_code == 201
    relay_is_down(quick, fake)
    key = {"Idempotency-Key": "two", "Prefer": "wait=1"}
    first = quick.post(topic, {"n": 1}, key)
    assert first.status_code == 202
    quick.kill()
    quick.start()
    again = quick.post(topic, {"n": 1}, key)
    assert (again.status_code, again.json()["message_id"]) == (202, first.json()["message_id"])
    fake.control("clear")
    upstream.wait_until_stored(fake, topic, 2)
    done = wait_for(lambda: (a := quick.post(topic, {"n": 1}, key)).status_code == 201 and a)
    assert done.json()["message_id"] == upstream.messages(quick, fake, topic)[1]["message_id"]
    assert upstream.length(fake, topic) == 2


# --- bulk ---

def test_a_bulk_is_207_and_arrives_in_order(shared, topic):
    answer = bulk(shared.broker, [{"topic": topic, "payload": {"n": n}} for n in range(100)])
    body = answer.json()
    assert answer.status_code == 207 and set(body) == {"results", "summary"}
    assert body["summary"] == {"total": 100, "accepted": 100, "rejected": 0}
    assert all(set(r) == {"message_id", "topic", "status", "error"} for r in body["results"])
    assert all((r["topic"], r["status"], r["error"]) == (topic, "accepted", None) for r in body["results"])
    assert len({r["message_id"] for r in body["results"]}) == 100
    upstream.wait_until_stored(shared.fake, topic, 100)
    assert upstream.payloads(shared.broker, shared.fake, topic) == [{"n": n} for n in range(100)]


def test_ids_of_a_bulk_are_understood_by_since(shared, topic):
    results = bulk(shared.broker, [{"topic": topic, "payload": {"n": n}} for n in range(5)]).json()["results"]
    upstream.wait_until_stored(shared.fake, topic, 5)
    wait_for(lambda: shared.broker.status()["outbox"]["sending"] == 0)
    answer = shared.broker.poll(topic, {topic: results[2]["message_id"]}, timeout=5)
    assert payloads(answer) == [{"n": 3}, {"n": 4}]


@pytest.mark.parametrize("count", [0, 101])
def test_a_bulk_has_1_to_100_messages(shared, topic, count):
    answer = bulk(shared.broker, [{"topic": topic, "payload": {}}] * count)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "messages"]


def test_a_bulk_with_one_bad_message_is_refused_whole_and_names_it(shared, topic):
    messages = [{"topic": topic, "payload": {}}, {"topic": topic, "payload": 5}, {"topic": "a/b", "payload": {}}]
    answer = bulk(shared.broker, messages)
    assert answer.status_code == 422
    assert [i["loc"] for i in answer.json()["detail"]] == [["body", "messages", 1, "payload"],
                                                           ["body", "messages", 2, "topic"]]
    assert upstream.length(shared.fake, topic) == 0


def test_the_same_key_makes_a_bulk_the_same_bulk(shared, topic):
    messages = [{"topic": topic, "payload": {"n": n}} for n in range(3)]
    key = {"Idempotency-Key": topic}
    answers = [bulk(shared.broker, messages, key) for _ in range(2)]
    assert {a.status_code for a in answers} == {207}
    upstream.wait_until_stored(shared.fake, topic, 3)
    last = bulk(shared.broker, messages, key).json()
    assert last["summary"] == {"total": 3, "accepted": 3, "rejected": 0}
    wait_for(lambda: [r["message_id"] for r in bulk(shared.broker, messages, key).json()["results"]] ==
             [m["message_id"] for m in upstream.messages(shared.broker, shared.fake, topic)])
    assert upstream.length(shared.fake, topic) == 3


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_same_key_with_another_bulk_is_422_and_adds_nothing(shared, topic, count):
    key = {"Idempotency-Key": topic}
    assert bulk(shared.broker, [{"topic": topic, "payload": {"n": n}} for n in range(3)], key).status_code == 207
    other = [{"topic": topic, "payload": {"n": n}} for n in range(count)]
    if count == 2:
        other[1]["payload"] = {"other": 1}
    assert bulk(shared.broker, other, key).status_code == 422
    assert shared.broker.post(topic, {"end": 1}).status_code in (201, 202)
    upstream.wait_until_stored(shared.fake, topic, 4)
    assert upstream.payloads(shared.broker, shared.fake, topic) == [{"n": 0}, {"n": 1}, {"n": 2}, {"end": 1}]


def test_a_repeated_bulk_tells_what_the_relay_has_refused_meanwhile(quick, fake, topic):
    assert quick.post(topic, {}).status_code == 201
    fake.control("user", username="alice", password="correct horse battery", permissions="read")
    key = {"Idempotency-Key": "k"}
    messages = [{"topic": topic, "payload": {"n": n}} for n in range(2)]
    assert bulk(quick, messages, key).status_code == 207
    wait_for(lambda: quick.status()["outbox"]["refused"] == 2)
    body = bulk(quick, messages, key).json()
    assert body["summary"] == {"total": 2, "accepted": 0, "rejected": 2}
    assert all(r["status"] == "rejected" and r["error"] for r in body["results"])


# --- bounds ---

def test_a_full_outbox_is_503_with_retry_after_and_drops_nothing(tmp_path, fake, topic):
    broker = Broker(tmp_path, config="outbox {\n rows = 3\n}\nrelay {\n unknown_wait_seconds = 1\n}\n")
    broker.login(fake)
    fake.control("faults", do="cut", count=0)
    statuses = [broker.post(topic, {"n": n}, {"Prefer": "respond-async"}).status_code for n in range(3)]
    full = broker.post(topic, {"n": 3})
    assert statuses == [202] * 3
    assert full.status_code == 503 and int(full.headers["Retry-After"]) > 0 and full.json()["message"]
    assert bulk(broker, [{"topic": topic, "payload": {}}]).status_code == 503
    answer = requests.post(broker.url + "/v1/outbox", json={"topic": topic, "payload": {}}, timeout=10)
    assert answer.status_code == 503 and answer.headers["Content-Type"] == "application/problem+json"
    fake.control("clear")
    upstream.wait_until_stored(fake, topic, 3)
    wait_for(lambda: broker.post(topic, {"n": 4}).status_code == 201)
    assert upstream.payloads(broker, fake, topic) == [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 4}]
    broker.stop()


def open_rows(broker):
    outbox = broker.status()["outbox"]
    return outbox["queued"] + outbox["sending"] + outbox["unknown"]


def test_of_a_bulk_at_the_edge_of_the_bounds_all_or_nothing_is_stored(tmp_path, fake, topic):
    """Its rows count with their stamps, which are not in what the caller sent."""
    broker = Broker(tmp_path, config="limits {\n user_percent = 50\n}\noutbox {\n bytes = 2097152\n}\n" + WITHOUT_LIMITS)
    broker.login(fake)
    assert broker.post(topic, {}).status_code == 201
    fake.control("faults", do="status", status=429, retry_after="60", path="/api/v1/messages", count=0)

    def message(n, size):
        text = f'{{"topic":"{topic}","payload":{{"n":{n},"x":""}}}}'
        return text[:-3] + "x" * (size - len(text)) + text[-3:]

    def send(size):
        return requests.post(broker.url + "/api/v1/messages/bulk", headers={"Content-Type": "application/json"}, timeout=20,
                             data='{"messages":[' + ",".join(message(n, size) for n in range(100)) + "]}")

    answer = send(10440)
    assert answer.status_code == 503 and "one user may fill is full" in answer.json()["message"]
    assert open_rows(broker) == 0
    assert send(10400).status_code == 207
    assert open_rows(broker) == 100
    broker.stop()


def test_o5_a_repeated_bulk_hears_its_first_result_from_a_full_outbox(tmp_path, fake, topic):
    broker = Broker(tmp_path, config="outbox {\n rows = 3\n}\n" + WITHOUT_LIMITS)
    broker.login(fake)
    fake.control("faults", do="status", status=429, retry_after="60", path="/api/v1/messages", count=0)
    messages = [{"topic": topic, "payload": {"n": n}} for n in range(3)]
    first = bulk(broker, messages, {"Idempotency-Key": "k"})
    assert first.status_code == 207 and bulk(broker, messages).status_code == 503
    again = bulk(broker, messages, {"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (207, first.json())
    assert bulk(broker, messages[:2], {"Idempotency-Key": "k"}).status_code == 422
    assert open_rows(broker) == 3
    broker.stop()


# --- bytes (O8) ---

def nested(levels):
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


SAME_BYTES = {
    "integers_of_30_digits": '{"n": 123456789012345678901234567890, "m": -999999999999999999999999999999}',
    "the_order_of_keys": '{"z": 1, "a": 2, "m": {"y": 1, "b": 2}}',
    "escapes_of_zero": '{"s": "a\\u0000b"}',
    "surrogate_pairs": '{"s": "\\ud83d\\ude00"}',
    "unicode": '{"s": "\u00e4\u4e2d\U0001f600"}',
    "white_space_and_unusual_numbers": '{ "a" :\t1.50 ,\n"b": 1e2, "c": -0.0, "d": 1E+400 }',
    "double_keys": '{"a": 1, "a": 2}',
    "nan_and_infinity": '{"a": NaN, "b": Infinity, "c": -Infinity}',
    "255_levels": nested(255),
}


def payload_text(answer_text):
    """The payload of the only message in an answer, as text."""
    start = answer_text.index('"payload":') + len('"payload":')
    return answer_text[start:answer_text.index(',"timestamp"', start)].strip()


@pytest.mark.parametrize("text", SAME_BYTES.values(), ids=SAME_BYTES)
def test_a_payload_reads_as_if_the_broker_were_not_there(shared, topic, text):
    """Straight to the relay and through the broker: the relay gives back the same; and the broker what the relay gives."""
    upstream.publish(shared.broker, shared.fake, topic + "-direct", text)
    answer = post_text(shared.broker, f'{{"topic": "{topic}", "payload": {text}}}')
    assert answer.status_code == 201, answer.text

    def at_relay(name):
        return requests.get(f"{shared.fake.url}/api/v1/topics/{name}/messages", timeout=10,
                            headers=upstream.bearer(shared.broker)).text

    assert payload_text(at_relay(topic)) == payload_text(at_relay(topic + "-direct"))
    polled = requests.post(shared.broker.url + "/messages/poll", timeout=20,
                           json={"topics": [topic], "since": {topic: "0-0"}, "timeout": 5})
    start = polled.text.index('"payload":') + len('"payload":')
    assert polled.text[start:].startswith(payload_text(at_relay(topic)))
    page = requests.get(f"{shared.broker.url}/api/v1/topics/{topic}/messages", timeout=10)
    assert payload_text(page.text) == payload_text(at_relay(topic))


def body_of(topic, size):
    head, tail = f'{{"topic": "{topic}", "payload": {{"p": "', '"}}'
    return head + "x" * (size - len(head) - len(tail)) + tail


def test_a_body_of_exactly_1_mib_arrives(shared, topic):
    assert post_text(shared.broker, body_of(topic, MIB)).status_code == 201
    message = upstream.messages(shared.broker, shared.fake, topic)[0]
    assert len(message["payload"]["p"]) == len(body_of(topic, MIB)) - len(body_of(topic, 100)) + \
        len(json.loads(body_of(topic, 100))["payload"]["p"])


def test_a_body_of_1_mib_and_a_byte_is_413_in_the_relays_words(shared, topic):
    before = upstream.asked(shared.fake.state()["counts"])
    answer = post_text(shared.broker, body_of(topic, MIB + 1))
    assert answer.status_code == 413
    assert answer.json()["error"] == "PAYLOAD_TOO_LARGE" and answer.json()["message"]
    assert upstream.asked(shared.fake.state()["counts"]) == before


LONE = ['{"s": "\\ud800"}', '{"s": "\\udc00x"}', '{"\\ud800": 1}']


@pytest.mark.parametrize("text, kind, where", [
    (text, "surrogate", where) for text in LONE for where in ("payload", "metadata", "bulk", "outbox")] + [
    (nested(levels), "255", where) for levels in (256, 700) for where in ("payload", "bulk", "outbox")])
def test_poison_is_refused_with_422_before_it_reaches_the_relay(shared, topic, text, kind, where):
    message = f'{{"topic": "{topic}", "payload": {text}}}'
    path = "/api/v1/messages"
    if where == "metadata":
        message = f'{{"topic": "{topic}", "payload": {{}}, "metadata": {text.replace(": 1", ": " + chr(34) * 2)}}}'
    elif where == "bulk":
        message, path = f'{{"messages": [{message}]}}', "/api/v1/messages/bulk"
    elif where == "outbox":
        path = "/v1/outbox"
    before = upstream.asked(shared.fake.state()["counts"])
    answer = requests.post(shared.broker.url + path, data=message, headers={"Content-Type": "application/json"},
                           timeout=10)
    assert answer.status_code == 422 and kind in answer.text
    assert upstream.asked(shared.fake.state()["counts"]) == before


def test_a_ttl_is_passed_on_and_expires_nothing_here(quick, fake, topic):
    assert quick.post(topic, {"n": 0}).status_code == 201
    relay_is_down(quick, fake)
    answer = quick.post(topic, {"n": 1}, {"Prefer": "wait=1"}, ttl=1)
    assert answer.status_code == 202
    made = time.monotonic()
    wait_for(lambda: time.monotonic() - made > 1.5)
    fake.control("clear")
    upstream.wait_until_stored(fake, topic, 2)
