"""A hostile site, a server that takes whatever its page does, and the browser that shows it."""
import base64
import contextlib
import hashlib
import http.server
import json
import pathlib
import shutil
import signal
import socket
import tempfile
import threading
import urllib.parse

from harness import Process, free_port, wait_for

CHROMIUM = shutil.which("chromium")
PAGE = pathlib.Path(__file__).with_name("hostile.html")
SECRET = "what the page must not read"


class Server:
    """An HTTP server of the test's own in a thread, on a port that it may hand on to somebody else."""

    def __init__(self, port=None):
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def setup(self):
                super().setup()
                server.connections.append(self.connection)

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                path, _, query = self.path.partition("?")
                query = dict(urllib.parse.parse_qsl(query))
                with contextlib.suppress(OSError):
                    server.answer(self, path, query, body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = answer

            def log_message(self, *args):
                pass

            def reply(self, status=200, body="", **headers):
                body = body.encode()
                self.send_response(status)
                origin = self.headers.get("Origin", "*")
                for name, value in {
                        "Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": "PUT, DELETE, OPTIONS, HEAD",
                        "Access-Control-Allow-Headers": "content-type, authorization", "Cache-Control": "no-store",
                        "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                if origin != "*":
                    self.send_header("Access-Control-Allow-Credentials", "true")
                self.end_headers()
                self.wfile.write(body if self.command != "HEAD" else b"")

        self.port, self.connections = port or free_port(), []
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02},
                                       daemon=True)
        self.thread.start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
        # A browser connects ahead: its next request must not find this server once more.
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class PageServer(Server):
    """Nothing but the page."""

    def answer(self, handler, path, query, body):
        handler.reply(200 if path == "/page" else 404, PAGE.read_text() if path == "/page" else "", Content_Type="text/html")


class Control(Server):
    """Grants everything to everybody, and remembers which attempts came."""

    def __init__(self, port=None):
        self.attempts = set()
        super().__init__(port)

    def answer(self, handler, path, query, body):
        if handler.command != "OPTIONS" or query.get("attempt") == "fetch OPTIONS":
            self.attempts.add(query.get("attempt"))
        kind = handler.headers.get("Accept", "")
        if handler.headers.get("Upgrade") == "websocket":
            return self.web_socket(handler)
        if kind.startswith("text/event-stream"):
            return handler.reply(body=f"data: {SECRET}\n\n", Content_Type="text/event-stream")
        if kind.startswith("image/"):
            return handler.reply(body='<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
                                 Content_Type="image/svg+xml")
        if kind.startswith("text/css"):
            return handler.reply(body=f'a {{ content: "{SECRET}"; }}', Content_Type="text/css")
        if kind.startswith("text/html"):
            return handler.reply(body=SECRET, Content_Type="text/html")
        return handler.reply(body=f'self.leak = "{SECRET}"', Content_Type="text/javascript")

    @staticmethod
    def web_socket(handler):
        key = handler.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(101)
        for name, value in {"Upgrade": "websocket", "Connection": "Upgrade",
                            "Sec-WebSocket-Accept": base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()}.items():
            handler.send_header(name, value)
        if "Sec-WebSocket-Protocol" in handler.headers:
            handler.send_header("Sec-WebSocket-Protocol", handler.headers["Sec-WebSocket-Protocol"])
        handler.end_headers()
        handler.wfile.write(bytes([0x81, len(SECRET)]) + SECRET.encode())
        handler.close_connection = True


class Site(Server):
    """Where the page comes from and reports to. `seen(attempt)` tells whether the page's target has had it by now."""

    def __init__(self):
        self.expect(None)
        super().__init__()

    def expect(self, seen):
        self.seen, self.results = seen, None
        self.here, self.go = threading.Event(), threading.Event()

    def answer(self, handler, path, query, body):
        if handler.command == "OPTIONS":
            return handler.reply()
        if path == "/page":
            return handler.reply(body=PAGE.read_text(), Content_Type="text/html")
        if path == "/to":
            return handler.reply(302 if handler.command == "GET" else 307, Location=query["url"])
        if path == "/ready":
            self.here.set()
            self.go.wait(60)
        elif path == "/settled":
            self.settle(query["attempt"])
        elif path == "/done":
            self.results = json.loads(body)
        return handler.reply()

    def settle(self, attempt):
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self.seen(attempt), 20)

    def page(self, target, host):
        """The page's address under a host name and port of its own."""
        return f"http://{host}/page?" + urllib.parse.urlencode({"site": f"http://127.0.0.1:{self.port}", "target": target})


class Browser:
    """Headless Chromium on a page; only loopback, where every name under .example leads."""

    def __init__(self, folder, url):
        folder = pathlib.Path(folder)
        # A profile of its own: a service worker of an earlier visit would be there already.
        profile = tempfile.mkdtemp(dir=folder, prefix="browser-")
        self.process = Process(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-popup-blocking",
             "--disable-extensions", "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
             "--disable-backgrounding-occluded-windows", "--no-proxy-server", f"--user-data-dir={profile}",
             "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, "
             "EXCLUDE *.localhost", url],
            folder / "browser.log", cwd="/")

    def stop(self):
        self.process.popen.send_signal(signal.SIGTERM)
        self.process.stop()
