"""How long a start takes with a million stored rows."""
import contextlib
import sqlite3
import time

import ground
import harness
import latency
from figure import Figure

TITLE = "Start on 1,000,000 stored rows: 72 % messages, 20 % ended posts (their keys live for a day), 8 % waiting posts"
TOPICS = 20
TEMPLATES = 5  # rows of each kind that the shipped binary writes; the rest are their copies


def lived_in(folder, relay):
    """A stopped broker whose database has rows of each kind, as the shipped binary writes them."""
    broker = harness.Broker(folder, config=ground.NO_LIMITS + "limits {\n user_percent = 100\n}\n")
    broker.login(relay)
    topics = [f"topic_{i}" for i in range(TOPICS)]
    broker.poll(topics, since={topic: "0-0" for topic in topics}, timeout=1)
    with harness.requests.Session() as session:
        for topic in topics:
            for i in range(TEMPLATES):
                answer = broker.post(topic, ground.PAYLOAD, {"Idempotency-Key": f"{topic} {i}"}, session)
                assert answer.status_code == 201, answer.text
        for topic in topics:
            harness.wait_for(lambda: len(broker.poll(topic, {topic: "0-0"}, 1)["messages"]) == TEMPLATES)
        relay.stop()
        for topic in topics:
            answer = broker.post(topic, ground.PAYLOAD, {"Idempotency-Key": f"{topic} queued"}, session)
            assert answer.status_code == 202, answer.text
    broker.stop()
    return broker


def columns(db, table, **changed):
    """The columns of a table, for INSERT … SELECT: those named are said anew."""
    names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    return ", ".join(names), ", ".join(changed.get(name, "r." + name) for name in names)


def copy_messages(db, count):
    """So many more messages, spread over the topics, each after the newest of its topic."""
    per_topic = count // TOPICS
    names, values = columns(db, "message", seq="NULL", n="t.head + x.i",
                            message_id="printf('msg_%012x', (t.id << 24) + x.i)", stamp="randomblob(16)")
    db.execute(f"""
        INSERT INTO message({names}) SELECT {values}
          FROM x JOIN topic t JOIN message r ON r.topic = t.id AND r.n = t.head
         WHERE x.i <= {per_topic} ORDER BY x.i, t.id""")
    db.execute(f"""
        UPDATE topic SET bytes = bytes / rows * (rows + {per_topic}), rows = rows + {per_topic},
                         head = head + {per_topic}""")
    db.execute("""UPDATE topic SET (newest, cursor) = (SELECT message_id, message_id FROM message m
                                                        WHERE m.topic = topic.id AND m.n = topic.head)""")


def copy_posts(db, count, state):
    """So many more posts like those in that state, with ids that follow the last."""
    last, have = db.execute(f"SELECT (SELECT max(id) FROM post), count(*) FROM post WHERE state = {state}").fetchone()
    names, values = columns(db, "post", id=f"{last} + x.i", key="randomblob(16)", digest="randomblob(16)",
                            stamp="randomblob(16)", batch="NULL")
    ranked = f"SELECT *, row_number() OVER (ORDER BY id) AS rank FROM post WHERE state = {state}"
    db.execute(f"""INSERT INTO post({names}) SELECT {values} FROM x JOIN ({ranked}) r ON r.rank = 1 + x.i % {have}
                    WHERE x.i <= {count} ORDER BY x.i""")
    names, values = columns(db, "post_body", id="p.id")
    db.execute(f"""INSERT INTO post_body({names}) SELECT {values} FROM post p JOIN (SELECT * FROM post_body LIMIT 1) r
                    WHERE p.state = {state} AND p.id > {last} AND {state} < 3""")
    db.execute("UPDATE counter SET value = (SELECT max(id) FROM post) + 1000 WHERE name = 'post'")


def fill(broker, rows):
    with contextlib.closing(sqlite3.connect(broker.state / "relay-broker.db", isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        db.execute("CREATE TEMP TABLE x(i INTEGER PRIMARY KEY)")
        db.execute(f"""INSERT INTO x WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                        SELECT i FROM n""")
        copy_messages(db, rows * 72 // 100)
        copy_posts(db, rows * 20 // 100, 3)
        copy_posts(db, rows * 8 // 100, 0)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        counts = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("message", "post")}
        since = db.execute("SELECT m.message_id FROM message m JOIN topic t ON t.id = m.topic"
                           " WHERE t.name = 'topic_0' AND m.n = t.head - 5").fetchone()[0]
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert sum(counts.values()) >= rows, counts
    return since


def first_answer(broker, request):
    """Seconds until a new connection is answered, tried again until it is."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return latency.Wire(broker.port).ask(request)
        assert broker.process.alive(), broker.process.text()
        time.sleep(0.001)


def measure(rounds, quick):
    rows = 100000 if quick else 1000000
    health = Figure("until /health answers", "s", digits=3)
    served = Figure("until the first post and the first poll are answered", "s", aim=0.3, digits=3)
    with ground.folder() as folder:
        broker = lived_in(folder, harness.FakeRelay(folder))
        since = fill(broker, rows)
        for n in range(rounds):
            started = time.perf_counter()
            broker.process = harness.Process(broker.argv(), folder / f"start-{n}.log", env=broker.env)
            first_answer(broker, ground.request("/health", None, broker.port, None, "GET"))
            health.add(time.perf_counter() - started)
            first_answer(broker, ground.post_request(broker.port, topic="topic_0"))
            found = first_answer(broker, ground.poll_request(broker.port, since, topic="topic_0"))
            served.add(time.perf_counter() - started)
            assert len(harness.json.loads(found)["messages"]) == 5, found[:400]
            broker.stop()
    return [served, health]
