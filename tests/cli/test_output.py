#!/usr/bin/env python3
"""What happens when nobody reads: a closed pipe, a full device, no stdout at all. No hang, no
success."""

import os
import signal
import subprocess
import time

from support import BARD, BINARY, TIMEOUT_S, CliTest, conclave, main

LONG = ["generate", "--model", BARD, "--prompt", "a", "--ignore-eos", "--max-tokens", "1000"]
COMMANDS = {
    "generate": LONG,
    "ids": [*LONG[:-1], "3", "--print-ids"],
    "inspect": ["inspect", BARD],
    "tokenize": ["tokenize", "--model", BARD, "--text", "to be"],
    "help": ["generate", "--help"],
    "version": ["--version"],
}


class OutputTest(CliTest):
    def test_a_full_device(self):
        for name, command in COMMANDS.items():
            with self.subTest(name), open("/dev/full", "wb") as full:
                result = conclave(*command, stdout=full)
                self.assertEqual(result.code, 1, result.err)
                self.assertEqual(result.lines()[-1],
                                 "conclave: DATA_LOSS: stdout could not be written")
                self.assertNotIn(", seed ", result.err)

    def test_generating_stops_when_stdout_does(self):
        start = time.monotonic()
        self.works(*LONG)
        whole = time.monotonic() - start
        start = time.monotonic()
        with open("/dev/full", "wb") as full:
            conclave(*LONG, stdout=full)
        self.assertLess(time.monotonic() - start, max(whole, 1))

    def test_no_stdout(self):
        for name, command in COMMANDS.items():
            with self.subTest(name):
                result = conclave(*command, stdout=None, preexec_fn=lambda: os.close(1))
                self.assertEqual(result.code, 1, result.err)

    def test_a_closed_pipe(self):
        for name, command in COMMANDS.items():
            for ignored in (False, True):
                with self.subTest(name, ignored=ignored):
                    code = self.code_with_closed_pipe(command, ignored)
                    self.assertEqual(code, 1 if ignored else -signal.SIGPIPE)

    def code_with_closed_pipe(self, command, ignored):
        """The exit code where the reader has gone before anything was said."""
        reader, writer = os.pipe()
        os.close(reader)
        try:
            # Python starts programs with SIGPIPE as the system has it, or ignored as it has itself.
            return subprocess.run(
                [BINARY, *map(os.fspath, command)], stdout=writer, stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_S, check=False, restore_signals=not ignored).returncode
        finally:
            os.close(writer)

    def test_a_reader_that_goes_away(self):
        with subprocess.Popen([BINARY, *map(os.fspath, LONG)], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as process:
            self.assertEqual(len(process.stdout.read(10)), 10)
            process.stdout.close()
            self.assertIn(process.wait(TIMEOUT_S), (0, -signal.SIGPIPE))

    def test_no_stderr(self):
        result = subprocess.run(
            [BINARY, *map(os.fspath, LONG[:-1]), "3"], stdout=subprocess.PIPE, stderr=None,
            preexec_fn=lambda: os.close(2), timeout=TIMEOUT_S, check=False)
        self.assertEqual(result.returncode, 0)
        self.assertTrue(result.stdout)


if __name__ == "__main__":
    main()
