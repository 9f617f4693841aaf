"""One row a fault between broker and relay: what each local caller sees while it lasts, and that all is well after it
without a restart. Nothing that was answered 202 is lost or doubled."""
import dataclasses
import shutil
import signal
import subprocess
import time

import pytest
import requests

import harness
from harness import payloads, wait_for
from trouble import Background, Together, complaint, sentence, wait_drained
from wire import Scene

UNREACHABLE, LOST, FAILED = "the relay cannot be reached: ", "no whole answer of the relay: ", "the relay failed: "
AUTHORITY = "SSL certificate problem: unable to get local issuer certificate; if its authority is your own, log in " \
            "with --ca-file"
NO_LOGIN = "the account main has no login; run relay-broker login"
LOGGED_OUT = "This account was logged out; run relay-broker login to log in again."


@dataclasses.dataclass
class Row:
    """why: the words for what is wrong; the other cells follow from it unless they are given."""
    name: str
    harm: callable
    mend: callable
    why: str
    why_me: str = None          # of the /auth/ calls, whose own words are never passed on
    trouble: bool = True        # relay-broker status and /v1/status complain of the relay
    state: str = "active"
    post: tuple = (202, "queued")
    command: tuple = (0, "queued")
    poll: tuple = (503, "The relay has not said yet where one of these topics ends, so nothing of it can be promised. Try "
                        "again.")
    asked: tuple = None         # GET /api/v1/topics
    me: tuple = None
    login: tuple = None
    options: dict = dataclasses.field(default_factory=dict)
    long: bool = False

    def __post_init__(self):
        self.why_me = self.why_me or self.why
        advice = "" if self.why == NO_LOGIN else " Try again later."
        not_asked = self.why == NO_LOGIN or self.why.startswith(UNREACHABLE)
        told = "The relay could not be asked" if not_asked else "The relay gave no answer to pass on"
        self.asked = self.asked or (503, f"{told}: {self.why}.{advice}")
        self.me = self.me or (503, f"{told}: {self.why_me}.{advice}")
        self.login = self.login or (1, f"The login at {{url}} failed: {self.why_me}.")


def use(name, **options):
    """Another certificate at the relay."""
    def harm(scene):
        if "authority" in options:
            options["authority"] = scene.tls
        scene.wire.use(harness.Tls(scene.folder / "other", **options))

    return harm


def use_the_good_one(scene):
    scene.wire.use(scene.tls)


def without_its_authorities(scene):
    scene.tls.ca.rename(scene.folder / "kept.pem")
    scene.wire.hang_up()


def a_folder_for_its_authorities(scene):
    without_its_authorities(scene)
    scene.tls.ca.mkdir()


def rubbish_for_its_authorities(scene):
    without_its_authorities(scene)
    scene.tls.ca.write_text("no certificate\n")


def others_for_its_authorities(scene):
    without_its_authorities(scene)
    shutil.copy(harness.Tls(scene.folder / "other").ca, scene.tls.ca)


def with_its_authorities(scene):
    if scene.tls.ca.is_dir():
        scene.tls.ca.rmdir()
    (scene.folder / "kept.pem").replace(scene.tls.ca)


def cut(stage):
    def harm(scene):
        scene.wire.cut(stage, count=0)
        scene.wire.hang_up()

    return harm


def answer(**fault):
    def harm(scene):
        for path in "/api", "/messages", "/auth":
            scene.fake.control("faults", count=0, path=path, **fault)

    return harm


def clear(scene):
    scene.fake.control("clear")


def freeze(scene):
    scene.fake.process.popen.send_signal(signal.SIGSTOP)


def thaw(scene):
    scene.fake.process.popen.send_signal(signal.SIGCONT)


def revoke(scene):
    scene.fake.control("revoke", username=harness.USER)
    wait_for(lambda: scene.broker.account()["state"] == "login_required", what="the state login_required")


NAME = "relay.test"


def can_have_a_world_of_its_own():
    return subprocess.run(["unshare", "-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"],
                          capture_output=True).returncode == 0


def in_a_world_of_its_own(folder):
    """The command under which only the broker sees these names."""
    hosts, resolver = folder.parent / f"{folder.name} hosts", folder.parent / f"{folder.name} resolv.conf"
    hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    script = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, str(hosts), str(resolver)]


def forget_the_name(scene):
    """libcurl knows a name for a minute; a broker that starts knows none."""
    hosts = scene.folder.parent / f"{scene.folder.name} hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    scene.wire.hang_up()
    if not scene.long:
        scene.broker.stop()
        scene.broker.start()
        return

    def asked():
        scene.wire.hang_up()
        time.sleep(0.5)
        return requests.get(scene.broker.url + "/api/v1/topics", timeout=30).status_code == 503

    wait_for(asked, 90, "a name that is not known any more")


def know_the_name(scene):
    (scene.folder.parent / f"{scene.folder.name} hosts").write_text(f"127.0.0.1 localhost {NAME}\n")


ROWS = [
    Row("nobody listens", lambda s: s.wire.go_down(), lambda s: s.wire.come_up(), UNREACHABLE + "Connection refused"),
    Row("the name is gone", forget_the_name, know_the_name, UNREACHABLE + f"Could not resolve host: {NAME}",
        options={"host": NAME}),
    Row("another host's certificate", use("name", host="DNS:relay.example.org", authority=None), use_the_good_one,
        UNREACHABLE + "SSL: no alternative certificate subject name matches target host name '127.0.0.1'"),
    Row("an expired certificate", use("expired", days=-1, authority=None), use_the_good_one,
        UNREACHABLE + "SSL certificate problem: certificate has expired; it has to be renewed at the relay"),
    Row("a certificate of tomorrow", use("early", starts=1, authority=None), use_the_good_one,
        UNREACHABLE + "SSL certificate problem: certificate is not yet valid; see whether the clocks are right"),
    Row("an unknown authority", use("unknown"), use_the_good_one, UNREACHABLE + AUTHORITY),
    Row("authorities: no file", without_its_authorities, with_its_authorities,
        UNREACHABLE + "no certificates can be read from {ca}"),
    Row("authorities: no file to be read", a_folder_for_its_authorities, with_its_authorities,
        UNREACHABLE + "no certificates can be read from {ca}"),
    Row("authorities: no certificate", rubbish_for_its_authorities, with_its_authorities,
        UNREACHABLE + "no certificates can be read from {ca}"),
    Row("authorities: somebody else's", others_for_its_authorities, with_its_authorities, UNREACHABLE + AUTHORITY),
    Row("TLS at a plain port", lambda s: s.wire.use(None), use_the_good_one,
        UNREACHABLE + "what answers there does not speak TLS; see whether port and https:// are right"),
    Row("http at a TLS port", lambda s: s.wire.use(harness.Tls(s.folder / "other")), lambda s: s.wire.use(None),
        LOST + "the connection was closed without an answer", options={"secure": False}),
    Row("cut at connect", cut("connect"), lambda s: s.wire.mend(),
        UNREACHABLE + "the connection was closed during the TLS handshake"),
    Row("cut in the handshake", cut("hello"), lambda s: s.wire.mend(),
        UNREACHABLE + "the connection was closed during the TLS handshake"),
    Row("cut after the handshake", cut("handshake"), lambda s: s.wire.mend(),
        LOST + "the connection was closed without an answer"),
    Row("cut after the request", cut("body"), lambda s: s.wire.mend(),
        LOST + "the connection was closed without an answer"),
    Row("cut before the answer", cut("done"), lambda s: s.wire.mend(),
        LOST + "the connection was closed without an answer"),
    Row("cut in the answer", cut("half the answer"), lambda s: s.wire.mend(), LOST + "the answer was cut short"),
    Row("somebody else's page", answer(do="html"), clear,
        LOST + "an answer with status 200 that is not what the relay says to this call"),
    Row("503", answer(do="status", status=503), clear, FAILED + "status 503"),
    Row("429", answer(do="status", status=429, retry_after=1), clear,
        "the relay's rate limit is reached: Rate limit exceeded: 120 per 1 minute",
        why_me="the relay's rate limit is reached", trouble=False,
        login=(1, "The relay allows no more logins from here for now; try again in a minute.")),
    Row("a dead storage", lambda s: s.fake.control("storage", on=False), lambda s: s.fake.control("storage", on=True),
        FAILED + "INTERNAL_ERROR: An internal error occurred", why_me=FAILED + "status 500"),
    Row("frozen", freeze, thaw, LOST + "it took too long", long=True),
    Row("the login revoked", revoke, lambda s: None, NO_LOGIN, trouble=False, state="login_required",
        poll=(503, "The account main has no login at its relay: run relay-broker login."),
        login=(0, "main is logged in."), options={"token_seconds": 8}),
    Row("logged out", lambda s: s.broker.run("logout", "main"), lambda s: None, LOGGED_OUT, trouble=False,
        state="logged_out", post=(401, LOGGED_OUT), command=(1, LOGGED_OUT), poll=(401, LOGGED_OUT),
        asked=(401, LOGGED_OUT), me=(401, LOGGED_OUT), login=(0, "main is logged in.")),
]


def said(response):
    """(status, sentence); of a success what it says of the message: (status, "queued" | "accepted" | "empty")."""
    body = response.json()
    if response.status_code in (201, 202):
        assert body.keys() == {"message_id", "topic", "timestamp"}
        queued = body["message_id"].startswith("outbox-")
        assert queued == (response.status_code == 202) == ("Location" in response.headers)
        return response.status_code, "queued" if queued else "accepted"
    if response.status_code == 200:
        assert body.keys() == {"messages", "has_more"}
        return 200, "messages" if body["messages"] else "empty"
    if response.status_code == 503:
        assert body.keys() == {"error", "message"} and int(response.headers["Retry-After"]) > 0
    else:
        assert body.keys() == {"detail"}
    return response.status_code, sentence(body.get("message") or body["detail"])


def printed(result):
    if result.returncode:
        return result.returncode, complaint(result)
    assert not result.stderr
    return 0, "queued" if result.stdout.startswith("queued outbox-") else result.stdout.strip()


def complaints(broker):
    """What the three places say of the account, at one time: no call ended in between."""
    def read():
        account, shown = broker.account(), broker.run("status").stdout
        told = requests.get(broker.url + "/v1/status", timeout=10).json()["accounts"][0]
        return broker.account()["trouble"] == account["trouble"] and (account, shown, told)

    return harness.wait_for(read, what="a moment without a change")


def look(scene):
    """The cells of a row."""
    broker = scene.broker
    cells = {"post": said(broker.post("t", {"n": 1}, headers={"Prefer": "wait=1"}))}
    cells["command"] = printed(broker.run("post", "t", "--payload", '{"n": 2}', "--wait", "1", "--url", broker.url,
                                          check=False))
    began = time.monotonic()
    calls = {"asked": Background(requests.get, broker.url + "/api/v1/topics", timeout=60),
             "me": Background(requests.get, broker.url + "/auth/me", timeout=60)}
    cells["poll"] = said(requests.post(broker.url + "/messages/poll", json={"topics": ["t"], "timeout": 1}, timeout=60))
    took = time.monotonic() - began
    assert 1 <= took < 5 or cells["poll"][0] != 200, f"a poll of 1 s took {took:.1f} s"
    cells |= {name: said(call.result()) for name, call in calls.items()}
    account, shown, told = complaints(broker)
    assert told["state"] == account["state"] and told["relay_answers"] == (not account["trouble"])
    assert ("RELAY TROUBLE: " + account["trouble"] in shown) == bool(account["trouble"])
    cells |= {"state": account["state"], "trouble": account["trouble"]}
    cells["login"] = printed(scene.login(check=False))
    return cells


def expected(row, scene):
    def full(cell):
        return tuple(part.format(url=scene.url, ca=scene.tls and scene.tls.ca) if isinstance(part, str) else part
                     for part in cell)

    cells = {name: full(getattr(row, name)) for name in ("post", "command", "poll", "asked", "me", "login")}
    trouble = {part.format(ca=scene.tls and scene.tls.ca) for part in (row.why, row.why_me)} if row.trouble else {""}
    return cells | {"state": row.state}, trouble


def recovers(row, scene):
    broker, starts = scene.broker, scene.broker.starts
    wait_drained(broker)
    assert scene.numbers() == ([0, 1, 2] if row.command[0] == 0 else [0])
    got, since = [], {"t": "0-0"}

    def read():
        page = broker.poll("t", since, 20)
        got.extend(p["n"] for p in payloads(page))
        since.update({m["topic"]: m["message_id"] for m in page["messages"]})
        return len(got) >= len(scene.numbers())

    wait_for(read, 90, "every message")
    assert got == scene.numbers()
    wait_for(lambda: requests.get(broker.url + "/api/v1/topics", timeout=30).status_code == 200, 40, "an answer")
    assert "RELAY TROUBLE" not in broker.run("status").stdout and broker.account()["state"] == "active"
    assert broker.starts == starts


def play(folder, row, long):
    options = dict(row.options)
    secure = options.pop("secure", True)
    host = options.get("host")
    if host:
        options["wrapper"] = in_a_world_of_its_own(folder)
    tls = harness.Tls(folder.parent / f"{folder.name} tls", host=f"DNS:{NAME}" if host else "IP:127.0.0.1")
    with Scene(folder, tls if secure else None, **options) as scene:
        scene.long = long
        scene.login()
        assert scene.broker.post("t", {"n": 0}).status_code == 201
        row.harm(scene)
        try:
            cells = look(scene)
            trouble = cells.pop("trouble")
            wanted, troubles = expected(row, scene)
            assert cells == wanted
            assert trouble in troubles
        finally:
            row.mend(scene)
        recovers(row, scene)


@pytest.fixture(scope="module")
def plays(tmp_path_factory, long):
    folder = tmp_path_factory.mktemp("rows")
    together = Together()
    for number, row in enumerate(ROWS):
        if (long or not row.long) and ("host" not in row.options or can_have_a_world_of_its_own()):
            together.start(row.name, play, folder / str(number), row, long)
    yield together
    together.join()


@pytest.mark.parametrize("name", [
    pytest.param(row.name, marks=[pytest.mark.long] if row.long else []) for row in ROWS])
def test_a_local_caller_sees_what_the_row_says_and_all_is_well_after_it(plays, name):
    if name not in plays.plays:
        pytest.skip("this machine permits no mount namespace")
    plays.result(name)
