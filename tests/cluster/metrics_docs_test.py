#!/usr/bin/env python3
"""docs/metrics.md and what a real cluster's processes say are the same, in both directions.

A family (name, type, names of labels) of a process is on the page under its role, and one on the
page is told by every process of the role. Names follow the rules that the page states.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("CONCLAVE_BINARY", str(REPOSITORY / "build/bin/conclave"))
ROLES = ("gateway", "attention_node", "expert_server")
TIMEOUT_S = 120

# What a series adds to its family's name, and the labels that every family of the type has.
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
OWN_LABELS = {"histogram": {"le"}, "summary": {"quantile"}}
UNITS = ("_seconds", "_bytes", "_ratio", "_tokens", "_picks")  # that a histogram may have


def documented(page):
    """{role: {name: (type, labels)}}. A heading names its roles; "All servers" are all of them."""
    families = {role: {} for role in ROLES}
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        heading, body = section.split("\n", 1)
        named = ROLES if heading == "All servers" else [r for r in ROLES if r in heading.split()]
        for row in re.findall(r"^\| `([a-z]\w*)` \| (\w+) \| ([^|]*) \|", body, re.MULTILINE):
            for role in named:
                assert row[0] not in families[role], f"{row[0]} is on the page twice"
                families[role][row[0]] = (row[1], frozenset(re.findall(r"`(\w+)`", row[2])))
    return families


def exposed(text):
    """{name: (type, labels)} of one answer, and {name: help}."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))
    labels = {name: set() for name in types}
    for series, inside in re.findall(r"^([^\s{#]+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        family = family_of(series, types)
        labels[family] |= set(re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', inside or ""))
    families = {name: (kind, frozenset(labels[name] - OWN_LABELS.get(kind, set())))
                for name, kind in types.items()}
    return families, helps


def family_of(series, types):
    if series in types:
        return series
    for kind, suffixes in SUFFIXES.items():
        for suffix in suffixes:
            if series.endswith(suffix) and types.get(series.removesuffix(suffix)) == kind:
                return series.removesuffix(suffix)
    raise AssertionError(f"{series} has no # TYPE")


class Cluster:
    """`conclave up` with --state, two nodes and two expert servers, until the end of the block."""

    def __init__(self, *flags):
        self.folder = Path(tempfile.mkdtemp(prefix="conclave_metrics_"))
        self.state = self.folder / "state.json"
        with open(self.folder / "up.log", "wb") as log:
            self.process = subprocess.Popen(
                [BINARY, "up", "--model", REPOSITORY / "models/bard", "--attention-nodes", "2",
                 "--state", self.state, "--log-dir", self.folder, *flags], stderr=log)

    def __enter__(self):
        end = time.monotonic() + TIMEOUT_S
        while not self.state.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                log = (self.folder / "up.log").read_text()
                self.__exit__()
                raise AssertionError(f"no cluster came up: {log}")
            time.sleep(0.05)
        self.processes = json.loads(self.state.read_text())["processes"]
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(TIMEOUT_S)
        finally:
            self.process.kill()
            shutil.rmtree(self.folder)

    def generate(self):
        gateway = next(p["address"] for p in self.processes if p["role"] == "gateway")
        subprocess.run(
            [BINARY, "generate", "--server", gateway, "--ids", "0,688,302", "--max-tokens", "4",
             "--temperature", "0", "--print-ids"],
            check=True, capture_output=True, timeout=TIMEOUT_S)

    def scrapes(self):
        """(role, text) of every process."""
        for process in self.processes:
            url = f"http://{process['metrics']}/metrics"
            with urllib.request.urlopen(url, timeout=30) as answer:
                yield process["role"], answer.read().decode("utf-8")


class MetricsDocsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.page = (REPOSITORY / "docs/metrics.md").read_text(encoding="utf-8")
        cls.documented = documented(cls.page)

    def test_page_and_processes_agree(self):
        for routing in ("local", "gateway"):
            with Cluster("--routing", routing) as cluster:
                cluster.generate()
                roles = []
                for role, text in cluster.scrapes():
                    roles.append(role)
                    with self.subTest(routing=routing, role=role):
                        self.compare(role, text)
                self.assertEqual(sorted(set(roles)), sorted(ROLES))
                self.assertEqual(len(roles), 5)

    def compare(self, role, text):
        families, helps = exposed(text)
        page = self.documented[role]
        self.assertEqual(sorted(set(families) - set(page)), [], "not on the page")
        self.assertEqual(sorted(set(page) - set(families)), [], "on the page, and not told")
        for name, (kind, labels) in families.items():
            self.assertEqual((kind, sorted(labels)), (page[name][0], sorted(page[name][1])), name)
            self.assertTrue(helps.get(name), f"{name} has no help text")
            self.check_name(name, kind)

    def check_name(self, name, kind):
        self.assertRegex(name, r"^(conclave|process|exposer)_[a-z0-9_]+$")
        self.assertEqual(kind == "counter", name.endswith("_total"), f"{name} is a {kind}")
        if kind == "histogram":
            self.assertTrue(name.endswith(UNITS), f"{name} has no unit")
        for unit in ("milli", "micro", "nano", "_ms", "_us", "_kib", "_mib"):
            self.assertNotIn(unit, name)

    def test_what_the_page_asks_for_is_there(self):
        known = {}
        for families in self.documented.values():
            known.update({name: kind for name, (kind, _) in families.items()})
        for name in re.findall(r"\b(?:conclave|process|exposer)_\w+", self.page):
            if name.startswith("conclave_"):
                self.assertIn(family_of(name, known), known)


if __name__ == "__main__":
    unittest.main(verbosity=2)
