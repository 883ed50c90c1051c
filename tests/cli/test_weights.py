#!/usr/bin/env python3
"""`--weights`: words, what int8 takes and gives, and a cluster of it."""

import json
import signal
import subprocess
import time

from support import BARD, BINARY, GOLDEN, CliTest, greedy, main

IDS = "5,6,7,8,9,10"
START_S = 120


class WeightsTest(CliTest):
    def test_words(self):
        for word in ("int4", "gate=int8", "experts=int8,experts=int8", "head=int8,int8", "int8,"):
            self.usage("generate", "--model", BARD, "--prompt", "a", "--weights", word,
                       says=["--weights"])
        self.fails("generate", "--model", BARD, "--prompt", "a", "--weights", "head=f32",
                   says=["lm_head.weight", "BF16", "head=f32"])
        self.works("generate", "--model", BARD, "--prompt", "a", "--max-tokens", "1",
                   "--weights", "experts=bf16,attention=int8")

    def test_int8_takes_less_memory(self):
        def said(*more):
            return self.works("generate", "--model", BARD, "--prompt", "a", "--max-tokens", "1",
                              *more).err
        self.assertIn("loaded experts 1/1: 9.0 MiB", said())
        self.assertIn("loaded experts 1/1: 4.6 MiB", said("--weights", "int8"))

    def test_the_way_of_computing_does_not_show(self):
        for folder in (BARD, GOLDEN / "deepseek_v3_fp8"):
            def ids(*more):
                run = greedy(folder, IDS.split(","), 24, "--weights", "int8", *more)
                return self.works(*run).out
            expected = ids()
            for more in (["--expert-shards", "3"], ["--prefill-chunk", "1"], ["--threads", "3"]):
                with self.subTest(folder=folder.name, more=more):
                    self.assertEqual(ids(*more), expected)

    def test_a_cluster_of_it(self):
        state = self.folder / "state.json"
        with subprocess.Popen([BINARY, "up", "--model", BARD, "--weights", "int8", "--state",
                               state], stderr=subprocess.DEVNULL) as cluster:
            end = time.monotonic() + START_S
            while not state.exists() and cluster.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            self.assertTrue(state.exists())
            processes = json.loads(state.read_text())["processes"]
            address = next(p["address"] for p in processes if p["role"] == "gateway")
            request = ["--ids", IDS, "--temperature", "0", "--max-tokens", "24", "--print-ids"]
            there = self.works("generate", "--server", address, *request).out
            here = self.works("generate", "--model", BARD, "--weights", "int8", *request).out
            status = json.loads(self.works("status", "--server", address, "--json").text())
            self.fails("generate", "--server", address, *request, "--weights", "int8",
                       says=["--weights", "--server"])
            stranger = subprocess.run(
                [BINARY.replace("bin/conclave", "bin/expert_server"), "--model", BARD,
                 "--control", address, "--experts", "0/2"],
                check=False, capture_output=True, text=True, timeout=START_S)
            cluster.send_signal(signal.SIGTERM)
        self.assertEqual(there, here)
        self.assertTrue(status["exact"])
        self.assertEqual(stranger.returncode, 1)
        self.assertIn("type of the experts' weights", stranger.stderr)
        self.assertEqual(cluster.returncode, 0)


if __name__ == "__main__":
    main()
