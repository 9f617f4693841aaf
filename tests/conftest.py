import contextlib
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the full numbers, which take longer than CI allows")


def pytest_collection_modifyitems(config, items):
    """Tests marked `long` run with --long only."""
    if not config.getoption("--long"):
        kept, left_out = [], []
        for item in items:
            (left_out if item.get_closest_marker("long") else kept).append(item)
        items[:] = kept
        config.hook.pytest_deselected(items=left_out)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: too long for CI, runs with --long")


@pytest.fixture(scope="session")
def long(request):
    """Whether the full numbers are asked for."""
    return request.config.getoption("--long")


@contextlib.contextmanager
def bounded(item):
    """What waits for something that never comes fails in the end."""
    seconds = 7200 if item.config.getoption("--long") else 900

    def late(number, frame):
        pytest.fail(f"it took longer than {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    with bounded(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with bounded(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    with bounded(item):
        return (yield)


@pytest.fixture(autouse=True)
def nothing_crashed():
    """Whatever ended during the test, or since the one before: it did not crash and no sanitizer had a complaint."""
    yield
    harness.Process.check_ended()


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
