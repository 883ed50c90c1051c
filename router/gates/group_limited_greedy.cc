// The gate of V2:
//
//   p   = softmax(logits)
//   G_j = the largest p of group j      the groups_per_token largest G are kept
//   the K largest p of the kept groups, weighing p
//
// The makers' code masks the other groups with 0, ours leaves them out. Both choose the same
// experts as long as K of the kept ones have p > 0; below, theirs may pick experts of weight 0 in
// any group, which add nothing, and ours keeps the promise that a token stays within its groups.
#include <algorithm>

#include "kernels/softmax.h"
#include "router/gates/expert_choice.h"
#include "router/gates/rules.h"

namespace conclave {
namespace {

class GroupLimitedGreedy final : public GateRule {
 public:
  explicit GroupLimitedGreedy(const GateConfig& config) : config_(config) {}

  void score(Rows<float> logits) const override { softmax_rows(logits); }

  void choose(const float* scores, int32_t* expert, float* weight) const override {
    const auto key = [scores](int32_t e) { return scores[e]; };
    const auto largest = [scores](int32_t first, int32_t last) {
      return *std::max_element(scores + first, scores + last);
    };
    choose_experts(config_, {key, largest}, expert, weight);
    weigh_experts(config_, scores, expert, weight);
  }

 private:
  const GateConfig config_;
};

}  // namespace

std::unique_ptr<GateRule> make_group_limited_greedy(const GateConfig& config) {
  return std::make_unique<GroupLimitedGreedy>(config);
}

}  // namespace conclave
