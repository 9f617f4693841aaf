"""kill -9 at any moment, while clients post, poll, and the login rotates.

RB_KILLS: how often; RB_SEED: when."""
import collections
import json
import os
import random
import time

import pytest

from callers import Crowd
from stopped_commit import StoppedCommit
from trouble import (POLLS, POSTS, REFRESH, ask, can_trace, counts, database_of, events, hold, left_behind, wait_held)
from harness import wait_for

SEED = int(os.environ.get("RB_SEED", "1"))
AFTER_COMMIT = "between commit and effect"
# What is under way when the process is killed, and whether the relay does it all the same: before the restart, or late,
# when the process started anew has looked for it.
MOMENTS = ["any", "a refresh that is done", AFTER_COMMIT, "a post that is done", "a refresh that is not done",
           "a post that is not done", AFTER_COMMIT, "a post that is done late", "a poll", "any"]
ROTATIONS = ["a refresh that is done", "any", "a refresh that is not done", AFTER_COMMIT, "any"]


def kills(long, share):
    """How often, of 25 and 300 in all."""
    return int(os.environ.get("RB_KILLS", "300" if long else "25")) * share // 100


def generations(broker):
    """How many rotations the broker knows to be done, by the database that it left."""
    with database_of(broker) as db:
        return db.execute("SELECT sum(generation) FROM chain").fetchone()[0]


class Storm:
    def __init__(self, fake, broker, folder, long, processes):
        self.fake, self.broker, self.folder, self.random = fake, broker, folder, random.Random(SEED)
        self.kills, self.in_commit = collections.Counter(), collections.Counter()
        self.unheard = self.logins_lost = self.looks = 0
        self.crowd = Crowd(broker, folder, processes, pause_s=0.1 if long else 0.04)

    def newest_at_the_relay(self, topic):
        """The relay is asked, not the broker."""
        self.looks += 1
        page = ask(self.fake, "GET", f"/api/v1/topics/{topic}/messages", params={"limit": 100, "order": "desc"})
        return [message["payload"] for message in page.json()["messages"]] if page.status_code == 200 else []

    def check_that_nothing_left(self, change):
        """A row that was just taken was not answered, a first attempt did not reach the relay."""
        answered = self.crowd.answered()
        for post in change.posts.values():
            payload = json.loads(post.payload) if post.payload else None
            if post.is_new:
                assert (payload["from"], payload["number"]) not in answered
            if post.state == "sending" and post.attempts == 1:
                assert payload not in self.newest_at_the_relay(post.topic)

    def kill_after_commit(self):
        with StoppedCommit(self.broker, self.folder, self.random.randint(2, 25)) as stopped:
            change = stopped.wait()
            stopped.kill()
        self.check_that_nothing_left(change)
        self.in_commit.update(change.kinds())

    def kill_at(self, moment):
        path = {"a refresh": REFRESH, "a post": POSTS, "a poll": POLLS}.get(" ".join(moment.split()[:2]))
        if path:
            hold(self.fake, path)
            wait_held(self.fake)
        elif moment != AFTER_COMMIT:
            time.sleep(self.random.uniform(0.02, 1.2))
        if moment == AFTER_COMMIT:
            self.kill_after_commit()
        else:
            assert self.broker.process.alive(), self.broker.process.text()[-4000:]
            self.broker.kill()

    def note(self, moment):
        """What the killed process left; returns the states of its chains."""
        chains, posts = left_behind(self.broker)
        self.kills[moment] += 1
        for state in set(chains) - {"dead"}:
            self.kills["chain " + state] += 1
        for state in set(posts) & {"queued", "sending", "unknown"}:
            self.kills["posts " + state] += 1
        return chains

    def kill(self, moment):
        """Whether the relay has rotated the login and nobody is left to hear so."""
        self.kill_at(moment)
        chains, known, before, late = self.note(moment), generations(self.broker), self.unheard, moment.endswith("late")
        if moment.startswith("a refresh"):
            assert "rotating" in chains
        if not late:
            self.fake.control("restart" if moment.endswith("not done") else "release")
        self.unheard = counts(self.fake)["refreshes_ok"] - known
        self.broker.start()
        if late:
            wait_for(lambda: not self.broker.status()["outbox"]["unknown"], what="the end of the look-ups")
            self.fake.control("release")
        return self.unheard > before

    def figures(self, outcome):
        return (f"{dict(sorted(self.kills.items()))}\nchanged by the commits before an effect: "
                f"{dict(sorted(self.in_commit.items()))}\n{outcome.text()}\nrefreshes "
                f"{counts(self.fake)['refreshes_ok']}, chains lost {self.unheard}, logins lost {self.logins_lost}")


@pytest.fixture
def storm_of(relay_of, broker_of, tmp_path, long):
    storms = []

    def make(processes, **options):
        fake = relay_of(flavour="valkey", token_seconds=3)
        storms.append(Storm(fake, broker_of(fake, **options), tmp_path, long, processes))
        return storms[-1]

    yield make
    for storm in storms:
        storm.crowd.kill()


def moments(schedule, count):
    if not can_trace():
        schedule = [moment for moment in schedule if moment != AFTER_COMMIT]
    return [schedule[i % len(schedule)] for i in range(count)]


def test_nothing_answered_is_lost_or_stepped_over_when_it_is_killed_at_any_moment(storm_of, long, capsys):
    storm = storm_of(processes=3, keep=True)
    schedule = moments(MOMENTS, kills(long, 80))
    for moment in schedule:
        storm.kill(moment)
    outcome = storm.crowd.end(storm.fake)
    storm.logins_lost = len(events(storm.broker, "login_required"))
    with capsys.disabled():
        print(f"\n{len(schedule)} kills, seed {SEED}: {storm.figures(outcome)}")
    outcome.check()
    # A look comes after the relay has done what the killed process had sent, or a late copy has the key of the second.
    assert not outcome.doubled()
    # A chain is lost only where the relay had rotated it and nobody was left to hear so.
    chains = left_behind(storm.broker)[0]
    assert chains == ["dead"] * storm.unheard + ["active"]
    # A login with the password may be done again too, when nobody was left to hear of it.
    logins = counts(storm.fake)["logins"] - storm.looks
    assert len(chains) <= logins <= len(chains) + storm.unheard
    assert storm.logins_lost == 0
    account = storm.broker.account()
    assert account["state"] == "active" and account["chains"] == 1
    assert storm.broker.post("shared", {"from": "end", "number": 0}).status_code == 201
    if len(schedule) >= 2 * len(MOMENTS):
        for state in ("chain active", "chain rotating", "posts queued", "posts sending", *schedule):
            assert storm.kills[state], f"no kill while: {state}"


def test_without_a_password_only_logins_are_lost_whose_rotation_was_done_and_never_heard_of(storm_of, long, capsys):
    storm = storm_of(processes=1)
    schedule = moments(ROTATIONS, kills(long, 20))
    for moment in schedule:
        unheard = storm.kill(moment)
        settled = wait_for(lambda: (lambda a: (a["state"] == "login_required" or a["chain"] == "active") and a)(
            storm.broker.account()), what="a chain that is active or lost")
        lost = settled["state"] == "login_required"
        storm.logins_lost += lost
        assert lost == unheard, moment
        assert lost or moment != "a refresh that is done"
        assert not lost or moment not in ("a refresh that is not done", AFTER_COMMIT)
        if lost:
            storm.broker.login(storm.fake)
    outcome = storm.crowd.end(storm.fake)
    with capsys.disabled():
        print(f"\n{len(schedule)} kills without a password, seed {SEED}: {storm.figures(outcome)}")
    outcome.check()
    assert not outcome.doubled()
    assert counts(storm.fake)["logins"] == 1 + storm.logins_lost + storm.looks
