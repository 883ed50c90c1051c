#!/usr/bin/env python3
"""The style as a test: prints one `path:line: message` per finding and fails when there is one.

usage: tools/tidy.py [ROOT]      ROOT is the tree to look at (default: the one this file lies in)

The rules live in tools/tidy_rules/, by what they look at: lines, the shape of code, includes, the
whole tree. The floors are read from cmake/floors.cmake, as CMake reads them.
"""

import sys
from pathlib import Path

from tidy_rules import cpp, includes, lines, whole
from tidy_rules.tree import Tree

RULES = (lines.check, cpp.check, includes.check, whole.check)


def findings(root):
    """All findings of the tree at `root`, in the order of paths and lines."""
    tree = Tree(root)
    return sorted(finding for rule in RULES for finding in rule(tree))


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = findings(root)
    for path, line, message in found:
        print(f"{path}:{line}: {message}")
    print(f"tidy: {len(found)} findings" if found else "tidy: clean", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
