#!/usr/bin/env python3
"""`conclave convert`: the bits of converting at load, and a folder that is whole or not there."""

import json
import resource

from support import BARD, F32, GOLDEN, CliTest, ignore_file_size_signal, main, read_header

IDS = "5,6,7,8,9,10,11,12"


def limit_files_to_a_page():
    ignore_file_size_signal()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


class ConvertTest(CliTest):
    def logits(self, model, *more):
        out = self.folder / "logits.safetensors"
        self.works("logits", "--model", model, "--ids", IDS, "--out", out, *more)
        return out.read_bytes()

    def test_same_bits_as_at_load(self):
        folders = [BARD, *(GOLDEN / name for name in ("deepseek_v2_lite", "deepseek_v3_fp8"))]
        for folder in folders:
            for types in ("int8", "experts=int8"):
                with self.subTest(folder=folder.name, types=types):
                    out = self.folder / f"{folder.name}-{types}"
                    self.works("convert", "--model", folder, "--out", out, "--weights", types)
                    for profile in ([], F32):
                        at_load = self.logits(folder, "--weights", types, *profile)
                        self.assertEqual(self.logits(out, *profile), at_load)
                        self.assertNotEqual(self.logits(folder, *profile), at_load)
                    self.assertEqual(self.logits(out, "--weights", types),
                                     self.logits(folder, "--weights", types))

    def test_the_folder(self):
        out = self.folder / "out"
        self.works("convert", "--model", BARD, "--out", out)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["out"])
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(config.pop("quantization_config"),
                         {"quant_method": "conclave_int8", "group_size": 128})
        self.assertEqual(config, json.loads((BARD / "config.json").read_text()))
        header, _ = read_header(out / "model.safetensors")
        name = "model.layers.0.self_attn.o_proj.weight"
        self.assertEqual(header[name]["dtype"], "I8")
        self.assertEqual(header[name + "_scale"]["dtype"], "F32")
        self.assertEqual(header[name + "_scale"]["shape"],
                         [header[name]["shape"][0], -(-header[name]["shape"][1] // 128)])
        self.assertEqual(header["model.embed_tokens.weight"]["dtype"], "BF16")
        self.works("inspect", out)
        self.fails("convert", "--model", BARD, "--out", out, says=["not an empty folder"])

    def test_a_disk_that_is_full(self):
        out = self.folder / "out"
        self.fails("convert", "--model", BARD, "--out", out, says=["model.safetensors"],
                   preexec_fn=limit_files_to_a_page)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_what_cannot_be(self):
        out = self.folder / "out"
        self.fails("convert", "--model", BARD, "--out", out, "--weights", "stored",
                   says=["nothing of it would be converted"])
        self.fails("convert", "--model", BARD, "--out", self.folder / "none" / "out",
                   says=["none/out"])
        self.usage("convert", "--model", BARD, says=["--out"])
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    main()
