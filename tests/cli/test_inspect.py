#!/usr/bin/env python3
"""`conclave inspect`: numbers that can be computed by hand, and a model that no memory holds."""

import json
import math
import time

from support import BARD, FAMILIES, GOLDEN, CliTest, main, read_header, write_raw_header

LITE = GOLDEN / "deepseek_v2_lite"
BYTES = {"F32": 4, "BF16": 2, "F8_E4M3": 1}


def fields(text):
    """{name: value} of what was printed; lines without a name go on with the one before."""
    found, name = {}, None
    for line in text.splitlines():
        name = line[:22].strip() or name
        found[name] = f"{found[name]}; {line[23:]}" if line[:22].isspace() else line[23:]
    return found


def tensors(folder):
    """Name, entry of every weight in the folder."""
    for path in folder.glob("model*.safetensors"):
        for name, entry in read_header(path)[0].items():
            if name != "__metadata__":
                yield name, entry


class InspectTest(CliTest):
    def inspect(self, folder):
        return fields(self.works("inspect", folder).text())

    def test_by_hand(self):
        # D 80, V 320, 3 layers of which the first is dense with F 112, then 12 experts of F 40 and
        # two shared ones; 4 heads of 24 + 8 and 16, latent 24 + 8; f32.
        attention = 4 * (24 + 8) * 80 + (24 + 8) * 80 + 24 + 4 * (24 + 16) * 24 + 80 * 4 * 16
        expert = 3 * 80 * 40
        layer = attention + 2 * 80
        moe = 12 * 80 + 2 * expert
        total = 2 * 320 * 80 + 80 + 3 * layer + 3 * 80 * 112 + 2 * (moe + 12 * expert)
        # Of the embeddings a token reads one row; 3 experts a layer are active.
        active = total - 320 * 80 - 2 * (12 - 3) * expert
        self.assertEqual((total, active), (414712, 216312))
        said = self.inspect(LITE)
        self.assertEqual(said["parameters"], "414712 total, 216312 active a token")
        self.assertEqual(said["model type"], "deepseek_v2")
        self.assertEqual(said["layers"], "3, and 0 for multi-token prediction (unused)")
        self.assertEqual(said["hidden size"], "80")
        self.assertEqual(said["attention"], "MLA, 4 heads, latent 24 + 8")
        self.assertEqual(said["gate"], "softmax, greedy")
        self.assertEqual(said["context"], "256")
        self.assertEqual(said["one routed expert"], "37.5 KiB")  # 9,600 * 4 B
        self.assertEqual(said["all routed experts"], "900.0 KiB")
        self.assertEqual(said["cache a token"], "192 B in bf16, 384 B in f32")  # 3 * 32 * 2 B
        self.assertRegex(said["memory"], r"^\S+ .iB available of \S+ .iB; fits, with room for \d+ ")

    def test_against_the_files(self):
        for folder in [*(GOLDEN / family for family in FAMILIES), BARD]:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            mtp = f"model.layers.{config['num_hidden_layers']}."
            weights = {name: entry for name, entry in tensors(folder)
                       if not name.startswith(mtp) and not name.endswith("weight_scale_inv")}
            total = sum(math.prod(entry["shape"]) for entry in weights.values())
            expert = sum(math.prod(entry["shape"]) * BYTES[entry["dtype"]]
                         for name, entry in weights.items() if ".1.mlp.experts.0." in name)
            latent = config["kv_lora_rank"] + config["qk_rope_head_dim"]
            with self.subTest(folder=folder.name):
                said = self.inspect(folder)
                shown = f"{total / 1e6:.2f} M" if total >= 1e6 else str(total)
                self.assertTrue(said["parameters"].startswith(f"{shown} total"), said)
                cache = 2 * latent * config["num_hidden_layers"]
                self.assertEqual(said["cache a token"], f"{cache} B in bf16, {2 * cache} B in f32")
                if "fp8" not in folder.name:
                    self.assertEqual(said["one routed expert"], f"{expert / 1024:.1f} KiB")

    def test_ids_only(self):
        self.assertIn("no tokenizer.json: ids only", self.inspect(LITE)["vocabulary"])
        self.assertEqual(self.inspect(BARD)["vocabulary"], "2048, of which the tokenizer has 2048")

    def test_multi_token_prediction(self):
        self.assertRegex(self.inspect(BARD)["parameters"], r"3\.04 M more for multi-token")


class TooLargeTest(CliTest):
    """A sound checkpoint that claims hundreds of gigabytes, nearly all of it a hole in the file."""

    def giant(self):
        folder = self.copy_of(GOLDEN / "moonlight")
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        narrow, wide = config["moe_intermediate_size"], 2_000_000
        path.write_text(json.dumps({**config, "moe_intermediate_size": wide}), encoding="utf-8")

        path = folder / "model.safetensors"
        header, _ = read_header(path)
        shared = narrow * config["n_shared_experts"]
        end = 0
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if "experts." in name:
                grown = {narrow: wide, shared: wide * config["n_shared_experts"]}
                entry["shape"] = [grown.get(dim, dim) for dim in entry["shape"]]
            begin = end
            end += math.prod(entry["shape"]) * BYTES[entry["dtype"]]
            entry["data_offsets"] = [begin, end]
        write_raw_header(path, json.dumps(header).encode())
        try:
            with open(path, "r+b") as file:
                file.truncate(path.stat().st_size + end)
        except OSError as error:
            self.skipTest(f"no sparse file of {end} bytes: {error}")
        return folder

    def test_inspected_and_refused_at_once(self):
        folder = self.giant()
        start = time.monotonic()
        said = fields(self.works("inspect", folder).text())
        self.assertRegex(said["memory"], r"does not fit: \S+ [GT]iB are needed")
        self.assertRegex(said["memory"], r"the trunk and \d+ experts would fit")
        self.fails("generate", "--model", folder, "--ids", "5", "--print-ids",
                   says=["RESOURCE_EXHAUSTED", folder, "does not fit", "--overcommit"])
        self.fails("logits", "--model", folder, "--ids", "5", "--out", self.folder / "out",
                   says=["RESOURCE_EXHAUSTED", folder, "does not fit"])
        self.assertLess(time.monotonic() - start, 10)


if __name__ == "__main__":
    main()
