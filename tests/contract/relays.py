"""The four relays: how each is started, awaited, restarted and ended."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time

import requests

PATIENCE_S = 60
ADMIN = ("admin", "admin-password-1")
KINDS = ["fake-memory", "fake-valkey", "real-memory", "real-valkey"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what):
    """Waits for the condition and returns its value."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


def missing(kind):
    """Why a relay of this kind cannot be started here, or None."""
    if kind.startswith("fake") and not os.environ.get("RELAY_BROKER"):
        return "RELAY_BROKER is not set"
    if kind.startswith("real"):
        python = os.environ.get("RELAY_PYTHON")
        if not python:
            return "RELAY_PYTHON is not set"
        if subprocess.run([python, "-c", "import pulsar_relay, uvicorn"], capture_output=True).returncode:
            return "RELAY_PYTHON has no pulsar-relay"
    if kind == "real-valkey":
        if not shutil.which("redis-server"):
            return "there is no redis-server"
        if subprocess.run([os.environ["RELAY_PYTHON"], "-c", "import glide"], capture_output=True).returncode:
            return "RELAY_PYTHON has no valkey-glide"
    return None


def end(process, how=signal.SIGTERM):
    if process and process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Relay:
    """A running relay; `limits` leaves the rate limits on."""

    def __init__(self, kind, folder, limits=False, access_token_seconds=None):
        self.kind, self.folder, self.limits = kind, str(folder), limits
        self.real, self.flavour = kind.startswith("real"), kind.split("-")[1]
        self.access_token_seconds = access_token_seconds
        self.process = self.redis = None
        self.port, self.redis_port = free_port(), None
        self.url = f"http://127.0.0.1:{self.port}"
        self.secret = secrets.token_hex(32)
        try:
            if kind == "real-valkey":
                self._start_redis()
            self._start()
        except BaseException:
            self.stop()
            raise

    def _log(self, name):
        return open(os.path.join(self.folder, f"{self.kind}-{self.port}-{name}.log"), "ab")

    def _start_redis(self):
        self.redis_port = free_port()
        with self._log("redis") as log:
            self.redis = subprocess.Popen(
                ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "",
                 "--appendonly", "no", "--requirepass", "loopback", "--dir", self.folder], stdout=log, stderr=log)

        def answers():
            try:
                with socket.create_connection(("127.0.0.1", self.redis_port), 1) as link:
                    link.sendall(b"AUTH loopback\r\nPING\r\nQUIT\r\n")
                    return b"PONG" in link.makefile("rb").read()
            except OSError:
                return False

        until(answers, "redis-server")

    def _start(self):
        if self.real:
            self._start_real()
        else:
            self._start_fake()

        def ready():
            assert self.process.poll() is None, f"{self.kind} ended at once: see {self.folder}"
            try:
                return requests.get(self.url + "/health", timeout=2).status_code == 200
            except requests.RequestException:
                return False

        until(ready, self.kind)

    def _start_fake(self):
        command = [os.environ["RELAY_BROKER"], "fake-relay", "--listen", f"127.0.0.1:{self.port}",
                   "--flavour", self.flavour, "--admin", ":".join(ADMIN)]
        if not self.limits:
            command.append("--no-rate-limits")
        if self.access_token_seconds:
            command += ["--access-token-seconds", str(self.access_token_seconds)]
        with self._log("relay") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline().strip()
        assert line == f"listening on {self.url}", f"the fake relay said {line!r}"

    def _start_real(self):
        settings = dict(os.environ)
        settings.update({
            "PULSAR_JWT_SECRET_KEY": self.secret,
            "PULSAR_BOOTSTRAP_ADMIN_USERNAME": ADMIN[0],
            "PULSAR_BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1],
            "PULSAR_BOOTSTRAP_ADMIN_EMAIL": "admin@example.com",
            "PULSAR_TRUSTED_HOSTS": '["127.0.0.1","localhost"]',
            "PULSAR_ALLOWED_ORIGINS": '["http://127.0.0.1"]',
            "PULSAR_STORAGE_BACKEND": self.flavour,
        })
        if not self.limits:
            settings["RATELIMIT_ENABLED"] = "False"
        if self.flavour == "valkey":
            settings.update({"PULSAR_VALKEY_HOST": "127.0.0.1", "PULSAR_VALKEY_PORT": str(self.redis_port),
                             "PULSAR_VALKEY_PASSWORD": "loopback"})
        with self._log("relay") as log:
            self.process = subprocess.Popen(
                [os.environ["RELAY_PYTHON"], "-m", "uvicorn", "pulsar_relay.main:app", "--host", "127.0.0.1", "--port",
                 str(self.port), "--log-level", "warning"], stdout=log, stderr=log, env=settings, cwd=self.folder)

    def restart(self):
        if self.real:
            end(self.process, signal.SIGKILL)
            self._start()
        else:
            self.order("restart")

    def storage_dies(self):
        if self.real:
            end(self.redis, signal.SIGKILL)
        else:
            self.order("storage", on=False)

    def order(self, what, **order):
        answer = requests.post(f"{self.url}/fake/{what}", json=order, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text

    def waiting(self, bearer):
        headers = {"Authorization": f"Bearer {bearer}"}
        answer = requests.get(self.url + "/messages/poll/stats", headers=headers, timeout=10)
        return answer.json()["active_waiters"]

    def stop(self):
        end(self.process)
        end(self.redis)
        if self.process and self.process.stdout:
            self.process.stdout.close()
        if self.process and not self.real:
            # A crash, a sanitizer's report and a leak have another status.
            assert self.process.returncode == 0, f"{self.kind} ended with {self.process.returncode}: see {self.folder}"


class User:
    """A user of a relay with a login of its own."""

    def __init__(self, relay, name, password, address=None):
        self.relay, self.name, self.password, self.address = relay, name, password, address
        self.bearer = self.token = None

    def call(self, method, path, body=None, **more):
        """`body`: what to send as JSON, or the bytes themselves. A new connection each time."""
        headers = {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}
        if self.address:
            headers["X-Forwarded-For"] = self.address
        headers.update(more.pop("headers", {}))
        if isinstance(body, bytes):
            headers.setdefault("Content-Type", "application/json")
            more["data"] = body
        elif body is not None:
            more["json"] = body
        more.setdefault("timeout", 90)
        more.setdefault("allow_redirects", False)
        return requests.request(method, self.relay.url + path, headers=headers, **more)

    def try_login(self, password=None):
        form = {"username": self.name, "password": password or self.password, "grant_type": "password"}
        return self.call("POST", "/auth/login", data=form, headers={"Authorization": ""})

    def login(self):
        answer = self.try_login()
        assert answer.status_code == 200, answer.text
        self.bearer, self.token = answer.json()["access_token"], answer.json()["refresh_token"]
        return self

    def refresh(self, token):
        return self.call("POST", "/auth/token/refresh", {"refresh_token": token})

    def revoke(self, token, **more):
        return self.call("POST", "/auth/token/revoke", {"refresh_token": token, **more})

    def post(self, topic, payload, key=None, **more):
        headers = {"Idempotency-Key": key} if key is not None else {}
        if isinstance(payload, bytes):
            return self.call("POST", "/api/v1/messages", b'{"topic":"%s","payload":%s}' % (topic.encode(), payload),
                             headers=headers)
        return self.call("POST", "/api/v1/messages", {"topic": topic, "payload": payload, **more}, headers=headers)

    def send(self, topic, payload, **more):
        """A post that is accepted; the message's id."""
        answer = self.post(topic, payload, **more)
        assert answer.status_code == 201, answer.text
        return answer.json()["message_id"]

    def bulk(self, messages, key=None):
        headers = {"Idempotency-Key": key} if key is not None else {}
        return self.call("POST", "/api/v1/messages/bulk", {"messages": messages}, headers=headers)

    def poll(self, topics, since=None, timeout=1):
        body = {"topics": topics, "timeout": timeout}
        if since is not None:
            body["since"] = since
        return self.call("POST", "/messages/poll", body)

    def page(self, topic, **query):
        return self.call("GET", f"/api/v1/topics/{topic}/messages", params=query)

    def stored(self, topic):
        """Everything of the topic, oldest first."""
        messages, cursor = [], None
        while True:
            query = {"limit": 100, "order": "asc", **({"cursor": cursor} if cursor else {})}
            answer = self.page(topic, **query)
            if answer.status_code == 404:
                return messages
            assert answer.status_code == 200, answer.text
            if not answer.json()["messages"]:
                return messages
            messages += answer.json()["messages"]
            cursor = answer.json()["next_cursor"]


class Waiting:
    """A poll in a thread of its own that waits by the time this is made."""

    def __init__(self, user, topics, timeout=20, since=None):
        self.answer = None
        before = user.relay.waiting(user.bearer)
        self.thread = threading.Thread(target=self._ask, args=(user, topics, timeout, since), daemon=True)
        self.thread.start()
        until(lambda: user.relay.waiting(user.bearer) > before, "the poll to wait")

    def _ask(self, user, topics, timeout, since):
        try:
            self.answer = user.poll(topics, since, timeout)
        except requests.RequestException as error:
            self.answer = error

    def result(self):
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        return self.answer
