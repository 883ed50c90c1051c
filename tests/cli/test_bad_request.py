#!/usr/bin/env python3
"""Requests that cannot be served: refused in one line before the weights are read."""

import resource
import unittest

from support import BARD, GOLDEN, SANITIZED, CliTest, join, main

MOONLIGHT = GOLDEN / "moonlight"  # a context of 256 and 320 ids
CONTEXT = 1024                    # bard's


class RequestTest(CliTest):
    def refuses(self, *more, says, model=BARD, **options):
        """Both commands that run a request say the same of it."""
        self.fails("generate", "--model", model, "--print-ids", *more, says=says, **options)
        out = self.folder / "out"
        self.fails("logits", "--model", model, "--out", out, *more, says=says, **options)
        self.assertFalse(out.exists())


class PromptTest(RequestTest):
    def test_empty(self):
        empty = self.file("empty", b"")
        self.refuses("--prompt", "", says=["the prompt is empty", "--prompt"])
        self.refuses("--prompt-file", empty, says=["the prompt is empty", empty])
        self.refuses("--prompt-file", "-", says="the prompt is empty")
        self.refuses("--ids", "", says="--ids names no id")
        self.refuses("--ids", " ", says="--ids names no id")

    def test_not_text(self):
        for content, place in ((b"\xff", 0), (b"to be \xc3(", 6), (b"ab\xe4\xbd", 2),
                               (b"\xed\xa0\x80", 0), (b"\xc0\x80", 0)):
            path = self.file("bad", content)
            self.refuses("--prompt-file", path, says=[f"not UTF-8 at byte {place}", path])
        self.refuses("--prompt", b"ab\xff", says=["not UTF-8 at byte 2", "--prompt"])

    def test_nul(self):
        path = self.file("nul", b"to be\0or not")
        self.refuses("--prompt-file", path, says=["a NUL at byte 5", path])
        self.refuses("--prompt-file", "-", says="a NUL at byte 0", stdin=b"\0" * 100)

    def test_ten_megabytes(self):
        for content in (b"a", b" ", b"\n", "字".encode(), b"To be, or not to be: ", b"0", b"!?"):
            path = self.file("long", content * (10_000_000 // len(content)))
            with self.subTest(content=content):
                self.fails("generate", "--model", BARD, "--prompt-file", path,
                           says=["INVALID_ARGUMENT: the prompt has ", f"context is {CONTEXT}"])

    def test_no_end(self):
        self.refuses("--prompt-file", "/dev/zero", says=["/dev/zero", "more than 64 MiB"])

    def test_no_file(self):
        absent = self.folder / "absent"
        self.refuses("--prompt-file", absent, says=f"{absent}: No such file")
        self.refuses("--prompt-file", self.folder, says=f"{self.folder}: Is a directory")
        self.refuses("--prompt-file", "", says="No such file")
        self.refuses("--prompt-file", self.folder / "a\n\x1b[31mb", says=r"a\x0a\x1b[31mb")

    def test_longer_than_the_context(self):
        self.fails("generate", "--model", MOONLIGHT, "--ids", join([5] * 256), "--print-ids",
                   says=["the prompt has 256 ids", "context is 256"])
        self.refuses("--ids", join([5] * 257), model=MOONLIGHT, says=[257, "context is 256"])
        self.refuses("--ids", join([5] * 20000), says=[20000, f"context is {CONTEXT}"])

    def test_longer_than_the_cache(self):
        self.refuses("--ids", join([5] * 100), "--cache-tokens", "64",
                     says=["RESOURCE_EXHAUSTED", "cache holds 64"])


class IdsTest(RequestTest):
    def test_out_of_range(self):
        self.refuses("--ids", "5,2048", says=["id 2048 at prompt[1]", "[0, 2048)"])
        self.refuses("--ids=-1,5", says=["id -1 at prompt[0]"])
        self.refuses("--ids", "5,2147483647", says="id 2147483647")
        self.refuses("--ids", "320", model=MOONLIGHT, says=["id 320", "[0, 320)"])

    def test_no_ids(self):
        for text, culprit in (("1,,2", '""'), ("1,2,", '""'), (",", '""'), ("1;2", '"1;2"'),
                              ("a", '"a"'), ("1.5", '"1.5"'), ("0x10", '"0x10"'),
                              ("99999999999", '"99999999999"'), ("1 2", '"1 2"'),
                              ("1,\n\x1b", r'"\x0a\x1b"')):
            with self.subTest(text=text):
                self.refuses("--ids", text, says=["--ids: ", culprit, "is not an id"])

    def test_forced_ids(self):
        self.fails("logits", "--model", BARD, "--ids", "5,2048", "--prompt-tokens", "1", "--out",
                   self.folder / "out", says=["id 2048", "[0, 2048)"])


class SizeTest(RequestTest):
    def test_more_than_there_is(self):
        self.refuses("--ids", "5", "--cache-tokens", "2147483583",
                     says=["RESOURCE_EXHAUSTED", "does not fit", "--overcommit"])

    def test_shards(self):
        self.refuses("--ids", "5", "--expert-shards", "17",
                     says=["--expert-shards 17", "16 routed experts"])

    @unittest.skipIf(SANITIZED, "a sanitizer takes terabytes of addresses")
    def test_steps_are_no_longer_than_the_request(self):
        # The largest step allowed would take a gigabyte even for this model.
        def limit_memory():
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        self.works("generate", "--model", BARD, "--prompt", "a", "--max-tokens", "2", "--threads",
                   "1", "--prefill-chunk", "65536", preexec_fn=limit_memory)

    @unittest.skipIf(SANITIZED, "a sanitizer takes terabytes of addresses")
    def test_more_threads_than_the_machine_gives(self):
        def limit_memory():
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        self.fails("generate", "--model", BARD, "--ids", "0,5", "--threads", "1000",
                   says=["RESOURCE_EXHAUSTED", "999 threads"], preexec_fn=limit_memory)


class ModelTest(RequestTest):
    def test_more_pinned_threads_than_cores(self):
        self.fails("generate", "--model", BARD, "--ids", "0,5", "--threads", "1000",
                   "--pin-threads", says=["INVALID_ARGUMENT", "1000 threads cannot be pinned"])
        self.works("generate", "--model", BARD, "--prompt", "a", "--max-tokens", "2", "--threads",
                   "1", "--pin-threads")

    def test_no_model(self):
        absent = self.folder / "absent"
        self.refuses("--ids", "5", model=absent, says=f"{absent}/config.json: No such file")
        self.refuses("--ids", "5", model=self.folder, says=f"{self.folder}/config.json: No such")
        path = self.file("file", b"")
        self.refuses("--ids", "5", model=path, says=f"{path}/config.json: Not a directory")
        for command in (["inspect", ""], ["generate", "--ids", "5", "--model", ""],
                        ["tokenize", "--text", "a", "--model="]):
            self.usage(*command)

    def test_a_name_that_commands_the_terminal(self):
        self.refuses("--ids", "5", model=b"a\n\x1b[31m\xff\xc2\x9bb", says=r"a\x0a\x1b[31m\xff\xc2")


if __name__ == "__main__":
    main()
