"""What a program that lives for one post takes, from its start to its end."""
import os
import statistics
import sys
import time

import ground
import harness
from figure import Figure

TITLE = "A short-lived tool posts one message: the process from start to end"
CLIENT = """
import sys
from pulsar_relay_client import RelayTransport
RelayTransport(sys.argv[1], sys.argv[2], sys.argv[3]).post_message("job_status_update", {"job_id": "1"})
"""


def run(argv):
    """ms from its start to its end; what it prints goes nowhere."""
    null = [(os.POSIX_SPAWN_OPEN, n, "/dev/null", os.O_RDWR, 0) for n in (0, 1)]
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=null)
    _, status = os.waitpid(pid, 0)
    took = (time.perf_counter() - start) * 1000
    assert status == 0, argv
    return took


def client(url):
    return run([sys.executable, "-c", CLIENT, url, harness.USER, harness.PASSWORD])


def command(broker, *more):
    return run([harness.BROKER, "post", ground.TOPIC, "--payload", '{"job_id": "1"}', "--state", str(broker.state),
                *more])


def measure(rounds, quick):
    post = Figure("relay-broker post, accepted by the fake relay", "ms", aim=8, digits=1)
    ratio = Figure("Python client: through the broker / bare at the real relay")
    times = {who: Figure(who, "ms", digits=1) for who in (
        "Python client, through the broker", "Python client, bare", "relay-broker post --wait 0 (202)",
        "relay-broker post, accepted by the real relay", "relay-broker version (no work: the program's own start)")}
    through, bare, waitless, real_post, nothing = times.values()
    with ground.folder() as folder:
        real, fake = harness.RealRelay(folder), harness.FakeRelay(folder)
        brokers = []
        for relay in (real, fake):
            room = folder / str(relay.port)
            room.mkdir()
            brokers.append(harness.Broker(room, config=ground.NO_LIMITS))
            brokers[-1].login(relay)
        before_real, before_fake = brokers
        client(real.url), client(before_real.url), command(before_fake)
        few, many = (2, 5) if quick else (5, 20)
        for _ in range(rounds):
            pairs = [(client(real.url), client(before_real.url)) for _ in range(few)]
            bare.add(statistics.median(one for one, _ in pairs))
            through.add(statistics.median(other for _, other in pairs))
            ratio.add(through.values[-1] / bare.values[-1])
            post.add(statistics.median(command(before_fake) for _ in range(many)))
            waitless.add(statistics.median(command(before_fake, "--wait", "0") for _ in range(many)))
            real_post.add(statistics.median(command(before_real) for _ in range(many)))
            nothing.add(statistics.median(run([harness.BROKER, "version"]) for _ in range(many)))
        for broker in brokers:
            broker.kill()
    return [post, ratio, *times.values()]
