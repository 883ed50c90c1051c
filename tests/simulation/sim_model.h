// A model of random numbers that is as small as one can be with everything in it: a dense layer,
// two of experts with a shared one, sigmoid gates with a bias. A token through it costs some
// microseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "attention/request.h"
#include "model/config/model_config.h"
#include "model/numeric_profile.h"
#include "model/weights/weights.h"
#include "tests/simulation/sim_random.h"

namespace conclave {

inline constexpr int32_t kSimLayers = 3;
inline constexpr int32_t kSimExperts = 8;
inline constexpr int32_t kSimVocab = 32;
inline constexpr int32_t kSimPositions = 48;
inline constexpr int32_t kSimPageTokens = 4;

class SimModel {
 public:
  SimModel();

  const ModelConfig& config() const { return config_; }
  const TrunkWeights& trunk() const { return trunk_; }

  // Views of the experts in `held`; the model outlives them.
  ExpertWeights experts(const ExpertSet& held) const;

  // What processes with this model say of themselves.
  NumericProfile profile(bool is_node) const;

 private:
  Weight weight(int32_t num_rows, int32_t num_cols);
  const float* vector(int32_t size, float middle, float spread);
  FfnWeights ffn(int32_t width);
  LayerWeights layer(bool is_moe);

  SimRandom random_{2026, 0};
  ModelConfig config_;
  TrunkWeights trunk_;
  ExpertWeights all_experts_;
};

// The model that every world shares.
const SimModel& sim_model();

// What one engine says to a request, with nobody beside it and nothing that fails.
struct SimAnswer {
  std::vector<int32_t> ids;
  std::vector<Logprobs> logprobs;
  std::vector<Logprobs> prompt_logprobs;
  FinishReason reason = FinishReason::kLength;
};
std::vector<SimAnswer> sim_answers(const std::vector<Request>& requests);

}  // namespace conclave
