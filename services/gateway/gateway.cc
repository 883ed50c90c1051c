#include "services/gateway/gateway.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/status_macros.h"
#include "services/gateway/cluster_state.h"
#include "services/gateway/control_role.h"
#include "services/gateway/control_service.h"
#include "services/gateway/event_loop.h"
#include "services/gateway/gateway_metrics.h"
#include "services/gateway/grpc_node_link.h"
#include "services/gateway/inference_service.h"
#include "services/gateway/moe_router.h"
#include "services/gateway/node_watcher.h"
#include "services/server/grpc_door.h"
#include "services/server/leg_metrics.h"
#include "services/server/log.h"
#include "services/server/progress_watch.h"
#include "services/server/ready_line.h"
#include "services/server/serve.h"

namespace conclave {
namespace {

constexpr absl::Duration kHealthInterval = absl::Milliseconds(500);
constexpr absl::Duration kStuckAfter = absl::Seconds(10);
constexpr char kRole[] = "gateway";

// The parts in the order of their lives: what stands below uses what stands above.
class Gateway {
 public:
  Gateway(const GatewayFlags& flags, const ModelFolder& folder) : flags_(flags), folder_(folder) {}

  // Before its parts go, nobody may run who uses them.
  ~Gateway() {
    door_ = nullptr;
    if (text_ != nullptr) text_->stop();
    if (router_ != nullptr) router_->stop();
    if (role_ != nullptr) role_->planner.stop();
    if (loop_ != nullptr) loop_->stop();
  }

  absl::Status start();
  void announce(ReadyLine* ready) const;
  void serve(StopSignal* stop);
  void stop(StopSignal* stop);

 private:
  void make_state();
  absl::Status make_router();
  absl::Status open_door();
  absl::Time on_idle();
  void hook_router();
  bool has_requests();

  const GatewayFlags& flags_;
  const ModelFolder& folder_;
  const SystemClock clock_;
  ProgressWatch progress_{&clock_};
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<GatewayMetrics> gateway_metrics_;
  std::unique_ptr<LegMetrics> leg_metrics_;
  std::unique_ptr<MoeRouter> router_;
  std::unique_ptr<ControlRole> role_;
  std::unique_ptr<ClusterState> state_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<EventLoop> text_;
  std::unique_ptr<GrpcNodeLink> link_;
  std::unique_ptr<RequestTable> table_;
  std::unique_ptr<ControlService> control_;
  std::unique_ptr<InferenceService> inference_;
  std::unique_ptr<MoeService> moe_;
  std::unique_ptr<GrpcDoor> door_;
  std::unique_ptr<NodeWatcher> watcher_;
};

}  // namespace

absl::Status run_gateway(const GatewayFlags& flags, StopSignal* stop) {
  ReadyLine ready(flags.server.ready_fd);
  RETURN_IF_ERROR(flags.server.apply());
  RETURN_IF_ERROR(flags.check());
  ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(flags.server.model));
  Gateway gateway(flags, folder);
  RETURN_IF_ERROR(gateway.start());
  gateway.announce(&ready);
  gateway.serve(stop);
  gateway.stop(stop);
  return stop->status();
}

namespace {

absl::Status Gateway::start() {
  ASSIGN_OR_RETURN(metrics_, Metrics::create({.listen = flags_.server.metrics_listen,
                                              .role = kRole,
                                              .version = server_version()}));
  gateway_metrics_ = std::make_unique<GatewayMetrics>(metrics_.get(), folder_.config.num_layers);
  leg_metrics_ = std::make_unique<LegMetrics>(metrics_.get());
  if (flags_.routes_here()) RETURN_IF_ERROR(make_router());
  make_state();
  RETURN_IF_ERROR(open_door());
  if (!flags_.is_control()) {
    watcher_ = std::make_unique<NodeWatcher>(
        flags_.server.control, flags_.server.advertised(door_->address()),
        [this](std::vector<NodeInfo> nodes, ClusterSummary summary) {
          loop_->post([this, nodes = std::move(nodes), summary = std::move(summary)] {
            state_->nodes_changed(nodes, summary);
          });
        });
  }
  return absl::OkStatus();
}

absl::Status Gateway::make_router() {
  // The router has no view before the loop and the membership are there.
  const auto on_view = [this](int64_t version) {
    loop_->post([this, version] {
      role_->membership.router_uses(version);
      state_->members_changed();
    });
  };
  ASSIGN_OR_RETURN(router_, MoeRouter::create(folder_, &clock_, leg_metrics_.get(),
                                              {.wire_out = *parse_dtype(flags_.wire_out),
                                               .wire_back = *parse_dtype(flags_.wire_back),
                                               .pool = flags_.server.pool(),
                                               .max_tokens = flags_.max_route_tokens,
                                               .leg_timeout = flags_.leg_timeout(),
                                               .transport = flags_.transport,
                                               .on_view = on_view}));
  return absl::OkStatus();
}

// Loop and table know each other: the loop runs from the start, and has nothing to do before the
// state is there.
void Gateway::make_state() {
  loop_ = std::make_unique<EventLoop>(&clock_, [this] { return on_idle(); });
  text_ = std::make_unique<EventLoop>(&clock_);
  loop_->run([this] {
    if (flags_.is_control()) {
      role_ = std::make_unique<ControlRole>(folder_, flags_, &clock_, loop_.get(),
                                            [this] { state_->plan_made(); });
    }
    if (flags_.is_frontend()) {
      link_ = std::make_unique<GrpcNodeLink>(loop_.get(), &clock_, flags_.node_timeout());
      table_ = std::make_unique<RequestTable>(
          RequestTable::Parts{.clock = &clock_,
                              .link = link_.get(),
                              .tokenizer = folder_.tokenizer.get(),
                              .observer = gateway_metrics_.get()},
          RequestTable::Options{.model = {.vocab_size = folder_.config.vocab_size,
                                          .max_positions = folder_.config.max_positions},
                                .max_queued = flags_.max_queued});
      link_->set_listener(
          {.on_tokens = [this](RunHandle handle,
                               RunBatch batch) { table_->on_tokens(handle, std::move(batch)); },
           .on_run_finished = [this](RunHandle handle,
                                     RunEnd end) { table_->on_run_finished(handle, end); },
           .on_run_failed =
               [this](RunHandle handle, const absl::Status& status) {
                 table_->on_run_failed(handle, status);
               }});
    }
    state_ = std::make_unique<ClusterState>(
        ClusterState::Parts{.clock = &clock_,
                            .membership = role_ != nullptr ? &role_->membership : nullptr,
                            .table = table_.get(),
                            .link = link_.get(),
                            .placement = role_ != nullptr ? &role_->placement : nullptr});
    state_->on_tick = [this] { gateway_metrics_->update(state_.get()); };
    if (role_ != nullptr) state_->members_changed();
  });
}

absl::Status Gateway::open_door() {
  GrpcDoor::Options options{.listen = flags_.server.listen};
  if (flags_.is_control()) {
    control_ = std::make_unique<ControlService>(
        loop_.get(), state_.get(), &folder_.config,
        ControlService::Options{.model = flags_.server.name_of_model(),
                                .routing = flags_.routing,
                                .heartbeat = flags_.heartbeat()});
    options.offers.push_back({"conclave.v1.Control", control_.get()});
    hook_router();
  }
  if (flags_.is_frontend()) {
    inference_ = std::make_unique<InferenceService>(
        InferenceService::Parts{
            .loop = loop_.get(),
            .text = text_.get(),
            .state = state_.get(),
            .clock = &clock_,
            .model = {.folder = &folder_, .name = flags_.server.name_of_model()},
            .on_invalid = [this] { gateway_metrics_->on_invalid(); }},
        InferenceService::Options{.request_timeout = flags_.request_timeout()});
    options.offers.push_back({"conclave.v1.Inference", inference_.get()});
  }
  if (router_ != nullptr) {
    moe_ = std::make_unique<MoeService>(router_.get(), MoeService::Options{});
    options.offers.push_back({"conclave.v1.MoeLayer", moe_->service()});
  }
  ASSIGN_OR_RETURN(door_, GrpcDoor::open(options));
  return absl::OkStatus();
}

// Every placement that is published is this process's router's, too.
void Gateway::hook_router() {
  if (router_ == nullptr) return;
  loop_->run([this] {
    state_->on_placement = [this, publish = std::move(state_->on_placement)] {
      publish();
      router_->set_view(role_->membership.placement());
    };
    role_->membership.router_uses(0);
    router_->set_view(role_->membership.placement());
  });
}

absl::Time Gateway::on_idle() {
  progress_.progress(/*has_work=*/true);
  absl::Time next = state_ == nullptr ? absl::InfiniteFuture() : state_->tick();
  if (link_ != nullptr) next = std::min(next, link_->look());
  return next;
}

void Gateway::announce(ReadyLine* ready) const {
  const std::string address = flags_.server.advertised(door_->address());
  const std::string metrics = flags_.server.advertised_metrics(metrics_->address(), address);
  log_info("serving", {{"role", kRole},
                       {"address", address},
                       {"metrics", metrics},
                       {"model", flags_.server.name_of_model()},
                       {"routing", flags_.routing},
                       {"gateway_role", flags_.role}});
  ready->ready({.role = kRole, .address = address, .metrics = metrics});
}

void Gateway::serve(StopSignal* stop) {
  bool alive = true;
  bool ready = false;
  while (!stop->wait(kHealthInterval)) {
    const bool alive_now = !progress_.is_stuck(kStuckAfter);
    if (alive_now != alive) door_->set_alive(alive = alive_now);
    if (ready) continue;
    loop_->run([&] { ready = state_->summary().ready; });
    if (ready) {
      log_info("ready: every expert of every layer has been seen");
      door_->set_ready(true);
    }
  }
}

bool Gateway::has_requests() {
  bool found = false;
  if (table_ == nullptr) return found;
  loop_->run([&] { found = table_->num_queued() + table_->num_assigned() > 0; });
  return found;
}

// Requests under way may finish within the drain timeout; new ones are refused from the start.
void Gateway::stop(StopSignal* stop) {
  door_->set_ready(false);
  if (table_ != nullptr) loop_->run([this] { table_->stop_accepting(); });
  const absl::Time end = clock_.now() + flags_.server.drain_timeout();
  while (has_requests() && clock_.now() < end) {
    if (stop->wait(absl::Milliseconds(50))) break;  // asked again: no more patience
  }
  if (table_ != nullptr) {
    loop_->run([this] { table_->fail_all(absl::UnavailableError("the gateway is stopping")); });
  }
  watcher_ = nullptr;
  if (control_ != nullptr) control_->shutdown();
  if (moe_ != nullptr) moe_->shutdown(/*drain=*/false);
  if (router_ != nullptr) router_->stop();
  door_->shutdown(absl::Seconds(2));
  if (link_ != nullptr) {
    loop_->run([this] { link_->cancel_all(); });
    for (bool busy = true; busy;) {
      loop_->run([&] { busy = link_->has_calls(); });
      if (busy) absl::SleepFor(absl::Milliseconds(5));
    }
  }
  text_->stop();
  if (role_ != nullptr) role_->planner.stop();
  loop_->run([] {});
  control_ = nullptr;
  loop_->stop();
  log_info("stopped");
}

}  // namespace
}  // namespace conclave
