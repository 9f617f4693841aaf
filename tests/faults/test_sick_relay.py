"""A relay that stands still, restarts, answers with errors of all kinds, or cannot be found."""
import signal
import time

import pytest
import requests

import harness
from trouble import (LATER, POLLS, POSTS, REFRESH, Background, complaint, counts, events, first_copies, hold, length,
                     numbers, sentence, wait_drained, wait_events, wait_held)
from harness import payloads, wait_for

STORMS = {
    "500": {"do": "status", "status": 500},
    "502": {"do": "status", "status": 502},
    "429": {"do": "status", "status": 429, "retry_after": 1},
    "a captive portal": {"do": "html"},
    "connections cut": {"do": "cut"},
}


@pytest.fixture
def broker(fake, broker_of):
    return broker_of(fake)


class Watcher:
    """A client that polls on, with a cursor of its own."""

    def __init__(self, broker, topic):
        self.broker, self.topic, self.since = broker, topic, {topic: "0-0"}
        self.token, self.got = broker.placeholder(), []

    def read(self, count, seconds=40):
        deadline = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"{len(self.got)} of {count} messages"
            answer = self.broker.poll(self.topic, self.since, 2, self.token)
            self.got += [p["n"] for p in payloads(answer)]
            self.since = {m["topic"]: m["message_id"] for m in answer["messages"]} or self.since
        return self.got


def test_a_broker_that_stood_still_itself_takes_the_answers_that_lie_there(fake, broker, long):
    """T2, although the caller's wait, and with --long the call's own deadline, has passed meanwhile."""
    hold(fake, POSTS)
    post = Background(broker.post, "t", {"n": 0}, headers={"Prefer": "wait=3"})
    wait_held(fake)
    broker.process.popen.send_signal(signal.SIGSTOP)
    fake.control("release")
    wait_for(lambda: length(fake, "t") == 1, what="the relay's work")
    began, seconds = time.monotonic(), 22 if long else 4
    wait_for(lambda: time.monotonic() - began > seconds, seconds + 20, "the end of the standstill")
    broker.process.popen.send_signal(signal.SIGCONT)
    assert post.result().status_code == 201
    outbox = broker.status()["outbox"]
    assert (outbox["retries"], outbox["look_ups"]) == (0, 0)
    assert length(fake, "t") == 1


@pytest.mark.parametrize("storm", STORMS)
def test_a_storm_of_errors_loses_nothing_and_keeps_the_order(relay_of, broker_of, storm):
    fake = relay_of(flavour="valkey")
    broker = broker_of(fake, poll_timeout_seconds=1)
    watcher = Watcher(broker, "t")
    assert broker.post("t", {"n": 0}).status_code == 201
    watcher.read(1)
    for path in (POSTS, POLLS, REFRESH, "/api/v1/topics"):
        fake.control("faults", count=0, path=path, **STORMS[storm])
    answers = [broker.post("t", {"n": n}, headers={"Prefer": "wait=1"}) for n in range(1, 21)]
    assert {answer.status_code for answer in answers} == {202}
    wait_for(lambda: broker.status()["inbox"]["polls_failed"] > 1, what="reads that fail")
    wait_for(lambda: "does not answer" in broker.process.text() or broker.status()["outbox"]["retries"] > 1,
             what="posts that fail")
    assert broker.account()["state"] == "active"
    fake.control("clear")
    wait_drained(broker)
    assert first_copies(watcher.read(21)) == list(range(21))
    assert numbers(broker, fake, "t") == list(range(21))
    assert broker.status()["inbox"]["gaps"] == 0
    assert counts(fake)["logins"] == 1


def test_retry_after_is_kept_to(fake, broker):
    assert broker.post("t", {"n": 0}).status_code == 201
    fake.control("faults", do="status", status=429, retry_after=3, path=POSTS, method="POST")
    began = time.monotonic()
    answer = broker.post("t", {"n": 1}, headers=LATER)
    assert answer.status_code == 202
    wait_drained(broker)
    assert time.monotonic() - began >= 3
    assert numbers(broker, fake, "t") == [0, 1]
    assert broker.status()["outbox"]["maybe_duplicates"] == 0


def test_too_many_requests_without_retry_after_are_waited_out_and_never_look_like_a_refusal(fake, broker):
    """The relay's windows are of a minute; a broker that starts anew knows of none."""
    fake.control("faults", do="status", status=429, path=POSTS, method="POST")
    answers = [broker.post("t", {"n": n}) for n in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    outbox = broker.status()["outbox"]
    assert (outbox["queued"], outbox["unknown"], outbox["refused"], outbox["maybe_duplicates"]) == (2, 0, 0, 0)
    broker.stop()
    broker.start()
    wait_drained(broker)
    assert numbers(broker, fake, "t") == [0, 1]
    assert broker.status()["outbox"]["maybe_duplicates"] == 0


def test_one_429_does_not_throttle_a_broker_that_assumes_no_limit(fake, broker_of):
    broker = broker_of(fake, posts_per_minute=0)
    fake.control("faults", do="status", status=429, retry_after=1, path=POSTS, method="POST")
    for n in range(5):
        broker.post("t", {"n": n}, headers=LATER)
    wait_drained(broker, 20)


def test_a_relay_in_memory_that_was_restarted_is_gone_on_with_by_the_kept_password_and_the_loss_is_named(
        tmp_path, relay_of, broker_of):
    fake = relay_of()
    broker = broker_of(fake, keep=True)
    watcher = Watcher(broker, "t")
    for n in range(3):
        assert broker.post("t", {"n": n}).status_code == 201
    watcher.read(3)
    fake.stop()
    down = broker.post("t", {"n": 3}, headers={"Prefer": "wait=2"})
    assert down.status_code == 202
    wait_for(lambda: "does not answer" in broker.process.text(), what="a line about the relay")
    fake = harness.FakeRelay(tmp_path, port=fake.port)
    try:
        wait_drained(broker, 60)
        wiped = sentence(wait_events(broker, "relay_wiped")[0])
        assert wiped == "main: the relay knows alice under a new id: it was set up anew, and its old messages are gone."
        assert broker.post("t", {"n": 4}).status_code == 201
        assert watcher.read(5) == [0, 1, 2, 3, 4]
        gap = sentence(wait_events(broker, "gap")[0])
        assert gap.startswith("topic t: "), gap
        assert broker.status()["inbox"]["gaps"] >= 1
        assert "GAP" in broker.run("status").stdout
        assert broker.account()["state"] == "active"
    finally:
        fake.stop()


def test_a_relay_in_memory_that_was_restarted_asks_for_a_login_where_no_password_is_kept(tmp_path, relay_of, broker_of):
    fake = relay_of()
    broker = broker_of(fake)
    assert broker.post("t", {"n": 0}).status_code == 201
    fake.stop()
    fake = harness.FakeRelay(tmp_path, port=fake.port)
    try:
        assert broker.post("t", {"n": 1}).status_code == 202
        wait_for(lambda: broker.account()["state"] == "login_required", what="the state login_required")
        sentence(wait_events(broker, "login_required")[0])
        told = requests.post(broker.url + POLLS, json={"topics": ["t"], "timeout": 1}, timeout=10)
        assert told.status_code == 503
        assert told.json()["message"] == "The account main has no login at its relay: run relay-broker login."
        broker.login(fake)
        wait_drained(broker)
        assert numbers(broker, fake, "t") == [1]
    finally:
        fake.stop()


def test_a_relay_with_a_store_that_was_restarted_costs_nothing(relay_of, broker_of):
    fake = relay_of(flavour="valkey")
    broker = broker_of(fake)
    watcher = Watcher(broker, "t")
    assert broker.post("t", {"n": 0}).status_code == 201
    watcher.read(1)
    for n in range(1, 6):
        fake.control("restart")
        assert broker.post("t", {"n": n}).status_code in (201, 202)
    wait_drained(broker)
    assert watcher.read(6) == [0, 1, 2, 3, 4, 5]
    assert broker.status()["inbox"]["gaps"] == 0
    assert not events(broker, "relay_wiped")
    seen = counts(fake)
    assert (seen["logins"], seen["replays"]) == (1, 0)


def test_topics_that_were_wiped_are_read_anew_and_the_loss_is_named(relay_of, broker_of):
    fake = relay_of(flavour="valkey")
    broker = broker_of(fake)
    watcher = Watcher(broker, "t")
    for n in range(3):
        assert broker.post("t", {"n": n}).status_code == 201
    watcher.read(3)
    fake.control("wipe")
    for n in range(3, 6):
        assert broker.post("t", {"n": n}).status_code == 201
    assert watcher.read(6) == [0, 1, 2, 3, 4, 5]


def test_a_dead_storage_is_waited_for(relay_of, broker_of):
    fake = relay_of(flavour="valkey")
    broker = broker_of(fake)
    watcher = Watcher(broker, "t")
    assert broker.post("t", {"n": 0}).status_code == 201
    fake.control("storage", on=False)
    for n in range(1, 6):
        assert broker.post("t", {"n": n}, headers=LATER).status_code == 202
    fake.control("storage", on=True)
    wait_drained(broker)
    assert watcher.read(6) == [0, 1, 2, 3, 4, 5]
    assert broker.status()["inbox"]["gaps"] == 0


@pytest.mark.parametrize("url, said", [
    ("http://127.0.0.1:1", "The login at http://127.0.0.1:1 failed: the relay cannot be reached: Connection refused."),
    ("http://no-such-host.invalid", "http:// to another machine would show the tokens to the network: use https://"),
    ("ftp://127.0.0.1", "A relay URL begins with https:// (or http:// for this machine)."),
])
def test_a_relay_that_cannot_be_reached_is_a_sentence_at_the_login(broker_of, url, said):
    broker = broker_of()
    argv = ("login", "main", "--relay", url, "--username", "alice", "--password-stdin")
    assert complaint(broker.run(*argv, stdin="secret\n", check=False)).startswith(said)
    assert "none yet: run relay-broker login" in broker.run("status").stdout


def test_a_wrong_password_and_too_many_logins_are_sentences(relay_of, broker_of):
    fake = relay_of()
    broker = broker_of()
    argv = ("login", "main", "--relay", fake.url, "--username", "alice", "--password-stdin")
    assert complaint(broker.run(*argv, stdin="wrong\n", check=False)) == (
        "The relay does not accept this user name and password.")
    fake.control("faults", do="status", status=429, path="/auth/login")
    assert complaint(broker.run(*argv, stdin="wrong\n", check=False)) == (
        "The relay allows no more logins from here for now; try again in a minute.")
