// The gate of V2-Lite:
//
//   p = softmax(logits)     the K largest p, weighing p
#include "kernels/softmax.h"
#include "router/gates/expert_choice.h"
#include "router/gates/rules.h"

namespace conclave {
namespace {

class SoftmaxGreedy final : public GateRule {
 public:
  explicit SoftmaxGreedy(const GateConfig& config) : config_(without_groups(config)) {}

  void score(Rows<float> logits) const override { softmax_rows(logits); }

  void choose(const float* scores, int32_t* expert, float* weight) const override {
    const auto key = [scores](int32_t e) { return scores[e]; };
    const auto group_key = [](int32_t, int32_t) { return 0.f; };
    choose_experts(config_, {key, group_key}, expert, weight);
    weigh_experts(config_, scores, expert, weight);
  }

 private:
  // Greedy looks at no groups; V2-Lite's config.json names one all the same.
  static GateConfig without_groups(GateConfig config) {
    config.num_groups = 1;
    config.groups_per_token = 1;
    return config;
  }

  const GateConfig config_;
};

}  // namespace

std::unique_ptr<GateRule> make_softmax_greedy(const GateConfig& config) {
  return std::make_unique<SoftmaxGreedy>(config);
}

}  // namespace conclave
