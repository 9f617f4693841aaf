"""A start on a disk without room, with little room, or that cannot be written; and a key folder without room."""
import pytest

import harness
from trouble import Mount, SmallDisk, complaint, counts
from harness import wait_for


def run(broker):
    """What a start that fails says."""
    argv = ["run", "--listen", f"127.0.0.1:{broker.port}"]
    return complaint(broker.run(*argv, check=False))


def test_a_new_folder_on_a_full_disk_is_refused_with_a_sentence(disk, small_of):
    disk.fill()
    broker = small_of(state=disk, start=False)
    said = run(broker)
    assert str(broker.state) in said and "room" in said, said


def start_with_room_for(broker, disk, kib):
    """True: it started. Otherwise it said why, and what it has left behind is no hindrance later."""
    disk.fill(kib)
    process = harness.Process(broker.argv(), broker.folder / f"start-{kib}.log")
    wait_for(lambda: harness.answers(broker.url + "/health") or not process.alive(), 30, "a start, or its end")
    if process.alive():
        assert process.stop() == 0
        return True
    assert process.popen.wait() == 1, process.text()
    last = process.text().strip().splitlines()[-1]
    assert last.startswith("relay-broker: ") and last.endswith(".") and len(last.split()) > 4, process.text()
    assert "room" in last or "full" in last, last
    return False


def test_a_first_start_with_too_little_room_says_so_and_what_it_left_is_no_hindrance(relay_of, mounted, small_of, tmp_path,
                                                                                     long, capsys):
    fake = relay_of()
    started = []
    step = 4 if long else 80
    for kib in range(0, 640, step):
        disk = mounted(SmallDisk, tmp_path / f"disk-{kib}", 1024)
        broker = small_of(state=disk, keys=disk, start=False)
        if start_with_room_for(broker, disk, kib):
            started.append(kib)
        disk.free()
        broker.start()
        broker.login(fake)
        assert broker.post("t", {"n": kib}).status_code == 201
        broker.stop()
        disk.stop()
    with capsys.disabled():
        print(f"\na first start needs more than {min(started) - step} and at most {min(started)} KiB")


def test_a_start_on_a_full_disk_serves_and_takes_posts_when_there_is_room(relay_of, disk, small):
    fake = relay_of()
    broker = small(fake)
    broker.stop()
    disk.fill()
    broker.start()
    assert broker.account()["state"] == "active"
    assert broker.post("t", {"x": "x" * 200000}).status_code == 507
    disk.free()
    wait_for(lambda: broker.post("t", {"n": 1}).status_code == 201, what="a post that is sent at once")
    assert counts(fake)["logins"] == 1


def rotate(broker, name, generation):
    """Uses the account until it has a token of that generation."""
    wait_for(lambda: broker.run("token", name) and broker.account(name)["generation"] >= generation, 30, "a rotation")


def test_a_full_key_folder_is_refused_with_a_sentence_at_the_first_start_only(relay_of, disk_of, small_of):
    fake = relay_of(token_seconds=6, users=((harness.USER, harness.PASSWORD), ("bob", "bob's password")))
    keys = disk_of(256, "keydisk")
    keys.fill()
    broker = small_of(keys=keys, start=False)
    said = run(broker)
    assert str(broker.keys) in said and "room" in said, said
    keys.free()
    broker = small_of(keys=keys)
    broker.login(fake)
    keys.fill()
    # Whatever is counted from now on has its room already.
    broker.login(fake, "bob", "bob", "bob's password")
    rotate(broker, "main", 1)
    rotate(broker, "bob", 1)
    broker.kill()
    broker.start()
    rotate(broker, "main", 2)
    broker.run("logout", "bob")
    wait_for(lambda: counts(fake)["chains_revoked"] == 1, what="the revocation")
    assert broker.account()["state"] == "active"
    seen = counts(fake)
    assert (seen["logins"], seen["replays"]) == (2, 0)
    assert "could not be written" not in broker.process.text()


@pytest.mark.parametrize("which", ["state", "keys"])
def test_a_read_only_folder_is_refused_with_a_sentence(relay_of, broker_of, mounted, which):
    broker = broker_of(relay_of())
    broker.stop()
    folder = getattr(broker, which)
    mounted(Mount, folder, "--bind", str(folder))
    mounted(Mount, folder, "-o", "remount,bind,ro")
    said = run(broker)
    assert str(folder) in said and "ead-only" in said, said
