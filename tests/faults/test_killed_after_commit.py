"""kill -9 between a commit and what the commit makes due: the rows are there, and nothing has left the process.

Each effect by itself, at a broker that does nothing else; test_killed.py has the same in a crowd."""
import pytest
import requests

from stopped_commit import StoppedCommit
from trouble import (LATER, POSTS, Background, ask, can_trace, counts, hold, length, relays_messages, wait_drained,
                     wait_held)
from harness import payloads, wait_for

KEY = {"Idempotency-Key": "the same each time"}

pytestmark = pytest.mark.skipif(not can_trace(), reason="strace is not there, or may not trace")


@pytest.fixture
def pair_of(relay_of, broker_of):
    """A relay and a broker. No password is kept: a chain that is lost stays lost."""
    def make(**options):
        fake = relay_of(flavour="valkey", **options)
        broker = broker_of(fake)
        assert broker.post("t", {"n": 0}).status_code == 201
        return fake, broker

    return make


def stop_after_commit(broker, folder, nth, call):
    """Kills it between the nth commit of what the call sets going and its effects; what the commit changed."""
    with StoppedCommit(broker, folder, nth) as stopped:
        under_way = Background(call)
        change = stopped.wait()
        assert under_way.is_alive(), "the caller was answered"
        stopped.kill()
    with pytest.raises(requests.ConnectionError):
        under_way.result()
    return change


def states(change):
    return [post.state for post in change.posts.values()]


def numbers(broker, fake):
    return [message["payload"]["n"] for message in relays_messages(broker, fake, "t")]


def post_until_refreshed(fake, broker, times):
    """Who asks for nothing needs no token."""
    wait_for(lambda: broker.post("t", {"n": 1}).status_code == 201 and counts(fake)["refreshes_ok"] == times,
             what="a refresh")


def test_a_post_that_was_about_to_be_sent_is_sent_once_after_the_restart(pair_of, tmp_path):
    fake, broker = pair_of()
    change = stop_after_commit(broker, tmp_path, 1, lambda: broker.post("t", {"n": 1}, KEY))
    assert states(change) == ["sending"] and counts(fake)["posts"] == 1
    broker.start()
    again = broker.post("t", {"n": 1}, KEY)
    assert again.status_code in (201, 202)
    wait_drained(broker)
    assert numbers(broker, fake) == [0, 1] and counts(fake)["posts"] == 2


def test_a_202_that_was_about_to_be_given_is_given_when_the_caller_asks_again(pair_of, tmp_path):
    fake, broker = pair_of()
    hold(fake, POSTS)
    first = Background(broker.post, "t", {"n": 1})
    wait_held(fake)
    change = stop_after_commit(broker, tmp_path, 1, lambda: broker.post("t", {"n": 2}, {**KEY, **LATER}))
    assert states(change) == ["queued"]
    with pytest.raises(requests.ConnectionError):
        first.result()
    fake.control("release")
    broker.start()
    assert broker.post("t", {"n": 2}, {**KEY, **LATER}).status_code in (201, 202)
    wait_drained(broker)
    assert numbers(broker, fake) == [0, 1, 2]


@pytest.mark.long
def test_a_201_that_was_about_to_be_given_is_given_when_the_caller_asks_again(pair_of, tmp_path):
    fake, broker = pair_of()
    change = stop_after_commit(broker, tmp_path, 2, lambda: broker.post("t", {"n": 1}, KEY))
    assert states(change) == ["accepted"] and length(fake, "t") == 2
    broker.start()
    again = broker.post("t", {"n": 1}, KEY)
    assert again.status_code == 201
    messages = relays_messages(broker, fake, "t")
    assert [message["message_id"] for message in messages][1:] == [again.json()["message_id"]]
    assert counts(fake)["posts"] == 2


def test_a_refresh_that_was_about_to_be_sent_costs_no_chain(pair_of, tmp_path):
    fake, broker = pair_of(token_seconds=4)
    with StoppedCommit(broker, tmp_path, 1) as stopped:
        change = stopped.wait()
        stopped.kill()
    assert list(change.chains.values()) == [("rotating", 0)] and counts(fake)["refreshes"] == 0
    broker.start()
    post_until_refreshed(fake, broker, 1)
    assert (counts(fake)["replays"], counts(fake)["logins"]) == (0, 1)


@pytest.mark.long
def test_a_refreshed_token_that_was_just_stored_is_the_one_that_is_used(pair_of, tmp_path):
    fake, broker = pair_of(token_seconds=4)
    with StoppedCommit(broker, tmp_path, 2) as stopped:
        change = stopped.wait()
        stopped.kill()
    assert list(change.chains.values()) == [("active", 1)] and counts(fake)["refreshes_ok"] == 1
    broker.start()
    assert broker.account()["chain"] == "active"
    post_until_refreshed(fake, broker, 2)
    assert (counts(fake)["replays"], counts(fake)["logins"]) == (0, 1)


@pytest.mark.long
def test_a_message_that_was_about_to_be_handed_out_is_handed_out_after_the_restart(pair_of, tmp_path):
    fake, broker = pair_of()
    from_the_start = {"t": "0-0"}
    newest = {"t": broker.poll("t", from_the_start)["messages"][-1]["message_id"]}
    waiting = Background(broker.poll, "t", newest, 20)
    wait_for(lambda: fake.state()["waiting_polls"], what="the broker's poll at the relay")
    with StoppedCommit(broker, tmp_path, 1) as stopped:
        assert ask(fake, "POST", POSTS, json={"topic": "t", "payload": {"n": 1}}).status_code == 201
        change = stopped.wait()
        assert waiting.is_alive(), "the message was handed out"
        stopped.kill()
    assert change.kinds() == {"messages"}
    with pytest.raises(requests.ConnectionError):
        waiting.result()
    broker.start()
    assert payloads(broker.poll("t", newest, 5)) == [{"n": 1}]
    assert payloads(broker.poll("t", from_the_start, 5)) == [{"n": 0}, {"n": 1}]
