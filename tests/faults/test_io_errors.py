"""fsync fails with EIO: whether the last change was kept is unknown (T4). strace makes the kernel say so."""
import shutil
import subprocess

import pytest
import requests

import harness

SYNC_CALLS = "fsync,fdatasync"


def can_trace():
    return shutil.which("strace") and subprocess.run(["strace", "-o", "/dev/null", "true"]).returncode == 0


@pytest.fixture
def failing_broker(tmp_path):
    """A broker whose disk fails from its fortieth fsync on, some way after the login."""
    if not can_trace():
        pytest.skip("strace is not there, or may not trace")
    broker = harness.Broker(tmp_path, env={"ASAN_OPTIONS": "detect_leaks=0"},
                            wrapper=["strace", "-f", "-o", str(tmp_path / "strace"), "-e", f"trace={SYNC_CALLS}", "-e",
                                     f"inject={SYNC_CALLS}:error=EIO:when=40+"])
    yield broker
    broker.kill()


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
    assert broker.process.popen.wait(20) == 1
    text = broker.process.text()
    assert "Stopping, so that a restart reads what is there." in text and "AddressSanitizer" not in text
    broker.wrapper = []
    broker.start()
    assert broker.account()["state"] == "active"
    found = [m["payload"] for m in broker.poll("t", {"t": "0-0"}, timeout=5)["messages"]]
    assert [p for p in found if p in answered] == answered
    assert fake.state()["counts"]["logins"] == 1
    broker.stop()
