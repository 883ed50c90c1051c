// What an expert server holds, and the thread that brings it to what control orders.
//
//   order: what is not in it is let go at once; what is missing is loaded part by part, and each
//   part serves and is told to control as soon as it is there.
//
// A later order takes an earlier one's place; what was being loaded for that one alone is dropped
// when it comes. A part that cannot be loaded stops the loading: control is told why, and plans
// anew. The thread has a low priority, so that loading does not slow down serving.
//
// Thread-safe, but for the destructor.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/server_facts.h"
#include "model/weights/expert_set.h"
#include "services/expert_server/expert_metrics.h"
#include "services/expert_server/expert_worker.h"
#include "services/local/model_folder.h"

namespace conclave {

class ExpertKeeper {
 public:
  // All outlive the keeper.
  struct Parts {
    const ModelFolder* folder = nullptr;
    ExpertWorker* worker = nullptr;  // holds `held` already
    ExpertMetrics* metrics = nullptr;
  };
  struct Options {
    uint64_t capacity_bytes = 0;
    uint64_t part_bytes = uint64_t{64} << 20;  // about what is loaded at a time, of one layer
    bool overcommit = false;                   // load what exceeds the memory available
    // Something was loaded, or cannot be. Called by the keeper's thread.
    std::function<void()> on_change = [] {};
  };

  // Starts the thread.
  ExpertKeeper(const Parts& parts, Options options, ExpertSet held);

  // Ends after the part under way.
  ~ExpertKeeper();

  // A line to control begins: nothing was ordered on it yet. What was ordered before is loaded on.
  Holding begin_line();

  void order(ExpertOrder order);

  // Without picks.
  Holding holding() const;

 private:
  using Lock = std::unique_lock<std::mutex>;

  Holding holding_now() const;
  void run();
  ExpertSet next_part() const;
  void wait_for_room(Lock* lock);
  absl::StatusOr<ExpertWeights> read_part(const ExpertSet& part) const;
  void load_part(const ExpertSet& part, Lock* lock);
  absl::Status check_room(const ExpertSet& part) const;
  void tell_metrics() const;

  const Parts parts_;
  const Options options_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  ExpertSet held_;
  ExpertSet hold_;  // what is to be held
  int64_t order_ = 0;
  std::string problem_;
  bool has_released_ = false;  // and that memory was not waited for
  bool is_stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace conclave
