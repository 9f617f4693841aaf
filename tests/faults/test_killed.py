"""kill -9 at any moment, while several clients post, poll, and the login rotates.

RB_KILLS: how often; RB_SEED: when."""
import collections
import os
import random
import threading
import time

import pytest
import requests

from trouble import (POLLS, POSTS, REFRESH, Background, counts, first_copies, hold, left_behind, relays_messages,
                     wait_drained, wait_held)
from harness import wait_for

KILLS = int(os.environ.get("RB_KILLS", "25"))
SEED = int(os.environ.get("RB_SEED", "1"))
TOPICS = ["shared", "own_0", "own_1", "own_2"]
# What is under way when the process is killed, and whether the relay does it all the same.
MOMENTS = ["any", "a refresh that is done", "a post that is done", "any", "a refresh that is not done",
           "a post that is not done", "any", "a poll"]


class Client:
    def __init__(self, broker):
        self.broker, self.stopping = broker, threading.Event()
        self.session = requests.Session()
        self.work = Background(self.run)

    def run(self):
        while not self.stopping.is_set():
            try:
                self.turn()
            except requests.RequestException:
                self.session = requests.Session()
                time.sleep(0.02)

    def stop(self):
        self.stopping.set()
        self.work.result()


class Writer(Client):
    """Posts 0, 1, 2, … to a topic; each with a key of its own until it is answered."""

    def __init__(self, broker, name, topic, headers=None, bulk=1):
        self.name, self.topic, self.headers, self.bulk = name, topic, headers or {}, bulk
        self.next, self.answered, self.statuses = 0, [], collections.Counter()
        super().__init__(broker)

    def turn(self):
        numbers = range(self.next, self.next + self.bulk)
        messages = [{"topic": self.topic, "payload": {"from": self.name, "n": n}} for n in numbers]
        path, body = ("/bulk", {"messages": messages}) if self.bulk > 1 else ("", messages[0])
        answer = self.session.post(self.broker.url + POSTS + path, json=body, timeout=30,
                                   headers={**self.headers, "Idempotency-Key": f"{self.name} {self.next}"})
        self.statuses[answer.status_code] += 1
        if answer.status_code == 503:
            return
        assert answer.status_code in (201, 202, 207), answer.text
        self.answered += [(self.name, n) for n in numbers]
        self.next += self.bulk
        time.sleep(0.01)


class Reader(Client):
    """Reads all topics: with a cursor that it keeps, or without one and under its placeholder."""

    def __init__(self, broker, keeps_cursor):
        self.keeps_cursor = keeps_cursor
        self.since = {topic: "0-0" for topic in TOPICS} if keeps_cursor else None
        self.bearer = None if keeps_cursor else broker.placeholder()
        self.got = {topic: [] for topic in TOPICS}
        self.polls = 0
        super().__init__(broker)

    def turn(self):
        answer = self.broker.poll(TOPICS, self.since, 1, self.bearer, self.session)
        for message in answer["messages"]:
            self.got[message["topic"]].append((message["payload"]["from"], message["payload"]["n"]))
            if self.keeps_cursor:
                self.since[message["topic"]] = message["message_id"]
        self.polls += 1


class Storm:
    def __init__(self, fake, broker):
        self.fake, self.broker, self.random = fake, broker, random.Random(SEED)
        self.kills, self.rotating, self.done_rotations = collections.Counter(), 0, 0
        self.readers = [Reader(broker, True), Reader(broker, False)]
        wait_for(lambda: all(reader.polls for reader in self.readers), what="the readers' first polls")
        self.writers = [Writer(broker, "w0", "own_0"), Writer(broker, "w1", "own_1", {"Prefer": "respond-async"}),
                        Writer(broker, "w2", "own_2", bulk=7), Writer(broker, "w3", "shared"),
                        Writer(broker, "w4", "shared", {"Prefer": "respond-async"})]

    def wait_for_moment(self, moment):
        path = {"a refresh": REFRESH, "a post": POSTS, "a poll": POLLS}.get(" ".join(moment.split()[:2]))
        if path:
            hold(self.fake, path)
            wait_held(self.fake)
        else:
            time.sleep(self.random.uniform(0.02, 1.2))

    def kill(self, moment):
        self.wait_for_moment(moment)
        self.broker.kill()
        chains, posts = left_behind(self.broker)
        self.kills[moment] += 1
        for state in set(chains) - {"dead"}:
            self.kills["chain " + state] += 1
        for state in set(posts) & {"queued", "sending", "unknown"}:
            self.kills["posts " + state] += 1
        undone = moment.endswith("not done")
        if "rotating" in chains and not undone:
            self.rotating += 1
        if moment == "a refresh that is done":
            assert "rotating" in chains
            self.done_rotations += 1
        self.fake.control("restart" if undone else "release")
        self.broker.start()

    def end(self):
        for writer in self.writers:
            writer.stop()
        wait_drained(self.broker)
        stored = {topic: [(m["payload"]["from"], m["payload"]["n"])
                          for m in relays_messages(self.broker, self.fake, topic)] for topic in TOPICS}
        for reader in self.readers:
            wait_for(lambda: all(set(reader.got[t]) == set(stored[t]) for t in TOPICS), 30,
                     "a reader that has everything")
            reader.stop()
        return stored


@pytest.fixture
def storm(relay_of, broker_of):
    fake = relay_of(flavour="valkey", token_seconds=3)
    return Storm(fake, broker_of(fake, keep=True))


def test_nothing_answered_is_lost_and_nothing_is_stepped_over_when_it_is_killed_at_any_moment(storm, capsys):
    for i in range(KILLS):
        storm.kill(MOMENTS[i % len(MOMENTS)])
    stored = storm.end()
    everything = [item for topic in TOPICS for item in stored[topic]]
    answered = [item for writer in storm.writers for item in writer.answered]
    lost = set(answered) - set(everything)
    doubled = len(everything) - len(set(everything))
    stepped_over = sum(len(set(stored[t]) - set(reader.got[t])) for reader in storm.readers for t in TOPICS)
    seen = counts(storm.fake)
    with capsys.disabled():
        print(f"\nkills {KILLS}, seed {SEED}: {dict(sorted(storm.kills.items()))}")
        print(f"answered {len(answered)}, stored {len(everything)}, lost {len(lost)}, doubled {doubled}, stepped over "
              f"{stepped_over}; refreshes {seen['refreshes_ok']}, chains lost {seen['replays']}, logins "
              f"{seen['logins']}; statuses {dict(sum((w.statuses for w in storm.writers), collections.Counter()))}")
    assert not lost
    assert stepped_over == 0
    # Every look-up comes after the relay has done what the killed process had sent.
    assert doubled == 0
    for topic in TOPICS:
        for writer in storm.writers:
            numbers = [n for name, n in first_copies(stored[topic]) if name == writer.name]
            assert numbers == sorted(numbers)
        for reader in storm.readers:
            assert first_copies(reader.got[topic]) == first_copies(stored[topic])
    # A chain is lost only where the relay had rotated it and nobody was left to hear so.
    assert storm.done_rotations <= seen["replays"] <= storm.rotating
    assert seen["logins"] == 1 + seen["replays"]
    if KILLS >= 2 * len(MOMENTS):
        for state in ("chain active", "chain rotating", "posts queued", "posts sending", *MOMENTS):
            assert storm.kills[state], f"no kill while: {state}"
    account = storm.broker.account()
    assert account["state"] == "active" and account["chains"] == 1
    assert storm.broker.post("shared", {"from": "end", "n": 0}).status_code == 201
