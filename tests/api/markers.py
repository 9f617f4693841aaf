"""Secrets as markers, and the places where they are looked for."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import tempfile
import threading

import harness


class Tap:
    """Stands before a relay, with TLS where asked, and keeps what the relay answers: the tokens that nobody else can see."""

    def __init__(self, relay, tls=None):
        self.target, self.context, self.answers = relay.port, None, b""
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(tls.certificate, tls.key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            inside = self.context.wrap_socket(client, server_side=True) if self.context else client
            outside = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        threading.Thread(target=self.pump, args=(outside, inside, True), daemon=True).start()
        self.pump(inside, outside, False)

    def pump(self, one, other, keep):
        try:
            while data := one.recv(65536):
                self.answers += data if keep else b""
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def tokens(self, kind):
        """Each token of that kind that the relay has handed out, oldest first."""
        found = re.findall(rb'"%s": ?"([^"]+)"' % kind.encode(), self.answers)
        return list(dict.fromkeys(token.decode() for token in found))

    def stop(self):
        self.listener.close()


def holds(data, marker):
    """Whether the data has the marker, or the part of a JWT that nobody can do without."""
    parts = {marker, marker.rpartition(".")[2]} if isinstance(marker, str) else {marker}
    return any((part.encode() if isinstance(part, str) else part) in data for part in parts)


def files(folder):
    """What every file below holds now."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path)] = path.read_bytes()
    return found


@contextlib.contextmanager
def database(broker):
    """A copy of the database as it lies there, open for questions."""
    with tempfile.TemporaryDirectory() as folder:
        for path in broker.state.glob("relay-broker.db*"):
            shutil.copy(path, folder)
        with contextlib.closing(sqlite3.connect(f"{folder}/relay-broker.db")) as db:
            yield db


def rows(broker):
    """Every row of every table."""
    with database(broker) as db:
        tables = [name for (name,) in db.execute("select name from sqlite_schema where type = 'table'")]
        return {name: sorted(map(repr, db.execute(f'select * from "{name}"'))) for name in tables}


def process_files(pid):
    """What /proc tells of a process beside its memory."""
    return {f"/proc/{name}": pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
            for name in ("cmdline", "comm", "environ", "maps", "smaps", "status", "limits", "stat", "mountinfo")}


# The sanitizers make mlock do nothing.
SANITIZED = b"__asan_init" in pathlib.Path(harness.BROKER).read_bytes()
KEPT = {"dd"} if SANITIZED else {"dd", "lo"}


def copies(pid, markers):
    """Where the memory of a process holds which marker: (marker's name, kept), kept when the page is locked and left out
    of dumps. The process stands still meanwhile."""
    found = []
    os.kill(pid, signal.SIGSTOP)
    try:
        blocks = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", pathlib.Path(f"/proc/{pid}/smaps").read_text())
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for block in blocks:
                start, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", block).groups()
                start, size = int(start, 16), int(end, 16) - int(start, 16)
                flags = re.search(r"VmFlags: (.*)", block)[1].split()
                # The shadow of a sanitizer is as large as nothing else, and holds no data.
                if rights[0] != "r" or size > 1 << 30 or "\nRss:                   0 kB" in block or "io" in flags:
                    continue
                memory.seek(start)
                try:
                    data = memory.read(size)
                except OSError:
                    continue
                for name, marker in markers.items():
                    marker = marker.encode() if isinstance(marker, str) else marker
                    found += [(name, KEPT <= set(flags))] * data.count(marker)
    finally:
        os.kill(pid, signal.SIGCONT)
    return found
