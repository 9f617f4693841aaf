"""What leaves the broker, seen on the wire, while the wire is cut at every stage: how often a refresh token, a post, a
password are sent, and how long after one another (R1, O2, T3)."""
import re

import pytest
import requests

import harness
from harness import wait_for
from trouble import POSTS, REFRESH, Together, complaint, counts, wait_drained
from wire import CONNECTION, REQUEST, Scene, never_at_once

LOGIN, REVOKE, TOPICS = "/auth/login", "/auth/token/revoke", "/api/v1/topics"
QUIET_S, UNKNOWN_WAIT_S = 2, 1
WAITS = {"retry_after_end_seconds": QUIET_S, "unknown_wait_seconds": UNKNOWN_WAIT_S}
DONE = REQUEST[REQUEST.index("done"):-1]
NOT_DONE = ("headers", "body")
STAGES = CONNECTION + REQUEST
LOST = re.compile(r"The login at https?://127\.0\.0\.1:\d+ failed: (the relay cannot be reached|no whole answer of the "
                  r"relay): [A-Za-z][^()]*[a-z]\.")


# Each of them leaves the broker as it found it: logged in, nothing queued, nothing cut.

def cut_a_login(play, stage):
    play.wire.cut(stage, LOGIN)
    result = play.login(check=False)
    sent = play.wire.of(LOGIN)
    assert len(sent) == (0 if stage in CONNECTION else 1)
    if stage == "whole":
        assert result.returncode == 0, result.stderr
        return
    said = complaint(result)
    assert LOST.fullmatch(said), said
    assert play.broker.status()["accounts"] == []
    play.login()
    assert len(play.wire.of(LOGIN)) == len(sent) + 1


def leaves_doubt(play, stage):
    """The connection stood when it was cut: the broker cannot know whether its request has left."""
    return stage == ("handshake" if play.tls else "connect")


def cut_a_post(play, stage, n, reused=False):
    before = len(play.wire.requests)
    outbox = play.broker.status()["outbox"]
    play.wire.cut(stage, POSTS, "POST", reused=reused)
    answer = play.broker.post("t", {"n": n}, headers={"Prefer": "wait=30"})
    assert answer.status_code in (201, 202), answer.text
    wait_drained(play.broker)
    seen = play.wire.requests[before:]
    attempts = [r for r in seen if r.path == POSTS]
    assert len(attempts) == (2 if stage in NOT_DONE else 1), [(r.fate, r.status) for r in attempts]
    if reused:
        assert attempts[0].place > 0, "the connection was not reused: nothing is shown"
    assert len({r.stamp() for r in attempts if r.body}) == 1 and len({r.key() for r in attempts}) == 1
    never_at_once(attempts, UNKNOWN_WAIT_S)
    looks = [r for r in seen if r.is_look() and r.began >= attempts[0].ended + UNKNOWN_WAIT_S]
    if stage in NOT_DONE + DONE:
        assert looks, "no look at the topic"
        assert looks[0].began <= attempts[-1].began or len(attempts) == 1
    now = play.broker.status()["outbox"]
    doubtful = stage in NOT_DONE or leaves_doubt(play, stage)
    assert now["maybe_duplicates"] - outbox["maybe_duplicates"] == (1 if doubtful else 0)


def cut_a_get(play, stage):
    """A reused connection that closes without an answer: libcurl would repeat a GET on a new one (T3)."""
    assert requests.get(play.broker.url + TOPICS, timeout=30).status_code == 200
    before = len(play.wire.of(TOPICS, "GET"))
    play.wire.cut(stage, TOPICS, "GET", reused=True)
    told = requests.get(play.broker.url + TOPICS, timeout=30)
    sent = play.wire.of(TOPICS, "GET")[before:]
    assert len(sent) == 1 and sent[0].place > 0, [(r.place, r.fate) for r in sent]
    assert told.status_code == (200 if stage == "whole" else 503), told.text
    # One that begins before the broker has heard of the end is cut with it.
    wait_for(lambda: requests.get(play.broker.url + TOPICS, timeout=30).status_code == 200, what="the next answer")


def cut_a_revocation(play, stage):
    play.wire.cut(stage, REVOKE)
    play.broker.run("logout", "main")
    wait_for(lambda: play.broker.account()["chains_revoking"] == 0, 30, "the confirmed revocation")
    for attempts in play.wire.groups(REVOKE, lambda r: r.json()["refresh_token"] if r.body else "cut").values():
        never_at_once(attempts)
    assert all(r.place == 0 for r in play.wire.of(REVOKE)), "a secret on a reused connection"
    # A login whose answer was cut is known to nobody.
    assert [user["live_tokens"] for user in play.fake.state()["users"]] == [1 if stage in DONE else 0]


def posts_and_the_rest(folder, tls, stage):
    with Scene(folder, tls, **WAITS) as play:
        cut_a_login(play, stage)
        assert play.broker.post("t", {"n": 0}).status_code == 201
        play.wire.hang_up()
        cut_a_post(play, stage, 1)
        if stage in REQUEST:
            assert play.broker.post("t", {"n": 2}).status_code == 201
            cut_a_post(play, stage, 3, reused=True)
            assert play.numbers() == [0, 1, 2, 3]
            cut_a_get(play, stage)
        else:
            assert play.numbers() == [0, 1]
        cut_a_revocation(play, stage)


def post_until(play, condition, what):
    """Refreshes come where there is something to do."""
    def posted():
        assert play.broker.post("t", {"n": 0}, headers={"Prefer": "respond-async"}).status_code == 202
        return condition()

    wait_for(posted, 30, what)


def a_refresh(folder, tls, stage):
    with Scene(folder, tls, token_seconds=4, **WAITS) as play:
        play.login(keep=True)
        # This connection is kept in use, so that the next new one is the refresh's.
        assert play.broker.post("t", {"n": 0}).status_code == 201
        play.wire.cut(stage, REFRESH)
        post_until(play, lambda: not play.wire.cuts, "a refresh that is cut")
        succeeded = counts(play.fake)["refreshes_ok"]
        post_until(play, lambda: counts(play.fake)["refreshes_ok"] > succeeded, "a refresh that succeeds")
        wait_drained(play.broker)
        assert play.broker.account()["refreshes_failed"] >= (0 if stage == "whole" else 1)
        play.broker.stop()
        sent = play.wire.groups(REFRESH, lambda r: r.token() if r.body else "cut")
        twice = [attempts for attempts in sent.values() if len(attempts) > 1]
        for attempts in sent.values():
            never_at_once(attempts, QUIET_S)
        assert len(twice) == (1 if stage in ("body", *DONE) else 0)
        alone = {r.connection for r in play.wire.of(REFRESH)}
        assert not [r for r in play.wire.requests if r.connection in alone and r.path != REFRESH]
        if stage == "headers":
            never_at_once([r for r in play.wire.of(REFRESH) if r.began >= sent["cut"][0].began][:2], QUIET_S)
        if leaves_doubt(play, stage):
            later = [r for r in play.wire.of(REFRESH) if r.began > play.wire.cut_at[0]]
            assert later[0].began - play.wire.cut_at[0] >= QUIET_S
        # Where the relay had rotated it, the chain is lost whatever one does, and the kept password makes another.
        assert counts(play.fake)["replays"] == counts(play.fake)["logins"] - 1 == (1 if stage in DONE else 0)
        play.broker.start()


@pytest.fixture(scope="module")
def plays(tmp_path_factory, long):
    folder = tmp_path_factory.mktemp("wire")
    secure = harness.Tls(folder)
    together = Together()
    for stage in STAGES:
        for name, play in ("posts", posts_and_the_rest), ("refresh", a_refresh):
            together.start((name, stage, True), play, folder / f"{name} {stage} tls", secure, stage)
            if stage not in ("hello", "handshake") and (long or stage == "body"):
                together.start((name, stage, False), play, folder / f"{name} {stage}", None, stage)
    yield together
    together.join()


with_and_without_tls = pytest.mark.parametrize("secure, stage", [
    *[pytest.param(True, stage, id=f"{stage}, TLS") for stage in STAGES],
    *[pytest.param(False, stage, id=stage, marks=[] if stage == "body" else [pytest.mark.long])
      for stage in STAGES if stage not in ("hello", "handshake")]])


@with_and_without_tls
def test_logins_posts_reads_and_revocations_are_never_on_the_wire_twice_at_once(plays, secure, stage):
    plays.result(("posts", stage, secure))


@with_and_without_tls
def test_R1_a_refresh_token_is_never_on_the_wire_again_before_the_quiet_time(plays, secure, stage):
    plays.result(("refresh", stage, secure))
