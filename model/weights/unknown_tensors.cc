#include "model/weights/unknown_tensors.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "model/weights/trunk_tensors.h"

namespace conclave {
namespace {

constexpr std::string_view kScaleSuffixes[] = {"_scale_inv", "_scale"};
constexpr std::string_view kLayers = "model.layers.";

// What follows "model.layers.<n>." in a layer of multi-token prediction.
constexpr std::string_view kMtpParts[] = {
    "self_attn.",   "mlp.",   "input_layernorm.", "post_attention_layernorm.",
    "enorm.",       "hnorm.", "eh_proj.",         "embed_tokens.",
    "shared_head.",
};

bool is_scale(std::string_view name) {
  return std::any_of(std::begin(kScaleSuffixes), std::end(kScaleSuffixes),
                     [name](std::string_view suffix) { return name.ends_with(suffix); });
}

struct LayerTensor {
  int32_t layer_idx = 0;
  std::string_view rest;  // after "model.layers.<n>."
};

std::optional<LayerTensor> split_layer(std::string_view name) {
  if (!name.starts_with(kLayers)) return std::nullopt;
  name.remove_prefix(kLayers.size());
  LayerTensor split;
  const auto [end, error] =
      std::from_chars(name.data(), name.data() + name.size(), split.layer_idx);
  const size_t digits = static_cast<size_t>(end - name.data());
  if (error != std::errc() || digits >= name.size() || name[digits] != '.') return std::nullopt;
  split.rest = name.substr(digits + 1);
  return split;
}

// Layers of multi-token prediction stand behind the last layer. Some configs leave their number
// out, so one is allowed anyway; it must show by its eh_proj that it is not a layer the config cut
// off.
bool is_mtp(const Checkpoint& checkpoint, const ModelConfig& config, std::string_view name) {
  const std::optional<LayerTensor> split = split_layer(name);
  if (!split.has_value()) return false;
  const int32_t end = config.num_layers + std::max(config.num_mtp_layers, 1);
  if (split->layer_idx < config.num_layers || split->layer_idx >= end) return false;
  const bool known =
      std::any_of(std::begin(kMtpParts), std::end(kMtpParts),
                  [&](std::string_view part) { return split->rest.starts_with(part); });
  const std::string proof = absl::StrCat(layer_prefix(split->layer_idx), "eh_proj.weight");
  return known && checkpoint.find(proof) != nullptr;
}

bool is_rotary_table(const ModelConfig& config, std::string_view name) {
  if (name == "model.rotary_emb.inv_freq") return true;
  const std::optional<LayerTensor> split = split_layer(name);
  return split.has_value() && split->layer_idx >= 0 && split->layer_idx < config.num_layers &&
         split->rest == "self_attn.rotary_emb.inv_freq";
}

absl::Status unknown(const Checkpoint& checkpoint, const StoredTensor& tensor) {
  const std::string_view name = tensor.name;
  for (const std::string_view suffix : kScaleSuffixes) {
    if (!name.ends_with(suffix)) continue;
    const StoredTensor* weight = checkpoint.find(name.substr(0, name.size() - suffix.size()));
    if (weight != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(checkpoint.where(tensor),
                                                     " scales a weight of ", weight->dtype,
                                                     ", which has no such scales"));
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      checkpoint.where(tensor), " is no part of the model that config.json describes"));
}

uint64_t num_elements(const StoredTensor& tensor) {
  uint64_t count = 1;
  for (const int64_t dim : tensor.shape) count *= static_cast<uint64_t>(dim);
  return count;  // does not overflow: the header's check multiplied it already
}

}  // namespace

absl::StatusOr<uint64_t> check_unknown_tensors(const Checkpoint& checkpoint,
                                               const ModelConfig& config,
                                               const TensorSource& source) {
  uint64_t mtp_params = 0;
  for (size_t i = 0; i < checkpoint.tensors().size(); ++i) {
    if (source.was_read(i)) continue;
    const StoredTensor& tensor = checkpoint.tensors()[i];
    if (is_mtp(checkpoint, config, tensor.name)) {
      if (!is_scale(tensor.name)) mtp_params += num_elements(tensor);
    } else if (tensor.name == "lm_head.weight" && config.tie_embeddings) {
      continue;
    } else if (!is_rotary_table(config, tensor.name)) {
      return unknown(checkpoint, tensor);
    }
  }
  return mtp_params;
}

}  // namespace conclave
