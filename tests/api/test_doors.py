"""Ways in (D1 to D8): who may come, by which door, and to what."""
import json
import os
import socket
import stat
import subprocess

import pytest
import requests

import upstream
from harness import BROKER, Broker, FakeRelay, Process, UnixAdapter, free_port, wait_for

NOBODY = 65534
GET = """
import json, socket, sys
where, path, method, body = sys.argv[1:5]
s = socket.socket(socket.AF_UNIX if where.startswith("/") else socket.AF_INET)
try:
    s.connect(where if where.startswith("/") else ("127.0.0.1", int(where)))
except PermissionError:
    print("closed"); sys.exit()
s.sendall(f"{method} {path} HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n".encode())
s.sendall((f"Content-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}" if body else "\\r\\n").encode())
data = b""
while chunk := s.recv(65536):
    data += chunk
print(data.split(b" ", 2)[1].decode()); print(data.partition(b"\\r\\n\\r\\n")[2].decode())
"""


@pytest.fixture
def open_folder(tmp_path):
    """A folder that other users may walk into."""
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/") and folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


def as_user(uid, where, path="/health", method="GET", body="", groups="--clear-groups"):
    """The status and body that a process of that user gets."""
    result = subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", groups, "/usr/bin/python3", "-c", GET,
                             str(where), path, method, body], capture_output=True, text=True, timeout=20, cwd="/")
    assert result.returncode == 0, result.stderr
    status, _, text = result.stdout.partition("\n")
    return (status if status == "closed" else int(status)), text


MESSAGE = json.dumps({"topic": "t", "payload": {}})


def test_another_user_is_refused_everywhere(shared):
    before = shared.fake.state()["counts"]["posts"]
    for path, method, body in (("/health", "GET", ""), ("/metrics", "GET", ""), ("/v1/status", "GET", ""),
                               ("/auth/me", "GET", ""), ("/api/v1/messages", "POST", MESSAGE), ("/nothing", "GET", "")):
        status, text = as_user(NOBODY, shared.broker.port, path, method, body)
        assert status == 403 and "not open to your user" in text
    assert shared.fake.state()["counts"]["posts"] == before


def test_root_is_let_in(shared):
    assert as_user(0, shared.broker.port)[0] == 200


def test_a_caller_that_exits_at_once_is_nobody(shared, topic):
    """It posts and ends before anybody can look who it was (D2): refused, or seen in time as who it is."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", shared.broker.port)) as s:
            body = json.dumps({"topic": topic, "payload": {}})
            s.sendall(f"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
    result = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/python3", "-c",
                             "import socket, os\nfor _ in range(50):\n s = socket.create_connection(('127.0.0.1', %d))\n"
                             " s.sendall(b'POST /api/v1/messages HTTP/1.1\\r\\nHost: localhost\\r\\n"
                             "Content-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%s')\n s.close()\nos._exit(0)" % (
                                 shared.broker.port, len(MESSAGE), MESSAGE.replace('"t"', '"x"'))], timeout=20, cwd="/")
    assert result.returncode == 0
    assert shared.broker.post(topic, {"last": 1}).status_code in (201, 202)
    wait_for(lambda: shared.broker.status()["http"]["connections"] <= 2)
    assert upstream.length(shared.fake, "x") == 0


@pytest.mark.parametrize("policy", ["uids = any", "uids = {65534}", "uids = 65534", "uids = {nobody}", "group = 65534"])
def test_a_door_lets_in_whom_it_names(open_folder, fake, policy):
    port, path = free_port(), open_folder / "tools.sock"
    broker = Broker(open_folder, config=f'door tools {{\n listen = {{"127.0.0.1:{port}", "unix:{path}"}}\n {policy}\n}}\n')
    broker.login(fake)
    assert as_user(NOBODY, port)[0] == 200
    assert as_user(NOBODY, path)[0] == 200
    assert as_user(NOBODY, port, "/api/v1/messages", "POST", MESSAGE)[0] == 201
    assert as_user(NOBODY, broker.port)[0] == 403
    assert as_user(1, port)[0] == (200 if "any" in policy else 403)
    assert as_user(1, path)[0] == (200 if "any" in policy else 403)
    status = broker.run("status").stdout
    door = next(d for d in broker.status()["doors"] if d["name"] == "tools")
    assert ("EVERY LOCAL USER" in status) == ("any" in policy) == (door["uids"] == "any")
    assert ("uids = any" in broker.process.text()) == ("any" in policy)
    broker.stop()


def test_a_door_of_uids_still_lets_in_root_and_the_daemons_user(open_folder, fake):
    port = free_port()
    broker = Broker(open_folder, config=f'door tools {{\n listen = "127.0.0.1:{port}"\n uids = {{65534}}\n}}\n')
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
    broker.stop()


def test_a_unix_socket_may_be_the_default_door(tmp_path, fake, topic):
    path = tmp_path / "door.sock"
    process = Process([BROKER, "run", "--state", str(tmp_path / "state"), "--keys", str(tmp_path / "keys"), "--listen",
                       f"unix:{path}"], tmp_path / "log")
    wait_for(lambda: "ready" in process.text())
    broker = Broker(tmp_path, start=False)
    broker.process = process
    broker.login(fake)
    with requests.Session() as session:
        session.mount("http://localhost", UnixAdapter(path))
        answer = session.post("http://localhost/api/v1/messages", json={"topic": topic, "payload": {"n": 1}}, timeout=20)
        assert answer.status_code == 201
        assert session.get("http://localhost/health", headers={"Origin": "null"}, timeout=10).status_code == 403
    assert f"unix:{path}" in process.text()
    broker.stop()
    assert not path.exists()


def test_a_socket_left_behind_by_kill_9_is_replaced_and_one_in_use_is_not(tmp_path, fake):
    path = tmp_path / "tools.sock"
    broker = Broker(tmp_path, config=f'door tools {{\n listen = "unix:{path}"\n}}\n')
    broker.kill()
    assert path.exists()
    broker.start()
    folder = tmp_path / "other"
    folder.mkdir()
    other = Broker(folder, config=f'door tools {{\n listen = "unix:{path}"\n}}\n', start=False)
    result = subprocess.run(other.argv(), capture_output=True, text=True, timeout=20)
    assert result.returncode == 1 and str(path) in result.stderr
    broker.stop()


def test_the_admin_socket_is_closed_to_other_users(open_folder, fake):
    broker = Broker(open_folder)
    broker.login(fake)
    assert stat.S_IMODE(broker.state.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE((broker.state / "admin.sock").stat().st_mode) == 0o600
    broker.state.chmod(0o755)
    assert as_user(NOBODY, broker.state / "admin.sock", "/admin/status") == ("closed", "")
    (broker.state / "admin.sock").chmod(0o666)
    assert as_user(NOBODY, broker.state / "admin.sock", "/admin/status")[0] == 403
    assert as_user(NOBODY, broker.state / "admin.sock", "/admin/accounts/main/token", "POST")[0] == 403
    broker.stop()


def test_the_admin_face_is_on_no_other_door(shared):
    for path in ("/admin/status", "/admin/accounts/main/token", "/admin/accounts/main/logout"):
        assert requests.get(shared.broker.url + path, timeout=10).status_code == 404
        assert requests.post(shared.broker.url + path, json={}, timeout=10).status_code == 404
    assert shared.broker.account()["state"] == "active"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_door_taken_by_another_process_keeps_the_broker_from_starting_and_is_named(tmp_path, address):
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run([BROKER, "run", "--state", tmp_path / "state", "--keys", tmp_path / "keys", "--listen",
                                 f"127.0.0.1:{port}", "--listen", f"[::1]:{port}"], capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert f"port {port} is already in use by process {os.getpid()} of uid {os.getuid()}" in result.stderr
    assert address in result.stderr


@pytest.mark.parametrize("listen", ["0.0.0.0:7420", "[::]:7420", "192.0.2.1:7420", "example.org:7420", "127.0.0.1", "7420",
                                    "127.0.0.1:99999", "127.0.0.1:x", "unix:", "unix:relative", ""])
def test_a_door_is_on_loopback_or_a_unix_socket(tmp_path, listen):
    result = subprocess.run([BROKER, "run", "--state", tmp_path / "state", "--keys", tmp_path / "keys", "--listen", listen],
                            capture_output=True, text=True, timeout=20)
    assert result.returncode == 2 and "--help" in result.stderr


def test_a_door_serves_only_its_accounts_topics_and_faces(tmp_path):
    fake = FakeRelay(tmp_path, users=(("alice", "alice's password"), ("bob", "bob's password")))
    wire, v1 = free_port(), free_port()
    broker = Broker(tmp_path, config=f'''
door wire-only {{
 listen = "127.0.0.1:{wire}"
 accounts = {{first}}
 faces = {{wire}}
 post_topics = {{"job_*"}}
 poll_topics = {{"status*", "?"}}
}}
door v1-only {{
 listen = "127.0.0.1:{v1}"
 accounts = {{second}}
 faces = {{broker}}
}}
''')
    broker.login(fake, "first", "alice", "alice's password")
    broker.login(fake, "second", "bob", "bob's password")
    url, other = f"http://127.0.0.1:{wire}", f"http://127.0.0.1:{v1}"

    def post(topic):
        return requests.post(url + "/api/v1/messages", json={"topic": topic, "payload": {}}, timeout=20)

    def poll(*topics):
        return requests.post(url + "/messages/poll", json={"topics": topics, "timeout": 1}, timeout=20)

    assert requests.get(url + "/auth/me", timeout=10).json()["username"] == "alice"
    assert requests.post(url + "/auth/login", data={"username": "second", "password": "x"}, timeout=10).status_code in (200, 401)
    assert post("job_setup").status_code == 201
    assert post("status").status_code == 403
    assert requests.post(url + "/api/v1/messages/bulk", timeout=10, json={
        "messages": [{"topic": "job_1", "payload": {}}, {"topic": "x", "payload": {}}]}).status_code == 403
    assert poll("status_update", "x").status_code == 200 and poll("status", "job_setup").status_code == 403
    assert requests.get(url + "/api/v1/topics/job_setup/messages", timeout=10).status_code == 403
    for method, more in (("PUT", {"json": {"description": "x"}}), ("DELETE", {})):
        answer = requests.request(method, url + "/api/v1/topics/job_setup", timeout=10, **more)
        assert answer.status_code == 403 and answer.json()["detail"]
    assert requests.get(url + "/v1/status", timeout=10).status_code == 404
    assert requests.get(other + "/auth/me", timeout=10).status_code == 404
    answer = requests.post(other + "/v1/outbox", json={"topic": "t", "payload": {}}, timeout=20)
    assert answer.status_code == 201
    assert requests.post(other + "/v1/outbox?account=first", json={"topic": "t", "payload": {}}, timeout=20).status_code == 404
    assert [(t["username"], t["topic"]) for t in fake.state()["topics"]] in (
        [("alice", "job_setup"), ("bob", "t")], [("bob", "t"), ("alice", "job_setup")])
    for name in ("wire-only", "v1-only"):
        assert any(d["name"] == name for d in broker.status()["doors"])
    broker.stop()
    fake.stop()


def test_a_placeholder_of_one_door_is_none_at_another(tmp_path, fake):
    port = free_port()
    broker = Broker(tmp_path, config=f'door tools {{\n listen = "127.0.0.1:{port}"\n}}\n')
    broker.login(fake)
    sessions = broker.status()["sessions"]["open"]
    token = broker.placeholder()
    assert requests.post(f"http://127.0.0.1:{port}/auth/logout", timeout=10,
                         headers={"Authorization": f"Bearer {token}"}).status_code == 204
    assert broker.status()["sessions"]["open"] == sessions + 1
    broker.stop()


def test_a_key_of_one_door_is_none_at_another(tmp_path, fake, topic):
    port = free_port()
    broker = Broker(tmp_path, config=f'door tools {{\n listen = "127.0.0.1:{port}"\n}}\n')
    broker.login(fake)
    for url in (broker.url, f"http://127.0.0.1:{port}"):
        answer = requests.post(url + "/api/v1/messages", json={"topic": topic, "payload": {"at": url}}, timeout=20,
                               headers={"Idempotency-Key": "k"})
        assert answer.status_code == 201
    assert upstream.length(fake, topic) == 2
    broker.stop()


def test_a_proxy_in_the_environment_is_ignored(tmp_path, fake, topic, monkeypatch):
    """A listener stands for the proxy: nothing may come there (D7)."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        names = {n: url for n in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
        monkeypatch.delenv("NO_PROXY"), monkeypatch.delenv("no_proxy")
        broker = Broker(tmp_path, env=names | {"NO_PROXY": "", "no_proxy": ""}, start=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        broker.start()
        broker.login(fake)
        assert broker.post(topic, {}).status_code == 201
        assert broker.run("post", topic, "--payload", "{}").stdout.startswith("accepted ")
        assert broker.run("post", topic, "--payload", "{}", "--url", broker.url).stdout.startswith("accepted ")
        assert len(broker.poll(topic, {topic: "0-0"})["messages"]) == 3
        with pytest.raises(BlockingIOError):
            proxy.accept()
    broker.stop()
