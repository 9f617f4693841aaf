"""A broker that stands still between commit and effect: strace holds it at the end of the log's fdatasync.

What the commit changed is seen by comparing the database with and without the commit's part of the log."""
import re
import subprocess
import typing

from harness import wait_for
from trouble import CHAIN_STATES, POST_STATES, database_of

LEAVING = "sendto,sendmsg,sendmmsg,write,writev"
CALL = re.compile(r"^\d+ +(\w+)\(\d+<([^>]*)>(.*)")
DELAYED = re.compile(r"= 0 \(DELAYED\)$")
LONGER_THAN_A_TEST_US = 10 * 60 * 1000 * 1000


class StoppedCommit:
    """From wait() on the broker stands still, until kill() or the end of the `with`."""

    def __init__(self, broker, folder, nth):
        self.broker, self.nth = broker, nth
        self.log = folder / "stopped-commit"
        self.attach()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.detach()

    def attach(self):
        """The nth fdatasync from now on is the last thing that the process does."""
        self.log.unlink(missing_ok=True)
        argv = ["strace", "-f", "-y", "-p", str(self.broker.process.popen.pid), "-o", str(self.log), "-e",
                f"trace=fdatasync,pwrite64,{LEAVING}", "-e",
                f"inject=fdatasync:delay_exit={LONGER_THAN_A_TEST_US}:when={self.nth}"]
        self.strace = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        line = self.strace.stderr.readline()
        assert "attached" in line, line

    def calls(self):
        """(name, file, the rest of the line) of each call so far."""
        return [match.groups() for match in map(CALL.match, self.log.read_text(errors="replace").splitlines()) if match]

    def stands(self):
        return DELAYED.search(self.log.read_text(errors="replace").rstrip("\n"))

    def begin_of_commit(self):
        """Where in the log the commit begins; None: the fdatasync was not a commit's."""
        *before, (name, file, _) = self.calls()
        assert name == "fdatasync"
        begin = None
        for name, written, rest in reversed(before):
            if not file.endswith(".db-wal") or name == "fdatasync":
                break
            if name == "pwrite64" and written == file:
                begin = int(re.search(r", (\d+)\) = \d+$", rest).group(1))
        return begin

    def wait(self):
        """Until it stands after a commit; what the commit changed."""
        wait_for(self.stands, 30, "a broker that stands still")
        begin = self.begin_of_commit()
        while begin is None:
            self.detach()
            self.attach()
            wait_for(self.stands, 30, "a broker that stands still")
            begin = self.begin_of_commit()
        return Change(self.broker, begin)

    def detach(self):
        """The broker goes on."""
        self.strace.kill()
        self.strace.wait()
        self.strace.stderr.close()

    def kill(self):
        """Nothing left the process after the commit."""
        self.broker.process.popen.kill()
        self.detach()
        self.broker.kill()
        name, file, rest = self.calls()[-1]
        assert name == "fdatasync" and file.endswith(".db-wal") and DELAYED.search(rest)


class Post(typing.NamedTuple):
    state: str
    attempts: int
    topic: str
    payload: bytes
    is_new: bool


class Change:
    """What the last commit of a broker that stands still has changed."""

    def __init__(self, broker, begin):
        with database_of(broker, begin) as db:
            before = self.read(db)
        with database_of(broker) as db:
            after = self.read(db)
        chains, posts, self.messages = (self.news(b, a) for b, a in zip(before, after))
        self.chains = {id: (CHAIN_STATES[state], generation) for id, (state, generation) in chains.items()}
        self.posts = {id: Post(POST_STATES[state], *rest, id not in before[1]) for id, (state, *rest) in posts.items()}

    @staticmethod
    def read(db):
        """By id: (state, generation) of chains; (state, attempts, topic, payload) of posts; messages."""
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'post'").fetchone():
            return {}, {}, {}
        return ({id: rest for id, *rest in db.execute("SELECT id, state, generation FROM chain")},
                {id: rest for id, *rest in db.execute(
                    "SELECT post.id, state, attempts, name, payload FROM post JOIN topic ON topic.id = topic"
                    " LEFT JOIN post_body ON post_body.id = post.id")},
                {id: rest for id, *rest in db.execute("SELECT seq, message_id FROM message")})

    @staticmethod
    def news(before, after):
        return {id: value for id, value in after.items() if before.get(id) != value}

    def kinds(self):
        """The effects that are due, by what they are due to."""
        chains = [f"chain {state}" for state, _ in self.chains.values()]
        posts = ["post taken" if post.is_new else f"post {post.state}" for post in self.posts.values()]
        return set(chains + posts + (["messages"] if self.messages else []) or ["other rows"])
