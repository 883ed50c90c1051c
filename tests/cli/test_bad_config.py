#!/usr/bin/env python3
"""A config.json or generation_config.json that we cannot serve: one line that names the file and
the field, before anything is loaded. Never a silent substitute.
"""

import json

from support import BARD, GOLDEN, CliTest, main

V3 = GOLDEN / "deepseek_v3"
V2 = GOLDEN / "deepseek_v2"
ABSENT = object()
HUGE = 10**30


class FolderTest(CliTest):
    def refuses(self, source, name, *says):
        """Every command that reads the folder says the same line."""
        for command in (["inspect", source],
                        ["generate", "--model", source, "--ids", "5", "--print-ids"],
                        ["logits", "--model", source, "--ids", "5", "--out", source / "out"]):
            self.fails(*command, says=[f"{source}/{name}", *says])

    def refuses_fields(self, source, fields, *says, name="config.json"):
        folder = self.copy_of(source)
        path = folder / name
        config = json.loads(path.read_text(encoding="utf-8"))
        for key, value in fields.items():
            *outer, last = key.split(".")
            inner = config
            for step in outer:
                inner = inner[step]
            inner.pop(last, None)
            if value is not ABSENT:
                inner[last] = value
        path.write_text(json.dumps(config), encoding="utf-8")
        with self.subTest(fields=str(fields)[:80]):
            self.refuses(folder, name, *says)


class ConfigTest(FolderTest):
    def test_what_we_do_not_know(self):
        self.refuses_fields(V3, {"model_type": "gpt9"}, "model_type", "gpt9")
        self.refuses_fields(V3, {"topk_method": "best"}, "topk_method", "best")
        self.refuses_fields(V3, {"scoring_func": "relu"}, "scoring_func", "relu")
        self.refuses_fields(V3, {"hidden_act": "gelu"}, "hidden_act", "gelu")
        self.refuses_fields(V3, {"rope_scaling.type": "spiral"}, "rope_scaling", "spiral")
        self.refuses_fields(V2, {"topk_method": "noaux"}, "topk_method", "noaux")
        self.refuses_fields(V3, {"attention_bias": True}, "attention_bias")
        self.refuses_fields(V3, {"quantization_config": {"quant_method": "awq"}}, "awq")

    def test_absent_or_of_another_type(self):
        for field in ("model_type", "hidden_size", "num_hidden_layers", "vocab_size",
                      "num_attention_heads"):
            self.refuses_fields(V3, {field: ABSENT}, field)
        for field in ("model_type", "hidden_size", "kv_lora_rank", "n_routed_experts"):
            self.refuses_fields(V3, {field: [1]}, field)
            self.refuses_fields(V3, {field: {"a": "b"}}, field)
        self.refuses_fields(V3, {"hidden_size": "96"}, "hidden_size")
        self.refuses_fields(V3, {"hidden_size": 96.5}, "hidden_size")
        self.refuses_fields(V3, {"rms_norm_eps": "small"}, "rms_norm_eps")

    def test_negative_and_absurd_sizes(self):
        for field in ("hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size",
                      "kv_lora_rank", "qk_rope_head_dim", "v_head_dim", "num_attention_heads",
                      "moe_intermediate_size", "max_position_embeddings"):
            for value in (-1, 0, 2**31, 2**62, HUGE):
                self.refuses_fields(V3, {field: value}, field)
        for field in ("n_routed_experts", "num_experts_per_tok", "n_group", "topk_group"):
            for value in (-1, 2**31, HUGE):
                self.refuses_fields(V3, {field: value}, field)
        self.refuses_fields(V3, {"rope_theta": -10.0}, "rope_theta")
        self.refuses_fields(V3, {"rms_norm_eps": -1e-6}, "rms_norm_eps")

    def test_groups_that_do_not_divide(self):
        self.refuses_fields(V3, {"n_group": 5}, "n_group", 5, 32)
        self.refuses_fields(V3, {"topk_group": 9}, "topk_group", 9)
        self.refuses_fields(V3, {"num_experts_per_tok": 33}, "num_experts_per_tok", 33)
        self.refuses_fields(V3, {"topk_group": 1}, "num_experts_per_tok")

    def test_another_size_than_the_tensors_have(self):
        self.refuses_sizes({"moe_intermediate_size": 47}, ".gate_proj.weight", [48, 96], [47, 96])
        self.refuses_sizes({"vocab_size": 321}, ".weight", [320, 96], [321, 96])
        self.refuses_sizes({"num_hidden_layers": 5}, "model.layers.4.")

    def refuses_sizes(self, fields, *says):
        folder = self.copy_of(V3)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps({**config, **fields}), encoding="utf-8")
        with self.subTest(fields=fields):
            self.fails("inspect", folder, says=[folder, *says])

    def test_broken_json(self):
        whole = (V3 / "config.json").read_bytes()
        for broken in (b"", b"{", whole[:-2], b"[]", b"3", b"null", b'"' * 3, whole + b"}",
                       b"\xff" + whole, b"[" * 200000, b"\x00" * 100, b'{"a": 1e999}',
                       whole.replace(b"96", b"96,", 1), b'{"hidden_size": 1, "hidden_size": 2}'):
            folder = self.copy_of(V3)
            (folder / "config.json").write_bytes(broken)
            with self.subTest(broken=broken[:20]):
                self.refuses(folder, "config.json")

    def test_not_a_config(self):
        folder = self.copy_of(V3)
        (folder / "config.json").unlink()
        self.refuses(folder, "config.json", "No such file")
        (folder / "config.json").mkdir()
        self.refuses(folder, "config.json")

    def test_a_terminal_is_not_commanded(self):
        self.refuses_fields(V3, {"model_type": "a\n\x1b[31m\u009b" + "b" * 5000}, "model_type")
        self.refuses_fields(V3, {"hidden_act": "\x1b]0;x\x07"}, "hidden_act")


class GenerationConfigTest(FolderTest):
    NAME = "generation_config.json"

    def test_values(self):
        for fields in ({"temperature": "hot"}, {"temperature": [1]}, {"top_k": 1.5},
                       {"eos_token_id": 99999}, {"eos_token_id": [1, -1]}, {"do_sample": "yes"}):
            self.refuses_fields(BARD, fields, next(iter(fields)), name=self.NAME)

    def test_broken_json(self):
        folder = self.copy_of(BARD)
        (folder / self.NAME).write_bytes(b"{]")
        self.refuses(folder, self.NAME)

    def test_absent_is_greedy(self):
        folder = self.copy_of(BARD)
        (folder / self.NAME).unlink()
        head = ["generate", "--prompt", "a", "--max-tokens", "9", "--model"]
        expected = self.works(*head, BARD, "--temperature", "0").out
        self.assertEqual(self.works(*head, folder).out, expected)


if __name__ == "__main__":
    main()
