// A server's line to control, as services/server/control_client.cc keeps it: hello, welcome,
// heartbeats, again after a pause when it breaks; and its ear for placements, as
// services/server/placement_watcher.cc has it.
#pragma once

#include <functional>

#include "tests/simulation/sim_control.h"
#include "tests/simulation/sim_process.h"
#include "tests/simulation/sim_world_parts.h"

namespace conclave {

// Of one incarnation of `process`, in which all of it runs.
class SimControlClient {
 public:
  struct Parts {
    SimWorldParts world;
    SimProcess* process = nullptr;
    SimControl* control = nullptr;
    std::function<ServerFacts()> facts;                          // asked at every hello
    std::function<Heartbeat()> heartbeat;                        // without `draining`
    std::function<void(const ExpertOrder&)> on_order = nullptr;  // expert servers
    std::function<void()> on_goodbye;                            // once, after drain()
    std::function<void(const ClusterView&)> on_view = nullptr;   // null: it does not route
  };

  explicit SimControlClient(Parts parts);

  void drain();

 private:
  void connect();
  void on_broken(const absl::Status& status);
  void on_welcome();
  void beat();
  void watch();
  void take_view(const ClusterView& view);

  const Parts parts_;
  StreamId line_{};
  bool registered_ = false;
  bool draining_ = false;
  int64_t num_lines_ = 0;  // so that timers of an earlier line do nothing
  absl::Duration pause_;
  absl::Duration watch_pause_;
  int64_t last_version_ = -1;    // that was handed on
  int64_t stream_version_ = -1;  // of the stream under way
};

}  // namespace conclave
