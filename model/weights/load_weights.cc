#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "model/weights/expert_tensors.h"
#include "model/weights/page_in.h"
#include "model/weights/trunk_tensors.h"
#include "model/weights/weights.h"

namespace conclave {
namespace {

TensorSource::Options for_loading(const LoadOptions& options, LoadMeter* meter) {
  return {.mode = ReadMode::kLoad,
          .meter = meter,
          .types = options.types,
          .executor = options.executor};
}

// Keeps what `source` had to copy with the weights that point at it.
template <typename Weights>
void keep_owned(TensorSource* source, Weights* weights) {
  Owned owned = source->take_owned();
  weights->owned = std::move(owned.floats);
  weights->owned_bytes = std::move(owned.bytes);
}

// Pages in what stayed in the file.
absl::Status finish(const Checkpoint& checkpoint, const TensorSource& source, LoadMeter* meter) {
  RETURN_IF_ERROR(page_in(checkpoint, source.ranges(), meter));
  meter->finish();
  return absl::OkStatus();
}

absl::Status read_experts(const ModelConfig& config, const ExpertSet& held, TensorSource* source,
                          ExpertWeights* experts) {
  const int32_t num_experts = config.moe.gate.num_experts;
  experts->layers.resize(static_cast<size_t>(config.num_layers));
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    auto& row = experts->layers[static_cast<size_t>(layer)];
    row.resize(static_cast<size_t>(num_experts));
    if (!config.is_moe_layer(layer)) continue;
    for (int32_t e = 0; e < num_experts; ++e) {
      if (!held.contains(layer, e)) continue;
      auto routed = std::make_shared<RoutedExpert>();
      RETURN_IF_ERROR(read_expert_tensors(config, layer, e, source, &routed->ffn));
      keep_owned(source, routed.get());
      row[static_cast<size_t>(e)] = std::move(routed);
    }
  }
  return absl::OkStatus();
}

absl::Status check_shape(const ExpertSet& held, const ModelConfig& config) {
  if (held.num_layers() == config.num_layers && held.num_experts() == config.moe.gate.num_experts) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a set of ", held.num_layers(), " layers of ", held.num_experts(),
                   " experts is not one of this model, which has ", config.num_layers, " of ",
                   config.moe.gate.num_experts));
}

}  // namespace

const FfnWeights* ExpertWeights::find(int32_t layer_idx, int32_t expert) const {
  if (layer_idx < 0 || static_cast<size_t>(layer_idx) >= layers.size()) return nullptr;
  const auto& row = layers[static_cast<size_t>(layer_idx)];
  if (expert < 0 || static_cast<size_t>(expert) >= row.size()) return nullptr;
  const RoutedExpert* const routed = row[static_cast<size_t>(expert)].get();
  return routed == nullptr ? nullptr : &routed->ffn;
}

absl::StatusOr<TrunkWeights> load_trunk(const Checkpoint& checkpoint, const ModelConfig& config,
                                        LoadProgress progress, const LoadOptions& options) {
  ASSIGN_OR_RETURN(const ModelSize size, measure_model(checkpoint, config, options.types));
  LoadMeter meter(size.trunk_bytes, progress);
  TensorSource source(&checkpoint, &config, for_loading(options, &meter));
  TrunkWeights trunk;
  RETURN_IF_ERROR(read_trunk_tensors(config, &source, &trunk));
  trunk.num_bytes = source.num_bytes();
  keep_owned(&source, &trunk);
  RETURN_IF_ERROR(finish(checkpoint, source, &meter));
  return trunk;
}

absl::StatusOr<ExpertWeights> load_experts(const Checkpoint& checkpoint, const ModelConfig& config,
                                           const ExpertSet& held, LoadProgress progress,
                                           const LoadOptions& options) {
  RETURN_IF_ERROR(check_shape(held, config));
  RETURN_IF_ERROR(measure_model(checkpoint, config, options.types).status());
  TensorSource headers(&checkpoint, &config, {.types = options.types});
  ExpertWeights experts;
  RETURN_IF_ERROR(read_experts(config, held, &headers, &experts));
  LoadMeter meter(headers.num_bytes(), progress);
  TensorSource source(&checkpoint, &config, for_loading(options, &meter));
  RETURN_IF_ERROR(read_experts(config, held, &source, &experts));
  experts.num_bytes = source.num_bytes();
  RETURN_IF_ERROR(finish(checkpoint, source, &meter));
  return experts;
}

absl::StatusOr<GateStack> load_gates(const Checkpoint& checkpoint, const ModelConfig& config) {
  RETURN_IF_ERROR(measure_model(checkpoint, config).status());
  const auto unheard = [](uint64_t, uint64_t) {};
  LoadMeter meter(0, unheard);
  TensorSource source(&checkpoint, &config, for_loading({}, &meter));
  GateStack gates;
  RETURN_IF_ERROR(read_gate_tensors(config, &source, &gates.layers));
  keep_owned(&source, &gates);
  RETURN_IF_ERROR(page_in(checkpoint, source.ranges(), &meter));
  return gates;
}

}  // namespace conclave
