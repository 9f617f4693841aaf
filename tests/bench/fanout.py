"""One message to ten thousand polls that wait at the broker."""
import time

import ground
import harness
import latency
from figure import Figure

WAITERS = 10000
TITLE = f"One message to {WAITERS:,} polls parked at the broker (fake relay; posted at the relay)"


def measure(rounds, quick):
    last = Figure("from publishing to the last answer", "s", aim=0.15, digits=3)
    first = Figure("from publishing to the first answer", "s", digits=3)
    with ground.folder() as folder:
        relay = harness.FakeRelay(folder)
        broker = harness.Broker(folder, config=ground.NO_LIMITS)
        broker.login(relay)
        bearer = ground.relay_login(relay)
        since = "0-0"
        broker.poll(ground.TOPIC, {ground.TOPIC: since})  # from now on the topic is followed
        for _ in range(rounds):
            callers = ground.Callers(broker.port, WAITERS, ground.poll_request(broker.port, since))
            callers.go()
            harness.wait_for(lambda: broker.parked() == WAITERS, what="the polls")
            harness.wait_for(lambda: relay.state()["waiting_polls"] == 1, what="the upstream poll")
            publisher = latency.Wire(relay.port)
            published = time.monotonic_ns()
            answer = publisher.ask(ground.post_request(relay.port, bearer))
            told = callers.answers()
            first.add((told["first_ns"] - published) / 1e9)
            last.add((told["last_ns"] - published) / 1e9)
            publisher.close()
            since = harness.json.loads(answer)["message_id"]
        broker.kill()
    return [last, first]
