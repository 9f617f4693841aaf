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


@pytest.fixture
def disk_of(mounted, tmp_path):
    """Makes small disks."""
    return lambda kib, name="disk": mounted(trouble.SmallDisk, tmp_path / name, kib)


@pytest.fixture
def disk(disk_of):
    return disk_of(1024)


@pytest.fixture
def small_of(tmp_path):
    """Makes brokers whose state folder, or key folder, is on a small disk that may be full when the test ends."""
    brokers = []

    def make(state=None, keys=None, text="", start=True, **relay):
        broker = harness.Broker(tmp_path, config=trouble.config(**relay) + text, start=False)
        broker.disks = [disk for disk in (state, keys) if disk]
        broker.state = state.folder / "state" if state else broker.state
        broker.keys = keys.folder / "keys" if keys else broker.keys
        if start:
            broker.start()
            brokers.append(broker)
        return broker

    yield make
    for broker in brokers:
        if broker.process.alive():
            for disk in broker.disks:
                disk.free()
            broker.stop()


@pytest.fixture
def small(disk, small_of):
    """Makes a logged-in broker whose state folder, not its key folder, is on the small disk."""

    def make(fake, keep=False, **relay):
        broker = small_of(state=disk, **relay)
        broker.login(fake, keep=keep)
        return broker

    return make
