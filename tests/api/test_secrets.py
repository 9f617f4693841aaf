"""No credential in the clear (P6): real tokens and the password are looked for wherever they must not be."""
import pathlib
import re
import sqlite3

import requests

from harness import Broker, FakeRelay, wait_for

PASSWORD = "planted-Passw0rd-marker-7f3a91"


def test_tokens_and_passwords_are_nowhere_in_the_clear(tmp_path):
    fake = FakeRelay(tmp_path, users=(("alice", PASSWORD),), token_seconds=2)
    broker = Broker(tmp_path, config="log_level = debug\n")
    broker.login(fake, user="alice", password=PASSWORD, keep=True)
    tokens = set()

    def rotated():
        tokens.add(broker.run("token", "main", check=False).stdout.strip())
        return broker.account()["generation"] >= 3

    wait_for(rotated, 30, "three generations")
    fake.control("revoke", username="alice")
    wait_for(lambda: broker.account()["state"] != "active" or broker.account()["chains"] > 1 or
             broker.status()["events"], 30, "the end of the chain")
    imported = requests.post(fake.url + "/auth/login", timeout=10, data={
        "username": "alice", "password": PASSWORD, "grant_type": "password"}).json()
    answers = [
        broker.post("t", {}).text, requests.get(broker.url + "/metrics", timeout=10).text,
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
    assert any(p.endswith("-wal") or p.endswith(".db") or "sqlite" in p for p in places), list(places)
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


def test_no_core_file_and_no_traces_by_others(broker):
    pid = broker.process.popen.pid
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    # A process that is not dumpable has its files in /proc owned by root in any case; its environment is closed to others.
    assert pathlib.Path(f"/proc/{pid}/environ").stat().st_uid == 0


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
