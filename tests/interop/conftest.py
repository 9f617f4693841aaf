"""The real relay, in memory and on redis, over plain HTTP and over TLS, each with a broker in front of it."""
import uuid

import pytest

import harness


# The relay's limits are lifted in most of these tests, so the broker need not keep to them either.
NO_LIMITS = "relay {\n  posts_per_minute = 0\n  refreshes_per_minute = 0\n  logins_per_minute = 0\n}\n"


class Peers:
    def __init__(self, folder, backend, tls):
        self.backend = backend
        self.redis = harness.Redis(folder) if backend == "valkey" else None
        self.tls = harness.Tls(folder) if tls else None
        self.relay = harness.RealRelay(folder, backend=backend, tls=self.tls,
                                       redis_port=self.redis.port if self.redis else None)
        self.broker = harness.Broker(folder, config=NO_LIMITS)
        self.broker.login(self.relay, ca_file=self.tls.ca if tls else None)
        self.url = self.broker.url

    def stop(self):
        try:
            if self.broker.process.alive():
                self.broker.stop()
        finally:
            self.relay.stop()
            if self.redis:
                self.redis.stop()


FLAVOURS = {"memory": ("memory", False), "redis": ("valkey", False), "memory over TLS": ("memory", True),
            "redis over TLS": ("valkey", True)}


@pytest.fixture(scope="session", params=FLAVOURS)
def peers(request, tmp_path_factory):
    peers = Peers(tmp_path_factory.mktemp("peers"), *FLAVOURS[request.param])
    yield peers
    peers.stop()


@pytest.fixture
def topic():
    """A name that no other test uses."""
    return f"topic_{uuid.uuid4().hex[:12]}"
