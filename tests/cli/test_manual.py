#!/usr/bin/env python3
"""docs/cli.md: its examples work as shown, and its tables have every flag and default.

The examples with --server have the cluster of the page's example of `conclave up`.
"""

import json
import re
import shlex
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from support import BINARY, REPOSITORY, CliTest, conclave, main

PAGE = (REPOSITORY / "docs/cli.md").read_text(encoding="utf-8")
SERVERS = ("gateway", "attention_node", "expert_server")
CLUSTER = "127.0.0.1:7000"  # of the page; the test takes any free port
START_S = 120

# What depends on the machine: its memory and instructions, and the last digits of a logprob.
OF_THE_MACHINE = re.compile(r"^(memory|instructions|logprob|same best| +fits)")


def examples():
    """(arguments, lines shown below) of every line that begins with "$ conclave"."""
    for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL):
        command, shown = None, []
        for line in block.splitlines():
            if line.startswith("$ conclave "):
                if command:
                    yield command, shown
                command, shown = shlex.split(line)[2:], []
            else:
                shown.append(line)
        if command:
            yield command, shown


def blurred(lines):
    """Without ports, process ids and counts, and however columns are padded."""
    return [re.sub(r"\d+", "N", " ".join(line.split())) for line in lines]


class Up:
    """`conclave up` as the page shows it, but for the port; until the end of the block."""

    def __init__(self, command, folder):
        self.state = folder / "state.json"
        self.log = folder / "up.log"
        command = ["0" if word == CLUSTER.split(":")[1] else word for word in command]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [BINARY, *command, "--state", self.state], cwd=folder, stderr=log)

    def __enter__(self):
        end = time.monotonic() + START_S
        while not self.state.exists() and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        if not self.state.exists():
            self.process.kill()
            raise AssertionError(self.log.read_text())
        processes = json.loads(self.state.read_text())["processes"]
        self.address = next(p["address"] for p in processes if p["role"] == "gateway")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.code = self.process.wait(START_S)
        finally:
            self.process.kill()


class ManualTest(CliTest):
    def test_examples(self):
        for name in ("models", "tests"):
            (self.folder / name).symlink_to(REPOSITORY / name)
        all_examples = list(examples())
        ups = [example for example in all_examples if example[0][0] == "up"]
        self.assertEqual(len(ups), 1)
        up_command, up_shown = ups[0]
        with Up(up_command, self.folder) as up:
            for command, shown in all_examples:
                if command[0] != "up":
                    with self.subTest(command=command):
                        self.check_example(command, shown, up.address)
        self.assertEqual(up.code, 0)
        said = blurred(up.log.read_text().splitlines())
        for line in blurred(up_shown):
            self.assertIn(line, said)
        self.assertFalse(up.state.exists())
        self.assertGreaterEqual(len(all_examples), 14)
        self.assertTrue((self.folder / "logits.safetensors").exists())

    def check_example(self, command, shown, address):
        fails = any(line.startswith("conclave: ") for line in shown)
        command = [address if word == CLUSTER else word for word in command]
        result = conclave(*command, cwd=self.folder)
        self.assertEqual(result.code, 1 if fails else 0, result.err)
        said = (result.text() + result.err).splitlines()
        shown = [line.replace(CLUSTER, address) for line in shown]
        if command[0] == "status":
            said, shown = blurred(said), blurred(shown)
        for line in shown:
            if not OF_THE_MACHINE.match(line):
                self.assertIn(line, said)


def flags_of_help(text):
    """{flag: default}: "required", None where --help names none, and True for a switch."""
    flags = {}
    lines = text.splitlines()
    for line, below in zip(lines, lines[1:] + [""]):
        alone = below.startswith(" " * 30)  # what does not fit stands above its meaning
        option = (line if alone else line[:30]).rstrip()
        found = re.match(r"  (?:-\w,)?(--[a-z-]+)(?: (.*))?$", option)
        if not found or found[1] in ("--help", "--version"):
            continue
        value = found[2]
        default = re.search(r"=([^\s=\])]+)$", value or "")
        if value is None:
            flags[found[1]] = True
        elif value.endswith("REQUIRED"):
            flags[found[1]] = "required"
        else:
            flags[found[1]] = default[1] if default else None
    return flags


def flags_of_page(program):
    """{flag: default as written} of the sections whose headings name the program."""
    flags = {}
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        heading, body = section.split("\n", 1)
        common = heading == "Flags of all servers" and program in SERVERS
        if not common and program not in heading.split():
            continue
        rows = re.findall(r"^\| `(--[a-z-]+)[^`]*` \| ([^|]*) \|", body, re.MULTILINE)
        for flag, default in rows:
            assert flag not in flags, f"{flag} of {program} is on the page twice"
            flags[flag] = default.strip("`")
    return flags


class TablesTest(unittest.TestCase):
    def test_conclave(self):
        for command in ("up", "status", "convert"):
            self.compare(command, conclave(command, "--help").text())

    def test_servers(self):
        for program in SERVERS:
            done = subprocess.run([Path(BINARY).parent / program, "--help"], check=True,
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.stderr, "")
            self.compare(program, done.stdout)

    def compare(self, program, text):
        known, page = flags_of_help(text), flags_of_page(program)
        self.assertEqual(sorted(known), sorted(page), program)
        for flag, default in known.items():
            with self.subTest(program=program, flag=flag):
                if default is True:
                    self.assertEqual(page[flag], "off")
                elif default is not None:
                    self.assertEqual(page[flag], default)
                else:
                    self.assertNotEqual(page[flag], "required")


class ServerUsageTest(unittest.TestCase):
    """Exit codes of the server programs, as the page says."""

    def run_server(self, program, *args):
        return subprocess.run([Path(BINARY).parent / program, *args], check=False,
                              capture_output=True, text=True, timeout=60)

    def test_usage_is_2(self):
        for program in SERVERS:
            for args in ([], ["--model", "x", "--foo"], ["--model", "x", "--threads", "many"]):
                done = self.run_server(program, *args)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertTrue(done.stderr.startswith(f"{program}: "), done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_rows_go_out_as_fp8_and_never_come_back_so(self):
        for program in ("gateway", "attention_node"):
            given = ["--model", "x", "--wire-out", "fp8", "--wire-back", "fp8"]
            done = self.run_server(program, *given, "--control", "127.0.0.1:1")
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("--wire-back", done.stderr)
            self.assertNotIn("--wire-out", done.stderr)

    def test_failure_is_1_and_a_line_of_the_log(self):
        with tempfile.TemporaryDirectory() as empty:
            for program in SERVERS:
                args = ["--model", empty]
                if program != "gateway":
                    args += ["--control", "127.0.0.1:1"]
                if program == "expert_server":
                    args += ["--experts", "0/1"]
                done = self.run_server(program, *args)
                self.assertEqual(done.returncode, 1, done.stderr)
                last = json.loads(done.stderr.splitlines()[-1])
                self.assertEqual((last["level"], last["event"]), ("error", "failed"))
                self.assertIn(empty, last["status"])

    def test_a_node_that_nobody_routes_for_is_refused(self):
        model = REPOSITORY / "models/bard"
        gateway = subprocess.Popen([Path(BINARY).parent / "gateway", "--model", model],
                                   stderr=subprocess.PIPE, text=True)
        try:
            address = json.loads(gateway.stderr.readline())["address"]
            done = self.run_server("attention_node", "--model", model, "--control", address,
                                   "--routing", "gateway")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("--routing gateway", json.loads(done.stderr.splitlines()[-1])["status"])
        finally:
            gateway.kill()
            gateway.communicate()


if __name__ == "__main__":
    main()
