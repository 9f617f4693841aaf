"""What lies at the relay, asked past the broker with the account's own token."""
import json
import socket

import requests

from harness import wait_for


def bearer(broker, account="main"):
    return {"Authorization": "Bearer " + broker.run("token", account).stdout.strip()}


def messages(broker, fake, topic, account="main"):
    """All messages of a topic as the relay has them, oldest first."""
    found, cursor, headers = [], None, bearer(broker, account)
    while True:
        query = {"limit": 100, "order": "asc"} | ({"cursor": cursor} if cursor else {})
        answer = requests.get(f"{fake.url}/api/v1/topics/{topic}/messages", params=query, headers=headers, timeout=10)
        if answer.status_code == 404:
            return []
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["messages"]
        if not page["messages"]:
            return found
        cursor = page["next_cursor"]


def payloads(broker, fake, topic):
    return [m["payload"] for m in messages(broker, fake, topic)]


def length(fake, topic):
    return next((t["length"] for t in fake.state()["topics"] if t["topic"] == topic), 0)


def asked(counts):
    """How often the relay was asked for something; polls go on by themselves."""
    return counts["requests"] - counts["polls"]


def publish(broker, fake, topic, payload, **fields):
    """A message of somebody else, who talks to the relay itself; payload may be JSON text."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    more = "".join(f', "{name}": {json.dumps(value)}' for name, value in fields.items())
    answer = requests.post(fake.url + "/api/v1/messages", timeout=10,
                           headers=bearer(broker) | {"Content-Type": "application/json"},
                           data=f'{{"topic": "{topic}", "payload": {text}{more}}}'.encode())
    assert answer.status_code == 201, answer.text
    return answer.json()["message_id"]


def wait_until_stored(fake, topic, count, seconds=60):
    wait_for(lambda: length(fake, topic) >= count, seconds, f"{count} messages in {topic} at the relay")


def talk(port, data, host="127.0.0.1", seconds=20, half_close=False):
    """Sends bytes on a connection that is known to the other side, and reads until it closes: the whole answer."""
    with socket.create_connection((host, port), seconds) as s:
        # Who closes before the accept is not known to the kernel any more (D2): a first request waits for it.
        s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not (answer := s.recv(65536)).endswith(b"}"):
            assert answer, "the connection was closed before anything was asked"
        answer = b""
        try:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            while chunk := s.recv(65536):
                answer += chunk
        except OSError:  # the other side was quicker
            pass
        return answer


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None
