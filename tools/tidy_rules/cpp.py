"""Rules about the shape of C++ and Python: function length, headers, words that we do not use."""

import ast
import re

MAX_FUNCTION_LINES = 60

# A body that is nothing but `return {rows};` is data, as a table at namespace scope is.
RETURNS_A_TABLE = re.compile(r"\{\s*return\s*\{")


# Processes wait by the monotonic clock, for the wall's may be set back. These tell the time of day:
# to people, to other processes, or read a client's deadline.
WAITING_FOLDERS = ("services/server/", "services/gateway/", "services/attention_node/")
TELL_THE_TIME = {
    "services/gateway/control_role.cc",
    "services/gateway/inference_service.cc",
    "services/server/log.cc",
    "services/server/metrics.cc",
}


def check(tree):
    for source in tree.sources:
        if source.is_cpp:
            yield from check_functions(source)
            yield from check_words(source, in_house=source.folder in tree.floors)
        if source.is_header:
            yield from check_header(source)
        if source.suffix == ".py":
            yield from check_python(source)


def check_header(source):
    # Highway compiles its *-inl.h once per target, on purpose.
    guarded = "#pragma once" in source.lines or "HWY_TARGET_TOGGLE" in source.text
    if not guarded:
        yield source.path, 1, "a header without #pragma once"
    if not source.lines[0].startswith("//"):
        yield source.path, 1, "a header opens with what the thing is"


def check_words(source, in_house):
    path = str(source.path)
    waits = path.startswith(WAITING_FOLDERS) and path not in TELL_THE_TIME
    for number, line in enumerate(source.code.split("\n"), 1):
        if re.search(r"\bDISABLED_\w", line):
            yield source.path, number, "a disabled test; mend it or remove it"
        if in_house and re.search(r"\bthrow\b", line):
            yield source.path, number, "no exceptions of ours; return absl::Status"
        if waits and re.search(r"\babsl::Now\(", line):
            yield source.path, number, "the wall's clock may be set back; what waits takes a Clock"


def too_long(path, line, num_lines):
    message = f"a function of {num_lines} lines; it has at most {MAX_FUNCTION_LINES}"
    return [(path, line, message)] if num_lines > MAX_FUNCTION_LINES else []


def check_functions(source):
    for line, num_lines in functions(source.code):
        yield from too_long(source.path, line, num_lines)


def check_python(source):
    try:
        module = ast.parse(source.text)
    except SyntaxError as error:
        yield source.path, error.lineno or 1, f"does not parse: {error.msg}"
        return
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from too_long(source.path, node.lineno, node.end_lineno - node.lineno + 1)


def functions(code):
    """[(line of the opening brace, lines of the body with its braces)] of stripped C++ code.

    A brace heuristic: outside of bodies, the text before a `{` says whether it opens a scope (which
    is looked into), a function (which is measured, with all that it nests) or something else.
    """
    code = without_directives(code)
    found = []
    depth, begin, kept = 0, 0, ""
    for match in re.finditer(r"[{};]", code):
        char, at = match[0], match.start()
        if depth == 0:
            head = kept + code[begin:at]
            begin, kept = match.end(), ""
            if char == "{" and not opens_scope(head):
                depth, opened = 1, at
            continue
        depth += {"{": 1, "}": -1, ";": 0}[char]
        if depth > 0:
            continue
        begin = match.end()
        if re.match(r"\s*[,{]", code[begin:begin + 200]):
            kept = head + "()"  # it was a member's initializer: the body is yet to come
        elif opens_function(head) and not RETURNS_A_TABLE.match(code, opened):
            found.append((code.count("\n", 0, opened) + 1, code.count("\n", opened, at) + 1))
    return found


def without_directives(code):
    """Blanks directives, and of #if ... #else ... #endif all branches but the first."""
    lines, branches, continued = [], [], False
    for line in code.split("\n"):
        directive = re.match(r"\s*#\s*(\w*)", line)
        if directive and not continued:
            word = directive[1]
            if word.startswith("if"):
                branches.append(True)
            elif word.startswith("el") and branches:
                branches[-1] = False
            elif word == "endif" and branches:
                branches.pop()
        dropped = directive or continued or not all(branches)
        continued = bool(directive or continued) and line.endswith("\\")
        lines.append("" if dropped else line)
    return "\n".join(lines)


def without_nested(text, pattern):
    """Removes what matches, from the inside out."""
    while True:
        shorter = re.sub(pattern, " ", text)
        if shorter == text:
            return text
        text = shorter


def opens_scope(head):
    head = without_nested(head, r"<[^<>]*>")
    head = re.sub(r"\b(?:alignas|__attribute__)\s*\([^()]*(?:\([^()]*\))*[^()]*\)", " ", head)
    return "(" not in head and bool(
        re.search(r"\b(?:namespace|extern|class|struct|union|enum)\b", head)
    )


def opens_function(head):
    head = re.sub(r"\boperator\s*[^\s\w(]+", "operator_", head)
    flat = without_nested(without_nested(head, r"<[^<>]*>"), r"\([^()]*\)")
    return "(" in head and "=" not in re.sub(r"[=!<>]=", " ", flat)
