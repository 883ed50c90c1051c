#!/usr/bin/env python3
"""`conclave generate`: the golden ids, the same ids however they are computed, the text of the ids,
stop strings, and what the statistics say.
"""

import re
import unittest

from support import BARD, FAMILIES, GOLDEN, CliTest, greedy, join, main, read_tensors, split

STATISTICS = re.compile(
    r"^(\d+) prompt ids, (\d+) generated \((length|stop id|stop string)\)"
    r"(, time to first token \d+\.\d ms)?(, then \d+\.\d tokens/s)?, seed (\d+)$"
)


def play(*more):
    """A greedy text from bard."""
    return ["generate", "--model", BARD, "--prompt", "JULIET:\n", "--temperature", "0", *more]


class GreedyTest(CliTest):
    def test_golden_ids(self):
        for folder in [*(GOLDEN / family for family in FAMILIES), BARD]:
            golden = read_tensors(folder / "golden.safetensors")
            for i in range(3):
                expected = list(golden[f"greedy_{i}"][1])
                prompt = golden[f"prompt_{i}"][1]
                with self.subTest(folder=folder.name, prompt=i):
                    run = self.works(*greedy(folder, prompt, len(expected)))
                    self.assertEqual(split(run), expected)

    def test_the_way_of_computing_does_not_show(self):
        prompt = list(read_tensors(BARD / "golden.safetensors")["prompt_2"][1])
        sampled = ["generate", "--model", BARD, "--ids", join(prompt), "--max-tokens", "40",
                   "--seed", "5", "--temperature", "1.2", "--print-ids", "--logprobs", "3"]
        reference = self.works(*sampled)
        said = [line for line in reference.lines() if line.startswith("logprob")]
        self.assertEqual(len(said), len(split(reference)))
        for more in (["--expert-shards", "3"], ["--expert-shards", "16"], ["--prefill-chunk", "1"],
                     ["--prefill-chunk", "7"], ["--prefill-chunk", "65536"], ["--threads", "1"],
                     ["--threads", "5"], ["--cache-tokens", "900"]):
            with self.subTest(more=more):
                run = self.works(*sampled, *more)
                self.assertEqual(run.out, reference.out)
                self.assertEqual([x for x in run.lines() if x.startswith("logprob")], said)


class TextTest(CliTest):
    def test_text_is_the_text_of_the_ids(self):
        head = ["generate", "--model", BARD, "--prompt", "JULIET:\n", "--max-tokens", "60"]
        for more in (["--temperature", "0"], ["--temperature", "2", "--seed", "3"]):
            text = self.works(*head, *more, "--ignore-eos").text()
            ids = split(self.works(*head, *more, "--ignore-eos", "--print-ids"))
            decoded = self.works("tokenize", "--model", BARD, "--decode", join(ids)).text()
            special = re.compile("<｜(?:begin|end)▁of▁sentence｜>")
            self.assertEqual(text, special.sub("", decoded))

    def test_every_way_to_give_a_prompt(self):
        prompt = "O Romeo, Romeo! Θάλασσα 你好\n".encode()
        head = ["generate", "--model", BARD, "--temperature", "0", "--max-tokens", "12"]
        path = self.file("prompt.txt", prompt)
        ids = self.works("tokenize", "--model", BARD, "--file", path).text().strip()
        expected = self.works(*head, "--prompt", prompt.decode()).out
        self.assertEqual(self.works(*head, "--prompt-file", path).out, expected)
        self.assertEqual(self.works(*head, "--prompt-file", "-", stdin=prompt).out, expected)
        self.assertEqual(self.works(*head, "--ids", ids).out, expected)
        self.assertEqual(self.works(*head, "--ids", ids.replace(",", " , ")).out, expected)

    def test_a_prompt_may_look_like_a_flag(self):
        for prompt in ("--", "-5 degrees", "--model", "[a,b]", "%%", "{}", "'"):
            self.works("generate", "--model", BARD, "--max-tokens", "1", "--prompt", prompt)

    def test_a_model_without_a_tokenizer_serves_ids(self):
        folder = GOLDEN / "moonlight"
        self.works("generate", "--model", folder, "--ids", "5", "--print-ids")
        needs = [["--ids", "5"], ["--prompt", "a", "--print-ids"],
                 ["--ids", "5", "--print-ids", "--stop", "x"]]
        for more in needs:
            self.fails("generate", "--model", folder, *more,
                       says=["FAILED_PRECONDITION", f"{folder}/tokenizer.json is missing"])


class StopTest(CliTest):
    def setUp(self):
        super().setUp()
        self.whole = self.works(*play("--max-tokens", "60")).text()
        self.ids = split(self.works(*play("--max-tokens", "60", "--print-ids")))

    def test_cut_at_every_place(self):
        # Every piece of five characters: within a token, over one border, over several.
        for begin in range(1, 60, 4):
            stop = self.whole[begin:begin + 5]
            with self.subTest(stop=stop):
                run = self.works(*play("--max-tokens", "60", "--stop", stop))
                self.assertEqual(run.text(), self.whole[:self.whole.index(stop)] + "\n")
                self.assertIn("(stop string)", run.err)

    def test_the_first_of_several(self):
        stops = [self.whole[30:34], self.whole[12:15], "never said"]
        first = min(self.whole.index(stop) for stop in stops[:2])
        more = [word for stop in stops for word in ("--stop", stop)]
        run = self.works(*play("--max-tokens", "60", *more))
        self.assertEqual(run.text(), self.whole[:first] + "\n")

    def test_what_is_never_said_stops_nothing(self):
        # Also where its beginning is said at the very end of the text.
        for stop in ("never said", self.whole[-4:-1] + "§"):
            run = self.works(*play("--max-tokens", "60", "--stop", stop))
            self.assertEqual(run.text(), self.whole)
            self.assertIn("(length)", run.err)

    def test_ids_up_to_the_stop_string(self):
        stop = self.whole[20:24]
        ids = split(self.works(*play("--max-tokens", "60", "--stop", stop, "--print-ids")))
        self.assertEqual(ids, self.ids[:len(ids)])
        self.assertLess(len(ids), len(self.ids))

    def test_stop_ids_and_min_tokens(self):
        stop = self.ids[9]
        first = self.ids.index(stop) + 1
        run = self.works(*play("--stop-ids", f"7, {stop}", "--print-ids"))
        self.assertEqual(split(run), self.ids[:first])
        self.assertIn("(stop id)", run.err)
        run = self.works(*play("--stop-ids", str(stop), "--min-tokens", "20", "--max-tokens", "30",
                               "--print-ids"))
        self.assertGreaterEqual(len(split(run)), 20)
        self.assertNotIn(stop, split(run)[:20])

    def test_the_end_id_ends_unless_ignored(self):
        biased = ["--logit-bias", "1:100", "--max-tokens", "4", "--print-ids"]
        self.assertEqual(split(self.works(*play(*biased))), [1])
        self.assertEqual(split(self.works(*play(*biased, "--ignore-eos"))), [1] * 4)
        kept = split(self.works(*play(*biased, "--min-tokens", "2")))
        self.assertEqual((len(kept), kept[-1]), (3, 1))
        text = self.works(*play("--logit-bias", "1:100")).text()
        self.assertEqual(text, "\n")


class StatisticsTest(CliTest):
    def statistics(self, result):
        found = STATISTICS.match(result.lines()[-1])
        self.assertTrue(found, result.err)
        return found

    def test_last_line(self):
        found = self.statistics(self.works(*play("--max-tokens", "20", "--ignore-eos")))
        self.assertEqual(found.group(2, 3), ("20", "length"))
        self.assertIsNotNone(found.group(4))
        self.assertIsNotNone(found.group(5))
        one = self.statistics(self.works(*play("--max-tokens", "1")))
        self.assertIsNone(one.group(5))

    def test_the_context_is_the_limit(self):
        run = self.works("generate", "--model", GOLDEN / "moonlight", "--ids", join(range(200)),
                         "--ignore-eos", "--max-tokens", "2147483647", "--print-ids")
        context = 256
        self.assertEqual(len(split(run)), context - 200)
        self.assertEqual(self.statistics(run).group(1, 3), ("200", "length"))

    def test_the_seed_is_said_and_gives_the_text_again(self):
        head = ["generate", "--model", BARD, "--prompt", "GLOUCESTER:", "--temperature", "1",
                "--max-tokens", "30"]
        first, other = self.works(*head), self.works(*head)
        self.assertNotEqual(first.out, other.out)
        again = self.works(*head, "--seed", self.statistics(first).group(6))
        self.assertEqual(first.out, again.out)
        self.assertEqual(self.statistics(first).group(6), self.statistics(again).group(6))

    def test_what_is_needed_is_said_before_loading(self):
        lines = self.works(*play("--max-tokens", "1", "--expert-shards", "2")).lines()
        needs = r"^\S+ needs \S+ MiB for weights, cache and activations, .*: it fits$"
        self.assertRegex(lines[0], needs)
        self.assertEqual([line.split(":")[0] for line in lines[1:-1]],
                         ["loaded trunk", "loaded experts 1/2", "loaded experts 2/2"])


if __name__ == "__main__":
    main()
