"""The command line: its options, its exit status, its sentences, its JSON."""
import concurrent.futures
import json
import os
import subprocess

import pytest
import requests

import upstream
from harness import BROKER, PASSWORD, USER, Broker, free_port, wait_for

COMMANDS = {"run": ["--config", "--listen"],
            "login": ["--relay", "--username", "--password-stdin", "--keep-password", "--import", "--replace"],
            "logout": ["--json"], "status": ["--json"], "post": ["--payload", "--key", "--ttl", "--wait", "--account", "--json"],
            "poll": ["--since", "--timeout", "--follow", "--json"], "token": ["--json"],
            "fake-relay": ["--listen", "--flavour", "--user", "--access-token-seconds", "--no-rate-limits"]}


def run(*argv, stdin="", env=None):
    return subprocess.run([BROKER, *map(str, argv)], input=stdin, capture_output=True, text=True, timeout=30,
                          env={**os.environ, **(env or {})})


def complaint(result, status):
    """The one sentence on standard error."""
    assert result.returncode == status, result.stdout + result.stderr
    lines = [line for line in result.stderr.split("\n") if line.startswith("relay-broker: ")]
    assert len(lines) == 1 and len(result.stderr.strip().split("\n")) == 1, result.stderr
    assert lines[0].isprintable() and len(lines[0]) > 25
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_every_option(command):
    result = run(command, "--help")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith(f"Usage: relay-broker {command}")
    for option in [*COMMANDS[command], "--state", "--keys", "--help"]:
        assert option in result.stdout
    assert all(len(line) <= 120 for line in result.stdout.split("\n"))


def test_the_list_of_commands_names_each():
    for argv in (["help"], ["--help"], ["-h"]):
        result = run(*argv)
        assert result.returncode == 0 and all(f"  {command} " in result.stdout for command in COMMANDS)
    assert run("version").stdout == run("--version").stdout and run("version").stdout.startswith("relay-broker ")


@pytest.mark.parametrize("argv", [
    [], ["nonsense"], ["run", "--nonsense"], ["run", "operand"], ["run", "--state"], ["status", "x"], ["status", "--json=1"],
    ["login"], ["login", "a", "b"], ["login", "main"], ["login", "main", "--relay"], ["login", "main", "--password-stdin"],
    ["login", "main", "--relay", "http://127.0.0.1:1", "--username", "x"], ["login", "main", "--import", "f", "--username", "x"],
    ["login", "main", "--import", "f", "--import-wait", "46"], ["login", "main", "--import", "f", "--import-wait", "x"],
    ["logout"], ["token"], ["post"], ["post", "t", "u"], ["post", "t", "--ttl", "0"], ["post", "t", "--wait", "61"],
    ["poll"], ["poll", "t", "--timeout", "0"],
    ["poll", "t", "--since", "x"], ["poll", *"abcdefghijklmnopqrstu"], ["fake-relay", "--listen", "0.0.0.0:1"],
    ["fake-relay", "--flavour", "x"], ["fake-relay", "--user", "x"], ["fake-relay", "--access-token-seconds", "0"]],
    ids=lambda argv: " ".join(argv) or "nothing")
def test_wrong_usage_is_exit_2_with_a_sentence(tmp_path, argv):
    state = ["--state", tmp_path] if argv and argv[0] not in ("nonsense", "fake-relay") and argv[-1] not in (
        "--state", "--relay") else []
    assert "--help" in (line := complaint(run(*argv, *state), 2)) or "relay-broker help" in line


@pytest.mark.parametrize("argv", [["status"], ["status", "--json"], ["logout", "main"], ["token", "main"],
                                  ["login", "main", "--relay", "http://127.0.0.1:1", "--username", "x", "--password-stdin"],
                                  ["post", "t", "--payload", "{}", "--url", "http://127.0.0.1:1"],
                                  ["poll", "t", "--url", "http://127.0.0.1:1"]], ids=" ".join)
def test_without_a_daemon_it_is_exit_3(tmp_path, argv):
    result = run(*argv, "--state", tmp_path, stdin="password\n")
    complaint(result, 3)
    assert result.stdout == ""


def test_the_state_folder_may_come_from_the_environment(broker):
    assert run("status", env={"RELAY_BROKER_STATE": str(broker.state)}).returncode == 0


def test_login_with_a_wrong_password_is_exit_1_and_not_repeated(tmp_path, fake):
    broker = Broker(tmp_path)
    result = broker.run("login", "main", "--relay", fake.url, "--username", USER, "--password-stdin", stdin="wrong\n", check=False)
    assert "assword" in complaint(result, 1) or "credentials" in result.stderr
    counts = fake.state()["counts"]
    assert (counts["refused_401"], counts["logins"]) == (1, 0)
    assert broker.status()["accounts"] == [] or broker.account()["state"] != "active"
    broker.login(fake)
    assert broker.account()["state"] == "active"
    broker.stop()


def test_login_at_a_relay_that_is_not_there_is_a_failure(tmp_path):
    broker = Broker(tmp_path)
    result = broker.run("login", "main", "--relay", f"http://127.0.0.1:{free_port()}", "--username", "x", "--password-stdin",
                        stdin="x\n", check=False)
    assert "connect" in complaint(result, 1).lower() or "reach" in result.stderr.lower()
    broker.stop()


@pytest.mark.parametrize("url", ["http://relay.example.org", "http://192.0.2.1:8000", "http://127.0.0.2", "ftp://127.0.0.1",
                                 "127.0.0.1:8000", "https://", "https://u:p@relay.example.org", "https://relay.example.org/path",
                                 "https://relay.example.org?x=1", "https://relay.example.org#x", "https://relay.example.org:0",
                                 "https://rel ay", "https://[::1", "http://127.0.0.1.evil.example", "http://localhost@evil.example"])
def test_a_relay_url_that_would_show_tokens_or_means_nothing_is_refused(shared, url):
    result = shared.broker.run("login", "other", "--relay", url, "--username", "x", "--password-stdin", stdin="x\n", check=False)
    assert complaint(result, 1)
    assert [a["name"] for a in shared.broker.status()["accounts"]] == ["main"]


def test_another_user_needs_replace(tmp_path, fake):
    fake.control("user", username="bob", password="bob's password")
    broker = Broker(tmp_path)
    broker.login(fake)
    result = broker.run("login", "main", "--relay", fake.url, "--username", "bob", "--password-stdin", stdin="bob's password\n",
                        check=False)
    assert "--replace" in complaint(result, 1) or "replace" in result.stderr
    assert broker.account()["username"] == USER
    broker.login(fake, user="bob", password="bob's password", replace=True)
    assert broker.account()["username"] == "bob"
    wait_for(lambda: {u["username"]: u["live_tokens"] for u in fake.state()["users"]}[USER] == 0)
    broker.stop()


def test_status_is_readable_and_its_json_is_one_line(broker, fake):
    text = broker.run("status").stdout
    for word in ("relay-broker", "DOORS", "main", "active", USER, fake.url, f"127.0.0.1:{broker.port}"):
        assert word in text
    assert "null" not in text and "{" not in text and "?" not in text.replace("?account", "")
    result = broker.run("status", "--json").stdout
    assert result.count("\n") == 1 and result.endswith("\n")
    assert json.loads(result)["accounts"][0]["name"] == "main"


def test_every_json_answer_is_one_object_a_line(tmp_path, fake, topic):
    broker = Broker(tmp_path)
    outputs = [broker.run("login", "main", "--relay", fake.url, "--username", USER, "--password-stdin", "--json",
                          stdin=PASSWORD).stdout]
    outputs.append(broker.run("post", topic, "--payload", '{"text": "a\\nb"}', "--json").stdout)
    outputs.append(broker.run("token", "main", "--json").stdout)
    polled = broker.run("poll", topic, "--since", f"{topic}=0-0", "--json").stdout
    outputs.append(broker.run("logout", "main", "--json").stdout)
    for output in (*outputs, polled):
        assert output.endswith("\n") and output.count("\n") == 1
        assert isinstance(json.loads(output), dict)
    assert json.loads(outputs[0])["state"] == "active"
    assert set(json.loads(outputs[2])) >= {"access_token", "expires_in"}
    assert json.loads(polled)["payload"] == {"text": "a\nb"}
    assert json.loads(outputs[3])["state"] == "logged_out"
    broker.stop()


def test_post_and_poll_carry_messages(broker, fake, topic):
    assert broker.run("post", topic, "--payload", '{"n": 1}').stdout.startswith("accepted ")
    assert broker.run("post", topic, stdin='{"n": 123456789012345678901234567890}').stdout.startswith("accepted ")
    lines = broker.run("poll", topic, "--since", f"{topic}=0-0", "--json").stdout.strip().split("\n")
    assert [json.loads(line)["payload"] for line in lines] == [{"n": 1}, {"n": 123456789012345678901234567890}]
    text = broker.run("poll", topic, "--since", f"{topic}=0-0").stdout
    assert text.count("\n") == 2 and topic in text and "123456789012345678901234567890" in text
    assert broker.run("poll", "silent", "--timeout", "1").stdout == ""


def test_a_key_on_the_command_line_is_one_message(broker, fake, topic):
    outputs = {broker.run("post", topic, "--payload", "{}", "--key", "k").stdout for _ in range(2)}
    assert len(outputs) == 1 and upstream.length(fake, topic) == 1
    complaint(broker.run("post", topic, "--payload", '{"n": 2}', "--key", "k", check=False), 1)


def test_a_post_that_waits_is_said_to_be_queued(quick, fake, topic):
    fake.control("faults", do="status", status=503, count=0)
    result = quick.run("post", topic, "--payload", "{}", "--wait", "0")
    assert result.stdout.startswith("queued outbox-")
    fake.control("clear")
    upstream.wait_until_stored(fake, topic, 1)


def test_d8_messages_of_strangers_cannot_write_to_the_terminal(broker, fake, topic):
    upstream.publish(broker, fake, topic, '{"s": "\\u001b[2J \\u202e \\u0007", "raw": "\u202e\u009b2J"}')
    result = broker.run("poll", topic, "--since", f"{topic}=0-0")
    assert result.stdout.count("\n") == 1 and result.stdout.strip("\n").isprintable()


@pytest.mark.parametrize("payload", ["", "[]", "{", "5", '{"a": "\\ud800"}', "{} {}"])
def test_a_payload_that_is_no_object_is_a_failure(shared, topic, payload):
    complaint(shared.broker.run("post", topic, "--payload", payload, check=False), 1)
    complaint(shared.broker.run("post", topic, stdin=payload, check=False), 1)
    assert upstream.length(shared.fake, topic) == 0


@pytest.mark.parametrize("argv", [["post", "a/b", "--payload", "{}"], ["poll", "a/b", "--timeout", "1"]], ids=" ".join)
def test_a_bad_topic_is_a_failure_with_a_sentence(shared, argv):
    result = shared.broker.run(*argv, check=False)
    assert result.returncode in (1, 2) and result.stderr.startswith("relay-broker: ") and "topic" in result.stderr


@pytest.mark.parametrize("argv", [["logout", "nobody"], ["token", "nobody"], ["post", "t", "--payload", "{}", "--account", "nobody"],
                                  ["poll", "t", "--account", "nobody", "--timeout", "1"]], ids=" ".join)
def test_an_account_that_is_not_there_is_a_failure(shared, argv):
    result = shared.broker.run(*argv, check=False)
    complaint(result, 1)


def test_a_closed_standard_output_is_a_failure(broker):
    with open("/dev/full", "w") as full:
        result = subprocess.run([BROKER, "status", "--state", broker.state], stdout=full, stderr=subprocess.PIPE, text=True,
                                timeout=20)
    assert result.returncode == 1 and "annot be written" in result.stderr


def test_a_poll_that_follows_ends_when_its_messages_cannot_be_printed(broker, topic):
    """Going on would leave out what was lost."""
    assert broker.post(topic, {"n": 1}).status_code == 201
    with open("/dev/full", "w") as full:
        result = subprocess.run([BROKER, "poll", topic, "--follow", "--since", f"{topic}=0-0", "--state", broker.state], stdout=full,
                                stderr=subprocess.PIPE, text=True, timeout=20)
    assert result.returncode == 1 and "The messages could not be printed." in result.stderr


# --- logging out (P5) ---

def test_after_a_logout_nothing_works_and_the_relay_has_no_live_token(broker, fake, topic):
    token = broker.placeholder()
    assert broker.post(topic, {}).status_code == 201
    broker.run("logout", "main")
    bearer = {"Authorization": f"Bearer {token}"}
    for headers in ({}, bearer):
        answer = broker.post(topic, {}, headers)
        assert answer.status_code == 401 and "logged out" in answer.json()["detail"]
    for path in ("/auth/me", "/api/v1/topics", f"/api/v1/topics/{topic}/messages"):
        assert requests.get(broker.url + path, headers=bearer, timeout=10).status_code == 401
    assert requests.post(broker.url + "/messages/poll", json={"topics": [topic]}, headers=bearer, timeout=10).status_code == 401
    assert requests.post(broker.url + "/auth/login", data={"username": "main", "password": "x"}, timeout=10).status_code == 401
    assert requests.post(broker.url + "/v1/outbox", json={"topic": topic, "payload": {}}, timeout=10).status_code == 401
    complaint(broker.run("token", "main", check=False), 1)
    wait_for(lambda: fake.state()["users"][0]["live_tokens"] == 0)
    wait_for(lambda: broker.account()["chains_revoking"] == 0)
    assert broker.account()["state"] == "logged_out"
    assert upstream.length(fake, topic) == 1


def test_a_logout_survives_kill_9_and_reaches_a_relay_that_was_down(broker, fake):
    fake.control("faults", do="cut", count=0)
    broker.run("logout", "main")
    broker.kill()
    broker.start()
    assert broker.post("t", {}).status_code == 401
    assert fake.state()["users"][0]["live_tokens"] == 1
    fake.control("clear")
    wait_for(lambda: fake.state()["users"][0]["live_tokens"] == 0, 60)


def test_a_logout_ends_parked_polls(broker, topic):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(requests.post, broker.url + "/messages/poll", json={"topics": [topic], "timeout": 60}, timeout=70)
        wait_for(lambda: broker.parked() == 1)
        broker.run("logout", "main")
        assert waiting.result(10).status_code == 503


def test_after_a_logout_a_new_login_works_and_the_queue_is_kept(quick, fake, topic):
    assert quick.post(topic, {"n": 0}).status_code == 201
    fake.control("faults", do="status", status=503, path="/api/v1/", count=0)
    for n in (1, 2):
        assert quick.post(topic, {"n": n}, {"Prefer": "respond-async"}).status_code == 202
    quick.run("logout", "main")
    fake.control("clear")
    quick.login(fake)
    upstream.wait_until_stored(fake, topic, 3)
    assert upstream.payloads(quick, fake, topic) == [{"n": n} for n in range(3)]


# --- importing a login of the Python client (R8) ---

@pytest.fixture
def credentials(tmp_path, fake):
    folder = tmp_path / "client"
    folder.mkdir(mode=0o700)
    path = folder / "relay_credentials.json"
    tokens = requests.post(fake.url + "/auth/login", timeout=10,
                           data={"username": USER, "password": PASSWORD, "grant_type": "password"}).json()
    path.write_text(json.dumps({"relay_url": fake.url, "refresh_token": tokens["refresh_token"],
                                "issued_at": "2026-01-01T00:00:00+00:00"}))
    path.chmod(0o600)
    return path


def import_it(broker, path, *more, check=True):
    return broker.run("login", "main", "--import", str(path), "--import-wait", "0", *more, check=check)


def test_an_import_takes_the_login_and_leaves_a_placeholder(tmp_path, fake, credentials, topic):
    broker = Broker(tmp_path)
    real = json.loads(credentials.read_text())["refresh_token"]
    import_it(broker, credentials)
    left = json.loads(credentials.read_text())
    assert set(left) >= {"relay_url", "refresh_token", "issued_at"} and left["relay_url"] == broker.url
    assert left["refresh_token"] != real and credentials.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in credentials.parent.iterdir()] == [credentials.name]
    wait_for(lambda: broker.account()["generation"] >= 1 and broker.account()["state"] == "active")
    answer = requests.post(left["relay_url"] + "/auth/token/refresh", json={"refresh_token": left["refresh_token"]}, timeout=10)
    assert answer.status_code == 200
    assert broker.post(topic, {}, {"Authorization": "Bearer " + answer.json()["access_token"]}).status_code in (201, 202)
    upstream.wait_until_stored(fake, topic, 1)
    counts = fake.state()["counts"]
    assert counts["replays"] == 0 and counts["refreshes_ok"] == 1
    assert broker.account()["username"] == USER
    broker.stop()


def test_an_import_waits_for_others_who_still_write_the_file(tmp_path, fake, credentials):
    """Somebody rotates meanwhile and writes the file again: that newer token is the one to take."""
    broker = Broker(tmp_path)
    old = json.loads(credentials.read_text())
    process = subprocess.Popen([BROKER, "login", "main", "--import", str(credentials), "--import-wait", "10", "--state",
                                str(broker.state), "--keys", str(broker.keys)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: not credentials.exists())
    new = requests.post(fake.url + "/auth/token/refresh", json={"refresh_token": old["refresh_token"]}, timeout=10).json()
    fresh = credentials.with_suffix(".new")
    fresh.write_text(json.dumps(old | {"refresh_token": new["refresh_token"]}))
    fresh.chmod(0o600)
    fresh.rename(credentials)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    wait_for(lambda: broker.account()["state"] == "active")
    assert json.loads(credentials.read_text())["relay_url"] == broker.url
    assert broker.post("t", {}).status_code in (201, 202)
    upstream.wait_until_stored(fake, "t", 1)
    assert fake.state()["counts"]["replays"] == 0
    broker.stop()


def test_a_placeholder_is_never_imported(tmp_path, fake, credentials):
    broker = Broker(tmp_path)
    import_it(broker, credentials)
    before = credentials.read_text()
    assert "placeholder" in complaint(import_it(broker, credentials, check=False), 1)
    assert credentials.read_text() == before
    broker.stop()


def make_symlink(path):
    real = path.with_suffix(".real")
    path.rename(real)
    path.symlink_to(real)


BAD_FILES = {
    "symbolic_link": (make_symlink, "symbolic link"),
    "hard_link": (lambda p: os.link(p, p.with_suffix(".2")), "one name"),
    "group_writable_folder": (lambda p: p.parent.chmod(0o770), "chmod go-w"),
    "world_writable_folder": (lambda p: p.parent.chmod(0o777), "chmod go-w"),
    "group_writable_file": (lambda p: p.chmod(0o660), "chmod go-w"),
    "missing": (lambda p: p.unlink(), "No such file"),
    "folder": (lambda p: (p.unlink(), p.mkdir()), "file"),
    "pipe": (lambda p: (p.unlink(), os.mkfifo(p)), "file"),
    "no_json": (lambda p: p.write_text("hello"), "credentials file"),
    "empty": (lambda p: p.write_text(""), "credentials file"),
    "other_json": (lambda p: p.write_text('{"a": 1}'), "credentials file"),
    "bad_token": (lambda p: p.write_text('{"relay_url": "http://127.0.0.1:1", "refresh_token": "x\\n"}'), "credentials file"),
    "large": (lambda p: p.write_text(" " * 100_000 + "{}"), "too large"),
    "imported_before": (lambda p: (p.parent / (p.name + ".imported")).write_text("x"), "earlier import"),
}


@pytest.mark.parametrize("spoil, words", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_not_safe_or_no_login_is_refused_and_left_alone(tmp_path, fake, credentials, spoil, words):
    broker = Broker(tmp_path)
    spoil(credentials)
    before = sorted(p.name for p in credentials.parent.iterdir())
    assert words in complaint(import_it(broker, credentials, check=False), 1)
    assert sorted(p.name for p in credentials.parent.iterdir()) == before
    assert fake.state()["counts"]["refreshes"] == 0 and broker.status()["accounts"] == []
    broker.stop()


def test_an_import_for_another_relay_than_the_accounts_is_refused(tmp_path, fake, credentials):
    broker = Broker(tmp_path)
    broker.login(fake)
    fields = json.loads(credentials.read_text())
    credentials.write_text(json.dumps(fields | {"relay_url": "http://127.0.0.1:1"}))
    assert complaint(import_it(broker, credentials, check=False), 1)
    assert json.loads(credentials.read_text())["relay_url"] == "http://127.0.0.1:1"
    assert broker.account()["state"] == "active"
    broker.stop()
