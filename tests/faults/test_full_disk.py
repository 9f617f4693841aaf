"""The state folder on a small disk that fills up (T4), at different moments; and on one that cannot be written."""
import time

import pytest
import requests
from pulsar_relay_client import CredentialsFile, utcnow_iso

import harness
from trouble import (FULL, LATER, POSTS, REFRESH, Background, complaint, counts, exhaust, hold, left_behind, length,
                     numbers, sentence, wait_drained, wait_held)
from harness import payloads, wait_for


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


@pytest.mark.parametrize("way", ["logout", "revoke"])
def test_a_session_has_ended_only_where_that_was_said(relay_of, small, disk, way):
    fake = relay_of()
    broker = small(fake)
    tokens = [broker.wire_login() for _ in range(20)]

    def end(of):
        if way == "logout":
            headers = {"Authorization": "Bearer " + of["access_token"]}
            return requests.post(broker.url + "/auth/logout", headers=headers, timeout=20)
        return requests.post(broker.url + "/auth/token/revoke", json={"refresh_token": of["refresh_token"]}, timeout=20)

    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    exhaust(disk, broker)
    refused = [answer for answer in map(end, tokens) if answer.status_code != 204]
    assert refused and all((answer.status_code, answer.json()) == (507, FULL) for answer in refused)
    assert broker.status()["sessions"]["open"] == len(refused)
    disk.free()
    assert [end(of).status_code for of in tokens] == [204] * len(tokens)
    assert broker.status()["sessions"]["open"] == 0
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


@pytest.mark.parametrize("soon", [True, False], ids=["room comes soon", "room comes late"])
def test_messages_that_arrive_at_a_full_disk_are_not_stepped_over_and_not_read_in_a_loop(relay_of, small, disk, soon,
                                                                                        capsys):
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
        503, "The poll could not be noted: the disk has no room, or it failed. Try again.")
    if not soon:
        wait_for(lambda: broker.status()["inbox"]["full"], what="an inbox that has given up for a while")
        assert "FULL: reading waits for room" in broker.run("status").stdout
        assert "warning inbox: messages could not be stored; reading pauses" in broker.process.text()
    assert counts(fake)["polls"] - before < 10
    disk.free()
    began = time.monotonic()
    got, since = [], {"t": "0-0"}

    def read():
        answer = broker.poll("t", since, 5, token)
        got.extend(p["n"] for p in payloads(answer))
        since.update({m["topic"]: m["message_id"] for m in answer["messages"]})
        return len(got) >= 3

    wait_for(read, 90, "three messages")
    assert got == [0, 1, 2]
    assert broker.starts == 1
    with capsys.disabled():
        print(f"\nread again {time.monotonic() - began:.1f} s after there was room")


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


def test_the_log_alone_never_fills_a_small_disk(relay_of, small, disk):
    fake = relay_of(flavour="valkey")
    broker = small(fake)
    for n in range(600):
        assert broker.post("t", {"n": n, "x": "x" * 1000}).status_code == 201
    assert numbers(broker, fake, "t") == list(range(600))
    assert "a commit failed" not in broker.process.text()


def test_a_checkpoint_that_finds_no_room_loses_nothing_and_is_tried_again(relay_of, disk_of, small_of):
    fake = relay_of(flavour="valkey")
    disk = disk_of(24 * 1024)
    broker = small_of(state=disk)
    broker.login(fake)
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    taken = []

    def post():
        answer = broker.post("filler", {"n": len(taken), "x": "x" * 60000}, headers=LATER)
        assert answer.status_code in (202, 507), answer.text
        taken.extend([len(taken)] if answer.status_code == 202 else [])
        return answer.status_code

    # The log gets long enough to be used again from its beginning: then it has room where the database has none.
    log = broker.state / "relay-broker.db-wal"
    while min(file.stat().st_size for file in (log, broker.state / "relay-broker.db")) < 4000000:
        assert post() == 202
    disk.fill()
    wait_for(lambda: post() == 507 or "a checkpoint failed" in broker.process.text(), 60, "a checkpoint without room")
    wait_for(lambda: post() == 507, 60, "a full log")
    assert "warning store: a checkpoint failed and will be tried again" in broker.process.text()
    broker.kill()
    broker.start()
    assert post() == 507
    disk.free()
    fake.control("clear")
    wait_for(lambda: post() == 202, what="a post that is taken")
    wait_drained(broker, 60)
    assert numbers(broker, fake, "filler") == taken
    assert broker.starts == 2


@pytest.mark.long
def test_retention_at_a_full_disk_waits_for_room(relay_of, disk_of, small_of):
    fake = relay_of(flavour="valkey")
    disk = disk_of(12 * 1024)
    broker = small_of(state=disk, text="inbox { bytes = 2097152 }\n")
    broker.login(fake)
    assert broker.poll("t", {"t": "0-0"}, 1)["messages"] == []
    for n in range(40):
        post_at_the_relay(broker, fake, "t", {"n": n, "x": "x" * 100000})
    wait_for(lambda: broker.status()["inbox"]["rows"] < 40 <= broker.status()["inbox"]["stored"], 30, "retention")
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    exhaust(disk, broker)
    fake.control("clear")
    for n in range(40, 70):
        post_at_the_relay(broker, fake, "t", {"n": n, "x": "x" * 100000})
    wait_for(lambda: broker.status()["inbox"]["full"], 30, "an inbox that waits for room")
    disk.free()
    wait_for(lambda: broker.status()["inbox"]["stored"] >= 70, 30, "messages that are stored")
    wait_for(lambda: broker.status()["inbox"]["rows"] <= 25, 30, "retention that goes on")
    assert broker.starts == 1


def start_login(broker, fake, name="main", user=harness.USER):
    """A login whose tokens arrive at a full disk."""
    before = counts(fake)["logins"]
    login = Background(broker.run, "login", name, "--relay", fake.url, "--username", user, "--password-stdin",
                       stdin=harness.PASSWORD + "\n", check=False)
    wait_for(lambda: counts(fake)["logins"] > before, what="the login at the relay")
    wait_for(lambda: "a commit failed" in broker.process.text(), what="a commit without room")
    assert login.is_alive()
    return login


def test_a_login_whose_tokens_arrive_at_a_full_disk_ends_when_there_is_room(relay_of, disk, small_of):
    fake = relay_of()
    broker = small_of(state=disk)
    disk.fill()
    login = start_login(broker, fake)
    disk.free()
    assert login.result().stdout == "main is logged in.\n"
    broker.kill()
    broker.start()
    assert broker.post("t", {"n": 1}).status_code == 201
    assert counts(fake)["logins"] == 1


def test_a_login_that_was_killed_at_a_full_disk_was_not_promised_and_can_be_made_again(relay_of, disk, small_of):
    fake = relay_of()
    broker = small_of(state=disk)
    disk.fill()
    login = start_login(broker, fake)
    broker.kill()
    assert login.result().returncode != 0
    broker.start()
    assert broker.status()["accounts"] == []
    disk.free()
    broker.login(fake)
    assert broker.post("t", {"n": 1}).status_code == 201


def test_an_import_at_a_full_disk_leaves_the_login_in_the_file(relay_of, disk, small_of, tmp_path):
    fake = relay_of()
    broker = small_of(state=disk)
    tokens = requests.post(fake.url + "/auth/login", timeout=10, data={
        "username": harness.USER, "password": harness.PASSWORD, "grant_type": "password"}).json()
    path = tmp_path / "credentials.json"
    CredentialsFile(str(path)).save({"relay_url": fake.url, "refresh_token": tokens["refresh_token"],
                                     "issued_at": utcnow_iso()})
    content = path.read_text()
    disk.fill()
    said = complaint(broker.run("login", "main", "--import", str(path), "--import-wait", "1", check=False))
    assert "full" in said or "room" in said, said
    assert path.read_text() == content and counts(fake)["refreshes"] == 0
    disk.free()
    broker.run("login", "main", "--import", str(path), "--import-wait", "1")
    wait_for(lambda: broker.post("t", {"n": 1}).status_code == 201, what="a post that is sent at once")
    assert (counts(fake)["logins"], counts(fake)["replays"]) == (1, 0)
