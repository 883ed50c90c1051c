#include "services/expert_server/expert_server.h"

#include <atomic>
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
#include "services/expert_server/expert_keeper.h"
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
  ControlClient::Listener listener(StopSignal* stop);
  Heartbeat heartbeat() const;
  int32_t num_callers() const;
  void on_change();
  void look();

  const ExpertServerFlags& flags_;
  const SystemClock clock_;
  const std::unique_ptr<Metrics> metrics_;
  ExpertMetrics counts_;
  std::unique_ptr<ExpertHolding> holding_;
  std::unique_ptr<ThreadPool> threads_;
  std::unique_ptr<ShmServer> shm_;  // null: legs come by gRPC alone
  std::unique_ptr<ExpertWorker> worker_;
  std::unique_ptr<ExpertKeeper> keeper_;
  std::unique_ptr<LegService> service_;
  std::unique_ptr<GrpcDoor> door_;
  std::unique_ptr<ControlClient> control_;
  std::atomic<ControlClient*> line_{nullptr};  // control_, for the keeper's thread
};

absl::Status ExpertServer::load(StopSignal* stop, ReadyLine* ready) {
  const std::string part = absl::StrCat("experts ", flags_.experts);
  const auto progress = [&](uint64_t done, uint64_t total) {
    exit_if_stopped(stop);
    ready->progress(part, done, total);
  };
  ASSIGN_OR_RETURN(threads_, ThreadPool::start(flags_.server.pool()));
  ASSIGN_OR_RETURN(holding_, load_holding(flags_, progress, threads_.get()));
  offer_shared_memory();
  worker_ = std::make_unique<ExpertWorker>(
      ExpertWorker::Parts{.config = &holding_->folder.config,
                          .weights = holding_->weights.get(),
                          .executor = threads_.get(),
                          .clock = &clock_,
                          .metrics = &counts_,
                          .source = shm_.get()},
      ExpertWorker::Options{.max_queued_legs = flags_.max_queued_legs,
                            .max_batch_picks = flags_.max_batch_picks});
  keeper_ = std::make_unique<ExpertKeeper>(
      ExpertKeeper::Parts{
          .folder = &holding_->folder, .worker = worker_.get(), .metrics = &counts_},
      ExpertKeeper::Options{.capacity_bytes = holding_->capacity_bytes,
                            .overcommit = flags_.overcommit,
                            .on_change = [this] { on_change(); }},
      holding_->held);
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
          .held_bytes = holding_->held_bytes(),
          .held = holding_->held,
          .shm_endpoint = shm_ != nullptr ? shm_->endpoint() : "",
          .managed = holding_->managed,
          .expert_bytes = holding_->folder.size.expert_bytes};
}

ControlClient::Listener ExpertServer::listener(StopSignal* stop) {
  return {.heartbeat = [this] { return heartbeat(); },
          .on_registered = [this] { door_->set_ready(true); },
          .on_hello =
              [this](ServerFacts* facts) {
                Holding holding = keeper_->begin_line();
                facts->held = std::move(holding.held);
                facts->held_bytes = holding.held_bytes;
              },
          .on_order = [this](ExpertOrder order) { keeper_->order(std::move(order)); },
          .on_refused = [stop](const absl::Status& why) { stop->request(why); }};
}

Heartbeat ExpertServer::heartbeat() const {
  Holding holding = keeper_->holding();
  holding.picks = worker_->picks_of(holding.held);
  return {.experts = worker_->load(), .holding = std::move(holding)};
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
      ControlClient::Options{
          .control = flags_.server.control, .facts = facts, .config = &holding_->folder.config},
      listener(stop));
  line_ = control_.get();
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

// The keeper's thread. What the line's first order brings may be there before start() has the line
// in its hands; the next heartbeat tells it then.
void ExpertServer::on_change() {
  if (ControlClient* const line = line_.load(); line != nullptr) line->beat_now();
}

// Control forgets this server first, so that no new legs come; then what has come is answered.
void ExpertServer::end() {
  control_->leave();
  keeper_ = nullptr;
  door_->set_ready(false);
  service_->shutdown(/*drain=*/true);
  const absl::Time patience = clock_.now() + kLastAnswers;
  while (num_callers() > 0 && clock_.now() < patience) absl::SleepFor(kLook / 50);
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
