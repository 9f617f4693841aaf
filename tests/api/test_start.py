"""Starts that fail, each with a sentence and exit status 1; and stops."""
import concurrent.futures
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess

import pytest
import requests

from harness import BROKER, Broker, free_port, wait_for


def start(folder, *more, config=None):
    argv = [BROKER, "run", "--state", str(folder / "state"), "--keys", str(folder / "keys"), "--listen",
            f"127.0.0.1:{free_port()}", *map(str, more)]
    if config is not None:
        argv += ["--config", str(config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20)


def refused(result, *words):
    assert result.returncode == 1, result.stdout + result.stderr
    lines = result.stderr.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("relay-broker: ") and lines[0].isprintable(), result.stderr
    for word in words:
        assert word in lines[0], (word, lines[0])
    assert "listening" not in result.stdout


# line, key or word in question
BAD_CONFIGS = {
    "unknown_key": ("log_level = info\nnonsense = 1\n", 2, "nonsense"),
    "unknown_key_in_a_section": ("limits {\n connections = 100\n nonsense = 1\n}\n", 3, "nonsense"),
    "unknown_section": ("nonsense {\n a = 1\n}\n", 1, "nonsense"),
    "not_a_number": ("limits {\n\n connections = many\n}\n", 3, "connections"),
    "too_small": ("limits {\n connections = 1\n}\n", 2, "connections"),
    "too_large": ("relay {\n poll_timeout_seconds = 61\n}\n", 2, "poll_timeout_seconds"),
    "negative": ("outbox {\n rows = -1\n}\n", 2, "rows"),
    "float": ("outbox {\n rows = 1.5\n}\n", 2, "rows"),
    "huge": ("outbox {\n rows = 99999999999999999999\n}\n", 2, "rows"),
    "empty_value": ('state = ""\n', 1, "state"),
    "wrong_word": ("log_level = loud\n", 1, "log_level"),
    "not_loopback": ('listen = {"0.0.0.0:7420"}\n', 1, "0.0.0.0:7420"),
    "door_without_listen": ("door x {\n uids = any\n}\n", None, "listen"),
    "door_without_name": ("door {\n uids = any\n}\n", 1, "door"),
    "two_doors_of_one_name": ('door x {\n listen = "unix:/tmp/a"\n}\ndoor x {\n listen = "unix:/tmp/b"\n}\n', None, "x"),
    "door_admin": ('door admin {\n listen = "unix:/tmp/a"\n}\n', None, "admin"),
    "door_name": ('door "a b" {\n listen = "unix:/tmp/a"\n}\n', None, "a b"),
    "unknown_user": ('door x {\n listen = "unix:/tmp/a"\n uids = {nobody-at-all}\n}\n', 3, "nobody-at-all"),
    "unknown_group": ('door x {\n listen = "unix:/tmp/a"\n group = no-group-at-all\n}\n', 3, "no-group-at-all"),
    "unknown_face": ('door x {\n listen = "unix:/tmp/a"\n faces = {admin}\n}\n', 3, "admin"),
    "bad_mode": ('door x {\n listen = "unix:/tmp/a"\n socket_mode = 999\n}\n', 3, "socket_mode"),
    "bad_bool": ('door x {\n listen = "unix:/tmp/a"\n topic_changes = maybe\n}\n', 3, "topic_changes"),
    "open_brace": ("log_level = info\nlimits {\n connections = 100\n", 2, "closed"),
    "open_quote": ('log_level = info\nstate = "/tmp\n', 2, "closed"),
    "extra_brace": ("log_level = info\n}\n", 2, "}"),
    "nul": ("log_level = info\n\0", None, "zero byte"),
    "no_value": ("log_level =\n", 2, "end of file"),
    "nonsense": ("hello world\n", 1, "hello"),
}


@pytest.mark.parametrize("text, line, word", BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_configuration_error_names_file_line_and_key(tmp_path, text, line, word):
    config = tmp_path / "broker.conf"
    config.write_text(text)
    refused(start(tmp_path, config=config), f"{config}:{line}:" if line else str(config), word)
    assert not (tmp_path / "state").exists()


def test_a_configuration_that_is_a_folder_missing_or_others_may_write_is_refused(tmp_path):
    refused(start(tmp_path, config=tmp_path), "folder", str(tmp_path))
    refused(start(tmp_path, config=tmp_path / "missing"), "No such file", "missing")
    config = tmp_path / "broker.conf"
    config.write_text("log_level = info\n")
    config.chmod(0o666)
    refused(start(tmp_path, config=config), "chmod go-w")
    config.chmod(0o600)
    os.chown(config, 65534, 65534)
    refused(start(tmp_path, config=config), "65534")
    config.unlink()
    os.mkfifo(config)
    refused(start(tmp_path, config=config), "not a file")


def test_the_shipped_configuration_is_understood_also_with_every_key_in(tmp_path):
    text = (pathlib.Path(__file__).parents[2] / "conf" / "relay-broker.conf").read_text()
    head = text.partition("# Doors:")[0]
    keys = "\n".join(line.replace("# ", "", 1) if " = " in line and line.strip().startswith("# ") and
                     line.split(" = ")[0].strip("# ").isidentifier() else line for line in head.split("\n"))
    assert keys.count(" = ") > 15
    keys = keys.replace("/var/lib/relay-broker-keys", str(tmp_path / "keys")).replace("/var/lib/relay-broker", str(tmp_path / "state"))
    broker = Broker(tmp_path, config=keys)
    assert requests.get(broker.url + "/health", timeout=10).status_code == 200
    broker.stop()


def database(broker):
    return next(p for p in broker.state.iterdir() if p.is_file() and p.read_bytes()[:15] == b"SQLite format 3")


@pytest.fixture
def stopped(tmp_path, fake):
    """A state folder with a login in it."""
    broker = Broker(tmp_path)
    broker.login(fake)
    broker.stop()
    return broker


def test_what_is_no_database_is_refused_and_left_alone(tmp_path, stopped):
    path = database(stopped)
    path.write_bytes(b"hello" * 1000)
    refused(start(tmp_path), "not a database", str(path))
    assert path.read_bytes() == b"hello" * 1000


def test_a_newer_database_is_refused_and_left_alone(tmp_path, stopped):
    path = database(stopped)
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 1000")
    db.close()
    refused(start(tmp_path), "1000", "newer")
    with sqlite3.connect(path) as db:
        assert db.execute("pragma user_version").fetchone() == (1000,)
    db.close()


def test_a_database_of_another_program_is_refused(tmp_path, stopped):
    path = database(stopped)
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("pragma application_id = 4711")
        db.execute("create table other(x)")
    db.close()
    path.chmod(0o600)
    refused(start(tmp_path), "another program")


def test_a_database_that_is_a_folder_is_refused(tmp_path, stopped):
    path = database(stopped)
    path.unlink()
    path.mkdir()
    refused(start(tmp_path), str(path))


def test_a_state_folder_held_by_another_daemon_is_refused_and_it_is_named(broker, tmp_path):
    refused(start(tmp_path), "Another relay-broker", str(broker.state))
    other = tmp_path / "other"
    other.mkdir()
    # Another state folder with the same keys is as wrong.
    shutil.copytree(broker.state, other / "state", ignore=lambda *_: ["admin.sock"])
    (other / "keys").symlink_to(broker.keys)
    assert start(other).returncode == 1
    assert broker.post("t", {}).status_code == 201


def key_file(broker):
    return next(p for p in broker.keys.iterdir() if p.stat().st_size == 65)


@pytest.mark.parametrize("spoil, word", [
    (lambda p: p.write_text("0" * 64 + "\n"), "key"), (lambda p: p.write_text("short\n"), "key"), (lambda p: p.unlink(), "key"),
    (lambda p: p.chmod(0o644), "0600"), (lambda p: p.parent.chmod(0o777), "0700"), (lambda p: os.chown(p, 65534, 65534), "65534"),
    (lambda p: (p.rename(p.with_suffix(".2")), p.symlink_to(p.with_suffix(".2"))), "symbolic link")],
    ids=["wrong", "short", "missing", "readable", "open_folder", "of_another", "link"])
def test_d9_a_wrong_or_unsafe_key_keeps_it_from_starting_and_is_never_made_anew(tmp_path, stopped, spoil, word):
    path = key_file(stopped)
    text, data = path.read_text(), database(stopped).read_bytes()
    spoil(path)
    refused(start(tmp_path), word)
    assert not path.exists() or path.read_text() in (text, "0" * 64 + "\n", "short\n")
    assert database(stopped).read_bytes() == data


def test_d9_a_key_folder_inside_the_state_folder_is_refused(tmp_path):
    result = subprocess.run([BROKER, "run", "--state", tmp_path / "state", "--keys", tmp_path / "state" / "keys", "--listen",
                             "127.0.0.1:0"], capture_output=True, text=True, timeout=20)
    refused(result, "key")


def test_it_starts_again_after_each_refusal(tmp_path, stopped, fake):
    path = key_file(stopped)
    text = path.read_text()
    path.write_text("1" * 64 + "\n")
    refused(start(tmp_path), "key")
    path.write_text(text)
    stopped.start()
    assert stopped.post("t", {}).status_code == 201
    stopped.stop()


def test_a_graceful_stop_answers_parked_callers_and_costs_no_login(broker, fake):
    with requests.Session() as session:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waiting = pool.submit(session.post, broker.url + "/messages/poll", json={"topics": ["t"], "timeout": 60}, timeout=70)
            wait_for(lambda: broker.parked() == 1)
            broker.stop()
            assert waiting.result(10).status_code == 503
    refreshes = fake.state()["counts"]["refreshes"]
    broker.start()
    assert broker.account()["state"] == "active" and broker.post("t", {}).status_code == 201
    assert fake.state()["counts"]["refreshes"] == refreshes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_stop_it_with_status_0(tmp_path, number):
    broker = Broker(tmp_path)
    broker.process.popen.send_signal(number)
    assert broker.process.wait_end() == 0
