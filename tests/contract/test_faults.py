"""The fake relay's own part: faults on demand (`relay-broker fake-relay --help`)."""

import http.client
import json
import threading
import time

import pytest
import requests

from relays import Waiting, until


@pytest.fixture
def fake(own_relay, make_user):
    if own_relay.real:
        pytest.skip(f"{own_relay.kind}: only the fake relay breaks on demand")
    return make_user(own_relay).login()


def state(user):
    return requests.get(user.relay.url + "/fake/state", timeout=10).json()


def length(user, topic):
    return next((t["length"] for t in state(user)["topics"] if (t["username"], t["topic"]) == (user.name, topic)), 0)


def test_a_dropped_post_is_stored(fake):
    fake.relay.order("faults", do="drop", method="POST", path="/api/v1/messages")
    with pytest.raises(requests.ConnectionError):
        fake.post("t", {}, key="k")
    assert length(fake, "t") == 1
    fake.send("t", {}, key="k")
    assert length(fake, "t") == 1


def test_a_cut_post_is_not(fake):
    fake.relay.order("faults", do="cut", path="/api/v1/messages", count=2)
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            fake.post("t", {})
    fake.send("t", {})
    assert length(fake, "t") == 1


def test_a_dropped_refresh_has_rotated_the_token(fake):
    fake.relay.order("faults", do="drop", path="/auth/token/refresh")
    with pytest.raises(requests.ConnectionError):
        fake.refresh(fake.token)
    assert fake.refresh(fake.token).status_code == 401
    assert state(fake)["counts"]["replays"] == 1


@pytest.mark.parametrize("when, stored", [("before", 0), ("after", 1)])
def test_another_status_before_or_after_the_work(fake, when, stored):
    fake.relay.order("faults", do="status", status=503, retry_after=7, when=when, path="/api/v1/messages")
    answer = fake.post("t", {})
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "7"
    assert length(fake, "t") == stored
    assert fake.post("t", {}).status_code == 201


def test_429_has_the_relays_words(fake):
    fake.relay.order("faults", do="status", status=429)
    answer = fake.post("t", {})
    assert answer.status_code == 429 and answer.json() == {"error": "Rate limit exceeded: 120 per 1 minute"}


def test_a_captive_portal_answers_everything_until_it_is_cleared(fake):
    fake.relay.order("faults", do="html", count=0)
    for _ in range(3):
        answer = fake.post("t", {})
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html")
    fake.relay.order("clear")
    assert fake.post("t", {}).status_code == 201


def test_a_held_post_is_done_when_it_is_released(fake):
    fake.relay.order("faults", do="hold", path="/api/v1/messages")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(fake.post("t", {})))
    thread.start()
    until(lambda: state(fake)["held"] == 1, "the post to be held")
    assert fake.post("u", {}).status_code == 201
    assert length(fake, "t") == 0
    fake.relay.order("release")
    thread.join(30)
    assert answers[0].status_code == 201 and length(fake, "t") == 1


def test_a_held_post_may_be_dropped_next(fake):
    fake.relay.order("faults", do="hold")
    fake.relay.order("faults", do="drop")
    errors = []

    def post():
        try:
            fake.post("t", {})
        except requests.ConnectionError as error:
            errors.append(error)

    thread = threading.Thread(target=post)
    thread.start()
    until(lambda: state(fake)["held"] == 1, "the post to be held")
    fake.relay.order("release")
    thread.join(30)
    assert errors and length(fake, "t") == 1


def test_a_held_post_whose_client_has_gone_is_still_done(fake):
    fake.relay.order("faults", do="hold")
    client = http.client.HTTPConnection("127.0.0.1", fake.relay.port, timeout=20)
    client.request("POST", "/api/v1/messages", json.dumps({"topic": "t", "payload": {}}),
                   {"Content-Type": "application/json", "Authorization": f"Bearer {fake.bearer}"})
    until(lambda: state(fake)["held"] == 1, "the post to be held")
    client.close()
    assert length(fake, "t") == 0
    fake.relay.order("release")
    until(lambda: length(fake, "t") == 1, "the post to be done")


def test_a_delay_lasts(fake):
    fake.relay.order("faults", do="delay", ms=400)
    began = time.monotonic()
    assert fake.post("t", {}).status_code == 201
    assert time.monotonic() - began >= 0.39


def test_a_restart_cuts_held_requests(fake):
    fake.relay.order("faults", do="hold")
    errors = []

    def post():
        try:
            fake.post("t", {})
        except requests.ConnectionError as error:
            errors.append(error)

    thread = threading.Thread(target=post)
    thread.start()
    until(lambda: state(fake)["held"] == 1, "the post to be held")
    fake.relay.order("restart")
    thread.join(30)
    assert errors and state(fake)["held"] == 0


def test_revoked_chains_and_wiped_messages(fake):
    fake.send("t", {})
    fake.relay.order("revoke", username=fake.name)
    assert fake.refresh(fake.token).status_code == 401
    assert next(u for u in state(fake)["users"] if u["username"] == fake.name)["live_tokens"] == 0
    fake.relay.order("wipe")
    assert state(fake)["topics"] == [] and fake.call("GET", "/auth/me").status_code == 200


def test_a_rejected_topic(fake):
    fake.relay.order("reject", topic="bad", on=True)
    body = fake.bulk([{"topic": "good", "payload": {}}, {"topic": "bad", "payload": {}}]).json()
    assert [r["status"] for r in body["results"]] == ["accepted", "rejected"]
    assert fake.post("bad", {}).status_code == 500
    fake.relay.order("reject", topic="bad", on=False)
    assert fake.post("bad", {}).status_code == 201


def comes_late(fake, topic):
    """Stored, but not heard of within a second."""
    poll = Waiting(fake, [topic], timeout=1)
    sent = fake.send(topic, {})
    assert [m["message_id"] for m in fake.poll([topic], {topic: "0-0"}).json()["messages"]] == [sent]
    return poll.result().json()["messages"] == []


def test_shuffled_messages_come_late(fake):
    fake.relay.order("shuffle", ms=60000)
    # One in sixty comes within the second.
    assert any(comes_late(fake, f"late-{n}") for n in range(5))
    fake.relay.order("shuffle", ms=200)
    poll = Waiting(fake, ["t"])
    sent = {fake.send("t", {"n": n}) for n in range(5)}
    heard = poll.result().json()["messages"]
    assert heard and {m["message_id"] for m in heard} <= sent
    assert {m["message_id"] for m in fake.poll(["t"], {"t": "0-0"}).json()["messages"]} == sent


def test_what_cannot_be_ordered_is_400(fake):
    for path, order in (("faults", {}), ("faults", {"do": "x"}), ("faults", {"do": "cut", "count": -1}), ("gap", {}),
                        ("shuffle", {"ms": "x"}), ("revoke", {}), ("reject", {"topic": "t"})):
        answer = requests.post(f"{fake.relay.url}/fake/{path}", json=order, timeout=10)
        assert answer.status_code == 400 and answer.json()["error"], path
    assert requests.post(fake.relay.url + "/fake/nothing", json={}, timeout=10).status_code == 404


def test_help_tells_of_the_faults(fake):
    text = requests.get(fake.relay.url + "/fake/help", timeout=10).text
    for word in ("FLAVOURS", "hold", "delay", "cut", "drop", "status", "html", "/fake/state"):
        assert word in text
