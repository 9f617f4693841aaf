import itertools

import pytest

from relays import ADMIN, KINDS, Relay, User, missing

numbers = itertools.count(1)


def started(kind, folder, **more):
    reason = missing(kind)
    if reason:
        pytest.skip(f"{kind}: {reason}")
    return Relay(kind, folder, **more)


@pytest.fixture(scope="session", params=KINDS)
def relay(request, tmp_path_factory):
    """A relay without rate limits that all tests of a session share."""
    relay = started(request.param, tmp_path_factory.mktemp("relay"))
    yield relay
    relay.stop()


@pytest.fixture(scope="session", params=KINDS)
def limited(request, tmp_path_factory):
    """The same with rate limits: each test comes from an address of its own."""
    relay = started(request.param, tmp_path_factory.mktemp("limited"), limits=True)
    yield relay
    relay.stop()


@pytest.fixture(params=KINDS)
def own_relay(request, tmp_path):
    """A relay of the test's own, which it may restart or break."""
    relay = started(request.param, tmp_path)
    yield relay
    relay.stop()


@pytest.fixture(params=KINDS)
def short_lived(request, tmp_path):
    """A relay whose access tokens live for two seconds."""
    if request.param.startswith("real"):
        pytest.skip(f"{request.param}: the shortest life of its access tokens is a minute")
    relay = started(request.param, tmp_path, access_token_seconds=2)
    yield relay
    relay.stop()


@pytest.fixture
def make_user():
    def make(relay, permissions=("read", "write"), address=None):
        admin = User(relay, *ADMIN, address="192.0.2.1" if address else None)
        if not hasattr(relay, "admin_bearer"):
            relay.admin_bearer = admin.login().bearer
        admin.bearer = relay.admin_bearer
        name = f"user-{next(numbers)}"
        answer = admin.call("POST", "/auth/register",
                            {"username": name, "password": "a-long-password", "permissions": list(permissions)})
        assert answer.status_code == 201, answer.text
        user = User(relay, name, "a-long-password", address)
        user.id = answer.json()["user_id"]
        user.admin = admin
        return user

    return make


@pytest.fixture
def user(relay, make_user):
    """A new user, signed in."""
    return make_user(relay).login()
