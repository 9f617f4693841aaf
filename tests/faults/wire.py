"""A wire between broker and relay: it can be cut at any stage, and it writes down every request that it saw."""
import contextlib
import json
import select
import socket
import ssl
import threading
import time

import harness
from trouble import config, relays_messages

# Where a connection is cut before there is a request: the next connections meet it, whatever they are for.
CONNECTION = ("connect", "hello", "handshake")
# Where a request is cut; the relay has done its work from "done" on. "whole": the answer arrives, then it is cut.
REQUEST = ("headers", "body", "done", "status line", "answer's headers", "half the answer", "whole")
PARTS = {"done": 0, "status line": 12, "answer's headers": 40}


class Request:
    """What the wire saw of a request: times on one clock, `ended` when the broker could know of its end."""

    def __init__(self, connection, place, method, path, headers, body):
        self.connection, self.place, self.method, self.path = connection, place, method, path
        self.headers, self.body = headers, body
        self.began, self.ended, self.fate, self.status = time.monotonic(), None, None, None

    def json(self):
        return json.loads(self.body)

    def token(self):
        """The refresh token that it carries."""
        return self.json()["refresh_token"] if self.path.startswith("/auth/token/") else None

    def key(self):
        return self.headers.get("idempotency-key")

    def stamp(self):
        """The broker's own id of a post."""
        return (self.json().get("metadata") or {}).get("relay-broker-id")

    def is_look(self):
        return self.method == "GET" and self.path.split("?")[0].endswith("/messages")


class Cut(Exception):
    pass


class Wire:
    """In front of a plain server on loopback. With TLS, where `tls` is given; both may change while it runs.

    fate: called with each request; it names a stage of REQUEST, "hold", or ("up" | "down", number of bytes), or None:
    it passes. latency: seconds that each answer takes longer."""

    def __init__(self, port, tls=None):
        self.target = port
        self.scheme = "https" if tls else "http"
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.connections, self.requests, self.cuts, self.accepted = set(), [], [], 0
        self.cut_at = []  # when connections were cut before they had a request
        self.fate, self.latency = None, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.use(tls)
        self.listen()

    # --- what tests say ---

    def use(self, tls):
        """Another certificate from now on, or none: plain. Connections under the former one end."""
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
        self.context = context
        self.hang_up()

    def cut(self, stage, path="", method="", count=1, reused=False):
        """The next requests that fit (connections, where there is no request yet) end at that stage; count 0: all."""
        assert stage in CONNECTION + REQUEST + ("hold",)
        with self.lock:
            self.cuts.append([stage, path, method, count, reused])

    def mend(self):
        """No cuts any more; what was held goes on."""
        with self.lock:
            self.cuts.clear()
        self.fate, self.latency = None, 0
        self.released.set()
        self.released = threading.Event()

    def hang_up(self):
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def go_down(self):
        """Nobody listens any more."""
        self.shut()
        self.hang_up()

    def come_up(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.listen()

    def stop(self):
        self.mend()
        self.go_down()

    def of(self, path, method="POST"):
        with self.lock:
            return [r for r in self.requests if r.path == path and r.method == method]

    def groups(self, path, key):
        """The requests of a path by what key(request) says, each in the order of their beginnings."""
        groups = {}
        for request in self.of(path):
            groups.setdefault(key(request), []).append(request)
        return groups

    # --- the wire itself ---

    def listen(self):
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def shut(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections.add(client)
                self.accepted += 1
                number = self.accepted
            threading.Thread(target=self.serve, args=(client, number), daemon=True).start()

    def serve(self, client, number):
        sock, stage = client, self.take(CONNECTION)
        try:
            if stage == "connect":
                return
            if stage == "hello":
                client.recv(65536)
                return
            if self.context:
                sock = self.context.wrap_socket(client, server_side=True)
                with self.lock:
                    self.connections.add(sock)
            elif client.recv(1, socket.MSG_PEEK) == b"\x16":
                client.recv(65536)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if stage != "handshake":
                self.converse(sock, number)
        except (OSError, Cut):
            pass
        finally:
            with self.lock:
                self.connections -= {client, sock}
                self.cut_at += [time.monotonic()] if stage else []
            for end in sock, client:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def take(self, stages, request=None):
        with self.lock:
            for cut in self.cuts:
                stage, path, method, _, reused = cut
                if stage in stages and (request is None or (
                        request.path.startswith(path) and request.method.startswith(method) and
                        (not reused or request.place > 0))):
                    cut[3] -= 1
                    if cut[3] == 0:
                        self.cuts.remove(cut)
                    return stage
        return None

    def converse(self, sock, number):
        with sock.makefile("rb") as stream:
            place = 0
            while self.exchange(sock, stream, number, place):
                place += 1

    def exchange(self, sock, stream, number, place):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline(65536)
            if not line:
                return False
            head += line
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines if line)}
        method, path, _ = first.split(" ", 2)
        head = head.replace(f"Host: {headers['host']}".encode(), f"Host: 127.0.0.1:{self.target}".encode())
        request = Request(number, place, method, path, headers, b"")
        request.fate = self.take(REQUEST + ("hold",), request)
        if request.fate != "headers":
            request.body = stream.read(int(headers.get("content-length", 0)))
            if request.fate is None and self.fate:
                request.fate = self.fate(request)
        with self.lock:
            self.requests.append(request)
        try:
            return self.answer(sock, request, head + request.body)
        finally:
            request.ended = request.ended or time.monotonic()

    def answer(self, sock, request, data):
        fate = request.fate
        if fate in ("headers", "body"):
            return False
        if fate == "hold":
            self.wait_released(sock)
        up, down = fate if isinstance(fate, tuple) else (None, None)
        answer = self.ask(data, down if up == "up" else len(data), sock, request)
        request.status = int(answer[9:12]) if len(answer) > 12 else None
        if self.latency:
            time.sleep(self.latency)
        if up == "down":
            part = answer[:down]
        elif fate == "half the answer":
            part = answer[:answer.index(b"\r\n\r\n") + 4 + max(1, (len(answer) - answer.index(b"\r\n\r\n") - 4) // 2)]
        else:
            part = answer[:PARTS.get(fate, len(answer))]
        sock.sendall(part)
        return (fate is None or fate == "hold") and b"\r\nconnection: close" not in answer.lower() and bool(answer)

    def wait_released(self, sock):
        """Until mend(); or the broker hangs up, and what it had sent goes nowhere."""
        released = self.released
        while not released.wait(0.02):
            if select.select([sock], [], [], 0)[0]:
                raise Cut

    def ask(self, data, most, sock, request):
        """The relay's answer to that many bytes, as far as it comes; also when the broker has hung up."""
        answer, ends = b"", [sock]
        with socket.create_connection(("127.0.0.1", self.target)) as relay:
            relay.sendall(data[:most])
            if most < len(data):
                return answer
            while True:
                head, found, body = answer.partition(b"\r\n\r\n")
                if found and len(body) >= length_of(head):
                    return answer
                if sock in select.select([relay, *ends], [], [])[0]:
                    request.ended, ends = time.monotonic(), []
                    continue
                part = relay.recv(65536)
                if not part:
                    return answer
                answer += part


def length_of(head):
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def never_at_once(attempts, quiet=0.0):
    """Checks that each of these requests began when the one before had ended, and so many seconds later."""
    for former, later in zip(attempts, attempts[1:]):
        assert former.ended is not None, "two at once: one had not ended when the next came"
        assert later.began - former.ended >= quiet, f"{later.began - former.ended:.3f} s apart, not {quiet} s"


class Scene:
    """A relay, a wire and a broker that is logged in through it: a context, for plays side by side.

    wrapper, host: the broker runs under that command, and knows the relay by that name."""

    def __init__(self, folder, tls=None, token_seconds=600, wrapper=(), host="127.0.0.1", **relay):
        folder.mkdir()
        self.folder, self.tls = folder, tls
        self.fake = harness.FakeRelay(folder, flavour="valkey", token_seconds=token_seconds)
        self.wire = Wire(self.fake.port, tls)
        self.url = self.wire.url.replace("127.0.0.1", host)
        self.broker = harness.Broker(folder, config=config(**relay), wrapper=wrapper)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            self.wire.mend()
            if kind:
                self.broker.kill()
            else:
                self.broker.stop()
        finally:
            self.wire.stop()
            self.fake.stop()

    def login(self, check=True, keep=False):
        argv = ["login", "main", "--relay", self.url, "--username", harness.USER, "--password-stdin"]
        argv += ["--ca-file", str(self.tls.ca)] if self.tls else []
        argv += ["--keep-password"] if keep else []
        return self.broker.run(*argv, stdin=harness.PASSWORD + "\n", check=check)

    def numbers(self, topic="t"):
        return [m["payload"]["n"] for m in relays_messages(self.broker, self.fake, topic)]
