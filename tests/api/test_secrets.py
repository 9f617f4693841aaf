"""No credential in the clear (P6, D9): real tokens, keys and passwords are looked for wherever they must not be."""
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
import requests

import harness
from conftest import WITHOUT_LIMITS
from harness import Broker, FakeRelay, Tls, UnixAdapter, wait_for
from markers import SANITIZED, Tap, copies, database, files, holds, process_files
from users import NOBODY, runnable, setpriv

PASSWORD, WRONG = "planted-Passw0rd-marker-7f3a91", "planted-Guess-marker-55c0d2e1"
CONFIG = "log_level = debug\n" + WITHOUT_LIMITS


class Planted:
    """A broker in a folder of its own at a relay whose answers are seen; what it said to whom is kept."""

    def __init__(self, folder, tls=None, token_seconds=2):
        self.fake = FakeRelay(folder, users=(("alice", PASSWORD),), token_seconds=token_seconds)
        self.tap = Tap(self.fake, tls)
        (folder / "broker").mkdir()
        self.broker = Broker(folder / "broker", config=CONFIG)
        self.said = {}

    def run(self, *argv, **options):
        result = self.broker.run(*argv, **options)
        if argv[0] != "token":
            self.said[f"output {len(self.said)} of {argv[0]}"] = (result.stdout + result.stderr).encode()
        return result

    def ask(self, method, path, **options):
        answer = requests.request(method, self.broker.url + path, timeout=20, **options)
        self.said[f"answer {len(self.said)} to {method} {path[:30]}"] = str(answer.headers).encode() + answer.content
        return answer

    def login(self, *more, password=PASSWORD, **options):
        return self.run("login", "main", "--relay", self.tap.url, "--username", "alice", "--password-stdin", *more,
                        stdin=password + "\n", **options)

    def rotate(self, count=1):
        """So many new generations: an idle account makes one only when it is asked for a token."""
        wanted = len(self.tap.tokens("refresh_token")) + count
        wait_for(lambda: self.run("token", "main", check=False) and len(self.tap.tokens("refresh_token")) >= wanted, 30)

    def key(self):
        return next(p for p in self.broker.keys.iterdir() if p.stat().st_size == 65)

    def secrets(self):
        named = {"password": PASSWORD, "wrong password": WRONG, "key": self.key().read_text().strip(),
                 "raw key": bytes.fromhex(self.key().read_text())}
        for kind in ("refresh_token", "access_token"):
            named |= {f"{kind} {n}": token for n, token in enumerate(self.tap.tokens(kind))}
        return named

    def look(self):
        """Nothing of it lies anywhere now; the number of places and secrets."""
        for path in ("/health", "/ready", "/metrics", "/v1/status", "/auth/me", "/auth/sessions", "/api/v1/topics"):
            if self.broker.process.alive():
                self.ask("GET", path)
        places = self.said | files(self.broker.folder)
        if self.broker.process.alive():
            self.run("status"), self.run("status", "--json")
            places |= process_files(self.broker.process.popen.pid) | {"status": json.dumps(self.broker.status()).encode()}
        secrets = self.secrets()
        found = {(name, place) for place, data in places.items() for name, secret in secrets.items() if holds(data, secret)}
        # The key file is where a key is; to find it says that the search finds what is there.
        assert found == {("key", str(self.key()))}
        return len(places), len(secrets)

    def stop(self):
        self.fake.stop()
        self.tap.stop()


@pytest.fixture
def planted(tmp_path):
    planted = Planted(tmp_path)
    yield planted
    planted.stop()


def test_d9_p6_no_secret_is_in_the_clear_at_any_time_of_a_login(planted, tmp_path, capsys):
    planted.login("--keep-password")
    planted.look()
    planted.login(password=WRONG, check=False)
    planted.rotate(2)
    planted.ask("POST", "/api/v1/messages", json={"topic": "t", "payload": {"sign": "planted-payload"}})
    planted.look()
    logins = planted.fake.state()["counts"]["logins"]
    planted.fake.control("revoke", username="alice")
    wait_for(lambda: planted.run("token", "main", check=False) and planted.fake.state()["counts"]["logins"] > logins, 30,
             "a login with the stored password")
    planted.broker.kill()
    planted.look()
    planted.broker.start()
    planted.rotate()
    planted.run("logout", "main")
    wait_for(lambda: planted.broker.account()["chains_revoking"] == 0)
    planted.look()

    folder = tmp_path / "broker" / "client"
    folder.mkdir(mode=0o700)
    path = folder / "relay_credentials.json"
    tokens = requests.post(planted.tap.url + "/auth/login", timeout=10,
                           data={"username": "alice", "password": PASSWORD, "grant_type": "password"}).json()
    path.write_text(json.dumps({"relay_url": planted.tap.url, "refresh_token": tokens["refresh_token"],
                                "issued_at": "2026-01-01T00:00:00+00:00"}))
    path.chmod(0o600)
    planted.run("login", "main", "--import", str(path), "--import-wait", "0")
    wait_for(lambda: planted.broker.account()["state"] == "active")
    planted.rotate()
    places = planted.look()
    planted.broker.process.crash_wanted = True
    planted.broker.process.popen.send_signal(signal.SIGSEGV)
    planted.broker.process.popen.wait()
    planted.look()
    with capsys.disabled():
        print(f"\nsecrets: {places[1]} looked for in {places[0]} places")


@pytest.mark.parametrize("scheme", [pytest.param("http", marks=pytest.mark.long), "https"])
def test_d9_secrets_stay_in_locked_memory_that_no_dump_has(tmp_path, capsys, scheme):
    """Every copy in the process, after a login, posts, rotations, guesses and a logout."""
    tls = Tls(tmp_path) if scheme == "https" else None
    planted = Planted(tmp_path, tls)
    pid = planted.broker.process.popen.pid
    counts = {}

    def count(when):
        # A call under way holds a copy until it ends. In a process that nobody asks for anything nothing else changes,
        # so a copy that was left behind stays to be counted.
        deadline = time.monotonic() + 3
        found = copies(pid, planted.secrets())
        while not all(kept for _, kept in found) and time.monotonic() < deadline:
            found = copies(pid, planted.secrets())
        counts[when] = (sum(kept for _, kept in found), [name for name, kept in found if not kept])

    planted.login("--keep-password", *(["--ca-file", str(tls.ca)] if tls else []))
    count("login")
    planted.rotate(3)
    count("rotation")
    for n in range(3):
        planted.broker.post("t", {"n": n})
    planted.ask("POST", "/auth/login", data={"username": "main", "password": WRONG})
    planted.ask("POST", "/auth/token/refresh", json={"refresh_token": planted.tap.tokens("refresh_token")[-1]})
    count("posts")
    planted.run("logout", "main")
    wait_for(lambda: planted.broker.account()["chains_revoking"] == 0)
    count("logout")
    with capsys.disabled():
        print(f"\n{scheme}: " + "; ".join(f"{when}: {kept} locked, {len(stray)} elsewhere"
                                          for when, (kept, stray) in counts.items()))
    # The data key and the access token are there, or the search would prove nothing.
    assert counts["login"][0] > 0
    assert {when: stray for when, (_, stray) in counts.items()} == dict.fromkeys(counts, [])
    planted.broker.stop()
    planted.stop()


# What a signal that dumps core leaves, in the folder where the process runs.
DUMPS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT)


def dumped(process, number):
    """Ends a process by a signal; whether the kernel says that it has dumped core."""
    process.crash_wanted = True
    process.popen.send_signal(number)
    end = os.waitid(os.P_PID, process.popen.pid, os.WEXITED | os.WNOWAIT)
    process.popen.wait()
    assert end.si_status == number
    return end.si_code == os.CLD_DUMPED


def unlimited(folder):
    # A shell's background jobs ignore SIGQUIT, and so would we.
    return ["env", "--default-signal=QUIT", f"--chdir={folder}", "prlimit", "--core=unlimited:unlimited"]


@pytest.mark.parametrize("number", DUMPS, ids=lambda n: n.name)
def test_d9_p6_a_crash_leaves_no_core_although_the_limits_allow_one(tmp_path, fake, number):
    # Sanitizers catch these signals for their reports; the kernel is to deal with them here.
    quiet = {name: "handle_segv=0:handle_abort=0:" + os.environ.get(name, "") for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS")}
    quiet |= {"ASAN_OPTIONS": quiet["ASAN_OPTIONS"] + ":disable_coredump=0"}
    control = harness.Process([*unlimited(tmp_path), "sleep", "60"], tmp_path / "control.log")
    wait_for(lambda: pathlib.Path(f"/proc/{control.popen.pid}/comm").read_text() == "sleep\n")
    assert dumped(control, number), "no process here leaves a core: this shows nothing"
    for path in tmp_path.glob("core*"):
        path.unlink()
    broker = Broker(tmp_path, wrapper=unlimited(tmp_path), env=quiet)
    broker.login(fake)
    # Where root may raise the limit again, the process itself stays undumpable.
    subprocess.run(["prlimit", f"--pid={broker.process.popen.pid}", "--core=unlimited:unlimited"], capture_output=True)
    assert not dumped(broker.process, number)
    assert not [p.name for p in tmp_path.rglob("core*")]
    broker.start()
    assert broker.account()["state"] == "active"
    broker.stop()


def test_d8_d9_no_answer_repeats_a_secret_that_it_was_sent(shared):
    """In every place of a request, to every path of the faces that take credentials, and to the admin face."""
    marker = "planted-secret-" + "7f3a91c4" * 4
    bodies = [f'{{"{field}": {value}}}' for field in ("refresh_token", "password", "username", marker)
              for value in (f'"{marker}"', f'["{marker}"]', f'{{"{marker}": 1}}', f'"{marker}', f'"\\ud800{marker}"', "1")]
    forms = [f"{field}={marker}{rest}" for field in ("username", "password", "grant_type", "refresh_token", marker)
             for rest in ("", "&password=%zz", f"&grant_type={marker}", "&username=main")]
    paths = ["/auth/login", "/auth/token/refresh", "/auth/token/revoke", "/auth/logout", "/auth/me", "/auth/sessions",
             "/auth/register", "/auth/users", f"/auth/{marker}", f"/auth/sessions/{marker}", "/auth/device/code",
             "/auth/device/token", f"/nothing/{marker}", "/health", "/metrics", "/v1/status", f"/v1/{marker}"]
    answers = []

    def ask(session, base, method, path, **options):
        headers = {"Authorization": f"Bearer {marker}"} | options.pop("headers", {})
        answer = session.request(method, base + path, params={"token": marker}, headers=headers, timeout=20, **options)
        answers.append((method, path, answer.status_code))
        assert marker not in answer.text and marker not in str(answer.headers), (method, path, options, answer.text)

    with requests.Session() as session:
        session.mount("http://localhost", UnixAdapter(shared.broker.state / "admin.sock"))
        admin = [f"/admin/accounts/{name}/{call}" for name in ("other", marker) for call in (
            "login", "import", "release", "token", "logout", "probe")]
        for base, targets in ((shared.broker.url, paths), ("http://localhost", [*admin, "/admin/probe", f"/admin/{marker}"])):
            for path in targets:
                ask(session, base, "GET", path)
                ask(session, base, "DELETE", path)
                talks = "/auth" in path or path.endswith(("login", "import", "release"))
                for body in bodies if talks else bodies[:1]:
                    ask(session, base, "POST", path, data=body, headers={"Content-Type": "application/json"})
                if base == shared.broker.url:
                    for form in forms if talks else forms[:1]:
                        ask(session, base, "POST", path, data=form,
                            headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert {status for _, _, status in answers} >= {200, 204, 401, 403, 404, 405, 422}
    assert marker not in shared.broker.process.text() and marker not in json.dumps(shared.broker.status())
    assert not any(marker.encode() in data for data in files(shared.broker.folder).values())


def sealed(broker):
    """Each sealed value in the database, as it lies there."""
    with database(broker) as db:
        return [value for table, column in (("chain", "token"), ("account", "access_token"), ("account", "password"))
                for (value,) in db.execute(f"select {column} from {table} where {column} is not null")]


def test_d9_a_logout_takes_even_the_sealed_values_out_of_the_files(tmp_path, fake):
    """secure_delete, then a truncated log: the database grows no graveyard of sealed tokens, nor after kill -9."""
    broker = Broker(tmp_path)
    broker.login(fake, keep=True)
    values = sealed(broker)
    assert len(values) == 3 and all(any(value in data for data in files(broker.state).values()) for value in values)
    broker.run("logout", "main")
    wait_for(lambda: broker.account()["chains_revoking"] == 0)
    wait_for(lambda: not any(value in data for data in files(tmp_path).values() for value in values), 20,
             "files without the sealed values")
    assert sealed(broker) == []
    broker.kill()
    assert not any(value in data for data in files(tmp_path).values() for value in values)


@pytest.mark.skipif(SANITIZED, reason="sanitizers make mlock do nothing; the unit test of clang's build has this too")
def test_d9_a_failed_mlock_is_an_error_that_says_what_to_do(open_folder):
    own = open_folder / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    argv = ["prlimit", "--memlock=0:0", *setpriv(NOBODY), runnable(open_folder), "run", "--state", own / "state", "--keys", own / "keys", "--listen", f"127.0.0.1:{harness.free_port()}"]
    result = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=20, cwd="/")
    assert result.returncode == 1 and "memlock" in result.stderr and "listening" not in result.stdout


def test_d9_files_are_the_daemons_own(tmp_path, fake):
    broker = Broker(tmp_path)
    broker.login(fake)
    for folder in (broker.state, broker.keys):
        assert folder.stat().st_mode & 0o077 == 0, folder
        for path in folder.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
    assert not any("key" == p.name for p in broker.state.iterdir())
    broker.stop()


def test_d9_an_ssl_key_log_is_never_written(tmp_path, fake):
    log = tmp_path / "keys.log"
    broker = Broker(tmp_path, env={"SSLKEYLOGFILE": str(log)})
    broker.login(fake)
    assert not log.exists()
    broker.stop()


def test_d9_the_documents_say_that_payloads_are_not_encrypted():
    text = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
    assert "payloads are not encrypted" in text
