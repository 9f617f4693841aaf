"""A disk that can no longer be written while the daemon has its files open (T4).

The kernel refuses a read-only remount then. So the only way is a file system that gives up by itself, as ext4 does after an
error: it stays read-only until it is unmounted, so the daemon ends and says why, and a start finds what it had answered."""
import pathlib
import subprocess

import pytest
import requests

import harness
from trouble import (LATER, POSTS, REFRESH, Mount, MountRefused, complaint, counts, hold, numbers, wait_drained, wait_events,
                     wait_held)
from harness import wait_for

LAST_WORDS = "Stopping, so that a restart reads what is there."


class FragileDisk(Mount):
    """ext4 on a file; it fails when it is told to, and is whole again after repair()."""

    def __init__(self, folder, image):
        self.image = image
        with open(image, "wb") as file:
            file.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        self.mount(folder)

    def mount(self, folder):
        super().__init__(folder, "-o", "loop,errors=remount-ro", str(self.image))
        device = subprocess.run(["findmnt", "-no", "SOURCE", str(folder)], capture_output=True, text=True).stdout.strip()
        self.trigger = pathlib.Path("/sys/fs/ext4") / pathlib.Path(device).name / "trigger_fs_error"
        if not self.trigger.exists():
            self.stop()
            raise MountRefused("this kernel breaks no ext4 on demand")

    def break_it(self):
        self.trigger.write_text("1")

    def repair(self):
        subprocess.run(["umount", str(self.folder)], check=True)
        assert subprocess.run(["fsck.ext4", "-fy", str(self.image)], capture_output=True).returncode <= 1
        self.mount(self.folder)


@pytest.fixture
def fragile(mounted, tmp_path, small_of):
    """A disk and a broker whose state folder is on it."""
    try:
        disk = mounted(FragileDisk, tmp_path / "disk", tmp_path / "image")
    except FileNotFoundError as missing:
        pytest.skip(f"this machine makes no ext4: {missing}")
    broker = harness.Broker(tmp_path, config=small_of(start=False).config.read_text(), start=False)
    broker.state = disk.folder / "state"
    broker.start()
    yield disk, broker
    if broker.process.alive():
        broker.stop()


@pytest.mark.parametrize("bind", [False, True], ids=["of the disk", "of the mount point"])
def test_a_read_only_remount_is_refused_while_the_daemon_runs(relay_of, disk, small, bind):
    broker = small(relay_of())
    mode = "remount,bind,ro" if bind else "remount,ro"
    refused = subprocess.run(["mount", "-o", mode, str(disk.folder)], capture_output=True, text=True)
    assert refused.returncode != 0 and "busy" in refused.stderr, refused.stderr
    assert broker.post("t", {"n": 1}).status_code == 201


def test_a_disk_that_turns_read_only_ends_the_daemon_and_a_start_has_lost_nothing(relay_of, fragile):
    fake = relay_of(flavour="valkey")
    disk, broker = fragile
    broker.login(fake)
    fake.control("faults", do="status", status=503, path=POSTS, count=0)
    for n in range(50):
        assert broker.post("t", {"n": n}, headers=LATER).status_code == 202
    disk.break_it()
    with pytest.raises(requests.ConnectionError):
        broker.post("t", {"n": 50}, headers=LATER)
    assert broker.process.wait_end() == 1
    assert LAST_WORDS in broker.process.text()
    said = complaint(broker.run("run", "--listen", f"127.0.0.1:{broker.port}", check=False))
    assert str(broker.state) in said and "ead-only" in said, said
    disk.repair()
    broker.start()
    fake.control("clear")
    wait_drained(broker)
    assert numbers(broker, fake, "t") in (list(range(50)), list(range(51)))
    assert (broker.account()["state"], counts(fake)["logins"]) == ("active", 1)


def test_a_token_that_arrives_at_a_disk_turned_read_only_is_replaced_by_the_password(relay_of, fragile):
    fake = relay_of(token_seconds=6)
    disk, broker = fragile
    broker.login(fake, keep=True)
    hold(fake, REFRESH)
    assert broker.post("t", {"n": 0}).status_code == 201
    wait_held(fake)
    disk.break_it()
    fake.control("release")
    assert broker.process.wait_end(30) == 1
    assert "the slot file could not be written" in broker.process.text() and LAST_WORDS in broker.process.text()
    disk.repair()
    broker.start()
    wait_for(lambda: counts(fake)["logins"] == 2, 60, "a login with the stored password")
    wait_for(lambda: broker.post("t", {"n": 1}).status_code == 201, 60, "a post that is sent at once")
    assert broker.account()["state"] == "active"


@pytest.mark.long
def test_without_a_password_the_account_asks_for_a_login_then(relay_of, fragile):
    fake = relay_of(token_seconds=6)
    disk, broker = fragile
    broker.login(fake)
    hold(fake, REFRESH)
    assert broker.post("t", {"n": 0}).status_code == 201
    wait_held(fake)
    disk.break_it()
    fake.control("release")
    assert broker.process.wait_end(30) == 1
    disk.repair()
    broker.start()
    wait_for(lambda: broker.account()["state"] == "login_required", 60, "an account that says so")
    assert wait_events(broker, "login_required")
