"""Long polls on the wire face, beside the same poll at the relay."""
import http.client
import json
import time

import pytest
import requests

import upstream
from harness import Broker, payloads, wait_for
from markers import database


def poll_relay(shared, topics, since=None, timeout=1):
    body = {"topics": topics, "timeout": timeout} | ({"since": since} if since is not None else {})
    answer = requests.post(shared.fake.url + "/messages/poll", json=body, headers=upstream.bearer(shared.broker),
                           timeout=timeout + 10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [m["message_id"] for m in answer["messages"]]


def parked_poll(pool, broker, *args, **named):
    """A poll that waits, once it does."""
    before = broker.parked()
    future = pool.submit(broker.poll, *args, **named)
    wait_for(lambda: broker.parked() > before or future.done(), what="the poll's waiting")
    return future


def has_begun(broker, topic):
    """Who polls without a cursor gets what is stored after the relay was asked for its newest message."""
    with database(broker) as db:
        return db.execute("SELECT 1 FROM topic WHERE name = ? AND cursor IS NOT NULL", [topic]).fetchone()


def shape(message):
    """Its keys in their order, and the shape of its time."""
    return list(message), message["timestamp"][-6:].lstrip("0123456789")


def test_catching_up_looks_exactly_like_the_relays(shared, topic):
    for n in range(3):
        upstream.publish(shared.broker, shared.fake, topic, {"n": n}, **({"metadata": {"b": "1", "a": "2"}} if n else {}))
    ours, theirs = (shared.broker.poll([topic], {topic: "0-0"}), poll_relay(shared, [topic], {topic: "0-0"}))
    assert set(ours) == set(theirs) == {"messages", "has_more"} and ours["has_more"] is False
    assert [sorted(m) for m in ours["messages"]] == [sorted(m) for m in theirs["messages"]]
    for key in ("message_id", "topic", "payload", "timestamp", "metadata", "stream_id"):
        assert [m[key] for m in ours["messages"]] == [m[key] for m in theirs["messages"]]


def test_a_waiters_answer_looks_exactly_like_the_relays(shared, topic, pool):
    before = shared.fake.state()["waiting_polls"]
    theirs = pool.submit(poll_relay, shared, [topic], None, 10)
    wait_for(lambda: shared.fake.state()["waiting_polls"] > before)
    ours = parked_poll(pool, shared.broker, [topic], timeout=10)
    wait_for(lambda: shared.fake.state()["waiting_polls"] > before + 1)
    upstream.publish(shared.broker, shared.fake, topic, {"n": 1})
    ours, theirs = ours.result()["messages"], theirs.result()["messages"]
    assert len(ours) == len(theirs) == 1
    assert sorted(ours[0]) == sorted(theirs[0]) and "stream_id" not in ours[0] and ours[0]["type"] == "message"
    for key in ("message_id", "topic", "payload", "metadata"):
        assert ours[0][key] == theirs[0][key]
    assert ours[0]["metadata"] is None and ours[0]["timestamp"].endswith("Z")


def test_the_brokers_own_stamp_is_taken_off(shared, topic):
    assert shared.broker.post(topic, {"n": 1}, metadata={"a": "b"}).status_code == 201
    assert shared.broker.post(topic, {"n": 2}).status_code == 201
    assert set(upstream.messages(shared.broker, shared.fake, topic)[0]["metadata"]) == {"a", "relay-broker-id"}
    answer = shared.broker.poll(topic, {topic: "0-0"})
    assert [m["metadata"] for m in answer["messages"]] == [{"a": "b"}, {}]


def test_a_poll_that_hears_nothing_is_empty_after_its_timeout(shared, topic):
    began = time.monotonic()
    assert shared.broker.poll(topic, timeout=1) == {"messages": [], "has_more": False}
    assert time.monotonic() - began >= 0.9
    assert requests.get(f"{shared.broker.url}/api/v1/topics/{topic}", timeout=10).status_code == 404


@pytest.mark.parametrize("since", [None, {}])
def test_without_since_an_anonymous_poll_hears_only_what_comes(shared, topic, pool, since):
    upstream.publish(shared.broker, shared.fake, topic, {"n": 1})
    waiting = parked_poll(pool, shared.broker, topic, since, timeout=10)
    wait_for(lambda: has_begun(shared.broker, topic), what="the place from which it reads")
    second = upstream.publish(shared.broker, shared.fake, topic, {"n": 2})
    assert ids(waiting.result()) == [second]


@pytest.mark.parametrize("beginning", ["0-0", ""])
def test_since_the_beginning_means_everything(shared, topic, beginning):
    sent = [upstream.publish(shared.broker, shared.fake, topic, {"n": n}) for n in range(5)]
    assert ids(shared.broker.poll(topic, {topic: beginning})) == sent
    assert ids(shared.broker.poll(topic, {topic: beginning})) == sent


def test_since_an_id_means_what_comes_after_it(shared, topic):
    sent = [upstream.publish(shared.broker, shared.fake, topic, {"n": n}) for n in range(5)]
    for n, since in enumerate(sent[:-1]):
        assert ids(shared.broker.poll(topic, {topic: since})) == sent[n + 1:]
    assert ids(shared.broker.poll(topic, {topic: sent[-1]})) == []


def test_since_an_outbox_id_means_what_comes_after_that_post(shared, topic):
    answers = [shared.broker.post(topic, {"n": n}, {"Prefer": "respond-async"}) for n in range(3)]
    upstream.wait_until_stored(shared.fake, topic, 3)
    for n, answer in enumerate(answers[:-1]):
        since = answer.json()["message_id"]
        assert since.startswith("outbox-")
        assert payloads(shared.broker.poll(topic, {topic: since}, timeout=5)) == [{"n": m} for m in range(n + 1, 3)]


@pytest.mark.parametrize("unknown", ["msg_ffffffffffff", "nonsense", "5-5", "outbox-999999", "\u00e4", "x" * 300, "a b&c=d/.."])
def test_since_an_id_nobody_knows_means_what_it_means_at_the_relay(shared, topic, unknown):
    """A relay in memory reads from the beginning."""
    sent = [upstream.publish(shared.broker, shared.fake, topic, {"n": n}) for n in range(3)]
    assert ids(poll_relay(shared, [topic], {topic: unknown})) == sent
    assert ids(shared.broker.poll(topic, {topic: unknown})) == sent


def test_several_topics_come_with_one_poll_each_in_its_order(shared, topic):
    names = [f"{topic}-{n}" for n in range(20)]
    for name in names:
        for n in range(3):
            upstream.publish(shared.broker, shared.fake, name, {"in": name, "n": n})
    answer = shared.broker.poll(names, {name: "0-0" for name in names}, timeout=10)
    found = answer["messages"]
    while answer["has_more"]:
        last = {name: "0-0" for name in names} | {m["topic"]: m["message_id"] for m in found}
        answer = shared.broker.poll(names, last, timeout=10)
        found += answer["messages"]
    for name in names:
        assert [m["payload"] for m in found if m["topic"] == name] == [{"in": name, "n": n} for n in range(3)]


def test_a_topic_without_an_entry_goes_on_at_the_sessions_place(shared, topic):
    """The bare relay would begin at its beginning each time."""
    one, two = topic + "-1", topic + "-2"
    token = shared.broker.placeholder()
    upstream.publish(shared.broker, shared.fake, two, {"past": 1})
    first = upstream.publish(shared.broker, shared.fake, one, {})
    assert shared.broker.poll([one, two], timeout=1, bearer=token)["messages"] == []
    second = upstream.publish(shared.broker, shared.fake, two, {})
    assert ids(shared.broker.poll([one, two], {one: first}, timeout=10, bearer=token)) == [second]


def test_a_long_topic_comes_in_answers_of_at_most_100_with_has_more(shared, topic):
    for n in range(3):
        answer = requests.post(shared.fake.url + "/api/v1/messages/bulk", headers=upstream.bearer(shared.broker),
                               json={"messages": [{"topic": topic, "payload": {"n": 100 * n + m}} for m in range(100)]},
                               timeout=10)
        assert answer.status_code == 207
    found, since = [], "0-0"
    while True:
        answer = shared.broker.poll(topic, {topic: since}, timeout=1)
        if not answer["messages"]:
            break
        assert len(answer["messages"]) <= 100
        assert answer["has_more"] or len(answer["messages"]) < 100 or len(found) == 200
        found += payloads(answer)
        since = ids(answer)[-1]
    assert found == [{"n": n} for n in range(300)]


def test_a_big_topic_comes_in_answers_of_bounded_bytes(shared, topic):
    for n in range(14):
        upstream.publish(shared.broker, shared.fake, topic, {"n": n, "p": "x" * 900_000})
    found, since, sizes = [], "0-0", []
    while len(found) < 14:
        answer = shared.broker.poll(topic, {topic: since}, timeout=10)
        assert answer["messages"]
        sizes.append(len(json.dumps(answer)))
        assert answer["has_more"] or len(found) + len(answer["messages"]) == 14
        found += [p["n"] for p in payloads(answer)]
        since = ids(answer)[-1]
    assert found == list(range(14)) and max(sizes) < 10 << 20


def test_one_upstream_poll_serves_many_waiters(shared, topic, pool):
    before = shared.fake.state()["counts"]["polls"]
    waiting = [parked_poll(pool, shared.broker, topic, timeout=20) for _ in range(6)]
    wait_for(lambda: has_begun(shared.broker, topic), what="the place from which they read")
    wait_for(lambda: shared.fake.state()["counts"]["polls"] > before)
    assert shared.fake.state()["counts"]["polls"] <= before + 3
    sent = upstream.publish(shared.broker, shared.fake, topic, {})
    assert [ids(w.result()) for w in waiting] == [[sent]] * 6


def test_two_sessions_each_see_everything(shared, topic):
    tokens = [shared.broker.placeholder() for _ in range(2)]
    for token in tokens:
        assert shared.broker.poll(topic, timeout=1, bearer=token)["messages"] == []
    sent = [upstream.publish(shared.broker, shared.fake, topic, {"n": n}) for n in range(3)]
    for token in tokens:
        seen = []
        while len(seen) < 3:
            answer = shared.broker.poll(topic, {topic: seen[-1]} if seen else None, timeout=10, bearer=token)
            assert answer["messages"]
            seen += ids(answer)
        assert seen == sent


def test_what_is_published_between_two_polls_of_a_session_is_not_lost(shared, topic):
    """The bare relay loses it: the poll has no since."""
    token = shared.broker.placeholder()
    assert shared.broker.poll(topic, timeout=1, bearer=token)["messages"] == []
    sent = [upstream.publish(shared.broker, shared.fake, topic, {"n": n}) for n in range(3)]
    wait_for(lambda: ids(shared.broker.poll(topic, timeout=10, bearer=token)) == sent)


def raw_poll(port, topic, token, timeout=10):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/messages/poll", json.dumps({"topics": [topic], "timeout": timeout}),
                       {"Content-Type": "application/json", "Authorization": f"Bearer {token}"})
    return connection


def test_a_killed_poller_sees_the_same_again_on_a_new_connection(shared, topic):
    token = shared.broker.placeholder()
    assert shared.broker.poll(topic, timeout=1, bearer=token)["messages"] == []
    sent = [upstream.publish(shared.broker, shared.fake, topic, {"n": n}) for n in range(3)]
    seen = []
    while len(seen) < 3:
        before, connection = seen, raw_poll(shared.broker.port, topic, token)
        seen = ids(json.loads(connection.getresponse().read()))
        connection.close()
        assert seen and seen == sent[:len(seen)] and len(seen) >= len(before)
    connection = raw_poll(shared.broker.port, topic, token)
    assert ids(json.loads(connection.getresponse().read())) == sent
    connection.close()


def test_a_later_poll_on_the_same_connection_confirms_the_earlier_one(shared, topic):
    token = shared.broker.placeholder()
    with requests.Session() as session:
        assert shared.broker.poll(topic, timeout=1, bearer=token, session=session)["messages"] == []
        first = upstream.publish(shared.broker, shared.fake, topic, {"n": 1})
        assert ids(shared.broker.poll(topic, timeout=10, bearer=token, session=session)) == [first]
        second = upstream.publish(shared.broker, shared.fake, topic, {"n": 2})
        assert ids(shared.broker.poll(topic, timeout=10, bearer=token, session=session)) == [second]
    assert ids(shared.broker.poll(topic, timeout=10, bearer=token)) == [second]


def test_a_since_confirms_for_good(shared, topic):
    token = shared.broker.placeholder()
    assert shared.broker.poll(topic, timeout=1, bearer=token)["messages"] == []
    sent = [upstream.publish(shared.broker, shared.fake, topic, {"n": n}) for n in range(3)]
    wait_for(lambda: ids(shared.broker.poll(topic, timeout=10, bearer=token)) == sent)
    assert ids(shared.broker.poll(topic, {topic: sent[1]}, timeout=10, bearer=token)) == sent[2:]
    assert ids(shared.broker.poll(topic, timeout=10, bearer=token)) == sent[2:]


def test_a_sessions_place_survives_kill_9(quick, fake, topic):
    token = quick.placeholder()
    assert quick.poll(topic, timeout=1, bearer=token)["messages"] == []
    first = upstream.publish(quick, fake, topic, {"n": 1})
    assert ids(quick.poll(topic, timeout=10, bearer=token)) == [first]
    assert quick.poll(topic, {topic: first}, timeout=1, bearer=token)["messages"] == []
    quick.kill()
    second = requests.post(fake.url + "/auth/login", timeout=10,
                           data={"username": "alice", "password": "correct horse battery", "grant_type": "password"})
    sent = requests.post(fake.url + "/api/v1/messages", json={"topic": topic, "payload": {"n": 2}}, timeout=10,
                         headers={"Authorization": "Bearer " + second.json()["access_token"]}).json()["message_id"]
    quick.start()
    assert ids(quick.poll(topic, timeout=10, bearer=token)) == [sent]


def test_a_poller_that_goes_away_is_forgotten(shared, topic):
    before = shared.broker.parked()
    connection = raw_poll(shared.broker.port, topic, shared.broker.placeholder(), 60)
    wait_for(lambda: shared.broker.parked() == before + 1)
    connection.close()
    wait_for(lambda: shared.broker.parked() == before)


def test_the_brokers_own_figures_are_at_poll_stats(shared):
    answer = requests.get(shared.broker.url + "/messages/poll/stats", timeout=10)
    assert answer.status_code == 200 and set(answer.json()) >= {"active_connections"}
    assert requests.post(shared.broker.url + "/messages/poll/stats", json={}, timeout=10).status_code == 405


def test_d6_more_parked_polls_than_allowed_are_503_and_the_others_wait_on(tmp_path, fake, topic, pool):
    broker = Broker(tmp_path, config="limits {\n parked_polls = 2\n}\n")
    broker.login(fake)
    waiting = [pool.submit(broker.poll, topic, timeout=20) for _ in range(2)]
    wait_for(lambda: broker.status()["sessions"]["parked"] == 2)
    answer = requests.post(broker.url + "/messages/poll", json={"topics": [topic], "timeout": 5}, timeout=10)
    assert answer.status_code == 503 and answer.headers["Retry-After"] and answer.json()["message"]
    wait_for(lambda: fake.state()["waiting_polls"] >= 1)
    sent = upstream.length(fake, topic)
    with requests.Session() as session:
        token = session.post(fake.url + "/auth/login", timeout=10, data={
            "username": "alice", "password": "correct horse battery", "grant_type": "password"}).json()["access_token"]
        session.post(fake.url + "/api/v1/messages", json={"topic": topic, "payload": {}}, timeout=10,
                     headers={"Authorization": f"Bearer {token}"})
    assert [len(w.result()["messages"]) for w in waiting] == [1, 1] and sent == 0
    broker.stop()


def test_d6_more_reading_sessions_than_allowed_are_503_and_those_that_only_post_make_room(tmp_path, fake):
    broker = Broker(tmp_path, config="limits {\n sessions = 3\n}\n")
    broker.login(fake)
    for _ in range(10):
        broker.placeholder()
    for _ in range(3):
        broker.poll("jobs", bearer=broker.placeholder())
    answer = requests.post(broker.url + "/auth/login", data={"username": "main", "password": "x"}, timeout=10)
    assert answer.status_code == 503 and answer.headers["Retry-After"] and answer.json()["message"]
    broker.stop()
