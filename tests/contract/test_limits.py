"""Contract, sections 1 and 8: the order of checks, and limits."""

import http.client

import pytest
import requests


def test_5_logins_a_minute_and_wrong_passwords_count(limited, make_user):
    user = make_user(limited, address="192.0.2.10")
    assert [user.try_login("wrong").status_code for _ in range(5)] == [401] * 5
    answer = user.try_login()
    assert answer.status_code == 429
    assert answer.json() == {"error": "Rate limit exceeded: 5 per 1 minute"} and "Retry-After" not in answer.headers


def test_10_refreshes_a_minute_but_not_those_that_are_422(limited, make_user):
    user = make_user(limited, address="192.0.2.11")
    assert [user.call("POST", "/auth/token/refresh", {}).status_code for _ in range(12)] == [422] * 12
    assert [user.refresh("a.b").status_code for _ in range(11)] == [401] * 10 + [429]


def test_120_posts_a_minute_over_all_users_of_an_address(limited, make_user):
    one, two = (make_user(limited, address="192.0.2.12").login() for _ in range(2))
    assert {one.post("t", {}).status_code for _ in range(60)} == {201}
    assert {two.post("t", []).status_code for _ in range(5)} == {422}
    assert {two.post("t", {}).status_code for _ in range(60)} == {201}
    answer = two.post("t", {})
    assert answer.status_code == 429 and answer.json() == {"error": "Rate limit exceeded: 120 per 1 minute"}
    assert one.bulk([{"topic": "t", "payload": {}}]).status_code == 207
    one.address = "192.0.2.13"
    assert one.post("t", {}).status_code == 201


def test_30_bulks_a_minute(limited, make_user):
    user = make_user(limited, address="192.0.2.14").login()
    assert {user.bulk([{"topic": "t", "payload": {}}]).status_code for _ in range(30)} == {207}
    assert user.bulk([{"topic": "t", "payload": {}}]).status_code == 429


def test_a_remembered_answer_counts_too(limited, make_user):
    user = make_user(limited, address="192.0.2.15").login()
    assert {user.post("t", {}, key="k").status_code for _ in range(120)} == {201}
    assert user.post("t", {}, key="k").status_code == 429
    assert len(user.stored("t")) == 1


def test_polls_have_no_rate_limit(limited, make_user):
    user = make_user(limited, address="192.0.2.16").login()
    user.send("t", {})
    assert {user.poll(["t"], {"t": "0-0"}).status_code for _ in range(150)} == {200}


def test_10_device_codes_and_30_device_polls_a_minute(limited, make_user):
    user = make_user(limited, address="192.0.2.17")
    assert [user.call("POST", "/auth/device/code", data={}).status_code for _ in range(11)] == [400] * 10 + [429]
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "x"}
    assert [user.call("POST", "/auth/device/token", data=form).status_code for _ in range(31)] == [400] * 30 + [429]


def test_a_body_of_a_mebibyte_is_read_and_one_byte_more_is_413(user):
    padding = b" " * (1048576 - 2)
    assert user.call("POST", "/api/v1/messages", b"{}" + padding).status_code == 422
    user.bearer = None
    answer = user.call("POST", "/api/v1/messages", b"{}" + padding + b" ")
    assert answer.status_code == 413 and answer.json()["error"] == "PAYLOAD_TOO_LARGE"


def test_a_chunked_body_has_no_limit(user):
    body = b'{"topic":"t","payload":{"a":"%s"}}' % (b"x" * 1100000)
    answer = user.call("POST", "/api/v1/messages", data=iter([body]), headers={"Content-Type": "application/json"})
    assert answer.status_code == 201
    assert len(user.stored("t")[0]["payload"]["a"]) == 1100000


def test_syntax_comes_before_the_bearer_and_validation_after(user):
    user.bearer = None
    assert user.call("POST", "/api/v1/messages", b"{x").status_code == 422
    assert user.call("POST", "/api/v1/messages", b"\xff").status_code == 400
    assert user.call("POST", "/api/v1/messages", b"{}").status_code == 401
    assert user.call("POST", "/api/v1/messages", b"{x", headers={"Content-Type": "text/plain"}).status_code == 401


@pytest.mark.parametrize("levels, status", [(900, 500), (1100, 400), (100000, 400)])
def test_a_body_nested_too_deep_is_400(user, levels, status):
    """The real limit lies a little below 1000, where Python's recursion ends in that set-up."""
    body = b'{"topic":"t","payload":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"
    answer = user.call("POST", "/api/v1/messages", body)
    assert answer.status_code == status
    if status == 400:
        assert answer.json() == {"detail": "There was an error parsing the body"}


def test_an_integer_of_more_than_4300_digits_is_400(user):
    assert user.post("t", b'{"a":%s}' % (b"9" * 4300)).status_code == 201
    assert user.post("t", b'{"a":%s}' % (b"9" * 4301)).status_code == 400


def test_a_foreign_host_is_400_in_plain_text(relay):
    answer = requests.get(relay.url + "/health", headers={"Host": "relay.example.org"}, timeout=10)
    assert answer.status_code == 400 and answer.headers["Content-Type"].startswith("text/plain")


def test_a_trailing_slash_is_a_307_with_an_absolute_location(relay):
    answer = requests.post(relay.url + "/api/v1/messages/?a=b", timeout=10, allow_redirects=False)
    assert answer.status_code == 307 and answer.headers["Location"] == relay.url + "/api/v1/messages?a=b"


def test_an_unknown_path_is_404_and_another_method_405(relay):
    answer = requests.get(relay.url + "/nothing", timeout=10)
    assert answer.status_code == 404 and answer.json() == {"detail": "Not Found"}
    answer = requests.put(relay.url + "/auth/me", timeout=10)
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET"
    assert requests.head(relay.url + "/health", timeout=10).status_code == 405


def test_health_and_ready_need_no_token(relay):
    body = requests.get(relay.url + "/health", timeout=10).json()
    assert set(body) == {"status", "timestamp", "version"} and body["status"] == "healthy"
    body = requests.get(relay.url + "/ready", timeout=10).json()
    assert body["ready"] is True and "checks" in body


def test_idle_connections_are_closed_after_5_seconds(relay):
    link = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=20)
    link.request("GET", "/health")
    link.getresponse().read()
    assert link.sock.recv(1) == b""
    link.close()
