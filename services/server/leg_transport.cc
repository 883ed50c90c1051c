#include "services/server/leg_transport.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "services/server/log.h"

namespace conclave {
namespace {

constexpr absl::Duration kGrpcRest = absl::Milliseconds(10);
constexpr absl::Duration kMixedNap = absl::Microseconds(50);

}  // namespace

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
    : clock_(clock), shm_only_(flags.transport == "shm"), shm_(std::move(shm)), grpc_(clock, {}) {}

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

// A look at gRPC is a system call, which legs through shared memory need not pay each time.
void LegTransport::poll() {
  const absl::Time now = clock_->now();
  if (shm_ == nullptr || grpc_.has_legs_away() || now - grpc_polled_at_ >= kGrpcRest) {
    grpc_polled_at_ = now;
    grpc_.poll();
  }
  if (shm_ != nullptr) shm_->poll();
}

bool LegTransport::wait(absl::Time until) {
  if (shm_ == nullptr) return grpc_.wait(until);
  const uint64_t num_finished_before = num_finished();
  while (true) {
    const uint32_t ticket = shm_->bell()->ticket();
    poll();
    if (num_finished() != num_finished_before) return true;
    if (clock_->now() >= until) return false;
    sleep(ticket, until);
  }
}

// There is no way to wait for a socket of gRPC's and for a doorbell at once: with legs away on both
// ways, which is rare, the one is looked at now and then while the other is slept on.
void LegTransport::sleep(uint32_t ticket, absl::Time until) {
  if (grpc_.has_legs_away() && !shm_->has_legs_away()) {
    grpc_.wait(until);
    return;
  }
  const absl::Duration longest = grpc_.has_legs_away() ? kMixedNap : kGrpcRest;
  shm_->bell()->wait(ticket, std::min(longest, until - clock_->now()));
}

void LegTransport::cancel(LegReply* reply, absl::Status status) {
  if (shm_ != nullptr) shm_->cancel(reply, status);
  if (!reply->done) grpc_.cancel(reply, std::move(status));
}

}  // namespace conclave
