"""Topics on the wire face: asked of the relay as typed calls."""
import pytest
import requests

import upstream
from harness import Broker, quote


def call(broker, method, path, **options):
    return requests.request(method, broker.url + "/api/v1/topics" + path, timeout=20, **options)


def relay(shared, method, path, **options):
    return requests.request(method, shared.fake.url + "/api/v1/topics" + path, timeout=20,
                            headers=upstream.bearer(shared.broker), **options)


def test_a_topic_is_made_read_changed_listed_and_deleted(shared, topic):
    made = call(shared.broker, "POST", "", json={"topic_name": topic, "description": "first"})
    assert made.status_code == 201
    assert set(made.json()) == {"topic_id", "topic_name", "owner_id", "created_at", "description"}
    assert call(shared.broker, "GET", "/" + topic).json() == relay(shared, "GET", "/" + topic).json() == made.json()
    changed = call(shared.broker, "PUT", "/" + topic, json={"description": "second"})
    assert changed.status_code == 200 and changed.json()["description"] == "second"
    assert relay(shared, "GET", "/" + topic).json()["description"] == "second"
    assert call(shared.broker, "GET", "").json() == relay(shared, "GET", "").json()
    gone = call(shared.broker, "DELETE", "/" + topic)
    assert (gone.status_code, gone.content) == (204, b"")
    assert relay(shared, "GET", "/" + topic).status_code == 404


def test_the_relays_own_refusals_pass_through(shared, topic):
    assert call(shared.broker, "POST", "", json={"topic_name": topic}).status_code == 201
    for method, path, more in (("POST", "", {"json": {"topic_name": topic}}), ("GET", "/no-" + topic, {}),
                               ("DELETE", "/no-" + topic, {}), ("PUT", "/no-" + topic, {"json": {"description": "x"}}),
                               ("GET", f"/no-{topic}/messages", {})):
        ours, theirs = call(shared.broker, method, path, **more), relay(shared, method, path, **more)
        assert ours.status_code == theirs.status_code in (400, 404)
        assert ours.json() == theirs.json()


def test_create_or_verify_works_as_the_client_does_it(shared, topic):
    for expected in (201, 400):
        assert call(shared.broker, "POST", "", json={"topic_name": topic}).status_code == expected
    me = requests.get(shared.broker.url + "/auth/me", timeout=10).json()
    assert call(shared.broker, "GET", "/" + topic).json()["owner_id"] == me["user_id"]


@pytest.mark.parametrize("name", ["t\u00e4xt", "\u4e2d\u6587", "A-b_9", "x" * 255])
def test_names_of_letters_of_all_kinds_work(shared, name):
    assert call(shared.broker, "POST", "", json={"topic_name": name}).status_code == 201
    assert call(shared.broker, "GET", "/" + quote(name)).json()["topic_name"] == name
    assert shared.broker.post(name, {"n": 1}).status_code == 201
    answer = call(shared.broker, "GET", f"/{quote(name)}/messages")
    assert [m["topic"] for m in answer.json()["messages"]] == [name]
    assert shared.broker.poll(name, {name: "0-0"})["messages"][0]["topic"] == name
    assert call(shared.broker, "DELETE", "/" + quote(name)).status_code == 204


def test_a_page_of_messages_is_the_relays_without_the_stamp(shared, topic):
    for n in range(3):
        assert shared.broker.post(topic, {"n": n}, metadata={"a": str(n)}).status_code == 201
    for query in ("", "?limit=2", "?order=asc", "?order=asc&limit=1", "?limit=1000"):
        ours, theirs = call(shared.broker, "GET", f"/{topic}/messages{query}").json(), \
            relay(shared, "GET", f"/{topic}/messages{query}").json()
        assert set(ours) == set(theirs)
        assert {k: v for k, v in ours.items() if k != "messages"} == {k: v for k, v in theirs.items() if k != "messages"}
        for our, their in zip(ours["messages"], theirs["messages"], strict=True):
            assert set(our) == set(their)
            assert "relay-broker-id" in their["metadata"] and "relay-broker-id" not in our["metadata"]
            their["metadata"].pop("relay-broker-id")
            assert our == their


def test_pages_go_on_by_their_cursor_and_end_with_an_empty_one(shared, topic):
    for n in range(5):
        assert shared.broker.post(topic, {"n": n}).status_code == 201
    seen, cursor = [], None
    while True:
        query = {"limit": 2, "order": "asc"} | ({"cursor": cursor} if cursor else {})
        page = call(shared.broker, "GET", f"/{topic}/messages", params=query).json()
        if not page["messages"]:
            break
        assert page["cursor"] == cursor
        seen += [m["payload"]["n"] for m in page["messages"]]
        cursor = page["next_cursor"]
    assert seen == list(range(5)) and page["next_cursor"] is None


def test_a_cursor_may_be_the_id_of_a_202(shared, topic):
    first = shared.broker.post(topic, {"n": 0}, {"Prefer": "respond-async"}).json()["message_id"]
    upstream.wait_until_stored(shared.fake, topic, 1)
    assert shared.broker.post(topic, {"n": 1}).status_code == 201
    page = call(shared.broker, "GET", f"/{topic}/messages", params={"order": "asc", "cursor": first})
    assert [m["payload"] for m in page.json()["messages"]] == [{"n": 1}]


@pytest.mark.parametrize("query, status", [("limit=0", 400), ("limit=-1", 400), ("limit=x", 422), ("limit=1.5", 422),
                                           ("limit=", 422), ("order=up", 400), ("order=", 400),
                                           ("limit=99999999999999999999", 422)])
def test_d4_a_bad_query_is_refused_without_asking_the_relay(shared, topic, query, status):
    before = upstream.asked(shared.fake.state()["counts"])
    answer = call(shared.broker, "GET", f"/{topic}/messages?{query}")
    assert answer.status_code == status and answer.json()["detail"]
    assert upstream.asked(shared.fake.state()["counts"]) == before


@pytest.mark.parametrize("body, loc", [
    ({}, ["body", "topic_name"]), ({"topic_name": 5}, ["body", "topic_name"]), ({"topic_name": ""}, ["body", "topic_name"]),
    ({"topic_name": "a/b"}, ["body", "topic_name"]), ({"topic_name": "x" * 256}, ["body", "topic_name"]),
    ({"topic_name": "--"}, ["body", "topic_name"]), ({"topic_name": "t", "description": "d" * 501}, ["body", "description"]),
    ({"topic_name": "t", "description": 5}, ["body", "description"]), ([], ["body"])])
def test_a_bad_topic_is_422_without_asking_the_relay(shared, body, loc):
    before = upstream.asked(shared.fake.state()["counts"])
    answer = call(shared.broker, "POST", "", json=body)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == loc
    assert upstream.asked(shared.fake.state()["counts"]) == before


def test_what_the_user_may_not_do_is_the_relays_403(tmp_path, fake):
    fake.control("user", username="reader", password="reader's password", permissions="read")
    broker = Broker(tmp_path)
    broker.login(fake, user="reader", password="reader's password")
    for answer in (broker.post("t", {}), call(broker, "POST", "", json={"topic_name": "t"})):
        assert answer.status_code == 403 and answer.json()["detail"]
    broker.stop()
