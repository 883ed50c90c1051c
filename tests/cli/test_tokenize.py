#!/usr/bin/env python3
"""`conclave tokenize`: text to ids and back, and what is neither."""

import json

from support import BARD, GOLDEN, CliTest, join, main

BOS = 0


class TokenizeTest(CliTest):
    def encode(self, *more, **options):
        return self.works("tokenize", "--model", BARD, *more, **options).text()

    def decode(self, ids):
        text = self.works("tokenize", "--model", BARD, "--decode", join(ids)).text()
        self.assertTrue(text.endswith("\n"))
        return text[:-1]

    def test_the_makers_vectors(self):
        vectors = json.loads((BARD / "tokenizer_vectors.json").read_text(encoding="utf-8"))
        for vector in vectors:
            text, ids = vector["text"], vector["ids"]
            path = self.file("text", text.encode())
            with self.subTest(text=text[:40]):
                self.assertEqual(self.encode("--file", path, "--no-bos"), join(ids) + "\n")
                self.assertEqual(self.encode("--file", path), join([BOS, *ids]) + "\n")
                if ids:
                    self.assertEqual(self.decode(ids), vector["decoded"])

    def test_every_way_to_give_a_text(self):
        text = "Now is the winter\n of our discontent 你好"
        path = self.file("text", text.encode())
        expected = self.encode("--text", text)
        self.assertEqual(self.encode("--file", path), expected)
        self.assertEqual(self.encode("--file", "-", stdin=text.encode()), expected)
        self.assertEqual(self.decode(expected.split(",")[1:]).rstrip("\n"), text)

    def test_empty_text(self):
        self.assertEqual(self.encode("--text", ""), f"{BOS}\n")
        self.assertEqual(self.encode("--text", "", "--no-bos"), "\n")

    def test_a_long_file(self):
        text = ("To be, or not to be: " * 50000 + "a" * 1000000).encode()
        ids = self.encode("--file", self.file("long", text), "--no-bos").split(",")
        self.assertGreater(len(ids), 100000)

    def test_part_of_a_character_decodes_to_its_mark(self):
        ids = self.encode("--text", "你", "--no-bos").strip().split(",")
        if len(ids) > 1:
            self.assertIn("\ufffd", self.decode(ids[:1]))


class RefusalTest(CliTest):
    def refuses(self, *more, says, **options):
        self.fails("tokenize", "--model", BARD, *more, says=says, **options)

    def test_not_text(self):
        bad = self.file("bad", b"to be\xff or not")
        self.refuses("--file", bad, says=["not UTF-8 at byte 5", bad])
        self.refuses("--text", b"\xc3", says=["not UTF-8 at byte 0", "--text"])

    def test_not_a_file(self):
        self.refuses("--file", self.folder, says=[self.folder, "Is a directory"])
        self.refuses("--file", self.folder / "no", says=[f"{self.folder}/no", "No such file"])
        self.refuses("--file", "", says="No such file")

    def test_a_file_without_end(self):
        self.refuses("--file", "/dev/zero", says=["RESOURCE_EXHAUSTED", "/dev/zero", "64 MiB"])

    def test_ids_without_a_token(self):
        self.refuses("--decode", "5,2048", says=["id 2048 at --decode[1]", "[0, 2048)"])
        self.refuses("--decode=-1", says=["id -1 at --decode[0]"])
        self.refuses("--decode", "", says="--decode names no id")
        self.refuses("--decode", "1,,2", says=['--decode: "" is not an id', "number 2"])
        self.refuses("--decode", "99999999999", says='"99999999999" is not an id')

    def test_no_tokenizer(self):
        folder = GOLDEN / "moonlight"
        self.fails("tokenize", "--model", folder, "--text", "a",
                   says=["NOT_FOUND", f"{folder}/tokenizer.json"])

    def test_a_broken_tokenizer(self):
        for broken in (b"", b"{", b"[]", b'{"model": {"type": "WordPiece"}}', b"\xff\x00"):
            folder = self.copy_of(BARD)
            (folder / "tokenizer.json").write_bytes(broken)
            for command in (["tokenize", "--text", "a"], ["generate", "--prompt", "a"]):
                with self.subTest(broken=broken, command=command[0]):
                    self.fails(*command, "--model", folder, says=f"{folder}/tokenizer.json")


if __name__ == "__main__":
    main()
