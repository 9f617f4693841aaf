"""What the fault tests share: a quick configuration, what an ended broker left behind, what the relay has, disks."""
import contextlib
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import threading

import requests

import harness
from harness import wait_for

# As schema and headers number them: broker/chain.h, broker/outbox.h.
CHAIN_STATES = ("active", "rotating", "uncertain", "dead", "revoking", "revoked", "held")
POST_STATES = ("queued", "sending", "unknown", "accepted", "refused", "expired")

REFRESH, POSTS, POLLS = "/auth/token/refresh", "/api/v1/messages", "/messages/poll"
MANY = 1000000
QUICK = {"posts_per_minute": MANY, "refreshes_per_minute": MANY, "logins_per_minute": MANY, "unknown_wait_seconds": 1,
         "retry_after_end_seconds": 1, "poll_timeout_seconds": 5}


def config(**relay):
    """A broker whose budgets are never spent and that waits a second where others wait ten or more."""
    return "relay {\n" + "".join(f"  {key} = {value}\n" for key, value in {**QUICK, **relay}.items()) + "}\n"


def make_broker(folder, fake=None, keep=False, **relay):
    broker = harness.Broker(folder, config=config(**relay))
    if fake:
        broker.login(fake, keep=keep)
    return broker


def counts(fake):
    return fake.state()["counts"]


def length(fake, topic):
    return next((t["length"] for t in fake.state()["topics"] if t["topic"] == topic), 0)


def hold(fake, path, method="POST"):
    """The next request there waits for fake.control("release")."""
    fake.control("faults", do="hold", method=method, path=path)


def wait_held(fake, seconds=20):
    wait_for(lambda: fake.state()["held"], seconds, "a held request")


def can_trace():
    return shutil.which("strace") and subprocess.run(["strace", "-o", "/dev/null", "true"]).returncode == 0


def wait_drained(broker, seconds=40):
    def drained():
        outbox = broker.status()["outbox"]
        return not outbox["queued"] + outbox["sending"] + outbox["unknown"]

    wait_for(drained, seconds, "an empty outbox")


def wait_events(broker, kind, seconds=20):
    """The texts of the events of a kind, once there are some."""
    return wait_for(lambda: events(broker, kind), seconds, f"event {kind}")


def events(broker, kind):
    return [e["text"] for e in broker.status()["events"] if e["kind"] == kind]


def ask(fake, method, path, **options):
    """A request straight to the relay, by a login of its own beside the broker's."""
    login = requests.post(fake.url + "/auth/login", timeout=10, data={
        "username": harness.USER, "password": harness.PASSWORD, "grant_type": "password"})
    return requests.request(method, fake.url + path, timeout=10, **options,
                            headers={"Authorization": f"Bearer {login.json()['access_token']}"})


def relays_messages(broker, fake, topic):
    """Every message of the topic in the relay's order, asked of the relay itself with a real token."""
    messages, cursor, token = [], None, None

    def page():
        """Tokens may live for three seconds only."""
        nonlocal token
        token = token or broker.run("token", "main", check=False).stdout.strip()
        answer = requests.get(f"{fake.url}/api/v1/topics/{topic}/messages", timeout=10,
                              params={"limit": 100, "order": "asc", **({"cursor": cursor} if cursor else {})},
                              headers={"Authorization": f"Bearer {token}"})
        if answer.status_code == 401:
            token = None
        assert answer.status_code in (200, 401, 404), answer.text
        return answer.status_code != 401 and [answer.json().get("messages", [])]

    while True:
        [found] = wait_for(page, what="a token that the relay accepts")
        if not found:
            return messages
        messages += found
        cursor = found[-1]["message_id"]


def first_copies(items):
    return list(dict.fromkeys(items))


@contextlib.contextmanager
def database_of(broker, log_bytes=None):
    """The database of an ended or stopped broker, from a copy; of its log only the first so many bytes."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("relay-broker.db", "relay-broker.db-wal"):
            if (broker.state / name).exists():
                shutil.copy(broker.state / name, folder)
        if log_bytes is not None:
            os.truncate(pathlib.Path(folder) / "relay-broker.db-wal", log_bytes)
        with contextlib.closing(sqlite3.connect(pathlib.Path(folder) / "relay-broker.db")) as db:
            yield db


def begun(broker):
    """The topics whose start is known: who polls without a cursor gets what is stored after that."""
    with database_of(broker) as db:
        return {name for (name,) in db.execute("SELECT name FROM topic WHERE cursor IS NOT NULL")}


def left_behind(broker):
    """The database that an ended broker left: (states of its chains, {state: number of posts})."""
    with database_of(broker) as db:
        chains = [CHAIN_STATES[state] for (state,) in db.execute("SELECT state FROM chain ORDER BY id")]
        posts = {POST_STATES[state]: n for state, n in db.execute("SELECT state, count(*) FROM post GROUP BY state")}
    return chains, posts


def sentence(text):
    """Checks that a text is made for a reader, and returns it."""
    text = text.strip()
    assert len(text.split()) >= 4 and "\n" not in text and text.isprintable(), text
    for wrong in ("(null)", "%s", "errno", "RB_", "eyJ"):
        assert wrong not in text, text
    return text


def complaint(result, status=1):
    """What a command that failed says: one sentence on standard error."""
    assert result.returncode == status, result.stdout + result.stderr
    assert result.stderr.startswith("relay-broker: "), result.stderr
    return sentence(result.stderr.removeprefix("relay-broker: "))


class Background(threading.Thread):
    """A call under way; result() waits for it."""

    def __init__(self, call, *args, **named):
        super().__init__(daemon=True)
        self.call, self.args, self.named = call, args, named
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.call(*self.args, **self.named)
        except Exception as error:  # noqa: BLE001
            self.error = error

    def result(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive(), "it has not ended"
        if self.error:
            raise self.error
        return self.value


class Together:
    """Plays that mostly wait, all under way at once; each is asked for its result by name."""

    def __init__(self):
        self.plays = {}

    def start(self, name, play, *args):
        self.plays[name] = Background(play, *args)

    def result(self, name, seconds=600):
        return self.plays[name].result(seconds)

    def join(self, seconds=600):
        for play in self.plays.values():
            play.join(seconds)


class Mount:
    """A mounted folder; MountRefused where the machine does not permit it."""

    def __init__(self, folder, *argv):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *argv, str(self.folder)], capture_output=True, text=True)
        if done.returncode != 0:
            raise MountRefused(done.stderr.strip())

    def stop(self):
        """Somebody may still be in it after a test that failed."""
        if subprocess.run(["umount", str(self.folder)], capture_output=True).returncode:
            subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True)


class MountRefused(Exception):
    pass


class SmallDisk(Mount):
    def __init__(self, folder, kib):
        super().__init__(folder, "-t", "tmpfs", "-o", f"size={kib}k,mode=700", "none")
        self.ballast = self.folder / "ballast"

    def fill(self, but_kib=0):
        """Takes all the room that is left, but so much."""
        fd = os.open(self.ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (4096, 1):
                while True:
                    try:
                        os.write(fd, b"x" * size)
                    except OSError:
                        break
            os.ftruncate(fd, max(0, os.fstat(fd).st_size - but_kib * 1024))
        finally:
            os.close(fd)

    def free(self):
        self.ballast.unlink(missing_ok=True)


FULL = {"error": "DISK_FULL", "message": "The disk is full; nothing was stored. Try again when there is room."}
LATER = {"Prefer": "respond-async"}


def exhaust(disk, broker):
    """No room on the disk, and none in the database's files either: the smallest post is refused. The numbers of those
    that were taken."""
    disk.fill()
    taken, refused = [], 0
    while refused < 5:
        answer = broker.post("filler", {"n": len(taken), "x": "x" * 2000}, headers=LATER)
        if answer.status_code == 507:
            assert answer.json() == FULL and int(answer.headers["Retry-After"]) > 0
            refused += 1
            continue
        refused = 0
        assert answer.status_code == 202, answer.text
        taken.append(len(taken))
        assert len(taken) < 5000
    answer = broker.post("filler", {}, headers=LATER)
    assert (answer.status_code, answer.json()) == (507, FULL)
    return taken


def numbers(broker, fake, topic):
    return [m["payload"]["n"] for m in relays_messages(broker, fake, topic)]
