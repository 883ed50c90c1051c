#!/usr/bin/env python3
"""The examples of docs/cli.md work as shown."""

import re
import shlex

from support import REPOSITORY, CliTest, conclave, main

# What depends on the machine: its memory and instructions, and the last digits of a logprob.
OF_THE_MACHINE = re.compile(r"^(memory|instructions|logprob| +fits)")


def examples():
    """(arguments, lines shown below) of every line that begins with "$ conclave"."""
    page = (REPOSITORY / "docs/cli.md").read_text(encoding="utf-8")
    for block in re.findall(r"```\n(.*?)```", page, re.DOTALL):
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


class ManualTest(CliTest):
    def test_examples(self):
        (self.folder / "models").symlink_to(REPOSITORY / "models")
        num_examples = 0
        for command, shown in examples():
            num_examples += 1
            fails = any(line.startswith("conclave: ") for line in shown)
            with self.subTest(command=command):
                result = conclave(*command, cwd=self.folder)
                self.assertEqual(result.code, 1 if fails else 0, result.err)
                said = (result.text() + result.err).splitlines()
                for line in shown:
                    if not OF_THE_MACHINE.match(line):
                        self.assertIn(line, said)
        self.assertGreaterEqual(num_examples, 9)
        self.assertTrue((self.folder / "logits.safetensors").exists())


if __name__ == "__main__":
    main()
