"""Contract, section 9: what goes wrong upstream."""

import pytest
import requests

from relays import Waiting


def test_a_memory_relay_forgets_and_a_valkey_relay_keeps(own_relay, make_user):
    admin = make_user(own_relay).admin
    first = admin.login()
    sent = first.send("t", {"n": 1}, key="k1")
    before = first.call("GET", "/auth/me").json()["user_id"]
    own_relay.restart()
    if own_relay.flavour == "memory":
        answer = first.call("GET", "/auth/me")
        assert answer.status_code == 401 and answer.json() == {"detail": "User not found"}
        assert first.refresh(first.token).status_code == 401
        first.login()
        assert first.call("GET", "/auth/me").json()["user_id"] != before
        assert first.stored("t") == []
        new = first.send("t", {"n": 2}, key="k1")
        assert new != sent
        assert len(first.poll(["t"], {"t": sent}).json()["messages"]) == 1
    else:
        assert first.call("GET", "/auth/me").json()["user_id"] == before
        assert first.refresh(first.token).status_code == 200
        assert first.send("u", {"n": 2}, key="k1") == sent
        assert [m["message_id"] for m in first.stored("t")] == [sent]


def test_a_restart_cuts_waiting_polls_off(own_relay, make_user):
    user = make_user(own_relay).login()
    poll = Waiting(user, ["t"], timeout=60)
    own_relay.restart()
    assert isinstance(poll.result(), requests.ConnectionError)
    assert own_relay.waiting(user.admin.login().bearer) == 0


def test_with_dead_storage_calls_are_500_and_health_is_fine(own_relay, make_user):
    if own_relay.kind == "real-memory":
        pytest.skip("the storage of a memory relay does not die")
    user = make_user(own_relay).login()
    user.send("t", {})
    own_relay.storage_dies()
    answer = user.post("t", {})
    assert answer.status_code == 500 and answer.json()["error"] == "INTERNAL_ERROR"
    assert user.refresh(user.token).status_code == 500
    assert requests.get(own_relay.url + "/health", timeout=30).status_code == 200
    ready = requests.get(own_relay.url + "/ready", timeout=30)
    assert ready.status_code == 200 and ready.json()["ready"] is True
