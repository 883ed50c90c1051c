#!/usr/bin/env python3
"""The sampling flags of `conclave generate`: each does something, and no value out of its range,
NaN above all, gets past.
"""

from support import BARD, GOLDEN, CliTest, main, split

HEAD = ["generate", "--model", BARD, "--prompt", "KING HENRY:\n", "--print-ids",
        "--max-tokens", "24"]


class RefusalTest(CliTest):
    def refuses(self, *more, says):
        self.fails(*HEAD, *more, says=["INVALID_ARGUMENT", *says])

    def test_numbers_out_of_range(self):
        bad = {"--temperature": ("-0.1", "101"), "--top-p": ("0", "-1", "1.01", "1e-50"),
               "--min-p": ("-0.1", "1.1"), "--repetition-penalty": ("0", "-1", "10.5"),
               "--presence-penalty": ("-2.1", "2.1"), "--frequency-penalty": ("-2.1", "2.1")}
        for flag, values in bad.items():
            field = flag[2:].replace("-", "_")
            for value in (*values, "nan", "-nan", "inf", "-inf", "1e400", "-1e400"):
                self.refuses(flag, value, says=[f"{field} is "])

    def test_whole_numbers_out_of_range(self):
        self.refuses("--top-k", "-1", says=["top_k is -1"])
        self.refuses("--min-tokens", "-1", says=["min_tokens is -1"])
        self.refuses("--min-tokens", "25", says=["min_tokens is 25", "[0, 24]"])
        for value in ("0", "-5"):
            self.fails(*HEAD[:-2], "--max-tokens", value, says=f"max_tokens is {value}")

    def test_not_numbers(self):
        for flag in ("--temperature", "--top-p", "--min-p", "--top-k", "--min-tokens",
                     "--repetition-penalty", "--presence-penalty", "--frequency-penalty",
                     "--logprobs"):
            for value in ("x", "", "1,5", "1 2", "0.5.5", "--"):
                self.usage(*HEAD, flag, value, says=flag)
        for flag in ("--top-k", "--min-tokens", "--logprobs"):
            for value in ("1.5", "1e3", "2147483648", "-99999999999"):
                self.usage(*HEAD, flag, value, says=flag)

    def test_logit_bias(self):
        for text in ("", "x", "5", "5:", ":5", "5:1:2", "5=1", "1.5:1", "5:x", "99999999999:1"):
            self.refuses("--logit-bias", text, says=["--logit-bias takes ID:VALUE", f'"{text}"'])
        self.refuses("--logit-bias", "5:1,,6:1", says=['not ""'])
        for value in ("nan", "inf", "-inf", "100.5", "-101", "1e400"):
            self.refuses("--logit-bias", f"5:{value}", says=["logit_bias of id 5 is"])
        self.refuses("--logit-bias", "2048:1", says=["logit_bias is 2048"])
        self.refuses("--logit-bias=-1:1", says=["logit_bias is -1"])
        self.refuses("--logit-bias", "5:1", "--logit-bias", "5:2", says=["id 5 twice"])
        many = ",".join(f"{i}:1" for i in range(1025))
        self.refuses("--logit-bias", many, says=["1025"])

    def test_stops(self):
        self.refuses("--stop", "", says=["--stop is empty"])
        self.refuses("--stop-ids", "", says=["--stop-ids names no id"])
        self.refuses("--stop-ids", "1,,2", says=['--stop-ids: ""'])
        self.refuses("--stop-ids", "2048", says=["stop_ids is 2048", "[0, 2047]"])
        self.refuses("--stop-ids=-1", says=["stop_ids is -1"])

    def test_seed(self):
        for text in ("-1", "18446744073709551616", "1.5", "x", "", "1e3"):
            self.refuses("--seed", text, says=["--seed takes", f'"{text}"'])

    def test_logprobs(self):
        for value in ("-1", "21"):
            self.usage(*HEAD, "--logprobs", value, says=["--logprobs", value])
        self.usage(*HEAD, "--prompt-logprobs", says=["--prompt-logprobs", "--logprobs"])


class EffectTest(CliTest):
    def ids(self, *more):
        return split(self.works(*HEAD, *more))

    def test_the_narrowest_choices_are_greedy(self):
        greedy = self.ids("--temperature", "0")
        for more in (["--top-k", "1"], ["--top-p", "1e-30"], ["--min-p", "1"]):
            self.assertEqual(self.ids("--temperature", "2", "--seed", "9", *more), greedy)

    def test_seeds(self):
        drawn = {tuple(self.ids("--temperature", "1", "--seed", str(seed)))
                 for seed in (0, 1, 2**32, 2**64 - 1)}
        self.assertEqual(len(drawn), 4)

    def test_penalties_and_biases_show(self):
        greedy = self.ids("--temperature", "0")
        for more in (["--repetition-penalty", "10"], ["--presence-penalty", "2"],
                     ["--frequency-penalty", "2"], ["--logit-bias", f"{greedy[0]}:-100"]):
            self.assertNotEqual(self.ids("--temperature", "0", *more), greedy, more)
        # A list and a flag that is given again are the same.
        one = self.ids("--temperature", "0", "--logit-bias", "70:3,71:3.5")
        two = self.ids("--temperature", "0", "--logit-bias", "70:3", "--logit-bias", "71:3.5")
        self.assertEqual(one, two)
        self.assertEqual(self.ids("--temperature", "0", "--logit-bias", "70:100"), [70] * 24)

    def test_the_folder_has_the_defaults(self):
        # bard samples at 0.7 with top-p 0.95; a folder without generation_config.json is greedy.
        said = self.ids("--seed", "4", "--temperature", "0.7", "--top-p", "0.95")
        self.assertEqual(self.ids("--seed", "4"), said)
        folder = self.copy_of(BARD)
        (folder / "generation_config.json").unlink()
        plain = ["generate", "--model", folder, *HEAD[3:]]
        self.assertEqual(split(self.works(*plain)), self.ids("--temperature", "0"))


class LogprobsTest(CliTest):
    def lines(self, *more):
        """The words of every logprob line, and the ids."""
        run = self.works(*HEAD, "--temperature", "1", "--seed", "2", *more)
        lines = [line.split() for line in run.lines() if line.startswith("logprob ")]
        return lines, split(run)

    def test_format(self):
        for num_best in (0, 1, 20):
            lines, ids = self.lines("--logprobs", str(num_best))
            self.assertEqual(len(lines), len(ids))
            for i, (words, id_) in enumerate(zip(lines, ids)):
                self.assertEqual(words[:3], ["logprob", "generated", str(i)])
                pairs = [pair.split(":") for pair in words[3:]]
                self.assertEqual(len(pairs), 1 + num_best)
                self.assertEqual(int(pairs[0][0]), id_)
                values = [float(value) for _, value in pairs]
                self.assertTrue(all(value <= 0 for value in values))
                self.assertEqual(values[1:], sorted(values[1:], reverse=True))

    def test_prompt(self):
        lines, ids = self.lines("--logprobs", "2", "--prompt-logprobs")
        prompt = self.works("tokenize", "--model", BARD, "--text", HEAD[4]).text().split(",")
        said = [words for words in lines if words[1] == "prompt"]
        self.assertEqual([words[2] for words in said], [str(i) for i in range(1, len(prompt))])
        self.assertEqual([words[3].split(":")[0] for words in said],
                         [id_.strip() for id_ in prompt[1:]])
        self.assertEqual(len(lines), len(said) + len(ids))

    def test_none_unless_asked(self):
        self.assertEqual(self.lines()[0], [])
        run = self.works("generate", "--model", GOLDEN / "moonlight", "--ids", "5", "--print-ids")
        self.assertNotIn("logprob", run.err)


if __name__ == "__main__":
    main()
