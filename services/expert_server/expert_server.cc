#include "services/expert_server/expert_server.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "common/thread_pool.h"
#include "router/shm/shm_server.h"
#include "router/wire/leg_service.h"
#include "services/expert_server/expert_holding.h"
#include "services/expert_server/expert_metrics.h"
#include "services/expert_server/expert_worker.h"
#include "services/server/control_client.h"
#include "services/server/grpc_door.h"
#include "services/server/log.h"
#include "services/server/metrics.h"
#include "services/server/ready_line.h"
#include "services/server/serve.h"

namespace conclave {
namespace {

constexpr char kRole[] = "expert_server";
constexpr char kService[] = "conclave.v1.Experts";
constexpr absl::Duration kStuckAfter = absl::Seconds(10);
constexpr absl::Duration kLook = absl::Seconds(1);
constexpr absl::Duration kLastAnswers = absl::Seconds(2);

// In the order of their making; the last goes first.
class ExpertServer {
 public:
  ExpertServer(const ExpertServerFlags& flags, std::unique_ptr<Metrics> metrics)
      : flags_(flags), metrics_(std::move(metrics)), counts_(metrics_.get()) {}

  absl::Status start(StopSignal* stop);
  void serve(StopSignal* stop);
  void end();

 private:
  absl::Status load(StopSignal* stop, ReadyLine* ready);
  void offer_shared_memory();
  ServerFacts facts() const;
  int32_t num_callers() const;
  void look();

  const ExpertServerFlags& flags_;
  const SystemClock clock_;
  const std::unique_ptr<Metrics> metrics_;
  ExpertMetrics counts_;
  std::unique_ptr<ExpertHolding> holding_;
  std::unique_ptr<ThreadPool> threads_;
  std::unique_ptr<ShmServer> shm_;  // null: legs come by gRPC alone
  std::unique_ptr<ExpertWorker> worker_;
  std::unique_ptr<LegService> service_;
  std::unique_ptr<GrpcDoor> door_;
  std::unique_ptr<ControlClient> control_;
};

absl::Status ExpertServer::load(StopSignal* stop, ReadyLine* ready) {
  const std::string part = absl::StrCat("experts ", flags_.experts);
  const auto progress = [&](uint64_t done, uint64_t total) {
    exit_if_stopped(stop);
    ready->progress(part, done, total);
  };
  ASSIGN_OR_RETURN(threads_, ThreadPool::start(flags_.server.pool()));
  ASSIGN_OR_RETURN(holding_, load_holding(flags_, progress, threads_.get()));
  counts_.set_weights(holding_->weights.num_bytes, holding_->held.size());
  offer_shared_memory();
  worker_ = std::make_unique<ExpertWorker>(
      ExpertWorker::Parts{.config = &holding_->folder.config,
                          .weights = &holding_->weights,
                          .executor = threads_.get(),
                          .clock = &clock_,
                          .metrics = &counts_,
                          .source = shm_.get()},
      ExpertWorker::Options{.max_queued_legs = flags_.max_queued_legs,
                            .max_batch_picks = flags_.max_batch_picks});
  return absl::OkStatus();
}

void ExpertServer::offer_shared_memory() {
  if (flags_.transport.transport == "grpc") return;
  absl::StatusOr<std::unique_ptr<ShmServer>> shm =
      ShmServer::open({.spin = flags_.transport.spin()});
  if (shm.ok()) {
    shm_ = *std::move(shm);
  } else {
    log_warn("no shared memory is offered", {{"status", shm.status()}});
  }
}

// Streams and links of those who may ask.
int32_t ExpertServer::num_callers() const {
  return service_->num_streams() + (shm_ != nullptr ? shm_->num_links() : 0);
}

ServerFacts ExpertServer::facts() const {
  const std::string address = flags_.server.advertised(door_->address());
  return {.role = ServerRole::kExpertServer,
          .id = flags_.server.name_of_server(address),
          .incarnation = make_incarnation(),
          .address = address,
          .metrics_address = flags_.server.advertised_metrics(metrics_->address(), address),
          .profile = holding_->profile,
          .version = server_version(),
          .capacity_bytes = holding_->capacity_bytes,
          .held_bytes = holding_->weights.num_bytes,
          .held = holding_->held,
          .shm_endpoint = shm_ != nullptr ? shm_->endpoint() : ""};
}

absl::Status ExpertServer::start(StopSignal* stop) {
  ReadyLine ready(flags_.server.ready_fd);
  RETURN_IF_ERROR(load(stop, &ready));
  service_ = std::make_unique<LegService>(worker_.get(), LegService::Options{});
  ASSIGN_OR_RETURN(door_, GrpcDoor::open({.listen = flags_.server.listen,
                                          .offers = {{kService, service_->service()}}}));
  const ServerFacts facts = this->facts();
  log_info("serving", {{"address", door_->address()},
                       {"advertised", facts.address},
                       {"metrics", metrics_->address()},
                       {"experts", holding_->held.to_string()}});
  ready.ready({.role = kRole, .address = facts.address, .metrics = facts.metrics_address});
  control_ = std::make_unique<ControlClient>(
      ControlClient::Options{.control = flags_.server.control, .facts = facts},
      ControlClient::Listener{
          .heartbeat = [this] { return Heartbeat{.experts = worker_->load()}; },
          .on_registered = [this] { door_->set_ready(true); },
          .on_refused = [stop](const absl::Status& why) { stop->request(why); }});
  return absl::OkStatus();
}

void ExpertServer::serve(StopSignal* stop) {
  while (!stop->wait(kLook)) look();
  if (!stop->status().ok()) return;
  drain(
      {.timeout = flags_.server.drain_timeout(), .is_idle = [this] { return num_callers() == 0; }},
      control_.get(), stop);
}

void ExpertServer::look() {
  door_->set_alive(!worker_->is_stuck(kStuckAfter));
  counts_.set_streams(num_callers());
  counts_.set_registered(control_->registered());
}

// Control forgets this server first, so that no new legs come; then what has come is answered.
void ExpertServer::end() {
  control_->leave();
  door_->set_ready(false);
  service_->shutdown(/*drain=*/true);
  const absl::Time patience = absl::Now() + kLastAnswers;
  while (num_callers() > 0 && absl::Now() < patience) absl::SleepFor(kLook / 50);
  service_->shutdown(/*drain=*/false);
  door_->shutdown(kLastAnswers);
  worker_->stop();
}

}  // namespace

absl::Status run_expert_server(const ExpertServerFlags& flags, StopSignal* stop) {
  RETURN_IF_ERROR(flags.server.apply());
  ASSIGN_OR_RETURN(
      std::unique_ptr<Metrics> metrics,
      Metrics::create(
          {.listen = flags.server.metrics_listen, .role = kRole, .version = server_version()}));
  ExpertServer server(flags, std::move(metrics));
  RETURN_IF_ERROR(server.start(stop));
  server.serve(stop);
  server.end();
  return stop->status();
}

}  // namespace conclave
