"""Contract, section 5: long polls."""

import http.client
import json
import time

import pytest

from relays import Waiting, until


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [m["message_id"] for m in answer.json()["messages"]]


def test_a_waiter_hears_of_a_message(user):
    poll = Waiting(user, ["t", "u"])
    sent = user.send("t", {"n": 1}, metadata={"b": "1", "a": "2"})
    body = poll.result().json()
    assert body["has_more"] is False and [m["message_id"] for m in body["messages"]] == [sent]
    message = body["messages"][0]
    assert set(message) == {"type", "message_id", "topic", "payload", "timestamp", "metadata"}
    assert message["type"] == "message" and message["timestamp"].endswith("Z")
    assert message["metadata"] == {"b": "1", "a": "2"}


def test_a_waiter_sees_null_metadata_and_catching_up_an_empty_object(user):
    poll = Waiting(user, ["t"])
    user.send("t", {})
    assert poll.result().json()["messages"][0]["metadata"] is None
    message = user.poll(["t"], {"t": "0-0"}).json()["messages"][0]
    assert set(message) == {"topic", "message_id", "payload", "timestamp", "metadata", "stream_id"}
    assert message["metadata"] == {} and message["timestamp"].endswith("+00:00")
    assert message["stream_id"] == (None if user.relay.flavour == "memory" else message["message_id"])


def test_without_since_what_was_published_before_is_lost(user):
    user.send("t", {})
    assert ids(user.poll(["t"])) == []
    assert ids(user.poll(["t"], {})) == []


def test_a_poll_that_hears_nothing_is_empty_and_makes_no_topic(user):
    began = time.monotonic()
    answer = user.poll(["quiet"], timeout=1)
    assert answer.json() == {"messages": [], "has_more": False}
    assert time.monotonic() - began >= 0.9
    assert user.call("GET", "/api/v1/topics/quiet").status_code == 404


def test_since_0_0_means_from_the_beginning(user):
    sent = [user.send("t", {"n": n}) for n in range(3)]
    assert ids(user.poll(["t"], {"t": "0-0"})) == sent
    assert ids(user.poll(["t"], {"t": sent[0]})) == sent[1:]
    assert ids(user.poll(["t"], {"t": sent[-1]})) == []


def test_topics_without_an_entry_are_read_from_their_beginning(user):
    one, two = user.send("one", {}), user.send("two", {})
    assert ids(user.poll(["one", "two"], {"one": one})) == [two]
    assert ids(user.poll(["two", "one"], {"unrelated": "0-0"})) == [two, one]
    assert ids(user.poll(["one"], {"one": ""})) == [one]


def test_a_topic_named_twice_comes_twice(user):
    sent = user.send("t", {})
    assert ids(user.poll(["t", "t"], {"t": "0-0"})) == [sent, sent]


def test_a_waiter_on_a_topic_named_twice_hears_once(user):
    poll = Waiting(user, ["t", "t"])
    sent = user.send("t", {})
    assert ids(poll.result()) == [sent]


def test_100_a_topic_and_has_more(user):
    user.bulk([{"topic": "t", "payload": {"n": n}} for n in range(100)])
    assert user.poll(["t"], {"t": "0-0"}).json()["has_more"] is True
    first = ids(user.poll(["t"], {"t": "0-0"}))
    assert user.poll(["t"], {"t": first[0]}).json()["has_more"] is False
    user.send("t", {"n": 100})
    assert len(ids(user.poll(["t"], {"t": "0-0"}))) == 100
    assert len(ids(user.poll(["t", "t"], {"t": "0-0"}))) == 200


def test_an_unknown_id_reads_all_in_memory_and_compares_with_valkey(user):
    for n in range(2):
        user.send("t", {"n": n})
    memory = user.relay.flavour == "memory"
    for unknown, valkey in (("0", 2), ("5-77", 2), ("01-0", 2), ("99999999999999-0", 0), ("99999999999999", 0)):
        assert len(ids(user.poll(["t"], {"t": unknown}))) == (2 if memory else valkey), unknown
    for unknown in ("zz", "msg_0123456789ab", "1-x", "1-", "-1", "1-1-1", "+", "$", "(1-0", "18446744073709551616-0",
                    "18446744073709551615-18446744073709551615"):
        answer = user.poll(["t"], {"t": unknown})
        assert answer.status_code == (200 if memory else 500), unknown


@pytest.mark.parametrize("body", [
    {}, {"topics": []}, {"topics": "t"}, {"topics": ["a b"]}, {"topics": [1]}, {"topics": ["t"] * 21},
    {"topics": ["t"], "timeout": 0}, {"topics": ["t"], "timeout": 61}, {"topics": ["t"], "timeout": 2.5},
    {"topics": ["t"], "timeout": None}, {"topics": ["t"], "since": []}, {"topics": ["t"], "since": {"t": 1}},
])
def test_polls_of_another_shape_are_422(user, body):
    assert user.call("POST", "/messages/poll", body).status_code == 422


@pytest.mark.parametrize("timeout", [1, 1.0, "1"])
def test_timeouts_that_are_let_through(user, timeout):
    assert user.poll(["t"], timeout=timeout).status_code == 200


def test_the_51st_waiting_poll_of_a_user_is_429(user, make_user):
    polls = [Waiting(user, ["t"], timeout=60) for _ in range(50)]
    answer = user.poll(["t"])
    assert answer.status_code == 429 and answer.json() == {"detail": "Too many concurrent poll connections"}
    other = make_user(user.relay).login()
    assert other.poll(["t"]).status_code == 200
    sent = user.send("t", {})
    assert all(ids(poll.result()) == [sent] for poll in polls)
    assert ids(user.poll(["t"], {"t": "0-0"})) == [sent]


def test_catching_up_needs_no_place_among_the_50(user):
    sent = user.send("t", {})
    polls = [Waiting(user, ["u"], timeout=60) for _ in range(50)]
    assert ids(user.poll(["t"], {"t": "0-0"})) == [sent]
    user.send("u", {})
    for poll in polls:
        poll.result()


def test_a_waiter_whose_client_has_gone_keeps_its_place_until_its_timeout(user):
    assert user.relay.waiting(user.bearer) == 0
    link = http.client.HTTPConnection("127.0.0.1", user.relay.port, timeout=30)
    began = time.monotonic()
    link.request("POST", "/messages/poll", json.dumps({"topics": ["t"], "timeout": 3}),
                 {"Authorization": f"Bearer {user.bearer}", "Content-Type": "application/json"})
    until(lambda: user.relay.waiting(user.bearer) == 1, "the poll to wait")
    link.close()
    until(lambda: user.relay.waiting(user.bearer) == 0, "the place to be free")
    assert time.monotonic() - began >= 2.9


def test_poison_ends_a_waiting_poll_with_500(user):
    poll = Waiting(user, ["t"])
    assert user.post("t", b'{"a":"\\ud800"}').status_code == 201
    assert poll.result().status_code == 500


def test_a_bad_key_in_metadata_reaches_a_waiter_but_breaks_catching_up(user):
    poll = Waiting(user, ["t"])
    body = b'{"topic":"t","payload":{},"metadata":{"\\ud800":"x"}}'
    assert user.call("POST", "/api/v1/messages", body).status_code == 201
    assert poll.result().status_code == 200
    assert user.poll(["t"], {"t": "0-0"}).status_code == 500


def test_a_post_that_is_stored_but_500_does_not_reach_a_waiter(user):
    poll = Waiting(user, ["t"], timeout=2)
    assert user.post("t", b'{"a":' * 256 + b"1" + b"}" * 256).status_code == 500
    assert ids(poll.result()) == []


def test_a_waiter_hears_of_its_own_users_topics_only(user, make_user):
    other = make_user(user.relay).login()
    poll = Waiting(user, ["t"])
    other.send("t", {"from": "other"})
    sent = user.send("t", {"from": "user"})
    assert ids(poll.result()) == [sent]
