"""A relay that misbehaves, and what a local caller sees of it."""
import re
import socket
import threading

import pytest
import requests

import upstream
from harness import Broker, wait_for

POST = {"path": "/api/v1/messages", "method": "POST"}
# Before the work, after it, and without saying which.
FAULTS = [{"do": "status", "status": 500, "when": "before"}, {"do": "status", "status": 500, "when": "after"},
          {"do": "status", "status": 502, "when": "after"}, {"do": "status", "status": 504, "when": "before"},
          {"do": "html"}, {"do": "cut"}, {"do": "drop"}, {"do": "delay", "ms": 300}]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: "-".join(str(v) for v in f.values()))
def test_a_post_through_one_fault_is_stored_once(quick, fake, topic, fault):
    """The broker's stamp tells whether it was stored, so that it is sent again only where it was not."""
    assert quick.post(topic, {"n": 0}).status_code == 201
    fake.control("faults", **fault, **POST)
    answer = quick.post(topic, {"n": 1}, {"Prefer": "wait=1"})
    assert answer.status_code in (201, 202), answer.text
    upstream.wait_until_stored(fake, topic, 2)
    wait_for(lambda: quick.status()["outbox"]["unknown"] + quick.status()["outbox"]["sending"] == 0, 30)
    assert upstream.payloads(quick, fake, topic) == [{"n": 0}, {"n": 1}]
    assert [m["payload"] for m in quick.poll(topic, {topic: "0-0"})["messages"]] == [{"n": 0}, {"n": 1}]


@pytest.mark.parametrize("fault", [f for f in FAULTS if f["do"] != "delay"], ids=lambda f: "-".join(str(v) for v in f.values()))
def test_a_question_through_a_fault_is_an_answer_or_503_with_a_sentence(quick, fake, fault):
    for path in ("/auth/me", "/auth/sessions", "/api/v1/topics", "/api/v1/topics/t", "/api/v1/topics/t/messages"):
        fake.control("faults", **fault)
        answer = requests.get(quick.url + path, timeout=30)
        assert answer.status_code in (200, 404, 503)
        assert "<html" not in answer.text.lower()
        if answer.status_code == 503:
            assert answer.json()["message"].endswith(".") and answer.headers["Retry-After"]
        fake.control("clear")
    assert requests.get(quick.url + "/auth/me", timeout=10).status_code == 200


def test_429_for_a_question_is_503_here(quick, fake):
    fake.control("faults", do="status", status=429, path="/auth/me")
    assert requests.get(quick.url + "/auth/me", timeout=20).status_code == 503


def test_polls_wait_through_faults_and_lose_nothing(quick, fake, topic):
    assert quick.poll(topic, timeout=1)["messages"] == []
    for fault in FAULTS:
        fake.control("faults", **fault, path="/messages/poll")
    sent = [upstream.publish(quick, fake, topic, {"n": n}) for n in range(5)]
    seen = []

    def read():
        seen.extend(m["message_id"] for m in quick.poll(topic, {topic: seen[-1] if seen else "0-0"}, timeout=5)["messages"])
        return len(seen) >= 5

    wait_for(read, 60)
    assert seen == sent


def test_a_wiped_relay_is_noticed_and_read_from_its_beginning(quick, fake, topic):
    old = [upstream.publish(quick, fake, topic, {"old": n}) for n in range(3)]
    assert [m["message_id"] for m in quick.poll(topic, {topic: "0-0"})["messages"]] == old
    token = quick.placeholder()
    assert quick.poll(topic, {topic: old[-1]}, timeout=1, bearer=token)["messages"] == []
    fake.control("wipe")
    new = upstream.publish(quick, fake, topic, {"new": 1})
    seen = wait_for(lambda: [m["message_id"] for m in quick.poll(topic, timeout=5, bearer=token)["messages"]], 60)
    assert seen == [new]


class RawRelay:
    """Answers everything with the same bytes."""

    def __init__(self, answer):
        self.answer, self.socket = answer, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.asked = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer:
                data = b""
                while b"\r\n\r\n" not in data and (chunk := peer.recv(65536)):
                    data += chunk
                length = int((re.search(rb"(?i)content-length: (\d+)", data) or [0, 0])[1])
                while len(data.partition(b"\r\n\r\n")[2]) < length and (chunk := peer.recv(65536)):
                    data += chunk
                self.asked += 1
                peer.sendall(self.answer)

    def stop(self):
        self.socket.close()


def http(body, kind="application/json", status="200 OK", length=None):
    return (f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body) if length is None else length}\r\n"
            f"Connection: close\r\n\r\n{body}").encode()


TOKENS = '{"access_token": "%s", "token_type": "bearer", "expires_in": %s, "refresh_token": "%s"}'
GOOD = "5d1c6b0e-0000-4000-8000-aaaaaaaaaaaa.secret"
LOGIN_ANSWERS = {
    "html": http("<html>Sign in to the network</html>", "text/html"),
    "half_json": http('{"access_token": "x', length=500),
    "no_json": http("hello"), "empty": http(""), "list": http("[]"), "null": http("null"),
    "no_tokens": http("{}"), "numbers": http('{"access_token": 1, "refresh_token": 2, "expires_in": "x"}'),
    "control_characters": http(TOKENS % ("a\\nb", "600", GOOD)),
    "bidi": http(TOKENS % ("a\\u202eb", "600", GOOD)),
    "no_http": b"SSH-2.0-OpenSSH_9.2\r\n", "nothing": b"", "redirect": b"HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
    "403_html": http("<html>no</html>", "text/html", "403 Forbidden"), "500": http("x", "text/plain", "500 Oops"),
    "terminal": http('{"detail": "\\u001b[2Jgone \\u202e"}', status="401 Unauthorized"),
    "long": http('{"detail": "' + "x" * 100000 + '"}', status="401 Unauthorized"),
}


@pytest.mark.parametrize("answer", LOGIN_ANSWERS.values(), ids=LOGIN_ANSWERS)
def test_d8_a_login_at_what_is_no_relay_fails_with_one_printable_sentence(tmp_path, answer):
    relay, broker = RawRelay(answer), Broker(tmp_path)
    result = broker.run("login", "main", "--relay", relay.url, "--username", "alice", "--password-stdin",
                        stdin="planted-password\n", check=False)
    assert result.returncode == 1 and result.stdout == ""
    lines = result.stderr.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("relay-broker: ") and len(lines[0]) < 2000
    assert lines[0].isprintable() and "planted-password" not in lines[0] and "secret" not in lines[0]
    assert requests.get(broker.url + "/health", timeout=10).status_code == 200
    broker.stop()
    relay.stop()
