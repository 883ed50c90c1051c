#!/usr/bin/env python3
"""What tools/tidy.py must keep: each rule finds its case, at its line, and nothing beside it.

Every test builds a small tree: a clean one, to which a test adds the file it is about.
"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))
sys.dont_write_bytecode = True

import tidy  # noqa: E402
from tidy_rules import cpp, tree  # noqa: E402

LATER = "TO" + "DO"
CLEAN = {
    "cmake/floors.cmake": """# The floors.
set(CONCLAVE_MAY_common)
set(CONCLAVE_MAY_model common)
set(CONCLAVE_MAY_experts common model)
set(CONCLAVE_MAY_services common model experts)
""",
    "model/CMakeLists.txt": "conclave_library(model SRCS config.cc DEPS common)\n",
    "model/config.cc": "",
    "model/config.h": "// What a model is.\n#pragma once\n",
    "tests/model/CMakeLists.txt": "conclave_test(config_test SRCS config_test.cc DEPS model)\n",
    "tests/model/config_test.cc": '#include "model/config.h"\n',
}


def body(num_lines):
    """Braces with `num_lines` lines, their own included."""
    return "{\n" + "  call();\n" * (num_lines - 2) + "}\n"


class TidyTest(unittest.TestCase):
    def findings(self, added):
        """The findings in the clean tree with `added`, as "path:line: message"."""
        with tempfile.TemporaryDirectory() as folder:
            for path, text in {**CLEAN, **added}.items():
                file = Path(folder) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            return [f"{path}:{line}: {message}" for path, line, message in tidy.findings(folder)]

    def assert_clean(self, added):
        self.assertEqual(self.findings(added), [])

    def assert_found(self, added, *expected):
        """As many findings as expected, each beginning with its "path:line: words"."""
        found = self.findings(added)
        self.assertEqual(len(found), len(expected), found)
        for finding, start in zip(found, expected):
            self.assertTrue(finding.startswith(start), f"{finding!r} is not {start!r}...")

    def test_the_clean_tree_is_clean(self):
        self.assert_clean({})


class LinesTest(TidyTest):
    def test_columns(self):
        self.assert_clean({"model/config.cc": "x" * 100 + "\n", "docs/a.md": "x" * 300 + "\n"})
        self.assert_clean({"model/config.cc": "ᵀ" * 100 + "\n"})
        self.assert_found({"model/config.cc": "\n" + "x" * 101 + "\n"}, "model/config.cc:2: 101")
        self.assert_found({"tools/a.py": "x = " + "1" * 97 + "\n"}, "tools/a.py:1: 101 col")

    def test_file_length(self):
        self.assert_clean({"model/config.cc": "\n" * 300, "docs/a.md": "\n" * 900})
        self.assert_found({"model/config.cc": "\n" * 301}, "model/config.cc:301: 301 lines")

    def test_device_files_may_be_longer(self):
        listed = {"model/CMakeLists.txt": "add_library(model config.cc a.cu)\n"}
        self.assert_clean({**listed, "model/a.cu": "\n" * 400})
        self.assert_found({**listed, "model/a.cu": "\n" * 401}, "model/a.cu:401: 401 lines")

    def test_white_space(self):
        self.assert_found({"model/config.cc": "int x; \n"}, "model/config.cc:1: white space")
        self.assert_found({"docs/a.md": "a\n\tb\n"}, "docs/a.md:2: a tab")
        self.assert_found({"model/config.cc": "\nint x;"}, "model/config.cc:2: no newline")
        self.assert_clean({"model/config.cc": ""})

    def test_what_is_left_for_later_has_an_issue(self):
        self.assert_clean({"model/config.cc": f"// {LATER}(#12): more\n"})
        for left in (f"{LATER}: more", f"{LATER}(me): more", f"{LATER}(#): more", "FIX" + "ME"):
            self.assert_found({"model/config.cc": f"// {left}\n"}, "model/config.cc:1: what is")

    def test_paths_of_one_machine(self):
        for path in ("/" + "work/x", "/" + "root/x", "/" + "home/me"):
            self.assert_found({"docs/a.md": f"see {path}\n"}, "docs/a.md:1: a path of one")
            self.assert_clean({"docs/a.md": f"see https://example.com{path} and ./a{path}\n"})

    def test_data_and_build_folders_are_left_alone(self):
        for folder in ("models/bard", "tests/golden", "build/release", ".cache", "a/__pycache__"):
            self.assert_clean({f"{folder}/a.py": "\tno python \n"})
        self.assert_found({".ci/run": "a \n"}, ".ci/run:1: white space")


class ShapeTest(TidyTest):
    def test_header(self):
        user = {"model/config.cc": '#include "model/a.h"\n'}
        self.assert_found({**user, "model/a.h": "// A.\n"}, "model/a.h:1: a header without #pragma")
        self.assert_found({**user, "model/a.h": "#pragma once\n"}, "model/a.h:1: a header opens")
        highway = "// A.\n#if defined(A) == defined(HWY_TARGET_TOGGLE)\n#endif\n"
        self.assert_clean({**user, "model/a.h": highway})

    def test_function_length(self):
        for head in (
            "void f() ",
            "int A::f(int a = 3) const ",
            "bool operator==(const A& a) ",
            "template <typename T = int>\nvoid f(T t)\n  requires(sizeof(T) == 4)\n",
            "namespace a {\nclass B {\n public:\n  explicit B(int c) : c_(c), d_{c} ",
            "TEST_F(ATest, B) ",
            "auto f() -> std::vector<int> ",
        ):
            tail = "};\n}\n" if head.startswith("namespace") else ""
            line = head.count("\n") + 1
            self.assert_clean({"model/config.cc": head + body(60) + tail})
            self.assert_found(
                {"model/config.cc": head + body(61) + tail}, f"model/config.cc:{line}: a function"
            )

    def test_tables_and_scopes_are_no_functions(self):
        for head in ("constexpr std::array<int, 3> kA = ", "namespace ", "enum class A : int ",
                     "struct alignas(64) A ", 'extern "C" ', "const int kA[] "):
            self.assert_clean({"model/config.cc": head + body(100) + ";\n"})

    def test_a_returned_table_is_no_function(self):
        rows = "\n".join(["{1, 2},"] * 70)
        self.assert_clean({"model/config.cc": f"A f() {{\n  return {{\n{rows}\n}};\n}}\n"})
        code = f"A f() {{\n  int b;\n  return {{\n{rows}\n}};\n}}\n"
        self.assert_found({"model/config.cc": code}, "model/config.cc:1: a function of 75 lines")

    def test_quotes_and_comments_hide_braces(self):
        hidden = "\n".join(['// {', '/* { */', 'const char* a = "{";', "char b = '{';",
                            "int c = 1'000'000;", 'auto d = R"x({ " )x";', "#define E {"])
        code = "void f() {\n" + hidden + "\n}\n" + "void g() " + body(60)
        self.assert_clean({"model/config.cc": code})
        self.assertEqual(cpp.functions(tree.strip_cpp(code)), [(1, 9), (10, 60)])

    def test_one_branch_of_a_directive_counts(self):
        code = "#if A\nvoid f() {\n#else\nvoid f(int a) {\n#endif\n}\nvoid g() {\n}\n"
        self.assertEqual(cpp.functions(code), [(2, 5), (7, 2)])

    def test_unbalanced_braces_do_no_harm(self):
        for code in ("}}}\n", "void f() {\n", "{{{\n", "namespace a {\n", "'\n", '"\n', 'R"(\n'):
            self.assert_clean({"model/config.cc": code})

    def test_python_functions(self):
        self.assert_clean({"tools/a.py": "def f():\n" + "    call()\n" * 59})
        long = {"tools/a.py": "def f():\n" + "    call()\n" * 60}
        self.assert_found(long, "tools/a.py:1: a function")
        self.assert_found({"tools/a.py": "def f(:\n"}, "tools/a.py:1: does not parse")

    def test_words(self):
        self.assert_found({"model/config.cc": "throw 1;\n"}, "model/config.cc:1: no exceptions")
        self.assert_clean({"model/config.cc": "// we throw nothing\n"})
        test = {"tests/CMakeLists.txt": "conclave_test(a SRCS a_test.cc)\n"}
        disabled = {"tests/a_test.cc": "TEST(A, DISABLED_B) {}\n"}
        self.assert_found({**test, **disabled}, "tests/a_test.cc:1: a disabled test")
        self.assert_clean({**test, "tests/a_test.cc": '// DISABLED_B\nauto a = "DISABLED_C";\n'})


    def test_what_waits_takes_a_clock(self):
        added = {"services/server/CMakeLists.txt": "add_library(a serve.cc log.cc)\n",
                 "services/server/log.cc": "write(absl::Now());\n"}
        self.assert_clean({**added, "services/server/serve.cc": "// not absl::Now()\n"})
        waits = {"services/server/serve.cc": "\nwhile (absl::Now() < end) look();\n"}
        self.assert_found({**added, **waits}, "services/server/serve.cc:2: the wall's clock")


class IncludesTest(TidyTest):
    def include(self, path, included):
        listed = {f"{Path(path).parent}/CMakeLists.txt": f"add_library(a config.cc {path[-4:]})\n"}
        headers = {"experts/a.h": "// A.\n#pragma once\n", "common/a.h": "// A.\n#pragma once\n"}
        used = '#include "experts/a.h"\n#include "common/a.h"\n#include "services/b/a.h"\n'
        user = {"tests/CMakeLists.txt": "conclave_test(a SRCS u.cc)\n", "tests/u.cc": used}
        return {**headers, **user, **listed, path: f"\n#include {included}\n"}

    def test_floors(self):
        self.assert_clean(self.include("model/a.cc", '"common/a.h"'))
        self.assert_clean(self.include("experts/a.cc", '"model/config.h"'))
        for path, included in (("model/a.cc", "experts/a.h"), ("common/a.cc", "model/config.h")):
            found = f"{path}:2: {path.split('/')[0]}/ may not use {included.split('/')[0]}/"
            self.assert_found(self.include(path, f'"{included}"'), found)

    def test_only_the_wire_speaks_protobuf(self):
        floors = CLEAN["cmake/floors.cmake"].replace("services common", "services proto common")
        floors += "set(CONCLAVE_MAY_router common)\nset(CONCLAVE_MAY_router_wire router proto)\n"
        floors += "set(CONCLAVE_MAY_attention router)\n"
        header = {"cmake/floors.cmake": floors, "router/wire/a.h": "// A.\n#pragma once\n",
                  "tests/v.cc": '#include "router/wire/a.h"\n',
                  "tests/model/CMakeLists.txt": "a(config_test.cc ../v.cc)\n"}
        for included in ('"proto/a.pb.h"', "<grpcpp/channel.h>"):
            for path in ("router/wire/a.cc", "services/a.cc"):
                self.assert_clean({**self.include(path, included), **header})
            for path in ("router/a.cc", "model/a.cc"):
                found = self.findings({**self.include(path, included), **header})
                self.assertEqual(len(found), 1, found)
        found = "attention/a.cc:2: attention/ may not use router/wire/"
        self.assert_found({**self.include("attention/a.cc", '"router/wire/a.h"'), **header}, found)

    def test_what_stands_beside_the_house(self):
        for folder in ("bench", "fuzz"):
            self.assert_clean(self.include(f"{folder}/a.cc", '"experts/a.h"'))
        found = "experts/a.cc:2: experts/ may not use tests/"
        self.assert_found(self.include("experts/a.cc", '"tests/u.cc"'), found)

    def test_includes_begin_at_the_root(self):
        self.assert_found(self.include("model/a.cc", '"config.h"'), "model/a.cc:2: includes begin")
        self.assert_clean(self.include("model/a.cc", "<vector>"))

    def test_logic_does_not_meet_the_world(self):
        for included in ("<thread>", "<chrono>", "<sys/socket.h>", '"absl/time/clock.h"'):
            found = f"model/a.cc:2: <{included[1:-1]}> in logic"
            self.assert_found(self.include("model/a.cc", included), found)
            for path in ("common/a.cc", "services/a/a.cc", "bench/a.cc"):
                self.assert_clean(self.include(path, included))

    def test_no_assert(self):
        found = "services/a/a.cc:2: CHECK"
        self.assert_found(self.include("services/a/a.cc", "<cassert>"), found)

    def test_processes_are_apart(self):
        found = "services/gateway/a.cc:2: the process gateway may not use the process conclave"
        self.assert_found(self.include("services/gateway/a.cc", '"services/conclave/b.h"'), found)
        self.assert_clean(self.include("services/gateway/a.cc", '"services/gateway/b.h"'))
        self.assert_clean(self.include("services/gateway/a.cc", '"services/server/b.h"'))


class WholeTest(TidyTest):
    def test_dead_sources(self):
        self.assert_found({"model/b.cc": ""}, "model/b.cc:1: no CMakeLists.txt names")
        self.assert_found({"bench/b.cc": ""}, "bench/b.cc:1: no CMakeLists.txt names")
        commented = {"model/b/CMakeLists.txt": "# b.cc\n", "model/b/b.cc": ""}
        self.assert_found(commented, "model/b/b.cc:1: no CMakeLists.txt names")

    def test_named_sources_live(self):
        for name in ("b.cc", "${CMAKE_CURRENT_SOURCE_DIR}/b.cc", "$<IF:$<BOOL:${A}>,b.cc,c.cc>",
                     "${PROJECT_SOURCE_DIR}/model/b/b.cc", "../b/b.cc"):
            listed = {"model/b/CMakeLists.txt": f"target_sources(model PRIVATE {name})\n"}
            self.assert_clean({**listed, "model/b/b.cc": ""})
        self.assert_clean({"model/b.cc": "", "model/config.cc": '#include "model/b.cc"\n'})

    def test_dead_headers(self):
        header = {"model/b.h": "// B.\n#pragma once\n"}
        self.assert_found(header, "model/b.h:1: nobody includes")
        uses = {"model/config.cc": '#include "model/b.h"\n'}
        self.assert_clean({**header, **uses})

    def test_globs(self):
        cmake = {"model/b/CMakeLists.txt": "file(GLOB sources *.cc)\n"}
        self.assert_found(cmake, "model/b/CMakeLists.txt:1: sources are listed")

    def test_flags(self):
        listed = {"services/CMakeLists.txt": "add_executable(a a.cc)\n"}
        flags = {"services/a.cc": 'add("-p,--prompt", "says --nothing");\nadd("--seed");\n'}
        self.assert_clean({**listed, **flags})
        self.assert_clean({**listed, **flags, "docs/cli.md": "`--prompt TEXT`, `--seed N`\n"})
        self.assert_found(
            {**listed, **flags, "docs/cli.md": "`--prompt-file`, `--seed N`\n"},
            "services/a.cc:1: docs/cli.md does not know --prompt",
        )


class CommandTest(TidyTest):
    def run_tidy(self, added):
        with tempfile.TemporaryDirectory() as folder:
            for path, text in added.items():
                (Path(folder) / path).write_text(text, encoding="utf-8")
            command = [sys.executable, "-B", str(REPOSITORY / "tools/tidy.py"), folder]
            return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_exit_status(self):
        clean = self.run_tidy({"a.md": "a\n"})
        self.assertEqual((clean.returncode, clean.stdout), (0, ""))
        found = self.run_tidy({"a.md": "a \n"})
        self.assertEqual(found.returncode, 1)
        self.assertEqual(found.stdout, "a.md:1: white space at the end of the line\n")

    def test_links_to_nowhere_do_no_harm(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a.md").symlink_to("nowhere.md")
            self.assertEqual(tidy.findings(folder), [])

    def test_a_page_names_files_that_are_there(self):
        self.assert_clean({"docs/way.md": "`model/config.h`, `kernels/NAME_cpu.cc`, `a/b.c`\n"})
        self.assert_clean({"docs/way.md": "[the way](../docs/way.md)\n"})
        self.assert_found({"docs/way.md": "`model/gone.h`\n"}, "docs/way.md:1: model/gone.h")
        self.assert_found({"docs/way.md": "[gone](gone.md)\n"}, "docs/way.md:1: docs/gone.md")


if __name__ == "__main__":
    unittest.main()
