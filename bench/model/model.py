#!/usr/bin/env python3
"""One process with a whole model: prompts, single sequences and batches of them, and memory, beside
llama.cpp on a model of the same shape.

usage: bench/model/model.py [--shape v3-mini|v2-lite-8l] [--model DIR] [--weights LIST]
                            [--rounds N] [--threads N] [--no-peer] [--quick] [--only REGEX]

--weights takes types separated by commas; `stored` is none asked for. With --model the model is
somebody else's and has no peer. Where no peer can be had the reason is said and the rest runs.
Tests run in turn with the peer's, round by round, and ratios are of the same round. The peer has no
batches of sequences (the package has no llama-batched-bench); ours stand beside one sequence.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

from peer import Peer, PeerError, make_shape

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lines import Report, program, say  # noqa: E402

DECODED = 32
PREFILLS = (512, 2048)
DEPTHS = (0, 2048)
SEQUENCES = (1, 2, 4, 8, 16, 32)
BATCH_DEPTH = 128
BATCH_STEPS = 16


class Ours:
    """A process of bench_model."""

    def __init__(self, model, weights, threads):
        self.weights = weights
        flags = [] if weights == "stored" else [f"--weights={weights}"]
        self.process = subprocess.Popen(
            [program("bench_model"), str(model), f"--threads={threads}", *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.load_seconds = self.read()["ready"]

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"bench_model with weights {self.weights} ended; see above")
        return json.loads(line)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.read()

    def tokens_per_second(self, *words):
        answer = self.ask(*words)
        return answer["tokens"] / answer["seconds"]

    def print_limits(self):
        answer = self.ask("limits")
        while "done" not in answer:
            print(json.dumps(answer), flush=True)
            answer = self.read()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def tests(args):
    """(case, words for bench_model, arguments of the peer or None) of those that were asked for."""
    return [test for test in all_tests(args.quick) if re.search(args.only, test[0])]


def all_tests(quick):
    for n in PREFILLS[:1] if quick else PREFILLS:
        yield f"prefill {n}", ("prefill", n), {"prefill": n}
    for depth in DEPTHS[:1] if quick else DEPTHS:
        yield (f"decode at {depth}", ("decode", depth, DECODED),
               {"generated": DECODED, "depth": depth})
    for n in (1, 8) if quick else SEQUENCES:
        yield f"{n} sequences at {BATCH_DEPTH}", ("together", BATCH_DEPTH, n, BATCH_STEPS), None


def measure(engines, peer, args):
    """{(case, who): [tokens/s of each round]}"""
    speeds = {}
    for round_no in range(args.rounds):
        say(f"round {round_no + 1} of {args.rounds}")
        for case, words, of_peer in tests(args):
            for engine in engines:
                if round_no == 0 and words[0] != "prefill":
                    engine.ask(words[0], *words[1:-1], 2)  # pages and caches are warm for all
                speeds.setdefault((case, engine.weights), []).append(
                    engine.tokens_per_second(*words))
            if peer is not None and of_peer is not None:
                speeds.setdefault((case, "llama.cpp"), []).append(peer.tokens_per_second(**of_peer))
    return speeds


def report_all(report, speeds, weights, args):
    for case, _, of_peer in tests(args):
        for who in (*weights, "llama.cpp"):
            report.add(case, f"{who}", "tokens/s", speeds.get((case, who), []))
        if of_peer is not None and (case, "llama.cpp") in speeds:
            for one in weights:
                report.add_ratios(case, f"{one} / llama.cpp q8_0", speeds[case, one],
                                  speeds[case, "llama.cpp"])
        for one in weights[1:]:
            report.add_ratios(case, f"{one} / {weights[0]}", speeds[case, one],
                              speeds[case, weights[0]])
    for one in weights:
        single = speeds.get((f"1 sequences at {BATCH_DEPTH}", one), [])
        for case, words, of_peer in tests(args):
            if single and words[0] == "together" and words[2] > 1:
                report.add_ratios(case, f"{one}, of one sequence", speeds[case, one], single)


def parse():
    parser = argparse.ArgumentParser(description="one model in one process, beside llama.cpp")
    parser.add_argument("--shape", default="v3-mini", choices=("v3-mini", "v2-lite-8l"))
    parser.add_argument("--model")
    parser.add_argument("--weights", default="stored")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="pattern of the cases to run")
    return parser.parse_args()


def find_peer(args):
    if args.no_peer or args.model or args.threads != 2:
        return None
    try:
        return Peer(args.shape)
    except PeerError as error:
        say(f"no peer: {error}")
        return None


def main():
    args = parse()
    weights = args.weights.split(",")
    peer = find_peer(args)
    try:
        model = args.model or make_shape(args.shape) / "hf"
    except PeerError as error:
        say(f"no shape ({error}); the bundled model takes its place")
        model = Path(__file__).resolve().parent.parent.parent / "models/bard"
        args.quick = True  # its context is short
    engines = [Ours(model, one, args.threads) for one in weights]
    engines[0].print_limits()
    report = Report("model")
    speeds = measure(engines, peer, args)
    engines[0].print_limits()
    report_all(report, speeds, weights, args)
    if peer is not None:  # the only child so far that was waited for
        peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        report.add("peak memory", "llama.cpp q8_0", "B", [1024 * peak_kib])
    for engine in engines:
        report.add("load", engine.weights, "s", [engine.load_seconds])
        report.add("peak memory", engine.weights, "B", [engine.ask("memory")["bytes"]])
        engine.stop()


if __name__ == "__main__":
    main()
