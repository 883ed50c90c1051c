// `conclave status`: the cluster as its control role sees it.

#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/host_memory.h"
#include "common/status_macros.h"
#include "model/weights/expert_set.h"
#include "proto/control.grpc.pb.h"
#include "services/conclave/commands.h"
#include "services/conclave/flags.h"
#include "services/conclave/remote.h"

namespace conclave {
namespace {

struct StatusFlags {
  std::string server;
  bool json = false;
};

// Messages of the control role are trusted to be sane, not to fit a model that is not at hand.
std::string experts_of(const v1::ExpertSet& set) {
  std::string text;
  for (const v1::LayerExperts& layer : set.layers()) {
    absl::StrAppend(&text, text.empty() ? "" : "; ", "layer ", layer.layer_idx(), ": ");
    for (int i = 0; i < std::min(layer.first_size(), layer.count_size()); ++i) {
      const int32_t last = layer.first(i) + layer.count(i) - 1;
      absl::StrAppend(&text, i == 0 ? "" : ",", layer.first(i));
      if (last > layer.first(i)) absl::StrAppend(&text, "-", last);
    }
  }
  return text;
}

int64_t num_experts(const v1::ExpertSet& set) {
  int64_t count = 0;
  for (const v1::LayerExperts& layer : set.layers()) {
    for (const int32_t some : layer.count()) count += some;
  }
  return count;
}

void print_nodes(const v1::GetStatusResponse& status) {
  for (const v1::NodeStatus& node : status.nodes()) {
    const v1::NodeLoad& load = node.load();
    const double used = load.num_pages() == 0
                            ? 0.0
                            : 100.0 * (load.num_pages() - load.num_free_pages()) / load.num_pages();
    std::printf(
        "attention node  %-20s %-22s running %d, waiting %d, stalled %d, cache %.1f%% of %d "
        "pages%s\n",
        node.server_id().c_str(), node.address().c_str(), load.num_running(), load.num_waiting(),
        load.num_stalled(), used, load.num_pages(), node.draining() ? ", draining" : "");
  }
}

void print_expert_servers(const v1::GetStatusResponse& status) {
  for (const v1::ExpertServerStatus& server : status.expert_servers()) {
    int64_t picks = 0;
    for (const int64_t some : server.load().picks()) picks += some;
    const std::string to_load =
        server.num_to_load() == 0 ? "" : absl::StrCat(", ", server.num_to_load(), " to load");
    std::printf(
        "expert server   %-20s %-22s %d experts, %s of %s, %d picks answered, %d legs queued%s%s\n",
        server.server_id().c_str(), server.address().c_str(),
        static_cast<int>(num_experts(server.held())), format_bytes(server.held_bytes()).c_str(),
        format_bytes(server.capacity_bytes()).c_str(), static_cast<int>(picks),
        server.load().num_queued_legs(), to_load.c_str(), server.draining() ? ", draining" : "");
    if (!server.problem().empty()) {
      std::printf("                %s cannot load: %s\n", server.server_id().c_str(),
                  absl::Utf8SafeCEscape(server.problem()).c_str());
    }
  }
}

std::string imbalance_of(const v1::GetStatusResponse& status) {
  double worst = 0;
  int layer_idx = -1;
  for (int layer = 0; layer < status.layer_imbalance_size(); ++layer) {
    if (status.layer_imbalance(layer) <= worst) continue;
    worst = status.layer_imbalance(layer);
    layer_idx = layer;
  }
  if (layer_idx < 0) return "no picks lately";
  return absl::StrFormat("%.2f at layer %d, the worst (max over mean of picks per server)", worst,
                         layer_idx);
}

absl::Status print_status(const StatusFlags& flags) {
  const auto stub = v1::Control::NewStub(connect_to(flags.server));
  grpc::ClientContext context;
  set_timeout(absl::Seconds(10), &context);
  v1::GetStatusResponse status;
  RETURN_IF_ERROR(from_server(stub->GetStatus(&context, {}, &status), flags.server));
  if (flags.json) return print_json(status);
  std::printf("model           %s, version %s, routing %s, placement %lld\n",
              status.model().c_str(), status.version().c_str(), status.routing().c_str(),
              static_cast<long long>(status.placement_version()));
  std::printf("state           %s, %s\n", status.ready() ? "ready" : "not ready yet",
              status.exact() ? "exact" : "NOT exact: servers of several numeric profiles");
  std::printf("coverage        %d of %d experts\n", status.coverage().num_covered(),
              status.coverage().num_total());
  if (status.coverage().missing().layers_size() > 0) {
    std::printf("missing         %s\n", experts_of(status.coverage().missing()).c_str());
  }
  std::printf("requests        %d queued, %d at nodes\n", status.num_queued(),
              status.num_assigned());
  std::printf("imbalance       %s\n", imbalance_of(status).c_str());
  print_nodes(status);
  print_expert_servers(status);
  return absl::OkStatus();
}

}  // namespace

Command add_status(CLI::App* parent) {
  auto flags = std::make_shared<StatusFlags>();
  CLI::App* const app = parent->add_subcommand("status", "Show a cluster's servers and its load");
  app->add_option("--server", flags->server, "HOST:PORT of the gateway")
      ->required()
      ->check(not_empty());
  app->add_flag("--json", flags->json, "Print the whole answer as JSON");
  return {app, [flags] { return print_status(*flags); }};
}

}  // namespace conclave
