#!/usr/bin/env python3
"""Command lines that cannot be read: exit code 2 and a line that says why. And what helps."""

import re

from support import BARD, REPOSITORY, CliTest, conclave, main

COMMANDS = ["generate", "logits", "eval", "convert", "inspect", "tokenize", "up", "status"]
GENERATE = ["generate", "--model", BARD, "--prompt", "a"]


class HelpTest(CliTest):
    def test_help(self):
        text = self.works("--help").text()
        for command in COMMANDS:
            self.assertIn(command, text)
            own = self.works(command, "--help").text()
            self.assertIn(f"conclave {command}", own)
            self.assertEqual(own, self.works(command, "-h").text())

    def test_every_flag_is_in_the_manual(self):
        manual = (REPOSITORY / "docs/cli.md").read_text(encoding="utf-8")
        for command in COMMANDS:
            for flag in set(re.findall(r"--[a-z][a-z-]+", self.works(command, "--help").text())):
                self.assertRegex(manual, rf"{flag}(?![\w-])", flag)

    def test_version(self):
        self.assertRegex(self.works("--version").text(), r"^\d+\.\d+\.\d+\n$")


class UsageTest(CliTest):
    def test_no_command(self):
        self.usage(says="a command is missing")
        self.usage("foo", says="there is no command foo")
        self.usage("--foo", says="--foo")
        self.usage("", says="there is no command")
        self.usage("a\n\x1b[31m", says=r"a\x0a\x1b[31m")

    def test_more_replicas_than_servers(self):
        self.fails("up", "--model", BARD, "--expert-servers", "2", "--min-replicas", "3",
                   says=["--min-replicas 3", "2"])

    def test_two_commands(self):
        self.assertNotEqual(conclave("inspect", BARD, "inspect", BARD).code, 0)

    def test_what_is_missing(self):
        self.usage("generate", says=["--model", "--server"])
        self.usage("generate", "--prompt", "a", says=["--model", "--server"])
        self.usage(*GENERATE, "--server", "localhost:1", says=["--model", "--server"])
        self.usage("up", says="--model is required")
        self.usage("status", says="--server is required")
        self.usage("logits", "--model", BARD, "--prompt", "a", says="--out is required")
        self.usage("inspect", says="DIR is required")
        for command in (["generate"], ["logits", "--out", "x"]):
            self.usage(*command, "--model", BARD, says=["--prompt", "--prompt-file", "--ids"])
        self.usage("tokenize", "--model", BARD, says=["--text", "--file", "--decode"])

    def test_several_prompts(self):
        for more in (["--ids", "1"], ["--prompt-file", "-"], ["--ids", "1", "--prompt-file", "-"]):
            self.usage(*GENERATE, *more, says=["--prompt", "--prompt-file", "--ids", "were given"])
        self.usage("tokenize", "--model", BARD, "--text", "a", "--decode", "1",
                   says=["--text", "--file", "--decode", "2 were given"])

    def test_given_again(self):
        for flag, value in (("--prompt", "a"), ("--model", BARD), ("--seed", "1"),
                            ("--threads", "1"), ("--wire", "f32")):
            self.usage(*GENERATE, flag, value, flag, value, says=flag)

    def test_unknown(self):
        for more in (["--foo"], ["--foo=1"], ["--foo", "1"], ["-x"], ["extra"], ["--", "extra"],
                     ["--temp", "1"], ["--stop-ids", "1", "2"], ["--stop", "a", "b"]):
            self.usage(*GENERATE, *more)
        self.usage("inspect", BARD, BARD, says=str(BARD))

    def test_without_its_value(self):
        for flag in ("--seed", "--stop", "--stop-ids", "--logit-bias", "--top-p", "--threads"):
            self.usage(*GENERATE, flag, says=flag)

    def test_choices_and_ranges(self):
        for flag, values in {
                "--wire": ("f16", "F32", "", "f32,bf16", "f8", "int8"),
                "--cache-dtype": ("f8", "fp8", "x"),
                "--instructions": ("sse", ""),
                "--expert-shards": ("0", "-1", "65537", "x", "1.5", ""),
                "--prefill-chunk": ("0", "-1", "65537", "nan", ""),
                "--threads": ("-1", "1025", "1e400", ""),
                "--cache-tokens": ("-1", "2147483584", "99999999999"),
        }.items():
            for value in values:
                self.usage(*GENERATE, flag, value, says=flag)

    def test_a_long_value_is_cut(self):
        self.usage(*GENERATE, "--temperature", "x" * 100000, says="--temperature")
        self.usage(*GENERATE, "--seed=" + "9", "--foo" + "\x1b" * 50000)


if __name__ == "__main__":
    main()
