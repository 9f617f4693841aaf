"""Contract, section 6: topics."""

import pytest


def make(user, **body):
    return user.call("POST", "/api/v1/topics", body)


def test_a_topic_is_made_once(user):
    answer = make(user, topic_name="t", description="d")
    assert answer.status_code == 201
    assert set(answer.json()) == {"topic_id", "topic_name", "owner_id", "created_at", "description"}
    assert answer.json()["owner_id"] == user.id and answer.json()["description"] == "d"
    assert make(user, topic_name="t").status_code == 400
    assert user.call("GET", "/api/v1/topics/t").json()["owner_id"] == user.id
    assert [t["topic_name"] for t in user.call("GET", "/api/v1/topics").json()] == ["t"]


def test_the_same_name_is_free_for_another_user(user, make_user):
    assert make(user, topic_name="t").status_code == 201
    other = make_user(user.relay).login()
    assert other.call("GET", "/api/v1/topics/t").status_code == 404
    assert make(other, topic_name="t").status_code == 201


@pytest.mark.parametrize("body", [{}, {"topic_name": "a b"}, {"topic_name": 1}, {"topic_name": "t", "description": 1},
                                  {"topic_name": "t", "description": "x" * 501}])
def test_topics_of_another_shape_are_422(user, body):
    assert make(user, **body).status_code == 422


def test_a_description_of_500_characters_fits(user):
    assert make(user, topic_name="t", description="é" * 500).status_code == 201


def test_an_empty_description_is_none_with_valkey(user):
    make(user, topic_name="t", description="")
    back = user.call("GET", "/api/v1/topics/t").json()["description"]
    assert back == ("" if user.relay.flavour == "memory" else None)


def test_a_new_description_is_500_with_valkey(user):
    make(user, topic_name="t")
    answer = user.call("PUT", "/api/v1/topics/t", {"description": "new"})
    assert answer.status_code == (200 if user.relay.flavour == "memory" else 500)
    assert user.call("PUT", "/api/v1/topics/t", {}).status_code == 200
    assert user.call("PUT", "/api/v1/topics/none", {"description": "x"}).status_code == 404
    assert user.call("PUT", "/api/v1/topics/t", {"description": 1}).status_code == 422


def test_the_messages_of_a_deleted_topic_stay(user):
    sent = user.send("t", {})
    assert user.call("DELETE", "/api/v1/topics/t").status_code == 204
    assert user.call("DELETE", "/api/v1/topics/t").status_code == 404
    assert user.page("t").status_code == 404
    assert user.poll(["t"], {"t": "0-0"}).json()["messages"][0]["message_id"] == sent
    assert user.call("GET", "/auth/me").json()["owned_topics"] == []
    make(user, topic_name="t")
    assert [m["message_id"] for m in user.stored("t")] == [sent]


def test_stats_is_shadowed(user):
    assert make(user, topic_name="stats").status_code == 201
    assert user.call("GET", "/api/v1/topics/stats").status_code == 403
    assert user.page("stats").status_code == 200


def test_pages_go_both_ways(user):
    sent = [user.send("t", {"n": n}) for n in range(12)]
    body = user.page("t").json()
    assert set(body) == {"messages", "total", "limit", "order", "cursor", "next_cursor"}
    assert [m["message_id"] for m in body["messages"]] == sent[:1:-1]
    assert (body["total"], body["limit"], body["order"]) == (10, 10, "desc")
    assert (body["cursor"], body["next_cursor"]) == (None, sent[2])
    body = user.page("t", order="desc", cursor=sent[2]).json()
    assert [m["message_id"] for m in body["messages"]] == [sent[1], sent[0]] and body["cursor"] == sent[2]
    body = user.page("t", order="asc", limit=3, cursor=sent[4]).json()
    assert [m["message_id"] for m in body["messages"]] == sent[5:8] and body["next_cursor"] == sent[7]
    body = user.page("t", order="asc", cursor=sent[-1]).json()
    assert body["messages"] == [] and body["next_cursor"] is None and body["total"] == 0
    assert user.page("t", order="desc", cursor=sent[0]).json()["messages"] == []


def test_a_limit_above_100_is_cut(user):
    for _ in range(2):
        user.bulk([{"topic": "t", "payload": {}}] * 60)
    body = user.page("t", limit=1000).json()
    assert body["limit"] == 100 and body["total"] == 100


@pytest.mark.parametrize("query, status", [("limit=0", 400), ("limit=-1", 400), ("limit=x", 422), ("limit=", 422),
                                           ("limit=1.5", 422), ("limit=2.0", 200), ("limit=%203", 200),
                                           ("limit=1_0", 200),
                                           ("order=up", 400), ("order=ASC", 400), ("order=asc&cursor=", 200)])
def test_queries_have_their_status(user, query, status):
    user.send("t", {})
    assert user.call("GET", "/api/v1/topics/t/messages?" + query).status_code == status


def test_an_unknown_topic_is_404_before_a_bad_order(user):
    assert user.page("none", order="up").status_code == 404
    assert user.page("none", limit="x").status_code == 422


def test_an_unknown_cursor_shows_all_in_memory_and_compares_with_valkey(user):
    user.send("t", {})
    memory = user.relay.flavour == "memory"
    for cursor, newer, older in (("99999999999999-0", 0, 1), ("5-5", 1, 0), ("5", 1, 0)):
        assert user.page("t", order="asc", cursor=cursor).json()["total"] == (1 if memory else newer)
        assert user.page("t", order="desc", cursor=cursor).json()["total"] == (1 if memory else older)
    assert user.page("t", cursor="zz").status_code == (200 if memory else 500)
    assert user.page("t", order="desc", cursor="0-0").status_code == (200 if memory else 500)
    assert user.page("t", order="asc", cursor="0-0").json()["total"] == 1
