// Legs to expert servers of the same process: no copies beyond the rows themselves, no threads.
// Rows are rounded to the wire's type all the same, so the bits are those of a cluster (contract
// C1).
#pragma once

#include <map>

#include "router/transport.h"

namespace conclave {

// An expert server as the loopback sees it. submit() only queues; run() works the queue off.
class LoopbackServer {
 public:
  virtual ~LoopbackServer() = default;

  virtual void submit(const LegRequest& request, LegReply* reply) = 0;

  // Answers everything that was submitted; false when that was nothing.
  virtual bool run() = 0;
};

class LoopbackTransport final : public Transport {
 public:
  // `server` outlives this.
  void add_server(ServerId id, LoopbackServer* server) { servers_[id] = server; }

  void send(const LegRequest& request, LegReply* reply) override;
  bool wait(absl::Time until) override;
  void cancel(LegReply* reply, absl::Status status) override;

 private:
  std::map<ServerId, LoopbackServer*> servers_;
};

}  // namespace conclave
