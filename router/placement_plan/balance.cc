#include "router/placement_plan/balance.h"

#include <algorithm>
#include <numeric>

#include "common/check.h"
#include "router/placement_plan/fair_split.h"

namespace conclave {
namespace {

double held_load(const LayerHolders& holders, std::span<const double> load) {
  double sum = 0;
  for (size_t e = 0; e < load.size(); ++e) sum += holders.of[e].empty() ? 0 : load[e];
  return sum;
}

// A layer that is given slots one by one, each to whichever expert has the most load a copy.
class GreedyCopies {
 public:
  GreedyCopies(std::span<const double> load, int32_t num_servers)
      : load_(load), num_servers_(num_servers), copies_(load.size(), 1) {
    mean_ = std::accumulate(load.begin(), load.end(), 0.0) / num_servers;
    find_hottest();
  }

  bool has_load() const { return mean_ > 0; }

  // The largest share of load a copy, over the mean; 1 at least.
  double least() const { return has_load() ? std::max(1.0, share() / mean_) : 1.0; }

  // Whether one more copy may lower it.
  bool can_gain() const { return least() > 1 && copies_[hottest_] < num_servers_; }

  void add() {
    ++copies_[hottest_];
    find_hottest();
  }

 private:
  double share_of(size_t e) const { return load_[e] / copies_[e]; }
  double share() const { return share_of(hottest_); }
  void find_hottest() {
    for (size_t e = 0; e < load_.size(); ++e) {
      if (share_of(e) > share()) hottest_ = e;
    }
  }

  const std::span<const double> load_;
  const int32_t num_servers_;
  std::vector<int32_t> copies_;
  size_t hottest_ = 0;
  double mean_ = 0;
};

std::vector<GreedyCopies> layers_of(std::span<const double> load, const Room& room) {
  CHECK(room.num_layers > 0);
  const size_t num_experts = load.size() / static_cast<size_t>(room.num_layers);
  std::vector<GreedyCopies> layers;
  for (size_t layer = 0; layer < static_cast<size_t>(room.num_layers); ++layer) {
    layers.emplace_back(load.subspan(layer * num_experts, num_experts), room.num_servers);
  }
  return layers;
}

int64_t spare_slots(std::span<const double> load, const Room& room) {
  return std::max<int64_t>(room.num_slots - static_cast<int64_t>(load.size()), 0);
}

// [0 .. spare] what each further slot makes of the layer, until it gains no more.
std::vector<double> by_spare(GreedyCopies layer, int64_t spare) {
  std::vector<double> least = {layer.least()};
  for (int64_t i = 0; i < spare && layer.can_gain(); ++i) {
    layer.add();
    least.push_back(layer.least());
  }
  return least;
}

// The sum over layers at the price `price` for a slot, of which `spare` are free.
double priced_sum(const std::vector<std::vector<double>>& layers, double price, int64_t spare) {
  double sum = -price * static_cast<double>(spare);
  for (const std::vector<double>& least : layers) {
    double best = least[0];
    for (size_t k = 1; k < least.size(); ++k) {
      best = std::min(best, least[k] + price * static_cast<double>(k));
    }
    sum += best;
  }
  return sum;
}

}  // namespace

LayerHolders holders_of_layer(const PlacementPlan& plan, int32_t layer_idx) {
  LayerHolders holders{.num_servers = static_cast<int32_t>(plan.servers.size()), .of = {}};
  holders.of.resize(static_cast<size_t>(plan.short_of.num_experts()));
  for (int32_t s = 0; s < holders.num_servers; ++s) {
    for (const ExpertSpan& span : plan.servers[s].wanted.spans(layer_idx)) {
      for (int32_t i = 0; i < span.count; ++i) holders.of[span.first + i].push_back(s);
    }
  }
  return holders;
}

double even_balance(const LayerHolders& holders, std::span<const double> load) {
  CHECK(holders.of.size() == load.size());
  const double total = held_load(holders, load);
  if (total <= 0) return 1;
  std::vector<double> sums(static_cast<size_t>(holders.num_servers), 0.0);
  for (size_t e = 0; e < load.size(); ++e) {
    const double share = load[e] / static_cast<double>(holders.of[e].size());
    for (const int32_t s : holders.of[e]) sums[s] += share;
  }
  return *std::max_element(sums.begin(), sums.end()) * holders.num_servers / total;
}

double best_balance(const LayerHolders& holders, std::span<const double> load) {
  CHECK(holders.of.size() == load.size());
  const double total = held_load(holders, load);
  if (total <= 0) return 1;
  FairSplit split(holders, load);
  return split.least_max() * holders.num_servers / total;
}

double least_balance(std::span<const double> load, const Room& room) {
  return by_spare(GreedyCopies(load, room.num_servers), spare_slots(load, room)).back();
}

double least_worst_balance(std::span<const double> load, const Room& room) {
  std::vector<GreedyCopies> layers = layers_of(load, room);
  const auto worst = [&] {
    return std::max_element(layers.begin(), layers.end(),
                            [](const auto& a, const auto& b) { return a.least() < b.least(); });
  };
  for (int64_t i = 0; i < spare_slots(load, room) && worst()->can_gain(); ++i) worst()->add();
  return worst()->least();
}

double least_mean_balance(std::span<const double> load, const Room& room) {
  std::vector<std::vector<double>> layers;
  double highest = 1;
  for (const GreedyCopies& layer : layers_of(load, room)) {
    if (!layer.has_load()) continue;
    layers.push_back(by_spare(layer, spare_slots(load, room)));
    highest = std::max(highest, layers.back()[0]);
  }
  if (layers.empty()) return 1;
  double low = 0;
  double high = highest;
  const int64_t spare = spare_slots(load, room);
  for (int i = 0; i < 60; ++i) {  // the sum is concave in the price
    const double a = low + (high - low) / 3;
    const double b = high - (high - low) / 3;
    const bool rises = priced_sum(layers, a, spare) < priced_sum(layers, b, spare);
    (rises ? low : high) = rises ? a : b;
  }
  return std::max(1.0, priced_sum(layers, low, spare) / static_cast<double>(layers.size()));
}

}  // namespace conclave
