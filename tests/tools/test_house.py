#!/usr/bin/env python3
"""The table of the house in docs/architecture.md says what cmake/floors.cmake says."""

import re
import sys
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))
sys.dont_write_bytecode = True

from tidy_rules.tree import Source, parse_floors  # noqa: E402

# Targets that are not called as their folders.
FOLDERS = {
    "router_shm": "router/shm",
    "router_wire": "router/wire",
    "server": "services/server",
    "launch": "services/launch",
    "expert_server_lib": "services/expert_server",
}
WHOLE_HOUSE = {"common": "the standard library, Abseil", "services": "all of them"}


def text_of(path):
    return (REPOSITORY / path).read_text(encoding="utf-8")


def rows_of_page():
    """{folder: what it may include, as written}, without folders of services/ among it."""
    table = text_of("docs/architecture.md").split("| folder | may include |", 1)[1]
    rows = re.findall(r"^\| `([\w/]+)/` \| (.*) \|$", table.split("\n\n", 1)[0], re.MULTILINE)
    return {folder: re.sub(r", and `.*", "", allowed) for folder, allowed in rows}


class HouseTest(unittest.TestCase):
    def test_the_page_is_the_list(self):
        path = "cmake/floors.cmake"
        floors = parse_floors(Source(path, text_of(path)))
        page = rows_of_page()
        self.assertEqual(sorted(FOLDERS.get(name, name) for name in floors), sorted(page))
        for name, allowed in floors.items():
            folder = FOLDERS.get(name, name)
            if folder in WHOLE_HOUSE:
                self.assertEqual(page[folder], WHOLE_HOUSE[folder])
                continue
            expected = {FOLDERS.get(other, other) for other in allowed}
            self.assertEqual(set(page[folder].split(", ")), expected, folder)


if __name__ == "__main__":
    unittest.main()
