"""Answers that are lost after the relay has done the work, or before: posts, bulks, reads, logins."""
import pytest
import requests

from trouble import (LATER, POLLS, POSTS, Background, complaint, first_copies, hold, numbers, relays_messages,
                     wait_drained, wait_held)
from harness import payloads, wait_for

LOST = {"cut off": {"do": "drop"}, "a 502": {"do": "status", "status": 502, "when": "after"},
        "a 500": {"do": "status", "status": 500, "when": "after"}}
NOT_DONE = {"cut off": {"do": "cut"}, "a 503": {"do": "status", "status": 503},
            "a page that is not the relay's": {"do": "html"}}


both = pytest.mark.parametrize("fake", ["memory", "valkey"], indirect=True)


@pytest.fixture
def fake(relay_of, request):
    return relay_of(flavour=getattr(request, "param", "memory"))


@pytest.fixture
def broker(fake, broker_of):
    return broker_of(fake)


@both
@pytest.mark.parametrize("fault", LOST)
def test_a_post_whose_answer_is_lost_is_found_and_stored_once(fake, broker, fault):
    assert broker.post("t", {"n": 0}).status_code == 201
    fake.control("faults", method="POST", path=POSTS, **LOST[fault])
    answer = broker.post("t", {"n": 1}, headers={"Prefer": "wait=30"})
    assert answer.status_code in (201, 202), answer.text
    assert broker.post("t", {"n": 2}, headers=LATER).status_code == 202
    wait_drained(broker)
    assert numbers(broker, fake, "t") == [0, 1, 2]
    outbox = broker.status()["outbox"]
    assert outbox["look_ups"] >= 1 and outbox["maybe_duplicates"] == 0


@pytest.mark.parametrize("fault", NOT_DONE)
def test_a_post_that_was_not_done_is_looked_for_and_then_sent_again_once(fake, broker, fault):
    assert broker.post("t", {"n": 0}).status_code == 201
    fake.control("faults", method="POST", path=POSTS, **NOT_DONE[fault])
    answer = broker.post("t", {"n": 1}, headers=LATER)
    assert answer.status_code == 202
    wait_drained(broker)
    assert numbers(broker, fake, "t") == [0, 1]
    view = requests.get(broker.url + answer.headers["Location"], timeout=10).json()
    assert view["state"] == "accepted" and view["maybe_duplicate"] is True


@both
def test_a_queue_whose_answers_are_lost_on_the_way_is_stored_once_and_in_order(fake, broker):
    assert broker.post("t", {"n": 0}).status_code == 201
    hold(fake, POSTS)
    assert broker.post("t", {"n": 1}, headers=LATER).status_code == 202
    wait_held(fake)
    for n in range(2, 42):
        assert broker.post("t", {"n": n}, headers=LATER).status_code == 202
    fake.control("faults", do="drop", path=POSTS, method="POST", count=2)
    fake.control("release")
    wait_drained(broker)
    assert numbers(broker, fake, "t") == list(range(42))
    assert broker.status()["outbox"]["maybe_duplicates"] == 0


@both
def test_an_attempt_that_arrives_after_the_look_up_and_a_second_copy_are_handed_out_once(fake, broker):
    assert broker.post("t", {"n": 0}).status_code == 201
    token = broker.placeholder()
    assert broker.poll("t", None, 1, token)["messages"] == []
    hold(fake, POSTS)
    held = Background(broker.post, "t", {"n": 1}, headers={"Prefer": "wait=30", "Idempotency-Key": "one"})
    wait_held(fake)
    broker.kill()
    broker.start()
    with pytest.raises(requests.ConnectionError):
        held.result()
    wait_drained(broker)
    again = broker.post("t", {"n": 1}, headers={"Idempotency-Key": "one"})
    assert again.status_code == 201
    assert broker.status()["outbox"]["maybe_duplicates"] == 1
    fake.control("release")
    # The relay takes both attempts for one where they bear one key; this copy comes under another.
    copy = next(m for m in relays_messages(broker, fake, "t") if m["payload"]["n"] == 1)
    real = broker.run("token", "main").stdout.strip()
    requests.post(fake.url + POSTS, timeout=10, headers={"Authorization": f"Bearer {real}", "Idempotency-Key": "late"},
                  json={"topic": "t", "payload": {"n": 1}, "metadata": copy["metadata"]}).raise_for_status()
    assert "relay-broker-id" in copy["metadata"]
    assert broker.post("t", {"n": 2}).status_code == 201
    assert numbers(broker, fake, "t") == [0, 1, 1, 2]
    got = {}

    def read():
        got.update({m["message_id"]: m["payload"]["n"] for m in broker.poll("t", None, 5, token)["messages"]})
        return 2 in got.values()

    wait_for(read, 60, "the last message")
    assert list(got.values()) == [1, 2]
    assert broker.status()["inbox"]["duplicates_dropped"] == 1


@pytest.mark.parametrize("fault", [{"do": "drop"}, {"do": "cut"}, {"do": "status", "status": 500}, {"do": "html"}],
                         ids=["dropped", "cut", "500", "a page"])
def test_a_read_whose_answer_is_lost_steps_over_nothing(fake, broker, fault):
    token = broker.placeholder()
    since = {"t": "0-0"}
    assert broker.poll("t", since, 1, token)["messages"] == []
    fake.control("faults", path=POLLS, count=3, **fault)
    for n in range(5):
        assert broker.post("t", {"n": n}).status_code == 201
    got = []

    def read():
        answer = broker.poll("t", since, 5, token)
        got.extend(p["n"] for p in payloads(answer))
        since.update({m["topic"]: m["message_id"] for m in answer["messages"]})
        return len(got) >= 5

    wait_for(read, 60, "five messages")
    assert got == [0, 1, 2, 3, 4]
    assert broker.status()["inbox"]["gaps"] == 0


@both
def test_a_waiter_that_hears_out_of_order_and_misses_some_steps_over_nothing(fake, broker):
    token = broker.placeholder()
    assert broker.poll("t", None, 1, token)["messages"] == []
    fake.control("gap", on=True)
    fake.control("shuffle", ms=50)
    for n in range(60):
        broker.post("t", {"n": n}, headers=LATER)
    got = []

    def read():
        got.extend(p["n"] for p in payloads(broker.poll("t", None, 5, token)))
        return len(first_copies(got)) >= 60

    wait_for(read, 60, "sixty messages")
    assert first_copies(got) == list(range(60))


def test_a_login_whose_answer_is_lost_says_so_and_can_be_repeated(fake, broker):
    fake.control("user", username="bob", password="secret of bob")
    fake.control("faults", do="drop", path="/auth/login")
    argv = ("login", "second", "--relay", fake.url, "--username", "bob", "--password-stdin")
    said = complaint(broker.run(*argv, stdin="secret of bob\n", check=False))
    assert said == (f"The login at {fake.url} failed: no whole answer of the relay: the connection was closed without "
                    "an answer.")
    broker.run(*argv, stdin="secret of bob\n")
    assert broker.account("second")["state"] == "active"
    assert "secret" not in broker.process.text()
