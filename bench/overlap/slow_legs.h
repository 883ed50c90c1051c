// Legs that take a time of our choosing: experts that answer at once, with the rows they hear, and
// a transport that keeps every answer for a while.
#pragma once

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "router/transport_loopback.h"

namespace conclave {

// Says every row back, once for each pick. A copy, so that nothing but the way takes time.
class EchoExperts final : public LoopbackServer {
 public:
  void submit(const LegRequest& request, LegReply* reply) override;
  bool run() override;

 private:
  struct Queued {
    LegRequest request;
    LegReply* reply = nullptr;
  };

  std::vector<Queued> queue_;
};

// A leg is answered when it is sent, and done `delay` later.
class SlowLegs final : public Transport {
 public:
  // Both outlive this.
  SlowLegs(Transport* transport, const Clock* clock) : transport_(transport), clock_(clock) {}

  void set_delay(absl::Duration delay) { delay_ = delay; }

  void send(const LegRequest& request, LegReply* reply) override;
  bool wait(absl::Time until) override;
  void cancel(LegReply* reply, absl::Status status) override;

 private:
  struct Away {
    LegReply* to = nullptr;
    std::unique_ptr<LegReply> reply;
    absl::Time back_at;
  };

  Transport* const transport_;
  const Clock* const clock_;
  absl::Duration delay_;
  std::vector<Away> away_;  // in the order of sending
};

}  // namespace conclave
