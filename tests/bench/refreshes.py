"""How often the token is refreshed when many callers come at the moment when it has expired."""
import time

import ground
import harness
from figure import Figure

COUNTS = (1, 100, 10000)
LIFETIME_S = 40
TITLE = "Refreshes for callers that need the token in the instant after it expired (counted at the fake relay)"


def expiring(folder, name):
    """A broker, just logged in, that nobody uses, so that nothing refreshes ahead."""
    room = folder / name
    room.mkdir()
    relay = harness.FakeRelay(room, token_seconds=LIFETIME_S)
    broker = harness.Broker(room, config=ground.NO_LIMITS)
    broker.login(relay)
    return relay, broker


def measure(rounds, quick):
    figures = {n: Figure(f"refreshes for {n:,} caller{'s' if n > 1 else ''}", aim=1, digits=0) for n in COUNTS}
    times = {n: Figure(f"until the last of {n:,} is answered", "s", digits=3) for n in COUNTS}
    late = Figure(f"of {COUNTS[-1]:,}, those that hear 503 after 8 s", digits=0)
    with ground.folder() as folder:
        # All expire together, or every round would wait for it.
        pairs = [(n, *expiring(folder, f"{i}-{n}")) for i in range(rounds) for n in COUNTS]
        expired = time.monotonic() + LIFETIME_S
        for count, relay, broker in pairs:
            time.sleep(max(0, expired - time.monotonic()))
            callers = ground.Callers(broker.port, count, ground.request("/auth/me", None, broker.port, None, "GET"))
            assert relay.state()["counts"]["refreshes"] == 0
            callers.go()
            told = callers.answers(late=True)
            figures[count].add(relay.state()["counts"]["refreshes"])
            times[count].add((told["last_ns"] - told["sent_ns"]) / 1e9)
            if count == COUNTS[-1]:
                late.add(told["late"])
            broker.kill()
            relay.stop()
    return [*figures.values(), *times.values(), late]
