import pytest

import harness
import trouble


@pytest.fixture
def relay_of(tmp_path):
    """Makes fake relays that end with the test."""
    relays = []

    def make(**options):
        relays.append(harness.FakeRelay(tmp_path, **options))
        return relays[-1]

    yield make
    for relay in relays:
        relay.stop()


@pytest.fixture
def broker_of(tmp_path):
    """Makes brokers; each ends gracefully with the test, so that leaks and sanitizers' reports fail it."""
    brokers = []

    def make(fake=None, folder=None, **options):
        brokers.append(trouble.make_broker(folder or tmp_path, fake, **options))
        return brokers[-1]

    yield make
    for broker in brokers:
        if broker.process.alive():
            broker.stop()


@pytest.fixture
def mounted(tmp_path):
    """Mounts folders that are gone after the test."""
    mounts = []

    def mount(kind, *argv):
        try:
            mounts.append(kind(*argv))
        except trouble.MountRefused as refused:
            pytest.skip(f"this machine permits no mount: {refused}")
        return mounts[-1]

    yield mount
    for mount in reversed(mounts):
        mount.stop()
