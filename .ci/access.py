"""Lists what the roles of the stack were refused in the suites, and what they were granted and never used. Reads the files
that emulators wrote under FRESCO_ACCESS_LOG; fails where anything was refused. A grant may be unused because only AWS uses
it (a function's logs and dead letters, the children of a distributed map), or because no suite has the case.

    access.py FOLDER
"""

import json
import pathlib
import re
import sys

# The part of a name that differs between two stacks.
HASH = re.compile(r"-[0-9A-Fa-f]{13}\b")


def read(folder):
    """The lines of all files, by kind, without what differs between stacks."""
    lines = {"granted": set(), "used": set(), "refused": set()}
    for file in sorted(pathlib.Path(folder).glob("*.jsonl")):
        for line in file.read_text().splitlines():
            kind, role, action, resource = json.loads(line)
            lines[kind].add((role, action, HASH.sub("", resource)))
    return lines


def main(folder):
    lines = read(folder)
    if not lines["used"]:
        sys.exit(f"no file in {folder} has a used grant; set FRESCO_ACCESS_LOG for the suites")
    unused = lines["granted"] - lines["used"]
    for kind, found in (("refused", lines["refused"]), ("granted and never used", unused)):
        for role, action, resource in sorted(found):
            print(f"{kind}: {role}: {action} on {resource}")
    print(f"{len(lines['used'])} grants used, {len(lines['refused'])} refused, {len(unused)} never used")
    sys.exit(1 if lines["refused"] else 0)


main(sys.argv[1])
