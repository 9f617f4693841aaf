"""What the broker holds in memory: idle, and for each poll that is parked."""
import pathlib

import ground
import harness
from figure import Figure

PARKED = 10000
TITLE = f"Memory: resident, idle after start and login, and per poll with {PARKED:,} parked"


def resident(broker, field="VmRSS"):
    """In bytes."""
    status = pathlib.Path(f"/proc/{broker.process.popen.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(field + ":"))) * 1024


def measure(rounds, quick):
    idle = Figure("idle", "MiB", aim=14, digits=1)
    own = Figure("idle, without pages of files (libraries, the program)", "MiB", digits=1)
    parked = Figure("a parked poll", "kB", aim=12, digits=1)
    for _ in range(rounds):
        with ground.folder() as folder:
            relay = harness.FakeRelay(folder)
            broker = harness.Broker(folder)
            broker.login(relay)
            before = resident(broker)
            idle.add(before / 2**20)
            own.add(resident(broker, "RssAnon") / 2**20)
            broker.poll(ground.TOPIC, {ground.TOPIC: "0-0"})  # from now on the topic is followed
            callers = ground.Callers(broker.port, PARKED, ground.poll_request(broker.port, "0-0"))
            callers.go()
            harness.wait_for(lambda: broker.parked() == PARKED, what="the polls")
            parked.add((resident(broker) - before) / PARKED / 1000)
            callers.end()
            broker.kill()
    return [idle, own, parked]
