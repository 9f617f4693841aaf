"""From a post to the answers of the polls that wait for it, through the broker and at the bare relay."""
import selectors
import socket
import statistics
import time

import ground
import harness
from figure import Figure

TITLE = "Post → poll: from sending a post until the last waiting poll is answered (the real pulsar-relay, in memory)"


class Wire:
    """One keep-alive connection; whole answers only."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held = b""

    def send(self, sent):
        self.socket.sendall(sent)

    def close(self):
        self.socket.close()

    def read(self):
        """Takes up what has come; the body once it is whole, else None."""
        part = self.socket.recv(262144)
        assert part, "the connection ended"
        self.held += part
        head, end, rest = self.held.partition(b"\r\n\r\n")
        if not end:
            return None
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        if len(rest) < length:
            return None
        status, body, self.held = lines[0].split()[1], rest[:length], rest[length:]
        assert status in ("200", "201", "202"), (status, body)
        return body

    def ask(self, sent):
        self.send(sent)
        while (body := self.read()) is None:
            pass
        return body


class Side:
    """Where posts and polls go: the relay, or the broker before it."""

    def __init__(self, port, bearer, relay):
        self.port, self.bearer, self.relay = port, bearer, relay
        self.relay_bearer = ground.relay_login(relay)
        self.since = self.before = "0-0"

    def waiting(self, port, bearer):
        wire = Wire(port)
        told = harness.json.loads(wire.ask(ground.request("/messages/poll/stats", None, port, bearer, "GET")))
        wire.close()
        return told["active_connections" if "active_connections" in told else "active_waiters"]

    def message(self, wires):
        """Parks a poll on each wire, posts, and returns the ms until the last of them is answered."""
        for wire in wires:
            wire.send(ground.poll_request(self.port, self.since, self.bearer))
        harness.wait_for(lambda: self.waiting(self.port, self.bearer) == len(wires), what="the polls")
        if self.port != self.relay.port:
            harness.wait_for(lambda: self.waiting(self.relay.port, self.relay_bearer) >= 1, what="the upstream poll")
        selector = selectors.DefaultSelector()
        for wire in wires:
            selector.register(wire.socket, selectors.EVENT_READ, wire)
        left, body, poster = len(wires), None, Wire(self.port)
        start = time.perf_counter()
        poster.send(ground.post_request(self.port, self.bearer))
        while left:
            for key, _ in selector.select():
                whole = key.data.read()
                if whole is not None:
                    left -= 1
                    body = whole
        took = (time.perf_counter() - start) * 1000
        selector.close()
        while poster.read() is None:
            pass
        poster.close()
        self.since = harness.json.loads(body)["messages"][-1]["message_id"]
        return took

    def round_trip(self, times):
        """Median ms of a poll that is answered at once: what one more reading costs."""
        took, wire = [], Wire(self.port)
        for _ in range(times):
            start = time.perf_counter()
            wire.ask(ground.poll_request(self.port, self.before, self.bearer))
            took.append((time.perf_counter() - start) * 1000)
        wire.close()
        return statistics.median(took)

    def medians(self, waiters, messages):
        wires = [Wire(self.port) for _ in range(waiters)]
        took = []
        for _ in range(messages):
            self.before = self.since
            took.append(self.message(wires))
        for wire in wires:
            wire.close()
        return statistics.median(took)


def measure(rounds, quick):
    one = Figure("1 waiter: what the broker adds, in relay round trips", aim=1)
    many = Figure("40 waiters: broker / bare relay", aim=1)
    times = {(n, who): Figure(f"{who}, {n} waiter{'s' if n > 1 else ''}", "ms", digits=1)
             for n in (1, 40) for who in ("broker", "bare relay")}
    trip = Figure("round trip of the relay: a poll that finds a message", "ms", digits=2)
    sync = Figure("one fdatasync here; a message waits for three commits", "ms", digits=2)
    with ground.folder() as folder:
        # A relay for each, so that neither wakes what the other has parked.
        behind, alone = harness.RealRelay(folder), harness.RealRelay(folder)
        broker = harness.Broker(folder, config=ground.NO_LIMITS)
        broker.login(behind)
        ours = Side(broker.port, None, behind)
        bare = Side(alone.port, ground.relay_login(alone), alone)
        for side in (ours, bare):
            side.medians(1, 2)
        for _ in range(rounds):
            took = {}
            for waiters, messages in ((1, 5 if quick else 15), (40, 2 if quick else 5)):
                for who, side in (("bare relay", bare), ("broker", ours)):
                    took[waiters, who] = side.medians(waiters, messages)
                    times[waiters, who].add(took[waiters, who])
                if waiters == 1:
                    once = bare.round_trip(15)
            trip.add(once)
            sync.add(ground.sync_ms(folder))
            one.add((took[1, "broker"] - took[1, "bare relay"]) / once)
            many.add(took[40, "broker"] / took[40, "bare relay"])
        broker.kill()
    return [one, many, *times.values(), trip, sync]
