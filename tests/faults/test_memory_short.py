"""Too little memory for the real binary: SQLite, libraries and our own allocations fail as they come."""
import concurrent.futures
import pathlib
import resource

import pytest
import requests

import harness
from trouble import relays_messages, wait_drained

ROOM = 24 << 20
POSTS, CALLERS, BYTES = 120, 40, 900_000


def address_space(broker):
    status = pathlib.Path(f"/proc/{broker.process.popen.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmSize:"))) << 10


def limit(broker, soft):
    resource.prlimit(broker.process.popen.pid, resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))


def post(broker, n):
    """The status, 0 where the connection ended without an answer: then nobody knows what became of it."""
    try:
        return broker.post("t", {"n": n, "s": "x" * BYTES}).status_code
    except requests.RequestException:
        return 0


@pytest.mark.long
def test_big_posts_with_too_little_memory_are_refused_and_what_was_answered_arrives(fake, tmp_path, capsys):
    if b"__asan_init" in pathlib.Path(harness.BROKER).read_bytes():
        pytest.skip("the sanitizers take more address space than any limit leaves")
    broker = harness.Broker(tmp_path)
    broker.login(fake)
    assert post(broker, -1) in (201, 202)
    limit(broker, address_space(broker) + ROOM)
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as callers:
        statuses = list(callers.map(lambda n: post(broker, n), range(POSTS)))
    assert set(statuses) <= {0, 201, 202, 503, 507}
    answered = {n for n, status in enumerate(statuses) if status in (201, 202)}
    ended = not broker.process.alive()
    if ended:
        assert broker.process.wait_end() == 1
        assert "Stopping, so that a restart reads what is there." in broker.process.text()
        broker.start()
    else:
        limit(broker, resource.RLIM_INFINITY)
    assert len(answered) < POSTS, "there was memory enough: nothing was proved"
    harness.wait_for(lambda: post(broker, POSTS) in (201, 202), what="a post without a limit")
    wait_drained(broker)
    assert broker.account()["state"] == "active"
    found = {message["payload"]["n"] for message in relays_messages(broker, fake, "t")}
    assert answered <= found
    with capsys.disabled():
        print(f"\n{POSTS} posts of {BYTES} bytes with {ROOM >> 20} MiB to spare: {len(answered)} answered, "
              f"{sum(status in (503, 507) for status in statuses)} refused, {statuses.count(0)} connections ended; the daemon "
              f"{'stopped by itself' if ended else 'went on'}; none that was answered is missing")
    broker.stop()
