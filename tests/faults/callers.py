"""Who posts and polls while something is killed, and the account of what became of their messages.

A message is (who posted it, its number). A caller repeats a post until it is answered, under one key."""
import collections
import threading
import time

import requests

import harness
import workers
from harness import wait_for
from trouble import LATER, POLLS, POSTS, Background, begun, first_copies, relays_messages, wait_drained

OWN, SHARED = ["own_0", "own_1", "own_2"], "shared"
TOPICS = [SHARED, *OWN]
MOST_QUEUED = 200


class Caller:
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


class Writer(Caller):
    """Posts 0, 1, 2, … to a topic; each with a key of its own until it is answered. It stops for a long queue."""

    def __init__(self, broker, name, topic, pause_s, headers=None, bulk=1):
        self.name, self.topic, self.pause_s, self.headers, self.bulk = name, topic, pause_s, headers or {}, bulk
        self.next, self.answered, self.statuses = 0, [], collections.Counter()
        super().__init__(broker)

    def turn(self):
        if self.next % (10 * self.bulk) == 0 and self.broker.status()["outbox"]["queued"] > MOST_QUEUED:
            time.sleep(0.1)
            return
        numbers = range(self.next, self.next + self.bulk)
        messages = [{"topic": self.topic, "payload": {"from": self.name, "number": n}} for n in numbers]
        path, body = ("/bulk", {"messages": messages}) if self.bulk > 1 else ("", messages[0])
        answer = self.session.post(self.broker.url + POSTS + path, json=body, timeout=30,
                                   headers={**self.headers, "Idempotency-Key": f"{self.name} {self.next}"})
        self.statuses[answer.status_code] += 1
        if answer.status_code == 503:
            time.sleep(0.1)
            return
        assert answer.status_code in (201, 202, 207), answer.text
        self.answered += [(self.name, n) for n in numbers]
        self.next += self.bulk
        time.sleep(self.pause_s * self.bulk)


class Reader(Caller):
    """Reads all topics: with a cursor that it keeps, or without one and under its placeholder."""

    def __init__(self, broker, keeps_cursor):
        self.keeps_cursor = keeps_cursor
        self.since = {topic: "0-0" for topic in TOPICS} if keeps_cursor else None
        self.bearer = None if keeps_cursor else broker.placeholder()
        self.got = {topic: [] for topic in TOPICS}
        self.polls = 0
        super().__init__(broker)

    def turn(self):
        body = {"topics": TOPICS, "timeout": 1, **({"since": self.since} if self.keeps_cursor else {})}
        headers = {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}
        answer = self.session.post(self.broker.url + POLLS, json=body, headers=headers, timeout=30)
        if answer.status_code == 503:
            time.sleep(0.1)
            return
        assert answer.status_code == 200, answer.text
        for message in answer.json()["messages"]:
            self.got[message["topic"]].append(item(message))
            if self.keeps_cursor:
                self.since[message["topic"]] = message["message_id"]
        self.polls += 1

    def has(self, stored):
        if not self.work.is_alive():
            self.work.result()
        return all(set(self.got[topic]) == set(stored[topic]) for topic in TOPICS)


def all_topics(processes):
    """Of a crowd with so many processes."""
    return [*TOPICS, workers.ALL, *map(workers.own, range(processes))]


def item(message):
    return message["payload"]["from"], message["payload"]["number"]


class Crowd:
    """Readers, writers, and processes with the unmodified Python client, all at one broker."""

    def __init__(self, broker, folder, processes, pause_s):
        self.broker = broker
        self.readers = [Reader(broker, True), Reader(broker, False)]
        wait_for(self.has_begun, what="the places from which the readers read")
        self.writers = [Writer(broker, "w0", OWN[0], pause_s), Writer(broker, "w1", OWN[1], pause_s, LATER),
                        Writer(broker, "w2", OWN[2], pause_s, bulk=7), Writer(broker, "w3", SHARED, pause_s),
                        Writer(broker, "w4", SHARED, pause_s, LATER)]
        job = {"url": broker.url, "username": harness.USER, "password": "any will do", "longest_sleep_s": 1}
        self.clients = workers.Workers(harness.PYTHON, folder / "clients", [job] * processes, seconds=3600,
                                       every_s=5 * pause_s, renew_every=50)
        self.topics = all_topics(processes)

    def has_begun(self):
        return begun(self.broker) >= set(TOPICS) and all(reader.polls for reader in self.readers)

    def stop_posting(self):
        self.clients.stop_posting()
        for writer in self.writers:
            writer.stop()

    def answered(self):
        """What the writers were answered about so far."""
        return {item for writer in self.writers for item in writer.answered}

    def end(self, relay):
        """Lets everything arrive and everybody end; what became of it all."""
        self.stop_posting()
        wait_for(lambda: self.clients.posted() is not None, 120, "the clients' last posts")
        wait_drained(self.broker, 120)
        stored = {topic: [item(m) for m in relays_messages(self.broker, relay, topic)]
                  for topic in self.topics}
        results = self.clients.end()
        for reader in self.readers:
            wait_for(lambda: reader.has(stored), 120, "a reader that has everything")
            reader.stop()
        return Outcome(self, stored, results)

    def kill(self):
        self.clients.kill()
        for caller in self.readers + self.writers:
            caller.stopping.set()


class Outcome:
    def __init__(self, crowd, stored, results):
        self.stored = stored
        self.answered = [item for writer in crowd.writers for item in writer.answered]
        self.by_client = [tuple(message[1:]) for result in results for message in result["posted"]]
        self.statuses = dict(sum((writer.statuses for writer in crowd.writers), collections.Counter()))
        keeping, bare = crowd.readers
        # (topic, what a reader of it got, in order)
        self.with_cursor = [(topic, keeping.got[topic]) for topic in TOPICS]
        self.readings = self.with_cursor + [(topic, bare.got[topic]) for topic in TOPICS]
        for index, result in enumerate(results):
            received = [(topic, (who, number)) for topic, who, number in result["received"]]
            own = [(topic, [item for where, item in received if where == topic])
                   for topic in (workers.ALL, workers.own(index))]
            self.with_cursor += own
            self.readings += own

    def everything(self):
        return [item for messages in self.stored.values() for item in messages]

    def lost(self):
        return set(self.answered + self.by_client) - set(self.everything())

    def doubled(self):
        return [item for item, copies in collections.Counter(self.everything()).items() if copies > 1]

    def stepped_over(self):
        return [(topic, item) for topic, got in self.readings for item in set(self.stored[topic]) - set(got)]

    def out_of_order(self):
        """First copies: a writer's in its topic at the relay, and a reader's as they are stored."""
        wrong = []
        for topic, messages in self.stored.items():
            last = {}
            for who, number in first_copies(messages):
                if number < last.get(who, -1):
                    wrong.append((topic, who, number))
                last[who] = number
        for topic, got in self.readings:
            wrong += [(topic, *g) for g, s in zip(first_copies(got), first_copies(self.stored[topic])) if g != s]
        return wrong

    def handed_out_twice(self):
        """To readers that say where they are."""
        return [(topic, item) for topic, got in self.with_cursor
                for item, copies in collections.Counter(got).items() if copies > 1]

    def text(self):
        return (f"answered {len(self.answered)} and to the Python client {len(self.by_client)}, stored "
                f"{len(self.everything())}, lost {len(self.lost())}, doubled {len(self.doubled())}, stepped over "
                f"{len(self.stepped_over())}, out of order {len(self.out_of_order())}, handed out twice "
                f"{len(self.handed_out_twice())}; statuses {self.statuses}")

    def check(self):
        assert self.answered and self.by_client
        assert not self.lost()
        assert not self.stepped_over()
        assert not self.out_of_order()
        assert not self.handed_out_twice()
