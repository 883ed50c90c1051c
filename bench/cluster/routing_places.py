#!/usr/bin/env python3
"""What it costs to route in the gateway instead of the attention node, and what a cluster costs
beside one process, in tokens per second of one greedy request.

usage: bench/cluster/routing_places.py [ROUNDS]

Needs the release build (./dev build). Starts one cluster per routing place, asks them and a process
of its own in turn for the same ids, and prints the medians of the ratios of each round with their
extremes: on a machine with neighbours only what was measured side by side can be compared.
"""

import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CONCLAVE = ROOT / "build/release/bin/conclave"
MODEL = ROOT / "models/bard"
TOKENS = 400
SPEED = re.compile(r"then ([0-9.]+) tokens/s")


class Cluster:
    """One gateway, one attention node, two expert servers."""

    def __init__(self, routing, folder):
        state = Path(folder) / f"{routing}.json"
        self.process = subprocess.Popen(
            [CONCLAVE, "up", "--model", MODEL, "--routing", routing, "--state", state],
            stderr=subprocess.DEVNULL)
        while not state.exists():
            if self.process.poll() is not None:
                sys.exit(f"the cluster with --routing {routing} did not come up")
            time.sleep(0.05)
        lines = subprocess.run([ROOT / "tools/cluster_state.py", state, "gateway", "address"],
                               check=True, capture_output=True, text=True)
        self.address = lines.stdout.strip()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def tokens_per_second(where):
    """Of one request, between its first token and its last."""
    answer = subprocess.run(
        [CONCLAVE, "generate", *where, "--prompt", "To be, or not to be", "--temperature", "0",
         "--ignore-eos", "--max-tokens", str(TOKENS), "--print-ids"],
        check=True, capture_output=True, text=True)
    return float(SPEED.search(answer.stderr).group(1))


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    with tempfile.TemporaryDirectory() as folder:
        clusters = {routing: Cluster(routing, folder) for routing in ("local", "gateway")}
        ways = {"process": ["--model", str(MODEL)]}
        ways.update({name: ["--server", one.address] for name, one in clusters.items()})
        speeds = {name: [] for name in ways}
        for _ in range(rounds):
            for name, where in ways.items():
                speeds[name].append(tokens_per_second(where))
        for cluster in clusters.values():
            cluster.stop()
    for above, below in (("gateway", "local"), ("local", "process"), ("gateway", "process")):
        ratios = [a / b for a, b in zip(speeds[above], speeds[below])]
        print(f"{above} / {below}: {statistics.median(ratios):.2f} "
              f"({min(ratios):.2f}-{max(ratios):.2f}) of {rounds} rounds")
    for name, values in speeds.items():
        print(f"{name}: {statistics.median(values):.0f} tokens/s")


if __name__ == "__main__":
    main()
