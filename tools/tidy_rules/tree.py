"""A source tree as the rules see it: text files by path, and the floors of the house."""

import os
import re
from functools import cached_property
from pathlib import Path

CPP_SUFFIXES = (".h", ".cc", ".cu", ".cuh")
TEXT_SUFFIXES = CPP_SUFFIXES + (".py", ".cmake", ".sh", ".md", ".proto", ".yml", ".yaml")
TEXT_NAMES = ("CMakeLists.txt", "dev", "run")

# Folders that stand beside the house: they may look into every floor, and no floor into them.
BESIDE = ("tests", "bench", "fuzz")


# What was made elsewhere and stays as it came.
DATA = ("models", "tests/data", "tests/golden", "fuzz/corpus", "bench/peer")


class Source:
    """One text file. `path` is relative to the root, with forward slashes."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.split("\n")
        self.name = path.rsplit("/", 1)[-1]
        self.suffix = os.path.splitext(self.name)[1]
        self.folder = path.split("/", 1)[0] if "/" in path else ""

    @property
    def is_cpp(self):
        return self.suffix in CPP_SUFFIXES

    @property
    def is_header(self):
        return self.suffix in (".h", ".cuh")

    @property
    def is_cmake(self):
        return self.suffix == ".cmake" or self.name == "CMakeLists.txt"

    @cached_property
    def code(self):
        """The text without comments and what stands in quotes; lines stay where they are."""
        return strip_cpp(self.text)

    @cached_property
    def includes(self):
        """[(line, '<' or '"', path)]"""
        pattern = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
        matches = ((i, pattern.match(line)) for i, line in enumerate(self.lines, 1))
        return [(i, match[1], match[2]) for i, match in matches if match]


class Tree:
    """All text files under `root`, but for data, build/ and hidden folders other than .ci/."""

    def __init__(self, root):
        self.root = Path(root)
        self.sources = list(self._read())
        self.by_path = {source.path: source for source in self.sources}
        self.floors = parse_floors(self.by_path.get("cmake/floors.cmake"))

    def _paths(self):
        for folder, subfolders, names in os.walk(self.root):
            here = Path(folder).relative_to(self.root)
            subfolders[:] = sorted(name for name in subfolders if is_ours(here / name))
            for name in sorted(names):
                if name.endswith(TEXT_SUFFIXES) or name in TEXT_NAMES:
                    yield here / name

    def _read(self):
        for path in self._paths():
            try:
                text = (self.root / path).read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                continue  # removed while we looked, or a link to nowhere
            yield Source(path.as_posix(), text)


def is_ours(folder):
    if folder.name in ("build", "__pycache__") or folder.as_posix() in DATA:
        return False
    return folder.name == ".ci" or not folder.name.startswith(".")


def parse_floors(source):
    """{"model": {"common", "kernels"}, ...} from set(CONCLAVE_MAY_model common kernels) lines."""
    if source is None:
        return {}
    pattern = re.compile(r"^\s*set\(CONCLAVE_MAY_(\w+)([^)]*)\)", re.MULTILINE)
    return {match[1]: set(match[2].split()) for match in pattern.finditer(source.text)}


# Numbers are matched so that the ' in 1'000 does not open a character.
CPP_TOKEN = re.compile(
    r'R"(?P<mark>[^\s()\\]{0,16})\(.*?\)(?P=mark)"'
    r"|//[^\n]*(?:(?<=\\)\n[^\n]*)*"
    r"|/\*.*?\*/"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|\b[0-9][\w.]*(?:'[\w.]+)*"
    r"|'(?:\\.|[^'\\\n])+'",
    re.DOTALL,
)


def strip_cpp(text):
    def blank(match):
        token = match[0]
        if token[0].isdigit():
            return token
        hollow = re.sub(r"[^\n]", " ", token)
        return '"' + hollow[1:-1] + '"' if token[-1] == '"' else hollow

    return CPP_TOKEN.sub(blank, text)
