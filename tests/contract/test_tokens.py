"""Contract, section 2: tokens."""

import base64
import json
import threading
import time

import pytest
import requests

from relays import User


def test_a_login_answers_with_a_bearer_and_a_refresh_token(user):
    answer = user.try_login()
    assert answer.status_code == 200
    body = answer.json()
    assert body["token_type"] == "bearer" and body["refresh_token_secondary"] is None
    assert body["expires_in"] == 600
    claims = json.loads(base64.urlsafe_b64decode(body["access_token"].split(".")[1] + "=="))
    assert claims["sub"] == user.id and claims["username"] == user.name
    assert set(claims) == {"sub", "username", "permissions", "exp", "iat", "jti"}
    token_id, secret = body["refresh_token"].split(".")
    assert len(token_id) == 36 and secret


def test_bad_credentials_are_401_and_bad_forms_422(user):
    answer = user.try_login("wrong")
    assert answer.status_code == 401 and answer.json()["detail"]
    assert User(user.relay, "nobody", "x").try_login().status_code == 401
    for form in ({}, {"username": user.name}, {"username": user.name, "password": "x", "grant_type": "other"},
                 {"username": "", "password": ""}):
        answer = user.call("POST", "/auth/login", data=form)
        assert answer.status_code == 422 and isinstance(answer.json()["detail"], list)
    assert user.call("POST", "/auth/login", {"username": user.name, "password": user.password}).status_code == 422


def test_a_missing_grant_type_is_let_through(user):
    form = {"username": user.name, "password": user.password}
    assert user.call("POST", "/auth/login", data=form).status_code == 200


def test_each_refresh_gives_the_next_token(user):
    first = user.refresh(user.token)
    assert first.status_code == 200 and first.json()["refresh_token"] != user.token
    assert user.refresh(first.json()["refresh_token"]).status_code == 200


def test_a_replay_kills_the_chain(user):
    second = user.refresh(user.token).json()["refresh_token"]
    third = user.refresh(second).json()["refresh_token"]
    answer = user.refresh(user.token)
    assert answer.status_code == 401 and answer.json() == {"detail": "invalid refresh token"}
    assert user.refresh(third).status_code == 401


def test_a_replay_leaves_other_logins_and_access_tokens_alone(user):
    first, bearer = user.token, user.bearer
    other = user.login().token
    user.refresh(first)
    assert user.refresh(first).status_code == 401
    assert user.refresh(other).status_code == 200
    user.bearer = bearer
    assert user.call("GET", "/auth/me").status_code == 200


def test_of_two_racing_refreshes_one_wins_at_most(user):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(user.refresh(user.token))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.status_code for a in answers) in ([200, 401], [401, 401])
    winner = [a.json()["refresh_token"] for a in answers if a.status_code == 200]
    if winner and user.relay.flavour == "memory":
        assert user.refresh(winner[0]).status_code == 401


@pytest.mark.parametrize("token", ["x", ".", "a.", ".b", "a.b", "00000000-0000-4000-8000-000000000000.secret"])
def test_a_token_of_no_use_is_401(user, token):
    answer = user.refresh(token)
    assert answer.status_code == 401 and answer.json() == {"detail": "invalid refresh token"}


def test_a_wrong_secret_harms_nothing(user):
    assert user.refresh(user.token[:-2] + "xx").status_code == 401
    assert user.refresh(user.token).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"refresh_token":1}', b'{"refresh_token":null}', b"{x"])
def test_a_refresh_of_another_shape_is_422_and_echoes_it(user, body):
    answer = user.call("POST", "/auth/token/refresh", body)
    assert answer.status_code == 422
    for problem in answer.json()["detail"]:
        assert {"type", "loc", "msg", "input"} <= set(problem)


def test_a_422_echoes_the_secret(user):
    answer = user.call("POST", "/auth/token/refresh", {"refresh_tokn": "s3cret"})
    assert answer.status_code == 422 and "s3cret" in answer.text


def test_revoking_takes_one_token_and_with_revoke_chain_all(user):
    second = user.refresh(user.token).json()["refresh_token"]
    assert user.revoke(user.token).status_code == 204
    third = user.refresh(second)
    assert third.status_code == 200
    assert user.revoke(user.token, revoke_chain=True).status_code == 204
    assert user.refresh(third.json()["refresh_token"]).status_code == 401


def test_a_revoked_token_is_no_replay(user):
    assert user.revoke(user.token).status_code == 204
    assert user.refresh(user.token).status_code == 401
    assert user.call("GET", "/auth/me").status_code == 200


def test_revoking_something_unknown_is_204_and_something_malformed_400(user):
    assert user.revoke("a.b").status_code == 204
    assert user.revoke(user.token[:-2] + "xx", revoke_chain=True).status_code == 204
    assert user.refresh(user.token).status_code == 200
    assert user.revoke("nonsense").status_code == 400
    assert user.revoke("a.b", revoke_chain="maybe").status_code == 422
    assert user.revoke("a.b", revoke_chain="yes").status_code == 204


def test_logout_denies_this_access_token_in_memory_and_fails_with_valkey(user):
    answer = user.call("POST", "/auth/logout")
    if user.relay.flavour == "memory":
        assert answer.status_code == 204
        assert user.call("GET", "/auth/me").status_code == 401
    else:
        assert answer.status_code == 500 and answer.json()["error"] == "INTERNAL_ERROR"
        assert user.call("GET", "/auth/me").status_code == 200
    assert user.refresh(user.token).status_code == 200


def test_me_says_who_it_is(user):
    body = user.call("GET", "/auth/me").json()
    assert set(body) == {"user_id", "username", "email", "is_active", "created_at", "permissions", "owned_topics"}
    assert body["user_id"] == user.id and body["permissions"] == ["read", "write"] and body["owned_topics"] == []
    user.send("mine", {})
    assert user.call("GET", "/auth/me").json()["owned_topics"] == ["mine"]


def test_sessions_lists_live_tokens(user):
    user.refresh(user.token)
    user.try_login()
    sessions = user.call("GET", "/auth/sessions").json()
    assert len(sessions) == 2
    assert set(sessions[0]) == {"jti", "issued_at", "expires_at", "last_used_at", "client_hint"}
    assert all(session["last_used_at"] is None for session in sessions)


def test_a_session_can_be_ended_again_and_again(user):
    token_id = user.token.split(".")[0]
    assert user.call("DELETE", f"/auth/sessions/{token_id}").status_code == 204
    assert user.call("DELETE", f"/auth/sessions/{token_id}").status_code == 204
    assert user.call("DELETE", "/auth/sessions/unknown").status_code == 404
    assert user.refresh(user.token).status_code == 401
    assert user.call("GET", "/auth/me").status_code == 200


def test_another_users_session_is_404(user, make_user):
    other = make_user(user.relay).login()
    assert user.call("DELETE", "/auth/sessions/" + other.token.split(".")[0]).status_code == 404
    assert other.refresh(other.token).status_code == 200


@pytest.mark.parametrize("bearer", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_a_bad_bearer_is_401(user, bearer):
    user.bearer = bearer
    answer = user.call("GET", "/auth/me")
    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_inactive_user_is_403_and_its_refresh_401(user):
    def set_active(active):
        assert user.admin.call("PATCH", f"/auth/users/{user.id}", {"is_active": active}).status_code == 200

    set_active(False)
    assert user.call("GET", "/auth/me").status_code == 403
    assert user.try_login().status_code == 403
    answer = user.refresh(user.token)
    assert answer.status_code == 401 and answer.json() == {"detail": "user not found"}
    set_active(True)
    assert user.refresh(user.token).status_code == 401
    assert user.call("GET", "/auth/me").status_code == 200


def test_a_deleted_user_is_401(user):
    assert user.admin.call("DELETE", f"/auth/users/{user.id}").status_code == 204
    answer = user.call("GET", "/auth/me")
    assert answer.status_code == 401 and answer.json() == {"detail": "User not found"}
    assert user.refresh(user.token).json() == {"detail": "user not found"}


def test_a_missing_permission_is_403_before_validation(relay, make_user):
    reader = make_user(relay, ["read"]).login()
    assert reader.call("POST", "/api/v1/messages", {}).status_code == 403
    assert reader.call("POST", "/api/v1/messages", b"{x").status_code == 422
    assert reader.poll(["t"], timeout=1).status_code == 200
    writer = make_user(relay, ["write"]).login()
    assert writer.call("POST", "/messages/poll", {}).status_code == 403


def test_access_tokens_expire(short_lived, make_user):
    user = make_user(short_lived).login()
    assert user.call("GET", "/auth/me").status_code == 200
    deadline = time.monotonic() + 30
    while user.call("GET", "/auth/me").status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert user.call("GET", "/auth/me").status_code == 401
    assert user.refresh(user.token).status_code == 200


def test_the_device_flow_needs_a_provider(user):
    answer = user.call("POST", "/auth/device/code", data={"client_hint": "test"})
    assert answer.status_code == 400 and answer.json()["error"] == "device_authorization_unavailable"
    answer = user.call("POST", "/auth/device/token",
                       data={"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "x"})
    assert answer.status_code == 400 and answer.json()["error"] == "expired_token"
    answer = user.call("POST", "/auth/device/token", data={"grant_type": "other", "device_code": "x"})
    assert answer.status_code == 400 and answer.json()["error"] == "unsupported_grant_type"


def test_after_a_500_the_connection_is_closed(user):
    with requests.Session() as session:
        session.get(user.relay.url + "/health", timeout=10)
        answer = session.post(user.relay.url + "/api/v1/messages", data=b'{"topic":"\\ud800","payload":{}}', timeout=10,
                              headers={"Authorization": f"Bearer {user.bearer}", "Content-Type": "application/json"},
                              stream=True)
        assert answer.status_code == 500
        socket = answer.raw._connection.sock if answer.raw._connection else None
        assert answer.content
        if socket is not None and socket.fileno() >= 0:
            socket.settimeout(10)
            assert socket.recv(1) == b""
