#!/usr/bin/env python3
"""`conclave eval`: what int8 costs is little, the numbers are sound, and bad texts are named."""

import json
import math

from support import BARD, GOLDEN, REPOSITORY, CliTest, main

TEXT = REPOSITORY / "tests/data/sonnets.txt"


class EvalTest(CliTest):
    def eval(self, *more):
        return json.loads(self.works("eval", "--model", BARD, "--text", TEXT, "--json",
                                     *more).text())

    def test_int8_costs_less_than_half_a_percent(self):
        said = self.eval("--weights", "int8", "--against-weights", "stored")
        against = said["against"]
        self.assertGreater(said["ids"], 1000)
        self.assertLess(abs(against["perplexity_cost"]), 0.005)
        self.assertGreater(against["same_best_id"], 0.95)
        self.assertLess(against["mean_kl"], 0.01)
        self.assertGreater(against["mean_kl"], 0)
        for one in (said, against):
            self.assertAlmostEqual(math.log(one["perplexity"]), one["nats_per_id"], places=9)

    def test_against_itself(self):
        said = self.eval("--against-weights", "stored", "--ctx", "64")
        self.assertEqual(said["against"]["perplexity"], said["perplexity"])
        self.assertEqual(said["against"]["same_best_id"], 1)
        self.assertEqual(said["against"]["mean_kl"], 0)
        self.assertEqual(said["window_ids"], 64)

    def test_the_way_of_computing_does_not_show(self):
        expected = self.eval("--weights", "int8")
        self.assertEqual(self.eval("--weights", "int8", "--prefill-chunk", "7", "--threads", "3"),
                         expected)

    def test_bad_texts(self):
        def fails(content, *says):
            text = self.file("text", content)
            self.fails("eval", "--model", BARD, "--text", text, says=[str(text), *says])
        fails(b"", "empty")
        fails(b"a\xff", "UTF-8")
        self.fails("eval", "--model", BARD, "--text", self.folder / "none", says=["none"])
        self.fails("eval", "--model", GOLDEN / "moonlight", "--text", TEXT,
                   says=["tokenizer.json"])
        for ctx in ("1", "1025"):
            self.fails("eval", "--model", BARD, "--text", TEXT, "--ctx", ctx, says=["--ctx", ctx])
        for ctx in ("-1", "x"):
            self.usage("eval", "--model", BARD, "--text", TEXT, "--ctx", ctx, says=["--ctx"])


if __name__ == "__main__":
    main()
