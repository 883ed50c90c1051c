#!/usr/bin/env python3
"""What bench/ does with figures: they are shown as they are, and a peer that runs below what the
machine can is refused.
"""

import sys
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "bench"))
sys.dont_write_bytecode = True

from model.peer import PeerError, check_instructions  # noqa: E402
from run import number, table  # noqa: E402

WITH_VNNI = "flags : avx512f avx512_vnni"
WITHOUT = "flags : avx2 fma"
WIDE = "system_info: n_threads = 2 | CPU : AVX2 = 1 | AVX512 = 1 | AVX512_VNNI = 1 |"
NARROW = "system_info: n_threads = 2 | CPU : AVX2 = 1 |"


class PeerTest(unittest.TestCase):
    def test_a_peer_below_the_machine_is_refused(self):
        for log in (NARROW, "", "AVX512_VNNI = 1 in some other line"):
            with self.assertRaises(PeerError):
                check_instructions(log, WITH_VNNI)

    def test_a_peer_that_uses_the_machine_is_taken(self):
        check_instructions("first line\n" + WIDE, WITH_VNNI)
        check_instructions(NARROW, WITHOUT)


class TableTest(unittest.TestCase):
    def test_numbers_have_the_prefix_of_their_size(self):
        for value, unit, shown in ((0, "s", "0 "), (2.5e-6, "s", "2.5 u"), (0.0123, "s", "12.3 m"),
                                   (1.3e10, "bytes/s", "13 G"), (42, "tokens/s", "42 "),
                                   (0.5, "ratio", "0.5 ")):
            self.assertEqual(number(value, unit), shown)

    def test_columns_stand_below_each_other(self):
        row = {"case": "a", "metric": "time", "unit": "s", "median": 2e-3, "lowest": 1e-3,
               "highest": 3e-3, "runs": 5}
        lines = table([row, {**row, "case": "a longer one"}])
        self.assertEqual(len({line.index("time") for line in lines[1:]}), 1)
        self.assertIn("1 m - 3 m", lines[1])


if __name__ == "__main__":
    unittest.main()
