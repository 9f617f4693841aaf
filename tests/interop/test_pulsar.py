"""Pulsar 0.16 with `message_queue_url` at the broker, driven by its client manager, as Galaxy's job runner does it."""
import base64
import json

import pytest
import requests
from pulsar.client.manager import RelayClientManager
from pulsar.client.staging.models import ClientOutputs
from pulsar_relay_client import RelayAuthManager

import harness

JOBS = 10


class Pulsar:
    """A real daemon without a file server."""

    def __init__(self, folder, **options):
        self.folder = folder / "pulsar"
        self.folder.mkdir()
        self.configuration = {"staging_directory": str(self.folder / "staging"), "conda_auto_init": False,
                              "persistence_directory": str(self.folder / "persisted"), "tool_dependency_dir": "none",
                              "relay_long_poll_timeout": 5, **options}
        self.start()

    def start(self):
        packed = base64.b64encode(json.dumps(self.configuration).encode()).decode()
        self.process = harness.Process([harness.PYTHON, "-m", "pulsar.main", "--app_conf_base64", packed],
                                       self.folder / "log", cwd=self.folder)


class Handler:
    """One Galaxy job handler: what its client manager reported, by job."""

    def __init__(self, **options):
        self.statuses = {}
        self.manager = RelayClientManager(**options)

    def listen(self):
        self.manager.ensure_has_status_update_callback(self.update)

    def update(self, payload):
        self.statuses.setdefault(payload["job_id"], []).append(payload)

    def launch(self, job, folder, command):
        client = self.manager.get_client({"jobs_directory": str(folder / "staging")}, job)
        outputs = ClientOutputs(working_directory="/nowhere", metadata_directory="/nowhere")
        client.launch(command, job_config={"job_id": job, "tool_id": "test", "tool_version": "1"},
                      remote_staging={"setup": [], "action_mapper": {"default_action": "none"},
                                      "client_outputs": outputs.to_dict()})

    def completed(self, jobs):
        return all(self.statuses.get(job, [{}])[-1].get("complete") == "true" for job in jobs)


@pytest.fixture
def prefix(topic):
    """The prefix keeps the flavours' and the tests' topics apart."""
    return topic


def daemon_login(peers, folder):
    """The two ways of the daemon's configuration: as README says it, and with a credentials file."""
    if peers.tls:
        return {"message_queue_username": "main", "message_queue_password": "unused"}
    folder.chmod(0o700)
    path = folder / "relay_credentials.json"
    RelayAuthManager(peers.url, harness.USER, harness.PASSWORD, credentials_file=str(path)).get_token()
    return {"message_queue_credentials_file": str(path)}


@pytest.fixture
def pulsar(peers, prefix, tmp_path):
    pulsar = Pulsar(tmp_path, message_queue_url=peers.url, relay_topic_prefix=prefix, **daemon_login(peers, tmp_path))
    url = f"{peers.url}/api/v1/topics/{prefix}_pulsar_capabilities/messages?limit=1&order=desc"

    def snapshot():
        assert pulsar.process.alive(), pulsar.process.text()[-4000:]
        answer = requests.get(url, timeout=20, headers={"Authorization": f"Bearer {peers.broker.placeholder()}"})
        return answer.json()["messages"] if answer.status_code == 200 else None

    pulsar.capabilities = harness.wait_for(snapshot, 60, "the capability snapshot")[0]["payload"]
    yield pulsar
    pulsar.process.kill()


@pytest.fixture
def handler(peers, prefix):
    """Makes handlers: with user name and password, or with a refresh token kept elsewhere."""
    made = []

    def make(**login):
        login = login or {"relay_username": "main", "relay_password": "unused"}
        made.append(Handler(relay_url=peers.url, relay_topic_prefix=prefix, **login))
        return made[-1]

    yield make
    for one in made:
        one.manager.shutdown()


def test_ten_jobs_run_to_the_end_and_every_handler_hears_of_each(peers, pulsar, handler):
    rotated = []
    first = handler()
    second = handler(relay_refresh_token=peers.broker.wire_login()["refresh_token"],
                     on_refresh_token_rotated=rotated.append)
    first.listen()
    second.listen()
    harness.wait_for(lambda: peers.broker.parked() >= 3, 20, "the polls of the daemon and of two handlers")
    jobs = [str(n) for n in range(JOBS)]
    for number, job in enumerate(jobs):
        (first if number % 2 else second).launch(job, pulsar.folder, f"echo this is job {job}")
    for one in (first, second):
        harness.wait_for(lambda: one.completed(jobs), 60, "ten jobs")
        for job in jobs:
            last = one.statuses[job][-1]
            assert last["status"] == "complete" and last["returncode"] == 0, last
            assert f"this is job {job}" in last["stdout"] + last["job_stdout"], last
    assert pulsar.capabilities["published_at"] and len(rotated) == 1
