"""kill -9 of the real relay on Redis, while clients post and poll through the broker.

RB_RELAY_KILLS: how often; RB_SEED: when."""
import collections
import os
import random
import signal
import statistics
import time

import pytest
import requests

import harness
from callers import LATER, Crowd, all_topics
from trouble import events, wait_drained
from harness import payloads, wait_for

PROCESSES = 2
SEED = int(os.environ.get("RB_SEED", "1"))
# With the relay frozen first, requests to it are under way for certain when it dies.
MOMENTS = 4 * ["any", "a post under way"] + ["a rotation under way", "any"]


@pytest.fixture
def redis(tmp_path):
    """The password is kept by the relay's storage and by nothing else."""
    redis = harness.Redis(tmp_path)
    yield redis
    redis.stop()


@pytest.fixture
def relay(tmp_path, redis):
    relay = harness.RealRelay(tmp_path, backend="valkey", token_minutes=1, redis_port=redis.port)
    yield relay
    relay.stop()


class Storm:
    def __init__(self, relay, broker, folder):
        self.relay, self.broker, self.random = relay, broker, random.Random(SEED)
        self.kills, self.recoveries = collections.Counter(), []
        self.make_topics()
        self.crowd = Crowd(broker, folder, PROCESSES, pause_s=0.2)

    def make_topics(self):
        """A relay that is killed while it makes one leaves half of it, and answers 500 for its name ever after."""
        for topic in all_topics(PROCESSES):
            answer = requests.post(self.broker.url + "/api/v1/topics", json={"topic_name": topic}, timeout=20)
            assert answer.status_code == 201, answer.text

    def freeze_until(self, what, state):
        self.relay.process.popen.send_signal(signal.SIGSTOP)
        wait_for(state, 60, what)

    def wait_for_moment(self, moment):
        if moment == "a post under way":
            self.freeze_until(moment, lambda: self.broker.status()["outbox"]["sending"])
        elif moment == "a rotation under way":
            self.freeze_until(moment, lambda: self.broker.account()["chain"] == "rotating")
        else:
            time.sleep(self.random.uniform(0.1, 1.5))

    def kill(self, moment):
        self.wait_for_moment(moment)
        status = self.broker.status()
        self.relay.process.kill()
        self.kills[moment] += 1
        for account in status["accounts"]:
            self.kills["chain " + account["chain"]] += 1
        for state in ("queued", "sending", "unknown"):
            self.kills["posts " + state] += bool(status["outbox"][state])
        self.relay.start()
        began = time.monotonic()
        self.wait_for_an_answered_post()
        self.recoveries.append(time.monotonic() - began)

    def wait_for_an_answered_post(self):
        """So that the next kill meets a relay that is at work."""
        def answered():
            return len(self.relay.answered("POST /api/v1/messages")) > before

        before = len(self.relay.answered("POST /api/v1/messages"))
        wait_for(answered, 30, "a post that the new relay answered")


def test_nothing_is_lost_doubled_or_stepped_over_when_the_relay_is_killed_at_any_moment(
        relay, broker_of, tmp_path, long, capsys):
    kills = int(os.environ.get("RB_RELAY_KILLS", "50" if long else "3"))
    broker = broker_of(relay)
    storm = Storm(relay, broker, tmp_path)
    try:
        for i in range(kills):
            storm.kill(MOMENTS[i % len(MOMENTS)])
        outcome = storm.crowd.end(relay)
    finally:
        storm.crowd.kill()
    lost_logins = events(broker, "login_required") + events(broker, "chain_lost")
    with capsys.disabled():
        print(f"\n{kills} kills of the relay, seed {SEED}: {dict(sorted(storm.kills.items()))}\n{outcome.text()}\n"
              f"logins {len(relay.answered('POST /auth/login'))}, logins lost {len(lost_logins)}, refreshes "
              f"{dict(collections.Counter(relay.answered('POST /auth/token/refresh')))}; posts answered again after "
              f"{statistics.median(storm.recoveries):.1f} s (median), {max(storm.recoveries):.1f} s at most")
    outcome.check()
    # A dead relay does nothing late: a look tells what it has done.
    assert not outcome.doubled()
    assert not lost_logins
    assert relay.answered("POST /auth/login") == [200]
    assert broker.account()["state"] == "active"


@pytest.mark.long
def test_a_storage_that_forgot_everything_is_a_wiped_relay_and_the_kept_password_logs_in_again(
        relay, redis, broker_of, tmp_path):
    broker = broker_of(relay, keep=True)
    for n in range(2):
        assert broker.post("t", {"n": n}).status_code == 201
    newest = broker.poll("t", {"t": "0-0"}, 5)["messages"][-1]["message_id"]
    relay.stop()
    redis.stop()
    kept = broker.post("t", {"n": 2}, LATER)
    assert kept.status_code == 202
    restarted = harness.Redis(tmp_path, redis.port)
    try:
        relay.start()
        assert payloads(broker.poll("t", {"t": newest}, 30)) == [{"n": 2}]
        wait_drained(broker)
        assert broker.post("t", {"n": 3}).status_code == 201
        assert payloads(broker.poll("t", {"t": "0-0"}, 5)) == [{"n": 2}, {"n": 3}]
        assert relay.answered("POST /auth/login") == [200, 200]
        assert "the relay knows alice under a new id" in events(broker, "relay_wiped")[0]
        assert events(broker, "gap") == [f"topic t: relay_reset, after message {newest}"]
    finally:
        restarted.stop()
