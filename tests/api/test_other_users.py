"""What another user of the host gets: nothing, at every door, from every file, of the running process (D1, P6)."""
import os
import pathlib
import re
import subprocess
import types

import pytest

import harness
from harness import Broker, FakeRelay, free_port
from markers import rows
from users import NOBODY, all_as_user, runnable, setpriv

BODIES = {"/api/v1/messages": '{"topic": "t", "payload": {}}', "/api/v1/messages/bulk": '{"messages": [{"topic": "t", "payload": {}}]}',
          "/v1/outbox": '{"topic": "t", "payload": {}}', "/messages/poll": '{"topics": ["t"], "timeout": 1}',
          "/auth/token/refresh": '{"refresh_token": "x"}', "/api/v1/topics": '{"topic_name": "t"}'}
PATHS = ["/health", "/ready", "/metrics", "/v1/status", "/v1/outbox/1", "/auth/me", "/auth/sessions", "/api/v1/topics",
         "/api/v1/topics/kept", "/api/v1/topics/kept/messages", "/messages/poll/stats", "/auth/login", "/nothing",
         "/admin/status", "/admin/accounts/main/token"]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A broker with a door of each kind, in folders that another user may walk into."""
    folder = tmp_path_factory.mktemp("house")
    for one in (folder, *folder.parents):
        if str(one).startswith("/tmp/") and one.stat().st_uid == os.getuid():
            one.chmod(one.stat().st_mode | 0o055)
    fake, port, path = FakeRelay(folder), free_port(), folder / "tools.sock"
    broker = Broker(folder, config=f'door tools {{\n listen = {{"[::1]:{port}", "unix:{path}"}}\n}}\n')
    broker.login(fake, keep=True)
    assert broker.post("kept", {}).status_code == 201
    yield types.SimpleNamespace(fake=fake, broker=broker, doors=[str(broker.port), f"::1 {port}", str(path)])
    broker.stop()
    fake.stop()


def test_d1_another_user_is_refused_at_every_door_by_every_face(house):
    asked = [(door, path, method, "") for door in house.doors for path in PATHS for method in ("GET", "DELETE", "PUT")]
    asked += [(door, path, "POST", body) for door in house.doors for path, body in BODIES.items()]
    before = rows(house.broker), house.fake.state(), house.broker.status()["http"]["requests"]
    for one, (status, text) in zip(asked, all_as_user(NOBODY, asked), strict=True):
        assert status == 403 and "not open to your user" in text, one
    assert (rows(house.broker), house.fake.state(), house.broker.status()["http"]["requests"]) == before
    # The same questions of somebody who may ask are not refused.
    assert all(status == 200 for status, _ in all_as_user(0, [(door, "/health", "GET", "") for door in house.doors]))


def test_d1_a_placeholder_or_a_bearer_proves_nothing(house):
    """A door asks who calls, not what he shows."""
    token = house.broker.placeholder()
    for door in house.doors:
        path = f"/auth/me HTTP/1.1\r\nAuthorization: Bearer {token}\r\nX: "
        assert all_as_user(NOBODY, [(door, path, "GET", "")])[0][0] == 403


def refused(*argv):
    """Another user runs it and gets nothing."""
    result = subprocess.run([*setpriv(NOBODY), *map(str, argv)], capture_output=True, cwd="/", timeout=20)
    return result.returncode != 0 and result.stdout == b""


def test_d9_another_user_reads_no_file_of_the_broker(house):
    found = [p for folder in (house.broker.state, house.broker.keys) for p in folder.rglob("*") if p.is_file()]
    assert {"relay-broker.db", "relay-broker.db-wal"} <= {p.name for p in found} and len(found) >= 5
    assert not refused("cat", pathlib.Path(__file__).anchor + "etc/passwd")
    for open_folders in (False, True):
        for folder in (house.broker.state, house.broker.keys):
            assert open_folders or refused("ls", folder)
        for path in found:
            assert refused("cat", path), path
            assert refused("sh", "-c", f"echo x >> {path}"), path
        # Even where somebody has opened the folders, the files are shut. The key folder is checked at the next start.
        for folder in (house.broker.state, house.broker.keys):
            folder.chmod(0o700 if open_folders else 0o755)


def test_d4_another_user_cannot_use_the_command_line(house):
    before = rows(house.broker)
    program = runnable(house.broker.folder)
    for argv in (["status"], ["token", "main"], ["logout", "main"], ["post", "t", "--payload", "{}"], ["poll", "kept"]):
        result = subprocess.run([*setpriv(NOBODY), program, *argv, "--state", str(house.broker.state), "--keys",
                                 str(house.broker.keys)], capture_output=True, text=True, cwd="/", timeout=20)
        assert result.returncode in (1, 3) and result.stdout == "" and "only root" in result.stderr, result
    assert rows(house.broker) == before and house.broker.account()["state"] == "active"


# Tries to get hold of a process in each way that the kernel has; prints what worked.
LOOK = r"""
import ctypes, os, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
def read(name):
    with open(f"/proc/{pid}/{name}", "rb") as f:
        return f.read(1)
class Piece(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("len", ctypes.c_size_t)]
def done(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return True
room = ctypes.create_string_buffer(8)
ways = {name: lambda name=name: read(name) for name in (
    "mem", "environ", "maps", "smaps", "auxv", "syscall", "stack", "io", "clear_refs", "pagemap", "mountinfo")}
ways |= {
    "fd": lambda: os.listdir(f"/proc/{pid}/fd"), "fdinfo": lambda: os.listdir(f"/proc/{pid}/fdinfo"),
    "cwd": lambda: os.readlink(f"/proc/{pid}/cwd"), "exe": lambda: os.readlink(f"/proc/{pid}/exe"),
    "root": lambda: os.readlink(f"/proc/{pid}/root"), "map_files": lambda: os.listdir(f"/proc/{pid}/map_files"),
    "ptrace attach": lambda: done(libc.ptrace(16, pid, 0, 0)), "ptrace seize": lambda: done(libc.ptrace(0x4206, pid, 0, 0)),
    "process_vm_readv": lambda: done(libc.process_vm_readv(
        pid, ctypes.byref(Piece(ctypes.addressof(room), 8)), 1, ctypes.byref(Piece(0x400000, 8)), 1, 0)),
    "pidfd_getfd": lambda: done(libc.syscall(438, libc.syscall(434, pid, 0), 0, 0)),
}
for name, way in ways.items():
    try:
        way()
        print(name)
    except OSError:
        pass
"""


def ways_into(pid):
    result = subprocess.run([*setpriv(NOBODY), "/usr/bin/python3", "-c", LOOK, str(pid)], capture_output=True, text=True, cwd="/",
                            timeout=20)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines())


def test_d9_another_user_cannot_look_into_the_process(house):
    # The way of its mounts is the same for all processes, and open.
    assert ways_into(house.broker.process.popen.pid) <= {"mountinfo"}


def test_d9_not_even_its_own_user_can_look_into_the_process(open_folder, monkeypatch):
    """Not dumpable: a job that runs as the daemon's user, once it is there, finds no token in its memory."""
    own = open_folder / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    monkeypatch.setattr(harness, "BROKER", runnable(open_folder))
    broker = Broker(own, wrapper=["prlimit", "--core=unlimited:unlimited", *setpriv(NOBODY)])
    pid = broker.process.popen.pid
    assert pathlib.Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[0] == str(NOBODY)
    assert re.search(r"Max core file size +0 +0 ", pathlib.Path(f"/proc/{pid}/limits").read_text())
    assert ways_into(pid) <= {"mountinfo"}
    # Another process of that user is an open book: the ways are ways.
    with subprocess.Popen([*setpriv(NOBODY), "sleep", "60"]) as control:
        harness.wait_for(lambda: pathlib.Path(f"/proc/{control.pid}/comm").read_text() == "sleep\n")
        assert len(ways_into(control.pid)) >= 10
        control.kill()
    broker.stop()


def test_d1_the_daemons_own_user_is_let_in_and_no_other(open_folder, fake, monkeypatch):
    own = open_folder / "own"
    own.mkdir()
    monkeypatch.setattr(harness, "BROKER", runnable(open_folder))
    os.chown(own, NOBODY, NOBODY)
    broker = Broker(own, wrapper=setpriv(NOBODY))
    broker.login(fake)
    assert [status for status, _ in all_as_user(NOBODY, [(broker.port, "/health", "GET", "")])] == [200]
    assert [status for status, _ in all_as_user(1, [(broker.port, "/health", "GET", "")])] == [403]
    assert all_as_user(NOBODY, [(broker.state / "admin.sock", "/admin/status", "GET", "")])[0][0] == 200
    assert all_as_user(1, [(broker.state / "admin.sock", "/admin/status", "GET", "")])[0][0] == "closed"
    broker.stop()
