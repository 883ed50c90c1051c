"""Rules that need the whole tree: files nobody names, globs, flags without a page, lost paths."""

import posixpath
import re

from tidy_rules.tree import BESIDE

SOURCE_SUFFIXES = (".cc", ".cu")

# What a page may name as a path from the root; other paths in backticks are somebody else's.
PAGE_FOLDERS = ("attention", "bench", "cmake", "common", "docs", "experts", "fuzz", "gateway",
                "kernels", "model", "models", "router", "services", "tests", "tools")


def check(tree):
    yield from check_dead_files(tree)
    yield from check_globs(tree)
    yield from check_flags(tree)
    yield from check_named_paths(tree)


def check_dead_files(tree):
    built = {path for source in tree.sources if source.is_cmake for path in named_sources(source)}
    included = {path for source in tree.sources if source.is_cpp for _, _, path in source.includes}
    for source in tree.sources:
        if source.folder not in tree.floors and source.folder not in BESIDE:
            continue
        if source.suffix in SOURCE_SUFFIXES and source.path not in built | included:
            yield source.path, 1, "no CMakeLists.txt names this file"
        if source.is_header and source.path not in included:
            yield source.path, 1, "nobody includes this header"


def named_sources(cmake):
    """The .cc and .cu files that a CMake file names, relative to the root."""
    folder = posixpath.dirname(cmake.path)
    text = "\n".join(line.split("#", 1)[0] for line in cmake.lines)
    for name in re.findall(r"[\w./${}-]+\.(?:cc|cu)\b", text):
        base = folder
        variable = re.match(r"\$\{(\w+)\}/", name)
        if variable:
            base = "" if variable[1] in ("PROJECT_SOURCE_DIR", "CMAKE_SOURCE_DIR") else folder
            name = name[variable.end():]
        yield posixpath.normpath(posixpath.join(base, name))


def check_globs(tree):
    for source in tree.sources:
        if not source.is_cmake:
            continue
        for number, line in enumerate(source.lines, 1):
            if re.match(r"\s*file\s*\(\s*GLOB", line, re.IGNORECASE):
                yield source.path, number, "sources are listed, not globbed"


def check_flags(tree):
    """Every string in services/ that begins with --flag needs its line in docs/cli.md."""
    page = tree.by_path.get("docs/cli.md")
    if page is None:
        return
    for source in tree.sources:
        if source.folder != "services" or source.suffix != ".cc":
            continue
        for number, line in enumerate(source.lines, 1):
            for flag in re.findall(r'"(?:-\w,)?(--[a-z][a-z0-9-]*)', line):
                if not re.search(rf"{flag}(?![\w-])", page.text):
                    yield source.path, number, f"docs/cli.md does not know {flag}"


def check_named_paths(tree):
    """A page's `folder/file.ext` and [text](page.md) are there; NAME stands for any name."""
    for page in tree.sources:
        if page.suffix != ".md":
            continue
        for number, line in enumerate(page.lines, 1):
            for path in paths_on(line, page):
                if "NAME" not in path and not (tree.root / path).exists():
                    yield page.path, number, f"{path} is not in the tree"


def paths_on(line, page):
    """Paths relative to the root. In backticks only those that begin with a folder of ours."""
    for path in re.findall(r"`((?:\w[\w.-]*/)+[\w.-]+\.\w+)`", line):
        if path.split("/", 1)[0] in PAGE_FOLDERS:
            yield path
    for path in re.findall(r"\]\(([\w./-]+)\)", line):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(page.path), path))
