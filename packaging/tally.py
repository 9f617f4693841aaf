"""Counts what a suite's output says it passed and failed: `tally.py OUTPUT STATUS` prints two numbers.

Understands Check's "100%: Checks: 65, Failures: 0, Errors: 0", pytest's closing line and the plain "N passed, N failed". A suite that
ended with an error but names no failure counts as one failure; so does one that ran nothing.
"""
import re
import sys

text = open(sys.argv[1], errors="replace").read()
passed = failed = 0
for checks, failures, errors in re.findall(r"Checks: (\d+), Failures: (\d+), Errors: (\d+)", text):
    failed += int(failures) + int(errors)
    passed += int(checks) - int(failures) - int(errors)
for line in text.splitlines():
    if re.match(r"^(=+ )?\d+ (passed|failed|skipped|error)", line):
        passed += sum(int(n) for n in re.findall(r"(\d+) passed", line))
        failed += sum(int(n) for n in re.findall(r"(\d+) (?:failed|errors?)\b", line))
if failed == 0 and (sys.argv[2] != "0" or passed == 0):
    failed = 1
print(passed, failed)
