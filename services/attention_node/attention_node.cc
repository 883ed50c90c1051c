#include "services/attention_node/attention_node.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/clock.h"
#include "common/status_macros.h"
#include "services/attention_node/attention_service.h"
#include "services/attention_node/node_loop.h"
#include "services/attention_node/node_metrics.h"
#include "services/attention_node/node_model.h"
#include "services/server/control_client.h"
#include "services/server/grpc_door.h"
#include "services/server/leg_metrics.h"
#include "services/server/log.h"
#include "services/server/placement_watcher.h"
#include "services/server/ready_line.h"
#include "services/server/serve.h"

namespace conclave {
namespace {

constexpr absl::Duration kHealthInterval = absl::Seconds(1);

// Progress is told layer by layer, so this is what one layer may take. The most that is known: a
// chunk of 512 rows over 128 K of context in DeepSeek-V3 is 19 TFLOP, 20 s of 16 cores; a false
// alarm would send the same work to the next node, a late one costs only time.
constexpr absl::Duration kStuckAfter = absl::Seconds(180);
constexpr char kRole[] = "attention_node";

// Everything of the process that outlives its requests, in the order of lives.
struct Node {
  SystemClock clock;
  ProgressWatch progress{&clock};
  std::unique_ptr<Metrics> metrics;
  std::unique_ptr<NodeMetrics> node_metrics;
  std::unique_ptr<LegMetrics> leg_metrics;
  std::unique_ptr<NodeModel> model;
  std::unique_ptr<NodeLoop> loop;
  std::unique_ptr<AttentionService> service;
  std::unique_ptr<GrpcDoor> door;
};

// The legs of a layer may each be given up and sent to another holder before it fails.
absl::Duration stuck_after(const NodeFlags& flags) {
  return std::max(kStuckAfter, 4 * flags.leg_timeout());
}

absl::Status load(const ModelFolder& folder, const NodeFlags& flags, ReadyLine* ready, Node* node) {
  ASSIGN_OR_RETURN(node->metrics, Metrics::create({.listen = flags.server.metrics_listen,
                                                   .role = kRole,
                                                   .version = server_version()}));
  node->node_metrics = std::make_unique<NodeMetrics>(node->metrics.get());
  node->leg_metrics = std::make_unique<LegMetrics>(node->metrics.get());
  ASSIGN_OR_RETURN(
      node->model,
      NodeModel::load(
          folder, flags,
          {.clock = &node->clock, .legs = node->leg_metrics.get(), .watch = &node->progress},
          [&](std::string_view part, uint64_t done, uint64_t total) {
            ready->progress(part, done, total);
          }));
  Node* const self = node;
  node->loop = std::make_unique<NodeLoop>(
      NodeLoop::Parts{.engine = &node->model->engine(),
                      .clock = &node->clock,
                      .progress = &node->progress,
                      .use_view = [self](const ClusterView& view) { self->model->use_view(view); },
                      .on_step =
                          [self](const StepReport& report) {
                            self->node_metrics->on_step(report, self->model->engine());
                          }},
      NodeLoop::Options{.max_messages = flags.max_requests});
  node->service = std::make_unique<AttentionService>(
      node->loop.get(), [self](const absl::Status& status) { self->node_metrics->on_end(status); },
      [self, limit = stuck_after(flags)] { return self->progress.is_stuck(limit); });
  ASSIGN_OR_RETURN(node->door,
                   GrpcDoor::open({.listen = flags.server.listen,
                                   .offers = {{"conclave.v1.Attention", node->service.get()}}}));
  return absl::OkStatus();
}

ServerFacts facts_of(const ModelFolder& folder, const NodeFlags& flags, const Node& node) {
  const std::string address = flags.server.advertised(node.door->address());
  return {.role = ServerRole::kAttentionNode,
          .id = flags.server.name_of_server(address),
          .incarnation = make_incarnation(),
          .address = address,
          .metrics_address = flags.server.advertised_metrics(node.metrics->address(), address),
          .profile = profile_of_node(folder, flags),
          .version = server_version(),
          .cache_tokens = flags.stack_options(folder).rounded_cache_tokens(),
          .max_requests = flags.max_requests};
}

// Until somebody wants the process to end; health and gauges are looked after meanwhile.
void watch(absl::Duration stuck_after, Node* node, StopSignal* stop) {
  bool alive = true;
  while (!stop->wait(kHealthInterval)) {
    node->node_metrics->on_load(node->loop->load(), node->loop->placement_version());
    const bool alive_now = !node->progress.is_stuck(stuck_after);
    if (alive_now == alive) continue;
    alive = alive_now;
    node->door->set_alive(alive);
    if (!alive) log_error("the step thread is stuck");
  }
}

}  // namespace

absl::Status run_attention_node(const NodeFlags& flags, StopSignal* stop) {
  ReadyLine ready(flags.server.ready_fd);
  RETURN_IF_ERROR(flags.server.apply());
  ASSIGN_OR_RETURN(const ModelFolder folder,
                   read_model_folder(flags.server.model, flags.server.weights.types()));
  Node node;
  RETURN_IF_ERROR(load(folder, flags, &ready, &node));
  const ServerFacts facts = facts_of(folder, flags, node);
  log_info("serving", {{"role", kRole},
                       {"address", facts.address},
                       {"metrics", facts.metrics_address},
                       {"model", flags.server.name_of_model()},
                       {"threads", flags.server.num_threads()},
                       {"routing", flags.routing}});

  PlacementWatcher watcher(
      {.control = flags.server.control, .server_id = facts.id, .config = &folder.config},
      [&](ClusterView view) {
        node.model->hear_of(view);
        node.loop->set_view(std::move(view));
      });
  ControlClient control({.control = flags.server.control, .facts = facts},
                        {.heartbeat =
                             [&] {
                               return Heartbeat{.placement_version = node.loop->placement_version(),
                                                .node = node.loop->load()};
                             },
                         .on_registered = [&] { node.door->set_ready(true); },
                         .on_refused = [&](const absl::Status& status) { stop->request(status); }});
  ready.ready({.role = kRole, .address = facts.address, .metrics = facts.metrics_address});
  watch(stuck_after(flags), &node, stop);

  node.door->set_ready(false);
  if (stop->status().ok()) {
    drain({.timeout = flags.server.drain_timeout(), .is_idle = [&] { return node.loop->idle(); }},
          &control, stop);
  }
  control.leave();
  node.loop->stop();
  node.door->shutdown(absl::Seconds(2));
  return stop->status();
}

}  // namespace conclave
