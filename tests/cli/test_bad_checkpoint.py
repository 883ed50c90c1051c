#!/usr/bin/env python3
"""Weights that are damaged, incomplete or too large: one line that names the file and the tensor,
before memory is taken for them.
"""

import json

from support import (
    GOLDEN, CliTest, main, read_header, write_header, write_raw_header,
)

ONE_FILE = GOLDEN / "moonlight"
SHARDED = GOLDEN / "deepseek_v3"
FP8 = GOLDEN / "deepseek_v3_fp8"
MODEL = "model.safetensors"
SHARD = "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
NORM = "model.norm.weight"
EXPERT = "model.layers.1.mlp.experts.7.up_proj.weight"


class BadCheckpointTest(CliTest):
    def refuses(self, folder, *says):
        out = folder / "out"
        for command in (["inspect", folder],
                        ["generate", "--model", folder, "--ids", "5", "--print-ids"],
                        ["logits", "--model", folder, "--ids", "5", "--out", out]):
            self.fails(*command, says=says)
        self.assertFalse(out.exists())

    def damaged(self, damage, source=ONE_FILE, name=MODEL):
        """A copy whose header went through `damage`, and the path of the damaged file."""
        folder = self.copy_of(source)
        path = folder / name
        header, _ = read_header(path)
        damage(header)
        write_header(path, header)
        return folder, path


class FileTest(BadCheckpointTest):
    def test_truncated(self):
        size = (ONE_FILE / MODEL).stat().st_size
        for kept in (0, 1, 7, 8, 100, size // 2, size - 1):
            folder = self.copy_of(ONE_FILE)
            with open(folder / MODEL, "r+b") as file:
                file.truncate(kept)
            with self.subTest(kept=kept):
                self.refuses(folder, folder / MODEL)

    def test_a_truncated_shard(self):
        folder = self.copy_of(SHARDED)
        with open(folder / SHARD, "r+b") as file:
            file.truncate(500000)
        self.refuses(folder, folder / SHARD)

    def test_more_than_the_header_tells(self):
        folder = self.copy_of(ONE_FILE)
        with open(folder / MODEL, "ab") as file:
            file.write(b"x")
        self.refuses(folder, folder / MODEL)

    def test_header_size(self):
        for size in (0, 1, 2**31, 2**40, 2**63, 2**64 - 1):
            folder = self.copy_of(ONE_FILE)
            header, begin = read_header(folder / MODEL)
            data = (folder / MODEL).read_bytes()[begin:]
            write_raw_header(folder / MODEL, json.dumps(header).encode(), data, size)
            with self.subTest(size=size):
                self.refuses(folder, folder / MODEL)

    def test_header_that_is_no_header(self):
        for text in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 300000, b'{"a": 1}',
                     b'{"a": {}}', b'{"' + b"\x1b[31m" * 9 + b'": 1}'):
            folder = self.copy_of(ONE_FILE)
            write_raw_header(folder / MODEL, text)
            with self.subTest(text=text[:20]):
                self.refuses(folder, folder / MODEL)

    def test_no_file(self):
        folder = self.copy_of(ONE_FILE)
        (folder / MODEL).unlink()
        self.refuses(folder, folder, "safetensors")
        (folder / MODEL).mkdir()
        self.refuses(folder, folder / MODEL)


class TensorTest(BadCheckpointTest):
    def refuses_entry(self, name, *says, **fields):
        folder, path = self.damaged(lambda header: header[name].update(fields))
        with self.subTest(name=name, fields=fields):
            self.refuses(folder, path, *says)

    def test_absent(self):
        for name in (NORM, EXPERT, "lm_head.weight",
                     "model.layers.2.mlp.gate.e_score_correction_bias",
                     "model.layers.1.self_attn.kv_b_proj.weight"):
            # Its bytes go to another name, so that the file itself is sound.
            folder, _ = self.damaged(lambda header, name=name: header.update(
                {"unheard.of": header.pop(name)}))
            with self.subTest(name=name):
                self.refuses(folder, folder, name)

    def test_unheard_of(self):
        def add(header):
            end = max(entry["data_offsets"][1] for key, entry in header.items() if key[0] != "_")
            header["model.layers.1.mlp.unheard_of"] = {
                "dtype": "BF16", "shape": [0], "data_offsets": [end, end]}
        folder, _ = self.damaged(add)
        self.refuses(folder, "model.layers.1.mlp.unheard_of")

    def test_offsets(self):
        header, _ = read_header(ONE_FILE / MODEL)
        begin, end = header[EXPERT]["data_offsets"]
        for offsets in ([begin - 2, end - 2], [begin + 2, end + 2], [end, begin], [begin, end + 2],
                        [-2, end], [2**63, 2**63 + end - begin], [begin], [begin, end, end], "x",
                        [begin + 0.5, end], [begin, 2**70]):
            self.refuses_entry(EXPERT, data_offsets=offsets)

    def test_shapes(self):
        rows, cols = read_header(ONE_FILE / MODEL)[0][EXPERT]["shape"]
        for shape in ([cols, rows], [rows * cols], [rows, cols, 1]):
            self.refuses_entry(EXPERT, EXPERT, shape=shape)
        for shape in ([rows, cols + 1], [-rows, -cols], [2**32, 2**32], [2**63, 2, 0], "x", [None],
                      [rows + 0.0001, cols]):
            self.refuses_entry(EXPERT, shape=shape)

    def test_types(self):
        for dtype in ("F64", "I8", "BF17", "", 7, None, "\x1b[1m"):
            self.refuses_entry(NORM, dtype=dtype)
        # The right number of bytes, the wrong meaning.
        self.refuses_entry(NORM, NORM, dtype="I16")


class Fp8Test(BadCheckpointTest):
    SCALE = "model.layers.1.mlp.experts.7.up_proj.weight_scale_inv"

    def test_scales(self):
        def lose(header):
            header["unheard.of"] = header.pop(self.SCALE)
        folder, _ = self.damaged(lose, source=FP8)
        self.refuses(folder, self.SCALE)

        def bend(header):
            header[self.SCALE]["shape"].append(1)
        folder, path = self.damaged(bend, source=FP8)
        self.refuses(folder, path, self.SCALE)


class IndexTest(BadCheckpointTest):
    def refuses_index(self, damage, *says):
        folder = self.copy_of(SHARDED)
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        damage(index)
        (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
        self.refuses(folder, folder, *says)

    def test_names_an_absent_file(self):
        self.refuses_index(lambda index: index["weight_map"].update({NORM: "absent.safetensors"}),
                           "absent.safetensors")

    def test_names_what_is_not_beside_it(self):
        for name in ("../config.json", "/etc/passwd", "", ".", "a\x00b", "a\n\x1b[31m", 7, None):
            with self.subTest(name=name):
                self.refuses_index(
                    lambda index, name=name: index["weight_map"].update({NORM: name}))

    def test_names_another_shard(self):
        self.refuses_index(lambda index: index["weight_map"].update(
            {"lm_head.weight": SHARD}), "lm_head.weight")

    def test_leaves_out_or_adds_a_tensor(self):
        self.refuses_index(lambda index: index["weight_map"].pop(EXPERT), EXPERT)
        self.refuses_index(lambda index: index["weight_map"].update({"unheard.of": SHARD}),
                           "unheard.of")

    def test_is_no_index(self):
        for text in (b"", b"{", b"[]", b"{}", b'{"weight_map": []}', b'{"weight_map": 3}'):
            folder = self.copy_of(SHARDED)
            (folder / INDEX).write_bytes(text)
            with self.subTest(text=text):
                self.refuses(folder, folder / INDEX)

    def test_an_absent_shard(self):
        folder = self.copy_of(SHARDED)
        (folder / SHARD).unlink()
        self.refuses(folder, folder / INDEX, SHARD, "not there")


if __name__ == "__main__":
    main()
