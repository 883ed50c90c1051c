#include "tests/support/golden.h"

#include <cstring>
#include <filesystem>

#include "common/check.h"
#include "model/checkpoint/checkpoint.h"

namespace conclave {
namespace {

constexpr int kNumPrompts = 3;

template <typename T>
std::vector<T> read_values(const Checkpoint& file, const std::string& name) {
  const StoredTensor* const tensor = file.find(name);
  CHECK(tensor != nullptr);
  std::vector<T> values(tensor->num_bytes / sizeof(T));
  std::memcpy(values.data(), tensor->data, tensor->num_bytes);
  return values;
}

std::vector<int32_t> read_ids(const Checkpoint& file, const std::string& name) {
  const std::vector<int64_t> wide = read_values<int64_t>(file, name);
  return {wide.begin(), wide.end()};
}

}  // namespace

std::vector<int32_t> GoldenPrompt::scored_ids() const {
  std::vector<int32_t> ids = prompt;
  ids.insert(ids.end(), greedy.begin(), greedy.end() - 1);
  return ids;
}

std::string golden_dir(const std::string& name) {
  const std::string root = CONCLAVE_SOURCE_DIR;
  const std::string golden = root + "/tests/golden/" + name;
  return std::filesystem::exists(golden) ? golden : root + "/models/" + name;
}

std::vector<GoldenPrompt> read_golden(const std::string& dir) {
  const auto file = Checkpoint::open_file(dir + "/golden.safetensors");
  CHECK(file.ok());
  std::vector<GoldenPrompt> prompts;
  for (int i = 0; i < kNumPrompts; ++i) {
    const std::string suffix = "_" + std::to_string(i);
    prompts.push_back({.prompt = read_ids(**file, "prompt" + suffix),
                       .greedy = read_ids(**file, "greedy" + suffix),
                       .logits = read_values<float>(**file, "logits" + suffix)});
    CHECK(!prompts.back().prompt.empty());
    CHECK(!prompts.back().greedy.empty());
  }
  return prompts;
}

}  // namespace conclave
