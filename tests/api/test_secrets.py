"""No credential in the clear (P6): real tokens and the password are looked for wherever they must not be."""
import os
import pathlib
import re
import sqlite3
import subprocess

import pytest
import requests

import harness
from harness import Broker, FakeRelay, wait_for

PASSWORD = "planted-Passw0rd-marker-7f3a91"


def test_tokens_and_passwords_are_nowhere_in_the_clear(tmp_path):
    fake = FakeRelay(tmp_path, users=(("alice", PASSWORD),), token_seconds=2)
    broker = Broker(tmp_path, config="log_level = debug\nrelay {\n refreshes_per_minute = 0\n logins_per_minute = 0\n}\n")
    broker.login(fake, user="alice", password=PASSWORD, keep=True)
    tokens = set()

    def rotated():
        tokens.add(broker.run("token", "main", check=False).stdout.strip())
        return broker.account()["generation"] >= 3

    wait_for(rotated, 30, "three generations")
    fake.control("revoke", username="alice")
    # An idle account does nothing by itself: it is asked for a token until the password has made a new login.
    wait_for(lambda: broker.run("token", "main", check=False) and fake.state()["counts"]["logins"] >= 2, 30,
             "a login with the stored password")
    imported = requests.post(fake.url + "/auth/login", timeout=10, data={
        "username": "alice", "password": PASSWORD, "grant_type": "password"}).json()
    answers = [
        broker.post("t", {"sign": "planted-payload"}).text, requests.get(broker.url + "/metrics", timeout=10).text,
        requests.get(broker.url + "/v1/status", timeout=10).text, str(broker.status()),
        requests.post(broker.url + "/auth/token/refresh", json={"refresh_token": imported["refresh_token"]}, timeout=10).text,
        requests.post(broker.url + "/auth/token/refresh", json={"refresh_token": [imported["refresh_token"]]}, timeout=10).text,
        requests.post(broker.url + "/auth/login", data={"username": "x", "password": PASSWORD}, timeout=10).text,
        requests.post(broker.url + "/auth/login", data={"user": "x", "password": PASSWORD}, timeout=10).text,
        requests.get(broker.url + "/auth/me", timeout=10, headers={"Authorization": "Bearer " + imported["access_token"]}).text,
        broker.run("status").stdout, broker.run("status", "--json").stdout]
    wrong = broker.run("login", "two", "--relay", fake.url, "--username", "alice", "--password-stdin", check=False,
                       stdin=PASSWORD + "x\n")
    answers += [wrong.stdout, wrong.stderr]
    markers = {t for t in tokens if t} | {imported["access_token"], imported["refresh_token"], PASSWORD}
    assert len(markers) >= 4 and all(len(m) > 20 for m in markers)
    places = {f"answer {n}": a.encode() for n, a in enumerate(answers)}
    pid = broker.process.popen.pid
    for name in ("environ", "cmdline", "comm"):
        places["/proc/" + name] = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
    broker.kill()
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.name.startswith("fake-"):
            places[str(path)] = path.read_bytes()
    # Payloads are not sealed: that one is found says that the search finds what is there.
    assert any(b"planted-payload" in data for data in places.values())
    for place, data in places.items():
        for marker in markers:
            # A token's last part is enough to know it by.
            for part in {marker, marker.rpartition(".")[2], marker.partition(".")[0] if "-" in marker else marker}:
                if len(part) > 20:
                    assert part.encode() not in data, place
    fake.stop()


def test_files_are_the_daemons_own(tmp_path, fake):
    broker = Broker(tmp_path)
    broker.login(fake)
    for folder in (broker.state, broker.keys):
        assert folder.stat().st_mode & 0o077 == 0, folder
        for path in folder.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
    assert not any("key" == p.name for p in broker.state.iterdir())
    broker.stop()


def test_the_daemon_leaves_no_core_and_its_own_user_cannot_look_into_it(tmp_path, fake):
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*as_nobody, harness.BROKER, "version"], capture_output=True, cwd="/").returncode != 0:
        pytest.skip("another user cannot run the program where it lies")
    broker = Broker(own, wrapper=["prlimit", "--core=unlimited:unlimited", *as_nobody])
    pid = broker.process.popen.pid
    assert pathlib.Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[0] == "65534"
    assert re.search(r"Max core file size +0 +0 ", pathlib.Path(f"/proc/{pid}/limits").read_text())
    for name in ("environ", "mem", "maps"):
        looked = subprocess.run([*as_nobody, "head", "-c", "1", f"/proc/{pid}/{name}"], capture_output=True, cwd="/")
        assert looked.returncode != 0 and looked.stdout == b"", name
    broker.kill()


def test_an_ssl_key_log_is_never_written(tmp_path, fake):
    log = tmp_path / "keys.log"
    broker = Broker(tmp_path, env={"SSLKEYLOGFILE": str(log)})
    broker.login(fake)
    assert not log.exists()
    broker.stop()


def test_after_logout_the_tokens_are_gone_from_the_files_even_sealed(broker, fake):
    """The rows are wiped and the log truncated: the database does not grow a graveyard of sealed tokens."""
    broker.run("logout", "main")
    wait_for(lambda: broker.account()["chains_revoking"] == 0)
    broker.stop()
    database = next(p for p in broker.state.iterdir() if p.read_bytes()[:15] == b"SQLite format 3")
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        for table, column in (("chain", "token"), ("account", "access_token"), ("account", "password")):
            assert db.execute(f"select count(*) from {table} where {column} is not null").fetchone() == (0,)
