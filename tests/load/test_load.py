"""Floods: many parked polls, many posts, callers that take everything and give nothing. Memory is bounded and nobody starves."""
import contextlib
import os
import re
import socket
import threading
import time

import pytest
import requests

from conftest import cpu_seconds, memory, poll_request, post_request
from harness import wait_for

ASYNC = {"Prefer": "respond-async"}
ARRIVE = "limits {\n arrive_seconds = 2\n}\n"


@pytest.fixture
def say(capsys):
    def say(text):
        with capsys.disabled():
            print(f"\n{text}", end="")
    return say


@pytest.fixture
def sockets():
    """Opens raw connections that are closed after the test."""
    opened = []

    def connect(broker, text=b"", count=1, room=0):
        made = []
        for _ in range(count):
            made.append(socket.socket())
            if room:
                made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            made[-1].settimeout(20)
            made[-1].connect(("127.0.0.1", broker.port))
            if text:
                made[-1].sendall(text)
        opened.extend(made)
        return made

    yield connect
    for one in opened:
        one.close()


def figures(name, told):
    return (f"{name}: {told['good']} answered, {told['bad']} refused, p50 {told['p50']:.1f}, p90 {told['p90']:.1f},"
            f" p99 {told['p99']:.1f}, most {told['max']:.1f} ms")


def connections(broker):
    """How many the broker has."""
    metrics = requests.get(broker.url + "/metrics", timeout=10).text
    return int(float(re.search(r"^relay_broker_http_connections(?:{.*})? (\S+)$", metrics, re.M).group(1)))


def test_a_quiet_client_is_not_starved_by_a_flood_and_memory_is_bounded(fake, broker_of, tool, long, say):
    seconds, parked, groups, posters = (300, 10000, 10, 200) if long else (8, 2000, 10, 200)
    broker = broker_of()
    before = memory(broker)[0]
    alone = tool("load/quiet", broker.port, 100, 3000, 202, sent=post_request(broker.port, "quiet", {"n": 1}, **ASYNC)).told()
    polls = [tool("bench/load", broker.port, parked // groups, (seconds + 60) * 1000, 200,
                  sent=poll_request(broker.port, [f"parked-{i}"])) for i in range(groups)]
    wait_for(lambda: broker.parked() == parked, 120, "parked polls")
    with_polls = memory(broker)[0]
    used = cpu_seconds(broker)
    floods = [tool("bench/load", broker.port, posters // groups, seconds * 1000, 202,
                   sent=post_request(broker.port, f"flood-{i}", {"x": "y" * 300}, **ASYNC)) for i in range(groups)]
    quiet = tool("load/quiet", broker.port, 100, seconds * 1000 - 1000, 202,
                 sent=post_request(broker.port, "quiet", {"n": 2}, **ASYNC))
    machine = tool("load/quiet", fake.port, 100, seconds * 1000 - 1000, 200,
                   sent=f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{fake.port}\r\n\r\n".encode())
    quiet, machine, peak, spent = quiet.told(), machine.told(), memory(broker)[1], cpu_seconds(broker) - used
    told = [flood.told() for flood in floods]
    taken, refused, lost = (sum(one[key] for one in told) for key in ("good", "bad", "lost"))
    outbox = broker.status()["outbox"]
    say(figures("quiet alone", alone))
    say(figures("quiet beside the flood", quiet))
    say(figures("what the machine alone makes of it: the relay's /health meanwhile", machine))
    say(f"flood of {posters} for {seconds} s beside {parked} polls: {taken} posts taken, {refused} refused (outbox full),"
        f" {lost} connections lost; sent to the relay meanwhile: {outbox['accepted']};"
        f" {1e6 * spent / (taken + refused):.0f} us of the processor a request")
    wait_for(lambda: broker.parked() == parked, 60, "polls that all wait again")
    for one in polls:
        one.stop()
    wait_for(lambda: broker.parked() == 0, 60, "an end of the polls")
    say(f"resident: {before:.0f} MiB before, {with_polls:.0f} with the polls, {peak:.0f} at most,"
        f" {memory(broker)[0]:.0f} after")
    assert quiet["bad"] == 0 and quiet["lost"] == 0 and lost == 0
    assert quiet["good"] > seconds * 5
    assert peak < 400
    if long:
        assert quiet["p99"] < 50


def test_a_full_outbox_still_takes_posts_of_quiet_topics(fake, broker_of):
    broker = broker_of("outbox {\n rows = 500\n}\n")  # of which one user may fill 400
    fake.control("faults", do="status", status=503, path="/api/v1/messages", count=0)
    flood = 0
    with requests.Session() as session:
        while broker.post("flood", {"n": flood}, ASYNC, session).status_code == 202:
            flood += 1
        assert flood == 360
        for n in range(40):
            assert broker.post(f"quiet-{n % 4}", {"n": n}, ASYNC, session).status_code == 202
        assert broker.post("quiet-0", {"n": 40}, ASYNC, session).status_code == 503


def test_a_caller_without_a_descriptor_left_waits_its_turn_and_upstream_work_goes_on(fake, broker_of, sockets, say):
    broker = broker_of("limits {\n user_percent = 100\n}\n", wrapper=["prlimit", "--nofile=600:600"])
    with requests.Session() as kept:
        assert broker.post("t", {"n": 0}, session=kept).status_code == 201
        held = sockets(broker, poll_request(broker.port, ["parked"], timeout=60), count=200)
        newcomer = sockets(broker, post_request(broker.port, "t", {"n": 1}))[0]
        newcomer.settimeout(2)
        with pytest.raises(TimeoutError):
            newcomer.recv(100)
        used, began = cpu_seconds(broker), time.monotonic()
        for n in range(10):
            assert broker.post("t", {"n": n}, session=kept).status_code == 201
        time.sleep(1)
        spent = (cpu_seconds(broker) - used) / (time.monotonic() - began)
        assert broker.account()["state"] == "active"
        for one in held:
            one.close()
        newcomer.settimeout(20)
        assert newcomer.recv(100).startswith(b"HTTP/1.1 20")
    text = broker.process.text()
    assert "The system allows 600 descriptors: connections are limited to 88." in text
    say(f"all connections taken: {100 * spent:.0f} % of a core while a newcomer waits")
    assert spent < 0.5


def test_a_daemon_that_runs_out_of_descriptors_neither_spins_nor_ends(fake, broker_of, sockets, say):
    broker = broker_of(wrapper=["prlimit", "--nofile=40:40"])
    own = len(os.listdir(f"/proc/{broker.process.popen.pid}/fd"))
    held = sockets(broker, poll_request(broker.port, ["parked"], timeout=60), count=60)
    time.sleep(0.5)
    used, began = cpu_seconds(broker), time.monotonic()
    time.sleep(2)
    spent = (cpu_seconds(broker) - used) / (time.monotonic() - began)
    at_most = len(os.listdir(f"/proc/{broker.process.popen.pid}/fd"))
    for one in held:
        one.close()
    wait_for(lambda: broker.post("t", {"n": 1}).status_code == 201, 30, "a post that is sent at once")
    say(f"40 descriptors: {own} at rest, {at_most} with 60 callers, {100 * spent:.0f} % of a core")
    assert spent < 0.5


def test_answers_that_nobody_reads_are_bounded_and_do_not_starve_who_reads(fake, broker_of, sockets, long, say):
    """An answer has up to 8 MiB; what the kernel takes of it is not in the broker's memory."""
    callers, topics = 120 if long else 40, [f"big-{n}" for n in range(8)]
    broker = broker_of()
    since = dict.fromkeys(topics, "0-0")
    assert broker.poll(topics, since, 1)["messages"] == []
    for topic in topics:
        assert broker.post(topic, {"x": "x" * 1000000}).status_code == 201
    wait_for(lambda: broker.status()["inbox"]["rows"] == len(topics), 30, "stored messages")
    before = memory(broker)[0]
    held = sockets(broker, poll_request(broker.port, topics, since=since), count=callers, room=4096)
    wait_for(lambda: memory(broker)[0] > before + 200, 30, "unread answers")
    began = time.monotonic()
    wait_for(lambda: len(broker.poll(topics, since, 30)["messages"]) == len(topics), 120, "an answer to one who reads")
    took, peak = time.monotonic() - began, memory(broker)[1]
    assert broker.post("t", {"n": 1}).status_code == 201
    for one in held:
        one.close()
    wait_for(lambda: connections(broker) <= 2, 30, "an end of the callers")
    say(f"{callers} callers that never read 8 MiB each: resident {before:.0f} MiB before, {peak:.0f} at most,"
        f" {memory(broker)[0]:.0f} after; one who reads waited {took:.1f} s")
    assert peak < before + 400


def test_connections_opened_and_dropped_leave_nothing_behind(fake, broker_of, long, say):
    broker, count = broker_of(ARRIVE), 5000 if long else 1000
    before, began = memory(broker)[0], time.monotonic()
    whole = post_request(broker.port, "dropped", {"n": 1})
    starts = [b"", whole[:1], whole[:40], whole[:-1], b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"]

    def drop(part):
        for n in range(count // 4):
            with socket.create_connection(("127.0.0.1", broker.port), 20) as one, contextlib.suppress(OSError):
                one.sendall(starts[(n + part) % len(starts)])

    threads = [threading.Thread(target=drop, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    slowest = 0
    while any(thread.is_alive() for thread in threads):
        asked = time.monotonic()
        assert broker.post("t", {"n": 0}, ASYNC).status_code == 202
        slowest = max(slowest, time.monotonic() - asked)
    for thread in threads:
        thread.join()
    wait_for(lambda: connections(broker) <= 2, 30, "an end of the dropped connections")
    say(f"{count} connections dropped in {time.monotonic() - began:.1f} s: resident {before:.0f} MiB before,"
        f" {memory(broker)[1]:.0f} at most, {memory(broker)[0]:.0f} after; the slowest post beside them"
        f" {1000 * slowest:.0f} ms")
    assert memory(broker)[1] < before + 100
    assert len(os.listdir(f"/proc/{broker.process.popen.pid}/fd")) < 60


@pytest.mark.parametrize("part", ["headers", "body"])
def test_requests_that_come_byte_by_byte_are_cut_and_hold_nobody_up(fake, broker_of, sockets, part, long, say):
    broker = broker_of(ARRIVE)
    count = 2000 if long else 200
    head, body = post_request(broker.port, "slow", {"x": "y" * 1000}, **{"X-Long": "z" * 1000}).split(b"\r\n\r\n")
    slow = sockets(broker, head[:60] if part == "headers" else head + b"\r\n\r\n", count=count)
    began, slowest, rest = time.monotonic(), 0, iter(head[60:-1] if part == "headers" else body[:-1])
    while time.monotonic() - began < 3 and (byte := next(rest, None)) is not None:
        for one in slow:
            with contextlib.suppress(OSError):
                one.send(bytes([byte]))
        asked = time.monotonic()
        assert broker.post("t", {"n": 0}, ASYNC).status_code == 202
        slowest = max(slowest, time.monotonic() - asked)
    wait_for(lambda: connections(broker) <= 2, 30, "an end of the slow connections")
    answers = {one.recv(100)[:12] for one in slow if not reset(one)}
    say(f"{count} slow {part}: cut after {time.monotonic() - began:.1f} s, the slowest post beside them {1000 * slowest:.0f} ms")
    assert answers <= {b"HTTP/1.1 408"}


def reset(one):
    try:
        return one.recv(100, socket.MSG_PEEK) == b""
    except OSError:
        return True
