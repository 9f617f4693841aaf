"""The main job: one login for many processes, and what becomes of it without a broker."""
import time

import pytest
import requests
from pulsar_relay_client import CredentialsFile, RelayAuthManager

import harness
import workers

PROCESSES, MINUTES = 16, 3


def credentials(url, path):
    """A credentials file as the client makes it from a password."""
    RelayAuthManager(url, harness.USER, harness.PASSWORD, credentials_file=str(path)).get_token()
    return str(path)


def live_tokens(url, access_token):
    response = requests.get(url + "/auth/sessions", timeout=20, headers={"Authorization": f"Bearer {access_token}"})
    assert response.status_code == 200, response.text
    return {session["jti"] for session in response.json()}


def jti(refresh_token):
    return refresh_token.split(".")[0]


def run(url, path, folder, seconds):
    jobs = [{"url": url, "credentials_file": credentials(url, path)}] * PROCESSES
    return workers.Workers(harness.PYTHON, folder, jobs, seconds, every_s=9, renew_every=3)


def lose_the_chain(folder):
    """The same processes straight at a relay, without limits, so that nothing but the shared file is to blame."""
    relay = harness.RealRelay(folder, token_minutes=1)
    running = None
    try:
        running = run(relay.url, folder / "relay.json", folder / "relay", 10)
        file = CredentialsFile(str(folder / "relay.json"))
        watcher = relay.login()["access_token"]
        harness.wait_for(lambda: jti(file.load()["refresh_token"]) not in live_tokens(relay.url, watcher), 30,
                         "the loss of the chain")
        with pytest.raises(AssertionError, match="Refresh token rejected"):
            workers.judge(running.end_now())
        assert len(live_tokens(relay.url, watcher)) == 1, "the watcher's alone"
    finally:
        if running:
            running.kill()
        relay.stop()


def test_sixteen_processes_share_one_login_that_dies_without_the_broker(tmp_path, capsys):
    tmp_path.chmod(0o700)
    relay = harness.RealRelay(tmp_path, token_minutes=1, limits=True)
    broker = harness.Broker(tmp_path)
    running = None
    try:
        broker.login(relay)
        end = time.monotonic() + MINUTES * 60
        running = run(broker.url, tmp_path / "broker.json", tmp_path / "broker", MINUTES * 60)
        lose_the_chain(tmp_path)
        time.sleep(max(0, end - time.monotonic()))
        refreshes = relay.answered("POST /auth/token/refresh")
        with capsys.disabled():
            print(f"\n16 processes, {MINUTES} minutes: {len(refreshes)} refreshes at the relay in all")
        workers.judge(running.end())
        assert set(refreshes) == {200} and 6 <= len(refreshes) <= 10, refreshes
        assert relay.answered("POST /auth/login") == [200]
        account = broker.account()
        assert account["state"] == "active", account
        assert len(live_tokens(broker.url, broker.placeholder())) == 1
        assert broker.post("after", {"all": "is well"}).status_code == 201
        broker.stop()
    finally:
        if running:
            running.kill()
        broker.kill()
        relay.stop()
