// The gates of spec and makers in plain double arithmetic with stable sorts; what tests compare
// with. Also says how close its closest decision was, so that a test can leave out what f32 cannot
// decide.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "model/config/model_config.h"

namespace conclave {

struct NaiveChoice {
  std::vector<int32_t> expert;  // ascending
  std::vector<double> weight;
  double margin = std::numeric_limits<double>::infinity();  // between the last in and the first out
};

// Indices of the `count` largest, ties to the lower index.
inline std::vector<int32_t> naive_top(const std::vector<double>& keys, int32_t count,
                                      double* margin) {
  std::vector<int32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return keys[a] > keys[b]; });
  const size_t size = static_cast<size_t>(count);
  if (size < order.size()) {
    *margin = std::min(*margin, keys[order[size - 1]] - keys[order[size]]);
  }
  order.resize(size);
  return order;
}

inline std::vector<double> naive_scores(const GateConfig& config, const float* logits) {
  std::vector<double> s(logits, logits + config.num_experts);
  if (config.method == GateMethod::kSigmoidNoAuxTc) {
    for (double& x : s) x = 1.0 / (1.0 + std::exp(-x));
    return s;
  }
  const double largest = *std::max_element(s.begin(), s.end());
  double sum = 0.0;
  for (double& x : s) sum += x = std::exp(x - largest);
  for (double& x : s) x /= sum;
  return s;
}

inline NaiveChoice naive_choose(const GateConfig& config, const float* logits, const float* bias) {
  const std::vector<double> s = naive_scores(config, logits);
  std::vector<double> c = s;
  const bool is_noaux = config.method == GateMethod::kSigmoidNoAuxTc;
  if (is_noaux) {
    for (size_t e = 0; e < c.size(); ++e) c[e] += static_cast<double>(bias[e]);
  }
  NaiveChoice choice;
  if (config.method != GateMethod::kSoftmaxGreedy && config.num_groups > 1) {
    const size_t size = c.size() / static_cast<size_t>(config.num_groups);
    std::vector<double> group_keys;
    for (size_t first = 0; first < c.size(); first += size) {
      std::vector<double> group(c.begin() + first, c.begin() + first + size);
      std::sort(group.rbegin(), group.rend());
      group_keys.push_back(is_noaux ? group[0] + group[1] : group[0]);
    }
    const auto kept = naive_top(group_keys, config.groups_per_token, &choice.margin);
    for (size_t e = 0; e < c.size(); ++e) {
      const auto group = static_cast<int32_t>(e / size);
      if (std::count(kept.begin(), kept.end(), group) == 0) c[e] = -1e300;
    }
  }
  choice.expert = naive_top(c, config.experts_per_token, &choice.margin);
  std::sort(choice.expert.begin(), choice.expert.end());

  double sum = 0.0;
  for (const int32_t e : choice.expert) sum += s[e];
  for (const int32_t e : choice.expert) {
    choice.weight.push_back((config.normalize ? s[e] / (sum + 1e-20) : s[e]) *
                            static_cast<double>(config.scale));
  }
  return choice;
}

}  // namespace conclave
