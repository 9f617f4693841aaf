"""Durable posts answered 202, against a server that only parses and answers."""
import ground
import harness
from figure import Figure

TITLE = "Durable posts: answered 202, on disk, the relay down; against a bare libmicrohttpd + jansson server"
AIMS = {1: None, 32: 0.6, 128: 0.75}
WITHOUT_BOUNDS = "outbox {\n rows = 10000000\n bytes = 17179869184\n}\n"


def bare_server(folder):
    port = harness.free_port()
    harness.Process([str(ground.TOOLS / "bare-server"), str(port)], folder / "bare.log")
    harness.wait_for(lambda: harness.answers(f"http://127.0.0.1:{port}/"), what="the bare server")
    return port


def connections_of(count):
    return f"{count} connection{'s' if count > 1 else ''}"


def measure(rounds, quick):
    window = 300 if quick else 1000
    ratios = {n: Figure(f"broker / bare, {connections_of(n)}", aim=aim, most=False) for n, aim in AIMS.items()}
    speeds = {(n, who): Figure(f"{who}, {connections_of(n)}", "posts/s", digits=0)
              for n in AIMS for who in ("broker", "bare")}
    sync = Figure("one fdatasync here", "ms", digits=2)
    with ground.folder() as folder:
        relay = harness.FakeRelay(folder)
        broker = harness.Broker(folder, config=WITHOUT_BOUNDS)
        broker.login(relay)
        relay.stop()
        bare = bare_server(folder)
        for connections in AIMS:  # warm
            ground.load(broker.port, connections, 100, 202, ground.post_request(broker.port))
        for _ in range(rounds):
            sync.add(ground.sync_ms(folder))
            for connections in AIMS:
                # The bare server before and after the broker, so that a slow second of the machine hits both.
                bares = [ground.load(bare, connections, window // 2, 202, ground.post_request(bare))]
                ours = ground.load(broker.port, connections, window, 202, ground.post_request(broker.port))
                bares.append(ground.load(bare, connections, window // 2, 202, ground.post_request(bare)))
                theirs = sum(bares) / 2
                ratios[connections].add(ours / theirs)
                speeds[connections, "broker"].add(ours)
                speeds[connections, "bare"].add(theirs)
        broker.kill()
    return [*ratios.values(), *speeds.values(), sync]
