"""Other users of the host, and what they get."""
import json
import shutil
import subprocess

import harness

NOBODY = 65534

# Asks each of [[where, path, method, body], …] on a connection of its own; where: a path, a port, or a port of ::1.
ASK = r"""
import json, socket, sys

def ask(where, path, method, body):
    family = socket.AF_UNIX if where.startswith("/") else socket.AF_INET6 if where.startswith("::1 ") else socket.AF_INET
    with socket.socket(family) as s:
        try:
            s.connect(where if where.startswith("/") else ("::1" if " " in where else "127.0.0.1", int(where.split()[-1])))
        except PermissionError:
            return "closed", ""
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode())
        kind = "application/json" if body[:1] == "{" else "application/x-www-form-urlencoded"
        s.sendall((f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}" if body else "\r\n").encode())
        data = b""
        while chunk := s.recv(65536):
            data += chunk
    return int(data.split(b" ", 2)[1]), data.partition(b"\r\n\r\n")[2].decode()

json.dump([ask(*one) for one in json.load(sys.stdin)], sys.stdout)
"""


def setpriv(uid, groups="--clear-groups"):
    """The words before a command that another user runs."""
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", groups]


def all_as_user(uid, requests, groups="--clear-groups"):
    """The status and body of each that a process of that user gets."""
    result = subprocess.run([*setpriv(uid, groups), "/usr/bin/python3", "-c", ASK], capture_output=True, text=True, timeout=60,
                            cwd="/", input=json.dumps([[str(where), *rest] for where, *rest in requests]))
    assert result.returncode == 0, result.stderr
    return [tuple(one) for one in json.loads(result.stdout)]


def as_user(uid, where, path="/health", method="GET", body="", groups="--clear-groups"):
    return all_as_user(uid, [(where, path, method, body)], groups)[0]


def runnable(folder):
    """A copy of the program where every user can run it: a checkout may lie in somebody's home."""
    copy = folder / "relay-broker"
    shutil.copy(harness.BROKER, copy)
    copy.chmod(0o755)
    return str(copy)
