"""A relay that stands still, a network that loses answers, breaks off anywhere, and takes its time: posts once each and
in order, readers complete, no login lost that could have been kept. RB_SEED: when what goes wrong."""
import os
import random
import signal
import threading
import time

import pytest
import requests

from harness import wait_for
from trouble import (LATER, POLLS, POSTS, REFRESH, Background, Together, begun, counts, first_copies, sentence,
                     wait_drained)
from wire import Scene, never_at_once

SEED = int(os.environ.get("RB_SEED", "1"))
QUIET_S, UNKNOWN_WAIT_S = 3, 1
WAITS = {"retry_after_end_seconds": QUIET_S, "unknown_wait_seconds": UNKNOWN_WAIT_S}
TOPICS = ["t", "u", "v"]


def pass_time(seconds, turn=lambda: None):
    """Turn after turn until so much time has passed."""
    began = time.monotonic()
    wait_for(lambda: turn() or time.monotonic() - began > seconds, seconds + 60, "the time that passes")


class Reader:
    """A client with a cursor of its own."""

    def __init__(self, broker):
        self.broker, self.stopping = broker, threading.Event()
        self.since, self.got = {topic: "0-0" for topic in TOPICS}, {topic: [] for topic in TOPICS}
        self.token = broker.placeholder()
        self.work = Background(self.run)

    def run(self):
        with requests.Session() as session:
            while not self.stopping.is_set():
                for message in self.poll(session):
                    self.got[message["topic"]].append(message["payload"]["n"])
                    self.since[message["topic"]] = message["message_id"]

    def poll(self, session):
        """While a topic's start is not known, a poll that ends is told so, and is made again."""
        try:
            return self.broker.poll(TOPICS, self.since, 1, self.token, session)["messages"]
        except AssertionError as refused:
            if "The relay has not said yet where one of these topics ends" not in str(refused):
                raise
            return []

    def stop(self):
        self.stopping.set()
        self.work.result()


class Writer:
    """Posts 0, 1, 2, … to a topic and never waits."""

    def __init__(self, broker, topic, pause_s):
        self.broker, self.topic, self.pause_s = broker, topic, pause_s
        self.stopping, self.places = threading.Event(), []
        self.work = Background(self.run)

    def run(self):
        with requests.Session() as session:
            while not self.stopping.wait(self.pause_s):
                answer = self.broker.post(self.topic, {"n": len(self.places)}, LATER, session)
                assert answer.status_code == 202, answer.text
                self.places.append(answer.headers["Location"])

    def stop(self):
        self.stopping.set()
        self.work.result()

    def maybe_doubled(self):
        views = [requests.get(self.broker.url + place, timeout=10).json() for place in self.places]
        assert {view["state"] for view in views} <= {"accepted"}, views
        return {n for n, view in enumerate(views) if view["maybe_duplicate"]}


def stand_still(folder, seconds, token_seconds):
    """The relay is stopped and goes on: what it was sent before is done then."""
    with Scene(folder, token_seconds=token_seconds, poll_timeout_seconds=30, **WAITS) as scene:
        scene.login()
        broker, relay = scene.broker, scene.fake.process.popen
        assert broker.post("t", {"n": 0}).status_code == 201
        reader = Reader(broker)
        wait_for(lambda: reader.got["t"] == [0], what="the first message")
        wait_for(lambda: begun(broker) == set(TOPICS), what="the places from which it reads")
        relay.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert broker.post("t", {"n": 1}, {"Prefer": "wait=2"}).status_code == 202
        patient = Background(broker.post, "v", {"n": 0}, {"Prefer": "wait=60"})
        asked = Background(requests.get, broker.url + "/api/v1/topics", timeout=60)
        sent, polled = [2], []

        def turn():
            answer = broker.post("t", {"n": sent[-1]}, LATER)
            assert answer.status_code == 202, answer.text
            sent.append(sent[-1] + 1)
            at = time.monotonic()
            answer = broker.poll("u", {"u": "0-0"}, 1)
            assert answer == {"messages": [], "has_more": False}
            polled.append(time.monotonic() - at)
            return time.monotonic() - began > seconds

        wait_for(turn, seconds + 30, "the end of the standstill")
        assert requests.get(broker.url + "/health", timeout=2).ok
        assert max(polled) < 4
        states = broker.account()["state"], broker.account()["chain"]
        assert states[0] == "active"
        if seconds > 25:
            told = asked.result().json()["message"]
            assert asked.value.status_code == 503
            assert sentence(told) == "The relay gave no answer to pass on: no whole answer of the relay: it took too long. " \
                                     "Try again later."
            assert broker.account()["trouble"] == "no whole answer of the relay: it took too long"
        relay.send_signal(signal.SIGCONT)
        if seconds <= 15:
            assert asked.result().status_code == 200 and patient.result().status_code == 201
            assert broker.status()["outbox"]["retries"] == broker.status()["outbox"]["look_ups"] == 0
        wait_drained(broker, 90)
        wait_for(lambda: len(reader.got["t"]) >= sent[-1], 60, "a reader that has everything")
        reader.stop()
        everything = list(range(sent[-1]))
        outbox, seen = broker.status()["outbox"], counts(scene.fake)
        assert scene.numbers() == everything and reader.got["t"] == everything and scene.numbers("v") == [0]
        assert (seen["logins"], seen["replays"]) == (1, 0) and broker.account()["chain"] == "active"
        refreshes = scene.wire.groups(REFRESH, lambda r: r.token())
        assert refreshes and all(len(attempts) == 1 for attempts in refreshes.values())
        return (f"{seconds} s at a standstill (chain {states[1]} at its end): {len(everything)} posts stored once and "
                f"in order, {outbox['maybe_duplicates']} marked, look-ups {outbox['look_ups']}, slowest 1 s poll "
                f"{max(polled):.1f} s, refreshes {len(refreshes)}, logins {seen['logins']}")


def doomed(chance):
    """What becomes of each request: 30 of 100 answers lost, 10 requests and 10 answers broken off at any byte."""
    def fate(request):
        luck = chance.random()
        if luck < 0.3:
            return "done"
        if luck < 0.4:
            return "up", chance.randrange(0, 300 + len(request.body))
        if luck < 0.5:
            return "down", chance.randrange(0, 600)
        return None

    return fate


def check_wire(wire):
    for attempts in wire.groups(POSTS, lambda r: r.stamp()).values():
        never_at_once(attempts, UNKNOWN_WAIT_S)
        assert len({r.key() for r in attempts}) == 1
    for attempts in wire.groups(REFRESH, lambda r: r.token()).values():
        never_at_once(attempts, QUIET_S)
    never_at_once(wire.of("/auth/login"))


def rotations_lost(wire):
    """The tokens that the relay had rotated without being heard."""
    return {r.token() for r in wire.of(REFRESH) if r.fate and r.status == 200}


def chains_lost(wire):
    return {r.token() for r in wire.of(REFRESH) if r.status == 401}


def endure(folder, name, seconds, fate=None, latency=0, token_seconds=8, pause_s=0.2):
    """Three writers and a reader while it lasts; then everything is there."""
    with Scene(folder, token_seconds=token_seconds, **WAITS) as scene:
        scene.login(keep=True)
        broker, wire = scene.broker, scene.wire
        for topic in TOPICS:
            assert broker.post(topic, {"n": -1}).status_code == 201
        reader = Reader(broker)
        wire.fate, wire.latency = fate, latency
        writers = [Writer(broker, topic, pause_s) for topic in TOPICS]
        pass_time(seconds)
        for writer in writers:
            writer.stop()
        harmed = [r for r in wire.requests if r.fate and r.path != POLLS]
        got_in_time = sum(n >= 0 for got in reader.got.values() for n in got)
        assert got_in_time, "nothing was read while it lasted"
        wire.mend()
        wait_drained(broker, 120)
        stored = {topic: scene.numbers(topic) for topic in TOPICS}
        doubled = 0
        for writer in writers:
            numbers, twice = stored[writer.topic], writer.maybe_doubled()
            assert first_copies(numbers) == list(range(-1, len(writer.places)))
            more = [n for n in set(numbers) if numbers.count(n) > 1]
            assert set(more) <= twice, f"{set(more) - twice} came twice without a mark"
            doubled += len(more)
            wait_for(lambda: set(reader.got[writer.topic]) == set(numbers), 60, "a complete reader")
        reader.stop()
        for topic in TOPICS:
            assert reader.got[topic] == first_copies(stored[topic]), f"{topic} was read in another order, or twice"
        check_wire(wire)
        seen, account = counts(scene.fake), broker.account()
        assert account["state"] == "active"
        lost, replayed = rotations_lost(wire), chains_lost(wire)
        assert replayed <= lost, "a chain was lost although its answer came"
        posts = sum(len(writer.places) for writer in writers)
        outbox = broker.status()["outbox"]
        return (f"{name}, {seconds} s: {posts} posts, lost 0, out of order 0, doubled {doubled} of "
                f"{outbox['maybe_duplicates']} marked; look-ups {outbox['look_ups']}, read meanwhile {got_in_time}; "
                f"requests harmed {len(harmed)} of {len(wire.requests)}; refreshes {seen['refreshes_ok']}, their "
                f"answers lost {len(lost)}, chains lost {len(replayed)}, logins {seen['logins']}")


@pytest.fixture(scope="module")
def plays(tmp_path_factory, long):
    folder = tmp_path_factory.mktemp("network")
    together = Together()
    together.start("standstill", stand_still, folder / "standstill", 120 if long else 8, 60 if long else 12)
    together.start("losses", endure, folder / "losses", "losses and cuts", 180 if long else 9,
                   doomed(random.Random(SEED)))
    together.start("latency", endure, folder / "latency", "2 s for each answer", 180 if long else 9, None, 2, 20, 1)
    if long:
        together.start("all", endure, folder / "all", "losses, cuts and 2 s for each answer", 180,
                       doomed(random.Random(SEED + 1)), 2, 20, 2)
    yield together
    together.join()


@pytest.mark.parametrize("name", ["standstill", "losses", "latency", pytest.param("all", marks=pytest.mark.long)])
def test_posts_once_each_in_order_readers_complete_and_the_login_kept(plays, name, capsys):
    figures = plays.result(name)
    with capsys.disabled():
        print("\n" + figures)
