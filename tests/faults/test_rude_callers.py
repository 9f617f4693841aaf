"""Callers that do not read, go away, come in thousands, or use up the descriptors."""
import concurrent.futures
import json
import selectors
import socket
import subprocess
import time

import pytest
import requests

import harness
from trouble import POLLS, POSTS, complaint, make_broker, sentence, wait_drained
from harness import wait_for

CROWD = 2000


@pytest.fixture
def broker(fake, broker_of):
    return broker_of(fake)


def request(broker, path, body):
    body = json.dumps(body).encode()
    head = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{broker.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n")
    return head.encode() + body


def connect(broker, data=b"", receive_buffer=None):
    s = socket.socket()
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(30)
    s.connect(("127.0.0.1", broker.port))
    s.sendall(data)
    return s


def parked_poll(broker, topic, timeout=60):
    return connect(broker, request(broker, POLLS, {"topics": [topic], "timeout": timeout}))


def test_callers_that_never_read_their_answers_hold_up_nobody(fake, broker):
    big = "x" * 700_000
    for n in range(4):
        assert broker.post("t", {"n": n, "x": big}).status_code in (201, 202)
    body = {"topics": ["t"], "since": {"t": "0-0"}, "timeout": 5}
    wait_for(lambda: len(broker.poll("t", {"t": "0-0"}, 5)["messages"]) == 4, what="the messages")
    deaf = [connect(broker, request(broker, POLLS, body), receive_buffer=4096) for _ in range(30)]
    for s in deaf:
        assert s.recv(1)
    for n in range(20):
        assert broker.post("u", {"n": n}).status_code == 201
        assert requests.get(broker.url + "/health", timeout=5).ok
    for s in deaf:
        s.close()
    assert broker.post("u", {"n": 20}).status_code == 201


def test_callers_that_send_half_a_request_are_cut_off_in_time(fake, broker_of, tmp_path):
    broker = broker_of(fake)
    broker.stop()
    broker.config.write_text(broker.config.read_text() + "limits {\n  arrive_seconds = 1\n}\n")
    broker.start()
    whole = request(broker, POSTS, {"topic": "t", "payload": {}})
    slow = [connect(broker, whole[:n]) for n in (0, 1, 40, whole.index(b"{") + 3, len(whole) - 1)]
    for s in slow:
        answer = b""
        while data := s.recv(1000):
            answer += data
        assert not answer or b" 408 " in answer.split(b"\r\n")[0], answer
    assert broker.post("t", {"n": 0}).status_code == 201


def test_callers_that_go_away_while_parked_leave_nothing_behind(fake, broker):
    assert broker.poll("t", None, 1)["messages"] == []
    waiting = [parked_poll(broker, "t") for _ in range(200)]
    wait_for(lambda: broker.parked() == 200, what="200 parked polls")
    for s in waiting:
        s.close()
    wait_for(lambda: broker.parked() == 0, what="no parked poll")
    http = broker.status()["http"]
    assert http["parked"] == 0
    assert broker.post("t", {"n": 0}).status_code == 201


def test_callers_that_go_away_while_their_post_is_under_way_lose_nothing(fake, broker):
    fake.control("faults", do="hold", path=POSTS, method="POST")
    gone = connect(broker, request(broker, POSTS, {"topic": "t", "payload": {"n": 0}}))
    wait_for(lambda: fake.state()["held"], what="the held post")
    gone.close()
    fake.control("release")
    wait_for(lambda: broker.status()["outbox"]["accepted"] == 1, what="the accepted post")


def test_thousands_of_parked_polls_are_answered_by_one_message_and_one_read(fake, broker):
    assert broker.poll("t", None, 1)["messages"] == []
    waiting = [parked_poll(broker, "t") for _ in range(CROWD)]
    wait_for(lambda: broker.parked() == CROWD, what=f"{CROWD} parked polls")
    assert fake.state()["waiting_polls"] <= 2
    before = fake.state()["counts"]["polls"]
    assert broker.post("t", {"n": "one"}).status_code == 201
    answered = 0
    with selectors.DefaultSelector() as selector:
        for s in waiting:
            selector.register(s, selectors.EVENT_READ)
        deadline = time.monotonic() + 30
        while answered < CROWD:
            assert time.monotonic() < deadline, f"{answered} of {CROWD} answered"
            for key, _ in selector.select(1):
                answer = key.fileobj.recv(4096)
                assert answer.startswith(b"HTTP/1.1 200 ") and b'"n":"one"' in answer.replace(b" ", b""), answer
                selector.unregister(key.fileobj)
                answered += 1
    assert fake.state()["counts"]["polls"] - before <= 6
    assert broker.parked() == 0
    for s in waiting:
        s.close()


@pytest.mark.parametrize("descriptors", [40, 64, 600])
def test_descriptors_that_are_used_up_are_waited_for(fake, tmp_path, descriptors):
    broker = make_broker(tmp_path)
    broker.stop()
    broker.wrapper = ["prlimit", f"--nofile={descriptors}:{descriptors}"]
    broker.start()
    try:
        broker.login(fake)
        assert "warning run: The system allows" in broker.process.text()
        crowd = [connect(broker) for _ in range(descriptors)]
        crowd[0].sendall(request(broker, POSTS, {"topic": "t", "payload": {"n": 0}}))
        status = crowd[0].recv(4096).split(b"\r\n")[0]
        assert status in (b"HTTP/1.1 201 Created", b"HTTP/1.1 202 Accepted"), status
        assert broker.process.alive()
        for s in crowd:
            s.close()
        assert broker.post("t", {"n": 1}, headers={"Prefer": "wait=30"}).status_code in (201, 202)
        wait_for(lambda: broker.status()["outbox"]["accepted"] == 2, 40, "both posts")
    finally:
        broker.stop()


@pytest.mark.parametrize("descriptors", [6, 39])
def test_too_few_descriptors_to_work_with_are_refused_at_the_start(tmp_path, descriptors):
    broker = harness.Broker(tmp_path, start=False)
    argv = ["prlimit", f"--nofile={descriptors}:{descriptors}", *broker.argv()]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=broker.env)
    assert complaint(told) == (f"The system allows {descriptors} descriptors, and the daemon needs 40: raise the limit "
                               "(ulimit -n, LimitNOFILE=).")


def test_nothing_stays_open_after_a_crowd(fake, broker):
    def crowd():
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: broker.post("t", {"n": n}), range(200)))

    crowd()
    connections = broker.status()["http"]["connections"]
    for _ in range(3):
        crowd()
    wait_drained(broker)
    wait_for(lambda: broker.status()["http"]["connections"] <= connections + 8, what="connections that end")
    assert broker.status()["outbox"]["open_bytes"] == 0


@pytest.fixture
def full_house(fake, broker_of):
    """A broker that lets three polls wait, and three that do."""
    broker = broker_of(fake)
    broker.stop()
    broker.config.write_text(broker.config.read_text() + "limits {\n  parked_polls = 3\n}\n")
    broker.start()
    assert broker.poll("t", None, 1)["messages"] == []
    waiting = [parked_poll(broker, "t") for _ in range(3)]
    wait_for(lambda: broker.status()["http"]["parked"] == 3, what="three parked polls")
    yield broker
    for s in waiting:
        s.close()


def test_a_poll_too_many_is_told_so(full_house):
    refused = requests.post(full_house.url + POLLS, json={"topics": ["t"], "timeout": 5}, timeout=10)
    assert refused.status_code == 503
    assert refused.json()["message"] == "Too many requests of this user are waiting at this moment."


def test_polls_that_wait_keep_out_no_post_and_no_look_at_the_health(full_house):
    assert requests.get(full_house.url + "/health", timeout=10).status_code == 200
    assert full_house.post("t", {"n": 0}).status_code == 201
