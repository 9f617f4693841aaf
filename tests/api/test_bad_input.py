"""The table of bad input, on every face: the right status, a sentence, no request upstream, and the daemon goes on."""
import json
import socket
import time

import pytest
import requests

import upstream
from harness import Broker, UnixAdapter

MIB = 1 << 20
JSON_POSTS = ["/api/v1/messages", "/api/v1/messages/bulk", "/messages/poll", "/api/v1/topics", "/auth/token/refresh",
              "/auth/token/revoke", "/v1/outbox"]
PATHS = ["/health", "/metrics", "/api/v1/topics", "/api/v1/messages", "/messages/poll", "/auth/login", "/v1/status",
         "/v1/outbox", "/nothing"]


@pytest.fixture
def unmoved(shared):
    """Nothing reaches the relay during the test, no post is taken, and the daemon answers at the end."""
    def facts():
        state, status = shared.fake.state(), shared.broker.status()["outbox"]
        counts = state["counts"] | {"requests": upstream.asked(state["counts"]), "polls": 0}
        return counts, state["topics"], state["users"], status["queued"], status["accepted"], status["refused"]

    before = facts()
    yield
    assert facts() == before
    assert requests.get(shared.broker.url + "/health", timeout=10).status_code == 200


def sentence(answer):
    """The one clear sentence of an answer in either shape."""
    body = answer.json() if isinstance(answer, requests.Response) else json.loads(answer)
    detail = body.get("detail", body.get("message"))
    if isinstance(detail, list):
        assert all({"type", "loc", "msg", "input"} <= set(i) for i in detail)
        detail = detail[0]["msg"]
    assert isinstance(detail, str) and len(detail) > 10 and "\n" not in detail
    return detail


def send(broker, method, path, body=None, headers=None):
    return requests.request(method, broker.url + path, data=body, timeout=20,
                            headers={"Content-Type": "application/json"} | (headers or {}))


# --- bodies ---

BAD_JSON = {
    "nothing": b"", "half": b'{"topic": "t", "payl', "two": b"{}{}", "single_quotes": b"{'a': 1}", "comma": b'{"a": 1,}',
    "bare": b"hello", "comment": b'{"a": 1} // x', "hex": b'{"a": 0x10}', "plus": b'{"a": +1}', "leading_zero": b'{"a": 01}',
    "raw_control": b'{"a": "x\ny"}', "bad_escape": b'{"a": "\\x41"}', "short_escape": b'{"a": "\\u12"}',
    "bom": b"\xef\xbb\xbf{}", "utf16": "{}".encode("utf-16"), "nul": b"\x00", "bad_utf8": b'{"a": "\xff\xfe"}',
    "overlong": b'{"a": "\xc0\x80"}', "surrogate_bytes": b'{"a": "\xed\xa0\x80"}', "deep": b"[" * 5000,
    "deep_object": b'{"a":' * 3000, "form": b"a=b&c=d",
}
WRONG_ROOT = [b"null", b"true", b"1", b'"x"', b"[]", b"NaN", b"{}"]


@pytest.mark.parametrize("path", JSON_POSTS)
@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
def test_what_is_no_json_is_refused_with_a_sentence(shared, unmoved, path, body):
    answer = send(shared.broker, "POST", path, body)
    assert answer.status_code in (400, 422)
    assert sentence(answer)


@pytest.mark.parametrize("path", JSON_POSTS)
@pytest.mark.parametrize("body", WRONG_ROOT, ids=lambda b: b.decode())
def test_a_body_that_is_not_the_right_object_is_422(shared, unmoved, path, body):
    answer = send(shared.broker, "POST", path, body)
    assert answer.status_code == 422 and sentence(answer)


MESSAGES = [
    ({}, "topic"), ({"topic": "t"}, "payload"), ({"payload": {}}, "topic"), ({"topic": None, "payload": {}}, "topic"),
    ({"topic": 1, "payload": {}}, "topic"), ({"topic": ["t"], "payload": {}}, "topic"),
    *(({"topic": name, "payload": {}}, "topic") for name in (
        "", " ", "a b", "a/b", "../x", "a.b", "a%2fb", "t\u0000", "t\n", "-", "_-_", "stats", "x" * 256, "\U0001f600", "a\u00a0b")),
    *(({"topic": "t", "payload": p}, "payload") for p in (None, 1, "x", [], True, 1.5)),
    *(({"topic": "t", "payload": {}, "ttl": t}, "ttl") for t in (0, -1, 1.5, "soon", [], {}, float("nan"), 10**30)),
    *(({"topic": "t", "payload": {}, "metadata": m}, "metadata") for m in ([], "x", 1, {"a": 1}, {"a": None}, {"a": {}})),
]


@pytest.mark.parametrize("path", ["/api/v1/messages", "/api/v1/messages/bulk", "/v1/outbox"])
@pytest.mark.parametrize("message, field", MESSAGES)
def test_a_message_of_wrong_types_is_422_and_names_the_field(shared, unmoved, path, message, field):
    body = {"messages": [message]} if path.endswith("bulk") else message
    answer = send(shared.broker, "POST", path, json.dumps(body))
    assert answer.status_code == 422 and sentence(answer)
    if path.startswith("/api"):
        place = ["body", "messages", 0] if path.endswith("bulk") else ["body"]
        assert answer.json()["detail"][0]["loc"][:len(place) + 1] == [*place, field]
    else:
        assert field in sentence(answer).lower()


POLLS = [
    ({}, "topics"), ({"topics": []}, "topics"), ({"topics": "t"}, "topics"), ({"topics": None}, "topics"),
    ({"topics": [1]}, "topics"), ({"topics": ["a/b"]}, "topics"), ({"topics": ["t"] * 21}, "topics"),
    ({"topics": ["t", ""]}, "topics"), ({"topics": ["t"], "since": []}, "since"), ({"topics": ["t"], "since": "x"}, "since"),
    ({"topics": ["t"], "since": {"t": 1}}, "since"), ({"topics": ["t"], "since": {"t": None}}, "since"),
    *(({"topics": ["t"], "timeout": t}, "timeout") for t in (0, -1, 61, 2.5, "x", None, [], float("inf"), 10**30)),
]


@pytest.mark.parametrize("body, field", POLLS)
def test_a_poll_of_wrong_types_is_422_and_names_the_field(shared, unmoved, body, field):
    answer = send(shared.broker, "POST", "/messages/poll", json.dumps(body))
    assert answer.status_code == 422 and sentence(answer)
    assert answer.json()["detail"][0]["loc"][:2] == ["body", field]


def test_a_timeout_of_30_0_is_a_whole_number(shared, topic):
    assert shared.broker.post(topic, {}).status_code == 201
    answer = send(shared.broker, "POST", "/messages/poll",
                  f'{{"topics": ["{topic}"], "since": {{"{topic}": "0-0"}}, "timeout": 30.0}}')
    assert answer.status_code == 200 and len(answer.json()["messages"]) == 1


@pytest.mark.parametrize("path", [*JSON_POSTS, "/auth/login"])
def test_a_body_of_1_mib_and_a_byte_is_413(shared, unmoved, path):
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if path == "/auth/login" else {}
    answer = send(shared.broker, "POST", path, b"x" * (MIB + 1), headers)
    assert answer.status_code == 413 and sentence(answer)


@pytest.mark.parametrize("path", JSON_POSTS)
def test_a_body_of_exactly_1_mib_is_read_and_judged(shared, unmoved, path):
    assert send(shared.broker, "POST", path, b" " * MIB).status_code in (400, 422)


@pytest.mark.parametrize("size", [MIB + 1, 3 * MIB])
def test_a_chunked_body_is_bounded_too(shared, unmoved, size):
    def chunks():
        for start in range(0, size, 65536):
            yield b"x" * min(65536, size - start)

    try:
        answer = requests.post(shared.broker.url + "/api/v1/messages", data=chunks(), timeout=20,
                               headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
    except requests.ConnectionError:
        pass


def test_a_chunked_post_is_a_post(shared, topic):
    text = json.dumps({"topic": topic, "payload": {"n": 1}}).encode()
    answer = requests.post(shared.broker.url + "/api/v1/messages", data=iter([text[:5], text[5:9], text[9:]]), timeout=20,
                           headers={"Content-Type": "application/json"})
    assert answer.status_code == 201
    assert upstream.payloads(shared.broker, shared.fake, topic) == [{"n": 1}]


# --- media types, methods ---

@pytest.mark.parametrize("path", JSON_POSTS)
@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                                  "application/jsonp", "application/json; charset=latin-1", "application/json;charset=utf-8;x=y",
                                  "application/json, text/plain", "text/json", "application/*"])
def test_d5_another_media_type_is_refused(shared, unmoved, path, kind):
    body = json.dumps({"topic": "t", "payload": {}, "topics": ["t"], "topic_name": "t", "refresh_token": "x"})
    answer = requests.post(shared.broker.url + path, data=body.encode(), timeout=20,
                           headers={"Content-Type": kind} if kind is not None else {})
    assert answer.status_code == (415 if path.startswith("/v1") else 422) and sentence(answer)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"'])
def test_json_in_utf_8_may_be_said_in_other_words(shared, topic, kind):
    answer = requests.post(shared.broker.url + "/api/v1/messages", timeout=20, headers={"Content-Type": kind},
                           data=json.dumps({"topic": topic, "payload": {}}))
    assert answer.status_code == 201


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_d5_a_login_is_a_form(shared, unmoved, kind):
    answer = requests.post(shared.broker.url + "/auth/login", timeout=20, headers={"Content-Type": kind},
                           data="username=main&password=x&grant_type=password")
    assert answer.status_code == 422 and sentence(answer)


@pytest.mark.parametrize("form", ["", "username=main", "password=x", "username=%zz&password=x", "username=%ff&password=x",
                                  "username=%00&password=x", "&&&=", "username"])
def test_a_bad_form_is_422(shared, unmoved, form):
    answer = requests.post(shared.broker.url + "/auth/login", timeout=20, data=form,
                           headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 422 and sentence(answer)


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/status", "/auth/me", "/api/v1/topics"])
def test_a_get_takes_no_body(shared, unmoved, path):
    answer = requests.get(shared.broker.url + path, data=b"{}", headers={"Content-Type": "application/json"}, timeout=20)
    assert answer.status_code == 400 and sentence(answer)


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "POSTX", "M" * 300])
@pytest.mark.parametrize("path", ["/health", "/api/v1/messages", "/auth/login", "/v1/outbox", "/nothing"])
def test_methods_that_no_path_knows_are_refused(shared, unmoved, method, path):
    text = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = upstream.talk(shared.broker.port, text.encode())
    assert upstream.status_of(answer) in (400, 404, 405, 501), answer[:200]
    if method != "HEAD" and upstream.status_of(answer) != 400:
        assert sentence(answer.partition(b"\r\n\r\n")[2])


# --- who must not come: browsers and proxies (D5) ---

FOREIGN = [("Origin", "http://evil.example"), ("Origin", "null"), ("Origin", "http://127.0.0.1"), ("Referer", "http://x/"),
           ("Forwarded", "for=1.2.3.4"), ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "x"), ("x-forwarded-proto", "https"),
           ("Upgrade", "websocket"), ("Upgrade", "h2c"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site"),
           ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "nonsense")]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name, value", FOREIGN)
def test_d5_requests_of_web_pages_and_proxies_are_403(shared, unmoved, path, name, value):
    for method in ("GET", "POST"):
        answer = send(shared.broker, method, path, json.dumps({"topic": "t", "payload": {}}) if method == "POST" else None,
                      {name: value})
        assert answer.status_code == 403 and sentence(answer)


@pytest.mark.parametrize("path", PATHS)
def test_d5_options_is_403_and_tells_no_origin_anything(shared, unmoved, path):
    answer = requests.options(shared.broker.url + path, timeout=10, headers={"Access-Control-Request-Method": "POST"})
    assert answer.status_code == 403 and sentence(answer)
    assert not any(h.lower().startswith("access-control") for h in answer.headers)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1:1", "localhost:1", "[::1]", "10.0.0.1",
                                  "localhost.", "127.0.0.1:", "user@127.0.0.1"])
def test_d5_a_foreign_host_is_400(shared, unmoved, path, host):
    answer = requests.get(shared.broker.url + path, headers={"Host": host}, timeout=10)
    assert answer.status_code == 400 and sentence(answer)


def test_d5_a_navigation_of_the_address_bar_is_let_in(shared):
    assert requests.get(shared.broker.url + "/health", headers={"Sec-Fetch-Site": "none"}, timeout=10).status_code == 200
    for host in ("localhost", f"localhost:{shared.broker.port}", f"127.0.0.1:{shared.broker.port}", "127.0.0.1"):
        assert requests.get(shared.broker.url + "/health", headers={"Host": host}, timeout=10).status_code == 200


# --- encoded paths (D4): what would mean something else upstream ---

CROOKED = ["/api/v1/topics/..%2f..%2f..%2fauth%2fusers", "/api/v1/topics/%2e%2e", "/api/v1/topics/..", "/api/v1/topics/.",
           "/api/v1/topics/../../../auth/me", "/api/v1/topics/t%2fmessages", "/api/v1/topics/t%00", "/api/v1/topics/%2e",
           "/api/v1/topics/t%0d%0aX:1", "/api/v1/topics/%", "/api/v1/topics/%2", "/api/v1/topics/%zz", "/api/v1/topics/%ff",
           "/api/v1/topics/t%3fx=1", "/api/v1/topics/t%23", "/api/v1/topics/t;x", "/api/v1/topics/t+u", "/api/v1/topics//",
           "/api/v1/topics/t/", "//api/v1/topics", "/api/v1//topics", "/api/v1/topics/stats%2f", "/api/v1/topics/%73tats",
           "/api/v1/topics/t%252f", "/api/v1/%74opics", "/%61uth/users", "/auth/./me", "/auth/x/../me", "/./health",
           "/health/", "/HEALTH", "/v1/../admin/status", "/v1/outbox/..%2fstatus", "/admin/accounts/main/token",
           "/api/v1/topics/t/messages/../..", "/api/v1/topics/%e4%b8", "/api/v1/topics/t/messages%2f"]


@pytest.mark.parametrize("path", CROOKED)
def test_d4_a_crooked_path_is_a_clear_error_and_asks_the_relay_nothing(shared, unmoved, path):
    for method in ("GET", "DELETE", "POST"):
        text = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        answer = upstream.talk(shared.broker.port, text.encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert upstream.status_of(answer) in (400, 403, 404, 405), answer[:200]
        assert sentence(body)
        assert b"Server: uvicorn" not in head


# --- smuggling forms (T7) ---

POST, HOST = b"POST /api/v1/messages HTTP/1.1\r\n", b"Host: localhost\r\n"
TYPE = b"Content-Type: application/json\r\n"
BODY = b'{"topic": "smuggled", "payload": {}}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
SMUGGLED = {
    "two_hosts": POST + b"Host: localhost\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "no_host": POST + TYPE + LENGTH + b"\r\n" + BODY,
    "empty_host": POST + b"Host:\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "no_host_1_0": b"POST /api/v1/messages HTTP/1.0\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "length_and_chunked": POST + HOST + TYPE + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + BODY,
    "two_lengths": POST + HOST + TYPE + LENGTH + LENGTH + b"\r\n" + BODY,
    "different_lengths": POST + HOST + TYPE + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY,
    "list_of_lengths": POST + HOST + TYPE + b"Content-Length: 36, 36\r\n\r\n" + BODY,
    "negative_length": POST + HOST + TYPE + b"Content-Length: -1\r\n\r\n" + BODY,
    "plus_length": POST + HOST + TYPE + b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY,
    "huge_length": POST + HOST + TYPE + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY,
    "hex_length": POST + HOST + TYPE + b"Content-Length: 0x24\r\n\r\n" + BODY,
    "absolute_uri": b"POST http://localhost/api/v1/messages HTTP/1.1\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "star": b"POST * HTTP/1.1\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "no_slash": b"POST api/v1/messages HTTP/1.1\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "fragment": b"POST /api/v1/messages#x HTTP/1.1\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "nul_in_header": POST + HOST + b"X: a\x00b\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "nul_in_path": b"POST /api/v1/messages\x00 HTTP/1.1\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "folded_line": POST + HOST + b"X: a\r\n b\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "folded_tab": POST + HOST + b"Transfer-Encoding:\r\n\tchunked\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "space_before_colon": POST + HOST + b"Content-Length : 3\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "space_in_name": POST + HOST + b"X Y: 1\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "no_colon": POST + b"Host: localhost\r\nnonsense\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "empty_name": POST + b"Host: localhost\r\n: x\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "bare_lf": POST.replace(b"\r", b"") + b"Host: localhost\n" + (TYPE + LENGTH).replace(b"\r", b"") + b"\n" + BODY,
    "one_bare_lf": POST + b"Host: localhost\nX: 1\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "bare_cr": POST + b"Host: localhost\rX: 1\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "other_encoding": POST + HOST + b"Transfer-Encoding: gzip, chunked\r\n" + TYPE + b"\r\n" + BODY,
    "identity": POST + HOST + b"Transfer-Encoding: identity\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "xchunked": POST + HOST + b"Transfer-Encoding: xchunked\r\n" + TYPE + b"\r\n" + BODY,
    "two_encodings": POST + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + TYPE + b"\r\n0\r\n\r\n",
    "chunked_1_0": b"POST /api/v1/messages HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n" + TYPE + b"\r\n0\r\n\r\n",
    "two_spaces": b"POST  /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "tab": b"POST\t/api/v1/messages HTTP/1.1\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "two_types": POST + HOST + TYPE + TYPE + LENGTH + b"\r\n" + BODY,
    "two_credentials": POST + HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "bad_query": b"POST /api/v1/messages?x=%zz HTTP/1.1\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "raw_utf8": "POST /api/v1/messages/\u00e4 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "version_9": b"POST /api/v1/messages HTTP/9.9\r\nHost: localhost\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "http_0_9": b"GET /api/v1/topics\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "long_head": POST + HOST + b"X: " + b"a" * 20000 + b"\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
    "many_headers": POST + HOST + b"".join(b"X%d: 1\r\n" % n for n in range(2000)) + TYPE + LENGTH + b"\r\n" + BODY,
    "long_path": b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bad_chunk": POST + HOST + b"Transfer-Encoding: chunked\r\n" + TYPE + b"\r\nzz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "negative_chunk": POST + HOST + b"Transfer-Encoding: chunked\r\n" + TYPE + b"\r\n-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "huge_chunk": POST + HOST + b"Transfer-Encoding: chunked\r\n" + TYPE + b"\r\nffffffffffffffff1\r\n" + BODY,
    "garbage": bytes(range(256)) * 8,
}


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED)
def test_a_smuggling_form_is_refused_and_the_connection_closed(shared, unmoved, data):
    """What follows on the connection, a whole good post, must not be read as one."""
    second = POST + HOST + TYPE + LENGTH + b"\r\n" + BODY
    answer = upstream.talk(shared.broker.port, data + second, half_close=True)
    assert upstream.status_of(answer) in (400, 408, 413, 414, 431, 501, 505, None), answer[:300]
    assert b"HTTP/1.1 2" not in answer and answer.count(b"Content-Type: application/json") <= 1, answer


HAND_REFUSED = ["two_hosts", "no_host", "length_and_chunked", "two_lengths", "absolute_uri", "nul_in_header", "folded_line",
                "space_before_colon", "bare_lf"]


@pytest.mark.parametrize("name", HAND_REFUSED)
def test_the_forms_the_library_would_take_are_400_with_a_sentence(shared, unmoved, name):
    answer = upstream.talk(shared.broker.port, SMUGGLED[name], half_close=True)
    assert upstream.status_of(answer) == 400, answer[:300]
    assert sentence(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("data", [
    POST + HOST + TYPE + b"Content-Length: 100\r\n\r\n" + BODY,
    POST + HOST + TYPE + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY,
    POST + HOST + TYPE, POST, b"P"], ids=["length", "chunked", "head", "line", "byte"])
def test_a_request_cut_short_is_no_request(hasty, data):
    before = hasty.status()["outbox"]
    answer = upstream.talk(hasty.port, data, half_close=True)
    assert upstream.status_of(answer) in (None, 400, 408)
    assert hasty.status()["outbox"] == before


def test_pipelined_requests_are_answered_in_order(shared):
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = upstream.talk(shared.broker.port, one * 20 + last)
    assert answer.count(b"HTTP/1.1 200") == 20 and answer.count(b"HTTP/1.1 404") == 1
    assert answer.rindex(b"HTTP/1.1 200") < answer.index(b"HTTP/1.1 404")


def test_expect_100_continue_is_understood(shared, topic):
    body = json.dumps({"topic": topic, "payload": {}}).encode()
    head = POST + HOST + b"Expect: 100-continue\r\nConnection: close\r\n" + TYPE + b"Content-Length: %d\r\n\r\n" % len(body)
    answer = upstream.talk(shared.broker.port, head + body)
    assert b"HTTP/1.1 201" in answer


# --- slow callers ---

@pytest.fixture(scope="module")
def hasty(tmp_path_factory, shared):
    broker = Broker(tmp_path_factory.mktemp("hasty"), config="limits {\n arrive_seconds = 1\n}\n")
    broker.login(shared.fake)
    yield broker
    broker.stop()


@pytest.mark.parametrize("start", [b"", POST + b"Host: localhost\r\n", POST + HOST + TYPE + LENGTH + b"\r\n{",
                                   POST + HOST + TYPE + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"],
                         ids=["line", "head", "body", "chunked"])
def test_a_caller_that_drips_is_cut_off_at_the_deadline(hasty, start):
    before = hasty.status()["outbox"]["queued"]
    with socket.create_connection(("127.0.0.1", hasty.port), 30) as s:
        s.sendall(start)
        s.settimeout(0.2)
        began, answer = time.monotonic(), None
        while answer is None and time.monotonic() - began < 15:
            try:
                s.sendall(b"X")
                answer = s.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                answer = b""
        assert answer is not None, "it was never cut off"
        assert time.monotonic() - began < 8
        assert upstream.status_of(answer) in (400, 408, None)
    assert hasty.status()["outbox"]["queued"] == before
    assert requests.get(hasty.url + "/health", timeout=10).status_code == 200


def test_slow_callers_keep_nobody_else_waiting(hasty, topic):
    slow = [socket.create_connection(("127.0.0.1", hasty.port), 30) for _ in range(50)]
    for s in slow:
        s.sendall(b"POST /api/v1/mess")
    assert hasty.post(topic, {}).status_code in (201, 202)
    for s in slow:
        s.close()


# --- the admin face ---

@pytest.fixture
def admin(shared):
    with requests.Session() as session:
        session.mount("http://localhost", UnixAdapter(shared.broker.state / "admin.sock"))
        yield lambda method, path, **options: session.request(method, "http://localhost" + path, timeout=20, **options)


@pytest.mark.parametrize("call", ["login", "import", "release"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"relay_url": 5}', b'{"unknown": "x"}', b'{"keep_password": "yes"}',
                                  b'{"relay_url": "http://127.0.0.1:1\\u0000x"}', b'{"password": "\\ud800"}', b"[" * 100,
                                  b'{"relay_url": "x"}', b'{"username": "\xff"}'])
def test_a_bad_order_to_the_admin_face_is_a_problem(shared, admin, unmoved, call, body):
    answer = admin("POST", f"/admin/accounts/other/{call}", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (404, 422) and answer.headers["Content-Type"] == "application/problem+json"
    assert sentence(answer)
    assert [a["name"] for a in shared.broker.status()["accounts"]] == ["main"]


@pytest.mark.parametrize("name", ["", "a%2fb", "..", "%00", "x" * 256, "a%0ab", "%ff", "a%e2%80%aeb"])
def test_a_bad_account_name_is_refused(shared, admin, unmoved, name):
    answer = admin("POST", f"/admin/accounts/{name}/login", json={"relay_url": shared.fake.url, "username": "alice",
                                                                   "password": "correct horse battery"})
    assert answer.status_code in (404, 422) and sentence(answer)


@pytest.mark.parametrize("method, path", [("GET", "/"), ("GET", "/admin"), ("GET", "/admin/"), ("GET", "/admin/accounts"),
                                          ("POST", "/admin/status"), ("GET", "/admin/accounts/main/token"),
                                          ("POST", "/admin/accounts/nobody/token"), ("POST", "/admin/accounts/nobody/logout"),
                                          ("DELETE", "/admin/accounts/main")])
def test_other_admin_paths_are_errors(shared, admin, unmoved, method, path):
    answer = admin(method, path)
    assert answer.status_code in (404, 405) and sentence(answer)


@pytest.mark.parametrize("name, value", FOREIGN)
def test_d5_the_admin_face_has_the_same_guard(shared, admin, unmoved, name, value):
    assert admin("GET", "/admin/status", headers={name: value}).status_code == 403
