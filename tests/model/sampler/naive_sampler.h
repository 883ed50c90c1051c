// The sampler as its document tells it, with full sorts and no cleverness; what tests compare with.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "model/sampler/philox.h"
#include "model/sampler/sampler.h"

namespace conclave {

inline std::vector<float> naive_adjust(const SampleArgs& args) {
  const SamplingParams& p = *args.params;
  std::vector<float> x(args.logits.begin(), args.logits.begin() + args.num_ids);
  for (int32_t id = 0; id < args.num_ids; ++id) {
    const bool in_prompt = args.counts->prompt.contains(id);
    const auto said = args.counts->generated.find(id);
    const bool in_generated = said != args.counts->generated.end();
    if (in_prompt || in_generated) {
      x[id] = x[id] > 0.f ? x[id] / p.repetition_penalty : x[id] * p.repetition_penalty;
    }
    if (in_generated) {
      x[id] -= p.frequency_penalty * static_cast<float>(said->second);
      x[id] -= p.presence_penalty;
    }
    for (const auto& [biased, bias] : p.logit_bias) {
      if (biased == id) x[id] += bias;
    }
    const bool stops = std::count(p.stop_ids.begin(), p.stop_ids.end(), id) > 0;
    if (stops && args.num_generated < p.min_tokens) x[id] = -std::numeric_limits<float>::infinity();
  }
  return x;
}

// Ids that may be drawn and their weights, best first.
inline std::vector<std::pair<int32_t, double>> naive_survivors(const SampleArgs& args) {
  const SamplingParams& p = *args.params;
  const std::vector<float> x = naive_adjust(args);
  std::vector<int32_t> order;
  for (int32_t id = 0; id < args.num_ids; ++id) {
    if (!std::isinf(x[id])) order.push_back(id);
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return x[a] > x[b]; });
  if (p.temperature == 0.f) return {{order[0], 1.0}};
  if (p.top_k > 0 && order.size() > static_cast<size_t>(p.top_k)) order.resize(p.top_k);

  std::vector<std::pair<int32_t, double>> all;
  double total = 0.0;
  for (const int32_t id : order) {
    const double distance = static_cast<double>(x[id]) - static_cast<double>(x[order[0]]);
    all.push_back({id, std::exp(distance / static_cast<double>(p.temperature))});
    total += all.back().second;
  }
  std::vector<std::pair<int32_t, double>> kept;
  double reached = 0.0;
  for (const auto& [id, weight] : all) {
    if (p.top_p < 1.f && reached >= static_cast<double>(p.top_p) * total) break;
    reached += weight;
    if (weight >= static_cast<double>(p.min_p) * all[0].second) kept.push_back({id, weight});
  }
  return kept;
}

inline int32_t naive_sample(const SampleArgs& args) {
  auto kept = naive_survivors(args);
  std::sort(kept.begin(), kept.end());
  double total = 0.0;
  for (const auto& [id, weight] : kept) total += weight;
  const double target = uniform_at(args.params->seed, args.position) * total;
  double sum = 0.0;
  for (const auto& [id, weight] : kept) {
    sum += weight;
    if (sum > target) return id;
  }
  return -1;
}

}  // namespace conclave
