"""Two daemons on one folder, a state folder put back from a copy, keys that are gone."""
import os
import shutil

import harness
from trouble import complaint, counts, sentence, wait_drained, wait_events
from harness import wait_for

REFRESHED = {"token_seconds": 4}


def refuse(broker, *argv):
    return complaint(broker.run("run", "--listen", f"127.0.0.1:{harness.free_port()}", *argv, check=False))


def rotate(broker):
    generation = broker.account()["generation"]

    def rotated():
        broker.post("t", {})
        return broker.account()["generation"] > generation

    wait_for(rotated, what="a rotation")


def test_a_second_daemon_on_the_same_state_folder_is_refused_and_the_first_goes_on(relay_of, broker_of, tmp_path):
    broker = broker_of(relay_of())
    second = harness.Broker(tmp_path, start=False)
    second.keys = tmp_path / "other keys"
    said = refuse(second)
    assert said == (f"Another relay-broker, process {broker.process.popen.pid}, holds {broker.state}; end it, or use "
                    "another --state."), said
    assert broker.post("t", {"n": 1}).status_code == 201


def test_a_second_daemon_on_the_same_key_folder_is_refused(relay_of, broker_of, tmp_path):
    broker = broker_of(relay_of())
    second = harness.Broker(tmp_path, start=False)
    second.state = tmp_path / "other state"
    said = refuse(second)
    assert said == f"Another relay-broker uses {broker.keys}/counter; end it, or use another --keys."
    assert broker.post("t", {"n": 1}).status_code == 201


def test_a_port_that_is_taken_is_named_with_its_owner(relay_of, broker_of, tmp_path):
    broker = broker_of(relay_of())
    second = harness.Broker(tmp_path, start=False)
    second.state, second.keys = tmp_path / "other state", tmp_path / "other keys"
    said = complaint(second.run("run", "--listen", f"127.0.0.1:{broker.port}", check=False))
    assert said == (f"The door default cannot open: 127.0.0.1 port {broker.port} is already in use by process "
                    f"{broker.process.popen.pid} of uid {os.geteuid()}.")


def restore_older_copy(broker, tmp_path):
    """Stops, copies the state folder, runs until the login has rotated, puts the copy back. The key folder stays."""
    broker.stop()
    shutil.copytree(broker.state, tmp_path / "copy", copy_function=shutil.copy2,
                    ignore=lambda _, names: [n for n in names if n.endswith(".sock")])
    broker.start()
    rotate(broker)
    broker.stop()
    shutil.rmtree(broker.state)
    shutil.copytree(tmp_path / "copy", broker.state)


def test_a_restored_copy_never_sends_its_old_token_and_recovers_with_the_kept_password(relay_of, broker_of, tmp_path):
    fake = relay_of(**REFRESHED)
    broker = broker_of(fake, keep=True)
    restore_older_copy(broker, tmp_path)
    before = counts(fake)
    broker.start()
    said = sentence(wait_events(broker, "restored_copy")[0])
    assert said == ("main: this state folder was restored from a copy, or the counter file is missing: its login may "
                    "be in use elsewhere and is revoked.")
    assert broker.post("t", {"n": 1}).status_code in (201, 202)
    wait_drained(broker)
    wait_for(lambda: broker.account()["chains_revoking"] == 0, what="the revocation of the old chain")
    rotate(broker)
    seen = counts(fake)
    assert seen["replays"] == 0
    assert seen["logins"] == before["logins"] + 1
    assert seen["chains_revoked"] >= 1
    assert broker.account()["state"] == "active"


def test_a_restored_copy_without_a_password_asks_for_a_login(relay_of, broker_of, tmp_path):
    fake = relay_of(**REFRESHED)
    broker = broker_of(fake)
    restore_older_copy(broker, tmp_path)
    before = counts(fake)["refreshes"]
    broker.start()
    wait_for(lambda: broker.account()["state"] == "login_required", what="the state login_required")
    sentence(wait_events(broker, "restored_copy")[0])
    sentence(wait_events(broker, "login_required")[0])
    assert "LOGIN REQUIRED: run relay-broker login" in broker.run("status").stdout
    wait_for(lambda: broker.account()["chains_revoking"] == 0, what="the revocation of the old chain")
    seen = counts(fake)
    assert (seen["replays"], seen["refreshes"]) == (0, before)
    broker.login(fake)
    assert broker.post("t", {"n": 1}).status_code == 201


def test_a_copy_of_the_present_is_no_restored_copy(relay_of, broker_of, tmp_path):
    fake = relay_of(**REFRESHED)
    broker = broker_of(fake)
    rotate(broker)
    broker.stop()
    shutil.copytree(broker.state, tmp_path / "copy", ignore=lambda _, names: [n for n in names if n.endswith(".sock")])
    shutil.rmtree(broker.state)
    shutil.copytree(tmp_path / "copy", broker.state)
    broker.start()
    assert broker.account()["state"] == "active"
    rotate(broker)
    seen = counts(fake)
    assert (seen["logins"], seen["replays"]) == (1, 0)


def test_a_missing_counter_file_counts_as_a_restored_copy(relay_of, broker_of):
    fake = relay_of(**REFRESHED)
    broker = broker_of(fake, keep=True)
    rotate(broker)
    broker.stop()
    (broker.keys / "counter").unlink()
    broker.start()
    sentence(wait_events(broker, "restored_copy")[0])
    wait_for(lambda: counts(fake)["logins"] == 2, what="a login with the kept password")
    assert counts(fake)["replays"] == 0


def test_keys_that_are_gone_are_never_made_anew_over_sealed_rows(relay_of, broker_of):
    broker = broker_of(relay_of())
    broker.stop()
    (broker.keys / "key").rename(broker.keys / "elsewhere")
    said = refuse(broker)
    assert str(broker.keys) in said, said
    assert not (broker.keys / "key").exists()
    (broker.keys / "elsewhere").rename(broker.keys / "key")
    broker.start()
    assert broker.post("t", {"n": 1}).status_code == 201


def test_another_key_is_a_sentence(relay_of, broker_of):
    broker = broker_of(relay_of())
    broker.stop()
    key = (broker.keys / "key").read_bytes()
    (broker.keys / "key").write_bytes(key[:-9] + bytes(reversed(key[-9:-1])) + key[-1:])
    sentence(refuse(broker))
    (broker.keys / "key").write_bytes(key)
    broker.start()
    assert broker.post("t", {"n": 1}).status_code == 201
