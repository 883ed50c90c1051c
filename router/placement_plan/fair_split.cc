#include "router/placement_plan/fair_split.h"

#include <algorithm>
#include <numeric>

#include "router/placement_plan/balance.h"

namespace conclave {

FairSplit::FairSplit(const LayerHolders& holders, std::span<const double> load)
    : holders_(holders), load_(load), left_(load.begin(), load.end()), pours_(load.size()) {
  sum_.resize(static_cast<size_t>(holders.num_servers), 0.0);
  here_.resize(sum_.size());
  double total = 0;
  for (size_t e = 0; e < load.size(); ++e) {
    for (const int32_t s : holders.of[e]) {
      if (!here_[s].empty() && here_[s].back() == static_cast<int32_t>(e)) continue;
      pours_[e].push_back({.server = s, .amount = 0});
      here_[s].push_back(static_cast<int32_t>(e));
    }
    if (pours_[e].empty()) left_[e] = 0;
    total += left_[e];
  }
  tiny_ = total * 1e-12;
  limit_ = total / holders.num_servers;
}

double FairSplit::least_max() {
  for (int32_t e = 0; e < static_cast<int32_t>(load_.size()); ++e) {
    // A limit that was too low rises to what the crowd needs, and by more than rounding.
    while (!pour_all(e)) limit_ = std::max(crowding(), limit_ + tiny_);
  }
  return limit_;
}

double* FairSplit::poured(int32_t expert, int32_t server) {
  const auto at = std::find_if(pours_[expert].begin(), pours_[expert].end(),
                               [&](const Pour& pour) { return pour.server == server; });
  return &at->amount;
}

bool FairSplit::pour_all(int32_t expert) {
  while (left_[expert] > tiny_) {
    const int32_t server = find_room(expert);
    if (server < 0) return false;
    shift(expert, server);
  }
  return true;
}

// Breadth first from the expert to a server below the limit; -1: there is none.
int32_t FairSplit::find_room(int32_t expert) {
  expert_to_server_.assign(sum_.size(), -1);
  server_to_expert_.assign(load_.size(), -1);
  reached_ = {expert};
  for (size_t i = 0; i < reached_.size(); ++i) {
    const int32_t from = reached_[i];
    for (const Pour& pour : pours_[from]) {
      const int32_t s = pour.server;
      if (expert_to_server_[s] >= 0) continue;
      expert_to_server_[s] = from;
      if (sum_[s] < limit_ - tiny_) return s;
      for (const int32_t other : here_[s]) {
        if (other == expert || server_to_expert_[other] >= 0) continue;
        if (*poured(other, s) <= tiny_) continue;
        server_to_expert_[other] = s;
        reached_.push_back(other);
      }
    }
  }
  return -1;
}

// Along the path of the last search: each expert on it gives up as much on one server as it gets on
// the next.
void FairSplit::shift(int32_t expert, int32_t server) {
  double amount = std::min(left_[expert], limit_ - sum_[server]);
  for (int32_t s = server; expert_to_server_[s] != expert;) {
    const int32_t e = expert_to_server_[s];
    s = server_to_expert_[e];
    amount = std::min(amount, *poured(e, s));
  }
  sum_[server] += amount;
  left_[expert] -= amount;
  int32_t s = server;
  while (true) {
    const int32_t e = expert_to_server_[s];
    *poured(e, s) += amount;
    if (e == expert) return;
    s = server_to_expert_[e];
    *poured(e, s) -= amount;
  }
}

double FairSplit::crowding() const {
  double load = 0;
  for (const int32_t e : reached_) load += load_[e];
  const auto num_servers = std::count_if(expert_to_server_.begin(), expert_to_server_.end(),
                                         [](int32_t e) { return e >= 0; });
  return load / static_cast<double>(num_servers);
}

}  // namespace conclave
