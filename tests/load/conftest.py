"""Crowds of callers against the real binary: programs of tests/bench and tests/load, which RELAY_TOOLS names (the build
folder's `tests`; by default that of the broker)."""
import json
import os
import pathlib
import resource
import subprocess

import pytest

import harness

TOOLS = pathlib.Path(os.environ.get("RELAY_TOOLS", pathlib.Path(harness.BROKER).parent / "tests"))
# The fake relay has no limits here, so the broker need not keep any.
NO_LIMITS = "relay {\n posts_per_minute = 0\n refreshes_per_minute = 0\n logins_per_minute = 0\n}\n"


def request(port, path, body, **headers):
    """The bytes of a request as a keep-alive client sends them."""
    text = json.dumps(body)
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json",
             f"Content-Length: {len(text)}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + text).encode()


def post_request(port, topic, payload, **headers):
    return request(port, "/api/v1/messages", {"topic": topic, "payload": payload}, **headers)


def poll_request(port, topics, timeout=60, **fields):
    return request(port, "/messages/poll", {"topics": topics, "timeout": timeout, **fields})


class Tool:
    """A program that sends one request again and again, and says at its end what it saw."""

    def __init__(self, name, *argv, sent):
        self.popen = subprocess.Popen([TOOLS / name, *map(str, argv)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.popen.stdin.write(sent)
        self.popen.stdin.close()

    def told(self):
        out = self.popen.stdout.read()
        self.popen.wait()
        return json.loads(out)

    def stop(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()


@pytest.fixture
def tool():
    """Starts programs that end with the test."""
    if not (TOOLS / "load" / "quiet").exists():
        pytest.skip(f"the programs are not in {TOOLS}: build with -Dtests=true, or name their folder in RELAY_TOOLS")
    tools = []

    def start(name, *argv, sent):
        tools.append(Tool(name, *argv, sent=sent))
        return tools[-1]

    yield start
    for one in tools:
        one.stop()


@pytest.fixture
def broker_of(tmp_path, fake):
    """Makes logged-in brokers without upstream limits that stop gracefully at the end of the test."""
    brokers = []

    def make(text="", **options):
        brokers.append(harness.Broker(tmp_path, config=NO_LIMITS + text, **options))
        brokers[-1].login(fake)
        return brokers[-1]

    yield make
    for broker in brokers:
        if broker.process.alive():
            broker.stop()


@pytest.fixture(autouse=True)
def descriptors():
    """As many as the system allows: connections are held here."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def memory(broker):
    """(resident now, at most so far) in MiB."""
    lines = (pathlib.Path("/proc") / str(broker.process.popen.pid) / "status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return found["VmRSS"], found["VmHWM"]


def cpu_seconds(broker):
    fields = (pathlib.Path("/proc") / str(broker.process.popen.pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
