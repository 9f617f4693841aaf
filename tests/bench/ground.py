"""What the benches stand on: a folder of their own, the programs that they measure with, raw requests."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import harness  # noqa: E402

TOOLS = pathlib.Path(os.environ.get("BENCH_TOOLS", pathlib.Path(__file__).parents[2] / "build-bench/tests/bench"))
TOPIC = "job_status_update"
# Of the size of Pulsar's own updates.
PAYLOAD = {"job_id": "12345", "status": "running", "complete": "false", "returncode": None,
           "stdout": "", "stderr": "", "working_directory_contents": ["metadata", "outputs", "tool_script.sh"]}
# The fake relay has no limits here, so the broker need not keep any.
NO_LIMITS = "relay {\n posts_per_minute = 0\n refreshes_per_minute = 0\n logins_per_minute = 0\n}\n"


@contextlib.contextmanager
def folder():
    """A folder that is gone afterwards; whatever was started meanwhile is ended."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="relay-broker-bench."))
    first = len(harness.Process.all)
    try:
        yield path
    finally:
        for process in harness.Process.all[first:]:
            process.kill()
        shutil.rmtree(path, ignore_errors=True)


def request(path, body=None, port=0, bearer=None, method="POST", **headers):
    """The bytes of a request as a keep-alive client sends them."""
    text = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "User-Agent: bench", "Accept: */*"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(text)}"]
    if bearer:
        lines.append(f"Authorization: Bearer {bearer}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text


def post_request(port, bearer=None, topic=TOPIC, **headers):
    return request("/api/v1/messages", {"topic": topic, "payload": PAYLOAD}, port, bearer, **headers)


def poll_request(port, since, bearer=None, topic=TOPIC, timeout=60):
    return request("/messages/poll", {"topics": [topic], "since": {topic: since}, "timeout": timeout}, port, bearer)


def relay_login(relay):
    """A login of its own at a relay: an access token."""
    answer = harness.requests.post(relay.url + "/auth/login", timeout=20, data={
        "username": harness.USER, "password": harness.PASSWORD, "grant_type": "password"})
    answer.raise_for_status()
    return answer.json()["access_token"]


def load(port, connections, milliseconds, status, sent):
    """So many connections send a request again and again; answers of that status a second."""
    run = subprocess.run([TOOLS / "load", str(port), str(connections), str(milliseconds), str(status)], input=sent,
                         capture_output=True, check=True)
    told = json.loads(run.stdout)
    assert told["bad"] == 0 and told["lost"] == 0 and told["good"] > 0, told
    return told["good"] / told["seconds"]


def sync_ms(folder):
    """What one small write costs that has to be on the disk: what a commit waits for at least."""
    took = []
    with open(folder / "sync", "wb", buffering=0) as out:
        for _ in range(21):
            out.write(bytes(4096))
            start = time.perf_counter()
            os.fdatasync(out.fileno())
            took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)


class Callers:
    """So many callers, each on a connection of its own, that send one request at the same time."""

    def __init__(self, port, count, sent):
        self.count = count
        self.popen = subprocess.Popen([TOOLS / "callers", str(port), str(count)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE)
        self.popen.stdin.write(sent)
        self.popen.stdin.close()
        assert self.popen.stdout.readline() == b"ready\n"

    def go(self):
        self.popen.send_signal(signal.SIGUSR1)

    def answers(self, late=False):
        """Waits until all are answered: 200, or, with `late`, 503 as well; what the program says about it."""
        told = json.loads(self.popen.stdout.readline())
        self.end()
        told["late"] = told["answers"].get("503", 0) if late else 0
        assert told["answers"].get("200", 0) + told["late"] == self.count and told["lost"] == 0, told
        return told

    def end(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()
