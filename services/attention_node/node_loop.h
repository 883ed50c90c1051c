// The step thread of an attention node and the mailbox in front of it.
//
// gRPC's threads only leave messages here; the step thread takes them between two steps, so the
// engine, its cache, the placement and the transport have one owner and no locks. Requests that
// meet missing experts are tried again when the placement changes, and after a pause that grows
// from 20 ms to 1 s while nothing gets better.
//
// Thread-safe, but for the parts, which are the step thread's from the constructor to the end of
// stop().
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "attention/engine.h"
#include "common/clock.h"
#include "gateway/server_facts.h"
#include "router/cluster_view.h"
#include "services/server/progress_watch.h"

namespace conclave {

// One forward pass, for metrics.
struct StepReport {
  int32_t num_tokens = 0;
  absl::Duration duration;
};

class NodeLoop {
 public:
  struct Options {
    int32_t max_messages = 1024;  // submissions that wait for the step thread
    absl::Duration first_pause = absl::Milliseconds(20);
    absl::Duration longest_pause = absl::Seconds(1);
  };
  // All outlive the loop.
  struct Parts {
    Engine* engine = nullptr;
    const Clock* clock = nullptr;
    ProgressWatch* progress = nullptr;
    std::function<void(const ClusterView&)> use_view;  // on the step thread, between steps
    std::function<void(const StepReport&)> on_step;    // on the step thread
  };

  // Starts the thread.
  NodeLoop(Parts parts, const Options& options);

  // stop()
  ~NodeLoop();

  NodeLoop(const NodeLoop&) = delete;
  NodeLoop& operator=(const NodeLoop&) = delete;

  // After an OK the observer hears on_finished() exactly once, on the step thread, also when the
  // engine refuses the request. RESOURCE_EXHAUSTED for a full mailbox, UNAVAILABLE after stop();
  // the observer is not called then.
  absl::Status submit(Request request);

  // No effect where there is no such request (any more).
  void cancel(RequestId id);

  // The newest view counts.
  void set_view(ClusterView view);

  // Ends every request with UNAVAILABLE, so that a gateway goes on elsewhere, and joins the thread.
  // Idempotent.
  void stop();

  // As of the last step.
  NodeLoad load() const;
  int64_t placement_version() const;  // of the view in use
  bool idle() const;                  // no request is here

 private:
  struct Inbox {
    std::vector<Request> requests;
    std::vector<RequestId> cancels;
    std::optional<ClusterView> view;
    bool stop = false;

    bool empty() const { return requests.empty() && cancels.empty() && !view && !stop; }
  };

  void run();
  Inbox take_inbox(bool may_sleep);
  void handle(Inbox inbox);
  void step();
  void plan_retry();
  void publish();

  const Parts parts_;
  const Options options_;

  mutable std::mutex mutex_;
  std::condition_variable inbox_changed_;
  Inbox inbox_;
  bool accepting_ = true;
  NodeLoad load_;
  int64_t placement_version_ = 0;
  int32_t num_inside_ = 0;  // requests in the engine or taken out of the inbox

  // The step thread's.
  bool ran_ = false;  // the last step() had something to do
  int64_t num_stalls_seen_ = 0;
  absl::Duration pause_;
  absl::Time next_retry_ = absl::InfiniteFuture();

  std::thread thread_;  // last: it uses everything above
};

}  // namespace conclave
