"""Rules about lines and files as text."""

import re

MAX_COLUMNS = 100
MAX_LINES = 300
MAX_DEVICE_LINES = 400

# Written in two parts, so that this file keeps its own rules.
LATER = re.compile(r"\b(?:TO" r"DO\b(?!\(#\d+\))|FIX" r"ME\b|XX" r"X\b)")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/")


def check(tree):
    for source in tree.sources:
        yield from check_file(source)
        for number, line in enumerate(source.lines, 1):
            for message in line_messages(source, line):
                yield source.path, number, message


def check_file(source):
    if source.text and not source.text.endswith("\n"):
        yield source.path, len(source.lines), "no newline at the end of the file"
    if source.suffix == ".md":
        return
    cap = MAX_DEVICE_LINES if source.suffix in (".cu", ".cuh") else MAX_LINES
    num_lines = source.text.count("\n")
    if num_lines > cap:
        yield source.path, cap + 1, f"{num_lines} lines; a file has at most {cap}"


def line_messages(source, line):
    if len(line) > MAX_COLUMNS and source.suffix != ".md":
        yield f"{len(line)} columns; a line has at most {MAX_COLUMNS}"
    if "\t" in line:
        yield "a tab"
    if line != line.rstrip():
        yield "white space at the end of the line"
    if LATER.search(line):
        yield "what is left for later has an issue: TO" "DO(#12)"
    if MACHINE_PATH.search(line):
        yield "a path of one machine"
