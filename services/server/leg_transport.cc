#include "services/server/leg_transport.h"

#include <utility>

#include "common/status_macros.h"
#include "services/server/log.h"

namespace conclave {

absl::StatusOr<std::unique_ptr<LegTransport>> LegTransport::create(const Clock* clock,
                                                                   const TransportFlags& flags) {
  std::unique_ptr<ShmTransport> shm;
  if (flags.transport != "grpc") {
    absl::StatusOr<std::unique_ptr<ShmTransport>> made =
        ShmTransport::create(clock, {.spin = flags.spin()});
    if (made.ok()) {
      shm = *std::move(made);
    } else if (flags.transport == "shm") {
      return made.status();
    } else {
      log_warn("legs go by gRPC alone", {{"status", made.status()}});
    }
  }
  return std::unique_ptr<LegTransport>(new LegTransport(clock, flags, std::move(shm)));
}

LegTransport::LegTransport(const Clock* clock, const TransportFlags& flags,
                           std::unique_ptr<ShmTransport> shm)
    : clock_(clock),
      shm_only_(flags.transport == "shm"),
      shm_(std::move(shm)),
      own_bell_(&own_word_, flags.spin()),
      bell_(shm_ != nullptr ? shm_->bell() : &own_bell_),
      grpc_(clock, GrpcTransport::Options{.bell = bell_}) {}

void LegTransport::set_servers(const ClusterView& view) {
  std::vector<GrpcTransport::Server> by_grpc;
  std::vector<ShmTransport::Server> by_shm;
  for (const PlacedServer& server : view.servers) {
    if (!shm_only_) by_grpc.push_back({server.server, server.address});
    if (!server.shm_endpoint.empty()) by_shm.push_back({server.server, server.shm_endpoint});
  }
  grpc_.set_servers(by_grpc);
  if (shm_ != nullptr) shm_->set_servers(by_shm);
}

void LegTransport::send(const LegRequest& request, LegReply* reply) {
  if (shm_ != nullptr) {
    shm_->poll();
    if (shm_only_ || shm_->reaches(request.server)) return shm_->send(request, reply);
  }
  grpc_.send(request, reply);
}

uint64_t LegTransport::num_finished() const {
  return grpc_.num_finished() + (shm_ != nullptr ? shm_->num_finished() : 0);
}

bool LegTransport::wait(absl::Time until) {
  const uint64_t num_finished_before = num_finished();
  while (true) {
    const uint32_t ticket = bell_->ticket();
    grpc_.poll();
    if (shm_ != nullptr) shm_->poll();
    if (num_finished() != num_finished_before) return true;
    const absl::Duration left = until - clock_->now();
    if (left <= absl::ZeroDuration()) return false;
    bell_->wait(ticket, left);
  }
}

void LegTransport::cancel(LegReply* reply, absl::Status status) {
  if (shm_ != nullptr) shm_->cancel(reply, status);
  if (!reply->done) grpc_.cancel(reply, std::move(status));
}

}  // namespace conclave
