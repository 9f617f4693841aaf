"""The unmodified pulsar-relay-client, with nothing changed but its relay URL."""
import base64
import json
import subprocess
import textwrap
import threading

import pytest
import requests
from pulsar_relay_client import (CredentialsFile, HttpRelayClient, RefreshTokenRejectedError, RelayAuthManager,
                                 RelayClientError, RelayTransport)

import harness
import workers

FROM_THE_START = "0-0"


@pytest.fixture
def transport(peers):
    """Makes transports with user name and password; closes them at the end."""
    made = []

    def make(**options):
        made.append(RelayTransport(peers.url, harness.USER, harness.PASSWORD, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def safe_folder(tmp_path):
    """The client refuses folders that others may write to."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def credentials_file(peers, safe_folder):
    path = safe_folder / "relay_credentials.json"
    RelayAuthManager(peers.url, harness.USER, harness.PASSWORD, credentials_file=str(path)).get_token()
    return path


@pytest.fixture
def client(peers):
    return HttpRelayClient(peers.url)


@pytest.fixture
def token(peers):
    return peers.broker.placeholder()


def receive(transport, topic, count):
    """The payloads of long polls until there are so many, or one brought nothing."""
    messages = []
    while len(messages) < count:
        page = transport.long_poll([topic], timeout=10)
        if not page:
            break
        messages += page
    return [message["payload"] for message in messages]


def from_the_start(transport, topic):
    transport.set_last_message_id(topic, FROM_THE_START)
    return transport


# posts and polls

def test_a_post_is_answered_with_the_relays_id(peers, transport, topic):
    answer = transport().post_message(topic, {"n": 1}, ttl=60, metadata={"who": "me"})
    assert answer["topic"] == topic and answer["message_id"] and answer["timestamp"]
    stored = peers.relay.get(f"/api/v1/topics/{topic}/messages", peers.relay.login()["access_token"]).json()["messages"]
    assert [(m["message_id"], m["payload"]) for m in stored] == [(answer["message_id"], {"n": 1})]


def test_a_parked_poll_receives_a_post_with_its_metadata_and_nothing_of_the_brokers(peers, transport, topic):
    consumer, producer, received = transport(), transport(), []
    consumer.long_poll([topic], timeout=1)

    def poll():
        received.extend(consumer.long_poll([topic], timeout=30))

    before = peers.broker.parked()
    parked = threading.Thread(target=poll)
    parked.start()
    harness.wait_for(lambda: peers.broker.parked() > before, what="the poll's waiting")
    answer = producer.post_message(topic, {"n": 1}, metadata={"who": "me"})
    parked.join(35)
    assert [(m["topic"], m["message_id"], m["payload"], m["metadata"]) for m in received] == [
        (topic, answer["message_id"], {"n": 1}, {"who": "me"})]


def test_a_poll_without_a_cursor_misses_nothing_that_is_posted_between_two_polls(transport, topic):
    consumer, producer = transport(), transport()
    assert consumer.long_poll([topic], timeout=1) == []
    for n in range(3):
        producer.post_message(topic, {"n": n})
        assert receive(consumer, topic, 1) == [{"n": n}]


def test_a_poll_that_times_out_is_empty(transport, topic):
    assert transport().long_poll([topic], timeout=1) == []


def test_a_bulk_is_accepted_whole_and_arrives_in_order(transport, topic):
    topics = [f"{topic}_{n}" for n in range(3)]
    messages = [{"topic": topics[n % 3], "payload": {"n": n}} for n in range(99)]
    answer = transport().post_bulk_messages(messages)
    assert answer["summary"] == {"total": 99, "accepted": 99, "rejected": 0}
    assert [result["topic"] for result in answer["results"]] == [message["topic"] for message in messages]
    assert {result["status"] for result in answer["results"]} == {"accepted"}
    for k, name in enumerate(topics):
        assert receive(from_the_start(transport(), name), name, 33) == [{"n": n} for n in range(k, 99, 3)]


def test_payloads_come_back_as_they_were_posted(transport, topic):
    payloads = [{"big": 123456789012345678901234567890, "small": -1, "float": 0.1, "list": [1, [2, {"a": None}]]},
                {"unicode": "Größe \u2603 \U0001f600", "nul": "a\u0000b", "quote": "\"\\/\b\f\n\r\t", "": True},
                {"long": "x" * 200_000}, {}]
    for payload in payloads:
        transport().post_message(topic, payload)
    assert receive(from_the_start(transport(), topic), topic, len(payloads)) == payloads


# cursors

PROGRAM = textwrap.dedent("""
    import json, sys
    from pulsar_relay_client import RelayTransport
    url, user, password, cursor, topic, count = sys.argv[1:]
    transport, received = RelayTransport(url, user, password, cursor_path=cursor), []
    while len(received) < int(count):
        received += transport.long_poll([topic], timeout=5)
    print(json.dumps([message["payload"]["n"] for message in received]))
""")


def receive_in_a_process(peers, cursor, topic, count):
    argv = [harness.PYTHON, "-c", PROGRAM, peers.url, harness.USER, harness.PASSWORD, str(cursor), topic, str(count)]
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_a_cursor_file_continues_in_the_next_process(peers, transport, topic, tmp_path):
    cursor = tmp_path / "cursor.json"
    cursor.write_text(json.dumps({topic: FROM_THE_START}))
    producer = transport()
    for n in range(3):
        producer.post_message(topic, {"n": n})
    assert receive_in_a_process(peers, cursor, topic, 3) == [0, 1, 2]
    for n in range(3, 5):
        producer.post_message(topic, {"n": n})
    assert receive_in_a_process(peers, cursor, topic, 2) == [3, 4]


def test_a_cursor_from_before_the_broker_is_understood(peers, transport, topic, tmp_path):
    """A program that moves to the broker keeps the cursor file that it had with the relay."""
    bearer = {"Authorization": "Bearer " + peers.relay.login()["access_token"]}
    ids = [requests.post(peers.relay.url + "/api/v1/messages", json={"topic": topic, "payload": {"n": n}}, timeout=20,
                         headers=bearer, verify=peers.relay.verify).json()["message_id"] for n in range(4)]
    cursor = tmp_path / "cursor.json"
    cursor.write_text(json.dumps({topic: ids[1]}))
    assert receive(transport(cursor_path=str(cursor)), topic, 2) == [{"n": 2}, {"n": 3}]
    assert json.loads(cursor.read_text()) == {topic: ids[3]}


# logins

def test_a_credentials_file_is_used_and_renewed_and_never_holds_a_real_token(peers, credentials_file, topic):
    before = credentials_file.read_text()
    transport = RelayTransport(peers.url, credentials_file=str(credentials_file))
    assert transport.auth_manager.strategy_name == "refresh_token"
    assert transport.post_message(topic, {"n": 1})["message_id"]
    after = credentials_file.read_text()
    assert after != before
    for text in (before, after):
        answer = requests.post(peers.relay.url + "/auth/token/refresh", timeout=20, verify=peers.relay.verify,
                               json={"refresh_token": json.loads(text)["refresh_token"]})
        assert answer.status_code == 401
    assert peers.broker.account()["state"] == "active"


def test_the_access_token_names_the_relays_user_and_is_worthless_at_the_relay(peers, token):
    claims = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert claims["sub"] == peers.relay.get("/auth/me", peers.relay.login()["access_token"]).json()["user_id"]
    assert peers.relay.get("/auth/me", token).status_code == 401


def test_several_processes_and_instances_at_once(peers, credentials_file, safe_folder):
    logins = len(peers.relay.answered("POST /auth/login"))
    refreshes = len(peers.relay.answered("POST /auth/token/refresh"))
    with_password = {"url": peers.url, "username": harness.USER, "password": harness.PASSWORD}
    with_file = {"url": peers.url, "credentials_file": str(credentials_file)}
    running = workers.Workers(harness.PYTHON, safe_folder / "workers", [with_password, with_file] * 3, seconds=3,
                              every_s=0.3, renew_every=3)
    try:
        workers.judge(running.end())
    finally:
        running.kill()
    assert len(peers.relay.answered("POST /auth/login")) == logins
    assert len(peers.relay.answered("POST /auth/token/refresh")) - refreshes <= 1
    assert CredentialsFile(str(credentials_file)).load()["relay_url"] == peers.url


# HttpRelayClient

def test_whoami_is_the_relays_own_answer(peers, client, token):
    assert client.whoami(token) == peers.relay.get("/auth/me", peers.relay.login()["access_token"]).json()


def test_a_topic_is_created_once_and_verified_after_that(client, token, topic):
    with pytest.raises(RelayClientError, match="404"):
        client.fetch_messages(token, topic)
    client.create_or_verify_topic(token, topic)
    client.create_or_verify_topic(token, topic)
    assert client.fetch_messages(token, topic)["messages"] == []


def test_messages_are_fetched_in_pages_in_both_orders(client, token, transport, topic):
    ids = [transport().post_message(topic, {"n": n}, metadata={"k": "v"})["message_id"] for n in range(5)]
    newest = client.fetch_messages(token, topic, limit=1, order="desc")
    assert [m["payload"] for m in newest["messages"]] == [{"n": 4}]
    assert (newest["limit"], newest["order"], newest["total"]) == (1, "desc", 1)
    assert [m["metadata"] for m in newest["messages"]] == [{"k": "v"}]
    seen, cursor = [], None
    while True:
        page = client.fetch_messages(token, topic, limit=2, order="asc", cursor=cursor)
        if not page["messages"]:
            break
        seen += [message["message_id"] for message in page["messages"]]
        cursor = page["next_cursor"]
    assert seen == ids and page["next_cursor"] is None


def test_a_refresh_token_is_exchanged_for_one_that_works(peers, client, credentials_file):
    first = client.exchange_refresh_token(json.loads(credentials_file.read_text())["refresh_token"])
    assert set(first) == {"access_token", "token_type", "expires_in", "refresh_token", "refresh_token_secondary"}
    second = client.exchange_refresh_token(first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]
    assert second["expires_in"] > 300, "else the client asks for a token with every request"
    assert client.whoami(second["access_token"])["username"] == harness.USER


def test_what_is_no_refresh_token_is_rejected(client):
    with pytest.raises(RefreshTokenRejectedError):
        client.exchange_refresh_token("nonsense")


# TLS

@pytest.mark.parametrize("peers", ["memory over TLS"], indirect=True)
def test_a_relay_whose_ca_is_not_named_is_refused(peers, tmp_path):
    broker = harness.Broker(tmp_path)
    try:
        argv = ["login", "main", "--relay", peers.relay.url, "--username", harness.USER, "--password-stdin"]
        refused = broker.run(*argv, stdin=harness.PASSWORD + "\n", check=False)
        assert refused.returncode == 1 and "certificate" in refused.stderr.lower(), refused.stderr
        assert harness.PASSWORD not in refused.stderr
    finally:
        broker.stop()
