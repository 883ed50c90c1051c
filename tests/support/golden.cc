#include "tests/support/golden.h"

#include <cstring>
#include <filesystem>
#include <map>

#include "common/check.h"
#include "model/checkpoint/mapped_file.h"
#include "model/checkpoint/safetensors_header.h"

namespace conclave {
namespace {

constexpr int kNumPrompts = 3;

class TensorFile {
 public:
  explicit TensorFile(const std::string& path) : file_(*MappedFile::open(path)) {
    const SafetensorsHeader header = *parse_safetensors_header(file_.bytes(), path);
    for (const TensorEntry& entry : header.tensors) {
      bytes_[entry.name] =
          file_.bytes().subspan(header.data_begin + entry.begin, entry.end - entry.begin);
    }
  }

  std::vector<int32_t> ids(const std::string& name) const {
    const std::vector<int64_t> wide = values<int64_t>(name);
    return {wide.begin(), wide.end()};
  }

  template <typename T>
  std::vector<T> values(const std::string& name) const {
    const std::span<const std::byte> bytes = bytes_.at(name);
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

 private:
  const MappedFile file_;
  std::map<std::string, std::span<const std::byte>> bytes_;
};

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
  const TensorFile file(dir + "/golden.safetensors");
  std::vector<GoldenPrompt> prompts;
  for (int i = 0; i < kNumPrompts; ++i) {
    const std::string suffix = "_" + std::to_string(i);
    prompts.push_back({.prompt = file.ids("prompt" + suffix),
                       .greedy = file.ids("greedy" + suffix),
                       .logits = file.values<float>("logits" + suffix)});
    CHECK(!prompts.back().prompt.empty());
    CHECK(!prompts.back().greedy.empty());
  }
  return prompts;
}

}  // namespace conclave
