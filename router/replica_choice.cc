#include "router/replica_choice.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace conclave {
namespace {

struct PickedExpert {
  int32_t expert = 0;
  int32_t num_picks = 0;
  size_t num_holders = 0;
};

// Fewest holders first, then most picks.
std::vector<PickedExpert> picked_experts(const TopK& top_k, const Placement& placement,
                                         int32_t layer_idx) {
  std::vector<int32_t> num_picks(static_cast<size_t>(placement.num_experts()), 0);
  for (const int32_t expert : top_k.expert) {
    if (expert != kNoExpert) ++num_picks[static_cast<size_t>(expert)];
  }
  std::vector<PickedExpert> picked;
  for (int32_t e = 0; e < placement.num_experts(); ++e) {
    const int32_t count = num_picks[static_cast<size_t>(e)];
    if (count > 0) picked.push_back({e, count, placement.holders(layer_idx, e).size()});
  }
  std::sort(picked.begin(), picked.end(), [](const PickedExpert& a, const PickedExpert& b) {
    return std::tuple(a.num_holders, -a.num_picks, a.expert) <
           std::tuple(b.num_holders, -b.num_picks, b.expert);
  });
  return picked;
}

// Where there is no choice, every layer of every step need not make it.
std::vector<ServerId> only_holders(const Placement& placement, int32_t layer_idx) {
  std::vector<ServerId> home;
  for (int32_t e = 0; e < placement.num_experts(); ++e) {
    const std::span<const ServerId> holders = placement.holders(layer_idx, e);
    home.push_back(holders.empty() ? kNoServer : holders.front());
  }
  return home;
}

}  // namespace

std::vector<ServerId> choose_replicas(const TopK& top_k, const Placement& placement,
                                      int32_t layer_idx, const ReplicaHealth& health,
                                      std::span<const ServerId> lost) {
  if (!placement.has_replicas() && lost.empty()) return only_holders(placement, layer_idx);
  std::vector<ServerId> home(static_cast<size_t>(placement.num_experts()), kNoServer);
  std::map<ServerId, int64_t> load;
  const auto load_of = [&](ServerId server) -> int64_t& {
    return load.try_emplace(server, health.picks_away(server)).first->second;
  };
  for (const PickedExpert& picked : picked_experts(top_k, placement, layer_idx)) {
    const std::span<const ServerId> holders = placement.holders(layer_idx, picked.expert);
    const size_t num_steady = placement.num_steady(layer_idx, picked.expert);
    std::tuple<bool, bool, bool, int64_t> best;
    ServerId chosen = kNoServer;
    for (size_t i = 0; i < holders.size(); ++i) {
      if (std::find(lost.begin(), lost.end(), holders[i]) != lost.end()) continue;
      const int64_t load_there = load_of(holders[i]) * health.weight(holders[i]);
      const std::tuple rank(health.is_silent(holders[i]), health.is_avoided(holders[i]),
                            i >= num_steady, load_there);
      if (chosen != kNoServer && best <= rank) continue;
      best = rank;
      chosen = holders[i];
    }
    home[static_cast<size_t>(picked.expert)] = chosen;
    if (chosen != kNoServer) load_of(chosen) += picked.num_picks;
  }
  return home;
}

}  // namespace conclave
