"""The benches: which of them to run, how often, and where the figures go."""
import argparse
import importlib
import json
import os
import sys
import time
import traceback

import figure

BENCHES = ("posts", "latency", "fanout", "refreshes", "memory", "start", "tool")


def parse():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="Measures and prints figures, each beside its "
                                     "aim; the median of the rounds is judged.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all without one")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="two short rounds: whether it runs, not what it says")
    parser.add_argument("--json", metavar="FILE", help="writes the figures there too")
    args = parser.parse_args()
    for name in args.names:
        if name not in BENCHES:
            parser.error(f"there is no bench \"{name}\": {', '.join(BENCHES)}")
    return args


def run(name, rounds, quick):
    """Measures and prints one bench: its figures, or None when it did not get to its end."""
    bench, began = importlib.import_module(name), time.monotonic()
    try:
        figures = bench.measure(rounds, quick)
    except Exception:
        traceback.print_exc()
        return None
    figure.print_table(f"{name}: {bench.TITLE}", figures)
    print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    return figures


def main():
    args = parse()
    names, rounds = args.names or BENCHES, 2 if args.quick else args.rounds
    started = time.monotonic()
    print(f"{rounds} rounds on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
          f"{'; quick: the figures say little' if args.quick else ''}", flush=True)
    told = {name: run(name, rounds, args.quick) for name in names}
    done = {name: figures for name, figures in told.items() if figures is not None}
    aimed = [one for figures in done.values() for one in figures if one.aim is not None]
    missed = [one.what for one in aimed if one.verdict == "missed"]
    print(f"\n{len(aimed) - len(missed)} of {len(aimed)} aims met in {time.monotonic() - started:.0f} s"
          + (f"; missed: {'; '.join(missed)}" if missed else ""))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump({"rounds": rounds, "quick": args.quick, "benches": {
                name: [one.as_json() for one in figures] for name, figures in done.items()}}, out, indent=1)
    # An aim that is missed is a figure; a bench that breaks off is a failure.
    print(f"{len(done)} passed, {len(told) - len(done)} failed")
    return 0 if len(done) == len(told) else 1


if __name__ == "__main__":
    sys.exit(main())
