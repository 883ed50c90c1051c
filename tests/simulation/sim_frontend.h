// The frontend role as a simulated process: a real RequestTable, calls to attention nodes as
// services/gateway/grpc_node_link.cc makes them, and the stream of nodes from control.
//
// With `inside` it is one process with control, as a gateway is by default.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gateway/request_table.h"
#include "tests/simulation/sim_control.h"
#include "tests/simulation/sim_node.h"

namespace conclave {

// One stream per run. Belongs to one incarnation of the frontend.
class SimNodeLink final : public NodeLink {
 public:
  struct Parts {
    SimWorldParts world;
    SimProcess* process = nullptr;
    std::function<SimNode*(const std::string& name)> find;

    // Events of runs, as the table has them.
    std::function<void(RunHandle, RunBatch)> on_tokens;
    std::function<void(RunHandle, RunEnd)> on_finished;
    std::function<void(RunHandle, const absl::Status&)> on_failed;
  };

  explicit SimNodeLink(Parts parts) : parts_(std::move(parts)) {}

  void set_nodes(const std::vector<NodeInfo>& nodes);

  void run(ServerId node, RunHandle handle, NodeRequest request) override;
  void cancel(RunHandle handle) override;

 private:
  void deliver(RunHandle handle, RunBatch batch);

  const Parts parts_;
  std::map<ServerId, SimNode*> nodes_;
  std::map<RunHandle, StreamId> streams_;
  int64_t num_batches_ = 0;
};

class SimFrontend {
 public:
  struct Options {
    int32_t max_queued = 64;
    bool inside = false;  // of control's process
  };

  SimFrontend(const SimWorldParts& parts, SimControl* control,
              std::function<SimNode*(const std::string&)> find, const Options& options)
      : parts_(parts),
        options_(options),
        control_(control),
        find_(std::move(find)),
        process_(parts.time, "frontend") {}

  void start();
  void kill();

  SimProcess* process() { return &process_; }

  // Adds what this incarnation has done to the world's counts; kill() does it.
  // REQUIRES: it lives
  void count() const;

  // The doors; in this process.
  absl::Status submit(GatewayRequest request, ClientSink* sink);
  void cancel(const std::string& id);
  void client_gone(const std::string& id, const ClientSink* sink);

  // REQUIRES: it lives
  const RequestTable& table() const { return state_->table; }

 private:
  // Of one incarnation.
  struct State {
    explicit State(SimFrontend* frontend);

    SimNodeLink link;
    RequestTable table;
    absl::Time next_tick = absl::InfiniteFuture();
    absl::Duration pause;
  };

  void watch();
  void settle();

  const SimWorldParts parts_;
  const Options options_;
  SimControl* const control_;
  const std::function<SimNode*(const std::string&)> find_;
  SimProcess process_;
  std::unique_ptr<State> state_;  // while it lives
};

}  // namespace conclave
