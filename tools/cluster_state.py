#!/usr/bin/env python3
"""Reads the state file of `conclave up`.

usage: tools/cluster_state.py FILE ROLE FIELD

Prints FIELD (pid, address, metrics) of every process of ROLE (gateway, attention_node,
expert_server, any), a line each.
"""

import json
import sys
from pathlib import Path


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    path, role, field = sys.argv[1:]
    for process in json.loads(Path(path).read_text())["processes"]:
        if role in ("any", process["role"]):
            print(process[field])


if __name__ == "__main__":
    main()
