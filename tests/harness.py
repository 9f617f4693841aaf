"""Starts the real binaries on loopback and waits for them by condition: shared by the black-box tests."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

import requests
import requests.adapters
import urllib3

BROKER = os.environ.get("RELAY_BROKER", str(pathlib.Path(__file__).parent.parent / "build" / "relay-broker"))
PYTHON = os.environ.get("RELAY_PYTHON", sys.executable)
USER, PASSWORD = "alice", "correct horse battery"

# Loopback only, whatever proxy the environment names.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost,::1"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, seconds=20, what="the condition"):
    """Returns the first true value of condition(), or fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(0.02)


# What a sanitizer writes, and how a process ends that crashes.
REPORTS = "ERROR: AddressSanitizer", "runtime error: ", "LeakSanitizer: detected memory leaks"
CRASHES = {-number for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV,
                                  signal.SIGSYS, signal.SIGTRAP)}


class Process:
    """A program started by a test; ended by its pid, its output kept."""

    all = []  # but those that have ended and were checked

    def __init__(self, argv, log, env=None, **options):
        self.log = pathlib.Path(log)
        self.out = open(self.log, "ab")
        self.asked_to_stop = self.crash_wanted = False
        self.serves = False  # it is up, and does not end until it is asked to
        self.popen = subprocess.Popen(argv, stdout=self.out, stderr=subprocess.STDOUT, env=env, **options)
        Process.all.append(self)

    def text(self):
        return self.log.read_text(errors="replace")

    def alive(self):
        return self.popen.poll() is None

    def kill(self):
        """kill -9."""
        if self.alive():
            self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        self.out.close()

    def wait_end(self, seconds=20):
        """The exit status of one that ends by itself, as the test wants it to."""
        self.serves = False
        return self.popen.wait(seconds)

    def check_reports(self):
        """Fails where it crashed or ended by itself, or a sanitizer reported something; unless the test wanted it."""
        if self.crash_wanted:
            return
        text, status = self.text(), self.popen.poll()
        assert not any(report in text for report in REPORTS), text[-6000:]
        assert status not in CRASHES, f"it crashed with status {status}:\n{text[-4000:]}"
        assert not self.serves or self.asked_to_stop or status in (None, -signal.SIGKILL), (
            f"it ended by itself with status {status}:\n{text[-4000:]}")

    @classmethod
    def check_ended(cls):
        """Checks the reports of all that have ended since the last call."""
        ended = [process for process in cls.all if not process.alive()]
        for process in ended:
            cls.all.remove(process)
        for process in ended:
            process.check_reports()

    def ask_to_stop(self):
        """SIGTERM, once: a second one would cut a stop short."""
        if self.alive() and not self.asked_to_stop:
            self.popen.send_signal(signal.SIGTERM)
        self.asked_to_stop = True

    def stop(self, seconds=30):
        """A graceful stop; its exit status."""
        self.ask_to_stop()
        try:
            status = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not stop within {seconds} s:\n{self.text()[-4000:]}")
        self.out.close()
        return status


class FakeRelay:
    """The embedded fake relay, with its control endpoint."""

    def __init__(self, folder, port=None, flavour="memory", token_seconds=600, limits=False, users=((USER, PASSWORD),)):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        argv = [BROKER, "fake-relay", "--listen", f"127.0.0.1:{self.port}", "--flavour", flavour,
                "--access-token-seconds", str(token_seconds)]
        for name, password in users:
            argv += ["--user", f"{name}:{password}"]
        if not limits:
            argv.append("--no-rate-limits")
        self.process = Process(argv, pathlib.Path(folder) / f"fake-{self.port}.log")
        wait_for(lambda: answers(self.url + "/health"), what="the fake relay")
        self.process.serves = True

    def control(self, what, **fields):
        response = requests.post(f"{self.url}/fake/{what}", json=fields, timeout=10)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    def state(self):
        return requests.get(f"{self.url}/fake/state", timeout=10).json()

    def stop(self):
        self.process.kill()
        self.process.check_reports()


def answers(url, verify=True):
    try:
        return requests.get(url, timeout=2, verify=verify).status_code < 500
    except requests.RequestException:
        return False


class RealRelay:
    """The real pulsar-relay from PyPI."""

    def __init__(self, folder, port=None, backend="memory", token_minutes=10, limits=False, tls=None, redis_port=None):
        self.port = port or free_port()
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        env = {
            **os.environ,
            "PULSAR_JWT_SECRET_KEY": "a test secret of more than thirty-two characters",
            "PULSAR_BOOTSTRAP_ADMIN_USERNAME": USER,
            "PULSAR_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
            "PULSAR_BOOTSTRAP_ADMIN_EMAIL": "alice@example.org",
            "PULSAR_TRUSTED_HOSTS": '["127.0.0.1","localhost"]',
            "PULSAR_ALLOWED_ORIGINS": '["http://127.0.0.1"]',
            "PULSAR_ACCESS_TOKEN_EXPIRE_MINUTES": str(token_minutes),
            "PULSAR_STORAGE_BACKEND": backend,
            "RATELIMIT_ENABLED": "True" if limits else "False",
        }
        if redis_port:
            env |= {"PULSAR_VALKEY_HOST": "127.0.0.1", "PULSAR_VALKEY_PORT": str(redis_port),
                    "PULSAR_VALKEY_PASSWORD": Redis.PASSWORD}
        argv = [PYTHON, "-m", "uvicorn", "pulsar_relay.main:app", "--host", "127.0.0.1", "--port", str(self.port)]
        if tls:
            argv += ["--ssl-keyfile", str(tls.key), "--ssl-certfile", str(tls.certificate)]
        self.argv, self.env, self.folder = argv, env, pathlib.Path(folder)
        self.verify = str(tls.ca) if tls else True
        self.start()

    def start(self):
        self.process = Process(self.argv, self.folder / f"relay-{self.port}.log", env=self.env, cwd=self.folder)

        def up():
            assert self.process.alive(), f"the relay ended at its start:\n{self.process.text()[-4000:]}"
            return answers(self.url + "/health", self.verify)

        wait_for(up, 60, "the real relay")

    def answered(self, request):
        """The statuses with which the relay answered a request so far, from its access log: "POST /auth/login"."""
        pattern = rf'"{re.escape(request)}(?:\?[^ ]*)? HTTP/1.1" (\d+)'
        return [int(status) for status in re.findall(pattern, self.process.text())]

    def login(self):
        """A login of its own at the relay: the relay's token response."""
        response = requests.post(self.url + "/auth/login", timeout=20, verify=self.verify,
                                 data={"username": USER, "password": PASSWORD, "grant_type": "password"})
        assert response.status_code == 200, response.text
        return response.json()

    def get(self, path, access_token):
        """A request straight to the relay."""
        return requests.get(self.url + path, timeout=20, verify=self.verify,
                            headers={"Authorization": f"Bearer {access_token}"})

    def stop(self):
        self.process.kill()


class Redis:
    """Debian's redis-server, the real relay's other storage; the relay insists on a password."""

    PASSWORD = "redis"

    def __init__(self, folder, port=None):
        self.port = port or free_port()
        folder = pathlib.Path(folder) / f"redis-{self.port}"
        folder.mkdir(exist_ok=True)
        self.process = Process(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder),
                                "--save", "", "--appendonly", "no", "--requirepass", self.PASSWORD], folder / "log")

        def up():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.sendall(f"AUTH {self.PASSWORD}\r\n".encode())
                return s.recv(16).startswith(b"+OK")
            return False

        wait_for(up, what="redis")

    def stop(self):
        self.process.kill()


class Tls:
    """A CA of the test's own, or another one's, and a certificate for 127.0.0.1 and localhost. starts: from when it is
    valid, in days."""

    def __init__(self, folder, host="IP:127.0.0.1,DNS:localhost", days=2, authority=None, starts=None):
        folder = pathlib.Path(folder)
        folder.mkdir(exist_ok=True)
        self.key, self.certificate = folder / "server.key", folder / "server.pem"
        request, extra = folder / "server.csr", folder / "extra"
        extra.write_text(f"subjectAltName={host}\n")

        def openssl(*argv):
            subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True)

        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"]
        self.ca, self.ca_key = (authority.ca, authority.ca_key) if authority else (folder / "ca.pem", folder / "ca.key")
        if not authority:
            openssl("req", "-x509", *new_key, self.ca_key, "-out", self.ca, "-days", "2", "-subj", "/CN=test CA")
        openssl("req", *new_key, self.key, "-out", request, "-subj", "/CN=relay")
        if starts is None:
            openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-out",
                    self.certificate, "-days", days, "-extfile", extra)
            return
        begin, end = (time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + 86400 * day))
                      for day in (starts, starts + days))
        (folder / "index").write_text("")
        (folder / "ca.conf").write_text(f"[ca]\ndefault_ca = it\n[it]\ndatabase = {folder}/index\npolicy = any\n"
                                        f"new_certs_dir = {folder}\nrand_serial = yes\ndefault_md = sha256\n"
                                        "[any]\ncommonName = supplied\n")
        openssl("ca", "-batch", "-config", folder / "ca.conf", "-in", request, "-cert", self.ca, "-keyfile", self.ca_key,
                "-out", self.certificate, "-startdate", begin, "-enddate", end, "-extfile", extra, "-notext")


class UnixAdapter(requests.adapters.HTTPAdapter):
    """requests over a unix socket: http://admin/…"""

    def __init__(self, path):
        self.path = str(path)
        super().__init__()

    def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):
        path = self.path

        class Connection(urllib3.connection.HTTPConnection):
            def connect(self):
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(self.timeout)
                self.sock.connect(path)

        class Pool(urllib3.connectionpool.HTTPConnectionPool):
            ConnectionCls = Connection

        return Pool("localhost")


class Broker:
    """The real daemon in a state folder of its own."""

    def __init__(self, folder, port=None, config=None, start=True, env=None, wrapper=()):
        self.folder = pathlib.Path(folder)
        self.state, self.keys = self.folder / "state", self.folder / "keys"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env, self.wrapper = {**os.environ, **(env or {})}, list(wrapper)
        self.config = None
        if config is not None:
            self.config = self.folder / "relay-broker.conf"
            self.config.write_text(config)
        self.starts, self.process = 0, None
        if start:
            self.start()

    def argv(self):
        argv = [*self.wrapper, BROKER, "run", "--state", str(self.state), "--keys", str(self.keys), "--listen",
                f"127.0.0.1:{self.port}"]
        return argv + (["--config", str(self.config)] if self.config else [])

    def start(self):
        if self.process:
            self.check_reports()
        self.starts += 1
        self.process = Process(self.argv(), self.folder / f"broker-{self.starts}.log", env=self.env)

        def up():
            assert self.process.alive(), f"the broker ended at its start:\n{self.process.text()[-4000:]}"
            return answers(self.url + "/health")

        wait_for(up, 30, "the broker")
        self.process.serves = True

    def check_reports(self):
        """Of its last process."""
        self.process.check_reports()

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.check_reports()

    def stop(self):
        """A graceful stop; a sanitizer's report or a leak fails it."""
        status = self.process.stop()
        self.check_reports()
        text = self.process.text()
        assert "LeakSanitizer" not in text, text[-6000:]
        assert status == 0, f"exit status {status}:\n{text[-4000:]}"

    def run(self, *argv, stdin=None, check=True, timeout=60):
        """The command line on this broker's state folder."""
        result = subprocess.run([BROKER, *argv, "--state", str(self.state), "--keys", str(self.keys)], input=stdin,
                                capture_output=True, text=True, timeout=timeout, env=self.env)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def login(self, relay, name="main", user=USER, password=PASSWORD, keep=False, ca_file=None, replace=False):
        argv = ["login", name, "--relay", relay if isinstance(relay, str) else relay.url, "--username", user,
                "--password-stdin"]
        argv += ["--keep-password"] if keep else []
        argv += ["--ca-file", str(ca_file)] if ca_file else []
        argv += ["--replace"] if replace else []
        return self.run(*argv, stdin=password + "\n")

    def admin(self, method, path, **options):
        with requests.Session() as session:
            session.mount("http://localhost", UnixAdapter(self.state / "admin.sock"))
            return session.request(method, "http://localhost" + path, timeout=30, **options)

    def status(self):
        return self.admin("GET", "/admin/status").json()

    def account(self, name="main"):
        return next(a for a in self.status()["accounts"] if a["name"] == name)

    # the wire face, as a plain client
    def parked(self):
        """How many local polls wait."""
        return requests.get(self.url + "/messages/poll/stats", timeout=10).json()["active_connections"]

    def wire_login(self, user=USER, password="any will do"):
        """The token response: placeholders."""
        response = requests.post(self.url + "/auth/login", timeout=20,
                                 data={"username": user, "password": password, "grant_type": "password"})
        assert response.status_code == 200, response.text
        return response.json()

    def placeholder(self, user=USER):
        return self.wire_login(user)["access_token"]

    def post(self, topic, payload, headers=None, session=requests, **fields):
        return session.post(self.url + "/api/v1/messages", json={"topic": topic, "payload": payload, **fields},
                            headers=headers or {}, timeout=60)

    def poll(self, topics, since=None, timeout=1, bearer=None, session=requests):
        body = {"topics": topics if isinstance(topics, list) else [topics], "timeout": timeout}
        if since is not None:
            body["since"] = since
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        response = session.post(self.url + "/messages/poll", json=body, headers=headers, timeout=timeout + 30)
        assert response.status_code == 200, response.text
        return response.json()


def payloads(answer):
    return [m["payload"] for m in answer["messages"]]


def quote(text):
    return urllib.parse.quote(text, safe="")


def dump(value):
    return json.dumps(value, sort_keys=True)
