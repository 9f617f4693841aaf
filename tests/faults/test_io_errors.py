"""Calls that fail on the disk, each on each file (T4): after EIO whether the last change was kept is unknown, without room
nothing was. strace makes the kernel say so."""
import pytest
import requests

import harness
from failing_calls import FailingCalls
from trouble import FULL, LATER, POSTS, can_trace, complaint, counts, numbers, wait_drained
from harness import wait_for

SYNC_CALLS = "fsync,fdatasync"


@pytest.fixture
def failing_broker(tmp_path):
    """A broker whose disk fails from its fortieth fsync on, some way after the login."""
    if not can_trace():
        pytest.skip("strace is not there, or may not trace")
    broker = harness.Broker(tmp_path, env={"ASAN_OPTIONS": "detect_leaks=0"},
                            wrapper=["strace", "-D", "-f", "-o", str(tmp_path / "strace"), "-e", f"trace={SYNC_CALLS}",
                                     "-e", f"inject={SYNC_CALLS}:error=EIO:when=40+"])
    yield broker
    broker.process.kill()


def post_until_refused(broker):
    """Payloads that were answered 201 or 202; the one after them got no answer, or a refusal."""
    answered = []
    for n in range(200):
        try:
            if broker.post("t", {"n": n}).status_code not in (201, 202):
                return answered
        except requests.ConnectionError:
            return answered
        answered.append({"n": n})
    raise AssertionError("the disk never failed")


def test_a_failed_fsync_ends_the_daemon_and_a_restart_has_lost_nothing_that_was_answered(fake, failing_broker):
    broker = failing_broker
    broker.login(fake)
    answered = post_until_refused(broker)
    assert answered
    assert broker.process.wait_end() == 1
    text = broker.process.text()
    assert "Stopping, so that a restart reads what is there." in text and "AddressSanitizer" not in text
    broker.wrapper = []
    broker.start()
    assert broker.account()["state"] == "active"
    found = [m["payload"] for m in broker.poll("t", {"t": "0-0"}, timeout=5)["messages"]]
    assert [p for p in found if p in answered] == answered
    assert fake.state()["counts"]["logins"] == 1
    broker.stop()


def test_a_bulk_whose_commit_ended_unknown_hears_nothing(fake, failing_broker):
    """It may be on disk: "nothing was done" would have it posted again."""
    broker = failing_broker
    broker.login(fake)
    statuses = set()
    with pytest.raises(requests.ConnectionError):
        for n in range(200):
            body = {"messages": [{"topic": "t", "payload": {"n": n}}, {"topic": "u", "payload": {"n": n}}]}
            statuses.add(requests.post(broker.url + POSTS + "/bulk", json=body, timeout=30).status_code)
    assert statuses and max(statuses) < 300, statuses
    assert broker.process.wait_end() == 1


WRITE, SYNC = "pwrite64", SYNC_CALLS
LOG, DATABASE = "relay-broker.db-wal", "relay-broker.db"


def failures(in_ci):
    """Every way in which a file of two halves can fail; CI takes one of them."""
    ways = {"EIO of a write": (WRITE, "EIO"), "no room for a write": (WRITE, "ENOSPC"), "EIO of a sync": (SYNC, "EIO")}
    return pytest.mark.parametrize("calls, error", [
        pytest.param(*way, id=name, marks=() if name == in_ci else pytest.mark.long) for name, way in ways.items()])


@pytest.fixture
def failing():
    """Makes calls of a broker fail on one of its files; they work again after the test."""
    if not can_trace():
        pytest.skip("strace is not there, or may not trace")
    made = []

    def make(broker, path, calls, error):
        made.append(FailingCalls(broker, path, calls, error))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def fill_log(broker, answered):
    """Posts until the log is written back into the database, or the broker ends."""
    for n in range(150):
        try:
            answer = broker.post("t", {"n": n, "x": "x" * 60000}, headers=LATER)
        except requests.ConnectionError:
            return
        if answer.status_code != 202:
            return
        answered.append(n)


@pytest.mark.parametrize("file, calls", [
    pytest.param(LOG, WRITE, id="write to the log"),
    pytest.param(LOG, SYNC, id="sync of the log", marks=pytest.mark.long),
    pytest.param(DATABASE, WRITE, id="write to the database", marks=pytest.mark.long),
    pytest.param(DATABASE, SYNC, id="sync of the database"),
])
def test_an_io_error_of_the_database_ends_the_daemon_and_a_restart_has_lost_nothing(relay_of, broker_of, failing, file,
                                                                                   calls):
    fake = relay_of(flavour="valkey")
    broker = broker_of(fake)
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    answered = []
    assert broker.post("t", {"n": "first"}, headers=LATER).status_code == 202
    failing(broker, broker.state / file, calls, "EIO")
    fill_log(broker, answered)
    assert broker.process.wait_end() == 1
    assert "Stopping, so that a restart reads what is there." in broker.process.text()
    assert bool(answered) == (file == DATABASE)
    broker.start()
    fake.control("clear")
    wait_drained(broker, 60)
    found = numbers(broker, fake, "t")
    # One whose answer did not come may be there.
    assert found[:1 + len(answered)] == ["first"] + answered and len(found) <= 2 + len(answered)
    assert (broker.account()["state"], counts(fake)["logins"]) == ("active", 1)


def test_a_log_without_room_refuses_posts_until_there_is_room(relay_of, broker_of, failing):
    broker = broker_of(relay_of())
    full = failing(broker, broker.state / LOG, WRITE, "ENOSPC")
    answer = broker.post("t", {"n": 0})
    assert (answer.status_code, answer.json()) == (507, FULL)
    full.stop()
    wait_for(lambda: broker.post("t", {"n": 1}).status_code == 201, what="a post that is sent at once")


@pytest.mark.long
def test_a_database_without_room_leaves_what_was_answered_in_the_log(relay_of, broker_of, failing):
    fake = relay_of(flavour="valkey")
    broker = broker_of(fake)
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    full, answered = failing(broker, broker.state / DATABASE, WRITE, "ENOSPC"), []
    fill_log(broker, answered)
    assert len(answered) == 150 and full.failed()
    assert "a checkpoint failed and will be tried again" in broker.process.text()
    broker.kill()
    full.stop()
    broker.start()
    fake.control("clear")
    wait_drained(broker, 60)
    assert numbers(broker, fake, "t") == answered


@failures(in_ci="EIO of a sync")
def test_a_token_is_kept_by_its_commit_when_the_slot_file_fails(relay_of, broker_of, failing, calls, error):
    fake = relay_of(token_seconds=6)
    broker = broker_of(fake)
    slot = failing(broker, broker.state / "slot", calls, error)
    wait_for(lambda: broker.run("token", "main") and broker.account()["generation"] >= 1, 30, "a rotation")
    assert slot.failed()
    assert "main: the slot file could not be written" in broker.process.text()
    broker.kill()
    slot.stop()
    broker.start()
    wait_for(lambda: broker.run("token", "main") and broker.account()["generation"] >= 2, 30, "a rotation")
    assert (counts(fake)["logins"], counts(fake)["replays"]) == (1, 0)


@failures(in_ci="no room for a write")
@pytest.mark.parametrize("killed", [
    pytest.param(False, id="stays"), pytest.param(True, id="is killed", marks=pytest.mark.long)])
def test_no_refresh_is_sent_while_the_counter_file_fails(relay_of, broker_of, failing, calls, error, killed):
    fake = relay_of(token_seconds=6)
    broker = broker_of(fake)
    counter = failing(broker, broker.keys / "counter", calls, error)
    wait_for(lambda: counter.failed() and "a refresh was not sent" in broker.process.text() or
             broker.run("token", "main", check=False) is None, 30, "a refresh that was not sent")
    assert counts(fake)["refreshes"] == 0
    if killed:
        broker.kill()
    counter.stop()
    if killed:
        broker.start()
    wait_for(lambda: broker.run("token", "main", check=False) and broker.account()["generation"] >= 1, 60, "a rotation")
    assert (counts(fake)["logins"], counts(fake)["replays"]) == (1, 0)


@failures(in_ci="EIO of a sync")
def test_a_login_that_cannot_be_counted_is_given_back(relay_of, broker_of, failing, calls, error):
    fake = relay_of()
    broker = broker_of()
    counter = failing(broker, broker.keys / "counter", calls, error)
    said = complaint(broker.run("login", "main", "--relay", fake.url, "--username", harness.USER, "--password-stdin",
                                stdin=harness.PASSWORD + "\n", check=False))
    assert "the counter file in the key folder could not be written" in said
    wait_for(lambda: counts(fake)["chains_revoked"] == 1, what="the revocation")
    assert broker.status()["accounts"] == []
    counter.stop()
    broker.login(fake)
    assert broker.post("t", {"n": 1}).status_code == 201
