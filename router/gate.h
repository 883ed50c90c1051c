// The gate: which experts a token asks, and how much each answer weighs. Source: docs/models.md.
//
//   x f32 [T, D]  ->  TopK: K picks a token
//
// A gate reads the f32 row (contract C1), scores every expert in f32 and breaks ties to the lower
// index, for groups and for experts. A token's picks are in ascending expert id. A row whose scores
// are not finite picks nothing: its experts are kNoExpert, and num_faulty says how many such rows
// there are.
//
// One method is one file in router/gates/. Gates hold views of the weights, which outlive them. Not
// thread-safe: scores are scratch memory, taken at creation for `max_tokens` rows.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/executor.h"
#include "common/rows.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"

namespace conclave {

inline constexpr int32_t kNoExpert = -1;

// Row t owns entries [t * k, (t + 1) * k), in ascending expert id.
struct TopK {
  int32_t num_tokens = 0;
  int32_t k = 0;
  std::vector<int32_t> expert;  // [T * K]
  std::vector<float> weight;    // [T * K]
  int32_t num_faulty = 0;
};

// Chooses from one token's scores; pure and small, one per method. Thread-safe: no state but the
// config and a view of the bias.
class GateRule {
 public:
  virtual ~GateRule() = default;

  // logits f32 [T, E] in, turned into scores in place.
  virtual void score(Rows<float> logits) const = 0;

  // Writes K expert ids in ascending order and their weights for one row of finite scores [E].
  // Weights come from the scores without the bias; `normalize` divides them by (their sum, added in
  // ascending expert id, + 1e-20), then all are multiplied by `scale`.
  virtual void choose(const float* scores, int32_t* expert, float* weight) const = 0;
};

// `bias` is [E] for methods that have one, else null; it outlives the rule. UNIMPLEMENTED for a
// method without a file, INVALID_ARGUMENT for sizes that leave a token without K experts or a bias
// that is not finite.
absl::StatusOr<std::unique_ptr<GateRule>> make_gate_rule(const GateConfig& config,
                                                         const float* bias);

class Gate {
 public:
  // `weights` and `executor` outlive the gate. Errors as make_gate_rule's, or a weight without E
  // rows.
  static absl::StatusOr<std::unique_ptr<Gate>> create(const GateConfig& config,
                                                      const GateWeights& weights,
                                                      int32_t max_tokens, Executor* executor);

  // REQUIRES: x has at most max_tokens rows. `top_k` is overwritten; its memory is reused.
  void choose(Rows<const float> x, TopK* top_k);

 private:
  Gate(const GateConfig& config, const GateWeights& weights, int32_t max_tokens,
       std::unique_ptr<GateRule> rule, Executor* executor);

  void choose_row(Rows<float> logits, int32_t t, TopK* top_k) const;

  const GateConfig config_;
  const GateWeights weights_;
  const std::unique_ptr<GateRule> rule_;
  Executor* const executor_;  // outlives this
  Matrix<float> scores_;      // [max_tokens, E]
};

}  // namespace conclave
