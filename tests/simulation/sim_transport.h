// How legs travel in the simulator, as router/wire/grpc_transport.h says it: a connection to each
// expert server of the view, legs and answers that may be late, lost or doubled, and UNAVAILABLE
// for what was away when a connection breaks.
//
// wait() is where a node's step blocks: the task pauses there and the world goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "router/cluster_view.h"
#include "router/transport.h"
#include "tests/simulation/sim_expert_server.h"

namespace conclave {

class SimTransport final : public Transport {
 public:
  struct Parts {
    SimWorldParts world;
    SimProcess* process = nullptr;                                  // the node
    std::function<SimExpertServer*(const std::string& name)> find;  // by its name
    std::function<void(absl::Time until)> block;  // the task, until then or until wake()
    std::function<void()> wake;
  };

  explicit SimTransport(Parts parts) : parts_(std::move(parts)) {}

  void set_servers(const ClusterView& view);

  void send(const LegRequest& request, LegReply* reply) override;
  bool wait(absl::Time until) override;
  void cancel(LegReply* reply, absl::Status status) override;

  // The process is killed: everything that is away or still sent is UNAVAILABLE, so that the step
  // under way comes to its end.
  void die();

 private:
  struct Link {
    SimExpertServer* server = nullptr;
    StreamId stream{};
    bool up = false;
    uint64_t number = 0;  // another one after each change
    absl::Duration pause;
  };
  struct Away {
    LegReply* reply = nullptr;
    ServerId server{};
    size_t num_bytes = 0;  // of the answer
  };

  void connect(ServerId id);
  void on_broken(ServerId id, uint64_t number);
  void arrive(uint64_t sequence, absl::StatusOr<SharedBytes> said);
  void lose(ServerId id, const absl::Status& status);
  void poll();

  const Parts parts_;
  bool dead_ = false;
  std::map<ServerId, Link> links_;
  std::map<uint64_t, Away> away_;  // by sequence number
  std::vector<std::pair<uint64_t, absl::StatusOr<SharedBytes>>> arrived_;
  uint64_t next_sequence_ = 1;
  uint64_t next_number_ = 1;
  uint64_t num_finished_ = 0;
};

}  // namespace conclave
