#!/usr/bin/env python3
"""Runs benchmarks that are built; `./dev bench` builds them first.

usage: bench/run.py [--json] [--list] [NAME [FLAGS OF THE BENCHMARK]]

Without NAME all run, one after the other. Lines of JSON go to build/bench/results/NAME.jsonl and a
table to stdout; with --json the lines go to stdout instead. What they mean is said in
bench/report/report.h, what the figures say in docs/performance.md.

Where a benchmark takes --model DIR and none is given it is a shape of bench/peer/make_shapes.py for
`cluster`, which is made when it is missing, and the bundled model for `serve`.
"""

import json
import subprocess
import sys

from lines import RESULTS, ROOT, program, say
from model.peer import PeerError, make_shape

# In the order of running: what is cheap and what others stand on goes first.
SCRIPTS = {"model": "bench/model/model.py"}
BARD = str(ROOT / "models/bard")
NAMES = ("limits", "thread_pool", "matmul", "paged_mla", "row_codec", "dispatch", "overlap",
         "placement", "model", "cluster", "serve", "failover")

# What 1 of the unit is shown as; larger and smaller ones by thousands.
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "u"),
            (1e-9, "n"))


def default_model(name):
    """What `name` runs unless it is told; None where it takes no model."""
    if name in ("serve", "failover"):
        return BARD
    if name != "cluster":
        return None
    try:
        return str(make_shape("v3-mini") / "hf")
    except PeerError as error:
        say(f"no shape ({error}); the bundled model takes its place")
        return BARD


def command_of(name, flags):
    if name in SCRIPTS:
        return [sys.executable, str(ROOT / SCRIPTS[name]), *flags]
    given = any(flag.split("=")[0] == "--model" for flag in flags)
    model = None if given else default_model(name)
    return [program("bench_" + name), *(["--model", model] if model else []), *flags]


def number(value, unit):
    if unit in ("ratio", "share", "max/mean"):
        return f"{value:.3g} "
    for factor, prefix in PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g} "


def table(rows):
    """Lines of aligned columns; rows are the parsed lines with a case."""
    cells = [(row["case"], row["metric"], number(row["median"], row["unit"]) + row["unit"],
              f"{number(row['lowest'], row['unit']).strip()} - "
              f"{number(row['highest'], row['unit']).strip()}", f"{row['runs']}")
             for row in rows]
    cells.insert(0, ("case", "metric", "median", "lowest - highest", "runs"))
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()
            for row in cells]


def run(name, flags, as_json):
    """Whether it went well. What was printed before a failure is kept."""
    rows = []
    RESULTS.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(command_of(name, flags), stdout=subprocess.PIPE, text=True)
    with open(RESULTS / f"{name}.jsonl", "w", encoding="utf-8") as kept:
        for line in process.stdout:
            if as_json:
                print(line, end="", flush=True)
                continue
            kept.write(line)
            rows.append(json.loads(line))
    machine = next((row["machine"] for row in rows if "machine" in row), {})
    if rows:
        print(f"== {name}: " + ", ".join(f"{key} {value}" for key, value in machine.items()))
        print("\n".join(table([row for row in rows if "case" in row])), flush=True)
    return process.wait() == 0


def main():
    args = sys.argv[1:]
    as_json = args[:1] == ["--json"]
    if as_json:
        args = args[1:]
    if args[:1] == ["--list"]:
        print("\n".join(NAMES))
        return 0
    if args and args[0] not in NAMES:
        sys.exit(f"no benchmark {args[0]}; there are {', '.join(NAMES)}")
    names = args[:1] or NAMES
    failed = [name for name in names if not run(name, args[1:], as_json)]
    if failed:
        sys.exit(f"bench/run.py: failed: {', '.join(failed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
