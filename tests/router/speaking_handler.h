// A LegHandler whose expert e says every row times (e + 1); it answers at
// once, or keeps legs until the test lets them go.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "common/rows.h"
#include "kernels/row_codec.h"
#include "router/arrived_leg.h"

namespace conclave {

// What it says to a leg.
inline std::vector<std::byte> say(const ArrivedLeg& leg) {
  const auto num_cols = static_cast<size_t>(leg.hidden.num_cols);
  const size_t heard_bytes = packed_row_bytes(leg.hidden.dtype, leg.hidden.num_cols);
  const size_t said_bytes = packed_row_bytes(leg.reply_type, leg.hidden.num_cols);
  std::vector<std::byte> said(leg.pick_expert.size() * said_bytes);
  Matrix<float> row(1, leg.hidden.num_cols);
  for (size_t m = 0; m + 1 < leg.pick_begin.size(); ++m) {
    for (auto p = static_cast<size_t>(leg.pick_begin[m]);
         p < static_cast<size_t>(leg.pick_begin[m + 1]); ++p) {
      unpack_rows(leg.hidden.bytes.data() + m * heard_bytes, leg.hidden.dtype, row.view());
      for (size_t c = 0; c < num_cols; ++c) {
        row.row(0)[c] *= static_cast<float>(leg.pick_expert[p] + 1);
      }
      pack_rows(row.view(), leg.reply_type, said.data() + p * said_bytes);
    }
  }
  return said;
}

// Thread-safe.
class SpeakingHandler final : public LegHandler {
 public:
  struct Kept {
    ArrivedLeg leg;
    Done done;

    void answer() const { done(say(leg)); }
  };

  // A stream lives until its last leg is answered.
  ~SpeakingHandler() override {
    for (const Kept& kept : kept_) kept.done(absl::CancelledError("the test is over"));
  }

  void submit(ArrivedLeg leg, Done done) override {
    {
      const std::lock_guard lock(mutex_);
      ++num_heard_;
      if (keeps_) {
        kept_.push_back({std::move(leg), std::move(done)});
        changed_.notify_all();
        return;
      }
    }
    done(say(leg));
  }

  void keep(bool keeps) {
    const std::lock_guard lock(mutex_);
    keeps_ = keeps;
  }

  // The oldest kept leg, when it has come.
  Kept take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !kept_.empty(); });
    Kept kept = std::move(kept_.front());
    kept_.pop_front();
    return kept;
  }

  // The same where the leg only moves while `sender` is polled, as everything of a StreamHub's.
  template <typename Sender>
  Kept take(Sender* sender) {
    wait_for_kept(1, sender);
    return take();
  }

  template <typename Sender>
  void wait_for_kept(size_t count, Sender* sender) {
    while (num_kept() < count) {
      sender->poll();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  void wait_for_kept(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return kept_.size() >= count; });
  }

  size_t num_kept() {
    const std::lock_guard lock(mutex_);
    return kept_.size();
  }

  int num_heard() {
    const std::lock_guard lock(mutex_);
    return num_heard_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Kept> kept_;
  bool keeps_ = false;
  int num_heard_ = 0;
};

}  // namespace conclave
