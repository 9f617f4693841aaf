"""Web pages (D5): a real browser shows pages that try every way in, and none of them leaves a trace."""
import pytest

from conftest import WITHOUT_LIMITS
from harness import Broker, FakeRelay, wait_for
from hostile import CHROMIUM, SECRET, Browser, Control, PageServer, Site
from markers import rows

# What the browser itself keeps back.
ANOTHER_ORIGIN = {"worker", "service worker", *(f"fetch same-origin{more}" for more in (
    "", " with credentials", " without referrer", " keepalive", " HEAD", " POST text", " POST form", " POST multipart",
    " POST json", " POST without a type", " POST keepalive"))}
ALWAYS = {"fetch same-origin by redirect", "fetch same-origin POST json by redirect"}

# Hosts of the page and of its target, and what the browser keeps back. Rebound: both are the page's own origin, whose
# address has become the broker's.
PAGES = {
    "another_site": ("evil.example", "127.0.0.1", ALWAYS | ANOTHER_ORIGIN),
    "same_site": ("localhost", "localhost", ALWAYS | ANOTHER_ORIGIN),
    "rebound": ("evil.example", None, ALWAYS | {"service worker"}),
    "rebound_below_localhost": ("evil.localhost", None, ALWAYS)}


class Visit:
    """A browser that shows the page, whose target takes its port when the page is there: arrive()."""

    def __init__(self, folder, site, host, target, port):
        self.site, self.pages = site, None if target else PageServer(port)
        own = port if self.pages else site.port
        site.expect(self.seen)
        self.browser = Browser(folder, site.page(f"http://{target or host}:{port}", f"{host}:{own}"))
        wait_for(site.here.is_set, 60, "the page")
        if self.pages:
            self.pages.stop()
        self.arrive()
        site.go.set()
        wait_for(lambda: site.results is not None, 300, "the page's results")
        self.read = {r["name"]: r["got"] for r in site.results if r["got"]}
        self.names = {r["name"] for r in site.results}


class ControlVisit(Visit):
    """To a server that grants all."""

    def __init__(self, folder, site, host, target, port, kept_back):
        self.port, self.kept_back = port, kept_back
        super().__init__(folder, site, host, target, port)
        self.browser.stop()
        self.control.stop()

    def arrive(self):
        self.control = Control(self.port)

    def seen(self, attempt):
        return attempt in self.kept_back or attempt in self.control.attempts


class BrokerVisit(Visit):
    """To a broker. An attempt is seen when one more request has come, refused or not."""

    def __init__(self, folder, site, host, target, broker, fake, kept_back):
        self.broker, self.fake, self.kept_back = broker, fake, kept_back
        super().__init__(folder, site, host, target, broker.port)
        self.after = self.facts()
        self.refused = self.http()["refused"] - self.first
        self.browser.stop()

    def http(self):
        return self.broker.status()["http"]

    def came(self):
        http = self.http()
        return http["refused"] + http["requests"]

    def facts(self):
        """Every row, all that the relay counts, and the requests that were handed to a face."""
        return rows(self.broker), self.fake.state(), self.http()["requests"]

    def arrive(self):
        self.broker.start()
        self.before = self.facts()
        self.first = self.http()["refused"]
        self.last = self.came()
        self.attempts = set()

    def seen(self, attempt):
        now = self.came()
        if attempt in self.kept_back or now == self.last:
            return attempt in self.kept_back
        self.last = now
        self.attempts.add(attempt)
        return True


@pytest.mark.long
@pytest.mark.parametrize("host, target, kept_back", PAGES.values(), ids=PAGES)
def test_d5_no_web_page_gets_in(tmp_path, capsys, host, target, kept_back):
    """Each attempt is seen by a server that grants all, and by the broker, which refuses it before any face sees it."""
    assert CHROMIUM, "the package chromium is missing"
    site, fake = Site(), FakeRelay(tmp_path)
    broker = Broker(tmp_path, config=WITHOUT_LIMITS)
    broker.login(fake)
    assert broker.post("kept", {}).status_code == 201
    broker.stop()
    control = ControlVisit(tmp_path, site, host, target, broker.port, kept_back)
    tried = control.names - kept_back
    assert control.control.attempts - {None} == tried and len(tried) > 75
    assert sum(SECRET in got for got in control.read.values()) > 25

    visit = BrokerVisit(tmp_path, site, host, target, broker, fake, kept_back)
    assert visit.after == visit.before
    assert visit.attempts == tried
    # A page of the broker's origin may read the refusal, and nothing else.
    assert all("The Host header does not name this door." in got for got in visit.read.values())
    assert not target or not visit.read
    with capsys.disabled():
        print(f"\n{host}: {len(tried)} attempts, {visit.refused} requests refused; the control let {len(control.read)} "
              f"answers be read, the broker {len(visit.read)} refusals")
    broker.stop()
    fake.stop()
    site.stop()
