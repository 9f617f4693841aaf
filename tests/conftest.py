import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402


@pytest.fixture
def fake(tmp_path):
    relay = harness.FakeRelay(tmp_path)
    yield relay
    relay.stop()


@pytest.fixture
def broker(tmp_path, fake):
    """A broker, logged in at the fake relay; its graceful stop at the end finds leaks."""
    broker = harness.Broker(tmp_path)
    broker.login(fake)
    yield broker
    if broker.process.alive():
        broker.stop()


def pytest_sessionfinish():
    """What a failed test has left running."""
    for process in harness.Process.all:
        process.kill()
