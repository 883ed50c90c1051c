// A golden checkpoint: a model folder and what Hugging Face transformers computed with it. The form
// of the file is in tests/golden/README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace conclave {

struct GoldenPrompt {
  std::vector<int32_t> prompt;  // [n]
  std::vector<int32_t> greedy;  // [g]
  std::vector<float> logits;    // [n + g - 1, V]

  // Prompt and greedy ids but the last: what the logits were computed from.
  std::vector<int32_t> scored_ids() const;
};

// tests/golden/NAME, or models/NAME where that is the one that exists.
std::string golden_dir(const std::string& name);

// Stops the test when the file is not what it should be.
std::vector<GoldenPrompt> read_golden(const std::string& dir);

}  // namespace conclave
