"""Ways in (D1 to D4, D6, D7): who may come, by which door, and to what. Each test names its rule."""
import json
import os
import pathlib
import socket
import stat
import subprocess

import pytest
import requests

import upstream
from harness import BROKER, Broker, FakeRelay, Process, UnixAdapter, free_port, wait_for
from markers import rows
from users import NOBODY, as_user, setpriv

MESSAGE = json.dumps({"topic": "t", "payload": {}})


def test_d1_root_is_let_in(shared):
    assert as_user(0, shared.broker.port)[0] == 200


def test_d2_a_caller_that_exits_at_once_is_nobody(shared, topic):
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
    wait_for(lambda: not (outbox := shared.broker.status()["outbox"])["queued"] + outbox["sending"] + outbox["unknown"])
    assert upstream.length(shared.fake, "x") == 0


@pytest.mark.parametrize("policy", ["uids = any", "uids = {65534}", "uids = 65534", "uids = {nobody}", "group = 65534"])
def test_d1_a_door_lets_in_whom_it_names(open_folder, fake, policy):
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


def test_d1_a_door_of_uids_still_lets_in_root_and_the_daemons_user(open_folder, fake):
    port = free_port()
    broker = Broker(open_folder, config=f'door tools {{\n listen = "127.0.0.1:{port}"\n uids = {{65534}}\n}}\n')
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
    broker.stop()


def test_d1_a_unix_socket_may_be_the_default_door(tmp_path, fake, topic):
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


def test_d3_a_socket_left_behind_by_kill_9_is_replaced_and_one_in_use_is_not(tmp_path, fake):
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


def test_d4_the_admin_socket_is_closed_to_other_users(open_folder, fake):
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


def test_d4_the_admin_face_is_on_no_other_door(shared):
    for path in ("/admin/status", "/admin/accounts/main/token", "/admin/accounts/main/logout"):
        assert requests.get(shared.broker.url + path, timeout=10).status_code == 404
        assert requests.post(shared.broker.url + path, json={}, timeout=10).status_code == 404
    assert shared.broker.account()["state"] == "active"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_d3_a_door_taken_by_another_process_keeps_the_broker_from_starting_and_is_named(tmp_path, address):
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run([BROKER, "run", "--state", tmp_path / "state", "--keys", tmp_path / "keys", "--listen",
                                 f"127.0.0.1:{port}", "--listen", f"[::1]:{port}"], capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert f"port {port} is already in use by process {os.getpid()} of uid {os.getuid()}" in result.stderr
    assert address in result.stderr


@pytest.mark.parametrize("listen", ["0.0.0.0:7420", "[::]:7420", "192.0.2.1:7420", "example.org:7420", "127.0.0.1", "7420",
                                    "127.0.0.1:99999", "127.0.0.1:x", "unix:", "unix:relative", ""])
def test_d3_a_door_is_on_loopback_or_a_unix_socket(tmp_path, listen):
    result = subprocess.run([BROKER, "run", "--state", tmp_path / "state", "--keys", tmp_path / "keys", "--listen", listen],
                            capture_output=True, text=True, timeout=20)
    assert result.returncode == 2 and "--help" in result.stderr


def test_d4_d6_a_door_serves_only_its_accounts_topics_and_faces(tmp_path):
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


def test_d6_a_placeholder_of_one_door_is_none_at_another(tmp_path, fake):
    port = free_port()
    broker = Broker(tmp_path, config=f'door tools {{\n listen = "127.0.0.1:{port}"\n}}\n')
    broker.login(fake)
    sessions = broker.status()["sessions"]["open"]
    token = broker.placeholder()
    assert requests.post(f"http://127.0.0.1:{port}/auth/logout", timeout=10,
                         headers={"Authorization": f"Bearer {token}"}).status_code == 204
    assert broker.status()["sessions"]["open"] == sessions + 1
    broker.stop()


@pytest.mark.parametrize("others, served", [([], "alice"), (["third"], None)], ids=["one account left", "two left"])
def test_d6_a_door_that_serves_an_account_no_more_refuses_its_placeholders(tmp_path, others, served):
    """Renewed they are as unknown ones: for the door's only account, or for none."""
    users = {name: name + "'s password" for name in ("alice", "bob", "carol")}
    fake = FakeRelay(tmp_path, users=tuple(users.items()))
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def door(*accounts):
        return f'door tools {{\n listen = "127.0.0.1:{port}"\n accounts = {{{", ".join(accounts)}}}\n}}\n'

    def me():
        return requests.get(url + "/auth/me", headers={"Authorization": "Bearer " + tokens["access_token"]}, timeout=10)

    def refresh():
        return requests.post(url + "/auth/token/refresh", json={"refresh_token": tokens["refresh_token"]}, timeout=10)

    broker = Broker(tmp_path, config=door("first", "second"))
    for name, user in zip(("first", "second", "third"), users):
        broker.login(fake, name, user, users[user])
    tokens = requests.post(url + "/auth/login", data={"username": "bob", "password": "x"}, timeout=10).json()
    assert me().json()["username"] == "bob" and refresh().status_code == 200
    broker.stop()
    broker.config.write_text(door("first", *others))
    broker.start()
    assert me().status_code == 401
    if served:
        assert requests.get(url + "/auth/me", timeout=10,
                            headers={"Authorization": "Bearer " + refresh().json()["access_token"]}).json()["username"] == served
    else:
        assert refresh().status_code == 401
    broker.stop()
    fake.stop()


def test_d6_a_key_of_one_door_is_none_at_another(tmp_path, fake, topic):
    port = free_port()
    broker = Broker(tmp_path, config=f'door tools {{\n listen = "127.0.0.1:{port}"\n}}\n')
    broker.login(fake)
    for url in (broker.url, f"http://127.0.0.1:{port}"):
        answer = requests.post(url + "/api/v1/messages", json={"topic": topic, "payload": {"at": url}}, timeout=20,
                               headers={"Idempotency-Key": "k"})
        assert answer.status_code == 201
    assert upstream.length(fake, topic) == 2
    broker.stop()


def test_d7_a_proxy_in_the_environment_is_ignored(tmp_path, fake, topic, monkeypatch):
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


# --- D1: the group; D2: one look, at accept ---

def test_d1_members_of_the_group_relay_broker_are_let_in(tmp_path, fake):
    """Its own user database, seen by the daemon alone."""
    users = {"passwd": "member:x:4711:4711::/:/bin/false\nfirst:x:4713:4242::/:/bin/false\nother:x:4712:4712::/:/bin/false\n",
             "group": "relay-broker:x:4242:member\n"}
    for name, more in users.items():
        (tmp_path / name).write_text(pathlib.Path("/etc", name).read_text() + more)
    mounts = " && ".join(f"mount --bind {tmp_path / name} /etc/{name}" for name in users)
    broker = Broker(tmp_path, wrapper=["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"])
    broker.login(fake)
    assert {uid: as_user(uid, broker.port)[0] for uid in (4711, 4712, 4713, NOBODY)} == {4711: 200, 4712: 403, 4713: 200, NOBODY: 403}
    broker.stop()


HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_d2_who_calls_is_looked_up_once_at_accept_so_a_connection_stays_its_makers(shared):
    """Handing a connection on neither opens a door nor shuts one."""
    with socket.create_connection(("127.0.0.1", shared.broker.port)) as of_root:
        of_root.sendall(HEALTH)
        assert b" 200 " in of_root.recv(65536)
        code = f"import socket\ns = socket.socket(fileno={of_root.fileno()})\ns.sendall({HEALTH!r})\nprint(s.recv(99))"
        result = subprocess.run([*setpriv(NOBODY), "/usr/bin/python3", "-c", code], pass_fds=[of_root.fileno()], cwd="/",
                                capture_output=True, text=True, timeout=20)
        assert " 200 " in result.stdout, result
    ours, theirs = socket.socketpair()
    code = (f"import socket\nway = socket.socket(fileno={theirs.fileno()})\n"
            f"s = socket.create_connection(('127.0.0.1', {shared.broker.port}))\nsocket.send_fds(way, [b'x'], [s.fileno()])\nway.recv(1)")
    with subprocess.Popen([*setpriv(NOBODY), "/usr/bin/python3", "-c", code], pass_fds=[theirs.fileno()], cwd="/"), ours, theirs:
        _, (fd, *_), _, _ = socket.recv_fds(ours, 1, 1)
        with socket.socket(fileno=fd) as of_nobody:
            of_nobody.settimeout(20)
            of_nobody.sendall(HEALTH)
            assert b" 403 " in of_nobody.recv(65536)
        ours.sendall(b"x")


# --- D3: whose port it is ---

def test_d3_a_door_that_another_user_holds_stops_the_start_and_the_user_is_named(tmp_path):
    port = free_port()
    code = f"import socket, time\ns = socket.create_server(('::1', {port}), family=socket.AF_INET6)\nprint('up', flush=True)\ntime.sleep(60)"
    with subprocess.Popen([*setpriv(NOBODY), "/usr/bin/python3", "-c", code], stdout=subprocess.PIPE, cwd="/") as holder:
        assert holder.stdout.readline() == b"up\n"
        result = subprocess.run([BROKER, "run", "--state", tmp_path / "state", "--keys", tmp_path / "keys", "--listen",
                                 f"127.0.0.1:{port}", "--listen", f"[::1]:{port}"], capture_output=True, text=True, timeout=20)
        holder.kill()
    assert result.returncode == 1 and f"process {holder.pid} of uid {NOBODY}" in result.stderr, result.stderr
    assert "ready" not in result.stdout


# Tries to listen on port 7420 of each host beside the broker; prints where it could.
TAKE = """
import socket
for host in %s:
    for option in (None, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            if option:
                s.setsockopt(socket.SOL_SOCKET, option, 1)
            if host == "::":
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.bind((host, 7420))
            s.listen()
            print(host, option)
        except OSError:
            pass
        s.close()
"""


@pytest.mark.parametrize("v6", [True, False], ids=["with_v6", "without_v6"])
def test_d3_the_default_door_leaves_localhost_to_nobody_else(tmp_path, v6):
    """In a network of its own, where port 7420 is free."""
    prepare = "ip link set lo up" + ("" if v6 else " && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
    process = Process(["unshare", "--net", "sh", "-c", f'{prepare} && exec "$@"', "sh", BROKER, "run", "--state",
                       tmp_path / "state", "--keys", tmp_path / "keys"], tmp_path / "log")

    def ready():
        assert process.alive(), process.text()
        return "ready" in process.text()

    wait_for(ready)
    assert "listening on http://127.0.0.1:7420" in process.text()
    assert ("listening on http://[::1]:7420" in process.text()) == v6
    hosts = ("127.0.0.1", "0.0.0.0", *(("::1", "::") if v6 else ()))
    result = subprocess.run(["nsenter", "--net", f"--target={process.popen.pid}", *setpriv(NOBODY), "/usr/bin/python3", "-c",
                             TAKE % (hosts,)],
                            capture_output=True, text=True, cwd="/", timeout=20)
    assert result.returncode == 0 and result.stdout == "", result
    assert process.stop() == 0


def test_d3_d7_the_documents_say_127_0_0_1_and_no_proxy():
    top = pathlib.Path(__file__).parents[2]
    texts = {path: path.read_text() for path in (top / "README.md", top / "conf" / "relay-broker.conf")}
    assert not any("//localhost" in text for text in texts.values())
    assert "Write 127.0.0.1, not `localhost`" in texts[top / "README.md"] and "any password will do" in texts[top / "README.md"]
    assert "NO_PROXY=127.0.0.1" in texts[top / "README.md"]
    unit = (top / "packaging" / "relay-broker.socket").read_text()
    assert "ListenStream=127.0.0.1:7420" in unit and "ListenStream=[::1]:7420" in unit
    assert "relay-broker.socket" in (top / "packaging" / "relay-broker.service").read_text()


# --- D4: the admin face has a server of its own; D5: what a GET does; D6: what a door allows ---

def test_d4_a_door_that_is_full_leaves_the_admin_face_open(tmp_path, fake):
    broker = Broker(tmp_path, config="limits {\n connections = 16\n user_percent = 100\n}\n")
    broker.login(fake)
    crowd = [socket.create_connection(("127.0.0.1", broker.port), 20) for _ in range(40)]
    wait_for(lambda: broker.status()["http"]["connections"] >= 16)
    with pytest.raises(requests.RequestException):
        requests.get(broker.url + "/health", timeout=0.5)
    assert broker.account()["state"] == "active"
    assert broker.run("token", "main").stdout.strip()
    for s in crowd:
        s.close()
    wait_for(lambda: requests.get(broker.url + "/health", timeout=10).status_code == 200)
    broker.stop()


def test_d5_a_get_leases_moves_and_spends_nothing(broker, topic):
    post = broker.post(topic, {"n": 1}).json()["message_id"]
    bearer = broker.placeholder()
    assert len(broker.poll(topic, {topic: "0-0"}, bearer=bearer)["messages"]) == 1
    before = rows(broker)
    for path in ("/health", "/ready", "/metrics", "/v1/status", "/v1/outbox/1", f"/v1/outbox/{post}", "/auth/me", "/auth/sessions",
                 "/auth/login", "/auth/logout", "/auth/token/refresh", "/api/v1/topics", f"/api/v1/topics/{topic}",
                 f"/api/v1/topics/{topic}/messages", "/api/v1/messages", "/messages/poll", "/messages/poll/stats", "/v1/outbox"):
        for query in ("", f"?topic={topic}&limit=1&cursor=0-0&order=asc&since=0-0&ack=1"):
            requests.get(broker.url + path + query, headers={"Authorization": f"Bearer {bearer}"}, timeout=20)
            requests.get(broker.url + path + query, timeout=20)
    assert rows(broker) == before


@pytest.mark.parametrize("policy, status", [("", 403), ("topic_changes = false", 403), ("topic_changes = true", 200)])
def test_d6_topics_are_changed_and_deleted_only_where_the_door_says_so(tmp_path, fake, topic, policy, status):
    port = free_port()
    broker = Broker(tmp_path, config=f'door tools {{\n listen = "127.0.0.1:{port}"\n {policy}\n}}\n')
    broker.login(fake)
    assert broker.post(topic, {}).status_code == 201
    url = f"http://127.0.0.1:{port}/api/v1/topics/{topic}"
    assert requests.put(url, json={"description": "x"}, timeout=20).status_code == status
    assert requests.delete(url, timeout=20).status_code == (204 if status == 200 else status)
    # The default door is for whoever runs the broker.
    assert requests.put(f"{broker.url}/api/v1/topics/{topic}", json={"description": "x"}, timeout=20).status_code in (200, 404)
    broker.stop()
