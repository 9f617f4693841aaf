"""Taking over a login that the Python client had (R8)."""
import json
import subprocess

import pytest
from pulsar_relay_client import CredentialsFile, HttpRelayClient, RelayAuthManager, RelayTransport, utcnow_iso

import harness


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    relay = harness.RealRelay(tmp_path_factory.mktemp("relay"))
    relay.watcher = relay.login()
    yield relay
    relay.stop()


@pytest.fixture
def empty_broker(tmp_path):
    """A broker without a login."""
    broker = harness.Broker(tmp_path)
    yield broker
    if broker.process.alive():
        broker.stop()


@pytest.fixture
def path(relay, tmp_path):
    """The credentials file of a program that talks to the relay itself."""
    tmp_path.chmod(0o700)
    path = tmp_path / "relay_credentials.json"
    RelayAuthManager(relay.url, harness.USER, harness.PASSWORD, credentials_file=str(path)).get_token()
    path.chmod(0o600)
    return path


def live_tokens(relay):
    return {session["jti"] for session in relay.get("/auth/sessions", relay.watcher["access_token"]).json()}


def start_import(broker, path, wait_s, *options):
    argv = [harness.BROKER, "login", "main", "--import", str(path), "--import-wait", str(wait_s), "--state",
            str(broker.state), "--keys", str(broker.keys), *options]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_import(popen):
    out, err = popen.communicate(timeout=60)
    assert popen.returncode == 0, out + err
    return out


def check_taken_over(relay, broker, path, before):
    """One rotation, by the broker; the file holds a placeholder that works there, and nothing of the relay's."""
    harness.wait_for(lambda: broker.account()["refreshes"] >= 1, 20, "the rotation of the imported token")
    assert broker.account()["state"] == "active"
    after = live_tokens(relay)
    assert len(after - before) == 1, (before, after)
    assert sorted(p.name for p in path.parent.iterdir() if "credentials" in p.name) == [path.name]
    file = CredentialsFile(str(path)).load()
    assert file["relay_url"] == broker.url and file["refresh_token"].split(".")[0] not in after
    assert path.stat().st_mode & 0o777 == 0o600
    transport = RelayTransport(file["relay_url"], credentials_file=str(path))
    assert transport.post_message("imported", {"n": 1})["message_id"]


def test_an_imported_login_moves_to_the_broker(relay, empty_broker, path):
    token = CredentialsFile(str(path)).load()["refresh_token"]
    before = live_tokens(relay) - {token.split(".")[0]}
    assert end_import(start_import(empty_broker, path, 1))
    check_taken_over(relay, empty_broker, path, before)
    again = empty_broker.run("login", "other", "--import", str(path), check=False)
    assert again.returncode == 1 and "placeholder" in again.stderr


def test_a_token_that_a_late_user_of_the_file_rotates_is_taken(relay, empty_broker, path):
    token = CredentialsFile(str(path)).load()["refresh_token"]
    before = live_tokens(relay) - {token.split(".")[0]}
    running = start_import(empty_broker, path, 5)
    harness.wait_for(lambda: not path.exists(), 20, "the file's move")
    # A program that has read the file before: it rotates the token and writes the file as the client does.
    rotated = HttpRelayClient(relay.url).exchange_refresh_token(token)
    CredentialsFile(str(path)).save({"relay_url": relay.url, "refresh_token": rotated["refresh_token"],
                                     "issued_at": utcnow_iso()})
    end_import(running)
    check_taken_over(relay, empty_broker, path, before)


def test_an_import_of_a_dead_token_says_so(empty_broker, path):
    content = json.loads(path.read_text())
    content["refresh_token"] = content["refresh_token"][:-4] + "dead"
    path.write_text(json.dumps(content))
    running = start_import(empty_broker, path, 1)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 1 and "not valid any more" in err and not out, out + err
    assert content["refresh_token"] not in out + err
    assert empty_broker.account()["state"] == "login_required"


def test_an_import_while_the_relay_is_away_leaves_the_login_in_the_file(empty_broker, tmp_path):
    tmp_path.chmod(0o700)
    path = tmp_path / "relay_credentials.json"
    CredentialsFile(str(path)).save({"relay_url": f"http://127.0.0.1:{harness.free_port()}", "issued_at": utcnow_iso(),
                                     "refresh_token": "01234567-89ab-cdef-0123-456789abcdef.never-sent"})
    content = path.read_text()
    running = start_import(empty_broker, path, 1)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 1 and "Connection refused" in err and not out, out + err
    assert path.read_text() == content and not path.with_name(path.name + ".imported").exists()
    assert empty_broker.status()["accounts"] == []


def test_an_import_that_the_relay_does_not_confirm_keeps_the_old_file(empty_broker, tmp_path):
    """It answers, and takes no refresh; the login works once it does."""
    tmp_path.chmod(0o700)
    relay = harness.FakeRelay(tmp_path)
    path = tmp_path / "relay_credentials.json"
    aside = path.with_name(path.name + ".imported")
    try:
        RelayAuthManager(relay.url, harness.USER, harness.PASSWORD, credentials_file=str(path)).get_token()
        path.chmod(0o600)
        token = CredentialsFile(str(path)).load()["refresh_token"]
        relay.control("faults", do="status", status=429, retry_after=1, path="/auth/token/refresh", count=0)
        running = start_import(empty_broker, path, 2, "--json")
        out, err = running.communicate(timeout=90)
        assert running.returncode == 1 and str(aside) in err and "relay-broker status" in err and not out, out + err
        assert json.loads(aside.read_text())["refresh_token"] == token and token not in err
        relay.control("clear")
        harness.wait_for(lambda: empty_broker.account()["refreshes"] == 1, 120, "the rotation of the imported token")
        assert relay.state()["counts"]["replays"] == 0
    finally:
        relay.stop()


def test_an_import_that_cannot_trust_the_relay_leaves_the_login_in_the_file(empty_broker, tmp_path):
    """Else the only copy would lie in a daemon that cannot use it."""
    tmp_path.chmod(0o700)
    tls = harness.Tls(tmp_path)
    relay = harness.RealRelay(tmp_path, tls=tls)
    try:
        path = tmp_path / "relay_credentials.json"
        CredentialsFile(str(path)).save({"relay_url": relay.url, "refresh_token": relay.login()["refresh_token"],
                                         "issued_at": utcnow_iso()})
        content = path.read_text()
        running = start_import(empty_broker, path, 1)
        _, err = running.communicate(timeout=60)
        assert running.returncode == 1 and "certificate" in err.lower(), err
        assert path.read_text() == content
        assert end_import(start_import(empty_broker, path, 1, "--ca-file", str(tls.ca)))
        harness.wait_for(lambda: empty_broker.account()["refreshes"] == 1, 20, "the rotation of the imported token")
    finally:
        relay.stop()


def test_a_file_that_others_may_write_to_is_refused(empty_broker, path):
    path.chmod(0o666)
    content = path.read_text()
    running = start_import(empty_broker, path, 1)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1 and str(path) in err and json.loads(content)["refresh_token"] not in err
    assert path.read_text() == content and empty_broker.status()["accounts"] == []
