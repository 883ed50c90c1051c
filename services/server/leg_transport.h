// Legs by the shortest way: through shared memory to expert servers of this machine, by gRPC to the
// others and as long as there is no shared memory with one. Bits do not depend on the way.
//
// The step thread, as every Transport.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "router/cluster_view.h"
#include "router/shm/shm_transport.h"
#include "router/transport.h"
#include "router/wire/grpc_transport.h"
#include "services/server/transport_flags.h"

namespace conclave {

class LegTransport final : public Transport {
 public:
  // `clock` outlives the transport. A machine that has no shared memory to give is an error where
  // the flags want nothing else; otherwise it is logged, and everything goes by gRPC.
  static absl::StatusOr<std::unique_ptr<LegTransport>> create(const Clock* clock,
                                                              const TransportFlags& flags);

  // The servers of a view, from now on.
  void set_servers(const ClusterView& view);

  void send(const LegRequest& request, LegReply* reply) override;
  bool wait(absl::Time until) override;
  void cancel(LegReply* reply, absl::Status status) override;

 private:
  LegTransport(const Clock* clock, const TransportFlags& flags, std::unique_ptr<ShmTransport> shm);

  uint64_t num_finished() const;
  void poll();
  void sleep(uint32_t ticket, absl::Time until);

  const Clock* const clock_;
  const bool shm_only_;
  const std::unique_ptr<ShmTransport> shm_;  // null: gRPC alone
  GrpcTransport grpc_;
  absl::Time grpc_polled_at_ = absl::InfinitePast();
};

}  // namespace conclave
