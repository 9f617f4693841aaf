"""The state folder on a small disk that fills up (T4), at different moments; and on one that cannot be written."""
import os

import pytest
import requests

import harness
from trouble import (POSTS, REFRESH, Background, Mount, SmallDisk, complaint, config, counts, hold, left_behind, length,
                     relays_messages, sentence, wait_drained, wait_held)
from harness import payloads, wait_for

FULL = {"error": "DISK_FULL", "message": "The disk is full; nothing was stored. Try again when there is room."}
LATER = {"Prefer": "respond-async"}


@pytest.fixture
def disk(mounted, tmp_path):
    return mounted(SmallDisk, tmp_path / "disk", 2048)


@pytest.fixture
def small(disk, tmp_path):
    """Makes a broker whose state folder, not its key folder, is on the small disk."""
    brokers = []

    def make(fake, keep=False, **relay):
        broker = harness.Broker(tmp_path, config=config(**relay), start=False)
        broker.state = disk.folder / "state"
        broker.start()
        brokers.append(broker)
        broker.login(fake, keep=keep)
        return broker

    yield make
    for broker in brokers:
        if broker.process.alive():
            if disk.ballast.exists():
                disk.free()
            broker.stop()


def exhaust(disk, broker):
    """No room on the disk, and none in the database's files either: the smallest post is refused. The numbers of those
    that were taken."""
    disk.fill()
    taken, refused = [], 0
    while refused < 5:
        answer = broker.post("filler", {"n": len(taken), "x": "x" * 2000}, headers=LATER)
        if answer.status_code == 507:
            assert answer.json() == FULL and int(answer.headers["Retry-After"]) > 0
            refused += 1
            continue
        refused = 0
        assert answer.status_code == 202, answer.text
        taken.append(len(taken))
        assert len(taken) < 5000
    answer = broker.post("filler", {}, headers=LATER)
    assert (answer.status_code, answer.json()) == (507, FULL)
    return taken


def numbers(broker, fake, topic):
    return [m["payload"]["n"] for m in relays_messages(broker, fake, topic)]


def test_posts_are_refused_while_the_disk_is_full_and_taken_again_without_a_restart(relay_of, small, disk):
    fake = relay_of(flavour="valkey")
    broker = small(fake)
    assert broker.post("t", {"n": 0}).status_code == 201
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    taken = exhaust(disk, broker)
    bulk = requests.post(broker.url + POSTS + "/bulk", timeout=20,
                         json={"messages": [{"topic": "filler", "payload": {"n": -1}}] * 3})
    assert (bulk.status_code, bulk.json()) == (507, FULL)
    durable = requests.post(broker.url + "/v1/outbox", json={"topic": "filler", "payload": {"n": -1}}, timeout=20)
    assert durable.status_code == 507
    assert durable.headers["Content-Type"] == "application/problem+json"
    sentence(durable.json()["detail"])
    assert broker.account()["state"] == "active"
    assert "a commit failed" in broker.process.text()
    disk.free()
    fake.control("clear")
    wait_for(lambda: broker.post("t", {"n": 1}).status_code == 201, what="a post that is taken")
    wait_drained(broker)
    assert numbers(broker, fake, "filler") == taken
    assert numbers(broker, fake, "t")[:2] == [0, 1]
    assert broker.starts == 1


def test_a_token_that_arrives_at_a_full_disk_is_kept_and_used_when_there_is_room(relay_of, small, disk):
    fake = relay_of(token_seconds=6)
    broker = small(fake)
    hold(fake, REFRESH)
    assert broker.post("t", {"n": 0}).status_code == 201
    wait_held(fake)
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    exhaust(disk, broker)
    fake.control("release")
    wait_for(lambda: counts(fake)["refreshes_ok"] == 1, what="the rotation")
    assert broker.post("t", {}, headers=LATER).status_code == 507
    assert broker.account()["generation"] == 0
    disk.free()
    wait_for(lambda: broker.account()["generation"] == 1, what="the committed token")
    fake.control("clear")
    wait_drained(broker)
    wait_for(lambda: broker.post("t", {"n": 1}).status_code == 201, what="a post that is sent at once")
    seen = counts(fake)
    assert (seen["logins"], seen["replays"]) == (1, 0)
    assert broker.starts == 1


@pytest.mark.parametrize("room", [True, False], ids=["with room again", "still without room"])
def test_a_token_that_arrived_at_a_full_disk_survives_a_kill(relay_of, small, disk, room):
    fake = relay_of(token_seconds=6)
    broker = small(fake)
    hold(fake, REFRESH)
    assert broker.post("t", {"n": 0}).status_code == 201
    wait_held(fake)
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    taken = exhaust(disk, broker)
    fake.control("release")
    wait_for(lambda: counts(fake)["refreshes_ok"] == 1, what="the rotation")
    assert broker.post("t", {}, headers=LATER).status_code == 507
    broker.kill()
    assert left_behind(broker)[0] == ["rotating"]
    if room:
        disk.free()
    broker.start()
    assert requests.get(broker.url + "/health", timeout=5).ok
    if not room:
        answer = broker.post("t", {"x": "x" * 100000}, headers=LATER)
        assert (answer.status_code, answer.json()) == (507, FULL)
        disk.free()
    wait_for(lambda: broker.account()["generation"] >= 1, what="the token of the slot file")
    fake.control("clear")
    wait_drained(broker)
    assert numbers(broker, fake, "filler") == taken
    wait_for(lambda: broker.post("t", {"n": 1}).status_code == 201, what="a post that is sent at once")
    seen = counts(fake)
    assert (seen["logins"], seen["replays"]) == (1, 0)


def test_a_post_whose_answer_arrives_at_a_full_disk_is_not_sent_again(relay_of, small, disk):
    fake = relay_of(flavour="valkey")
    broker = small(fake)
    assert broker.post("t", {"n": 0}).status_code == 201
    hold(fake, POSTS)
    held = Background(broker.post, "t", {"n": 1}, headers={"Prefer": "wait=60"})
    wait_held(fake)
    fake.control("faults", do="status", status=503, path=POSTS + "/bulk", count=0)
    exhaust(disk, broker)
    fake.control("release")
    wait_for(lambda: length(fake, "t") == 2, what="the stored post")
    assert broker.post("t", {}, headers=LATER).status_code == 507
    assert held.is_alive()
    disk.free()
    answer = held.result()
    assert answer.status_code == 201, answer.text
    fake.control("clear")
    wait_drained(broker)
    assert numbers(broker, fake, "t") == [0, 1]
    assert broker.status()["outbox"]["maybe_duplicates"] == 0


def post_at_the_relay(broker, fake, topic, payload):
    real = broker.run("token", "main").stdout.strip()
    requests.post(fake.url + POSTS, json={"topic": topic, "payload": payload}, timeout=10,
                  headers={"Authorization": f"Bearer {real}"}).raise_for_status()


@pytest.mark.parametrize("soon", [
    pytest.param(True, id="room comes soon"),
    pytest.param(False, id="room comes late", marks=pytest.mark.skipif(
        not os.environ.get("RB_SLOW"), reason="takes 35 seconds; set RB_SLOW=1")),
])
def test_messages_that_arrive_at_a_full_disk_are_not_stepped_over_and_not_read_in_a_loop(relay_of, small, disk, soon):
    fake = relay_of(flavour="valkey")
    broker = small(fake)
    token = broker.placeholder()
    assert broker.poll("t", {"t": "0-0"}, 1, token)["messages"] == []
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    exhaust(disk, broker)
    fake.control("clear")
    before = counts(fake)["polls"]
    for n in range(3):
        post_at_the_relay(broker, fake, "t", {"n": n, "x": "x" * 20000})
    wait_for(lambda: counts(fake)["polls"] > before, what="a read that finds them")
    told = requests.post(broker.url + "/messages/poll", json={"topics": ["t"], "since": {"t": "0-0"}, "timeout": 1},
                         timeout=10)
    assert (told.status_code, told.json()["message"]) == (
        503, "the poll could not be noted: there is no room on the disk, or it failed")
    if not soon:
        wait_for(lambda: broker.status()["inbox"]["full"], what="an inbox that has given up for a while")
        assert "FULL: reading waits for room" in broker.run("status").stdout
        assert "warning inbox: messages could not be stored; reading pauses" in broker.process.text()
    assert counts(fake)["polls"] - before < 10
    disk.free()
    got, since = [], "0-0"
    while len(got) < 3:
        answer = broker.poll("t", {"t": since}, 5, token)
        got += [p["n"] for p in payloads(answer)]
        since = answer["messages"][-1]["message_id"] if answer["messages"] else since
    assert got == [0, 1, 2]
    assert broker.starts == 1


def test_a_logout_at_a_full_disk_says_that_nothing_was_done(relay_of, small, disk):
    fake = relay_of()
    broker = small(fake)
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    exhaust(disk, broker)
    said = complaint(broker.run("logout", "main", check=False))
    assert "full" in said or "room" in said, said
    assert broker.account()["state"] == "active"
    disk.free()
    broker.run("logout", "main")
    assert broker.account()["state"] == "logged_out"
    wait_for(lambda: counts(fake)["chains_revoked"] == 1, what="the revocation")


def test_a_new_folder_on_a_full_disk_is_refused_with_a_sentence(disk, tmp_path):
    disk.fill()
    broker = harness.Broker(tmp_path, start=False)
    broker.state = disk.folder / "state"
    said = complaint(broker.run("run", "--listen", f"127.0.0.1:{broker.port}", check=False))
    assert str(broker.state) in said and "full" in said, said


def test_a_read_only_state_folder_is_refused_with_a_sentence(relay_of, broker_of, mounted, tmp_path):
    broker = broker_of(relay_of())
    broker.stop()
    mounted(Mount, broker.state, "--bind", str(broker.state))
    mounted(Mount, broker.state, "-o", "remount,bind,ro")
    said = complaint(broker.run("run", "--listen", f"127.0.0.1:{broker.port}", check=False))
    assert str(broker.state) in said and "ead-only" in said, said


def test_a_read_only_key_folder_is_refused_with_a_sentence(relay_of, broker_of, mounted, tmp_path):
    broker = broker_of(relay_of())
    broker.stop()
    mounted(Mount, broker.keys, "--bind", str(broker.keys))
    mounted(Mount, broker.keys, "-o", "remount,bind,ro")
    said = complaint(broker.run("run", "--listen", f"127.0.0.1:{broker.port}", check=False))
    assert str(broker.keys) in said and "ead-only" in said, said
