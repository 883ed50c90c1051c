"""What the tests of the command line share: running it, judging what it said, safetensors files.

Nothing but the standard library. The binary is named by the environment variable CONCLAVE_BINARY.
"""

import array
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("CONCLAVE_BINARY", str(REPOSITORY / "build/bin/conclave"))
BARD = REPOSITORY / "models/bard"
GOLDEN = REPOSITORY / "tests/golden"
FAMILIES = ["deepseek_v2", "deepseek_v2_lite", "deepseek_v3", "deepseek_v3_fp8", "moonlight"]
F32 = ["--wire", "f32", "--cache-dtype", "f32"]

SANITIZED = os.environ.get("CONCLAVE_SANITIZE", "") != ""
FAILURE = 1
USAGE = 2
TIMEOUT_S = 60
SANITIZER_WORDS = ("AddressSanitizer", "ThreadSanitizer", "runtime error:")


@dataclass
class Result:
    """How one run ended."""

    code: int
    out: bytes
    err: str

    def text(self):
        return self.out.decode("utf-8")

    def lines(self):
        return self.err.splitlines()


def conclave(*args, stdin=b"", **options):
    """Runs the binary. `options` go to subprocess; a run that takes a minute is a hang."""
    options.setdefault("stdout", subprocess.PIPE)
    done = subprocess.run(
        [BINARY, *map(os.fspath, args)],
        input=stdin,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_S,
        check=False,
        **options,
    )
    return Result(done.returncode, done.stdout or b"", done.stderr.decode("utf-8"))


class CliTest(unittest.TestCase):
    """A test with a folder of its own, and words for what a run must do."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="conclave_cli_"))
        self.addCleanup(shutil.rmtree, self.folder)

    def works(self, *args, **options):
        result = conclave(*args, **options)
        self.assertEqual(result.code, 0, f"{args}: {result.err}")
        for word in SANITIZER_WORDS:
            self.assertNotIn(word, result.err)
        return result

    def fails(self, *args, says=(), code=FAILURE, **options):
        """The run ends with `code`, no output and one line that has every word of `says`."""
        result = conclave(*args, **options)
        brief = [str(arg)[:60] for arg in args]
        self.assertEqual(result.code, code, f"{brief}: {result.err[:2000]}")
        self.assertEqual(result.out, b"", brief)
        self.assertEqual(result.err.count("\n"), 1, f"{brief}: {result.err[:2000]}")
        self.assertTrue(result.err.startswith("conclave: "), f"{brief}: {result.err}")
        self.assertTrue(result.err[:-1].isprintable(), f"{brief}: {result.err!r}")
        self.assertLess(len(result.err), 1300, f"{brief}: {result.err[:2000]}")
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(str(word), result.err, brief)
        return result

    def usage(self, *args, says=()):
        return self.fails(*args, says=says, code=USAGE)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def copy_of(self, source):
        """A folder of this test with the files of `source`, to be damaged."""
        target = Path(tempfile.mkdtemp(dir=self.folder))
        for path in source.iterdir():
            if path.name != "golden.safetensors":
                shutil.copy(path, target / path.name)
        return target


def greedy(model, prompt, num_ids, *more):
    """The arguments of a greedy run over ids, in the profile of the goldens."""
    return ["generate", "--model", model, "--ids", join(prompt), "--max-tokens", str(num_ids),
            "--temperature", "0", "--ignore-eos", "--print-ids", *F32, *more]


def join(ids):
    return ",".join(map(str, ids))


def split(result):
    """The ids on the one line of stdout."""
    line = result.text()
    assert line.endswith("\n") and line.count("\n") == 1, line
    return [int(word) for word in line.split(",")]


# safetensors: the length of a JSON header, the header, the data.


def read_header(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), 8 + size


def read_tensors(path):
    """{name: (shape, values)} of a file of I64 and F32 tensors."""
    header, begin = read_header(path)
    data = Path(path).read_bytes()[begin:]
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = array.array({"I64": "q", "F32": "f"}[entry["dtype"]])
        values.frombytes(data[first:last])
        assert len(values) == math.prod(entry["shape"]), name
        tensors[name] = (entry["shape"], values)
    return tensors


def write_header(path, header):
    """Gives `path` another header before the same data."""
    _, begin = read_header(path)
    write_raw_header(path, json.dumps(header).encode(), path.read_bytes()[begin:])


def write_raw_header(path, text, data=b"", size=None):
    path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + data)


def ignore_file_size_signal():
    """For preexec_fn: a file that grows too large is an error of write(), not a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def main():
    unittest.main(verbosity=2)
