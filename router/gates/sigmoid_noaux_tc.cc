// The gate of V3, R1, Kimi-K2 and Moonlight:
//
//   s   = sigmoid(logits)
//   c   = s + bias                         only for the choice
//   G_j = sum of the two largest c of group j      the groups_per_token largest G are kept
//   the K largest c of the kept groups, weighing s
//
// An expert of a group that is not kept is never chosen, even when all c of the kept ones are
// negative: the makers mask with -infinity (older transformers with 0). With one group there is
// nothing to keep.
#include <algorithm>
#include <limits>

#include "common/check.h"
#include "kernels/softmax.h"
#include "router/gates/expert_choice.h"
#include "router/gates/rules.h"

namespace conclave {
namespace {

class SigmoidNoAuxTc final : public GateRule {
 public:
  SigmoidNoAuxTc(const GateConfig& config, const float* bias) : config_(config), bias_(bias) {
    CHECK(bias != nullptr);
  }

  void score(Rows<float> logits) const override { sigmoid_rows(logits); }

  void choose(const float* scores, int32_t* expert, float* weight) const override {
    const auto key = [this, scores](int32_t e) { return scores[e] + bias_[e]; };
    const auto two_largest = [&key](int32_t first, int32_t last) {
      float best = -std::numeric_limits<float>::infinity();
      float second = best;
      for (int32_t e = first; e < last; ++e) {
        second = std::max(second, std::min(best, key(e)));
        best = std::max(best, key(e));
      }
      return best + second;
    };
    choose_experts(config_, {key, two_largest}, expert, weight);
    weigh_experts(config_, scores, expert, weight);
  }

 private:
  const GateConfig config_;
  const float* const bias_;  // [E], outlives this
};

}  // namespace

std::unique_ptr<GateRule> make_sigmoid_noaux_tc(const GateConfig& config, const float* bias) {
  return std::make_unique<SigmoidNoAuxTc>(config, bias);
}

}  // namespace conclave
