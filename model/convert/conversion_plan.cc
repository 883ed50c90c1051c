#include "model/convert/conversion_plan.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "kernels/quantise.h"
#include "model/weights/expert_tensors.h"
#include "model/weights/trunk_tensors.h"
#include "model/weights/unknown_tensors.h"
#include "model/weights/weights.h"

namespace conclave {
namespace {

using SpecByName = absl::flat_hash_map<std::string, MatrixSpec>;

// Every tensor of the model is asked for, as loading would.
absl::StatusOr<SpecByName> find_converted(const Checkpoint& checkpoint, const ModelConfig& config,
                                          const WeightTypes& types) {
  TensorSource source(&checkpoint, &config, {.types = types});
  TrunkWeights trunk;
  RETURN_IF_ERROR(read_trunk_tensors(config, &source, &trunk));
  FfnWeights ignored;
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    if (!config.is_moe_layer(layer)) continue;
    for (int32_t e = 0; e < config.moe.gate.num_experts; ++e) {
      RETURN_IF_ERROR(read_expert_tensors(config, layer, e, &source, &ignored));
    }
  }
  RETURN_IF_ERROR(check_unknown_tensors(checkpoint, config, source).status());
  SpecByName specs;
  for (const MatrixSpec& spec : source.converted()) specs.emplace(spec.name, spec);
  return specs;
}

// What `tensor` becomes: itself, or codes and scales.
std::vector<TensorHead> heads_of(const StoredTensor& tensor, const MatrixSpec* converted) {
  if (converted == nullptr) return {{tensor.name, tensor.dtype, tensor.shape}};
  std::vector<int64_t> scale_shape = tensor.shape;
  scale_shape.back() = num_int8_blocks(converted->num_cols);
  return {{tensor.name, "I8", tensor.shape},
          {absl::StrCat(tensor.name, "_scale"), "F32", std::move(scale_shape)}};
}

uint64_t bytes_of(const std::vector<TensorHead>& heads) {
  uint64_t sum = 0;
  for (const TensorHead& head : heads) {
    uint64_t bytes = *safetensors_element_bytes(head.dtype);
    for (const int64_t dim : head.shape) bytes *= static_cast<uint64_t>(dim);
    sum += bytes;
  }
  return sum;
}

void name_shards(std::vector<PlannedShard>* shards) {
  for (size_t i = 0; i < shards->size(); ++i) {
    (*shards)[i].file_name = shards->size() == 1 ? "model.safetensors"
                                                 : absl::StrFormat("model-%05d-of-%05d.safetensors",
                                                                   i + 1, shards->size());
  }
}

}  // namespace

absl::StatusOr<ConversionPlan> plan_conversion(const Checkpoint& checkpoint,
                                               const ModelConfig& config, const WeightTypes& types,
                                               uint64_t max_shard_bytes) {
  ASSIGN_OR_RETURN(const SpecByName specs, find_converted(checkpoint, config, types));
  if (specs.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(checkpoint.dir(), ": nothing of it would be converted"));
  }
  absl::flat_hash_set<std::string> dropped;  // scales of what is fp8 no longer
  for (const auto& [name, spec] : specs) dropped.insert(absl::StrCat(name, "_scale_inv"));
  ConversionPlan plan;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (dropped.contains(tensor.name)) continue;
    const auto found = specs.find(tensor.name);
    const MatrixSpec* const spec = found == specs.end() ? nullptr : &found->second;
    plan.keeps_fp8 = plan.keeps_fp8 || (spec == nullptr && tensor.dtype == "F8_E4M3");
    std::vector<TensorHead> heads = heads_of(tensor, spec);
    const uint64_t num_bytes = bytes_of(heads);
    if (plan.shards.empty() || plan.shards.back().num_bytes + num_bytes > max_shard_bytes) {
      plan.shards.emplace_back();
    }
    PlannedShard& shard = plan.shards.back();
    shard.tensors.push_back(
        {&tensor, spec == nullptr ? std::nullopt : std::optional(*spec), shard.heads.size()});
    for (TensorHead& head : heads) shard.heads.push_back(std::move(head));
    shard.num_bytes += num_bytes;
    plan.num_bytes += num_bytes;
  }
  name_shards(&plan.shards);
  return plan;
}

}  // namespace conclave
