"""Many processes at once with the unmodified Python client. Run as a program, this is one of them.

Each process has two RelayTransports. One polls the process's own topic and the topic of all, with a cursor file. The
other posts to the next process and to all, and is made anew every few rounds, as a program that is started again would.
What went wrong is kept, the client's own warnings too, since it hides what it retries.
"""
import json
import logging
import pathlib
import subprocess
import sys
import threading
import time

ALL = "all"
LISTEN_ON_S = 60


def own(index):
    return f"process_{index}"


class Errors(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def add(self, what, error):
        self.texts.append(f"{what}: {type(error).__name__}: {error}"[:500])

    def emit(self, record):
        self.texts.append(f"warned: {record.getMessage()}"[:500])


def transport(job, **options):
    from pulsar_relay_client import RelayTransport
    if "longest_sleep_s" in job:
        options["sleep"] = lambda seconds: time.sleep(min(seconds, job["longest_sleep_s"]))
    return RelayTransport(job["url"], username=job.get("username"), password=job.get("password"),
                          credentials_file=job.get("credentials_file"), **options)


def post_in_rounds(job, errors, posted, until):
    number, sender = 0, None
    enough = pathlib.Path(job["folder"]) / "enough"
    while time.monotonic() < until and not enough.exists():
        try:
            if number % job["renew_every"] == 0:
                sender = transport(job)
            topic = ALL if number % 3 == 2 else own((job["index"] + 1) % job["count"])
            sender.post_message(topic, {"from": job["index"], "number": number})
            posted.append([topic, job["index"], number])
        except Exception as error:
            errors.add("post", error)
            sender = sender or transport(job)
        number += 1
        time.sleep(max(0, min(job["every_s"], until - time.monotonic())))


def listen(job, errors, received, ended):
    """Until what all processes posted is here (the parent says so by a file), or the time is up."""
    topics = [own(job["index"]), ALL]
    cursor = pathlib.Path(job["folder"]) / f"cursor-{job['index']}.json"
    cursor.write_text(json.dumps({topic: "0-0" for topic in topics}))
    receiver = None
    while not ended():
        try:
            receiver = receiver or transport(job, cursor_path=str(cursor))
            for message in receiver.long_poll(topics, timeout=2):
                received.append([message["topic"], message["payload"]["from"], message["payload"]["number"]])
        except Exception as error:
            errors.add("poll", error)
            time.sleep(0.5)


def process(job):
    errors, posted, received = Errors(), [], []
    logging.getLogger("pulsar_relay_client").addHandler(errors)
    until = time.monotonic() + job["seconds"]
    folder = pathlib.Path(job["folder"])

    def ended():
        return time.monotonic() > until + LISTEN_ON_S or (folder / "end").exists()

    def count():
        counted = folder / f"received-{job['index']}"
        while not ended():
            counted.write_text(str(len(received)))
            time.sleep(0.2)

    threads = [threading.Thread(target=listen, args=(job, errors, received, ended)), threading.Thread(target=count)]
    for thread in threads:
        thread.start()
    post_in_rounds(job, errors, posted, until)
    (folder / f"posted-{job['index']}.json").write_text(json.dumps(posted))
    for thread in threads:
        thread.join()
    (folder / f"result-{job['index']}.json").write_text(
        json.dumps({"errors": errors.texts, "posted": posted, "received": received}))


class Workers:
    """`jobs` differ in what the caller gives: url; credentials_file, or username and password; longest_sleep_s between
    two attempts of a post, if the client's own minute is too long."""

    def __init__(self, python, folder, jobs, seconds, every_s, renew_every):
        self.folder, self.seconds, self.count = pathlib.Path(folder), seconds, len(jobs)
        self.folder.mkdir()
        self.popen = []
        for index, job in enumerate(jobs):
            job = {**job, "folder": str(folder), "index": index, "count": len(jobs), "seconds": seconds,
                   "every_s": every_s, "renew_every": renew_every}
            with open(self.folder / f"log-{index}", "wb") as log:
                self.popen.append(subprocess.Popen([python, __file__, json.dumps(job)], stdout=log, stderr=log))

    def stop_posting(self):
        """Before their time is up."""
        (self.folder / "enough").touch()

    def posted(self):
        """Everything that was posted, or None before every process has posted all."""
        files = [self.folder / f"posted-{index}.json" for index in range(self.count)]
        try:
            return [tuple(message) for file in files for message in json.loads(file.read_text())]
        except (FileNotFoundError, ValueError):
            return None

    def everything_arrived(self):
        posted = self.posted()
        if posted is None:
            return False
        for index in range(self.count):
            expected = sum(topic in (ALL, own(index)) for topic, _, _ in posted)
            if int((self.folder / f"received-{index}").read_text() or 0) < expected:
                return False
        return True

    def end(self):
        """Lets them end when everything has arrived, or can't any more; what each did."""
        deadline = time.monotonic() + LISTEN_ON_S
        while not self.everything_arrived() and time.monotonic() < deadline:
            time.sleep(0.2)
        return self.end_now()

    def end_now(self):
        (self.folder / "end").touch()
        for popen in self.popen:
            popen.wait(60)
        return [json.loads((self.folder / f"result-{index}.json").read_text()) for index in range(self.count)]

    def kill(self):
        for popen in self.popen:
            if popen.poll() is None:
                popen.kill()
            popen.wait()


def judge(results):
    """No process saw an error, and each received everything that was posted to it, each sender's messages in order."""
    errors = [f"process {index}: {text}" for index, result in enumerate(results) for text in result["errors"]]
    assert not errors, f"{len(errors)} errors: " + "; ".join(errors[:10])
    posted = [tuple(message) for result in results for message in result["posted"]]
    assert posted
    for index, result in enumerate(results):
        for topic in (ALL, own(index)):
            for sender in range(len(results)):
                expected = [number for where, who, number in posted if (where, who) == (topic, sender)]
                first_copies = list(dict.fromkeys(number for where, who, number in result["received"]
                                                  if (where, who) == (topic, sender)))
                assert first_copies == expected, f"process {index}, {topic}, from {sender}"


if __name__ == "__main__":
    process(json.loads(sys.argv[1]))
