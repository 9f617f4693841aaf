"""The wire face's tokens: placeholders, worthless anywhere else."""
import base64
import json
import re

import pytest
import requests

import upstream
from harness import PASSWORD, USER, Broker, FakeRelay

TOKEN_KEYS = {"access_token", "token_type", "expires_in", "refresh_token", "refresh_token_secondary"}
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def login(broker, user=USER, password="whatever", **fields):
    return requests.post(broker.url + "/auth/login", timeout=10,
                         data={"username": user, "password": password, "grant_type": "password", **fields})


def refresh(broker, token):
    return requests.post(broker.url + "/auth/token/refresh", json={"refresh_token": token}, timeout=10)


def with_token(broker, method, path, token, **options):
    return requests.request(method, broker.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=10,
                            **options)


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def open_sessions(broker):
    return broker.status()["sessions"]["open"]


def requests_of(fake):
    return fake.state()["counts"]["requests"]


def test_a_login_gets_placeholders_in_the_relays_shape(shared):
    answer = login(shared.broker)
    tokens = answer.json()
    assert answer.status_code == 200 and set(tokens) == TOKEN_KEYS
    assert tokens["token_type"] == "bearer" and tokens["refresh_token_secondary"] is None
    assert tokens["expires_in"] == 86400
    assert re.fullmatch(UUID + r"\.\S{20,}", tokens["refresh_token"])


def test_the_placeholder_tells_the_real_user_and_is_not_signed(shared):
    token = login(shared.broker).json()["access_token"]
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    me = requests.get(shared.fake.url + "/auth/me", headers=upstream.bearer(shared.broker), timeout=10).json()
    assert header["alg"] == "none" and token.endswith(".")
    assert claims(token)["sub"] == me["user_id"] and claims(token)["username"] == USER
    assert claims(token)["exp"] - claims(token)["iat"] == 86400
    assert re.fullmatch("[0-9a-f]{32}", claims(token)["jti"])


def test_a_placeholder_is_worthless_at_the_relay(shared):
    tokens = login(shared.broker).json()
    assert requests.get(shared.fake.url + "/auth/me", timeout=10,
                        headers={"Authorization": "Bearer " + tokens["access_token"]}).status_code == 401
    assert requests.post(shared.fake.url + "/auth/token/refresh", timeout=10,
                         json={"refresh_token": tokens["refresh_token"]}).status_code == 401


def test_logins_and_refreshes_ask_the_relay_nothing(shared):
    before = requests_of(shared.fake)
    for _ in range(3):
        tokens = login(shared.broker).json()
        assert refresh(shared.broker, tokens["refresh_token"]).status_code == 200
    assert requests_of(shared.fake) == before


def test_every_login_and_every_refresh_opens_a_session_of_its_own(shared):
    before = open_sessions(shared.broker)
    one, two = login(shared.broker).json(), login(shared.broker).json()
    three = refresh(shared.broker, one["refresh_token"])
    assert three.status_code == 200 and set(three.json()) == TOKEN_KEYS
    assert len({claims(t["access_token"])["jti"] for t in (one, two, three.json())}) == 3
    assert open_sessions(shared.broker) == before + 3


def test_the_same_refresh_placeholder_works_again_and_again(shared):
    token = login(shared.broker).json()["refresh_token"]
    assert [refresh(shared.broker, token).status_code for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("grant", ["password", "", None])
def test_the_grant_type_of_a_login_may_be_missing(shared, grant):
    body = {"username": USER, "password": "x"} | ({"grant_type": grant} if grant is not None else {})
    assert requests.post(shared.broker.url + "/auth/login", data=body, timeout=10).status_code == 200


def test_a_login_of_another_grant_type_is_422(shared):
    answer = login(shared.broker, grant_type="client_credentials")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "grant_type"]


def test_d8_a_login_without_user_name_and_password_names_both_and_echoes_nothing(shared):
    answer = requests.post(shared.broker.url + "/auth/login", data={"grant_type": "password"}, timeout=10)
    assert answer.status_code == 422
    assert [(i["type"], i["loc"]) for i in answer.json()["detail"]] == [
        ("missing", ["body", "username"]), ("missing", ["body", "password"])]


def test_d8_a_refresh_error_does_not_echo_the_token(shared):
    secret = "5d1c6b0e-0000-4000-8000-aaaaaaaaaaaa.very-secret-part"
    answer = requests.post(shared.broker.url + "/auth/token/refresh", json={"refresh_token": [secret]}, timeout=10)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "refresh_token"]
    assert "very-secret-part" not in answer.text


def test_a_foreign_token_of_the_right_shape_stands_for_the_only_account(shared):
    before = requests_of(shared.fake)
    answer = refresh(shared.broker, "5d1c6b0e-0000-4000-8000-aaaaaaaaaaaa.some-secret")
    assert answer.status_code == 200 and claims(answer.json()["access_token"])["username"] == USER
    assert requests_of(shared.fake) == before


@pytest.mark.parametrize("token", ["", "x", "no-uuid.secret", "5d1c6b0e-0000-4000-8000-aaaaaaaaaaaa", "a" * 5000])
def test_what_has_not_the_shape_of_a_refresh_token_is_401(shared, token):
    answer = refresh(shared.broker, token)
    assert answer.status_code == 401 and answer.json()["detail"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_real_refresh_token_is_never_sent_upstream_from_the_wire_face(shared):
    real = requests.post(shared.fake.url + "/auth/login", timeout=10,
                         data={"username": USER, "password": PASSWORD, "grant_type": "password"}).json()
    before = requests_of(shared.fake)
    assert refresh(shared.broker, real["refresh_token"]).status_code == 200
    revoked = requests.post(shared.broker.url + "/auth/token/revoke", timeout=10,
                            json={"refresh_token": real["refresh_token"], "revoke_chain": True})
    assert revoked.status_code == 204
    assert requests_of(shared.fake) == before
    assert requests.post(shared.fake.url + "/auth/token/refresh", timeout=10,
                         json={"refresh_token": real["refresh_token"]}).status_code == 200


@pytest.mark.parametrize("way", ["logout", "revoke"])
def test_logout_and_revoke_end_the_callers_session_only(shared, way):
    broker = shared.broker
    mine, other = login(broker).json(), login(broker).json()
    sessions, chains = open_sessions(broker), shared.fake.state()["users"]
    if way == "logout":
        answer = with_token(broker, "POST", "/auth/logout", mine["access_token"])
    else:
        answer = requests.post(broker.url + "/auth/token/revoke", json={"refresh_token": mine["refresh_token"]},
                               timeout=10)
    assert (answer.status_code, answer.content) == (204, b"")
    assert open_sessions(broker) == sessions - 1
    assert with_token(broker, "GET", "/auth/me", other["access_token"]).status_code == 200
    assert shared.fake.state()["users"] == chains
    assert broker.post("after-logout", {}).status_code == 201


def test_me_and_sessions_say_what_the_relay_says(shared):
    token = login(shared.broker).json()["access_token"]
    for path in ("/auth/me", "/auth/sessions"):
        ours = with_token(shared.broker, "GET", path, token)
        theirs = requests.get(shared.fake.url + path, headers=upstream.bearer(shared.broker), timeout=10)
        assert ours.status_code == 200
        assert ours.json() == theirs.json()


@pytest.mark.parametrize("method, path", [
    ("DELETE", "/auth/sessions/5d1c6b0e-0000-4000-8000-aaaaaaaaaaaa"), ("POST", "/auth/register"),
    ("GET", "/auth/users"), ("GET", "/auth/users/alice"), ("DELETE", "/auth/users/alice"),
    ("PUT", "/auth/users/alice/permissions"), ("GET", "/api/v1/topics/stats"), ("DELETE", "/api/v1/topics/stats")])
def test_administration_is_not_offered(shared, method, path):
    before = requests_of(shared.fake)
    answer = requests.request(method, shared.broker.url + path, timeout=10)
    assert answer.status_code == 403 and "dministration" in answer.json()["detail"]
    assert requests_of(shared.fake) == before


@pytest.mark.parametrize("method, path", [("POST", "/auth/device/code"), ("POST", "/auth/device/token"),
                                          ("GET", "/auth/device"), ("GET", "/auth/oidc/x/callback")])
def test_a_device_login_is_answered_with_what_to_do_instead(shared, method, path):
    before = requests_of(shared.fake)
    answer = requests.request(method, shared.broker.url + path, timeout=10)
    assert answer.status_code == 403 and "relay-broker login" in answer.json()["detail"]
    assert requests_of(shared.fake) == before


# --- several accounts, and none ---

@pytest.fixture
def two_accounts(tmp_path):
    fake = FakeRelay(tmp_path, users=(("alice", "alice's password"), ("bob", "bob's password")))
    broker = Broker(tmp_path)
    broker.login(fake, "first", "alice", "alice's password")
    broker.login(fake, "second", "bob", "bob's password")
    yield broker
    broker.stop()
    fake.stop()


def test_the_user_name_selects_among_several_accounts(two_accounts):
    for name, user in (("first", "alice"), ("second", "bob"), ("alice", "alice"), ("bob", "bob")):
        token = login(two_accounts, name).json()["access_token"]
        assert claims(token)["username"] == user
        assert with_token(two_accounts, "GET", "/auth/me", token).json()["username"] == user
    for answer in (login(two_accounts, "carol"), requests.get(two_accounts.url + "/auth/me", timeout=10),
                   refresh(two_accounts, "5d1c6b0e-0000-4000-8000-aaaaaaaaaaaa.some-secret"),
                   two_accounts.post("t", {})):
        assert answer.status_code == 401 and answer.json()["detail"]


def test_messages_of_two_accounts_never_mix(two_accounts):
    tokens = {user: login(two_accounts, user).json()["access_token"] for user in ("alice", "bob")}
    for user, token in tokens.items():
        assert two_accounts.post("t", {"of": user}, {"Authorization": f"Bearer {token}"}).status_code == 201
    for user, token in tokens.items():
        answer = two_accounts.poll("t", {"t": "0-0"}, bearer=token)
        assert [m["payload"] for m in answer["messages"]] == [{"of": user}]


def test_a_refresh_keeps_the_account_and_an_ended_session_leads_nowhere(two_accounts):
    tokens = login(two_accounts, "bob").json()
    assert claims(refresh(two_accounts, tokens["refresh_token"]).json()["access_token"])["username"] == "bob"
    assert with_token(two_accounts, "POST", "/auth/logout", tokens["access_token"]).status_code == 204
    assert refresh(two_accounts, tokens["refresh_token"]).status_code == 401
    assert with_token(two_accounts, "GET", "/auth/me", tokens["access_token"]).status_code == 401


def test_a_placeholder_survives_a_restart_and_kill_9(two_accounts):
    tokens = login(two_accounts, "bob").json()
    two_accounts.kill()
    two_accounts.start()
    assert with_token(two_accounts, "GET", "/auth/me", tokens["access_token"]).json()["username"] == "bob"
    assert claims(refresh(two_accounts, tokens["refresh_token"]).json()["access_token"])["username"] == "bob"


def test_p4_a_placeholder_of_an_account_that_was_replaced_is_refused_until_it_is_renewed(tmp_path):
    """A client that was served without a session would miss what comes between two polls. Renewed it has one, of the only
    account."""
    fake = FakeRelay(tmp_path, users=(("alice", "alice's password"), ("bob", "bob's password")))
    broker = Broker(tmp_path)
    broker.login(fake, user="alice", password="alice's password")
    tokens = login(broker, "alice").json()
    broker.login(fake, user="bob", password="bob's password", replace=True)
    for _ in range(2):
        refused = with_token(broker, "GET", "/auth/me", tokens["access_token"])
        assert refused.status_code == 401 and "log in again" in refused.json()["detail"]
        polled = requests.post(broker.url + "/messages/poll", json={"topics": ["t"], "timeout": 1}, timeout=30,
                               headers={"Authorization": "Bearer " + tokens["access_token"]})
        assert polled.status_code == 401
        answer = refresh(broker, tokens["refresh_token"])
        assert answer.status_code == 200 and claims(answer.json()["access_token"])["username"] == "bob"
        assert with_token(broker, "GET", "/auth/me", answer.json()["access_token"]).json()["username"] == "bob"
        broker.kill()
        broker.start()
    broker.stop()
    fake.stop()


def test_without_a_login_everything_says_what_to_do(tmp_path):
    broker = Broker(tmp_path)
    for answer in (login(broker), broker.post("t", {}), requests.get(broker.url + "/auth/me", timeout=10),
                   requests.post(broker.url + "/messages/poll", json={"topics": ["t"]}, timeout=10)):
        assert answer.status_code == 401 and "relay-broker login" in answer.json()["detail"]
    answer = requests.post(broker.url + "/v1/outbox", json={"topic": "t", "payload": {}}, timeout=10)
    assert answer.status_code == 409 and "relay-broker login" in answer.json()["detail"]
    assert requests.get(broker.url + "/ready", timeout=10).status_code == 503
    broker.stop()
