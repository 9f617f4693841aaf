"""What one user of the host may hold: his part, and the rest is for others (D6)."""
import json
import socket

import pytest
import requests

import upstream
from conftest import WITHOUT_LIMITS
from harness import Broker, wait_for
from users import NOBODY, all_as_user, as_user

EVERYBODY = "door default {\n uids = any\n}\n"


@pytest.fixture
def broker_with(tmp_path, fake):
    """Starts a broker for everybody, with these limits and one user's part of them a half."""
    started = []

    def start(limits="", outbox="", relay=WITHOUT_LIMITS):
        config = f"limits {{\n user_percent = 50\n {limits}\n}}\noutbox {{\n {outbox}\n}}\n{relay}{EVERYBODY}"
        broker = Broker(tmp_path, config=config)
        started.append(broker)
        broker.login(fake)
        return broker

    yield start
    for broker in started:
        broker.stop()


def post(broker, topic, key=None):
    headers = {"Prefer": "respond-async", **({"Idempotency-Key": key} if key else {})}
    return broker.post(topic, {}, headers)


def poll(broker, topic, timeout=1):
    return requests.post(broker.url + "/messages/poll", json={"topics": [topic], "timeout": timeout}, timeout=timeout + 20)


def other_polls(broker, topic):
    return as_user(NOBODY, broker.port, "/messages/poll", "POST", json.dumps({"topics": [topic], "timeout": 1}))


def other_posts(broker, topic):
    return as_user(NOBODY, broker.port, "/api/v1/messages", "POST", json.dumps({"topic": topic, "payload": {}}))


def is_refused(answer, words):
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert words in answer.json()["message"] and answer.json()["message"].endswith("."), answer.text


def test_d6_one_users_waiting_polls_leave_room_for_another_users(broker_with, topic, pool):
    broker = broker_with("parked_polls = 4")
    waiting = [pool.submit(poll, broker, topic, 10) for _ in range(2)]
    wait_for(lambda: broker.parked() == 2)
    is_refused(poll(broker, topic), "Too many requests of this user are waiting")
    assert other_polls(broker, topic)[0] == 200
    assert [one.result().status_code for one in waiting] == [200, 200]


def test_d6_one_users_connections_leave_room_for_another_users(broker_with):
    broker = broker_with("connections = 32")
    held = [socket.create_connection(("127.0.0.1", broker.port)) for _ in range(16)]
    try:
        wait_for(lambda: broker.status()["http"]["connections"] >= 16)
        with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as one_more:
            assert one_more.recv(100).startswith(b"HTTP/1.1 503 ")
        assert as_user(NOBODY, broker.port)[0] == 200
    finally:
        for s in held:
            s.close()
    wait_for(lambda: requests.get(broker.url + "/health", timeout=10).status_code == 200)


def test_d6_one_users_reading_sessions_leave_room_for_another_users(broker_with, topic):
    broker = broker_with("sessions = 4")
    for _ in range(2):
        broker.poll(topic, bearer=broker.placeholder())
    login = {"username": "main", "password": "x", "grant_type": "password"}
    is_refused(requests.post(broker.url + "/auth/login", data=login, timeout=10), "too many sessions that read")
    form = "&".join(f"{name}={value}" for name, value in login.items())
    status, text = as_user(NOBODY, broker.port, "/auth/login", "POST", form)
    assert status == 200 and json.loads(text)["access_token"]


def test_d6_one_users_topics_leave_room_for_another_users(broker_with, fake, topic):
    broker = broker_with("topics = 4")
    assert post(broker, topic + "-1").status_code in (201, 202) and poll(broker, topic + "-2").status_code == 200
    words = "This user has named too many topics"
    is_refused(post(broker, topic + "-3"), words)
    is_refused(poll(broker, topic + "-3"), words)
    many = [{"topic": topic + end, "payload": {}} for end in ("-1", "-3")]
    is_refused(requests.post(broker.url + "/api/v1/messages/bulk", json={"messages": many}, timeout=10), words)
    assert other_posts(broker, topic + "-3")[0] in (201, 202) and other_polls(broker, topic + "-4")[0] == 200
    # What is there already serves everybody, and of a bulk that was refused nothing was stored.
    assert post(broker, topic + "-3").status_code in (201, 202) and poll(broker, topic + "-4").status_code == 200
    wait_for(lambda: broker.status()["outbox"]["queued"] == 0)
    assert upstream.length(fake, topic + "-1") == 1


def test_d6_one_users_rows_leave_room_in_the_outbox_for_another_users(broker_with, fake, topic):
    broker = broker_with(outbox="rows = 8")
    assert post(broker, topic).status_code in (201, 202)
    wait_for(lambda: broker.status()["outbox"]["queued"] == 0)
    fake.control("faults", do="status", status=429, retry_after="60", path="/api/v1/messages", count=0)
    assert [post(broker, topic).status_code for _ in range(4)] == [202] * 4
    is_refused(post(broker, topic), "The part of the outbox that one user may fill is full")
    assert other_posts(broker, topic)[0] == 202


def test_d6_one_users_keys_leave_room_for_another_users(broker_with, topic):
    broker = broker_with(outbox="keys = 6")
    first = post(broker, topic, "one")
    assert first.status_code in (201, 202) and post(broker, topic, "two").status_code in (201, 202)
    assert post(broker, topic).status_code in (201, 202)
    for key in ("three", None):
        is_refused(post(broker, topic, key), "Too many posts that have ended are still remembered")
    assert post(broker, topic, "one").status_code in (200, 201, 202)
    assert other_posts(broker, topic)[0] in (201, 202)


@pytest.mark.long
def test_d6_a_flood_of_one_user_over_many_topics_leaves_another_his_part_of_the_budget(broker_with, fake, topic):
    broker = broker_with(relay="relay {\n posts_per_minute = 12\n}\n")
    for i in range(48):
        assert post(broker, f"{topic}-{i % 12}").status_code in (201, 202)
    # Of the next minute's twelve a half is his.
    sent = [(broker.port, "/api/v1/messages", "POST", json.dumps({"topic": topic, "payload": {"n": n}})) for n in range(4)]
    assert all(status == 202 for status, _ in all_as_user(NOBODY, sent))
    wait_for(lambda: upstream.length(fake, topic) == 4, 90, "the quiet user's posts")
    assert broker.status()["outbox"]["queued"] >= 48 - 24
