"""A service manager hands over a socket and is told how the daemon is doing: systemd's protocol, played by the test."""
import socket
import sys

import requests

import harness

# Binds the door's socket, as descriptor 3, and becomes the daemon.
MANAGER = """
import os, socket, sys
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(door.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="default")
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_d3_a_handed_socket_is_the_door_and_the_manager_hears_of_the_start_and_the_stop(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        broker = harness.Broker(tmp_path, start=False, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        monkeypatch.setattr(broker, "argv", lambda: [
            sys.executable, "-c", MANAGER, str(broker.port), harness.BROKER, "run", "--state", str(broker.state),
            "--keys", str(broker.keys)])
        broker.start()
        assert manager.recv(64) == b"READY=1"
        assert requests.get(broker.url + "/health", timeout=10).status_code == 200
        assert f"listening on http://127.0.0.1:{broker.port}" in broker.process.text()
        broker.stop()
        assert manager.recv(64) == b"STOPPING=1"
