#!/usr/bin/env python3
"""`conclave logits`: the goldens within 1e-4, the same bits however they are computed, and a file
that is whole or not there at all.
"""

import resource

from support import (
    BARD, F32, FAMILIES, GOLDEN, CliTest, conclave, ignore_file_size_signal, join, main,
    read_header, read_tensors,
)

TOLERANCE = 1e-4


def limit_files_to_a_page():
    ignore_file_size_signal()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


class LogitsTest(CliTest):
    def logits(self, model, ids, *more):
        out = self.folder / "logits.safetensors"
        run = self.works("logits", "--model", model, "--ids", join(ids), "--out", out, *more)
        self.assertEqual(run.out, b"")
        return out

    def assert_close(self, rows, golden, num_cols):
        self.assertEqual(len(rows), len(golden))
        for begin in range(0, len(golden), num_cols):
            expected = golden[begin:begin + num_cols]
            largest = max(map(abs, expected))
            for value, wanted in zip(rows[begin:begin + num_cols], expected):
                self.assertLessEqual(abs(value - wanted), TOLERANCE * largest)

    def test_goldens(self):
        for folder in [*(GOLDEN / family for family in FAMILIES), BARD]:
            golden = read_tensors(folder / "golden.safetensors")
            for i in range(3):
                ids = [*golden[f"prompt_{i}"][1], *golden[f"greedy_{i}"][1][:-1]]
                shape, expected = golden[f"logits_{i}"]
                with self.subTest(folder=folder.name, prompt=i):
                    tensors = read_tensors(self.logits(folder, ids, *F32))
                    self.assertEqual(list(tensors), ["logits"])
                    self.assertEqual(tensors["logits"][0], shape)
                    self.assert_close(tensors["logits"][1], expected, shape[1])

    def test_the_file(self):
        out = self.logits(GOLDEN / "moonlight", [5, 6, 7])
        header, begin = read_header(out)
        entry = {"dtype": "F32", "shape": [3, 320], "data_offsets": [0, 3 * 320 * 4]}
        self.assertEqual(header, {"logits": entry})
        self.assertEqual(out.stat().st_size, begin + 3 * 320 * 4)

    def test_the_way_of_computing_does_not_show(self):
        for folder in (GOLDEN / "deepseek_v3_fp8", BARD):
            ids = list(read_tensors(folder / "golden.safetensors")["prompt_1"][1])
            for profile in ([], F32):
                expected = self.logits(folder, ids, *profile).read_bytes()
                for more in (["--prompt-tokens", "1"], ["--prompt-tokens", "9"],
                             ["--prompt-tokens", str(len(ids))], ["--prefill-chunk", "1"],
                             ["--prefill-chunk", "5", "--expert-shards", "3"],
                             ["--prompt-tokens", "4", "--prefill-chunk", "3", "--threads", "3"]):
                    with self.subTest(folder=folder.name, profile=profile, more=more):
                        found = self.logits(folder, ids, *profile, *more).read_bytes()
                        self.assertEqual(found, expected)

    def test_text_is_its_ids(self):
        path = self.file("text", b"First Citizen")
        ids = self.works("tokenize", "--model", BARD, "--file", path).text().strip()
        expected = self.logits(BARD, ids.split(",")).read_bytes()
        for prompt in (["--prompt", "First Citizen"], ["--prompt-file", path]):
            out = self.folder / "of_text"
            self.works("logits", "--model", BARD, *prompt, "--out", out)
            self.assertEqual(out.read_bytes(), expected)

    def test_the_whole_context(self):
        ids = [i % 320 for i in range(257)]
        moonlight = GOLDEN / "moonlight"
        shape, _ = read_tensors(self.logits(moonlight, ids[:256]))["logits"]
        self.assertEqual(shape, [256, 320])
        self.fails("logits", "--model", moonlight, "--ids", join(ids), "--out",
                   self.folder / "out", says=["INVALID_ARGUMENT", 257, 256])


class OutTest(CliTest):
    def refuses(self, out, *says):
        head = ["logits", "--model", BARD, "--prompt", "Who's there?"]
        self.fails(*head, "--out", out, says=says)

    def test_where_nothing_can_be_written(self):
        before = sorted(self.folder.iterdir())
        absent = self.folder / "absent/out"
        self.refuses(absent, f"writing {absent}: No such file or directory")
        self.refuses(self.folder, f"writing {self.folder}: ", "not a regular file")
        self.refuses("", "the name of the file to write is empty")
        self.refuses(BARD / "config.json/out", "config.json/out: Not a directory")
        self.assertEqual(sorted(self.folder.iterdir()), before)

    def test_a_link_stays_a_link(self):
        # What stands for a device here: a rename would put a file in its place.
        link = self.folder / "link"
        link.symlink_to("/dev/null")
        self.refuses(link, f"writing {link}: ", "not a regular file")
        self.assertTrue(link.is_symlink())

    def test_a_full_disk_leaves_nothing_and_keeps_what_was_there(self):
        kept = self.file("out", b"what was there")
        for out in (kept, self.folder / "new"):
            run = ["logits", "--model", BARD, "--prompt", "Who's there?", "--out", out]
            result = conclave(*run, preexec_fn=limit_files_to_a_page)
            self.assertEqual(result.code, 1, result.err)
            self.assertEqual(result.lines()[-1],
                             f"conclave: UNAVAILABLE: writing {out}: File too large")
        self.assertEqual(list(self.folder.iterdir()), [kept])
        self.assertEqual(kept.read_bytes(), b"what was there")

    def test_an_old_file_is_replaced(self):
        out = self.file("out", b"old" * 100000)
        self.works("logits", "--model", BARD, "--ids", "1", "--out", out)
        self.assertEqual(read_tensors(out)["logits"][0], [1, 2048])

    def test_prompt_tokens(self):
        head = ["logits", "--model", BARD, "--ids", "4,5,6", "--out", self.folder / "out"]
        self.fails(*head, "--prompt-tokens", "4", says=["--prompt-tokens 4", "3 ids"])
        self.usage(*head, "--prompt-tokens", "-1", says="--prompt-tokens")
        self.usage(*head, "--prompt-tokens", "x", says="--prompt-tokens")


if __name__ == "__main__":
    main()
