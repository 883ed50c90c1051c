// How far a layer's highest load can be lowered when every expert's load may be split over its
// holders in any parts.
//
// The answer is the most crowded set of experts: the largest load(X) over the number of servers
// that hold any of X. It is found from below. All load is poured in under a limit for every server,
// along paths that shift what was poured before; where some cannot be, what its path reached is a
// set X that is too crowded, and its load over its servers is the next limit.
//
// Exact but for rounding. One thread, for one answer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace conclave {

struct LayerHolders;

class FairSplit {
 public:
  // Both outlive this.
  FairSplit(const LayerHolders& holders, std::span<const double> load);

  double least_max();

 private:
  struct Pour {
    int32_t server = 0;
    double amount = 0;
  };

  int32_t find_room(int32_t expert);
  void shift(int32_t expert, int32_t server);
  bool pour_all(int32_t expert);
  double crowding() const;
  double* poured(int32_t expert, int32_t server);

  const LayerHolders& holders_;
  const std::span<const double> load_;
  double tiny_ = 0;  // as good as nothing
  double limit_ = 0;
  std::vector<double> sum_;                 // [S]
  std::vector<double> left_;                // [E] not poured yet
  std::vector<std::vector<Pour>> pours_;    // [E][holders]
  std::vector<std::vector<int32_t>> here_;  // [S] the experts it holds

  // Of the last search: who reached whom. -1: not reached.
  std::vector<int32_t> expert_to_server_;  // [S]
  std::vector<int32_t> server_to_expert_;  // [E]
  std::vector<int32_t> reached_;           // experts, in order
};

}  // namespace conclave
