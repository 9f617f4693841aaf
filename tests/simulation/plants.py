"""Runs the simulation once for each planted bug: it must be found, and the promise it breaks must be the one that is named."""
import re
import subprocess
import sys

PLANTS = {
    "retry-at-once": "P1",
    "answer-before-commit": "P|committed session is gone|account is gone",
    "cursor-from-waiter": "P4|P3/P4",
    "resend-unseen": "P3|times and not marked",
    "position-on-handout": "P4",
}
passed = failed = 0
for plant, promise in PLANTS.items():
    run = subprocess.run([sys.argv[1], "--plant", plant, "--seeds", "400"], capture_output=True, text=True)
    found = re.search(r"^seed (\d+): (.*)$", run.stdout, re.M)
    good = run.returncode == 1 and found and re.search(promise, found.group(2))
    print(f"{'found' if good else 'MISSED'} {plant}: " + (f"seed {found.group(1)}: {found.group(2)}" if found else run.stdout[-300:]))
    passed, failed = passed + bool(good), failed + (not good)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
