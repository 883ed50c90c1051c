// How many picks a server answered lately, from counters that only rise.
//
// Two samples of the counters are kept, and rolling makes the newer one the older. Rolled every
// half window, the picks since the older sample are those of the last half to whole window. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace conclave {

class PickWindow {
 public:
  // The counters as they stand now, [L]. The first ever told count as no recent pick. Counters of
  // another length are dropped.
  void record(std::vector<int64_t> picks);

  void roll();

  // Picks of a layer since the older sample; 0 where nothing is known.
  int64_t recent(int32_t layer_idx) const;

 private:
  std::vector<int64_t> now_;
  std::vector<int64_t> newer_;
  std::vector<int64_t> older_;
};

// Max over mean; 0 where there are no picks at all. 1 is perfect balance.
double imbalance(std::span<const int64_t> picks_of_each_server);

}  // namespace conclave
