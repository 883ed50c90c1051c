// How far loading is. Tells its listener at most every kStepBytes, and at the end.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/functional/function_ref.h"

namespace conclave {

// `progress(done, total)` in bytes, called now and then from the loading thread.
using LoadProgress = absl::FunctionRef<void(uint64_t done, uint64_t total)>;

class LoadMeter {
 public:
  LoadMeter(uint64_t total_bytes, LoadProgress progress)
      : total_bytes_(total_bytes), progress_(progress) {}

  void add(uint64_t num_bytes) {
    done_bytes_ = std::min(total_bytes_, done_bytes_ + num_bytes);
    if (done_bytes_ - told_bytes_ < kStepBytes) return;
    told_bytes_ = done_bytes_;
    progress_(done_bytes_, total_bytes_);
  }

  void finish() { progress_(total_bytes_, total_bytes_); }

 private:
  static constexpr uint64_t kStepBytes = 64 << 20;

  const uint64_t total_bytes_;
  LoadProgress progress_;
  uint64_t done_bytes_ = 0;
  uint64_t told_bytes_ = 0;
};

}  // namespace conclave
