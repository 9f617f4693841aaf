import concurrent.futures
import os
import types

import pytest

from harness import Broker, FakeRelay

# The relay here has no limits, so that many tests can share one broker.
WITHOUT_LIMITS = "relay {\n posts_per_minute = 0\n refreshes_per_minute = 0\n logins_per_minute = 0\n}\n"
# What ends unclearly is cleared up soon.
QUICK = WITHOUT_LIMITS[:-2] + " unknown_wait_seconds = 1\n retry_after_end_seconds = 1\n poll_timeout_seconds = 5\n}\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A broker logged in at a fake relay, for tests that only need topics of their own."""
    folder = tmp_path_factory.mktemp("shared")
    fake = FakeRelay(folder)
    broker = Broker(folder, config=WITHOUT_LIMITS)
    broker.login(fake)
    yield types.SimpleNamespace(fake=fake, broker=broker)
    broker.stop()
    fake.stop()


@pytest.fixture
def quick(tmp_path, fake):
    """A broker that waits a second where others wait ten or more."""
    broker = Broker(tmp_path, config=QUICK)
    broker.login(fake)
    yield broker
    if broker.process.alive():
        broker.stop()


@pytest.fixture
def topic(request):
    """A topic of the test's own."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return name[:60].strip("-") + "-" + format(abs(hash(request.node.nodeid)) % 10**6)


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def open_folder(tmp_path):
    """A folder that other users may walk into."""
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/") and folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path
