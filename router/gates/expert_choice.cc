#include "router/gates/expert_choice.h"

#include <algorithm>

#include "common/check.h"
#include "router/gates/best_list.h"
#include "router/gates/rules.h"

namespace conclave {

void choose_experts(const GateConfig& config, const ExpertKeys& keys, int32_t* expert,
                    float* scratch) {
  CHECK(config.num_groups <= kMaxExpertGroups);
  int32_t group[kMaxExpertGroups];
  float group_key[kMaxExpertGroups];
  const int32_t group_size = config.num_experts / config.num_groups;

  BestList groups{.id = group, .key = group_key, .capacity = config.groups_per_token};
  if (config.groups_per_token < config.num_groups) {
    for (int32_t g = 0; g < config.num_groups; ++g) {
      groups.offer(g, keys.group_key(g * group_size, (g + 1) * group_size));
    }
  } else {  // every group is kept; nothing to compare
    for (int32_t g = 0; g < config.num_groups; ++g) groups.offer(g, 0.f);
  }
  std::sort(group, group + groups.size);  // experts are offered in ascending id

  BestList experts{.id = expert, .key = scratch, .capacity = config.experts_per_token};
  for (int32_t i = 0; i < groups.size; ++i) {
    const int32_t first = group[i] * group_size;
    for (int32_t e = first; e < first + group_size; ++e) experts.offer(e, keys.key(e));
  }
  CHECK(experts.size == config.experts_per_token);
  std::sort(expert, expert + experts.size);
}

void weigh_experts(const GateConfig& config, const float* scores, const int32_t* expert,
                   float* weight) {
  const int32_t k = config.experts_per_token;
  float sum = 0.f;
  for (int32_t i = 0; i < k; ++i) {
    weight[i] = scores[expert[i]];
    sum += weight[i];
  }
  if (config.normalize) {
    for (int32_t i = 0; i < k; ++i) weight[i] /= sum + 1e-20f;
  }
  for (int32_t i = 0; i < k; ++i) weight[i] *= config.scale;
}

}  // namespace conclave
