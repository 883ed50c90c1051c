#include "model/convert/side_files.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/quantise.h"
#include "model/checkpoint/mapped_file.h"
#include "model/checkpoint/new_file.h"
#include "model/config/quantization_config.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfigName = "config.json";
constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr uint64_t kMaxConfigBytes = 16 << 20;
// Text that belongs to a model. Weights in other forms stay behind, and so does code, which nobody
// here runs.
constexpr std::string_view kCopied[] = {".json", ".jinja", ".txt", ".md", ".model", ".tiktoken"};

absl::Status write_config(const std::string& from, const std::string& to, const ModelConfig& config,
                          const ConversionPlan& plan) {
  const std::string path = absl::StrCat(from, "/", std::string(kConfigName));
  ASSIGN_OR_RETURN(const std::string text, read_small_file(path, kMaxConfigBytes));
  // Ordered, so that people find their config again. It was read before, by a stricter reader.
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!json.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": not an object"));
  nlohmann::ordered_json quantization = {{"quant_method", kInt8Method}, {"group_size", kInt8Block}};
  if (plan.keeps_fp8) {
    quantization["weight_block_size"] = {config.fp8_block_rows, config.fp8_block_cols};
  }
  json["quantization_config"] = std::move(quantization);
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  return write_new_file(absl::StrCat(to, "/", std::string(kConfigName)),
                        json.dump(2, ' ', false, replace) + "\n");
}

absl::Status write_index(const std::string& to, const ConversionPlan& plan) {
  if (plan.shards.size() == 1) return absl::OkStatus();
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  for (const PlannedShard& shard : plan.shards) {
    for (const TensorHead& head : shard.heads) map[head.name] = shard.file_name;
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", plan.num_bytes}}},
                                        {"weight_map", std::move(map)}};
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  return write_new_file(absl::StrCat(to, "/", std::string(kIndexName)),
                        index.dump(2, ' ', false, replace) + "\n");
}

bool is_copied(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name == kConfigName || name == kIndexName || name.starts_with('.')) return false;
  if (name.starts_with("LICENSE")) return true;
  return std::find(std::begin(kCopied), std::end(kCopied), path.extension().string()) !=
         std::end(kCopied);
}

absl::Status copy_error(const fs::path& path, const std::error_code& error) {
  const std::string message = absl::StrCat("copying ", path.string(), ": ", error.message());
  if (error == std::errc::no_space_on_device) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

}  // namespace

absl::Status write_side_files(const std::string& from, const std::string& to,
                              const ModelConfig& config, const ConversionPlan& plan) {
  RETURN_IF_ERROR(write_config(from, to, config, plan));
  RETURN_IF_ERROR(write_index(to, plan));
  std::error_code error;
  fs::directory_iterator it(from, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const fs::path& path = it->path();
    std::error_code ignored;
    if (!is_copied(path) || !fs::is_regular_file(path, ignored)) continue;
    fs::copy_file(path, fs::path(to) / path.filename(), error);
    if (error) return copy_error(path, error);
  }
  return error ? copy_error(from, error) : absl::OkStatus();
}

}  // namespace conclave
