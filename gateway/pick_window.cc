#include "gateway/pick_window.h"

#include <algorithm>
#include <utility>

namespace conclave {

void PickWindow::record(std::vector<int64_t> picks) {
  if (picks.empty()) return;
  if (now_.empty()) {
    older_ = picks;
    newer_ = picks;
  }
  if (picks.size() == older_.size()) now_ = std::move(picks);
}

void PickWindow::roll() {
  older_ = std::move(newer_);
  newer_ = now_;
}

int64_t PickWindow::recent(int32_t layer_idx) const {
  const size_t layer = static_cast<size_t>(layer_idx);
  if (layer >= now_.size()) return 0;
  return std::max<int64_t>(0, now_[layer] - older_[layer]);  // a counter may only rise
}

double imbalance(std::span<const int64_t> picks_of_each_server) {
  double sum = 0;
  int64_t most = 0;
  for (const int64_t picks : picks_of_each_server) {
    sum += static_cast<double>(picks);
    most = std::max(most, picks);
  }
  if (sum <= 0) return 0;
  return static_cast<double>(most) * static_cast<double>(picks_of_each_server.size()) / sum;
}

}  // namespace conclave
