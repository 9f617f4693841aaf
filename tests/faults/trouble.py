"""What the fault tests share: a quick configuration, what an ended broker left behind, what the relay has, disks."""
import contextlib
import os
import pathlib
import shutil
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import threading

import requests

import harness
from harness import wait_for

# As schema and headers number them: broker/chain.h, broker/outbox.h.
CHAIN_STATES = ("active", "rotating", "uncertain", "dead", "revoking", "revoked", "held")
POST_STATES = ("queued", "sending", "unknown", "accepted", "refused", "expired")

REFRESH, POSTS, POLLS = "/auth/token/refresh", "/api/v1/messages", "/messages/poll"
MANY = 1000000
QUICK = {"posts_per_minute": MANY, "refreshes_per_minute": MANY, "logins_per_minute": MANY, "unknown_wait_seconds": 1,
         "retry_after_end_seconds": 1, "poll_timeout_seconds": 5}


def config(**relay):
    """A broker whose budgets are never spent and that waits a second where others wait ten or more."""
    return "relay {\n" + "".join(f"  {key} = {value}\n" for key, value in {**QUICK, **relay}.items()) + "}\n"


def make_broker(folder, fake=None, keep=False, **relay):
    broker = harness.Broker(folder, config=config(**relay))
    if fake:
        broker.login(fake, keep=keep)
    return broker


def counts(fake):
    return fake.state()["counts"]


def length(fake, topic):
    return next((t["length"] for t in fake.state()["topics"] if t["topic"] == topic), 0)


def hold(fake, path, method="POST"):
    """The next request there waits for fake.control("release")."""
    fake.control("faults", do="hold", method=method, path=path)


def wait_held(fake, seconds=20):
    wait_for(lambda: fake.state()["held"], seconds, "a held request")


def wait_drained(broker, seconds=40):
    def drained():
        outbox = broker.status()["outbox"]
        return not outbox["queued"] + outbox["sending"] + outbox["unknown"]

    wait_for(drained, seconds, "an empty outbox")


def wait_events(broker, kind, seconds=20):
    """The texts of the events of a kind, once there are some."""
    return wait_for(lambda: events(broker, kind), seconds, f"event {kind}")


def events(broker, kind):
    return [e["text"] for e in broker.status()["events"] if e["kind"] == kind]


def relays_messages(broker, fake, topic):
    """Every message of the topic in the relay's order, asked of the relay itself with a real token."""
    token = broker.run("token", "main").stdout.strip()
    messages, cursor = [], None
    while True:
        page = requests.get(f"{fake.url}/api/v1/topics/{topic}/messages", timeout=10,
                            params={"limit": 100, "order": "asc", **({"cursor": cursor} if cursor else {})},
                            headers={"Authorization": f"Bearer {token}"})
        if page.status_code == 404:
            return messages
        assert page.status_code == 200, page.text
        page = page.json()
        if not page["messages"]:
            return messages
        messages += page["messages"]
        cursor = page["messages"][-1]["message_id"]


def first_copies(items):
    return list(dict.fromkeys(items))


def left_behind(broker):
    """The database that an ended broker left: (states of its chains, {state: number of posts})."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("relay-broker.db", "relay-broker.db-wal"):
            if (broker.state / name).exists():
                shutil.copy(broker.state / name, folder)
        db = sqlite3.connect(pathlib.Path(folder) / "relay-broker.db")
        chains = [CHAIN_STATES[state] for (state,) in db.execute("SELECT state FROM chain ORDER BY id")]
        posts = {POST_STATES[state]: n for state, n in db.execute("SELECT state, count(*) FROM post GROUP BY state")}
        db.close()
    return chains, posts


def sentence(text):
    """Checks that a text is made for a reader, and returns it."""
    text = text.strip()
    assert len(text.split()) >= 4 and "\n" not in text and text.isprintable(), text
    for wrong in ("(null)", "%s", "errno", "RB_", "eyJ"):
        assert wrong not in text, text
    return text


def complaint(result, status=1):
    """What a command that failed says: one sentence on standard error."""
    assert result.returncode == status, result.stdout + result.stderr
    assert result.stderr.startswith("relay-broker: "), result.stderr
    return sentence(result.stderr.removeprefix("relay-broker: "))


class Background(threading.Thread):
    """A call under way; result() waits for it."""

    def __init__(self, call, *args, **named):
        super().__init__(daemon=True)
        self.call, self.args, self.named = call, args, named
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.call(*self.args, **self.named)
        except Exception as error:  # noqa: BLE001
            self.error = error

    def result(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive(), "it has not ended"
        if self.error:
            raise self.error
        return self.value


class Mount:
    """A mounted folder; MountRefused where the machine does not permit it."""

    def __init__(self, folder, *argv):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *argv, str(self.folder)], capture_output=True, text=True)
        if done.returncode != 0:
            raise MountRefused(done.stderr.strip())

    def stop(self):
        subprocess.run(["umount", str(self.folder)], capture_output=True)


class MountRefused(Exception):
    pass


class SmallDisk(Mount):
    def __init__(self, folder, kib):
        super().__init__(folder, "-t", "tmpfs", "-o", f"size={kib}k,mode=700", "none")
        self.ballast = self.folder / "ballast"

    def fill(self):
        """Takes all the room that is left."""
        fd = os.open(self.ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (4096, 1):
                while True:
                    try:
                        os.write(fd, b"x" * size)
                    except OSError:
                        break
        finally:
            os.close(fd)

    def free(self):
        self.ballast.unlink()


class TlsProxy:
    """Ends TLS in front of a plain server on loopback; its certificate may be changed while it runs."""

    def __init__(self, port, tls):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connections = []
        self.port = self.listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.use(tls)
        threading.Thread(target=self.accept, daemon=True).start()

    def use(self, tls):
        """Another certificate from now on; connections under the former one end."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        self.context = context

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            with self.context.wrap_socket(client, server_side=True) as inside, \
                    socket.create_connection(("127.0.0.1", self.target)) as outside:
                self.connections.append(inside)
                inside.settimeout(0.02)
                outside.settimeout(0.02)
                while self.pass_on(inside, outside) and self.pass_on(outside, inside):
                    pass
        except OSError:
            client.close()

    @staticmethod
    def pass_on(one, other):
        try:
            data = one.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            return True
        other.sendall(data)
        return bool(data)

    def stop(self):
        self.listener.close()
