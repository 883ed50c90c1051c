"""What the benchmarks in Python share: the lines of bench/report/report.h, and where things are."""

import json
import os
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("CONCLAVE_BENCH_BUILD", ROOT / "build/bench")).resolve()
RESULTS = ROOT / "build/bench/results"


def program(name):
    """A benchmark or a program of Conclave, as built."""
    path = BUILD / ("bench" if name.startswith("bench_") else "bin") / name
    if not path.exists():
        sys.exit(f"{path} is not built; ./dev bench builds it")
    return str(path)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Report:
    """Prints one line of JSON per figure, with the same fields as the programs in C++."""

    def __init__(self, bench):
        self.bench = bench

    def add(self, case, metric, unit, runs):
        if not runs:
            return
        print(json.dumps({
            "bench": self.bench, "case": case, "metric": metric, "unit": unit,
            "median": statistics.median(runs), "lowest": min(runs), "highest": max(runs),
            "runs": len(runs)}), flush=True)

    def add_ratios(self, case, metric, above, below):
        self.add(case, metric, "ratio", [a / b for a, b in zip(above, below)])
