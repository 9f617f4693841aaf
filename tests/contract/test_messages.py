"""Contract, section 4: messages."""

import re
import uuid

import pytest


def key():
    return uuid.uuid4().hex


def nested(levels, inside=b"1"):
    return b'{"a":' * levels + inside + b"}" * levels


def test_a_post_is_201_and_makes_the_topic(user):
    answer = user.post("fresh", {"a": 1}, metadata={"k": "v"})
    assert answer.status_code == 201 and set(answer.json()) == {"message_id", "topic", "timestamp"}
    pattern = r"msg_[0-9a-f]{12}" if user.relay.flavour == "memory" else r"[0-9]+-[0-9]+"
    assert re.fullmatch(pattern, answer.json()["message_id"])
    assert answer.json()["timestamp"].endswith("Z")
    assert user.call("GET", "/api/v1/topics/fresh").status_code == 200
    assert user.stored("fresh")[0]["metadata"] == {"k": "v"}


def test_topics_of_one_name_belong_to_each_user_alone(user, make_user):
    other = make_user(user.relay).login()
    user.send("same", {"from": "user"})
    other.send("same", {"from": "other"})
    assert [m["payload"] for m in user.stored("same")] == [{"from": "user"}]


@pytest.mark.parametrize("topic", ["a", "A-1_b", "été", "дата", "名前", "a" * 255, "1"])
def test_names_that_are_allowed(user, topic):
    assert user.post(topic, {}).status_code == 201


@pytest.mark.parametrize("topic", ["", "_", "-_-", "a b", "a/b", "a:b", "a.b", "a*", "a" * 256, "…", "a\n", "🙂"])
def test_names_that_are_not(user, topic):
    answer = user.post(topic, {})
    assert answer.status_code == 422 and answer.json()["detail"][0]["input"] == topic


@pytest.mark.parametrize("body, status", [
    (b'{"topic":"t","payload":{},"ttl":1}', 201),
    (b'{"topic":"t","payload":{},"ttl":null}', 201),
    (b'{"topic":"t","payload":{},"ttl":"5"}', 201),
    (b'{"topic":"t","payload":{},"ttl":2.0}', 201),
    (b'{"topic":"t","payload":{},"ttl":0}', 422),
    (b'{"topic":"t","payload":{},"ttl":-1}', 422),
    (b'{"topic":"t","payload":{},"ttl":1.5}', 422),
    (b'{"topic":"t","payload":{},"ttl":[]}', 422),
    (b'{"topic":"t","payload":{},"ttl":1e400}', 500),
    (b'{"topic":"t","payload":{},"metadata":{}}', 201),
    (b'{"topic":"t","payload":{},"metadata":null}', 201),
    (b'{"topic":"t","payload":{},"metadata":{"a":1}}', 422),
    (b'{"topic":"t","payload":{},"metadata":[]}', 422),
    (b'{"topic":"t","payload":{},"unknown":[]}', 201),
    (b'{"topic":"t","payload":[]}', 422),
    (b'{"topic":"t","payload":null}', 422),
    (b'{"topic":"t"}', 422),
    (b'{"topic":1,"payload":{}}', 422),
    (b'{"topic":"\\ud800","payload":{}}', 500),
    (b'\xef\xbb\xbf{"topic":"t","payload":{}}', 201),
    (b"[]", 422),
    (b"null", 422),
    (b"", 422),
])
def test_each_shape_has_its_status(user, body, status):
    assert user.call("POST", "/api/v1/messages", body).status_code == status


def test_ttl_is_ignored(user):
    user.send("t", {"n": 1}, ttl=1)
    user.poll(["other"], timeout=2)
    assert len(user.stored("t")) == 1


def test_a_body_without_a_json_content_type_is_422(user):
    body = b'{"topic":"t","payload":{}}'
    assert user.call("POST", "/api/v1/messages", body, headers={"Content-Type": "text/plain"}).status_code == 422
    assert user.call("POST", "/api/v1/messages", body,
                     headers={"Content-Type": "application/x+json; charset=utf-8"}).status_code == 201


def test_a_finished_answer_is_remembered_whatever_the_new_body(user):
    name = key()
    first = user.post("one", {"n": 1}, key=name)
    again = user.post("two", {"n": 2}, key=name)
    assert (again.status_code, again.content) == (201, first.content)
    assert len(user.stored("one")) == 1 and user.stored("two") == []
    assert user.call("GET", "/api/v1/topics/two").status_code == 200


def test_an_empty_key_is_no_key(user):
    for _ in range(2):
        user.send("t", {}, key="")
    assert len(user.stored("t")) == 2


def test_a_422_claims_nothing(user):
    name = key()
    assert user.post("t", [], key=name).status_code == 422
    user.send("t", {}, key=name)
    assert len(user.stored("t")) == 1


def test_a_retry_after_a_500_is_executed_again(user):
    name = key()
    assert user.post("t", nested(256), key=name).status_code == 500
    first = user.send("t", {"n": 1}, key=name)
    assert user.send("t", {"n": 2}, key=name) == first


def test_a_key_on_the_other_endpoint_is_500(user):
    name, other = key(), key()
    user.send("t", {}, key=name)
    assert user.bulk([{"topic": "t", "payload": {}}], key=name).status_code == 500
    assert user.bulk([{"topic": "t", "payload": {}}], key=other).status_code == 207
    assert user.post("t", {}, key=other).status_code == 500
    assert len(user.stored("t")) == 2


def test_keys_belong_to_a_user(user, make_user):
    other, name = make_user(user.relay).login(), key()
    user.send("t", {"n": 1}, key=name)
    other.send("t", {"n": 2}, key=name)
    assert [m["payload"] for m in other.stored("t")] == [{"n": 2}]


def test_a_bulk_keeps_order_and_is_207(user):
    answer = user.bulk([{"topic": "a", "payload": {"n": n}} for n in range(50)] + [{"topic": "b", "payload": {}}])
    assert answer.status_code == 207
    body = answer.json()
    assert body["summary"] == {"total": 51, "accepted": 51, "rejected": 0}
    assert set(body["results"][0]) == {"message_id", "topic", "status", "error"}
    assert [m["message_id"] for m in user.stored("a")] == [r["message_id"] for r in body["results"][:50]]
    assert [m["payload"]["n"] for m in user.stored("a")] == list(range(50))


def test_a_bulk_is_remembered_with_its_rejections(user):
    name = key()
    body = (b'{"messages":[{"topic":"t","payload":{}},{"topic":"t","payload":' + nested(256) + b'}]}')
    first = user.call("POST", "/api/v1/messages/bulk", body, headers={"Idempotency-Key": name})
    assert first.status_code == 207
    assert [r["status"] for r in first.json()["results"]] == ["accepted", "rejected"]
    assert first.json()["results"][1]["message_id"] is None and first.json()["results"][1]["error"]
    again = user.bulk([{"topic": "t", "payload": {}}], key=name)
    assert again.status_code == 207 and again.json() == first.json()


@pytest.mark.parametrize("count, status", [(0, 422), (1, 207), (100, 207), (101, 422)])
def test_a_bulk_holds_1_to_100(user, count, status):
    assert user.bulk([{"topic": "t", "payload": {}}] * count).status_code == status


def test_a_bulk_with_one_bad_item_stores_nothing(user):
    answer = user.bulk([{"topic": "t", "payload": {}}, {"topic": "t"}])
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"][:3] == ["body", "messages", 1]
    assert user.stored("t") == []


@pytest.mark.parametrize("sent, back", [
    (b'{"a":123456789012345678901234567890}', b'{"a":123456789012345678901234567890}'),
    (b'{"z":1,"a":2}', b'{"z":1,"a":2}'),
    (b'{"a":1,"b":2,"a":3}', b'{"a":3,"b":2}'),
    (b'{"a":1e2}', b'{"a":100.0}'),
    (b'{"a":[NaN,Infinity,-Infinity,1e400]}', b'{"a":[null,null,null,null]}'),
    (b'{"a":[-0,-0.0,1.10,1e15,1e16,1e22,1e-4,1e-5,1e-7]}',
     b'{"a":[0,-0.0,1.1,1000000000000000.0,1e+16,1e+22,0.0001,0.00001,1e-7]}'),
    (b'{"a":[12345678901234567.0,123456789.123456789,5e-324,1.5e300]}',
     b'{"a":[1.2345678901234568e+16,123456789.12345679,5e-324,1.5e+300]}'),
    (b'{"a":"\\u0000\\u001f\\u007f\\ud83d\\ude00\\/\\u00e9"}', b'{"a":"\\u0000\\u001f\x7f\xf0\x9f\x98\x80/\xc3\xa9"}'),
    (b'{ "a" : [ 1 , { } , [ ] , null , true ] }', b'{"a":[1,{},[],null,true]}'),
    (nested(254), nested(254)),
])
def test_payloads_come_back_as_python_prints_them(user, sent, back):
    assert user.post("t", sent).status_code == 201
    for answer in (user.page("t"), user.poll(["t"], {"t": "0-0"})):
        assert answer.status_code == 200 and b'"payload":' + back + b"," in answer.content


# What is stored and cannot be read any more: the payload, the status of its post, of a page, of a poll with it.
POISON = [
    pytest.param(b'{"a":"\\ud800"}', 201, 500, 500, id="a lone surrogate"),
    pytest.param(b'{"a":["\\udc00x"]}', 201, 500, 500, id="a low one"),
    pytest.param(b'{"\\ud800":1}', 201, 200, 500, id="in a key"),
    pytest.param(nested(254, b"{}"), 201, 200, 200, id="255 levels and nothing inside"),
    pytest.param(nested(254, b"[]"), 201, 200, 200, id="255 levels with a list"),
    pytest.param(nested(255), 201, 200, 500, id="255 levels with a number inside"),
    pytest.param(nested(255, b"[]"), 201, 200, 500, id="256 levels"),
    pytest.param(nested(256), 500, 500, 500, id="256 levels with a number inside"),
    pytest.param(nested(256, b"{}"), 500, 500, 500, id="257 levels"),
]


@pytest.mark.parametrize("payload, post, page, poll", POISON)
def test_poison_is_stored_and_breaks_reading(user, payload, post, page, poll):
    assert user.post("t", payload).status_code == post
    assert user.page("t").status_code == page
    assert user.poll(["t"], {"t": "0-0"}).status_code == poll


def test_poison_in_metadata_does_the_same(user):
    body = b'{"topic":"t","payload":{},"metadata":{"a":"\\ud800"}}'
    assert user.call("POST", "/api/v1/messages", body).status_code == 201
    assert user.page("t").status_code == 500
    assert user.poll(["t"], {"t": "0-0"}).status_code == 500


def test_a_cursor_on_the_poison_gets_past_it(user):
    before = user.send("t", {"n": 1})
    bad = user.post("t", b'{"a":"\\ud800"}').json()["message_id"]
    after = user.send("t", {"n": 2})
    assert user.poll(["t"], {"t": before}).status_code == 500
    assert [m["message_id"] for m in user.poll(["t"], {"t": bad}).json()["messages"]] == [after]
    assert user.page("t", limit=1).json()["messages"][0]["message_id"] == after
    assert user.page("t", limit=1, order="desc", cursor=after).status_code == 500
    assert user.page("t", limit=1, order="desc", cursor=bad).json()["messages"][0]["message_id"] == before
